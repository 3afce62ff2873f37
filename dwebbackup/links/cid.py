"""A CID, the name of a block on IPFS: what kind of block, how it is hashed, and the hash; as bytes and as text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links.alphabets import BASE32, BASE36, BASE58, LONGEST, Alphabet
from dwebbackup.links.protobuf import read_varint, varint


class Codec(IntEnum):
    """What a block is. There are more; these are what files and names need."""

    RAW = 0x55
    """Bytes of a file, as they are."""
    DAG_PB = 0x70
    """A node that names other blocks, or holds bytes of a file in a frame."""
    LIBP2P_KEY = 0x72
    """A public key: the CID is an IPNS name."""


SHA2_256 = bytes([0x12, 32])
"""Before a digest: SHA-256, of 32 bytes."""

IDENTITY = 0x00
"""Not hashed: the block itself stands in its CID."""

LONGEST_IDENTITY = 128
"""Bytes, as in kubo."""

_PREFIXES = {"b": BASE32, "k": BASE36, "z": BASE58}
"""The first character of a CIDv1's text says what the others are written in."""


@dataclass(frozen=True, slots=True)
class Cid:
    """Version 1, or 0, which has no codec written down: it is always a dag-pb node and SHA-256."""

    version: int
    codec: Codec
    hash: bytes
    """The multihash: which function, how many bytes, and these."""

    def __post_init__(self) -> None:
        assert self.version == 1 or (self.version, self.codec, self.hash[:2]) == (0, Codec.DAG_PB, SHA2_256)

    @property
    def binary(self) -> bytes:
        """As it stands in blocks that name it."""
        return self.hash if self.version == 0 else b"\x01" + varint(self.codec) + self.hash

    @property
    def text(self) -> str:
        """The usual form: base58 for version 0, base36 for a key, and base32 for all else."""
        if self.version == 0:
            return BASE58.encode(self.hash)
        return self.text_in(BASE36 if self.codec is Codec.LIBP2P_KEY else BASE32)

    def text_in(self, alphabet: Alphabet) -> str:
        """Another form of version 1."""
        assert self.version == 1
        prefix = next(prefix for prefix, each in _PREFIXES.items() if each is alphabet)
        return prefix + alphabet.encode(self.binary)

    @property
    def inline(self) -> bytes | None:
        """The block itself, where it stands in its name."""
        function, at = read_varint(self.hash, 0)
        _, at = read_varint(self.hash, at)
        return self.hash[at:] if function == IDENTITY else None

    def fits(self, block: bytes | memoryview) -> bool:
        """Whether it is the name of *block*."""
        if self.inline is not None:
            return self.inline == block
        return SHA2_256 + hashlib.sha256(block).digest() == self.hash

    def same_block(self, other: Cid) -> bool:
        """Whether both name the same block; a node may be named in either version."""
        return (self.codec, self.hash) == (other.codec, other.hash)


def parse(text: str) -> Cid:
    """The inverse of `Cid.text` and `Cid.text_in`. Raises `WrongConfiguration`."""
    try:
        cid = _version_0(text) if text.startswith("Qm") else _version_1(text)
    except (Damaged, WrongConfiguration) as error:
        raise WrongConfiguration(f"{text[:LONGEST]!r} is no CID: {error}", "copy it again, whole") from error
    return cid


def from_binary(data: bytes) -> Cid:
    """The inverse of `Cid.binary`. Raises `Damaged`."""
    if data[:2] == SHA2_256:
        if len(data) != 34:
            raise Damaged(f"a CID of version 0 has 34 bytes, and this is {len(data)}")
        return Cid(0, Codec.DAG_PB, data)
    version, at = read_varint(data, 0)
    if version != 1:
        raise Damaged(f"it is of version {version}, and 0 and 1 are known")
    codec, at = read_varint(data, at)
    if codec not in list(Codec):
        raise Damaged(f"its codec, {codec:#x}, is none of raw, dag-pb and libp2p-key")
    _check_hash(data[at:])
    return Cid(1, Codec(codec), data[at:])


def _version_0(text: str) -> Cid:
    if len(text) != 46:
        raise WrongConfiguration(f"it has {len(text)} characters, and one that begins with Qm has 46")
    data = BASE58.decode(text)
    if len(data) != 34 or data[:2] != SHA2_256:
        raise WrongConfiguration("it is not the name of a SHA-256")
    return Cid(0, Codec.DAG_PB, data)


def _version_1(text: str) -> Cid:
    alphabet = _PREFIXES.get(text[:1])
    if alphabet is None:
        raise WrongConfiguration("those that are known here begin with Qm, b, k or z, in lower case")
    cid = from_binary(alphabet.decode(text[1:], prefix=text[:1]))
    if cid.version == 0:
        raise WrongConfiguration(f"version 0 is written without {text[0]!r}")
    return cid


def _check_hash(multihash: bytes) -> None:
    function, at = read_varint(multihash, 0)
    size, at = read_varint(multihash, at)
    if size != len(multihash) - at:
        raise Damaged(f"its hash should have {size} bytes, and has {len(multihash) - at}")
    if function == IDENTITY and size <= LONGEST_IDENTITY:
        return
    if multihash[:at] != SHA2_256:
        raise Damaged(f"its hash is of kind {function:#x} with {size} bytes, and SHA-256 with 32 is known")
