r"""Signed and sealed records: how an index, a manifest or a checkpoint becomes an object in a store, and back.

    age file ─┬─ skippable frame 0: 32 bytes Ed25519 public key of the signer, 64 bytes signature
              ├─ one zstd frame: the JSON
              └─ skippable frame 15: padding (Padmé)

The signature covers `dwebbackup/<kind>/1\\0` and every byte behind the first frame, as they were transported,
so that nothing is parsed or decompressed before it holds. `age -d | zstd -dc` prints the JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dwebbackup import age
from dwebbackup.compression import compress, decompress, skippable_frame
from dwebbackup.documents import decode, encode
from dwebbackup.errors import BackupFailed, Damaged
from dwebbackup.keys import WriterKey
from dwebbackup.manifest import Checkpoint, Genesis, Head, Index, Manifest, Restoration, Streams
from dwebbackup.packing import padding
from dwebbackup.primitives import sign, verify

LARGEST = 64 * 1024 * 1024
"""Bytes of JSON that a reader accepts."""

LONGEST_LINE = 64 * 1024
"""Bytes of a head or a genesis that a reader accepts."""

_LINES = re.compile(rb"([^\n]+)\n([0-9a-f]{128})\n")

SIGNATURE = 0
_SIGNED = 8 + 32 + 64

Sealable = Manifest | Index | Checkpoint | Streams | Restoration
Record = TypeVar("Record", Manifest, Index, Checkpoint, Streams, Restoration)
Line = TypeVar("Line", Head, Genesis)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs, and for whom it is sealed."""

    seed: bytes
    public: bytes
    recipients: tuple[bytes, ...]


def signer_of(key: WriterKey, recipients: Sequence[bytes]) -> Signer:
    """*key* signs, for owner, its own catalog, and extra *recipients*."""
    return Signer(key.sign_seed, key.verify_key, (key.owner_recipient, key.catalog_recipient, *recipients))


@dataclass(frozen=True, slots=True)
class Access:
    """What opens a writer's records: age identities, and the public key that must have signed them."""

    identities: tuple[bytes, ...]
    verify_key: bytes


def kind_of(record: type[Sealable] | Sealable) -> str:
    """`manifest`, `index`, …: in the JSON and in the signature's label."""
    return (record if isinstance(record, type) else type(record)).__name__.lower()


def label(kind: str) -> bytes:
    return f"dwebbackup/{kind}/1\0".encode()


def seal(record: Sealable, signer: Signer) -> bytes:
    """The sealed object of *record*. Raises `BackupFailed` for one that `unseal` would not take."""
    kind = kind_of(record)
    document = encode(kind, record)
    if len(document) > LARGEST:
        raise BackupFailed(
            f"this {kind} would have {len(document)} bytes, and no reader takes more than {LARGEST}",
            "back up fewer tables at once: several databases, each with a store or a writer of its own",
        )
    frame = compress(document)
    signed = frame + padding(_SIGNED + len(frame), 2 * LARGEST)
    signature = sign(signer.seed, label(kind), signed)
    return age.seal(skippable_frame(signer.public + signature, SIGNATURE) + signed, signer.recipients)


def unseal(record: type[Record], sealed: bytes, access: Access, without: Collection[str] = ()) -> Record:
    """The inverse of `seal`; fields *without* which it will do are not decoded.

    Raises `Damaged` unless it opens, *access*'s writer signed it and it is whole; `KeyForbids` when it is
    sealed to others; `ToolMissing` when a newer version wrote it.
    """
    kind = kind_of(record)
    plain = memoryview(age.unseal(sealed, access.identities))
    public, signature = _signature_in(plain, kind)
    if public != access.verify_key:
        raise Damaged(
            f"this {kind} was signed by somebody else than its writer",
            "somebody who may write to the store put it there; it is not one of your backups",
        )
    if not verify(access.verify_key, label(kind), bytes(plain[_SIGNED:]), signature):
        raise Damaged(f"the signature of this {kind} does not hold")
    return decode(kind, record, decompress(plain[_SIGNED:], LARGEST), without)


def signer_in(sealed: bytes, identities: Sequence[bytes]) -> bytes:
    """Whose signature a manifest carries; whether it holds, only `unseal` says. Raises as that does."""
    return _signature_in(memoryview(age.unseal(sealed, identities)), kind_of(Manifest))[0]


def _signature_in(plain: memoryview, kind: str) -> tuple[bytes, bytes]:
    """Public key and signature. Raises `Damaged`."""
    if bytes(plain[:8]) != skippable_frame(bytes(_SIGNED - 8), SIGNATURE)[:8] or len(plain) < _SIGNED:
        raise Damaged(f"this {kind} carries no signature")
    return bytes(plain[8:40]), bytes(plain[40:_SIGNED])


def digest(sealed: bytes) -> str:
    """The name of a sealed object: SHA-256 of its bytes, in hex."""
    return hashlib.sha256(sealed).hexdigest()


def check(name: str, sealed: bytes, sha256: str) -> bytes:
    """*sealed* itself. Raises `Damaged` unless it is what its name says."""
    if digest(sealed) != sha256:
        raise Damaged(f"{name} is not what its name says: cut, changed or swapped", "run `dwebbackup verify`")
    return sealed


def write_line(record: Head | Genesis, seed: bytes) -> bytes:
    """One line of JSON, then one line with the signature over the first (without its line end) in hex."""
    kind = type(record).__name__.lower()
    line = encode(kind, record)
    return line + b"\n" + sign(seed, label(kind), line).hex().encode() + b"\n"


def read_line(record: type[Line], data: bytes, verify_key: bytes) -> Line:
    """The inverse of `write_line`. Raises `Damaged` unless the holder of *verify_key*'s seed signed it."""
    kind = record.__name__.lower()
    lines = _LINES.fullmatch(data) if len(data) <= LONGEST_LINE else None
    if not lines:
        raise Damaged(f"this is not a {kind}: a line of JSON, then a line with its signature")
    if not verify(verify_key, label(kind), lines[1], bytes.fromhex(lines[2].decode())):
        raise Damaged(f"the signature of this {kind} does not hold")
    return decode(kind, record, lines[1])
