"""A CAR, version 1: blocks of IPFS one after the other, each behind its CID; read, and every block hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dwebbackup.errors import Damaged
from dwebbackup.links.cid import SHA2_256, Cid, from_binary
from dwebbackup.links.protobuf import read_varint

_VERSION = b"\x67version\x01"
"""As DAG-CBOR: the text `version`, and 1."""

_LARGEST_HEADER = 4096
_LARGEST_NUMBER = 10
_LARGEST_CID = 256


@dataclass(frozen=True, slots=True)
class Car:
    """What was in one."""

    blocks: Mapping[bytes, memoryview]
    """By their multihash, which each of them has."""
    whole: bool
    """False where it breaks off within a block. True says nothing of blocks that were never written into it."""


def read(data: bytes) -> Car:
    """Raises `Damaged` for what is no CAR, and for a block that is not what its CID says.

    The roots that it names are passed over: whoever asks for a file knows which.
    """
    at = _after_header(data)
    view = memoryview(data)
    blocks: dict[bytes, memoryview] = {}
    while at < len(data):
        section = _section(view, at)
        if section is None:
            return Car(blocks, whole=False)
        cid, block = _split(section)
        if not cid.fits(block):
            raise Damaged(f"a block in a CAR is not what its CID says: {cid.text}")
        blocks[cid.hash] = block
        at += len(section) + _number_size(view, at)
    return Car(blocks, whole=True)


def _after_header(data: bytes) -> int:
    size, at = read_varint(data, 0)
    if not 0 < size <= min(_LARGEST_HEADER, len(data) - at):
        raise Damaged("it is no CAR: it has no header")
    if _VERSION not in data[at : at + size]:
        raise Damaged("it is no CAR of version 1")
    return at + size


def _section(view: memoryview, at: int) -> memoryview | None:
    """A CID and its block, without their length before them; None where they are cut off."""
    try:
        size, start = read_varint(bytes(view[at : at + _LARGEST_NUMBER]), 0)
    except Damaged:
        if len(view) - at < _LARGEST_NUMBER:
            return None
        raise
    return view[at + start : at + start + size] if size <= len(view) - at - start else None


def _number_size(view: memoryview, at: int) -> int:
    return read_varint(bytes(view[at : at + _LARGEST_NUMBER]), 0)[1]


def _split(section: memoryview) -> tuple[Cid, memoryview]:
    size = _cid_size(bytes(section[:_LARGEST_CID]))
    return from_binary(bytes(section[:size])), section[size:]


def _cid_size(data: bytes) -> int:
    """Bytes of the CID with which *data* begins."""
    if data.startswith(SHA2_256):
        return len(SHA2_256) + 32
    at = 0
    for _ in ("version", "codec", "hash function"):
        _, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return at + size
