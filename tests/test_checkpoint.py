"""Checkpoints: a run finds what other runs left behind, as long as the store itself calls it fresh."""

from __future__ import annotations

import contextlib

import pytest

from dwebbackup import clock, records
from dwebbackup.checkpoint import GRACE, RENEWED_EVERY, Checkpoints
from dwebbackup.errors import BackupFailed, ObjectMissing, StoreUnreachable
from dwebbackup.manifest import Checkpoint, ObjectRef
from dwebbackup.records import Access
from faulty import Call, Fault, Faulty
from shelf import OWNER, STRANGER, Shelf, digest_of, signer_of

WRITERS = Access((OWNER.writer(1).catalog_identity,), OWNER.writer(1).verify_key)
INDEX = ObjectRef(digest_of("index"), 10)
OTHER_INDEX = ObjectRef(digest_of("other"), 10)


def run_of(shelf: Shelf, run: str, store=None) -> Checkpoints:
    return Checkpoints(store or shelf.store, shelf.writer.id, run, shelf.signer)


def names(shelf: Shelf) -> list[str]:
    return sorted(stored.name for stored in shelf.store.list("checkpoints/"))


def runs_found(checkpoints: Checkpoints) -> list[str]:
    return sorted(found.run for found in checkpoints.others(WRITERS).checkpoints)


def begun(shelf: Shelf, run: str) -> Checkpoints:
    mine = run_of(shelf, run)
    mine.put()
    return mine


# --- one's own ---


def test_only_the_last_two_checkpoints_stay(shelf: Shelf):
    """While a listing is made, one may take another's place, and neither be in it."""
    mine = begun(shelf, "run")
    assert names(shelf) == ["checkpoints/run-0.age"]
    mine.put([INDEX])
    mine.put([INDEX, OTHER_INDEX])
    assert names(shelf) == ["checkpoints/run-1.age", "checkpoints/run-2.age"]
    record = records.unseal(Checkpoint, shelf.store.get("checkpoints/run-2.age"), shelf.access)
    assert (record.run, record.count, record.indexes) == ("run", 2, (INDEX, OTHER_INDEX))


def test_the_new_one_is_stored_before_the_old_one_is_dropped(shelf: Shelf):
    store = Faulty(shelf.store)
    mine = run_of(shelf, "run", store)
    mine.put()
    mine.put()
    mine.put()
    assert store.calls == [
        ("put", "checkpoints/run-0.age"),
        ("put", "checkpoints/run-1.age"),
        ("put", "checkpoints/run-2.age"),
        ("delete", "checkpoints/run-0.age"),
    ]


def test_a_listing_made_while_checkpoints_change_shows_the_run(shelf: Shelf):
    """What was there when it began, and is still there when it comes to it, is all that it shows."""
    store = Faulty(shelf.store, at={("put", 3): Fault.raise_before, ("put", 5): Fault.raise_after})
    mine = run_of(shelf, "run", store)
    mine.put()
    for _ in range(6):
        listed = set(names(shelf))
        with contextlib.suppress(StoreUnreachable):
            mine.put([INDEX])
        assert listed & set(names(shelf))


def test_a_run_that_is_over_leaves_none(shelf: Shelf):
    other = begun(shelf, "other")
    mine = begun(shelf, "run")
    mine.put([INDEX])
    mine.clear()
    assert names(shelf) == ["checkpoints/other-0.age"]
    other.clear()
    assert names(shelf) == []


def test_one_that_could_not_be_stored_leaves_the_one_before(shelf: Shelf):
    store = Faulty(shelf.store, at={("put", 2): Fault.raise_before})
    mine = run_of(shelf, "run", store)
    mine.put([INDEX])
    with pytest.raises(StoreUnreachable):
        mine.put([INDEX])
    assert names(shelf) == ["checkpoints/run-0.age"]
    mine.put([INDEX])
    assert names(shelf) == ["checkpoints/run-0.age", "checkpoints/run-2.age"]
    mine.put([INDEX])
    assert names(shelf) == ["checkpoints/run-2.age", "checkpoints/run-3.age"]


def test_one_whose_storing_was_not_confirmed_is_dropped_as_well(shelf: Shelf):
    store = Faulty(shelf.store, at={("put", 1): Fault.raise_after})
    mine = run_of(shelf, "run", store)
    with pytest.raises(StoreUnreachable):
        mine.put()
    assert len(names(shelf)) == 1
    mine.put()
    assert len(names(shelf)) == 1
    mine.clear()
    assert names(shelf) == []


