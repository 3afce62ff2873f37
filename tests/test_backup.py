"""Backups of bytes: whatever goes out comes back, what is known is not stored again, the order of writing holds."""

from __future__ import annotations

import base64
import dataclasses
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwebbackup import age, backup, checkpoint, chunking, drafting, indexing, restore, reuse, stores, storing
from dwebbackup.catalog import Backup
from dwebbackup.errors import (
    BackupFailed,
    DatabaseRefused,
    DwebbackupError,
    KeyForbids,
    NoSuchBackup,
    ObjectMissing,
    StoreUnreachable,
    TargetNotEmpty,
)
from dwebbackup.manifest import Index, ManifestRef, PackEntry
from faulty import Call, Fault, Faulty, Killed, MemoryStore
from synthetic import (
    AVERAGE,
    OWNER,
    ROOT,
    WRITER,
    Contents,
    SyntheticSource,
    SyntheticTarget,
    back_up,
    errors,
    names,
    noise,
    opened,
    restored,
    small_pieces,
)

pytest_plugins = ["fix_age"]

DAY = 24 * 3600


@pytest.fixture
def small() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def indexes(store: MemoryStore, done: backup.Done) -> list[Index]:
    return opened(store).catalog.indexes(done.backup.manifest)


def packs(store: MemoryStore, done: backup.Done) -> list[PackEntry]:
    return [pack for index in indexes(store, done) for pack in index.packs]


def chunks(store: MemoryStore) -> int:
    """How many chunks lie in all indexes together."""
    access_ = opened(store).catalog
    refs = {
        ref for each in access_.read_all(access_.refs()) if isinstance(each, Backup) for ref in each.manifest.indexes
    }
    return sum(access_.index(ref).rows for ref in refs)


# --- whatever goes out comes back ---

SHAPES: dict[str, Contents] = {
    "no streams at all": {},
    "one empty stream": {"a": b""},
    "one byte": {"a": b"\n"},
    "many streams": {f"table {number}": noise(number * 37, number) for number in range(300)},
    "empty ones among others": {"a": b"", "b": noise(70_000), "c": b"", "d": b"x" * 5000, "e": b""},
    "a repeat within a stream": {"a": noise(20_000) * 12},
    "a repeat across streams": {"a": noise(90_000), "b": noise(90_000), "c": noise(45_000)},
    "nothing but zeros": {"a": bytes(2_000_000)},
    "rows": {"a": b"".join(b"%d\t%d\n" % (number, number % 7) for number in range(40_000))},
}


@pytest.mark.parametrize("jobs", [1, 3], ids=["one job", "three jobs"])
@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_goes_out_comes_back(small, store, shape, jobs):
    done = back_up(store, SHAPES[shape], jobs=jobs)
    assert restored(store) == SHAPES[shape]
    assert done.bytes_read == sum(map(len, SHAPES[shape].values()))
    assert errors(store) == []


def test_a_stream_of_many_full_sized_packs_comes_back(store):
    contents = {"large": noise(11_000_000), "small": b"beside it\n"}
    done = back_up(store, contents, jobs=2)
    assert done.backup.manifest.packs >= 3
    assert restored(store) == contents


pieces = st.sampled_from([b"", b"\n", bytes(3000), noise(700, 1), noise(5000, 2), noise(60_000, 3), b"ab\tc\n" * 2000])
anything = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.lists(pieces, max_size=5).map(b"".join), max_size=6
)


