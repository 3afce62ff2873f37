"""What may go and what must stay: manifests by choice, packs and indexes once nothing can want them any more."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from dwebbackup import access, backup, checkpoint, clock, drafting, indexing, prune
from dwebbackup.checkpoint import GRACE, RENEWED_EVERY
from dwebbackup.errors import (
    BackupFailed,
    Damaged,
    DatabaseRefused,
    Incomplete,
    KeyForbids,
    NoSuchBackup,
    StoreUnreachable,
    WrongConfiguration,
)
from dwebbackup.keys import Key
from dwebbackup.manifest import ManifestRef
from dwebbackup.ports import Dump, Store, Stored, StoreTraits
from dwebbackup.prune import KEEP_WITHIN, Pruned
from dwebbackup.stores.local import LocalStore
from dwebbackup.stores.undeleting import Undeleting
from faulty import Call, Fault, Faulty, Killed, MemoryStore
from synthetic import OWNER, ROOT, WRITER, Contents, SyntheticSource, back_up, errors, names, noise, opened, restored
from synthetic import small_pieces as small

DAY = 24 * 3600.0


@pytest.fixture(autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with small() as patch:
        yield patch


def contents(number: int) -> Contents:
    """A third stays, a third goes to and fro, a third is new."""
    return {"same": noise(20_000, 1), "either": noise(20_000, 2 + number % 2), "new": noise(20_000, 10 + number)}


@pytest.fixture
def store() -> MemoryStore:
    """Three backups, ten days apart, the last of them ten days ago."""
    store = MemoryStore()
    for number in range(3):
        back_up(store, contents(number))
        store.now += 10 * DAY
    return store


def refs(store: Store) -> list[ManifestRef]:
    return opened(store).catalog.refs()


def drop(store: Store, *chosen: ManifestRef, key: Key = OWNER) -> Pruned:
    writer = opened(store, key)
    return prune.prune(writer, prune.plan(writer, chosen))


def named(store: Store) -> set[str]:
    """The packs and indexes that the manifests name."""
    catalog = opened(store).catalog
    found = set()
    for ref in catalog.refs():
        manifest = catalog.read(ref).manifest
        found |= {f"indexes/{each.sha256}.age" for each in [*manifest.indexes, manifest.spilled] if each}
        found |= {pack.path for index in catalog.indexes(manifest) for pack in index.packs}
    return found


def things(store: Store) -> set[str]:
    return names(store, "packs/") | names(store, "indexes/")


# --- what goes ---


def test_dropped_backups_go_with_what_only_they_used(store):
    first, second, third = refs(store)
    before = things(store)
    sizes = {name: len(data) for name, data in store.objects.items()}
    done = drop(store, first, second)
    assert refs(store) == [third]
    assert restored(store) == contents(2)
    assert errors(store) == []
    assert things(store) == named(store) < before
    gone = before - named(store)
    assert done == Pruned((first, second), len(gone), sum(sizes[ROOT + name] for name in gone))
    assert names(store, "probes/") == set()


def test_what_a_backup_that_stays_still_uses_stays(store):
    first, second, third = refs(store)
    drop(store, second)
    assert refs(store) == [first, third]
    assert restored(store, first.id) == contents(0)
    assert restored(store) == contents(2)
    assert things(store) == named(store)


def test_spilled_streams_and_merged_indexes_go_and_stay_with_their_manifests(patch):
    patch.setattr(drafting, "SPILL", 10)
    patch.setattr(indexing, "FEW", 1)
    store = MemoryStore()
    for number in range(3):
        back_up(store, contents(number))
        store.now += 10 * DAY
    before = things(store)
    drop(store, refs(store)[0])
    assert things(store) == named(store) < before
    assert [restored(store, ref.id) for ref in refs(store)] == [contents(1), contents(2)]


def test_nothing_chosen_still_clears_away_what_killed_runs_left(store):
    with pytest.raises(DatabaseRefused):
        back_up(store, SyntheticSource({"lost": noise(50_000, 77)}, loses_snapshot=True))
    assert things(store) > named(store)
    assert drop(store).waits
    store.now += GRACE
    assert drop(store).objects > 0
    assert things(store) == named(store)
    assert names(store, "checkpoints/") == set()
    assert len(refs(store)) == 3


def test_a_folder_is_pruned_by_the_ages_that_its_disk_tells(tmp_path):
    store = LocalStore(tmp_path)
    other = {"other": noise(20_000, 99)}
    back_up(store, contents(0))
    back_up(store, other)
    first, second = refs(store)
    assert drop(store, first).objects == 0
    assert things(store) > named(store)
    for path in tmp_path.rglob("*.age"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 2 * GRACE))
    assert drop(store).objects > 0
    assert things(store) == named(store)
    assert refs(store) == [second]
    assert restored(store) == other
    assert errors(store) == []


def test_dropping_twice_is_no_error(store):
    chosen = refs(store)[:2]
    writer = opened(store)
    planned = prune.plan(writer, chosen)
    prune.prune(writer, planned)
    assert prune.prune(writer, planned).objects == 0
    assert prune.plan(writer, chosen).drop == ()
    assert restored(store) == contents(2)


def test_what_is_not_ours_is_left_alone(store):
    strange = ["packs/readme", "packs/ab/" + "c" * 64 + ".age", "indexes/x.age", "notes/old", "manifests/readme"]
    for name in strange:
        store.put(ROOT + name, b"junk")
    store.put("w/" + "0" * 20 + "/packs/ab/" + "ab" * 32 + ".age", b"another writer's")
    store.now += 10 * GRACE
    before = set(store.objects)
    drop(store)
    assert set(store.objects) == before


# --- what stays whatever is chosen ---


def test_the_newest_backup_stays(store):
    *_, newest = refs(store)
    planned = prune.plan(opened(store), refs(store))
    assert planned.keep == (newest,)
    assert [ref for ref, _ in planned.spared] == [newest]


def test_the_newest_backup_of_each_source_stays(store):
    back_up(store, SyntheticSource({"a": noise(3000, 50)}, "other"))
    store.now += 10 * DAY
    back_up(store, contents(4))
    store.now += 10 * DAY
    *_, other, newest = refs(store)
    planned = prune.plan(opened(store), refs(store))
    assert planned.keep == (other, newest)
    assert dict(planned.spared)[other] == "it is the newest good one of other"


def test_a_tip_stays_whatever_it_says(shelf):
    """Neither a head nor a source speaks for it."""
    first = shelf.add()
    tip = shelf.put(shelf.manifest((first,), sources=(), newest=()))
    assert dict(prune.plan(opened(shelf.root), [tip]).spared) == {tip: "the next backup follows it"}


@pytest.mark.parametrize("cut", [False, True], ids=["missing", "cut"])
@pytest.mark.parametrize("lost", ["packs/", "indexes/"])
def test_the_newest_good_backup_stays_where_newer_ones_lost_something(store, lost, cut):
    first, second, third = refs(store)
    only = named(store)
    catalog = opened(store).catalog
    others = [catalog.read(ref).manifest for ref in (first, second)]
    only -= {f"indexes/{each.sha256}.age" for manifest in others for each in manifest.indexes}
    only -= {pack.path for manifest in others for index in catalog.indexes(manifest) for pack in index.packs}
    name = ROOT + next(name for name in sorted(only) if name.startswith(lost))
    store.objects[name] = store.objects[name][:-1]
    if not cut:
        store.delete(name)
    planned = prune.plan(opened(store), [first, second, third])
    assert planned.drop == (first,)
    assert dict(planned.spared)[second] == "it is the newest good one of synthetic"


def test_the_newest_good_backup_stays_where_newer_ones_are_suspect(store):
    first, second, third = refs(store)
    shrunk = SyntheticSource({"same": b""})
    done = backup.back_up([shrunk], access.below(store, WRITER.id), WRITER, backup.Options())
    assert done.suspect
    planned = prune.plan(opened(store), [first, second, third])
    assert planned.drop == (first, second)
    assert dict(planned.spared)[third] == "it is the newest good one of synthetic"


def test_both_of_two_tips_stay(store):
    def overtake(call: Call) -> None:
        if call.verb == "put" and "/manifests/" in call.name:
            back_up(store, contents(5))

    back_up(Faulty(store, overtake), contents(6))
    store.now += 10 * DAY
    tips = {tip.ref for tip in opened(store).catalog.newest().tips}
    assert len(tips) == 2
    assert set(prune.plan(opened(store), refs(store)).keep) == tips
    drop(store, *refs(store))
    assert {frozenset(restored(store, ref.id).items()) for ref in tips} == {
        frozenset(contents(5).items()),
        frozenset(contents(6).items()),
    }


def test_what_the_head_names_stays_also_where_it_is_not_the_newest(store):
    """A backup stores its manifest first, and then the head."""
    *_, third = refs(store)
    with pytest.raises(Killed):
        back_up(Faulty(store, lambda call: Fault.kill_before if is_put_of_head(call) else None), contents(3))
    assert len(refs(store)) == 4
    planned = prune.plan(opened(store), refs(store))
    assert dict(planned.spared)[third] == "the head names it"


def is_put_of_head(call: Call) -> bool:
    return (call.verb, call.name) == ("put", f"{ROOT}head.json")


# --- what is read ---


def test_each_manifest_and_index_is_read_once_for_planning_and_deleting(store):
    """But for the newest, which tells what was kept before and after, and the indexes of what must be whole."""
    *older, newest = refs(store)
    watched = Faulty(store)
    assert drop(watched, older[1]).objects > 0
    reads = Counter(name.removeprefix(ROOT) for verb, name in watched.calls if verb == "get")
    assert {ref: reads[f"manifests/{ref.name}"] for ref in (*older, newest)} == {**dict.fromkeys(older, 1), newest: 3}
    assert max(times for name, times in reads.items() if name.startswith("indexes/")) == 2


def test_what_was_backed_up_after_planning_stays(store):
    """Its manifest is none of those that were read then."""
    _, second, _ = refs(store)
    writer = opened(store)
    planned = prune.plan(writer, [second])
    back_up(store, contents(7))
    store.now += 10 * DAY
    assert prune.prune(writer, planned).objects > 0
    assert things(store) == named(store)
    assert restored(store) == contents(7)
    assert errors(store) == []


class Behind(MemoryStore):
    """Its listings still show the manifests that were deleted."""

    shown: tuple[Stored, ...] = ()

    def list(self, prefix: str) -> Iterator[Stored]:
        found = {each.name: each for each in super().list(prefix)}
        return iter([*found.values(), *(each for each in self.shown if each.name not in found)])


def test_what_is_dropped_and_listed_all_the_same_keeps_nothing(store):
    _, second, _ = refs(store)
    late = Behind(now=store.now)
    late.objects, late.modified = store.objects, store.modified
    writer = opened(late)
    planned = prune.plan(writer, [second])
    late.shown = tuple(late.list(f"{ROOT}manifests/{second.name}"))
    assert prune.prune(writer, planned).objects > 0
    late.shown = ()
    assert things(late) == named(late)


def test_what_another_prune_drops_while_this_one_is_planned_is_no_error(store):
    first, second, third = refs(store)

    def overtake(call: Call) -> None:
        if (call.verb, call.name) == ("list", f"{ROOT}manifests/") and any(verb == "put" for verb, _ in watched.calls):
            store.delete(f"{ROOT}manifests/{first.name}")

    watched = Faulty(store, overtake)
    store.now += KEEP_WITHIN
    assert prune.plan(opened(watched, WRITER), [first, second]).drop == (second,)
    assert refs(store) == [second, third]


# --- keys and stores ---


def test_a_writer_key_drops_nothing_of_the_last_two_weeks(store):
    first, second, third = refs(store)
    store.now += KEEP_WITHIN - 20 * DAY - 1
    assert prune.plan(opened(store, WRITER), [first, second, third]).drop == (first,)
    store.now += 1
    assert prune.plan(opened(store, WRITER), [first, second, third]).drop == (first, second)
    done = drop(store, first, second, key=WRITER)
    assert done.objects
    assert things(store) == named(store)


def test_with_the_words_age_does_not_matter(store):
    back_up(store, contents(3))
    assert len(prune.plan(opened(store), refs(store)).drop) == 3


def test_a_reader_key_deletes_nothing(store):
    with pytest.raises(KeyForbids):
        prune.plan(opened(store, OWNER.reader(1)), refs(store))


def test_a_store_that_cannot_forget_is_told_so(store):
    store.traits = StoreTraits(deletes=False)
    with pytest.raises(WrongConfiguration, match="nothing can be pruned"):
        prune.plan(opened(store), refs(store))


def test_a_writer_that_must_not_delete_holds_up_no_prune_for_longer_than_it_runs(store, patch):
    patch.setattr(checkpoint, "RENEWED_EVERY", -1)
    for number in range(3, 6):
        assert back_up(Undeleting(store), contents(number)).doubts == ()
        store.now += DAY
    left = names(store, "checkpoints/")
    assert len(left) > 3
    assert {store.objects[ROOT + name] for name in left} == {b""}
    done = drop(store, *refs(store)[:4])
    assert done.waits == ""
    assert done.objects > 0
    assert names(store, "checkpoints/") == set()
    assert errors(store) == []


def test_a_run_that_must_not_delete_and_was_cut_off_holds_up_a_prune_and_is_continued(store):
    cut_off = SyntheticSource({"lost": noise(50_000, 77)}, loses_snapshot=True)
    with pytest.raises(DatabaseRefused):
        back_up(Undeleting(store), cut_off)
    assert "under way" in drop(store).waits
    assert back_up(Undeleting(store), {"lost": noise(50_000, 77)}).bytes_stored < 10_000


def test_an_empty_store_is_not_pruned():
    with pytest.raises(NoSuchBackup):
        prune.plan(opened(MemoryStore()), [])


def test_packs_without_any_manifest_are_never_deleted(store):
    """All manifests hidden, or never written: what is there may be all that is left."""
    writer = opened(store)
    planned = prune.plan(writer, [])
    for name in names(store, "manifests/"):
        store.delete(ROOT + name)
    store.delete(f"{ROOT}head.json")
    before = things(store)
    with pytest.raises(Incomplete):
        prune.prune(writer, planned)
    assert things(store) == before


# --- runs under way ---


def test_as_long_as_a_checkpoint_is_fresh_only_manifests_go(store):
    first, second, _ = refs(store)
    before = things(store)
    writer = opened(store)
    store.put(f"{ROOT}checkpoints/{'0' * 16}-0.age", b"whatever it is")
    store.now += GRACE - 1
    done = prune.prune(writer, prune.plan(writer, [first, second]))
    assert done.manifests == (first, second)
    assert "under way" in done.waits
    assert things(store) == before
    store.now += 1
    assert drop(store).waits == ""
    assert things(store) == named(store)


def test_a_listing_that_takes_minutes_does_not_show_that_nobody_is_at_work(store, patch):
    """A run may have renewed its checkpoint twice meanwhile."""
    first, *_ = refs(store)
    now = 0.0

    def slow(call: Call) -> None:
        nonlocal now
        now += RENEWED_EVERY + 1 if (call.verb, call.name) == ("list", f"{ROOT}checkpoints/") else 0

    patch.setattr(clock, "monotonic", lambda: now)
    before = things(store)
    writer = opened(Faulty(store, slow))
    done = prune.prune(writer, prune.plan(writer, [first]))
    assert "so long" in done.waits
    assert things(store) == before


def test_what_another_prune_dropped_meanwhile_is_no_hidden_manifest(store):
    first, second, third = refs(store)
    writer = opened(store)
    planned = prune.plan(writer, [first])
    drop(store, second)
    prune.prune(writer, planned)
    assert refs(store) == [third]
    assert things(store) == named(store)


def test_young_packs_stay_though_nothing_names_them(store):
    """Another run's, whose checkpoint may have gone a moment ago."""
    name = f"packs/ab/{'ab' * 32}.age"
    store.put(ROOT + name, b"new")
    store.now += GRACE - 1
    drop(store)
    assert name in things(store)
    store.now += 1
    drop(store)
    assert name not in things(store)


