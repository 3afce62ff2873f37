"""Reuse: which chunks of earlier backups a run may refer to, whatever else the store holds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dwebbackup import documents
from dwebbackup.age import fingerprint
from dwebbackup.errors import StoreUnreachable, ToolMissing
from dwebbackup.manifest import PackEntry, index_path
from dwebbackup.ports import Stored
from dwebbackup.reuse import REUSE_MAX, Conditions, Reusable, reusable
from faulty import Fault, Faulty, MemoryStore
from shelf import OWNER, Shelf

NOW = 1_700_000_000.0
"""What a `MemoryStore` says, too."""

TIMES = {"memory": NOW}

READERS = frozenset({fingerprint(OWNER.recipient)})


def found(reuse: Reusable, *packs: PackEntry) -> list[bool]:
    """Of each pack, whether its first chunk counts as known."""
    return [not reuse.known.number(pack.name(0))[1] for pack in packs]


def test_chunks_are_known_whose_packs_are_there_whole_young_and_for_everybody(shelf: Shelf):
    good, gone, short, old, others = packs = [shelf.pack([text.encode()]) for text in "abcde"]
    shelf.store.delete(gone.path)
    shelf.store.put(short.path, shelf.store.get(short.path)[:-1])
    shelf.root.modified[f"w/{shelf.writer.id}/{old.path}"] = NOW - REUSE_MAX
    refs = [shelf.put_index(good, gone, short, old), shelf.put_index(replace(others, recipients=("0" * 16,)))]
    reuse = reusable(shelf.catalog(), refs, Conditions(TIMES, READERS))
    assert found(reuse, *packs) == [True, False, False, False, False]


def test_a_pack_of_two_indexes_is_known_through_both(shelf: Shelf):
    one, two = (shelf.pack([text]) for text in (b"a", b"b"))
    refs = [shelf.put_index(one), shelf.put_index(two, one)]
    reuse = reusable(shelf.catalog(), refs, Conditions(TIMES, READERS))
    assert found(reuse, one, two) == [True, True]
    assert len(reuse.known) == 3


def test_an_index_that_cannot_be_read_makes_only_its_own_chunks_unknown(shelf: Shelf):
    one, two, three = (shelf.pack([text]) for text in (b"a", b"b", b"c"))
    refs = [shelf.put_index(pack) for pack in (one, two, three)]
    shelf.store.delete(index_path(refs[0].sha256))
    shelf.store.put(index_path(refs[1].sha256), b"spoiled")
    reuse = reusable(shelf.catalog(), refs, Conditions(TIMES, READERS))
    assert found(reuse, one, two, three) == [False, False, True]
    assert reuse.refs == (refs[2],)


def test_an_index_of_a_newer_format_is_an_error(shelf: Shelf, monkeypatch):
    monkeypatch.setattr(documents, "FORMAT", 2)
    ref = shelf.put_index(shelf.pack([b"a"]))
    monkeypatch.undo()
    with pytest.raises(ToolMissing):
        reusable(shelf.catalog(), [ref], Conditions(TIMES, READERS))


def test_without_indexes_the_packs_are_not_even_listed(shelf: Shelf):
    store = Faulty(shelf.store)
    assert reusable(shelf.catalog(store), [], Conditions(TIMES, READERS)).refs == ()
    assert store.calls == []


def test_packs_that_cannot_be_listed_are_an_error(shelf: Shelf):
    store = Faulty(shelf.store, at={"list": Fault.break_listing})
    with pytest.raises(StoreUnreachable):
        reusable(shelf.catalog(store), [shelf.put_index(shelf.pack([b"a"]))], Conditions(TIMES, READERS))


class LongHistory(MemoryStore):
    """Lists many packs of earlier backups, too, one at a time."""

    def list(self, prefix: str) -> Iterator[Stored]:
        for number in range(10_000):
            yield Stored(f"{prefix}00/{number:064x}.age", 4_000_000 + number, NOW - number)
        yield from super().list(prefix)


def test_nothing_is_kept_of_packs_that_no_index_names():
    shelf = Shelf(LongHistory())
    pack = shelf.pack([b"a"])
    catalog, refs = shelf.catalog(), [shelf.put_index(pack)]
    tracemalloc.start()
    try:
        reuse = reusable(catalog, refs, Conditions(TIMES, READERS))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found(reuse, pack) == [True]
    assert peak < 500_000  # a hundred bytes a pack would be a million
