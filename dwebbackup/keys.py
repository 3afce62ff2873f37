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

import functools
import hashlib
import hmac
import os
import re
import shlex
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias

from bech32 import CHARSET, bech32_encode, bech32_verify_checksum, convertbits
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from dwebbackup.errors import Damaged, WrongConfiguration

_SALT = b"dwebbackup/1"
_WORDS = 24
_LINE_VERSION = 1
_LINE_HEAD = struct.Struct(">BI")  # version, writer number
_RETIREMENT = struct.Struct(">IQ32s64s")  # number, sequence, digest of the manifest, signature
_RETIRE_LABEL = b"dwebbackup/retire/1\0"
_KEY_HINT = "A key is 24 words, or one line that begins with dwbw1 (writer) or dwbr1 (reader)."


# --- what keys are made of, and made into ---


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def x25519_public(secret: bytes) -> bytes:
    """The public half of an X25519 secret (RFC 7748), 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def ed25519_public(seed: bytes) -> bytes:
    """The key that verifies what *seed* signs (RFC 8032), 32 bytes each."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, label: bytes, data: bytes) -> bytes:
    """An Ed25519 signature, 64 bytes, over *label* and *data*.

    The label says what kind of thing is signed, and ends with a zero byte that stands nowhere else in it:
    so a signature for one kind is never one for another.
    """
    return Ed25519PrivateKey.from_private_bytes(seed).sign(label + data)