def test_one_that_cannot_be_dropped_is_a_doubt_and_no_failure(shelf: Shelf):
    store = Faulty(shelf.store, at={("delete", 1): Fault.raise_before, ("delete", 2): Fault.refuse})
    mine = run_of(shelf, "run", store)
    mine.put()
    mine.put()
    mine.put()
    assert len(names(shelf)) == 3
    doubts = mine.clear()
    assert len(doubts) == len(names(shelf)) == 1
    assert mine.clear() == ()
    assert names(shelf) == []


def test_a_checkpoint_is_renewed_every_few_minutes(shelf: Shelf, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    mine = begun(shelf, "run")
    now += RENEWED_EVERY
    assert not mine.due
    now += 1
    assert mine.due
    mine.put()
    assert not mine.due


def test_after_a_slow_put_the_next_one_takes_its_time(shelf: Shelf, monkeypatch):
    """Else a listing that takes as long as both of them might show neither the one that goes nor the one that comes."""
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)

    def slow(call: Call) -> None:
        nonlocal now
        now += RENEWED_EVERY if call.verb == "put" else 0

    mine = run_of(shelf, "run", Faulty(shelf.store, slow))
    mine.put()
    now += RENEWED_EVERY
    assert not mine.due
    now += 1
    assert mine.due


