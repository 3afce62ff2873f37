"""The CID of a file: kubo's own vectors, two libraries from npm, and a second implementation, written plainly."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.links.cid import Cid, Codec, parse
from dwebbackup.links.unixfs import KUBO_V1, PROFILES, V0_2015, V1_2025, FileTree, Profile, cid_of, profiles_of
from links.asking import ask, vectors

NAMED = {profile.name: profile for profile in PROFILES}
CHUNKS = [1 << 18, 1 << 20]
VECTORS = vectors("cid")

SMALL = st.builds(
    lambda version, chunk, width: Profile("small", version, chunk, width, raw_leaves=version == 1),
    st.sampled_from([0, 1]),
    st.integers(1, 5),
    st.integers(2, 4),
)


def keystream(seed: str, size: int) -> Iterator[bytes]:
    """The bytes that kubo's tests make of *seed*, in blocks."""
    stream = Cipher(ChaCha20(hashlib.sha256(seed.encode()).digest(), bytes(16)), None).encryptor()
    zeros = bytes(1 << 20)
    while size:
        block = stream.update(zeros[:size])
        size -= len(block)
        yield block


@pytest.mark.parametrize("vector", VECTORS["texts"], ids=str)
def test_texts_have_the_cids_that_kubo_gives_them(vector: dict[str, str]):
    assert cid_of(vector["data"].encode(), NAMED[vector["profile"]]).text == vector["cid"]


@pytest.mark.parametrize("vector", VECTORS["streams"], ids=lambda vector: f"{vector['seed']}-{vector['size']}")
def test_streams_up_to_a_gibibyte_have_the_cids_that_kubo_gives_them(vector: dict):
    tree = FileTree(NAMED[vector["profile"]])
    for block in keystream(vector["seed"], vector["size"]):
        tree.write(block)
    assert tree.cid().text == vector["cid"]


def test_ipfs_gives_files_of_all_sizes_the_same_cids(tmp_path: Path):
    sizes = [0, 1, *(chunk * count + more for chunk in CHUNKS for count in (1, 2, 5) for more in (-1, 0, 1))]
    sizes += [(174 << 18) + 1, 12_345_678]
    questions, ours = [], []
    for size in sizes:
        file = tmp_path / str(size)
        file.write_bytes(Random(size).randbytes(size))
        for profile in (V1_2025, V0_2015):
            questions.append({"ask": "profile", "file": str(file), "profile": profile.name})
            ours.append(cid_of(file.read_bytes(), profile).text)
        questions.append({"ask": "car", "file": str(file)})
        ours.append(cid_of(file.read_bytes()).text)
    assert ask(*questions) == ours


def test_ipfs_builds_the_same_trees_of_any_width():
    drawn = Random(20)
    questions, ours = [], []
    for size in [*range(30), *(drawn.randrange(30, 400) for _ in range(120))]:
        version, chunk, width = drawn.randrange(2), drawn.randint(1, 4), drawn.randint(2, 5)
        profile, data = Profile("drawn", version, chunk, width, raw_leaves=version == 1), drawn.randbytes(size)
        about = {"version": version, "chunk": chunk, "width": width, "raw": profile.raw_leaves}
        questions.append({"ask": "tree", "data": data.hex(), **about})
        ours.append(cid_of(data, profile).text)
    assert ask(*questions) == ours


def test_ipfs_gives_the_same_cids_where_kubo_is_asked_for_version_1():
    data = Random(1).randbytes((5 << 18) + 1)
    about = {"version": 1, "chunk": KUBO_V1.chunk, "width": KUBO_V1.width, "raw": True}
    assert ask({"ask": "tree", "data": data.hex(), **about}) == [cid_of(data, KUBO_V1).text]


# --- the same again, plainly: all in memory, level by level, for sizes below 128 bytes ---


