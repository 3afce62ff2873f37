"""The CID of a file: its bytes in chunks, the chunks as leaves of a balanced tree of nodes (UnixFS over dag-pb)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dwebbackup.links.cid import SHA2_256, Cid, Codec
from dwebbackup.links.protobuf import bytes_field, bytes_head, number_field

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Profile:
    """What has to be agreed on for a file to have one CID (IPIP-0499)."""

    name: str
    version: int
    """Of its CIDs."""
    chunk: int
    """bytes"""
    width: int
    """Children of a node, at most."""
    raw_leaves: bool
    """Whether a leaf is nothing but its bytes, or a node as well."""


V1_2025 = Profile("unixfs-v1-2025", version=1, chunk=1 << 20, width=1024, raw_leaves=True)
V0_2015 = Profile("unixfs-v0-2015", version=0, chunk=1 << 18, width=174, raw_leaves=False)
KUBO_V1 = Profile("kubo-cid-v1", version=1, chunk=1 << 18, width=174, raw_leaves=True)

PROFILES = V1_2025, V0_2015, KUBO_V1
"""The default; what `ipfs add` does by itself; what it does with `--cid-version 1`."""


class _Node(NamedTuple):
    cid: Cid
    size: int
    """Bytes of the file below it."""
    total: int
    """Bytes of all blocks below it, and its own."""


class FileTree:
    """Takes a file in pieces of any size, and gives its CID; holds no more than a chunk and the edge of the tree."""

    def __init__(self, profile: Profile = V1_2025) -> None:
        self._profile = profile
        self._rest = bytearray()
        self._levels: list[list[_Node]] = [[]]  # leaves first; nodes that have no parent yet

    def write(self, data: Bytes) -> None:
        view, chunk = memoryview(data), self._profile.chunk
        if self._rest:
            missing = chunk - len(self._rest)
            self._rest += view[:missing]
            view = view[missing:]
            if len(self._rest) < chunk:
                return
            self._add(0, self._leaf(self._rest))
            self._rest = bytearray()
        whole = len(view) - len(view) % chunk
        for at in range(0, whole, chunk):
            self._add(0, self._leaf(view[at : at + chunk]))
        self._rest += view[whole:]

    def cid(self) -> Cid:
        """Of all that was written; nothing can be written any more."""
        if self._rest or self._levels == [[]]:
            self._add(0, self._leaf(self._rest))
        for level, nodes in enumerate(self._levels):  # grows on the way
            if len(nodes) == 1 and level == len(self._levels) - 1:
                break
            if nodes:
                self._add(level + 1, self._parent(nodes))
        return self._levels[-1][0].cid

    def _add(self, level: int, node: _Node) -> None:
        if level == len(self._levels):
            self._levels.append([])
        nodes = self._levels[level]
        nodes.append(node)
        if len(nodes) == self._profile.width:
            self._add(level + 1, self._parent(nodes))
            nodes.clear()

    def _leaf(self, data: Bytes) -> _Node:
        if self._profile.raw_leaves:
            return _Node(Cid(1, Codec.RAW, SHA2_256 + hashlib.sha256(data).digest()), len(data), len(data))
        head = _FILE + (bytes_head(2, len(data)) if data else b"")
        tail = number_field(3, len(data))
        return self._node((bytes_head(1, len(head) + len(data) + len(tail)), head, data, tail), len(data), 0)

    def _parent(self, children: list[_Node]) -> _Node:
        size = sum(child.size for child in children)
        links = b"".join(bytes_field(2, _link(child)) for child in children)
        sizes = b"".join(number_field(4, child.size) for child in children)
        block = links, bytes_field(1, _FILE + number_field(3, size) + sizes)
        return self._node(block, size, sum(child.total for child in children))

    def _node(self, block: Sequence[Bytes], size: int, below: int) -> _Node:
        """A node of these pieces, which are not put together: one of them may be a chunk."""
        sha256 = hashlib.sha256()
        for piece in block:
            sha256.update(piece)
        cid = Cid(self._profile.version, Codec.DAG_PB, SHA2_256 + sha256.digest())
        return _Node(cid, size, below + sum(map(len, block)))


_FILE = number_field(1, 2)
"""UnixFS: this node is of a file."""


def _link(child: _Node) -> bytes:
    return bytes_field(1, child.cid.binary) + bytes_field(2, b"") + number_field(3, child.total)


def cid_of(data: Bytes, profile: Profile = V1_2025) -> Cid:
    """The CID of a file that holds *data*."""
    tree = FileTree(profile)
    tree.write(data)
    return tree.cid()


def profiles_of(data: Bytes, cid: Cid) -> tuple[Profile, ...]:
    """By which profiles *cid*, in either version, is that of a file that holds *data*; none: it is of other bytes."""
    return tuple(profile for profile in PROFILES if cid_of(data, profile).same_block(cid))