class Sleeper(SyntheticSource):
    """Lets days pass before it gives its first stream, and others prune meanwhile."""

    def __init__(self, contents: Contents, store: MemoryStore) -> None:
        super().__init__(contents)
        self._store = store

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        self._store.now += 2 * GRACE
        assert drop(self._store).objects > 0
        with super().dump() as dump:
            yield dump


def test_a_backup_that_slept_while_others_pruned_gives_up(store, patch):
    """What it counted on is gone; that it woke up and renewed its checkpoint came too late."""
    began = store.now
    patch.setattr(clock, "monotonic", lambda: store.now - began)
    lost = {"lost": noise(50_000, 77)}
    with pytest.raises(DatabaseRefused):
        back_up(store, SyntheticSource(lost, loses_snapshot=True))
    with pytest.raises(BackupFailed, match="36 hours"):
        back_up(store, Sleeper(lost, store))
    assert errors(store) == []
    back_up(store, lost)
    assert restored(store) == lost


# --- what cannot be read, or is not shown ---


def test_one_manifest_that_cannot_be_read_keeps_everything(store):
    first, second, _ = refs(store)
    store.objects[f"{ROOT}manifests/{second.name}"] = b"spoiled"
    before = things(store)
    with pytest.raises(Damaged):
        drop(store, first)
    assert first not in refs(store)
    assert things(store) == before


