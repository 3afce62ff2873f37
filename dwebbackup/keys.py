"""From 24 words to every key, and from key lines back: owner, writer and reader keys.

Everything is derived from the 32 bytes of entropy that 24 English BIP39 words stand for (no passphrase):
HKDF-SHA256 (RFC 5869) with salt `dwebbackup/1`, 32 bytes each, one info label a key and one use a label:

    owner/age            X25519 secret: opens everything
    owner/sign           Ed25519 seed: retires writers
    writer/<n>/sign      Ed25519 seed: indexes, manifests, checkpoints and heads of writer n (decimal, from 1)
    writer/<n>/registry  Ed25519 seed: its Skynet registry entry
    writer/<n>/ipns      Ed25519 seed: its IPNS record
    writer/<n>/chunks    key of its chunk names
    writer/<n>/catalog   X25519 secret: opens its indexes and manifests
    writer/<n>/reader    X25519 secret: opens its packs

Labels that end in `-pq` are reserved for hybrid post-quantum keys.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.ports import HeadKeys
from dwebbackup.primitives import (
    damaged,
    ed25519_public,
    from_bech32,
    hkdf,
    sign,
    to_bech32,
    verify,
    x25519_public,
)
from dwebbackup.words import KEY_HINT, entropy_of, split_words, word_list

_SALT = b"dwebbackup/1"
_LINE_VERSION = 1
_LINE_HEAD = struct.Struct(">BI")  # version, writer number
_RETIREMENT = struct.Struct(">IQ32s64s")  # number, sequence, digest of the manifest, signature
_RETIRE_LABEL = b"dwebbackup/retire/1\0"


# --- the three keys ---


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """The key that can do everything: 32 bytes of entropy, written as 24 words."""

    entropy: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_sizes(32, self.entropy)

    @classmethod
    def generate(cls) -> OwnerKey:
        return cls(os.urandom(32))

    @classmethod
    def from_words(cls, text: str) -> OwnerKey:
        """The inverse of `words`, as people paste them. Raises `WrongConfiguration`, as `parse_key` does."""
        return cls(entropy_of(split_words(text)))

    @property
    def words(self) -> str:
        """24 lower-case English words with spaces between them (BIP39)."""
        return word_list().to_mnemonic(self.entropy)

    @property
    def identity(self) -> bytes:
        """The X25519 secret that opens whatever any writer sealed."""
        return self._derive("owner/age")

    @property
    def recipient(self) -> bytes:
        return x25519_public(self.identity)

    @property
    def sign_seed(self) -> bytes:
        return self._derive("owner/sign")

    @property
    def verify_key(self) -> bytes:
        return ed25519_public(self.sign_seed)

    def writer(self, number: int) -> WriterKey:
        """The writer of that number. Raises `WrongConfiguration` for what is not a writer's number."""
        return WriterKey(
            number=number,
            sign_seed=self._derive(f"writer/{number}/sign"),
            registry_seed=self._derive(f"writer/{number}/registry"),
            ipns_seed=self._derive(f"writer/{number}/ipns"),
            chunk_key=self._derive(f"writer/{number}/chunks"),
            catalog_identity=self._derive(f"writer/{number}/catalog"),
            owner_recipient=self.recipient,
            reader_recipient=x25519_public(self._derive(f"writer/{number}/reader")),
            owner_verify_key=self.verify_key,
        )

    def reader(self, number: int) -> ReaderKey:
        """The key that restores what writer *number* backed up. Raises as `writer` does."""
        return ReaderKey(
            number=number,
            identity=self._derive(f"writer/{number}/reader"),
            catalog_identity=self._derive(f"writer/{number}/catalog"),
            verify_key=ed25519_public(self._derive(f"writer/{number}/sign")),
            head_keys=self.writer(number).head_keys,
        )

    def retire(self, number: int, sequence: int, manifest_sha256: bytes) -> Retirement:
        """State that writer *number* ended with the manifest of that sequence and digest."""
        statement = _retirement_statement(number, self.writer(number).verify_key, sequence, manifest_sha256)
        return Retirement(number, sequence, manifest_sha256, sign(self.sign_seed, _RETIRE_LABEL, statement))

    def _derive(self, label: str) -> bytes:
        return hkdf(self.entropy, _SALT, label.encode())


