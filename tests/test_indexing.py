"""Indexes of a manifest: however they are dropped and merged, every stream keeps its chunks, in its order."""

from __future__ import annotations

import weakref
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import records
from dwebbackup.indexing import drop_unused, merge, put_index, runs_of
from dwebbackup.known import Numbering
from dwebbackup.manifest import NAME_SIZE, Index, ObjectRef, PackEntry, Runs, RunWriter, expand, index_path
from shelf import Shelf, digest_of, noise

Chunks = list[bytes]


def pack_of(rows: int, label: str) -> PackEntry:
    """A pack whose chunks have names that no other's have."""
    return PackEntry(
        digest_of(label),
        1000,
        100 * rows,
        (),
        noise(NAME_SIZE * rows, label),
        array("I", [100] * rows),
        array("I", [50] * rows),
    )


def ref_of(index: Index) -> ObjectRef:
    return ObjectRef(digest_of(repr(index)), 1)


@st.composite
def catalogs(draw) -> tuple[list[Index], list[Runs]]:
    """Some indexes of a few packs each, empty ones among them; and streams over them."""
    sizes = draw(st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=5))
    indexes = [
        Index("w", tuple(pack_of(rows, f"{number} {place}") for place, rows in enumerate(packs)))
        for number, packs in enumerate(sizes)
    ]
    rows = [(number, row) for number, index in enumerate(indexes) for row in range(index.rows)]
    positions = st.lists(st.integers(0, max(0, len(rows) - 1)), max_size=8)
    streams = draw(st.lists(positions, max_size=4)) if rows else [[]]
    return indexes, [
        runs_through([rows[at] for start in starts for at in range(start, min(start + 5, len(rows)))])
        for starts in streams
    ]


def runs_through(places: Sequence[tuple[int, int]]) -> Runs:
    writer = RunWriter()
    for place in places:
        writer.add(*place)
    return writer.runs


def chunks_of(runs: Sequence[int], indexes: Sequence[Index]) -> Chunks:
    """The names of a stream's chunks, and the pack each is in: what merging may not change."""
    rows = [
        [pack.sha256.encode() + pack.name(row) for pack in index.packs for row in range(len(pack))] for index in indexes
    ]
    spans = expand(runs, [index.rows for index in indexes])
    return [rows[index][first + at] for index, first, count in spans for at in range(count)]


@given(catalogs())
def test_unused_indexes_are_dropped_and_streams_stay_the_same(catalog):
    indexes, streams = catalog
    by_ref = {ref_of(index): index for index in indexes}
    after, refs = drop_unused(streams, [ref_of(index) for index in indexes])
    kept = [by_ref[ref] for ref in refs]
    assert [chunks_of(runs, kept) for runs in after] == [chunks_of(runs, indexes) for runs in streams]
    assert {number for runs in after for number in runs[::3]} == set(range(len(kept)))
    assert [indexes.index(index) for index in kept] == sorted(indexes.index(index) for index in kept)


@given(catalogs(), st.integers(1, 12))
def test_merged_indexes_hold_the_packs_in_use_and_streams_stay_the_same(catalog, most):
    indexes, streams = catalog
    stored: dict[str, Index] = {}

    def put(index: Index) -> ObjectRef:
        ref = ref_of(index)
        stored[ref.sha256] = index
        return ref

    by_ref = {ref_of(index): index for index in indexes}
    after, refs = merge(streams, [ref_of(index) for index in indexes], by_ref.__getitem__, put, most)
    merged = [stored[ref.sha256] for ref in refs]
    expected = [chunks_of(runs, indexes) for runs in streams]
    assert [chunks_of(runs, merged) for runs in after] == expected
    packs = [pack.sha256 for index in merged for pack in index.packs]
    assert len(packs) == len(set(packs))
    assert set(packs) == {chunk[:64].decode() for chunks in expected for chunk in chunks}
    assert all(index.rows <= most or len(index.packs) == 1 for index in merged)
    assert all(index.writer == "w" for index in merged)


class Tracked(Index):
    """An index that can be counted while it lives."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def test_merging_holds_no_more_than_a_few_indexes_at_a_time():
    """When the next is loaded, at most the one before it is still there."""
    refs = [ObjectRef(digest_of(str(number)), 1) for number in range(20)]
    runs = runs_through([(number, row) for number in range(20) for row in range(4)])
    alive: weakref.WeakSet[Index] = weakref.WeakSet()
    most = 0

    def load(ref: ObjectRef) -> Index:
        nonlocal most
        most = max(most, len(alive))
        index = Tracked("w", (pack_of(4, ref.sha256),))
        alive.add(index)
        return index

    (after,), merged = merge([runs], refs, load, ref_of, 16)
    assert (len(merged), sum(after[2::3])) == (5, 80)
    assert most <= 1


def test_an_index_is_stored_under_its_digest(shelf: Shelf):
    index = Index(shelf.writer.id, (pack_of(3, "a"), pack_of(2, "b")))
    ref = put_index(shelf.store, shelf.signer, index)
    sealed = shelf.store.get(index_path(ref.sha256))
    assert (records.digest(sealed), len(sealed)) == (ref.sha256, ref.size)
    assert shelf.catalog().index(ref) == index


def test_a_stream_is_runs_over_known_and_new_rows():
    numbering = Numbering([4, 2])
    numbering.place([7, 6])
    numbering.add_index(2)
    runs = runs_of([1, 2, 3, 4, 6, 7, 0], numbering)
    assert runs == array("q", [0, 1, 3, 1, 0, 1, 2, 1, 1, 2, -2, 1, 0, -4, 1])
    assert list(expand(runs, [4, 2, 2])) == [
        (0, 1, 3),
        (1, 0, 1),
        (2, 1, 1),
        (2, 0, 1),
        (0, 0, 1),
    ]
    with pytest.raises(LookupError):
        runs_of([1, 8], numbering)
