"""One source and its care, in this process, by a clock that a test moves: what is due is done, and nothing ever ends it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from dwebbackup import access, backup, clock
from dwebbackup.access import below, open_writer
from dwebbackup.catalog import GENESIS
from dwebbackup.config import Config
from dwebbackup.daemon.journal import Journal
from dwebbackup.daemon.keeper import AGAIN, Keeper
from dwebbackup.daemon.parts import Kept, Parts
from dwebbackup.daemon.status import SourceStatus, StoreStatus
from dwebbackup.daemon.watch import Watch
from dwebbackup.errors import DatabaseRefused, StoreUnreachable, TargetNotEmpty
from dwebbackup.keys import Key, WriterKey
from dwebbackup.manifest import Genesis
from dwebbackup.ports import Condition, Dump, Member, Store, TargetOptions, members
from dwebbackup.records import write_line
from dwebbackup.report.notices import Notice
from dwebbackup.schedule import Schedule
from dwebbackup.stores.mirrored import Mirrored
from faulty import Fault, Faulty, MemoryStore
from synthetic import OWNER, WRITER, Contents, SyntheticSource, SyntheticTarget, back_up, noise, opened

HOUR = 3600.0
FULL = {"a": noise(20_000, 1), "b": noise(20_000, 2)}


class Time:
    """Both clocks, from one moment on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        patch.setattr(clock, "now", lambda: self.now)
        patch.setattr(clock, "monotonic", lambda: self.now)

    def go_on(self, seconds: float) -> None:
        self.now += seconds


class Database(SyntheticSource, SyntheticTarget):
    """A source that is its own target, with whatever a test lets be wrong."""

    def __init__(self, contents: Contents | None, identity: str = "synthetic:app") -> None:
        SyntheticSource.__init__(self, contents or {}, "app", identity=identity)
        self.contents = contents
        self.refuses: Exception | None = None

    def condition(self) -> Condition:
        if self.refuses:
            raise self.refuses
        return Condition("absent") if self.contents is None else SyntheticSource.condition(self)

    def _require_room(self, options: TargetOptions) -> None:
        if self.contents:
            raise TargetNotEmpty("it holds something")

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        if self.refuses:
            raise self.refuses
        with SyntheticSource.dump(self) as dump:
            yield dump


class Care:
    """A keeper, and all that it works with."""

    def __init__(
        self,
        store: Store,
        database: Database,
        schedule: str = "every 1 hour",
        key: Key | None = None,
        writer: WriterKey = WRITER,
    ) -> None:
        self.database = database
        self.journal = Journal()
        self.told: list[Notice] = []
        self.stop = threading.Event()
        kept = Kept(database, database, "synthetic:app", Schedule(schedule))
        parts = Parts(
            Config(jobs=1), store, store, writer, open_writer(writer, writer.number, store), (), 1, (), (kept,), key, ()
        )
        self.journal.sources([SourceStatus("app", "synthetic:app", "waiting", schedule, None, None, None)])
        self.journal.stores([StoreStatus(each.store.name, each.store.url, None) for each in members(store)])
        self.keeper = Keeper(kept, parts, self.journal, self.told.append, self.stop)

    def look(self) -> SourceStatus:
        self.keeper.look_after()
        return self.journal.source("app")

    @property
    def events(self) -> list[str]:
        return [notice.event for notice in self.told]

    @property
    def backups(self) -> int:
        return sum(run.what == "backup" and run.outcome == "ok" for run in self.journal.status().runs)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Time:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # whose locks are nobody else's
    return Time(monkeypatch)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def settled(care: Care) -> Care:
    assert care.look().phase == "idle"
    return care


# --- when it is due ---


def test_the_first_is_made_at_once_and_each_next_when_it_is_due(store: MemoryStore, time: Time):
    care = settled(Care(store, Database(FULL)))
    for number in range(1, 4):
        source = care.look()
        assert care.backups == number
        assert source.good is not None
        assert source.good.sequence == number
        assert source.next_run == time.now + HOUR
        assert source.is_fresh(time.now)
        time.go_on(HOUR - 1)
        care.look()
        assert care.backups == number
        time.go_on(1)


