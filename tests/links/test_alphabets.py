"""Bytes as text: RFC 4648 by Python's own, base58 and base36 by plain arithmetic, and every text has one form only."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import WrongConfiguration
from dwebbackup.links.alphabets import BASE32, BASE32HEX, BASE36, BASE58, BASE64URL, Alphabet

ALL = [BASE32, BASE32HEX, BASE36, BASE58, BASE64URL]
named = pytest.mark.parametrize("alphabet", ALL, ids=[each.name for each in ALL])


@given(st.binary(max_size=70))
def test_what_python_can_write_is_written_alike(data: bytes):
    assert BASE32.encode(data) == base64.b32encode(data).decode().rstrip("=").lower()
    assert BASE32HEX.encode(data) == base64.b32hexencode(data).decode().rstrip("=").lower()
    assert BASE64URL.encode(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    ("alphabet", "data", "text"),
    [
        (BASE58, b"Hello World!", "2NEpo7TZRRrLZSi2U"),  # these of draft-msporny-base58
        (
            BASE58,
            b"The quick brown fox jumps over the lazy dog.",
            "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
        ),
        (BASE58, bytes.fromhex("0000287fb4cd"), "11233QC4"),
        (BASE36, b"yes mani !", "2lcpzo5yikidynfl"),  # these of multibase's own tests
        (BASE36, b"\0yes mani !", "02lcpzo5yikidynfl"),
        (BASE36, b"\0\0yes mani !", "002lcpzo5yikidynfl"),
        (BASE58, b"", ""),
        (BASE36, b"\0", "0"),
    ],
)
def test_published_texts(alphabet: Alphabet, data: bytes, text: str):
    assert alphabet.encode(data) == text
    assert alphabet.decode(text) == data


@named
@given(data=st.binary(max_size=70))
def test_it_comes_back(alphabet: Alphabet, data: bytes):
    assert alphabet.decode(alphabet.encode(data)) == data


@named
@given(draw=st.data())
def test_no_two_texts_stand_for_the_same_bytes(alphabet: Alphabet, draw: st.DataObject):
    text = draw.draw(st.text(alphabet.characters, max_size=60))
    try:
        data = alphabet.decode(text)
    except WrongConfiguration:
        assert alphabet.bits, "only where bits can be left over is a text of good characters refused"
        return
    assert alphabet.encode(data) == text


@named
def test_the_place_of_a_wrong_character_is_told(alphabet: Alphabet):
    good = alphabet.encode(b"0123456789")
    for wrong in "=é ":
        with pytest.raises(WrongConfiguration, match=f"character 4, {wrong!r}, is none of {alphabet.name}"):
            alphabet.decode(good[1:3] + wrong + good[4:], prefix=good[:1])


@pytest.mark.parametrize("text", ["A", "AAAAA", "AB", "AAB"])
def test_bits_that_no_byte_holds_are_refused(text: str):
    with pytest.raises(WrongConfiguration, match=r"characters are missing|beyond the end"):
        BASE64URL.decode(text)


@named
def test_a_text_that_is_far_too_long_is_refused_at_once(alphabet: Alphabet):
    with pytest.raises(WrongConfiguration, match="10000 characters are too many"):
        alphabet.decode(alphabet.characters[1] * 10_000)
