"""What IPFS writes its records in: numbers, fields and maps go there and back, and have one form only."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged
from dwebbackup.links import cbor, protobuf

NUMBERS = st.integers(0, (1 << 64) - 1)
VALUES = NUMBERS | st.integers(-(1 << 64), -1) | st.binary(max_size=300) | st.text(max_size=300)
MAPS = st.dictionaries(st.text(max_size=30), VALUES, max_size=30)


@given(NUMBERS, st.binary(max_size=3))
def test_a_number_comes_back(value: int, before: bytes):
    written = protobuf.varint(value)
    assert protobuf.read_varint(before + written + b"\x01", len(before)) == (value, len(before) + len(written))


def test_numbers_as_the_specification_has_them():
    assert [protobuf.varint(value).hex() for value in (0, 1, 127, 128, 150, 300, (1 << 64) - 1)] == [
        "00",
        "01",
        "7f",
        "8001",
        "9601",
        "ac02",
        "ffffffffffffffffff01",
    ]


@pytest.mark.parametrize("wrong", ["", "80", "8000", "ff8000", "ff" * 10 + "01", "ffffffffffffffffff02"])
def test_a_number_that_is_cut_off_or_longer_than_it_need_be_is_refused(wrong: str):
    with pytest.raises(Damaged, match="no number at byte 0"):
        protobuf.read_varint(bytes.fromhex(wrong), 0)


@given(st.dictionaries(st.integers(1, 1 << 28), NUMBERS | st.binary(max_size=300), max_size=10))
def test_fields_come_back(fields: dict[int, int | bytes]):
    written = b"".join(
        protobuf.number_field(field, value) if isinstance(value, int) else protobuf.bytes_field(field, value)
        for field, value in fields.items()
    )
    assert protobuf.read_fields(written) == fields


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("08010801", "field 1 stands there twice"),
        ("0a0261", "cut off: field 1 has 2 bytes, and 1 are there"),
        ("0d00000000", "field 1 is neither a number nor bytes"),
        ("08", "no number at byte 1"),
    ],
)
def test_fields_that_are_not_in_order_are_refused(wrong: str, why: str):
    with pytest.raises(Damaged, match=why):
        protobuf.read_fields(bytes.fromhex(wrong))


@given(MAPS)
def test_a_map_comes_back(entries: dict[str, cbor.Value]):
    assert cbor.decode_map(cbor.encode_map(entries)) == entries


@given(MAPS, st.data())
def test_a_changed_map_is_another_one_or_none(entries: dict[str, cbor.Value], draw: st.DataObject):
    written = bytearray(cbor.encode_map(entries))
    place = draw.draw(st.integers(0, len(written) - 1))
    written[place] ^= draw.draw(st.integers(1, 255))
    try:
        read = cbor.decode_map(bytes(written))
    except Damaged:
        return
    assert read != entries


@given(st.binary(max_size=60))
def test_junk_is_refused_and_nothing_worse(junk: bytes):
    for read in (cbor.decode_map, protobuf.read_fields):
        with suppress(Damaged):
            read(junk)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("00", "no map"),
        ("a1", "cut off"),
        ("a10101", "a key in it is no text"),
        ("a1616181", "neither a whole number nor bytes nor a text"),
        ("a16161f6", "neither a whole number nor bytes nor a text"),
        ("a161617f", "does not know"),
        ("a1616161ff", "not UTF-8"),
        ("a16161180a", "one form"),  # ten, in two bytes
        ("a2616201616101", "one form"),  # b before a
        ("a2616101616102", "one form"),  # a twice
        ("a1616101ff", "one form"),  # and a byte more
        ("a161615bffffffffffffffff", "cut off"),
        ("a161611a00", "cut off"),
    ],
)
def test_a_map_in_another_form_is_refused(written: str, why: str):
    with pytest.raises(Damaged, match=why):
        cbor.decode_map(bytes.fromhex(written))