def test_a_run_that_could_not_renew_for_half_the_grace_time_fails(shelf: Shelf, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    mine = begun(shelf, "run")
    now += GRACE / 2
    mine.require_fresh()
    now += 1
    with pytest.raises(BackupFailed):
        mine.require_fresh()


def test_what_was_missed_is_not_mended_by_a_later_checkpoint(shelf: Shelf, monkeypatch):
    """A machine that slept for days: packs that the run counts on may have been pruned meanwhile."""
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    mine = begun(shelf, "run")
    now += GRACE / 2 + 1
    for _ in range(2):
        with pytest.raises(BackupFailed):
            mine.put()
        with pytest.raises(BackupFailed):
            mine.require_fresh()
    assert names(shelf) == ["checkpoints/run-0.age"]


def test_a_run_whose_checkpoint_was_pruned_while_it_slept_says_so(shelf: Shelf, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    mine = begun(shelf, "run")
    shelf.store.delete("checkpoints/run-0.age")
    with pytest.raises(ObjectMissing):
        mine.others(WRITERS)
    now += 2 * GRACE
    with pytest.raises(BackupFailed):
        mine.others(WRITERS)


def test_a_checkpoint_that_took_too_long_mends_nothing_either(shelf: Shelf, monkeypatch):
    now = 1000.0

    def slow(call: Call) -> None:
        nonlocal now
        now += GRACE / 2 + 1 if call.nth == 2 else 0

    monkeypatch.setattr(clock, "monotonic", lambda: now)
    mine = run_of(shelf, "run", Faulty(shelf.store, slow))
    mine.put()
    mine.put()
    with pytest.raises(BackupFailed):
        mine.require_fresh()


def test_one_that_began_in_time_and_came_too_late_mends_nothing(shelf: Shelf, monkeypatch):
    now = 1000.0

    def slow(call: Call) -> None:
        nonlocal now
        now += 2 if call.nth == 2 else 0

    monkeypatch.setattr(clock, "monotonic", lambda: now)
    mine = run_of(shelf, "run", Faulty(shelf.store, slow))
    mine.put()
    now += GRACE / 2 - 1
    mine.put()
    with pytest.raises(BackupFailed):
        mine.require_fresh()


def test_a_checkpoint_counts_from_before_it_was_put(shelf: Shelf, monkeypatch):
    """A store may acknowledge late what it took, and dated, early."""
    now = 1000.0

    def slow(call: Call) -> None:
        nonlocal now
        now += GRACE / 2

    monkeypatch.setattr(clock, "monotonic", lambda: now)
    mine = run_of(shelf, "run", Faulty(shelf.store, slow))
    mine.put()
    mine.require_fresh()
    now += 1
    with pytest.raises(BackupFailed):
        mine.require_fresh()


def test_a_wall_clock_that_jumps_makes_no_run_fail(shelf: Shelf, monkeypatch):
    mine = begun(shelf, "run")
    monkeypatch.setattr(clock, "now", lambda: 4_000_000_000.0)
    assert not mine.due
    mine.require_fresh()


# --- those of others ---


def test_other_runs_checkpoints_are_found_and_ones_own_are_not(shelf: Shelf):
    begun(shelf, "one").put([INDEX])
    begun(shelf, "two")
    mine = begun(shelf, "mine")
    found = mine.others(WRITERS)
    assert {each.run: each.indexes for each in found.checkpoints} == {"one": (INDEX,), "two": ()}
    assert found.times == {"memory": shelf.root.now}


def test_of_each_run_the_newest_counts(shelf: Shelf):
    """Also where an old one could not be dropped, and sorts behind: 10 comes before 9."""
    for count in (9, 10, 8):
        record = Checkpoint(shelf.writer.id, "run", count, "s", "w", (ObjectRef(digest_of(str(count)), 1),))
        shelf.store.put(f"checkpoints/run-{count}.age", records.seal(record, shelf.signer))
    (found,) = begun(shelf, "mine").others(WRITERS).checkpoints
    assert found.count == 10


def test_fresh_is_what_the_store_calls_fresh(shelf: Shelf, monkeypatch):
    """The clock of the machine that runs has no part in it."""
    begun(shelf, "old")
    shelf.root.now += 1
    begun(shelf, "young")
    shelf.root.now += GRACE - 1
    for wrong in (0.0, 4_000_000_000.0):
        monkeypatch.setattr(clock, "now", lambda wrong=wrong: wrong)
        assert runs_found(begun(shelf, "mine")) == ["young"]
        shelf.store.delete("checkpoints/mine-0.age")


def test_a_stale_one_is_left_alone(shelf: Shelf):
    begun(shelf, "old")
    shelf.root.now += 10 * GRACE
    mine = begun(shelf, "mine")
    assert runs_found(mine) == []
    mine.clear()
    assert names(shelf) == ["checkpoints/old-0.age"]


def test_unreadable_ones_are_ignored(shelf: Shelf):
    """What they name is stored again, which costs time and nothing else."""
    thief = signer_of(shelf.writer, STRANGER.sign_seed)
    honest = Checkpoint(shelf.writer.id, "forged", 0, "s", "w", (INDEX,))
    foreign = Checkpoint(OWNER.writer(2).id, "foreign", 0, "s", "w", (INDEX,))
    for name, data in {
        "junk-0.age": b"junk",
        "empty-0.age": b"",
        "forged-0.age": records.seal(honest, thief),
        "sealed-0.age": records.seal(honest, signer_of(STRANGER.writer(1))),
        "foreign-0.age": records.seal(foreign, shelf.signer),
        "manifest-0.age": records.seal(shelf.manifest(), shelf.signer),
    }.items():
        shelf.store.put(f"checkpoints/{name}", data)
    begun(shelf, "good")
    assert runs_found(begun(shelf, "mine")) == ["good"]


def test_one_that_is_dropped_meanwhile_is_ignored(shelf: Shelf):
    begun(shelf, "gone")
    begun(shelf, "good")
    store = Faulty(shelf.store, at={("get", 1): Fault.miss})
    mine = run_of(shelf, "mine", store)
    mine.put()
    assert runs_found(mine) == ["good"]
    assert store.struck


@pytest.mark.parametrize("fault", [Fault.raise_before, Fault.break_listing])
def test_a_listing_that_failed_is_never_no_others(shelf: Shelf, fault):
    begun(shelf, "other")
    store = Faulty(shelf.store, at={"list": fault})
    mine = run_of(shelf, "mine", store)
    mine.put()
    with pytest.raises(StoreUnreachable):
        mine.others(WRITERS)


def test_the_stores_time_is_that_of_ones_own_also_where_a_listing_is_late(shelf: Shelf):
    begun(shelf, "old")
    shelf.root.now += GRACE
    store = Faulty(shelf.store, at={"list": Fault.hide}, hidden=lambda name: "mine" in name)
    mine = run_of(shelf, "mine", store)
    mine.put()
    assert runs_found(mine) == []
    assert mine.others(WRITERS).times == {"memory": shelf.root.now}
    assert store.struck
