"""Packs of which little is in use: which a run stores anew, and how much a store holds after many changes and prunes."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import drafting, prune
from dwebbackup.errors import Damaged
from dwebbackup.manifest import Index, PackEntry
from dwebbackup.sparse import LEAST_LIVE, MOST_REWRITTEN, Use, is_wasteful, spans_of, sparse, together, uses
from faulty import MemoryStore
from shelf import Shelf, stream_of
from synthetic import ROOT, back_up, errors, noise, opened, restored, small_pieces

DAY = 24 * 3600.0


@pytest.fixture(autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


# --- which are sparse ---


def pack(name: str, *frames: int) -> PackEntry:
    return PackEntry(name * 64, 1000, 900, (), b"", array("I", frames), array("I", frames))


def test_what_is_in_use_of_each_pack_is_counted_by_the_bytes_of_its_chunks():
    index = Index("w", (pack("a", 10, 30), pack("b", 50, 50, 100), pack("c", 7)))
    found = list(uses(index, array("q", [1, 2, 3, 1])))
    assert [(use.path[-5], use.size, use.live) for use in found] == [("a", 1000, 750), ("b", 1000, 500), ("c", 1000, 0)]


def test_a_small_pack_that_is_all_in_use_is_not_sparse():
    """Most of its sealed bytes are its envelope; it would be stored anew by every run."""
    (use,) = uses(Index("w", (pack("a", 3),)), array("q", [0, 1]))
    assert sparse([use]) == frozenset()


def test_spans_beyond_an_index_count_for_nothing():
    (use,) = uses(Index("w", (pack("a", 10, 30),)), array("q", [1, 1 << 60, 7, 3]))
    assert use.live == 750


def test_what_several_backups_use_counts_once_for_each_pack():
    one, two = Use("a", 1000, 400), Use("a", 1000, 300)
    assert together([one, Use("b", 10, 1), two]) == [Use("a", 1000, 700), Use("b", 10, 1)]
    assert together([one, one, one]) == [Use("a", 1000, 1000)]


def test_the_rows_that_a_manifest_uses_are_those_of_its_streams(shelf: Shelf):
    index = shelf.put_index(shelf.pack([b"a", b"b", b"c"]))
    manifest = shelf.manifest(indexes=(index,))
    (source,) = manifest.sources
    source = replace(source, streams=(stream_of([(0, 0, 1), (0, 2, 1)]), stream_of([(0, 2, 1)])))
    spans = spans_of([replace(manifest, sources=(source,))])
    assert list(spans[index]) == [0, 1, 2, 1, 2, 1]


def test_a_stream_that_no_index_can_hold_is_damaged(shelf: Shelf):
    manifest = shelf.manifest()
    (source,) = manifest.sources
    source = replace(source, streams=(stream_of([(1, 0, 1)]),))
    with pytest.raises(Damaged):
        spans_of([replace(manifest, sources=(source,))])


found_packs = st.lists(
    st.integers(1, 4_000_000).flatmap(
        lambda size: st.builds(Use, st.uuids().map(str), st.just(size), st.one_of(st.just(0), st.integers(0, size)))
    ),
    max_size=40,
    unique_by=lambda use: use.path,
)


@given(found_packs)
def test_the_sparsest_go_first_and_never_more_than_a_tenth_at_once(found: list[Use]):
    chosen = [use for use in found if use.path in sparse(found)]
    others = [use for use in found if use not in chosen]
    assert sum(use.live for use in chosen) <= MOST_REWRITTEN * sum(use.size for use in found)
    assert all(use.live < LEAST_LIVE * use.size for use in chosen)
    share = max((use.live / use.size for use in chosen), default=0)
    assert all(use.live / use.size >= share for use in others)


@given(found_packs)
def test_what_is_not_used_at_all_costs_nothing_to_let_go(found: list[Use]):
    assert not sparse(found) or {use.path for use in found if not use.live} <= sparse(found)


def test_nothing_is_done_about_a_half_of_what_is_in_use():
    live = [Use("a", 1000, 1000), Use("b", 1000, 1000)]
    assert sparse([*live, Use("c", 1000, 0)]) == frozenset()
    assert sparse([*live, Use("c", 1001, 0)]) == {"c"}
    assert sparse([*live, Use("c", 3000, 700)]) == frozenset()  # more than a tenth of all
    assert sparse([*live, Use("c", 3000, 500)]) == {"c"}
    assert sparse([]) == frozenset()


def test_indexes_are_made_anew_where_half_as_much_as_is_in_use_is_not_used_at_all():
    used = Use("a", 1000, 1)
    assert not is_wasteful([used, Use("b", 500, 0)])
    assert is_wasteful([used, Use("b", 501, 0)])
    assert not is_wasteful([Use("b", 500, 0)])
    assert not is_wasteful([])


# --- what comes of it ---


def changing(kind: str, count: int) -> Iterator[bytes]:
    """A table of 600 KB, run after run."""
    chance = random.Random(kind)
    rows = [chance.randbytes(1000) for _ in range(600)]
    for _ in range(count):
        yield b"".join(rows)
        if kind == "anywhere":  # a twentieth, wherever it is
            for at in chance.sample(range(600), 30):
                rows[at] = chance.randbytes(1000)
        elif kind == "every other":
            rows[::2] = [chance.randbytes(1000) for _ in range(300)]
        else:  # old rows go, new ones come
            rows = rows[30:] + [chance.randbytes(1000) for _ in range(30)]


@pytest.mark.parametrize("kind", ["anywhere", "every other", "queue"])
def test_after_many_changes_and_prunes_a_store_holds_less_than_twice_what_is_in_use(kind: str):
    """It is 1.5 times, and would be 6, 5 and 2 times if sparse packs were not stored anew."""
    store = MemoryStore()
    for table in changing(kind, 30):
        back_up(store, {"table": table})
        store.now += 4 * DAY
        writer = opened(store)
        prune.prune(writer, prune.plan(writer, writer.catalog.refs()[:-1]))
    packs = sum(len(data) for name, data in store.objects.items() if name.startswith(f"{ROOT}packs/"))
    assert packs < 2 * len(table)
    assert restored(store) == {"table": table}
    assert errors(store) == []


def test_packs_that_nothing_uses_go_though_their_indexes_are_in_use():
    """Each run's index names what stays for ever, and ten times as much that the next run changes."""
    store = MemoryStore()
    log, moving = b"", b""
    for number in range(12):
        log, moving = log + noise(60_000, number), noise(600_000, 100 + number)
        back_up(store, {"log": log, "moving": moving})
        store.now += 4 * DAY
    writer = opened(store)
    prune.prune(writer, prune.plan(writer, writer.catalog.refs()[:-1]))
    packs = sum(len(data) for name, data in store.objects.items() if name.startswith(f"{ROOT}packs/"))
    assert packs < 3 * len(log + moving)  # else it would be six times as much
    assert restored(store) == {"log": log, "moving": moving}
    assert errors(store) == []


def test_where_nothing_changes_nothing_is_stored_anew():
    store = MemoryStore()
    table = noise(600_000)
    back_up(store, {"table": table, "small": b"x"})
    for _ in range(3):
        assert back_up(store, {"table": table, "small": b"x"}).backup.manifest.packs == 0


def test_a_backup_whose_streams_are_spoiled_tells_nothing_of_its_packs(patch: pytest.MonkeyPatch):
    patch.setattr(drafting, "SPILL", 10)
    store = MemoryStore()
    table = noise(100_000)
    done = back_up(store, {"table": table})
    spilled = done.backup.manifest.spilled
    assert spilled
    store.delete(f"{ROOT}indexes/{spilled.sha256}.age")
    assert back_up(store, {"table": table}).backup.manifest.packs == 0