def verify(public: bytes, label: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `sign` made *signature* with the seed of *public*. Malformed keys and signatures are a no."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, label + data)
    except (InvalidSignature, ValueError):
        return False
    return True


def to_bech32(prefix: str, payload: bytes) -> str:
    """Lower-case Bech32 (BIP173, without its limit of 90 characters, as age uses it)."""
    values = convertbits(payload, 8, 5)
    assert values is not None  # only values above 255 have no answer
    return bech32_encode(prefix, values)


def from_bech32(text: str) -> tuple[str, bytes]:
    """Prefix (lower case) and payload of Bech32 text, which is wholly lower or wholly upper case.

    Raises `WrongConfiguration`, without the text, which may be a secret. `bech32_decode` of the package
    is not used, because BIP173 lets it refuse more than 90 characters.
    """
    lower = text.lower()
    prefix, _, data = lower.rpartition("1")
    values = [CHARSET.find(character) for character in data]
    intact = (
        text.isascii() and text in (lower, text.upper()) and -1 not in values and bech32_verify_checksum(prefix, values)
    )
    payload = convertbits(values[:-6], 5, 8, pad=False) if intact else None  # six are the checksum
    if payload is None:
        raise _damaged()
    return prefix, bytes(payload)


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
        return cls(_entropy(_split_words(text)))

    @property
    def words(self) -> str:
        """24 lower-case English words with spaces between them (BIP39)."""
        return _word_list().to_mnemonic(self.entropy)

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
        )

    def reader(self, number: int) -> ReaderKey:
        """The key that restores what writer *number* backed up. Raises as `writer` does."""
        return ReaderKey(
            number=number,
            identity=self._derive(f"writer/{number}/reader"),
            catalog_identity=self._derive(f"writer/{number}/catalog"),
            verify_key=ed25519_public(self._derive(f"writer/{number}/sign")),
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
        check             4: the first bytes of SHA-256 over all before them
    """

    number: int
    identity: bytes = field(repr=False)
    catalog_identity: bytes = field(repr=False)
    verify_key: bytes

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
        return (self.identity, self.catalog_identity, self.verify_key)


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
        raise WrongConfiguration("the key is empty", _KEY_HINT)
    if line.lower().startswith("age-secret-key-"):
        raise WrongConfiguration("this is an age identity, which is only one of an owner's keys", _KEY_HINT)
    if re.match(r"dwb[a-z]1", line.lower()):
        return _parse_line(line)
    return OwnerKey.from_words(text)


def _damaged() -> WrongConfiguration:
    return WrongConfiguration(
        "this key is damaged: its checksum does not hold",
        "A character of it was changed or lost, or it was cut off: copy it again, whole.",
    )


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
        raise _damaged()
    return _writer_from(body) if prefix == "dwbw" else _reader_from(body)


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:4]


def _writer_from(body: bytes) -> WriterKey:
    number, (sign_seed, registry, ipns, chunks, catalog, owner, reader), rest = _cut(body, 7)
    if rest and len(rest) != _RETIREMENT.size:
        raise _damaged()
    retired = Retirement.from_bytes(rest) if rest else None
    return WriterKey(number, sign_seed, registry, ipns, chunks, catalog, owner, reader, retired)


def _reader_from(body: bytes) -> ReaderKey:
    number, parts, rest = _cut(body, 3)
    if rest:
        raise _damaged()
    return ReaderKey(number, *parts)


def _cut(body: bytes, count: int) -> tuple[int, list[bytes], bytes]:
    """The writer's number, *count* parts of 32 bytes, and whatever comes after them."""
    end = _LINE_HEAD.size + 32 * count
    if len(body) < end:
        raise _damaged()
    _, number = _LINE_HEAD.unpack_from(body)
    return number, [body[at : at + 32] for at in range(_LINE_HEAD.size, end, 32)], body[end:]


# --- words ---


@functools.cache
def _word_list() -> Mnemonic:
    return Mnemonic("english")


def _split_words(text: str) -> list[str]:
    """The words of *text*, lower-case; if they carry the numbers 1 to 24, in the order of these.

    Numbers decide because a sheet in columns, copied line by line, has its words in another order.
    NFKC takes apart the ligatures of printed pages ("ﬁ" in "find"), which no word list has.
    """
    words: list[str] = []
    by_number: dict[str, str] = {}
    number = ""
    for token in re.findall(r"[0-9]+|[^\W\d_]\w*", unicodedata.normalize("NFKC", text).lower()):
        if token[0].isdigit():
            number = token.lstrip("0")
        else:
            words.append(token)
            by_number[number] = token
    order = [str(n) for n in range(1, _WORDS + 1)]
    if len(words) == _WORDS and by_number.keys() == set(order):
        return [by_number[n] for n in order]
    return words


def _entropy(words: list[str]) -> bytes:
    """The 32 bytes that *words* stand for (BIP39). Raises `WrongConfiguration`, which says what is wrong."""
    unknown = [place for place, word in enumerate(words, 1) if word not in _word_list().wordlist]
    if len(words) != _WORDS:
        raise _wrong_count(len(words), unknown)
    if unknown:
        raise _misspelt(words, unknown)
    try:
        return bytes(_word_list().to_entropy(words))
    except ValueError:
        raise WrongConfiguration(
            "the recovery phrase is not right: every word exists, but their checksum does not hold",
            "One word is another than was written down, or two changed places.",
        ) from None


def _wrong_count(count: int, unknown: list[int]) -> WrongConfiguration:
    """Words are not named here: with another count this may be no phrase at all, but some other secret."""
    place = f" The first that is not in the list of words is number {unknown[0]}." if unknown else ""
    return WrongConfiguration(f"a recovery phrase has {_WORDS} words; here are {count}", _KEY_HINT + place)


def _misspelt(words: list[str], unknown: list[int]) -> WrongConfiguration:
    place = unknown[0]
    word = words[place - 1]
    close = get_close_matches(word, _word_list().wordlist)
    hint = f"The closest are: {', '.join(close)}." if close else "No word of the list is close to it."
    if others := ", ".join(str(place) for place in unknown[1:]):
        hint += f" Not in the list either: number {others}."
    return WrongConfiguration(f"word {place} of the recovery phrase, {word!r}, is not in the list", hint)


# --- the sheet to print ---


def recovery_sheet(owner: OwnerKey, stores: Sequence[str], writers: Sequence[tuple[int, str]], date: str) -> str:
    """A page of plain text to print and keep: the words, where the backups are, how to get them back.

    *stores* are URLs without credentials, *writers* numbers and ids. The page is a secret.
    """
    return _SHEET.format(
        date=date,
        words=_in_columns(owner.words.split()),
        stores="\n".join(f"  {url}" for url in stores) or "  (none yet)",
        writers="\n".join(f"  {number}  {name}" for number, name in writers) or "  (none yet)",
        recipient=to_bech32("age", owner.recipient),
        store_variable=shlex.quote(" ".join(stores)) if stores else "...",
    )


def _in_columns(words: Sequence[str], columns: int = 4) -> str:
    cells = [f"{number:2}. {word:<13}" for number, word in enumerate(words, 1)]
    rows = ["".join(cells[at : at + columns]) for at in range(0, len(cells), columns)]
    return "\n".join(f"  {row.rstrip()}" for row in rows)


_SHEET = """\
dwebbackup recovery sheet, {date}

WITHOUT THESE WORDS NOTHING COMES BACK: nobody else has them, and nobody can
find them out. WHOEVER HAS THEM CAN READ EVERY BACKUP. Keep this page on paper,
in two places, away from the rented machine.

The 24 words, in the order of their numbers:

{words}

Where the backups are:

{stores}

Writers (number, id):

{writers}

Every backup is sealed to this age recipient:

  {recipient}

To get the newest backup back, on any machine: put the words into a file, give
the stores their credentials, and name a database to fill.

  export DWEBBACKUP_KEY_FILE=words.txt
  export DWEBBACKUP_STORE={store_variable}
  dwebbackup list
  dwebbackup restore latest --to postgresql://USER@HOST/DATABASE
"""