@dataclass(frozen=True, slots=True)
class WriterKey:
    """The key that adds backups as one writer and reads that writer's catalog; it opens no row.

    `line` is Bech32 with the prefix `dwbw` over

        version           1 byte: 1
        number            4, big-endian
        sign_seed        32
        registry_seed    32
        ipns_seed        32
        chunk_key        32
        catalog_identity 32
        owner_recipient  32, public
        reader_recipient 32, public
        owner_verify_key 32, public
        retired         108, or absent: number 4, sequence 8, manifest_sha256 32, signature 64
        check             4: the first bytes of SHA-256 over all before them

    The check is there because Bech32 promises to find errors in 90 characters only, and never
    some insertions before a final `p`.
    """

    number: int
    sign_seed: bytes = field(repr=False)
    registry_seed: bytes = field(repr=False)
    ipns_seed: bytes = field(repr=False)
    chunk_key: bytes = field(repr=False)
    catalog_identity: bytes = field(repr=False)
    owner_recipient: bytes
    reader_recipient: bytes
    owner_verify_key: bytes
    """By which the owner's words are known, such as where a writer begins."""
    retired: Retirement | None = None
    """How the writer before this one ended, as the owner states it."""

    def __post_init__(self) -> None:
        _require_number(self.number)
        _require_sizes(32, *self._parts)

    @property
    def id(self) -> str:
        return writer_id(self.verify_key)

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key under which this writer's signatures hold."""
        return ed25519_public(self.sign_seed)

    @property
    def catalog_recipient(self) -> bytes:
        return x25519_public(self.catalog_identity)

    @property
    def head_keys(self) -> HeadKeys:
        """Under which networks keep what this writer says is newest."""
        return HeadKeys(ed25519_public(self.ipns_seed), ed25519_public(self.registry_seed))

    @property
    def line(self) -> str:
        """The key as text, for a variable or a file: a secret. Its layout stands above."""
        return _to_line("dwbw", self.number, *self._parts, self.retired.to_bytes() if self.retired else b"")

    @property
    def _parts(self) -> tuple[bytes, ...]:
        return (
            self.sign_seed,
            self.registry_seed,
            self.ipns_seed,
            self.chunk_key,
            self.catalog_identity,
            self.owner_recipient,
            self.reader_recipient,
            self.owner_verify_key,
        )


@dataclass(frozen=True, slots=True)
class ReaderKey:
    """The key that restores the backups of one writer, and no other's.

    `line` is Bech32 with the prefix `dwbr` over

        version           1 byte: 1
        number            4, big-endian
        identity         32
        catalog_identity 32
        verify_key       32, public
        ipns key         32, public
        registry key     32, public
        check             4: the first bytes of SHA-256 over all before them
    """

    number: int
    identity: bytes = field(repr=False)
    catalog_identity: bytes = field(repr=False)
    verify_key: bytes
    head_keys: HeadKeys
    """Under which networks keep what the writer says is newest."""

    def __post_init__(self) -> None:
        _require_number(self.number)
        _require_sizes(32, *self._parts)

    @property
    def id(self) -> str:
        return writer_id(self.verify_key)

    @property
    def line(self) -> str:
        """The key as text, for a variable or a file: a secret. Its layout stands above."""
        return _to_line("dwbr", self.number, *self._parts)

    @property
    def _parts(self) -> tuple[bytes, ...]:
        return (self.identity, self.catalog_identity, self.verify_key, self.head_keys.ipns, self.head_keys.registry)


Key: TypeAlias = OwnerKey | WriterKey | ReaderKey