def test_a_new_sidecar_keeps_to_the_schedule_of_the_old_one(store: MemoryStore, time: Time):
    settled(Care(store, Database(FULL))).look()
    time.go_on(HOUR / 2)
    care = settled(Care(store, Database(FULL)))
    care.look()
    assert care.backups == 0
    time.go_on(HOUR / 2)
    care.look()
    assert care.backups == 1


def test_what_was_missed_is_made_up_for_once(store: MemoryStore, time: Time):
    settled(Care(store, Database(FULL))).look()
    time.go_on(100 * HOUR)
    care = settled(Care(store, Database(FULL)))
    for _ in range(5):
        care.look()
    assert care.backups == 1


def test_a_catalog_that_cannot_be_read_after_a_backup_does_not_lead_to_the_next(store: MemoryStore, time: Time):
    wrong: dict[str, Fault] = {}
    care = settled(Care(Faulty(store, lambda call: wrong.get(call.verb)), Database(FULL)))
    care.look()
    assert care.backups == 1
    wrong |= dict.fromkeys(["head", "get", "list"], Fault.refuse)
    care.keeper.refresh()
    assert care.journal.status().stores[0].problem
    wrong.clear()
    time.go_on(60)
    care.look()
    assert care.backups == 1


def test_a_database_that_was_changed_for_another_is_backed_up_on_schedule_too(store: MemoryStore, time: Time):
    database = Database(FULL)
    care = settled(Care(store, database))
    care.look()
    database.identity = "synthetic:stranger"
    for _ in range(3):
        time.go_on(HOUR)
        care.look()
        care.look()
    assert [run.outcome for run in care.journal.status().runs] == ["ok", "suspect", "suspect", "suspect"]


# --- what fails ---


def test_a_backup_that_fails_is_tried_again_soon_and_later_and_later(store: MemoryStore, time: Time):
    database = Database(FULL)
    care = settled(Care(store, database, "every 6 hours"))
    database.refuses = DatabaseRefused("no such luck", "try another day")
    tries = []
    for _ in range(60 * 12):
        before = len(care.journal.status().runs)
        source = care.look()
        if len(care.journal.status().runs) > before:
            tries.append(time.now)
        time.go_on(60)
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[:4] == [60, 120, 240, 480]
    assert max(pauses) <= 6 * HOUR
    assert (source.problem.kind, source.problem.hint, source.problem.since) == ("database", "try another day", tries[0])
    assert set(care.events) == {"recovery", "start", "failure"}
    database.refuses = None
    time.go_on(6 * HOUR)
    assert care.look().problem is None
    assert care.events[-2:] == ["recovery", "success"]


@pytest.mark.parametrize("error", [DatabaseRefused("away"), StoreUnreachable("away"), RuntimeError("a fault of ours")])
def test_whatever_a_database_meets_at_the_start_is_waited_for(store: MemoryStore, time: Time, error: Exception):
    database = Database(FULL)
    database.refuses = error
    care = Care(store, database)
    assert care.look().phase == "waiting"
    assert "away" in care.told[0].sentence or "a fault of ours" in care.told[0].sentence
    database.refuses = None
    assert care.look().phase == "waiting"  # not yet
    time.go_on(60)
    settled(care)


@pytest.mark.parametrize("fault", [Fault.refuse, Fault.break_listing])
@pytest.mark.parametrize("contents", [None, {}], ids=["absent", "empty"])
def test_a_store_that_cannot_be_listed_is_never_an_empty_one(
    store: MemoryStore, time: Time, fault: Fault, contents: Contents | None
):
    back_up(store, SyntheticSource(FULL, "app"))
    database = Database(contents)
    wrong = dict.fromkeys(["head", "get", "list"], fault)
    care = Care(Faulty(store, lambda call: wrong.get(call.verb)), database, key=OWNER.reader(1))
    for _ in range(5):
        assert care.look().phase == "waiting"
        time.go_on(60)
    assert not database.contents
    wrong.clear()
    settled(care)
    assert database.contents == FULL


