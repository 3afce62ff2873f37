"""CARs: those of the gateway-conformance suite of IPFS (ipfs/gateway-conformance@22c7644), and broken ones."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged
from dwebbackup.links import car
from dwebbackup.links.cid import Codec
from dwebbackup.links.unixfs import PROFILES, V0_2015, V1_2025, Profile, cid_of
from links.trees import CAR_HEADER, Blocks, car_of, inline, keep, section, tree

CARS = Path(__file__).parents[1] / "vectors" / "cars"
DATA = Random(1).randbytes(3_000_000)


def test_the_blocks_of_a_file_come_out_as_they_went_in():
    for profile in PROFILES:
        root, blocks = tree(DATA, profile)
        assert root == cid_of(DATA, profile)
        read = car.read(car_of(blocks))
        assert read.whole
        assert {hash_: bytes(block) for hash_, block in read.blocks.items()} == {
            cid.hash: block for cid, block in blocks.items()
        }


def test_of_ipfs_itself_they_are_read():
    read = car.read((CARS / "file-3k-and-3-blocks-missing-block.car").read_bytes())
    assert read.whole  # it ends between two blocks: only who knows the file can tell that one is missing
    assert sorted(map(len, read.blocks.values())) == [145, 1035, 1035]


def test_blocks_of_another_kind_are_none_of_a_file():
    with pytest.raises(Damaged, match="codec, 0x71"):
        car.read((CARS / "dir-with-dag-cbor-with-links.car").read_bytes())


def test_wherever_it_is_cut_off_what_was_whole_is_there():
    _, blocks = tree(DATA[:700], Profile("small", 1, 100, 3, raw_leaves=True))
    whole = car_of(blocks)
    for end in range(len(CAR_HEADER), len(whole)):
        read = car.read(whole[:end])
        ends = [len(car_of(dict(list(blocks.items())[:count]))) for count in range(len(blocks) + 1)]
        assert read.whole == (end in ends)
        assert len(read.blocks) == sum(each <= end for each in ends) - 1


def test_a_block_that_is_not_what_its_cid_says_is_told():
    _, blocks = tree(DATA, V1_2025)
    for cid, block in blocks.items():
        with pytest.raises(Damaged, match=f"not what its CID says: {cid.text}"):
            car.read(car_of(blocks | {cid: block[:-1] + bytes([block[-1] ^ 1])}))


def test_every_changed_byte_of_a_block_or_its_cid_is_noticed():
    _, blocks = tree(DATA[:300], Profile("small", 1, 100, 3, raw_leaves=True))
    whole = bytearray(car_of(blocks))
    expected = car.read(bytes(whole)).blocks.keys()
    for at in range(len(CAR_HEADER), len(whole)):
        whole[at] ^= 1
        try:
            read = car.read(bytes(whole))
        except Damaged:
            pass
        else:  # the codec, or the length before the last: another name of the same block, or a cut
            assert read.blocks.keys() <= expected
        whole[at] ^= 1


def test_a_block_that_stands_in_its_cid_has_to_be_the_same():
    cid = inline(b"inside", Codec.RAW)
    assert car.read(CAR_HEADER + section(cid, b"inside")).whole
    with pytest.raises(Damaged, match="not what its CID says"):
        car.read(CAR_HEADER + section(cid, b"outside"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"<html>sign in</html>",
        bytes.fromhex("11a265726f6f7473806776657273696f6e02"),  # version 2
        bytes.fromhex("0aa16776657273696f6e02") + bytes(50),
        CAR_HEADER[:-3],
        b"\xff" * 40,
    ],
)
def test_what_is_no_car_is_told(data: bytes):
    with pytest.raises(Damaged):
        car.read(data)


@pytest.mark.parametrize("more", [b"\0", b"\xff" * 12, b"\x01\x01", b"\x05hello", section(tree(b"", V0_2015)[0], b"x")])
def test_what_follows_and_is_no_block_is_told(more: bytes):
    with pytest.raises(Damaged):
        car.read(CAR_HEADER + more)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail_in_any_other_way(data: bytes):
    for whole in (data, CAR_HEADER + data):
        try:
            read = car.read(whole)
        except Damaged:
            continue
        assert all(isinstance(block, memoryview) for block in read.blocks.values())


def test_the_same_block_may_come_again():
    blocks: Blocks = {}
    cid = keep(b"again", blocks, codec=Codec.RAW)
    assert list(car.read(CAR_HEADER + section(cid, b"again") * 3).blocks) == [cid.hash]