def writer_id(verify_key: bytes) -> str:
    """The name of a writer in stores: 20 hex digits of SHA-256 over a label and its Ed25519 public key."""
    return hashlib.sha256(b"dwebbackup/writer/1\0" + verify_key).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Retirement:
    r"""The owner's statement that writer *number* ended with the manifest of that sequence and digest.

    The signature is the owner's, under the label `dwebbackup/retire/1\0`, over number (4 bytes, big-endian),
    the retired writer's verify key (32), sequence (8, big-endian) and the manifest's SHA-256 (32).
    """

    number: int
    sequence: int
    manifest_sha256: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _require_sizes(32, self.manifest_sha256)
        _require_sizes(64, self.signature)

    def is_signed_by(self, owner: bytes, writer: bytes) -> bool:
        """Whether it is the word of the owner with that verify key, about the writer with that verify key."""
        statement = _retirement_statement(self.number, writer, self.sequence, self.manifest_sha256)
        return verify(owner, _RETIRE_LABEL, statement, self.signature)

    def to_bytes(self) -> bytes:
        """108 bytes: number 4, sequence 8 (both big-endian), manifest_sha256 32, signature 64."""
        return _RETIREMENT.pack(self.number, self.sequence, self.manifest_sha256, self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Retirement:
        """The inverse of `to_bytes`; checks no signature. Raises `Damaged`."""
        if len(data) != _RETIREMENT.size:
            raise Damaged(f"a writer's retirement has {_RETIREMENT.size} bytes, not {len(data)}")
        return cls(*_RETIREMENT.unpack(data))


def _retirement_statement(number: int, verify_key: bytes, sequence: int, manifest_sha256: bytes) -> bytes:
    return number.to_bytes(4, "big") + verify_key + sequence.to_bytes(8, "big") + manifest_sha256


def _require_sizes(size: int, *values: bytes) -> None:
    if any(len(value) != size for value in values):
        raise ValueError(f"every part of this key has {size} bytes")


def _require_number(number: int) -> None:
    if not 1 <= number < 1 << 32:
        raise WrongConfiguration(f"there is no writer {number}", "Writers are numbered 1, 2, 3 and so on.")


# --- key lines ---


def parse_key(text: str) -> Key:
    """Read the words, a writer line or a reader line, as people paste them.

    White space, line breaks and upper case do not matter; words may be a numbered list, and are then
    taken in the order of their numbers. Raises `WrongConfiguration`, which names a misspelt word
    and its place, and shows nothing else of what it was given.
    """
    line = "".join(text.split())
    if not line:
        raise WrongConfiguration("the key is empty", KEY_HINT)
    if line.lower().startswith("age-secret-key-"):
        raise WrongConfiguration("this is an age identity, which is only one of an owner's keys", KEY_HINT)
    if re.match(r"dwb[a-z]1", line.lower()):
        return _parse_line(line)
    return OwnerKey.from_words(text)


def _to_line(prefix: str, number: int, *parts: bytes) -> str:
    payload = _LINE_HEAD.pack(_LINE_VERSION, number) + b"".join(parts)
    return to_bech32(prefix, payload + _check(payload))


def _parse_line(line: str) -> WriterKey | ReaderKey:
    prefix, payload = from_bech32(line)
    # The version comes first: a newer one may lay out all that follows, the check too, in another way.
    if prefix not in ("dwbw", "dwbr") or payload[:1] != bytes([_LINE_VERSION]):
        raise WrongConfiguration(
            "this key line was made by a newer dwebbackup", "Use that version, or a later one, here too."
        )
    body, check = payload[:-4], payload[-4:]
    if not hmac.compare_digest(check, _check(body)):
        raise damaged()
    return _writer_from(body) if prefix == "dwbw" else _reader_from(body)


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:4]


def _writer_from(body: bytes) -> WriterKey:
    number, (sign_seed, registry, ipns, chunks, catalog, owner, reader, verify_key), rest = _cut(body, 8)
    if rest and len(rest) != _RETIREMENT.size:
        raise damaged()
    retired = Retirement.from_bytes(rest) if rest else None
    return WriterKey(number, sign_seed, registry, ipns, chunks, catalog, owner, reader, verify_key, retired)


def _reader_from(body: bytes) -> ReaderKey:
    number, (identity, catalog, verify_key, ipns, registry), rest = _cut(body, 5)
    if rest:
        raise damaged()
    return ReaderKey(number, identity, catalog, verify_key, HeadKeys(ipns, registry))


def _cut(body: bytes, count: int) -> tuple[int, list[bytes], bytes]:
    """The writer's number, *count* parts of 32 bytes, and whatever comes after them."""
    end = _LINE_HEAD.size + 32 * count
    if len(body) < end:
        raise damaged()
    _, number = _LINE_HEAD.unpack_from(body)
    return number, [body[at : at + 32] for at in range(_LINE_HEAD.size, end, 32)], body[end:]