def test_a_listing_that_hides_everything_is_no_reason_to_begin(store: MemoryStore, time: Time):
    back_up(store, SyntheticSource(FULL, "app"))
    mark(store)
    care = Care(Faulty(store, at={"list": Fault.hide}), Database({}))
    for _ in range(3):
        assert care.look().phase == "alarm"
        time.go_on(60)
    assert "no key at hand opens the rows of backup 1-" in care.journal.source("app").problem.sentence
    assert care.backups == 0


# --- an empty database ---


def test_a_restored_one_has_the_history_of_the_old_one(store: MemoryStore, time: Time):
    back_up(store, SyntheticSource(FULL, "app", identity="synthetic:old"))
    database = Database(None, "synthetic:new")
    care = settled(Care(store, database, key=OWNER.reader(1)))
    assert database.contents == FULL
    assert care.journal.source("app").good.identity == "synthetic:old"
    made = care.look()
    assert care.backups == 1
    assert made.good.identity == "synthetic:new"
    assert opened(store).catalog.latest("app").manifest.tallies[0].follows == "synthetic:old"


def test_a_restore_that_fails_is_tried_again_and_nothing_else_is_done(store: MemoryStore, time: Time):
    back_up(store, SyntheticSource(FULL, "app"))
    pack = next(name for name in store.objects if "/packs/" in name)
    good = store.objects[pack]
    store.objects[pack] = good[:-1] + bytes([good[-1] ^ 1])
    database = Database(None)
    care = Care(store, database, key=OWNER.reader(1))
    for _ in range(3):
        assert care.look().phase == "waiting"
        time.go_on(60)
    assert database.contents is None
    assert care.journal.status().runs[-1].outcome == "failed"
    store.objects[pack] = good
    settled(care)
    assert database.contents == FULL


def test_what_an_earlier_writer_has_is_restored_and_the_new_one_begins(store: MemoryStore, time: Time):
    """After a lease that had a reader key on it comes the next writer."""
    earlier = OWNER.writer(2)  # any other than the sidecar's own
    source = SyntheticSource(FULL, "app", identity="synthetic:old")
    backup.back_up([source], below(store, earlier.id), earlier, backup.Options())
    database = Database(None, "synthetic:new")
    settled(Care(store, database, key=OWNER.reader(2)))
    assert database.contents == FULL


def test_with_the_owners_mark_a_new_project_begins(store: MemoryStore, time: Time):
    mark(store)
    care = settled(Care(store, Database({})))
    care.look()
    assert care.backups == 1


def test_without_it_there_is_an_alarm_until_somebody_marks_it(store: MemoryStore, time: Time):
    care = Care(store, Database({}))
    for _ in range(3):
        assert care.look().phase == "alarm"
        time.go_on(60)
    assert set(care.events) == {"alarm"}
    assert "dwebbackup init" in care.journal.source("app").problem.hint


def test_an_empty_project_goes_on_when_its_sidecar_is_started_anew(store: MemoryStore, time: Time):
    mark(store)
    for _ in range(2):
        care = settled(Care(store, Database({})))
        care.look()
        time.go_on(HOUR)
    assert opened(store).catalog.latest("app").ref.sequence == 2


def mark(store: MemoryStore) -> None:
    """The owner's, of where the writer begins."""
    part = access.below(store, WRITER.id)
    part.put(GENESIS, write_line(Genesis(WRITER.id, 1, clock.iso(clock.now())), OWNER.sign_seed))


def refusal(care: Care, time: Time) -> str:
    """What is said on the page of a sidecar that begins nothing."""
    for _ in range(3):
        assert care.look().phase == "alarm"
        time.go_on(60)
    assert care.backups == 0
    found = care.journal.source("app").problem
    assert found.hint
    return f"{found.sentence} {found.hint}"


def test_a_source_with_a_new_name_is_not_a_new_project(store: MemoryStore, time: Time):
    mark(store)
    back_up(store, SyntheticSource(FULL, "before"))
    assert "backups of before here, and none of app" in refusal(Care(store, Database({}), key=OWNER.reader(1)), time)


