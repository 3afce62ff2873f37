"""Skyfiles: what real portals answered, Sia's own Merkle roots, and a second implementation, written plainly."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links.skyfile import data_in, merkle_root, metadata, skyfile, skylink_of
from dwebbackup.links.skylink import SECTOR, Skylink, fetch_size
from links.asking import vectors

VECTORS = vectors("skynet")
LAYOUT = 99
ROOM = SECTOR - LAYOUT - len(metadata(4_000_000))


@pytest.mark.parametrize("vector", VECTORS["files"], ids=lambda vector: vector["name"])
def test_files_have_the_skylinks_that_a_real_portal_gave_them(vector: dict[str, str]):
    data = vector["data"].encode()
    assert metadata(len(data), vector["name"], "application/json").decode() == vector["metadata"]
    assert skylink_of(data, vector["name"], "application/json").text == vector["skylink"]


@pytest.mark.parametrize(
    ("content", "root"),
    [
        (b"", VECTORS["roots"][""]),
        (bytes(SECTOR), VECTORS["roots"][""]),
        (b"\1", VECTORS["roots"]["first"]),
        (b"\1" + bytes(SECTOR - 1), VECTORS["roots"]["first"]),
        (bytes(SECTOR - 1) + b"\1", VECTORS["roots"]["last"]),
    ],
    ids=["nothing", "zeros", "short", "first", "last"],
)
def test_sectors_have_the_roots_that_sia_gives_them(content: bytes, root: str):
    assert merkle_root(content).hex() == root


def plainly(sector: bytes) -> bytes:
    """The root of a whole sector: halves of halves, down to leaves."""
    if len(sector) == 64:
        return blake2b(b"\0" + sector, digest_size=32).digest()
    half = len(sector) // 2
    return blake2b(b"\1" + plainly(sector[:half]) + plainly(sector[half:]), digest_size=32).digest()


@pytest.mark.parametrize("size", [63, 64, 65, 4095, 100_000, 3_000_001, SECTOR])
def test_a_plain_second_implementation_finds_the_same_root(size: int):
    content = Random(size).randbytes(size)
    assert merkle_root(content) == plainly(content.ljust(SECTOR, b"\0"))


@given(st.binary(max_size=1000), st.integers(0, 200))
def test_zeros_behind_the_content_change_nothing(content: bytes, zeros: int):
    assert merkle_root(content) == merkle_root(content + bytes(zeros))


def test_the_sector_begins_with_what_it_holds():
    data = b"hello world"
    content = skyfile(data)
    about = metadata(len(data))
    assert content[:LAYOUT].hex() == "01" + (11).to_bytes(8, "little").hex() + len(about).to_bytes(
        8, "little"
    ).hex() + ("00" * 10 + "00" * 7 + "01" + "00" * 64)
    assert content[LAYOUT:] == about + data


def test_one_byte_too_many_does_not_fit():
    assert len(skyfile(bytes(ROOM))) == SECTOR
    assert skylink_of(bytes(ROOM)).fetch == SECTOR
    with pytest.raises(
        WrongConfiguration, match=f"{ROOM + 1:,} bytes, and a skyfile of one sector has room for {ROOM:,}"
    ):
        skylink_of(bytes(ROOM + 1))


def test_the_page_about_links_says_how_much_fits_and_what_is_written_before_it():
    page = (Path(__file__).parents[2] / "docs" / "links.md").read_text()
    assert f"room for {ROOM:,} bytes" in page
    assert metadata(11).decode() in page


def test_a_pack_fits():
    assert skylink_of(bytes(SECTOR - 1024)).fetch == SECTOR


@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=30),
    st.integers(0, SECTOR),
)
def test_metadata_is_json_without_what_go_escapes(name: str, size: int):
    written = metadata(size, name)
    file = json.loads(written)["subfiles"][name]
    assert json.loads(written)["length"] == size
    assert (file["filename"], file.get("len", 0)) == (name, size)
    assert not set(written.decode()) & set("<>& ")


def test_metadata_is_written_as_go_does():
    assert metadata(0, 'a<b>&"\\é').decode() == (
        '{"filename":"a\\u003cb\\u003e\\u0026\\"\\\\é","length":0,"subfiles":{"a\\u003cb\\u003e\\u0026\\"\\\\é":'
        '{"filename":"a\\u003cb\\u003e\\u0026\\"\\\\é","contenttype":"application/octet-stream"}}}'
    )


@pytest.mark.parametrize("name", ["", "a\nb", "a\0", "\u2028", "\ud800"])
def test_names_that_go_would_write_otherwise_are_refused(name: str):
    with pytest.raises(WrongConfiguration, match="cannot be called"):
        metadata(1, name)


def link_to(content: bytes) -> Skylink:
    return Skylink(1, merkle_root(content), fetch=fetch_size(len(content)))


@pytest.mark.parametrize("size", [0, 1, 5000, ROOM - 9])
@pytest.mark.parametrize("name", ["data", "another"])
def test_a_sector_gives_its_file_back_whatever_comes_behind_it(size: int, name: str):
    data = Random(size).randbytes(size)
    content = skyfile(data, name)
    assert data_in(content, link_to(content)) == data
    padded = content.ljust(link_to(content).fetch, b"\0")
    assert data_in(padded + b"proof", link_to(content)) == data


def test_what_is_not_the_skylinks_sector_gives_nothing():
    content = skyfile(b"right")
    link = link_to(content)
    others = [Skylink(2, link.root), Skylink(1, link.root, 4096, 4096)]
    for came, asked in [(content[:-1] + b"?", link), (b"", link), *((content, other) for other in others)]:
        with pytest.raises(Damaged, match="not the sector"):
            data_in(came, asked)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes([2]) + skyfile(b"right")[1:],
        skyfile(b"right")[:17] + b"\1" + skyfile(b"right")[18:],
        skyfile(b"right")[:34] + b"\4" + skyfile(b"right")[35:],
        skyfile(b"right")[:8] + b"\1" + skyfile(b"right")[9:],
        skyfile(b"right")[:16] + b"\1" + skyfile(b"right")[17:],
    ],
    ids=["empty", "version", "fanout", "cipher", "size", "metadata"],
)
def test_a_sector_that_holds_no_small_plain_file_gives_nothing(content: bytes):
    with pytest.raises(Damaged, match="no small file"):
        data_in(content, link_to(content))
