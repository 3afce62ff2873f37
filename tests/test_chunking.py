"""Chunking: the chunks joined are the stream, cut at the same places however it arrives, and named with a key."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from dwebbackup import chunking
from dwebbackup.chunking import AVERAGE, CHUNKS_WANTED, LARGEST_AVERAGE, average_for
from shelf import noise

SMALL = 256
"""An average with which a few KiB have many chunks."""

# Noise, and stretches of one byte, in which nothing but the largest size makes a bound.
pieces = st.one_of(
    st.builds(noise, st.integers(0, 4000), st.text("ab", max_size=3)),
    st.builds(lambda byte, count: byte * count, st.binary(min_size=1, max_size=1), st.integers(1, 3000)),
)
streams = st.lists(pieces, max_size=5).map(b"".join)
arrivals = st.lists(st.integers(1, 2000), min_size=1, max_size=5)
blocks = st.integers(1, 3000)


def readinto_of(data: bytes, sizes: Sequence[int]):
    """Delivers *data* in pieces of at most these sizes, over and over."""
    rest, wanted = memoryview(data), itertools.cycle(sizes)

    def readinto(view: memoryview) -> int:
        nonlocal rest
        count = min(len(view), len(rest), next(wanted))
        view[:count], rest = rest[:count], rest[count:]
        return count

    return readinto


def cut(data: bytes, sizes: Sequence[int] = (1 << 30,), average: int = SMALL, block: int | None = None) -> list[bytes]:
    """All chunks, each batch copied before the next one is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if block is not None:
            patch.setattr(chunking, "BLOCK", block)
        return [bytes(chunk) for batch in chunking.cut(readinto_of(data, sizes), average) for chunk in batch]


