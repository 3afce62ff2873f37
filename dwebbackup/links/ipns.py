"""IPNS: the name that a public key is, and the signed record that says where the name leads for now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links import cbor, signing
from dwebbackup.links.alphabets import BASE58, LONGEST
from dwebbackup.links.cid import Cid, Codec, parse
from dwebbackup.links.protobuf import bytes_field, read_fields

SECOND = 10**9
"""Records count in nanoseconds."""

LARGEST = 10 * 1024
"""Bytes of a record."""

_LABEL = b"ipns-signature:"

_ED25519 = bytes.fromhex("08011220")
"""Before a key: a protobuf with its type and its bytes."""

_IDENTITY = bytes([0x00, len(_ED25519) + 32])
"""Before these: they are not hashed."""

_V1 = {1: "Value", 3: "ValidityType", 4: "Validity", 5: "Sequence", 6: "TTL"}
"""Fields of the older version, and what says the same in the newer."""

_SIGNATURE_1, _PUBLIC_KEY, _SIGNATURE_2, _DATA = 2, 7, 8, 9

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)


def name_of(public: bytes) -> Cid:
    """The name that belongs to an Ed25519 key; its `text` begins with k51."""
    assert len(public) == 32
    return Cid(1, Codec.LIBP2P_KEY, _IDENTITY + _ED25519 + public)


def peer_text(name: Cid) -> str:
    """The older form of a name, in which it begins with 12D3."""
    return BASE58.encode(name.hash)


def parse_name(text: str) -> Cid:
    """A name, from any of its forms. Raises `WrongConfiguration`."""
    name = _peer(text) if text.startswith(("1", "Qm")) else parse(text)
    if not _is_of_ed25519(name):
        raise _other_key(text)
    return name


def key_of(name: Cid) -> bytes:
    """The inverse of `name_of`. Raises `WrongConfiguration`."""
    if not _is_of_ed25519(name):
        raise _other_key(name.text)
    return name.hash[-32:]


def _peer(text: str) -> Cid:
    """The inverse of `peer_text`."""
    try:
        return Cid(1, Codec.LIBP2P_KEY, BASE58.decode(text))
    except WrongConfiguration as error:
        raise WrongConfiguration(f"{text[:LONGEST]!r} is no IPNS name: {error}", "copy it again, whole") from error


def _is_of_ed25519(name: Cid) -> bool:
    prefix = _IDENTITY + _ED25519
    return (name.codec, name.hash[:-32], len(name.hash)) == (Codec.LIBP2P_KEY, prefix, len(prefix) + 32)


def _other_key(text: str) -> WrongConfiguration:
    return WrongConfiguration(f"{text!r} is not the name of an Ed25519 key", "these begin with k51 or 12D3")


@dataclass(frozen=True, slots=True)
class Record:
    """Where a name leads."""

    value: str
    """A path: /ipfs/… or /ipns/…"""
    sequence: int
    """Of two valid records, the one with the higher sequence counts."""
    validity: int
    """Until when: nanoseconds since 1970."""
    ttl: int
    """For how long it need not be looked for again: nanoseconds."""

    def is_valid_at(self, now: float) -> bool:
        """*now*: seconds since 1970."""
        return now * SECOND < self.validity


def record(seed: bytes, value: str, sequence: int, validity: int, ttl: int) -> bytes:
    """A record of version 2, signed, for the name of *seed*'s public key. Raises `WrongConfiguration`."""
    data = encode_data(Record(value, sequence, validity, ttl))
    signed = bytes_field(_SIGNATURE_2, signing.sign(seed, _LABEL + data)) + bytes_field(_DATA, data)
    if len(signed) > LARGEST:
        raise WrongConfiguration(f"an IPNS record has at most {LARGEST} bytes, and this would have {len(signed)}")
    return signed


def read_record(signed: bytes, name: Cid) -> Record:
    """The inverse of `record`: what the owner of *name* signed, whether or not it is still valid. Raises `Damaged`."""
    if len(signed) > LARGEST:
        raise Damaged(f"an IPNS record has at most {LARGEST} bytes, and this has {len(signed)}")
    try:
        return _read(read_fields(signed), key_of(name))
    except Damaged as error:
        raise Damaged(f"the IPNS record of {name.text} is not good: {error}") from error


def _read(fields: Mapping[int, int | bytes], public: bytes) -> Record:
    data, signature = fields.get(_DATA), fields.get(_SIGNATURE_2)
    if not isinstance(data, bytes) or not isinstance(signature, bytes):
        raise Damaged("it has no signature of version 2, and others do not count")
    if fields.get(_PUBLIC_KEY, _ED25519 + public) != _ED25519 + public:
        raise Damaged("it comes with another key")
    if not signing.verifies(public, _LABEL + data, signature):
        raise Damaged("its signature does not hold")
    entries = cbor.decode_map(data)
    _check_version_1(fields, entries)
    return _decode_data(entries)


def _check_version_1(fields: Mapping[int, int | bytes], entries: Mapping[str, cbor.Value]) -> None:
    """No signature that is checked covers these, and older programs read them."""
    if not fields.keys() & {*_V1, _SIGNATURE_1}:
        return
    for field, key in _V1.items():
        if fields.get(field, 0) != entries.get(key):  # a 0 is not written
            raise Damaged(f"its two versions differ in {key}")


def encode_data(content: Record) -> bytes:
    """What is signed. Raises `WrongConfiguration`."""
    for number in (content.sequence, content.ttl, content.validity):
        if not 0 <= number < 1 << 64:
            raise WrongConfiguration(f"{number} does not fit into an IPNS record: it has to fit into 64 bits")
    return cbor.encode_map(
        {
            "Value": content.value.encode(),
            "ValidityType": 0,  # a time
            "Validity": _rfc3339(content.validity).encode(),
            "Sequence": content.sequence,
            "TTL": content.ttl,
        }
    )


def _decode_data(entries: Mapping[str, cbor.Value]) -> Record:
    """Entries that others put beside these are their own business."""
    value, validity = entries.get("Value"), entries.get("Validity")
    sequence, ttl = entries.get("Sequence"), entries.get("TTL")
    if not (isinstance(value, bytes) and isinstance(validity, bytes)):
        raise Damaged("it lacks its value or its validity")
    if not (isinstance(sequence, int) and isinstance(ttl, int)) or min(sequence, ttl) < 0:
        raise Damaged("it lacks its sequence or its time to live")
    if entries.get("ValidityType") != 0:
        raise Damaged("it does not say until when it is valid")
    try:
        return Record(value.decode(), sequence, _nanoseconds(validity.decode()), ttl)
    except UnicodeDecodeError as error:
        raise Damaged("its value or its validity is no text") from error


def _rfc3339(moment: int) -> str:
    seconds, nanoseconds = divmod(moment, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""
    return f"{text}{fraction}Z"


def _nanoseconds(text: str) -> int:
    """The inverse of `_rfc3339`; reads other time zones, too. Raises `Damaged`."""
    try:
        if not (match := _TIME.fullmatch(text)):
            raise ValueError(text)  # noqa: TRY301  # as the days that no month has
        whole = datetime.fromisoformat(match[1] + match[3])
    except ValueError as error:
        raise Damaged(f"{text!r}, until when it is valid, is no time") from error
    return int(whole.timestamp()) * SECOND + int((match[2] or "0").ljust(9, "0"))