@given(before=anything, after=anything, jobs=st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_any_two_backups_in_a_row_come_back(before, after, jobs):
    store = MemoryStore()
    with small_pieces():
        first = back_up(store, before, jobs=jobs)
        second = back_up(store, after, jobs=jobs)
        assert restored(store, first.backup.ref.id) == before
        assert restored(store, second.backup.ref.id) == after == restored(store)


def test_rows_are_counted_as_the_source_counted_them(small, store):
    back_up(store, {"a": b"1\n2\n3\n", "b": b""})
    target = SyntheticTarget()
    done = restore.restore(opened(store), opened(store).catalog.latest(), target, restore.Options())
    assert (done.restored.tables, done.restored.rows) == (2, 3)


def test_a_target_that_holds_something_is_left_alone(small, store):
    back_up(store, {"a": b"new"})
    target = SyntheticTarget({"a": b"old"})
    with pytest.raises(TargetNotEmpty) as caught:
        restore.restore(opened(store), opened(store).catalog.latest(), target, restore.Options())
    assert (caught.value.exit_status, target.contents) == (11, {"a": b"old"})
    restore.restore(opened(store), opened(store).catalog.latest(), target, restore.Options(replace=True))
    assert target.contents == {"a": b"new"}


# --- what is known is not stored again ---


def test_a_second_backup_of_the_same_stores_a_manifest_and_a_head(small, store):
    contents = {"a": noise(400_000, 1), "b": noise(100_000, 2)}
    first = back_up(store, contents)
    before = names(store)
    second = back_up(store, contents)
    (manifest,) = names(store) - before
    assert manifest == f"manifests/{second.backup.ref.name}"
    assert second.backup.manifest.packs == 0
    assert second.backup.manifest.indexes == first.backup.manifest.indexes
    assert second.bytes_stored == second.backup.size + len(store.objects[f"{ROOT}head.json"])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:200_000] + bytes([data[200_000] ^ 1]) + data[200_001:],
        lambda data: data[:200_000] + b"!" + data[200_000:],
        lambda data: data[:200_000] + data[200_001:],
        lambda data: data + b"!",
        lambda data: b"!" + data,
    ],
    ids=["changed", "inserted", "removed", "appended", "prepended"],
)
def test_one_byte_costs_a_chunk_or_two(small, store, change):
    data = noise(400_000)
    back_up(store, {"a": data})
    before = chunks(store)
    second = back_up(store, {"a": change(data)})
    assert 1 <= chunks(store) - before <= 3
    assert second.bytes_stored < 3 * 4 * AVERAGE + 8192
    assert restored(store) == {"a": change(data)}


def test_equal_streams_are_stored_once(small, store):
    back_up(store, {"a": noise(100_000)})
    before = chunks(store)
    back_up(store, {"a": noise(100_000), "renamed": noise(100_000)})
    assert chunks(store) == before


def test_a_new_recipient_has_every_pack_written_anew_and_opens_all(small, store):
    secret = noise(32, 9)
    contents = {"a": noise(150_000)}
    first = back_up(store, contents)
    second = back_up(store, contents, recipients=(age.public_key(secret),))
    before = {pack.sha256 for pack in packs(store, first)}
    after = packs(store, second)
    assert before.isdisjoint(pack.sha256 for pack in after)
    for path in (*(pack.path for pack in after), f"manifests/{second.backup.ref.name}"):
        assert age.unseal(store.get(ROOT + path), [secret])
    with pytest.raises(KeyForbids):
        age.unseal(store.get(f"{ROOT}manifests/{first.backup.ref.name}"), [secret])
    third = back_up(store, contents, recipients=(age.public_key(secret),))
    assert third.backup.manifest.packs == 0


@pytest.mark.parametrize(
    "harm",
    [
        lambda store, pack: store.delete(ROOT + pack.path),
        lambda store, pack: store.put(ROOT + pack.path, store.get(ROOT + pack.path)[:-1]),
    ],
    ids=["deleted", "cut"],
)
def test_a_pack_that_was_lost_between_backups_is_stored_again(small, store, harm):
    contents = {"a": noise(200_000)}
    first = back_up(store, contents)
    harm(store, packs(store, first)[1])
    second = back_up(store, contents)
    assert second.backup.manifest.packs == 1
    assert restored(store) == contents


def test_packs_are_written_anew_when_they_get_old(small, store):
    contents = {"a": noise(100_000)}
    back_up(store, contents)
    store.now += reuse.REUSE_MAX - DAY
    assert back_up(store, contents).backup.manifest.packs == 0
    store.now += DAY
    assert back_up(store, contents).backup.manifest.packs > 0
    assert restored(store) == contents