@pytest.mark.parametrize("what", ["manifests", "head and manifests", "the head, and the listing hides them"])
def test_where_packs_are_and_no_backup_nothing_begins(store: MemoryStore, time: Time, what: str):
    mark(store)
    back_up(store, SyntheticSource(FULL, "app"))
    for name in list(store.objects):
        if ("/manifests/" in name and "hides" not in what) or (name.endswith("head.json") and "head" in what):
            store.delete(name)
    hiding = Faulty(store, at={"list": Fault.hide}, hidden=lambda name: "/manifests/" in name)
    care = Care(hiding if "hides" in what else store, Database({}), key=OWNER.reader(1))
    if what == "manifests":
        assert care.look().phase == "waiting"  # the head names one, which is damage
        assert "the head names backup 1-" in care.journal.source("app").problem.sentence
    else:
        assert "taken away" in refusal(care, time)


def test_what_cannot_be_read_may_be_the_one_that_is_wanted(store: MemoryStore, time: Time):
    mark(store)
    back_up(store, SyntheticSource(FULL, "app"))
    spoiled = next(name for name in store.objects if "/manifests/" in name)
    store.objects[spoiled] = store.objects[spoiled][:-1] + b"?"
    back_up(store, SyntheticSource(FULL, "other"))
    assert "cannot be read" in refusal(Care(store, Database({}), key=OWNER.reader(1)), time)


def test_the_writer_after_another_never_begins_from_nothing(store: MemoryStore, time: Time):
    before = back_up(store, SyntheticSource(FULL, "app")).backup.ref
    mark(store)
    retired = OWNER.retire(1, before.sequence, bytes.fromhex(before.sha256))
    second = replace(OWNER.writer(2), retired=retired)
    assert "`dwebbackup key reader 1`" in refusal(Care(store, Database({}), key=OWNER.reader(2), writer=second), time)
    third = replace(OWNER.writer(3), retired=OWNER.retire(2, 1, bytes(32)))
    assert "`dwebbackup key reader 2`" in refusal(Care(store, Database({}), key=OWNER.reader(1), writer=third), time)
    settled(Care(store, Database({}), key=OWNER.reader(1), writer=second))


def test_a_database_that_is_gone_or_new_while_the_sidecar_runs_is_restored(store: MemoryStore, time: Time):
    database = Database(FULL)
    care = settled(Care(store, database, key=OWNER.reader(1)))
    care.look()
    for contents, identity in ((None, "synthetic:second"), ({}, "synthetic:third")):
        database.contents, database.identity = contents, identity
        time.go_on(HOUR)
        care.look()
        assert database.contents == FULL
        care.look()
    runs = [(run.what, run.outcome) for run in care.journal.status().runs]
    assert runs == [("backup", "ok"), ("restore", "ok"), ("backup", "ok"), ("restore", "ok"), ("backup", "ok")]


def test_the_first_rows_of_a_new_project_do_not_wait_for_the_schedule(store: MemoryStore, time: Time):
    mark(store)
    database = Database({})
    care = settled(Care(store, database, "every 6 hours"))
    for _ in range(5):
        care.look()
        time.go_on(AGAIN)
    assert care.backups == 1
    database.contents = FULL
    care.look()
    assert care.backups == 2
    for _ in range(5):
        time.go_on(AGAIN)
        care.look()
    assert care.backups == 2


def test_a_database_that_goes_away_is_told_of_long_before_its_backup_is_due(store: MemoryStore, time: Time):
    database = Database(FULL)
    care = settled(Care(store, database, "daily at 03:00"))
    care.look()
    database.refuses = DatabaseRefused("no such luck")
    time.go_on(AGAIN)
    assert care.look().problem.sentence == "no such luck"
    assert care.events[-1] == "failure"
    database.refuses = None
    time.go_on(AGAIN)
    assert care.look().problem is None
    assert care.events[-1] == "recovery"
    assert care.backups == 1


