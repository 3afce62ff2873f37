"""Files as blocks and CARs of them, written plainly: what a gateway has to give, and what a test may then spoil."""

from __future__ import annotations

import hashlib

from dwebbackup.links.cid import SHA2_256, Cid, Codec
from dwebbackup.links.protobuf import bytes_field, each_field, number_field, varint
from dwebbackup.links.unixfs import Profile

CAR_HEADER = bytes.fromhex("11a265726f6f7473806776657273696f6e01")
"""No roots, version 1."""

Blocks = dict[Cid, bytes]


def tree(data: bytes, profile: Profile) -> tuple[Cid, Blocks]:
    """The root, and all blocks, the root first."""
    chunks = [data[at : at + profile.chunk] for at in range(0, len(data), profile.chunk)] or [b""]
    blocks: Blocks = {}
    level = [(_leaf(chunk, profile, blocks), len(chunk)) for chunk in chunks]
    while len(level) > 1:
        groups = [level[at : at + profile.width] for at in range(0, len(level), profile.width)]
        level = [(node(group, blocks, profile.version), sum(size for _, size in group)) for group in groups]
    return level[0][0], dict(reversed(blocks.items()))


def node(children: list[tuple[Cid, int]], blocks: Blocks, version: int = 1, **changes: bytes | int) -> Cid:
    """A part of a file with these children. *changes*: `kind`, `size`, `data`, or `more` fields of UnixFS."""
    links = b"".join(
        bytes_field(2, bytes_field(1, cid.binary) + bytes_field(2, b"") + number_field(3, _total(cid, blocks)))
        for cid, _ in children
    )
    data = bytes(changes.get("data", b""))
    total = int(changes.get("size", len(data) + sum(size for _, size in children)))
    unixfs = number_field(1, int(changes.get("kind", 2))) + (bytes_field(2, data) if data else b"")
    unixfs += number_field(3, total) + b"".join(number_field(4, size) for _, size in children)
    return keep(links + bytes_field(1, unixfs + bytes(changes.get("more", b""))), blocks, version)


def _total(cid: Cid, blocks: Blocks) -> int:
    """Bytes of all blocks of the file below *cid*, as often as they come, and its own."""
    block = blocks.get(cid, b"")
    if cid.codec is Codec.RAW or not block:
        return len(block)
    links = [dict(each_field(bytes(value))) for number, value in each_field(block) if number == 2]
    return len(block) + sum(int(link[3]) for link in links)


def keep(block: bytes, blocks: Blocks, version: int = 1, codec: Codec = Codec.DAG_PB) -> Cid:
    cid = Cid(version, codec, SHA2_256 + hashlib.sha256(block).digest())
    blocks[cid] = block
    return cid


def inline(block: bytes, codec: Codec) -> Cid:
    return Cid(1, codec, b"\0" + varint(len(block)) + block)


def car_of(blocks: Blocks) -> bytes:
    return CAR_HEADER + b"".join(section(cid, block) for cid, block in blocks.items())


def section(cid: Cid, block: bytes) -> bytes:
    return varint(len(cid.binary) + len(block)) + cid.binary + block


def _leaf(chunk: bytes, profile: Profile, blocks: Blocks) -> Cid:
    if profile.raw_leaves:
        return keep(chunk, blocks, codec=Codec.RAW)
    return node([], blocks, profile.version, data=chunk)