def plainly(data: bytes, profile: Profile) -> bytes:
    """The root's CID."""
    chunks = [data[at : at + profile.chunk] for at in range(0, len(data), profile.chunk)] or [b""]
    level = [plain_leaf(chunk, raw=profile.raw_leaves) for chunk in chunks]
    while len(level) > 1:
        groups = [level[at : at + profile.width] for at in range(0, len(level), profile.width)]
        level = [plain_node(group, profile.version) for group in groups]
    return level[0][0]


def plain_leaf(chunk: bytes, *, raw: bool) -> tuple[bytes, int, int]:
    if raw:
        return b"\x01\x55\x12\x20" + hashlib.sha256(chunk).digest(), len(chunk), len(chunk)
    content = b"\x08\x02" + (b"\x12" + bytes([len(chunk)]) + chunk if chunk else b"") + b"\x18" + bytes([len(chunk)])
    block = b"\x0a" + bytes([len(content)]) + content
    return b"\x12\x20" + hashlib.sha256(block).digest(), len(chunk), len(block)


def plain_node(children: list[tuple[bytes, int, int]], version: int) -> tuple[bytes, int, int]:
    links, sizes = b"", b""
    for cid, size, total in children:
        link = b"\x0a" + bytes([len(cid)]) + cid + b"\x12\x00\x18" + plain_number(total)
        links += b"\x12" + bytes([len(link)]) + link
        sizes += b"\x20" + bytes([size])
    whole = sum(size for _, size, _ in children)
    content = b"\x08\x02\x18" + bytes([whole]) + sizes
    block = links + b"\x0a" + bytes([len(content)]) + content
    prefix = b"\x01\x70" if version == 1 else b""
    total = len(block) + sum(total for _, _, total in children)
    return prefix + b"\x12\x20" + hashlib.sha256(block).digest(), whole, total


def plain_number(value: int) -> bytes:
    groups = [value >> 7 * at & 0x7F for at in range(max(1, math.ceil(value.bit_length() / 7)))]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


@given(st.binary(max_size=127), SMALL)
def test_a_plain_second_implementation_finds_the_same(data: bytes, profile: Profile):
    assert cid_of(data, profile).binary == plainly(data, profile)


# --- pieces ---


@given(st.lists(st.binary(max_size=20), max_size=20), SMALL)
def test_how_a_file_is_cut_into_pieces_makes_no_difference(pieces: list[bytes], profile: Profile):
    tree = FileTree(profile)
    for piece in pieces:
        tree.write(piece)
    assert tree.cid() == cid_of(b"".join(pieces), profile)


def test_no_more_than_the_edge_of_the_tree_is_kept():
    tree = FileTree(Profile("tiny", 1, chunk=1, width=10, raw_leaves=True))
    most = 0
    for _ in range(100):
        tree.write(bytes(100))
        most = max(most, sum(map(len, tree._levels)) + len(tree._rest))
    assert most <= 5 * 10
    assert tree.cid() == cid_of(bytes(10_000), Profile("tiny", 1, chunk=1, width=10, raw_leaves=True))


# --- which profile was it? ---


def test_a_cid_tells_by_which_profiles_it_was_made():
    data = Random(2).randbytes(600_000)
    assert profiles_of(data, cid_of(data)) == (V1_2025,)
    assert profiles_of(data, cid_of(data, V0_2015)) == (V0_2015,)
    assert profiles_of(data, cid_of(data, KUBO_V1)) == (KUBO_V1,)
    assert profiles_of(data[:-1], cid_of(data)) == ()


def test_small_files_have_one_cid_by_both_profiles_with_raw_leaves():
    assert profiles_of(b"hello world", cid_of(b"hello world")) == (V1_2025, KUBO_V1)


def test_a_server_may_answer_in_the_other_version():
    data = Random(3).randbytes(600_000)
    told = Cid(1, Codec.DAG_PB, cid_of(data, V0_2015).hash)
    assert profiles_of(data, parse(told.text)) == (V0_2015,)