def test_a_key_that_opens_somebody_elses_backups_is_told_apart_from_none(store: MemoryStore, time: Time):
    back_up(store, SyntheticSource(FULL, "app"))
    told = refusal(Care(store, Database({}), key=OWNER.reader(3)), time)
    assert "is another one's" in told
    assert "`dwebbackup key reader 1`" in told


def test_the_backups_of_somebody_else_make_nothing_fresh(store: MemoryStore, time: Time):
    settled(Care(store, Database(FULL, "synthetic:old"))).look()
    care = settled(Care(store, Database(FULL, "synthetic:stranger")))
    care.look()
    assert care.journal.status().runs[-1].outcome == "suspect"
    assert not care.journal.status().is_fresh


def test_two_sidecars_beside_one_database_are_told_of_and_come_apart(
    store: MemoryStore, time: Time, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Neither sees the other's backup when it begins its own."""
    one, other = (settled(Care(store, Database(FULL))) for _ in range(2))
    gate = threading.Event()
    one.database.waits = ("b", gate)
    thread = threading.Thread(target=one.keeper.back_up)
    thread.start()
    try:
        while not any("/checkpoints/" in name for name in list(store.objects)):
            thread.join(0.01)
        with monkeypatch.context() as patch:  # on another machine
            (tmp_path / "other").mkdir()
            patch.setenv("TMPDIR", str(tmp_path / "other"))
            other.keeper.back_up()
    finally:
        gate.set()
        thread.join()
    assert len(opened(store).catalog.newest().tips) == 2
    assert any("two machines back up app at once" in notice.sentence for notice in one.told)
    time.go_on(HOUR)
    one.look()
    assert one.backups == 1
    time.go_on(61)
    one.look()
    assert one.backups == 2
    assert len(opened(store).catalog.newest().tips) == 1


def test_a_time_that_is_none_in_a_manifest_stops_nothing(
    store: MemoryStore, time: Time, monkeypatch: pytest.MonkeyPatch
):
    care = settled(Care(store, Database(FULL)))
    with monkeypatch.context() as patch:
        patch.setattr(clock, "iso", lambda _: "soon")
        care.look()
    for _ in range(2):
        time.go_on(HOUR)
        care.look()
    assert care.backups == 3
    assert care.journal.status().is_fresh


# --- too old ---


def test_the_watch_tells_once_when_the_newest_has_become_too_old(store: MemoryStore, time: Time):
    database = Database(FULL)
    care = settled(Care(store, database))
    watch = Watch(care.journal, care.told.append)
    care.look()
    database.refuses = DatabaseRefused("away")
    for _ in range(6):
        watch.look()
        time.go_on(HOUR / 2)
        care.look()
    assert care.events.count("stale") == 1
    assert "away" in next(notice for notice in care.told if notice.event == "stale").sentence
    assert not care.journal.status().is_fresh


# --- asked to stop ---


def test_a_last_backup_has_so_much_time_and_no_more(store: MemoryStore, time: Time):
    gate = threading.Event()
    database = Database(FULL)
    database.waits = ("b", gate)
    care = settled(Care(store, database))
    try:
        care.keeper.back_up(0.01)
    finally:
        gate.set()
    assert care.journal.status().runs[-1].outcome == "interrupted"


# --- several stores ---


def test_a_store_that_lacks_something_is_told_of_though_the_backup_is_made(store: MemoryStore, time: Time):
    second = Faulty(MemoryStore("second"), at={("put", 2): Fault.raise_before})
    care = settled(Care(Mirrored([Member(store), Member(second, required=False)]), Database(FULL)))
    care.look()
    assert second.struck
    assert care.backups == 0
    assert [run.outcome for run in care.journal.status().runs if run.what == "backup"] == ["incomplete"]
    (alarm,) = [notice for notice in care.told if notice.event == "alarm"]
    assert "store second lacks some of this backup" in alarm.sentence
    assert {each.name: bool(each.problem) for each in care.journal.status().stores} == {"memory": False, "second": True}
    time.go_on(HOUR)
    care.look()
    assert care.events[-2:] == ["recovery", "success"]
    assert not any(each.problem for each in care.journal.status().stores)
