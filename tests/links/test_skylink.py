"""Skylinks as bytes and texts: they come back, published ones are read right, and what is none is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links.skylink import SECTOR, Skylink, fetch_size, from_binary, parse
from links.asking import vectors

VECTORS = vectors("skynet")
TEXT = VECTORS["forms"]["text"]
ROOT = bytes(range(32))


def bits_of(link: Skylink) -> int:
    return int.from_bytes(link.binary[:2], "little")


@pytest.mark.parametrize(("size", "bits"), VECTORS["bitfields"])
def test_the_first_two_bytes_tell_the_size(size: int, bits: int):
    assert bits_of(Skylink(1, ROOT, fetch=fetch_size(size))) == bits


def test_both_published_forms_are_read_and_written():
    forms = VECTORS["forms"]
    link = parse(forms["text"])
    assert link == parse(forms["base32"])
    assert (link.text, link.base32) == (forms["text"], forms["base32"])
    assert (link.version, link.offset, link.fetch) == (1, 0, forms["fetch"])


def test_every_two_bytes_are_one_window_or_none():
    """All 65,536 of them; what is read is written alike, and no window has two forms."""
    windows = {}
    for bits in range(1 << 16):
        data = bits.to_bytes(2, "little") + ROOT
        try:
            link = from_binary(data)
        except Damaged:
            continue
        assert link.binary == data
        assert link.offset + link.fetch <= SECTOR
        windows[link.version, link.offset, link.fetch] = bits
    resolvers = [window for window in windows if window[0] == 2]
    assert (len(windows), resolvers) == (count_windows() + 1, [(2, 0, 0)])


def count_windows() -> int:
    """As many as the documentation has: eight sizes a mode, at every multiple of the mode's step where they fit."""
    number = 0
    for mode in range(8):
        step = 4096 << mode
        sizes = [4096 * n for n in range(1, 9)] if mode == 0 else [(8 + n) * step // 2 for n in range(1, 9)]
        number += sum((SECTOR - size) // step + 1 for size in sizes)
    return number


@given(st.integers(0, SECTOR))
def test_a_size_is_rounded_up_to_the_next_that_can_be_told(size: int):
    told = fetch_size(size)
    assert from_binary(Skylink(1, ROOT, fetch=told).binary).fetch == told
    sizes = [4096 * n for n in range(1, 9)] + [(8 + n) << (11 + mode) for mode in range(1, 8) for n in range(1, 9)]
    assert told == min(each for each in sizes if each >= size)


@given(st.binary(min_size=32, max_size=32), st.sampled_from([1, 4097, 99_999, SECTOR]), st.booleans())
def test_texts_come_back(root: bytes, size: int, resolver: bool):
    link = Skylink(2, root) if resolver else Skylink(1, root, fetch=fetch_size(size))
    assert parse(link.text) == parse(link.base32) == link
    assert (len(link.text), len(link.base32)) == (46, 55)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has 0 characters, and a skylink has 46 or 55"),
        (TEXT[:-1], "has 45 characters"),
        (f"sia://{TEXT}", "has 52 characters"),
        (TEXT.replace("JtJ", "J+J"), "character 8, '[+]', is none of base64url"),
        (TEXT[:-1] + "h", "the last character, 'h', is wrong"),
        (VECTORS["forms"]["base32"].upper(), "character 1, 'B', is none of base32hex"),
        (VECTORS["forms"]["base32"].replace("6v2t", "6v2w"), "character 7, 'w', is none of base32hex"),
        ("Ag" + TEXT[2:], "0x0002, are those of no version"),
        ("BQ" + TEXT[2:], "0x0005, are those of no version"),
        ("_AP" + TEXT[3:], "0x03fc, tell of no size"),
    ],
)
def test_a_wrong_text_is_refused_with_a_sentence(text: str, why: str):
    with pytest.raises(WrongConfiguration, match=why):
        parse(text)


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        (2, "no version that is known"),
        (5, "no version that is known"),  # a resolver's has no size
        (0b1111_1111_00, "tell of no size"),
        (0x1DFC | 1 << 13, "tells of bytes 524288 to 4718592, and a sector has 4194304"),
        (0xFFF8, "tells of bytes"),
    ],
)
def test_a_window_that_cannot_be_is_refused(bits: int, why: str):
    with pytest.raises(Damaged, match=why):
        from_binary(bits.to_bytes(2, "little") + ROOT)


def test_bytes_of_another_number_are_refused():
    with pytest.raises(Damaged, match="34 bytes, and this is 33"):
        from_binary(bytes(33))


@given(st.text(st.sampled_from("AB01_-+=é"), min_size=46, max_size=46) | st.text(max_size=60))
def test_any_text_is_a_skylink_or_refused(text: str):
    with suppress(WrongConfiguration):
        assert text in (parse(text).text, parse(text).base32)
