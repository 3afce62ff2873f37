"""Known chunks: a table in packed arrays that answers as a dict would, and where numbered chunks stand."""

from __future__ import annotations

import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.known import KnownChunks, Numbering
from dwebbackup.manifest import NAME_SIZE
from shelf import noise

FIRST_SLOTS = 4096
"""More names than two thirds of these make the table grow."""

# Few names, whose beginnings are alike: they all want the same slot, and differ behind it.
names = st.builds(
    lambda slot, kept, rest: slot * 8 + kept * 8 + rest * 16,
    st.sampled_from([b"\0", b"\1", b"\xff"]),
    st.sampled_from([b"a", b"b", b"c"]),
    st.sampled_from([b"x", b"y"]),
)
asked = st.tuples(st.just("number"), names)
loaded = st.tuples(st.just("load"), st.tuples(st.lists(names, max_size=4), st.booleans()))


@given(st.lists(asked | loaded, max_size=40))
def test_the_table_answers_as_a_dict_would(steps):
    known, model, count = KnownChunks(), {}, 0
    for what, given_ in steps:
        if what == "load":
            listed, count_as_known = given_
            assert known.load(b"".join(listed), NAME_SIZE) == count
            if count_as_known:
                known.trust(count, len(listed))
            for name in listed:
                if count_as_known:
                    model.setdefault(name[:16], count)
                count += 1
        else:
            expected = (model[given_[:16]], False) if given_[:16] in model else (count, True)
            assert known.number(given_) == expected
            if expected[1]:
                model[given_[:16]] = count
                count += 1
        assert len(known) == count


def many(count: int, seed: str = "") -> list[bytes]:
    block = noise(count * NAME_SIZE, seed)
    return [block[at : at + NAME_SIZE] for at in range(0, len(block), NAME_SIZE)]


def test_the_table_grows_and_forgets_nothing():
    known, chunks = KnownChunks(), many(5 * FIRST_SLOTS)
    known.trust(known.load(b"".join(chunks[:FIRST_SLOTS]), NAME_SIZE), FIRST_SLOTS)
    assert [known.number(name) for name in chunks] == [(number, number >= FIRST_SLOTS) for number in range(len(chunks))]
    assert [known.number(name) for name in chunks] == [(number, False) for number in range(len(chunks))]


def test_chunks_that_are_not_trusted_take_numbers_and_are_stored_again():
    known, chunks = KnownChunks(), many(3)
    known.load(b"".join(chunks), NAME_SIZE)
    assert known.number(chunks[1]) == (3, True)
    assert known.number(chunks[1]) == (3, False)
    known.trust(known.load(chunks[1], NAME_SIZE), 1)
    assert known.number(chunks[1]) == (3, False)
    assert len(known) == 5


def test_chunks_may_be_trusted_long_after_they_were_loaded():
    known, chunks = KnownChunks(), many(4)
    known.load(b"".join(chunks), NAME_SIZE)
    known.trust(1, 2)
    assert [known.number(name) for name in chunks] == [(4, True), (1, False), (2, False), (5, True)]


def test_several_threads_agree_on_who_has_to_store_a_chunk():
    """Each thread asks for the same names, beginning elsewhere, while the table grows under them."""
    known, chunks, workers = KnownChunks(), many(3 * FIRST_SLOTS), 4
    barrier = threading.Barrier(workers)

    def ask(worker: int) -> dict[bytes, tuple[int, bool]]:
        start = worker * len(chunks) // workers
        barrier.wait()
        return {name: known.number(name) for name in chunks[start:] + chunks[:start]}

    with ThreadPoolExecutor(workers) as pool:
        answers = list(pool.map(ask, range(workers)))
    for name in chunks:
        assert len({answer[name][0] for answer in answers}) == 1
        assert [answer[name][1] for answer in answers].count(True) == 1
    assert sorted(answers[0][name][0] for name in chunks) == list(range(len(chunks)))


# --- where chunks stand ---


@given(st.lists(st.integers(0, 5), max_size=4), st.lists(st.integers(1, 4), max_size=6), st.data())
def test_every_numbered_chunk_stands_where_its_pack_was_stored(known, sizes, data):
    """New chunks are numbered as they are met, and get their rows as packs are acknowledged, in any order."""
    total = sum(known)
    numbering = Numbering(known)
    expected = {}
    for index, (start, rows) in enumerate(zip(accumulate(known, initial=0), known, strict=False)):
        expected |= {start + row: (index, row) for row in range(rows)}
    numbers = data.draw(st.permutations(range(total, total + sum(sizes))))
    starts = [0, *accumulate(sizes)]
    for new, size in enumerate(sizes):
        pack = numbers[starts[new] : starts[new] + size]
        numbering.place(array("I", pack))
        numbering.add_index(size)
        expected |= {number: (len(known) + new, row) for row, number in enumerate(pack)}
    assert {number: numbering.locate(number) for number in expected} == expected


def test_several_packs_of_one_index_follow_each_other():
    numbering = Numbering([2])
    numbering.place([4, 2])
    numbering.place([3])
    numbering.add_index(3)
    numbering.place([5])
    numbering.add_index(1)
    assert [numbering.locate(number) for number in range(6)] == [(0, 0), (0, 1), (1, 1), (1, 2), (1, 0), (2, 0)]


@pytest.mark.parametrize("number", [3, 5])
def test_a_chunk_whose_pack_was_never_stored_is_nowhere(number):
    numbering = Numbering([2])
    numbering.place([2, 4])
    numbering.add_index(2)
    with pytest.raises(LookupError):
        numbering.locate(number)