def test_the_chunk_average_is_inherited_until_it_is_far_off(small, store):
    contents = {"a": noise(200_000)}
    averages = []
    for average in (AVERAGE, 2 * AVERAGE, AVERAGE // 2, 4 * AVERAGE):
        small.setattr(chunking, "AVERAGE", average)
        done = back_up(store, contents)
        averages.append(done.backup.manifest.sources[0].streams[0].average)
        assert restored(store) == contents
    assert averages == [AVERAGE, AVERAGE, AVERAGE, 4 * AVERAGE]


@pytest.mark.parametrize(("limit", "are_small"), [("FEW", True), ("MOST", False)])
def test_many_indexes_are_merged_and_everything_still_restores(small, store, limit, are_small):
    contents: dict[str, bytes] = {}
    small.setattr(indexing, limit, 8)
    if not are_small:
        small.setattr(indexing, "SMALL", 0)
    counts = []
    for number in range(20):
        contents[f"stream {number}"] = noise(3000, number)
        done = back_up(store, contents)
        counts.append(len(done.backup.manifest.indexes))
    assert counts[:8] == list(range(1, 9))
    assert counts[8] == 1
    assert max(counts) == 8
    assert restored(store) == contents
    assert restored(store, "5") == {f"stream {number}": noise(3000, number) for number in range(5)}
    assert errors(store) == []
    assert back_up(store, contents).backup.manifest.packs == 0


def test_a_merge_leaves_out_the_packs_that_nothing_uses_any_more(small, store):
    small.setattr(indexing, "FEW", 3)
    for number in range(3):
        back_up(store, {"kept": noise(2000), f"{number}": noise(60_000, number)})
    sizes = [
        len(packs(store, back_up(store, {"kept": noise(2000), **{f"{n}": noise(2000, 10 + n) for n in range(count)}})))
        for count in range(1, 5)
    ]
    assert sizes[-1] < 8
    assert restored(store)["kept"] == noise(2000)
    assert errors(store) == []


def test_a_backup_of_many_chunks_writes_several_indexes(small, store):
    small.setattr(storing, "INDEX_ROWS", 100)
    contents = {"a": noise(400_000)}
    done = back_up(store, contents, jobs=2)
    found = indexes(store, done)
    assert len(found) > 2
    assert all(index.rows <= 100 for index in found)
    assert restored(store) == contents
    assert back_up(store, contents).backup.manifest.packs == 0


# --- streams that do not fit the manifest ---


@pytest.fixture
def spilling(small: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    small.setattr(drafting, "SPILL", 1000)
    return small


MANY = {f"table {number}": noise(500, number) for number in range(60)}


def test_many_streams_are_spilled_and_come_back(spilling, store):
    done = back_up(store, MANY)
    assert done.backup.manifest.spilled
    assert done.backup.manifest.sources[0].streams == ()
    assert restored(store) == MANY
    assert errors(store) == []
    second = back_up(store, MANY)
    assert second.backup.manifest.packs == 0
    assert restored(store) == MANY


def test_a_lost_spill_spoils_its_backup_and_no_later_one(spilling, store):
    first = back_up(store, MANY).backup
    assert first.manifest.spilled
    store.delete(f"{ROOT}indexes/{first.manifest.spilled.sha256}.age")
    with pytest.raises(ObjectMissing):
        restored(store)
    second = back_up(store, MANY)
    assert second.backup.manifest.packs == 0
    assert restored(store) == MANY


def test_the_spilled_streams_of_another_backup_are_not_taken(spilling, store):
    first = back_up(store, MANY).backup
    second = back_up(store, MANY | {"more": b"x"}).backup
    swapped = dataclasses.replace(first, manifest=dataclasses.replace(first.manifest, spilled=second.manifest.spilled))
    with pytest.raises(DwebbackupError, match="belong to another"):
        restore.restore(opened(store), swapped, SyntheticTarget(), restore.Options())


# --- several sources in one store ---


def test_each_source_has_its_own_newest(small, store):
    apples = SyntheticSource({"a": noise(90_000, 1)}, "apples")
    pears = SyntheticSource({"p": noise(90_000, 2)}, "pears")
    back_up(store, apples)
    back_up(store, pears)
    newest = back_up(store, apples).backup.manifest.newest
    assert [(entry.source, entry.sequence) for entry in newest] == [("apples", 3), ("pears", 2)]
    assert restored(store, "3") == apples.contents
    assert restored(store, "2") == pears.contents


def test_a_source_is_known_again_though_others_were_backed_up_since(small, store):
    apples = SyntheticSource({"a": noise(90_000, 1)}, "apples")
    pears = SyntheticSource({"p": noise(90_000, 2)}, "pears")
    back_up(store, apples)
    for _ in range(3):
        back_up(store, pears)
    assert back_up(store, apples).backup.manifest.packs == 0


def test_one_backup_holds_several_sources_and_each_is_restored_by_name(small, store):
    apples = SyntheticSource({"a": noise(9000, 1), "shared": noise(30_000)}, "apples")
    pears = SyntheticSource({"p": noise(9000, 2), "shared": noise(30_000)}, "pears")
    back_up(store, apples, pears, jobs=2)
    assert restored(store, source="apples") == apples.contents
    assert restored(store, source="pears") == pears.contents
    with pytest.raises(NoSuchBackup, match="apples, pears"):
        restored(store)
    with pytest.raises(NoSuchBackup, match="not plums"):
        restored(store, source="plums")


# --- the order of writing ---


def written(faulty: Faulty) -> list[str]:
    """The kinds of what was written and deleted, in order, repeats left out."""
    kinds = [
        f"{'-' if verb == 'delete' else ''}{name.removeprefix(ROOT).partition('/')[0]}"
        for verb, name in faulty.calls
        if verb in ("put", "delete")
    ]
    return [kind for number, kind in enumerate(kinds) if not number or kind != kinds[number - 1]]


ORDER = ["checkpoints", "packs", "indexes", "manifests", "head.json", "head.ipns", "-checkpoints"]


@pytest.mark.parametrize("jobs", [1, 3], ids=["one job", "three jobs"])
def test_intent_packs_index_manifest_head_in_this_order(small, store, jobs):
    faulty = Faulty(store)
    back_up(faulty, {f"{number}": noise(120_000, number) for number in range(4)}, jobs=jobs)
    assert written(faulty) == ORDER
    assert names(store, "checkpoints/") == set()


def test_the_intent_is_written_before_anything_is_listed(small, store):
    back_up(store, {"a": noise(60_000)})
    faulty = Faulty(store)
    back_up(faulty, {"a": noise(60_000, 2)})
    assert faulty.calls[0][0] == "put"
    assert faulty.calls[0][1].startswith(f"{ROOT}checkpoints/")


def test_spilled_streams_and_merged_indexes_come_before_the_manifest(spilling, store):
    spilling.setattr(indexing, "FEW", 1)
    back_up(store, MANY)
    faulty = Faulty(store)
    done = back_up(faulty, MANY | {"more": noise(60_000)})
    assert written(faulty) == ORDER
    assert done.backup.manifest.spilled
    assert len([verb for verb, name in faulty.calls if verb == "put" and "/indexes/" in name]) == 3


class Slow(MemoryStore):
    """Keeps the first pack waiting until three others are stored; *acknowledged* is what was, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.acknowledged: list[str] = []
        self._others = threading.Semaphore(0)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        is_pack = "/packs/" in name
        self.begun += [name] if is_pack else []
        if self.begun[:1] == [name]:
            for _ in range(3):
                self._others.acquire()
        links = super().put(name, data)
        self.acknowledged.append(name)
        if is_pack:
            self._others.release()
        return links


def test_every_pack_is_acknowledged_before_its_index_is_written(small):
    small.setattr(storing, "INDEX_ROWS", 60)
    store = Slow()
    done = back_up(store, {"a": noise(300_000)}, uploads=2)
    assert store.acknowledged.index(store.begun[0]) > 3
    for ref, index in zip(done.backup.manifest.indexes, indexes(store, done), strict=True):
        position = store.acknowledged.index(f"{ROOT}indexes/{ref.sha256}.age")
        assert all(store.acknowledged.index(ROOT + pack.path) < position for pack in index.packs)
    assert restored(store) == {"a": noise(300_000)}


# --- a run that ends early ---


def test_a_stream_that_breaks_off_makes_no_manifest(small, store):
    contents = {"good": noise(100_000, 1), "bad": noise(100_000, 2)}
    back_up(store, contents)
    before = names(store, "manifests/")
    for jobs in (1, 2):
        with pytest.raises(DatabaseRefused, match="in the midst of bad") as caught:
            back_up(
                store, SyntheticSource({name: data[::-1] for name, data in contents.items()}, breaks="bad"), jobs=jobs
            )
        assert caught.value.exit_status == 14
    assert names(store, "manifests/") == before
    assert restored(store) == contents


def test_a_lost_snapshot_makes_no_manifest_though_every_stream_was_read(small, store):
    back_up(store, {"a": noise(50_000, 1)})
    before = names(store, "manifests/")
    with pytest.raises(DatabaseRefused, match="snapshot was lost"):
        back_up(store, SyntheticSource({"a": noise(50_000, 2)}, loses_snapshot=True))
    assert names(store, "manifests/") == before
    assert restored(store) == {"a": noise(50_000, 1)}


def test_a_broken_second_source_takes_the_first_with_it(small, store):
    good = SyntheticSource({"a": noise(50_000, 1)}, "good")
    bad = SyntheticSource({"a": noise(50_000, 2)}, "bad", breaks="a")
    with pytest.raises(DatabaseRefused):
        back_up(store, good, bad)
    assert names(store, "manifests/") == set()


def test_what_a_failed_run_stored_is_not_stored_again(small, store):
    contents = {"large": noise(400_000, 1), "later": noise(2000, 2)}
    with pytest.raises(DatabaseRefused):
        back_up(store, SyntheticSource(contents, breaks="later"))
    left = names(store, "packs/")
    assert len(left) >= 6
    done = back_up(store, contents)
    assert done.bytes_stored < 130_000  # the last pack, and the one that was being filled, had not been put
    assert left <= names(store, "packs/")
    assert restored(store) == contents


@pytest.mark.parametrize("last", ["indexes", "manifests", "head.json"])
def test_what_was_stored_is_found_again_though_the_last_steps_failed(small, store, last):
    failed: list[Call] = []

    def fail_once(call: Call) -> Fault | None:
        if call.verb != "put" or not call.name.startswith(ROOT + last) or failed:
            return None
        failed.append(call)
        return Fault.raise_before

    contents = {"a": noise(400_000)}
    with pytest.raises(StoreUnreachable):
        back_up(Faulty(store, fail_once), contents)
    assert back_up(store, contents).backup.manifest.packs == 0
    assert restored(store) == contents


def test_what_fails_after_the_manifest_leaves_a_complete_backup_and_says_so(small, store):
    contents = {"a": noise(50_000)}
    refusing = Faulty(
        store, lambda call: Fault.refuse if (call.verb, call.name) == ("put", ROOT + "head.json") else None
    )
    with pytest.raises(StoreUnreachable) as caught:
        back_up(refusing, contents)
    (manifest,) = names(store, "manifests/")
    (note,) = caught.value.__notes__
    assert ManifestRef.parse_name(manifest.rpartition("/")[2]).id in note
    assert "is complete" in note
    assert not names(store, "checkpoints/"), "they would hold up a prune"
    assert restored(store) == contents


def test_objects_too_large_to_be_read_stop_neither_backups_nor_restores(small, store):
    back_up(store, {"a": noise(50_000)})
    huge = bytes(stores.LARGEST + 1)
    for name in (f"manifests/9999999999-{'0' * 64}.age", "head.json", "checkpoints/junk-0.age"):
        store.put(ROOT + name, huge)
    done = back_up(store, {"a": noise(60_000)})
    assert [doubt for doubt in done.doubts if "larger than any object of ours" in doubt] == list(done.doubts) != []
    assert done.backup.ref.sequence == 2
    assert restored(store) == {"a": noise(60_000)}


def test_a_run_that_stored_nothing_leaves_nothing_that_holds_up_a_prune(small, store):
    with pytest.raises(DatabaseRefused):
        back_up(store, SyntheticSource({"a": b"short"}, breaks="a"))
    assert names(store) == set()


def test_a_checkpoint_that_cannot_be_deleted_is_a_doubt_and_no_failure(small, store):
    done = back_up(Faulty(store, at={"delete": Fault.refuse}), {"a": noise(50_000)})
    assert "checkpoint" in done.doubts[0]
    assert len(names(store, "checkpoints/")) == 1
    assert restored(store) == {"a": noise(50_000)}


def test_a_killed_runs_packs_are_found_again_through_its_checkpoint(small, store):
    """The last stream waits until a checkpoint stands; then the process is gone."""
    small.setattr(checkpoint, "RENEWED_EVERY", -1)
    renewed = threading.Event()

    def kill_later(call: Call) -> Fault | None:
        if call.verb == "delete":
            renewed.set()
        return Fault.kill_before if renewed.is_set() and "/packs/" in call.name else None

    contents = {"large": noise(400_000, 1), "late": noise(100_000, 2)}
    with pytest.raises(Killed):
        back_up(Faulty(store, kill_later), SyntheticSource(contents, waits=("late", renewed)))
    assert names(store, "manifests/") == set()
    done = back_up(store, contents)
    assert done.bytes_stored < 200_000
    assert restored(store) == contents


def test_a_stale_checkpoint_is_not_trusted(small, store):
    contents = {"large": noise(400_000, 1), "later": noise(2000, 2)}
    with pytest.raises(DatabaseRefused):
        back_up(store, SyntheticSource(contents, breaks="later"))
    store.now += checkpoint.GRACE
    assert back_up(store, contents).bytes_stored > 400_000
    assert restored(store) == contents


def test_a_run_without_a_fresh_checkpoint_makes_no_manifest(small, store):
    small.setattr(checkpoint, "GRACE", -1)
    with pytest.raises(BackupFailed, match="no checkpoint"):
        back_up(store, {"a": b"x"})
    assert names(store, "manifests/") == set()


def test_no_thread_outlives_a_run(small, store):
    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    before = threads()
    back_up(store, {"a": noise(200_000)}, jobs=3)
    restored(store)
    errors(store)
    with pytest.raises(DatabaseRefused):
        back_up(store, SyntheticSource({"a": noise(200_000)}, breaks="a"), jobs=3)
    with pytest.raises(StoreUnreachable):
        back_up(Faulty(store, at={("put", 4): Fault.raise_before}), {"a": noise(200_000, 2)}, jobs=3)
    assert threads() <= before


# --- two machines at once ---


def at_once(store: MemoryStore, *contents: Contents) -> list[backup.Done]:
    """Backups that have all read the catalog before the first of them writes its manifest."""
    barrier = threading.Barrier(len(contents))

    def meet(call: Call) -> None:
        if call.verb == "put" and "/manifests/" in call.name:
            barrier.wait(60)

    done: dict[int, backup.Done] = {}

    def run(number: int) -> None:
        done[number] = back_up(Faulty(store, meet), contents[number], jobs=2)

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [done[number] for number in range(len(contents))]


@pytest.mark.parametrize("earlier", [0, 2], ids=["first of all", "after others"])
def test_two_at_once_fork_and_the_next_backup_heals_it(small, store, earlier):
    for number in range(earlier):
        back_up(store, {"a": noise(100_000, number)})
    one, two = {"a": noise(100_000, 10)}, {"a": noise(100_000, 20)}
    left, right = at_once(store, one, two)
    assert left.backup.ref.sequence == right.backup.ref.sequence == earlier + 1
    assert left.backup.ref != right.backup.ref
    assert restored(store, left.backup.ref.id) == one
    assert restored(store, right.backup.ref.id) == two
    with pytest.raises(DwebbackupError) as caught:
        opened(store).catalog.latest()
    assert left.backup.ref.id in str(caught.value)
    assert right.backup.ref.id in str(caught.value)
    healed = back_up(store, one)
    assert set(healed.backup.manifest.parents) == {left.backup.ref, right.backup.ref}
    assert healed.backup.manifest.packs == 0
    assert restored(store) == one
    assert errors(store) == []


def test_three_at_once_are_all_seen(small, store):
    done = at_once(store, *({"a": noise(30_000, number)} for number in range(3)))
    assert {tip.ref for tip in opened(store).catalog.newest().tips} == {each.backup.ref for each in done}
    back_up(store, {"a": b"healed"})
    assert restored(store) == {"a": b"healed"}


def test_a_run_that_was_overtaken_shows_as_a_fork(small, store):
    """It read the catalog, then two other backups were made, then it went on."""
    back_up(store, {"a": noise(30_000, 1)})

    def overtake(call: Call) -> None:
        if call.verb == "put" and "/manifests/" in call.name:
            back_up(store, {"a": noise(30_000, 2)})
            back_up(store, {"a": noise(30_000, 3)})

    slow = back_up(Faulty(store, overtake), {"a": noise(30_000, 4)})
    assert slow.backup.ref.sequence == 2
    tips = {tip.ref.sequence for tip in opened(store).catalog.newest().tips}
    assert tips == {2, 3}
    healed = back_up(store, {"a": noise(30_000, 5)})
    assert healed.backup.ref.sequence == 4
    assert restored(store) == {"a": noise(30_000, 5)}
    assert restored(store, slow.backup.ref.id) == {"a": noise(30_000, 4)}


# --- what a writer key opens ---

PARTS = (
    "sign_seed",
    "registry_seed",
    "ipns_seed",
    "chunk_key",
    "catalog_identity",
    "owner_recipient",
    "reader_recipient",
    "owner_verify_key",
)


@pytest.fixture
def for_readers(small: pytest.MonkeyPatch, store: MemoryStore) -> list[bytes]:
    """Age files of a store that only readers may open: packs, and the sealed part of each manifest."""
    first = back_up(store, {"a": noise(150_000, 1)})
    second = back_up(store, {"a": noise(150_000, 2)})
    sealed = [base64.b64decode(done.backup.manifest.sealed) for done in (first, second)]
    files = [store.objects[ROOT + name] for name in sorted(names(store, "packs/"))] + sealed
    assert len(files) >= 8
    return files


def test_the_writer_line_has_no_other_part_than_those_tried_here():
    fields = {field.name for field in dataclasses.fields(WRITER)}
    assert fields == {*PARTS, "number", "retired"}


@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_a_writer_line_opens_a_row(for_readers, part):
    for sealed in for_readers:
        with pytest.raises(KeyForbids):
            age.unseal(sealed, [getattr(WRITER, part)])
        assert age.unseal(sealed, [OWNER.identity])
        assert age.unseal(sealed, [OWNER.reader(1).identity])


def test_the_age_program_opens_no_row_with_any_part_of_a_writer_line(for_readers, age_program, tmp_path):
    def opens(sealed: bytes, *secrets: bytes) -> bool:
        identities = Path(tmp_path, "identities")
        identities.write_text("".join(f"{age.identity_text(secret)}\n" for secret in secrets))
        command = [age_program, "-d", "-i", str(identities)]
        return subprocess.run(command, input=sealed, capture_output=True, check=False).returncode == 0

    parts = [getattr(WRITER, part) for part in PARTS]
    for sealed in for_readers:
        assert not opens(sealed, *parts)
        assert opens(sealed, OWNER.identity)


def test_nothing_that_a_writer_key_opens_holds_a_byte_of_a_row(small, store):
    secret = b"4111 1111 1111 1111 is a card number"
    back_up(store, {"a": noise(50_000) + secret * 40 + noise(50_000, 2)})
    open_to_writer = 0
    for name in names(store):
        data = store.objects[ROOT + name]
        if name not in ("head.json", "head.ipns"):
            try:
                data = readable(age.unseal(data, [WRITER.catalog_identity]))
            except KeyForbids:
                assert name.startswith("packs/")
            else:
                open_to_writer += 1
        assert secret not in data
        assert secret[:16] not in data
    assert open_to_writer == 2
    pack_contents = [
        readable(age.unseal(store.objects[ROOT + name], [OWNER.identity])) for name in names(store, "packs/")
    ]
    assert any(secret in plain for plain in pack_contents)


def readable(plain: bytes) -> bytes:
    """What `zstd -dc` prints of an object's inside."""
    return subprocess.run(["zstd", "-dc"], input=plain, capture_output=True, check=True).stdout


def test_a_writer_key_is_told_that_it_may_not_restore(small, store):
    back_up(store, {"a": b"x"})
    with pytest.raises(KeyForbids) as caught:
        restored(store, key=WRITER)
    assert caught.value.exit_status == 16
    assert restored(store, key=OWNER.reader(1)) == {"a": b"x"}
