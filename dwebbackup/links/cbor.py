"""The part of DAG-CBOR that an IPNS record is written in: a map of whole numbers, byte strings and texts."""

from __future__ import annotations

from collections.abc import Mapping

from dwebbackup.errors import Damaged

Value = int | bytes | str

_POSITIVE, _NEGATIVE, _BYTES, _TEXT, _MAP = 0, 1, 2, 3, 5  # major types


def encode_map(entries: Mapping[str, Value]) -> bytes:
    """In the one order that there is: shorter keys first."""
    pairs = [(key.encode(), value) for key, value in entries.items()]
    pairs.sort(key=lambda pair: (len(pair[0]), pair[0]))
    body = b"".join(_head(_TEXT, len(key)) + key + _encode(value) for key, value in pairs)
    return _head(_MAP, len(pairs)) + body


def decode_map(data: bytes) -> dict[str, Value]:
    """What `encode_map` wrote, in its one form. Raises `Damaged`."""
    kind, number, at = _read_head(data, 0)
    if kind != _MAP:
        raise Damaged("it is no map")
    entries: dict[str, Value] = {}
    for _ in range(number):
        key, at = _read(data, at)
        if not isinstance(key, str):
            raise Damaged("a key in it is no text")
        entries[key], at = _read(data, at)
    if encode_map(entries) != data:
        raise Damaged("it is not in the one form that DAG-CBOR has: keys out of order, or twice, or bytes too many")
    return entries


def _encode(value: Value) -> bytes:
    if isinstance(value, int):
        return _head(_POSITIVE, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    body = value.encode() if isinstance(value, str) else value
    return _head(_TEXT if isinstance(value, str) else _BYTES, len(body)) + body


def _head(kind: int, number: int) -> bytes:
    """The first byte has the kind and a number below 24, or in how many bytes a greater one follows."""
    if number < 24:
        return bytes([kind << 5 | number])
    power = next(power for power in range(4) if number < 1 << (8 << power))
    return bytes([kind << 5 | 24 + power]) + number.to_bytes(1 << power, "big")


def _read_head(data: bytes, at: int) -> tuple[int, int, int]:
    """Kind, number, and the place behind them."""
    if at >= len(data):
        raise Damaged("it is cut off")
    kind, number = data[at] >> 5, data[at] & 31
    at += 1
    if number < 24:
        return kind, number, at
    if number > 27:
        raise Damaged(f"a length that DAG-CBOR does not know stands at byte {at - 1}")
    size = 1 << number - 24
    if size > len(data) - at:
        raise Damaged("it is cut off")
    return kind, int.from_bytes(data[at : at + size], "big"), at + size


def _read(data: bytes, at: int) -> tuple[Value, int]:
    kind, number, at = _read_head(data, at)
    if kind == _POSITIVE:
        return number, at
    if kind == _NEGATIVE:
        return -1 - number, at
    if kind not in (_BYTES, _TEXT):
        raise Damaged("something in it is neither a whole number nor bytes nor a text")
    if number > len(data) - at:
        raise Damaged("it is cut off")
    body = data[at : at + number]
    if kind == _BYTES:
        return body, at + number
    try:
        return body.decode(), at + number
    except UnicodeDecodeError as error:
        raise Damaged("a text in it is not UTF-8") from error
