"""An entry of Skynet's registry, signed by its owner, who may replace it; and the skylink that always leads to it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links import signing
from dwebbackup.links.skylink import Skylink, from_binary

ROOM = 113
"""Bytes of data that an entry may have."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands under a public key and a data key."""

    data: bytes
    revision: int
    """Of two entries, the higher one is valid; a host refuses to go back."""

    def __post_init__(self) -> None:
        if len(self.data) > ROOM:
            raise WrongConfiguration(
                f"an entry of the registry has room for {ROOM} bytes, and not for {len(self.data)}"
            )
        if not 0 <= self.revision < 1 << 64:
            raise WrongConfiguration(f"{self.revision} is no revision: it has to fit into 64 bits")

    @classmethod
    def leading_to(cls, skylink: Skylink, revision: int) -> Entry:
        """One that the resolver skylink leads through."""
        return cls(skylink.binary, revision)

    @property
    def skylink(self) -> Skylink:
        """The inverse of `leading_to`. Raises `Damaged`."""
        return from_binary(self.data)

    def digest(self, data_key: bytes) -> bytes:
        """What is signed."""
        return _hash(data_key + _number(len(self.data)) + self.data + _number(self.revision))


def data_key(name: str) -> bytes:
    """Of an entry that is called *name*; any other 32 bytes would do as well."""
    text = name.encode()
    return _hash(_number(len(text)) + text)


def resolver(public: bytes, key: bytes) -> Skylink:
    """The skylink of version 2 that leads to whatever the entry with data key *key* leads to."""
    algorithm = b"ed25519".ljust(16, b"\0")
    return Skylink(2, _hash(algorithm + _number(len(public)) + public + key))


def sign(seed: bytes, key: bytes, entry: Entry) -> bytes:
    """The signature, 64 bytes, with which a portal takes *entry* under data key *key*."""
    return signing.sign(seed, entry.digest(key))


def verify(public: bytes, key: bytes, entry: Entry, signature: bytes) -> Entry:
    """*entry*, if it was signed by the owner of *public*, for *key*. Raises `Damaged`."""
    if not signing.verifies(public, entry.digest(key), signature):
        raise Damaged("this entry of the registry was not signed with the key that was asked for")
    return entry


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")