def cut_whole(data: bytes, average: int = SMALL) -> list[bytes]:
    """What the algorithm says about the stream in one piece."""
    return [bytes(chunk.data) for chunk in FastCDC(average, min_size=average // 2, max_size=average * 4).cut_buf(data)]


# --- the stream comes back ---


@given(streams, arrivals, blocks)
def test_joining_the_chunks_gives_the_stream_however_it_arrives(data, sizes, block):
    assert b"".join(cut(data, sizes, block=block)) == data


@given(streams, arrivals, blocks)
def test_bounds_depend_on_the_bytes_alone(data, sizes, block):
    assert cut(data, sizes, block=block) == cut_whole(data)


@pytest.mark.parametrize("size", [4096, 65_536, 1 << 30])
def test_bounds_depend_on_the_bytes_alone_at_full_size(size):
    data = noise(3_000_000) + bytes(1_000_000)
    assert cut(data, [size * 7 // 8 + 1, size], AVERAGE) == cut_whole(data, AVERAGE)


@given(streams, arrivals)
def test_every_chunk_but_the_last_keeps_to_the_bounds(data, sizes):
    *others, last = map(len, cut(data, sizes) or [b"?"])
    assert all(SMALL // 2 <= length <= SMALL * 4 for length in others)
    assert 0 < last <= SMALL * 4


def test_an_empty_stream_has_no_chunks():
    assert cut(b"") == []


def test_a_producer_that_fails_is_heard():
    def readinto(view: memoryview) -> int:
        raise OSError("the pipe broke")

    with pytest.raises(OSError, match="the pipe broke"):
        list(chunking.cut(readinto, SMALL))


# --- bounds that deduplicate ---


def test_bounds_are_what_they_always_were():
    """Other bounds restore as well, but every user's next backup would be a full one."""
    lengths = [len(chunk) for chunk in cut(noise(2_000_000, "bounds"), average=AVERAGE)]
    assert lengths[:4] == [68816, 30128, 18659, 54329]
    assert (
        hashlib.sha256(repr(lengths).encode()).hexdigest()
        == "4bb6084d0037b51a11c8033074ad163ff7bc6a766a5315a506bbb1b526a87885"
    )


@given(st.integers(0, 200_000), st.binary(min_size=1, max_size=50))
def test_an_insertion_renews_only_the_chunks_around_it(place, inserted):
    data = noise(200_000)
    before = set(cut(data))
    after = cut(data[:place] + inserted + data[place:])
    assert len([chunk for chunk in after if chunk not in before]) <= 8


def test_chunks_are_of_the_average_size():
    lengths = [len(chunk) for chunk in cut(noise(8_000_000), average=AVERAGE)]
    assert AVERAGE * 3 // 4 < sum(lengths) / len(lengths) < AVERAGE * 2


# --- which average ---


@pytest.mark.parametrize(
    ("size", "average"),
    [
        (0, AVERAGE),
        (AVERAGE * CHUNKS_WANTED, AVERAGE),
        (AVERAGE * (CHUNKS_WANTED + 1), 2 * AVERAGE),
        (8 * AVERAGE * (CHUNKS_WANTED + 1), 16 * AVERAGE),
        (1 << 60, LARGEST_AVERAGE),
    ],
)
def test_a_larger_source_has_larger_chunks(size, average):
    assert average_for(size) == average


@pytest.mark.parametrize(
    ("fitting", "before", "average"),
    [
        (AVERAGE, AVERAGE // 2, AVERAGE // 2),
        (AVERAGE, AVERAGE // 4, AVERAGE),
        (AVERAGE, 2 * AVERAGE, 2 * AVERAGE),
        (AVERAGE, 4 * AVERAGE, AVERAGE),
        (4 * AVERAGE, AVERAGE, 4 * AVERAGE),
        (4 * AVERAGE, 2 * AVERAGE, 2 * AVERAGE),
        (AVERAGE, 0, AVERAGE),
        (LARGEST_AVERAGE, 2 * LARGEST_AVERAGE, LARGEST_AVERAGE),
    ],
)
def test_an_average_is_inherited_unless_it_is_off_by_a_factor_of_four(fitting, before, average):
    size = fitting * CHUNKS_WANTED
    assert average_for(size) == fitting
    assert average_for(size, before) == average


@given(st.integers(0, 1 << 60), st.one_of(st.none(), st.integers(-1 << 60, 1 << 60)))
def test_whatever_an_old_manifest_says_the_chunks_fit_a_pack(size, before):
    average = average_for(size, before)
    assert AVERAGE // 4 < average <= LARGEST_AVERAGE
    assert list(chunking.cut(readinto_of(b"x", [1]), average)) == [[b"x"]]


# --- names ---


BLAKE3_VECTORS = [
    (0, "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"),
    (1, "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b"),
]
"""From the `test_vectors.json` that the authors of BLAKE3 publish: input length, beginning of the keyed hash."""


@pytest.mark.parametrize(("length", "name"), BLAKE3_VECTORS)
def test_names_are_keyed_blake3_as_published(length, name):
    chunk = bytes(number % 251 for number in range(length))
    assert chunking.name(chunk, b"whats the Elvish word for friend").hex() == name


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_name_says_nothing_without_the_key(chunk, one, two):
    assert (chunking.name(chunk, one) == chunking.name(chunk, two)) == (one == two)
    assert chunking.name(memoryview(chunk), one) == chunking.name(chunk, one)


def test_no_read_is_given_crumbs_of_room():
    """A producer that holds something back at its end needs room for it."""
    rooms = []
    rest = random.Random(0).randbytes(3 * chunking.BLOCK)

    def readinto(view: memoryview) -> int:
        nonlocal rest
        rooms.append(len(view))
        taken = rest[: len(view) - len(rooms) % 70]  # leaves a little, as a pipe does
        view[: len(taken)] = taken
        rest = rest[len(taken) :]
        return len(taken)

    assert (
        sum(len(chunk) for batch in chunking.cut(readinto, chunking.AVERAGE) for chunk in batch) == 3 * chunking.BLOCK
    )
    assert min(rooms) >= chunking.LEAST