def test_one_that_cannot_be_read_may_be_chosen(store):
    """Otherwise nothing would ever be cleared away again."""
    first, second, third = refs(store)
    store.objects[f"{ROOT}manifests/{second.name}"] = b"spoiled"
    drop(store, second)
    assert refs(store) == [first, third]
    assert things(store) == named(store)


def test_an_index_that_cannot_be_read_keeps_everything(store):
    first, *_ = refs(store)
    (ref, *_) = opened(store).catalog.read(refs(store)[2]).manifest.indexes
    store.objects[f"{ROOT}indexes/{ref.sha256}.age"] = b"spoiled"
    before = things(store)
    with pytest.raises(Damaged):
        drop(store, first)
    assert things(store) == before


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_manifest_that_is_hidden_keeps_everything(number):
    """Before or after planning; it is told by what later ones say was kept, or by the head. None shares anything."""
    store = MemoryStore()
    alone = [{"alone": noise(20_000, 90 + each)} for each in range(3)]
    for each in alone:
        back_up(store, each)
        store.now += 10 * DAY
    hidden = refs(store)[number]
    before = things(store)
    for plain in (opened(store), opened(hiding(store, hidden))):
        planned = prune.plan(plain, [])
        with nullcontext() if number == 2 else pytest.raises(Incomplete):
            prune.prune(opened(hiding(store, hidden)), planned)
        assert things(store) == before
    assert restored(store, hidden.id) == alone[number]


def hiding(store: Store, ref: ManifestRef) -> Store:
    return Faulty(store, at={"list": Fault.hide}, hidden=lambda name: name.endswith(ref.name))


@pytest.mark.parametrize("verb", ["put", "head", "list", "get"])
def test_a_store_that_fails_is_not_pruned_further(store, verb):
    writer = opened(store)
    planned = prune.plan(writer, [])
    with pytest.raises(StoreUnreachable):
        prune.prune(opened(Faulty(store, at={verb: Fault.raise_before})), planned)


def test_a_store_whose_listings_are_behind_is_not_pruned(store):
    """It does not show yet what was just put: so it may not show a run that has just begun."""
    before = things(store)
    late = Faulty(store, at={"list": Fault.hide}, hidden=lambda name: "/probes/" in name)
    writer = opened(store)
    with pytest.raises(Incomplete, match="behind"):
        prune.prune(opened(late), prune.plan(writer, refs(store)[:2]))
    assert things(store) == before
