"""From blocks to the file: the inverse of `unixfs` for every way of cutting, and trees that are not what they say."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged
from dwebbackup.links import car, dag
from dwebbackup.links.cid import Cid, Codec, parse
from dwebbackup.links.protobuf import bytes_field, number_field
from dwebbackup.links.unixfs import PROFILES, Profile, cid_of
from links.trees import Blocks, inline, keep, node, tree

CARS = Path(__file__).parents[1] / "vectors" / "cars"
LIMIT = 1 << 20

SMALL = st.builds(
    lambda version, chunk, width: Profile("small", version, chunk, width, raw_leaves=version == 1),
    st.sampled_from([0, 1]),
    st.integers(1, 5),
    st.integers(3, 4),
)


def whole(root: Cid, blocks: Blocks, limit: int = LIMIT) -> bytes:
    return dag.file_of(root, blocks.__getitem__, limit)


def leaf(data: bytes, blocks: Blocks) -> tuple[Cid, int]:
    return keep(data, blocks, codec=Codec.RAW), len(data)


@given(SMALL, st.binary(max_size=200))
def test_every_tree_gives_back_its_file(profile: Profile, data: bytes):
    root, blocks = tree(data, profile)
    assert root == cid_of(data, profile)
    assert whole(root, blocks, len(data)) == data


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1, 1 << 20, (1 << 20) + 1, 4_193_280, 50_000_000])
def test_files_of_all_sizes_and_profiles_come_back(profile: Profile, size: int):
    data = Random(size).randbytes(size)
    root, blocks = tree(data, profile)
    assert whole(root, blocks, size) == data


def test_a_file_that_ipfs_made_is_read():
    """In chunks of 256 bytes; its CID stands in the suite it is from."""
    blocks = car.read((CARS / "dir-with-duplicate-files.car").read_bytes()).blocks
    root = parse("bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa")
    data = dag.file_of(root, lambda cid: blocks[cid.hash], LIMIT)
    assert data.startswith(b"Lorem ipsum dolor sit amet")
    assert len(data) == 1026


def test_what_stands_in_a_cid_is_asked_of_nobody():
    blocks: Blocks = {}
    assert whole(inline(b"hello", Codec.RAW), {}) == b"hello"
    file = bytes_field(1, number_field(1, 2) + bytes_field(2, b"hello") + number_field(3, 5))
    assert whole(inline(file, Codec.DAG_PB), {}) == b"hello"
    root = node([(inline(b"in", Codec.RAW), 2), leaf(b"side", blocks)], blocks)
    assert whole(root, blocks) == b"inside"


def test_a_node_may_have_bytes_before_its_children_a_mode_and_a_time():
    blocks: Blocks = {}
    more = number_field(7, 0o644) + bytes_field(8, number_field(1, 1))
    root = node([leaf(b"b", blocks)], blocks, data=b"a", more=more)
    assert whole(root, blocks) == b"ab"


def test_leaves_may_be_of_the_old_type():
    blocks: Blocks = {}
    root = node([(node([], blocks, data=b"old", kind=0), 3)], blocks)
    assert whole(root, blocks) == b"old"


class TestIsRefused:
    def test_a_folder(self):
        blocks: Blocks = {}
        for kind in (1, 5):
            with pytest.raises(Damaged, match="it is a folder"):
                whole(node([], blocks, kind=kind), blocks)

    @pytest.mark.parametrize("kind", [3, 4, 9])
    def test_any_other_type(self, kind: int):
        blocks: Blocks = {}
        with pytest.raises(Damaged, match=f"of type {kind}"):
            whole(node([], blocks, kind=kind), blocks)

    def test_the_name_of_a_key(self):
        with pytest.raises(Damaged, match="name of a key"):
            whole(inline(b"key", Codec.LIBP2P_KEY), {})

    def test_one_that_is_too_large_before_it_is_read(self):
        blocks: Blocks = {}
        root = node([leaf(b"x" * 100, blocks)], blocks)
        asked = []

        def block_of(cid: Cid) -> bytes:
            asked.append(cid)
            return blocks[cid]

        with pytest.raises(Damaged, match="has 100 bytes, and 99 were expected"):
            dag.file_of(root, block_of, 99)
        assert asked == [root]
        with pytest.raises(Damaged, match="has 100 bytes"):
            whole(keep(b"x" * 100, blocks, codec=Codec.RAW), blocks, 99)

    @pytest.mark.parametrize(("real", "said"), [(5, 4), (5, 6), (5, 0)])
    def test_a_child_of_another_size_than_its_parent_says(self, real: int, said: int):
        blocks: Blocks = {}
        child, _ = leaf(b"x" * real, blocks)
        for inner in (child, node([(child, real)], blocks)):
            with pytest.raises(Damaged, match="bytes"):
                whole(node([(inner, said)], blocks), blocks)

    def test_a_size_that_is_not_that_of_the_parts(self):
        blocks: Blocks = {}
        with pytest.raises(Damaged, match="says that it has 9 bytes, and its parts have 3"):
            whole(node([leaf(b"abc", blocks)], blocks, size=9), blocks)

    def test_more_links_than_sizes(self):
        blocks: Blocks = {}
        child, _ = leaf(b"abc", blocks)
        link = bytes_field(2, bytes_field(1, child.binary))
        for count, sizes in ((2, 1), (1, 2)):
            unixfs = number_field(1, 2) + number_field(4, 3) * sizes
            with pytest.raises(Damaged, match=f"{count} links, and {sizes} sizes"):
                whole(keep(link * count + bytes_field(1, unixfs), blocks), blocks)

    def test_a_tree_that_goes_on_and_on(self):
        blocks: Blocks = {}
        cid, size = leaf(b"x", blocks)
        for _ in range(dag.DEEPEST + 1):
            cid = node([(cid, size)], blocks)
        with pytest.raises(Damaged, match="more levels"):
            whole(cid, blocks)

    def test_a_small_tree_of_a_billion_empty_parts(self):
        blocks: Blocks = {}
        cid, _ = leaf(b"", blocks)
        for _ in range(5):
            cid = node([(cid, 0)] * 100, blocks)
        with pytest.raises(Damaged, match="more blocks"):
            whole(cid, blocks)

    @pytest.mark.parametrize(
        "block",
        [
            b"\xff",
            b"hello world",
            bytes_field(1, b"\xff"),
            bytes_field(1, number_field(1, 2) + number_field(5, 1)),  # of a sharded folder
            bytes_field(1, number_field(1, 2)) * 2,
            bytes_field(1, number_field(1, 2)) + bytes_field(2, b""),  # links behind
            bytes_field(2, b"") + bytes_field(1, number_field(1, 2)),  # a link to nothing
            bytes_field(2, bytes_field(1, b"\x01\x71\x12\x20" + bytes(32))) + bytes_field(1, number_field(1, 2)),
            bytes_field(3, b"") + bytes_field(1, number_field(1, 2)),
            number_field(1, 2),
            bytes_field(1, bytes_field(3, b"1")),
            bytes_field(1, b""),
            b"",
        ],
    )
    def test_what_is_no_file(self, block: bytes):
        blocks: Blocks = {}
        root = keep(block, blocks)
        with pytest.raises(Damaged, match=f"block {root.text} is not a file's"):
            whole(root, blocks)

    def test_nothing_in_any_other_way(self):
        drawn = Random(7)
        data = drawn.randbytes(300)
        root, blocks = tree(data, Profile("small", 1, 30, 4, raw_leaves=True))
        spoiled = 0
        for _ in range(3000):
            block = bytearray(blocks[root])
            block[drawn.randrange(len(block))] = drawn.randrange(256)
            try:
                got = dag.file_of(root, lambda cid, block=bytes(block): block if cid == root else blocks[cid], LIMIT)
            except (Damaged, KeyError):  # another child: nobody has its block
                spoiled += 1
            else:
                assert got == data
        assert spoiled > 1000
