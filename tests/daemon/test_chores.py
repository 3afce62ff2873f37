"""What the sidecar does once a day: each of its stores is pruned and measured, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from dwebbackup import clock, policy
from dwebbackup.access import open_writer
from dwebbackup.config import Config
from dwebbackup.daemon.chores import Chores
from dwebbackup.daemon.journal import Journal
from dwebbackup.daemon.keeper import Keeper
from dwebbackup.daemon.parts import Kept, Parts
from dwebbackup.daemon.status import Run, SourceStatus, StoreStatus
from dwebbackup.ports import Member, Store, members
from dwebbackup.report.notices import Notice
from dwebbackup.schedule import Schedule
from dwebbackup.stores.mirrored import Mirrored
from dwebbackup.stores.undeleting import Undeleting
from faulty import Faulty, MemoryStore, dead_from
from synthetic import WRITER, SyntheticSource, SyntheticTarget, back_up, noise, opened, small_pieces

DAY = 24 * 3600.0


@pytest.fixture
def one() -> Iterator[MemoryStore]:
    """Four backups of long ago."""
    store = MemoryStore("one")
    with small_pieces() as patch:
        patch.setattr(clock, "now", lambda: store.now)
        for number in range(4):
            back_up(store, {"rows": noise(5_000, number)})
            store.now += 30 * DAY
        yield store


def twin(store: MemoryStore) -> MemoryStore:
    copy = store.copy()
    copy.name, copy.url = "two", "memory://two"
    return copy


@dataclass
class Day:
    """Its chores, and what came of them."""

    store: Store
    journal: Journal = field(default_factory=Journal)
    told: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        source = SyntheticSource({"rows": b"some"}, "app")
        kept = Kept(source, SyntheticTarget(), "synthetic:app", Schedule("every 1 day"))
        config = Config(jobs=1, keep=policy.parse("last 1, floor 1"))
        seen = open_writer(WRITER, WRITER.number, self.store)
        parts = Parts(config, self.store, self.store, WRITER, seen, (), 1, (), (kept,), None, ())
        self.journal.sources([SourceStatus("app", "synthetic:app", "idle", "every 1 day", None, None, None)])
        self.journal.stores([StoreStatus(each.store.name, each.store.url, None) for each in members(self.store)])
        keeper = Keeper(kept, parts, self.journal, self.told.append, threading.Event())
        keeper.look_after()
        self.told.clear()
        Chores().do_daily(parts, [keeper], self.journal, self.told.append)

    @property
    def prunes(self) -> list[Run]:
        return [run for run in self.journal.status().runs if run.what == "prune"]


def sequences(store: Store) -> list[int]:
    return [ref.sequence for ref in opened(store).catalog.refs()]


def test_each_store_is_pruned_and_measured(one):
    two = twin(one)
    day = Day(Mirrored([Member(one), Member(two)]))
    (run,) = day.prunes
    assert run.outcome == "ok"
    assert sequences(one) == sequences(two)
    assert sequences(one) == [4]
    assert run.sentence.startswith("one: ")
    assert "; two: " in run.sentence
    assert [store.packs for store in day.journal.status().stores] == [len(list(one.list(f"w/{WRITER.id}/packs/")))] * 2


@pytest.mark.parametrize(("required", "events"), [(True, ["failure"]), (False, [])])
def test_one_that_is_down_holds_up_none_of_the_others(one, required, events):
    """People hear of it where a backup needs that store."""
    two = Faulty(twin(one), lambda call: dead_from(1)(call) if call.verb == "delete" else None)
    day = Day(Mirrored([Member(two, required), Member(one)]))
    assert [run.outcome for run in day.prunes] == ["failed", "ok"]
    assert sequences(one) == [4]
    assert [notice.event for notice in day.told] == events


def test_without_the_right_to_delete_anywhere_nothing_is_pruned(one):
    day = Day(Mirrored([Member(Undeleting(one)), Member(Undeleting(twin(one)))]))
    assert day.prunes == []
    assert sequences(one) == [1, 2, 3, 4]
