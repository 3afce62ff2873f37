"""The part of Protocol Buffers that IPFS is written in: numbers and byte strings, in numbered fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dwebbackup.errors import Damaged

_LONGEST_VARINT = 10
"""Bytes, for 64 bits."""

_NUMBER, _BYTES = 0, 2  # wire types


def varint(value: int) -> bytes:
    """*value* in as few groups of seven bits as it takes, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at *at*, and the place behind it. Raises `Damaged`, also for one written longer than it need be."""
    value = 0
    for place, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if (place and not byte) or value >= 1 << 64:
                break
            return value, at + place + 1
    raise Damaged(f"there is no number at byte {at}")


def number_field(field: int, value: int) -> bytes:
    return varint(field << 3 | _NUMBER) + varint(value)


def bytes_field(field: int, data: bytes) -> bytes:
    return bytes_head(field, len(data)) + data


def bytes_head(field: int, size: int) -> bytes:
    """What stands before the bytes."""
    return varint(field << 3 | _BYTES) + varint(size)


def read_fields(message: bytes) -> Mapping[int, int | bytes]:
    """Field numbers and what stands there. Raises `Damaged`, also for a field that comes twice."""
    found: dict[int, int | bytes] = {}
    for field, value in each_field(message):
        if field in found:
            raise Damaged(f"field {field} stands there twice")
        found[field] = value
    return found


def each_field(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The same in the order in which they stand there, and as often. Raises `Damaged`."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        value, at = read_varint(message, at)
        if tag & 7 == _NUMBER:
            yield tag >> 3, value
        elif tag & 7 == _BYTES:
            if value > len(message) - at:
                raise Damaged(f"it is cut off: field {tag >> 3} has {value} bytes, and {len(message) - at} are there")
            yield tag >> 3, message[at : at + value]
            at += value
        else:
            raise Damaged(f"field {tag >> 3} is neither a number nor bytes")
