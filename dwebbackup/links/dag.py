"""The inverse of `unixfs`: from a file's CID and blocks, each hashed, to its bytes, however the file was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dwebbackup.errors import Damaged
from dwebbackup.links import cid as cids
from dwebbackup.links.cid import Cid, Codec
from dwebbackup.links.protobuf import each_field

Block = bytes | memoryview

DEEPEST = 8
"""Levels of a tree; two are enough for 30 GiB in chunks of 1 MiB."""

MOST_BLOCKS = 4096
"""Of one file, counted as often as they come: a small tree may name its parts again and again."""

_DIRECTORIES = {1, 5}
_FILES = {0, 2}
"""UnixFS: what leaves were once called, and a file."""


@dataclass(slots=True)
class _Node:
    """A block of the kind dag-pb that is a file, or a part of one."""

    data: bytes = b""
    """Of the file; stands before that of the children."""
    size: int | None = None
    """Bytes of the file in it and below it."""
    children: list[Cid] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Of the children, bytes of the file."""


def file_of(root: Cid, block_of: Callable[[Cid], Block], limit: int) -> bytes:
    """The whole file. *block_of* gives the block of a CID, which it has, or raises.

    Raises `Damaged` for what is no file, or one of more than *limit* bytes, which is told before they are read.
    """
    return b"".join(_Walk(block_of).below(root, limit))


@dataclass(slots=True)
class _Walk:
    block_of: Callable[[Cid], Block]
    blocks: int = 0
    """So far."""

    def below(self, cid: Cid, limit: int, depth: int = 0) -> Iterator[Block]:
        """The bytes below *cid*, of which there are no more than *limit*."""
        self.blocks += 1
        if depth > DEEPEST or self.blocks > MOST_BLOCKS:
            raise Damaged(f"the file has more levels than {DEEPEST}, or more blocks than {MOST_BLOCKS}")
        block = cid.inline if cid.inline is not None else self.block_of(cid)
        if cid.codec is Codec.RAW:
            yield _within(block, limit)
            return
        node = _node(cid, bytes(block))
        if (node.size or 0) > limit:
            raise Damaged(f"the file has {node.size} bytes, and {limit} were expected at most")
        yield node.data
        for child, size in zip(node.children, node.sizes, strict=True):
            yield from self._exactly(child, size, depth + 1)

    def _exactly(self, cid: Cid, size: int, depth: int) -> Iterator[Block]:
        done = 0
        for piece in self.below(cid, size, depth):
            done += len(piece)
            yield piece
        if done != size:
            raise Damaged(f"block {cid.text} has {done} bytes of the file, and the one above it says {size}")


def _within(block: Block, limit: int) -> Block:
    if len(block) > limit:
        raise Damaged(f"the file has {len(block)} bytes, and {limit} were expected at most")
    return block


def _node(cid: Cid, block: bytes) -> _Node:
    """Raises `Damaged` where its own numbers do not fit each other."""
    if cid.codec is not Codec.DAG_PB:
        raise Damaged(f"{cid.text} is the name of a key, not of a file")
    try:
        return _read_node(block)
    except Damaged as error:
        raise Damaged(f"block {cid.text} is not a file's: {error}") from error


def _read_node(block: bytes) -> _Node:
    """Links stand before the rest, which is there once."""
    node, rest = _Node(), False
    for number, value in each_field(block):
        if number == 2 and isinstance(value, bytes) and not rest:
            node.children.append(_child(value))
        elif number == 1 and isinstance(value, bytes) and not rest:
            _read_unixfs(node, value)
            rest = True
        else:
            raise Damaged(f"field {number} is one that such a node does not have, or out of order")
    if not rest:
        raise Damaged("it does not say of what type it is")
    _check(node)
    return node


def _child(link: bytes) -> Cid:
    for number, value in each_field(link):
        if number == 1 and isinstance(value, bytes):
            return cids.from_binary(value)
    raise Damaged("a link in it leads nowhere")


def _read_unixfs(node: _Node, message: bytes) -> None:
    kind = -1
    for number, value in each_field(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, bytes):
            node.data = value
        elif number == 3 and isinstance(value, int):
            node.size = value
        elif number == 4 and isinstance(value, int):
            node.sizes.append(value)
        elif number not in (7, 8):  # its mode and time, where somebody kept them
            raise Damaged(f"field {number} is one that a file does not have")
    if kind not in _FILES:
        raise Damaged("it is a folder" if kind in _DIRECTORIES else f"it is of type {kind}")


def _check(node: _Node) -> None:
    if len(node.sizes) != len(node.children):
        raise Damaged(f"it has {len(node.children)} links, and {len(node.sizes)} sizes of them")
    total = len(node.data) + sum(node.sizes)
    if node.size is not None and node.size != total:
        raise Damaged(f"it says that it has {node.size} bytes, and its parts have {total}")
    node.size = total
