"""The sidecar tells networks again, day by day, where the newest backup is; what fails there stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dwebbackup import access, clock, heads
from dwebbackup.config import Config
from dwebbackup.daemon.journal import Journal
from dwebbackup.daemon.parts import Parts
from dwebbackup.daemon.telling import DAY, UNTOLD, Telling
from dwebbackup.errors import StoreUnreachable
from dwebbackup.keys import OwnerKey
from dwebbackup.ports import Publisher, Store
from dwebbackup.stores.ipfs.names import Router
from dwebbackup.stores.web import Web
from faulty import MemoryStore
from fix_ipfs import IpfsNode
from shelf import STRANGER
from synthetic import OWNER, WRITER, back_up


class Time:
    """The monotonic clock."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(clock, "monotonic", lambda: self.now)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    back_up(store, {"t": b"rows"})
    return store


class Told:
    """A network that hears, unless it *fails*."""

    name = "network"

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.fails: Exception | None = None

    def publish(self, announcement) -> None:
        if self.fails:
            raise self.fails
        self.heard.append(announcement.sequence)


def parts_of(store: Store, *publishers: Publisher) -> Parts:
    opened = access.open_writer(WRITER, 1, store)
    return Parts(Config(), store, store, WRITER, opened, (), 1, publishers, (), None, ())


@pytest.fixture
def journal() -> Journal:
    journal = Journal()
    journal.configured(1, WRITER.id, [])
    return journal


def test_networks_are_told_at_the_start_and_once_a_day(store, journal, time):
    network, telling = Told(), Telling()
    for moment, heard in [(0, 1), (300, 1), (DAY - 1, 1), (DAY, 2), (DAY + 1, 2), (2 * DAY, 3)]:
        time.now = 1000.0 + moment
        telling.tell_daily(parts_of(store, network), journal)
        assert len(network.heard) == heard, moment
    back_up(store, {"t": b"more rows"})
    time.now += DAY
    telling.tell_daily(parts_of(store, network), journal)
    assert network.heard[-1] == 2


def test_a_network_that_does_not_hear_is_a_warning_until_it_does(store, journal, time):
    network, telling = Told(), Telling()
    for fault in (StoreUnreachable("it is away"), None, RuntimeError("a fault of ours")):
        network.fails = fault
        time.now += DAY
        telling.tell_daily(parts_of(store, network), journal)
        assert journal.status().warnings == ((UNTOLD,) if fault else ())


def test_a_store_that_does_not_answer_is_a_warning_too(journal, time):
    class Gone(MemoryStore):
        def get(self, name, links=()):
            raise StoreUnreachable("it is away")

    Telling().tell_daily(parts_of(Gone(), Told()), journal)
    assert journal.status().warnings == (UNTOLD,)


@pytest.mark.parametrize("what", ["nothing", "no record"])
def test_where_there_is_nothing_to_tell_nothing_is_wrong(what, store, journal, time):
    if what == "no record":
        del store.objects[f"w/{WRITER.id}/{heads.IPNS_RECORD}"]
    network = Told()
    Telling().tell_daily(parts_of(store if what == "no record" else MemoryStore(), network), journal)
    assert (network.heard, journal.status().warnings) == ([], ())


def test_a_record_that_is_older_than_the_head_is_not_told(store, journal, time):
    """It would be signed again with the newer one's links."""
    name = f"w/{WRITER.id}/{heads.IPNS_RECORD}"
    older = store.objects[name]
    back_up(store, {"t": b"more rows"})
    store.objects[name] = older
    network = Told()
    Telling().tell_daily(parts_of(store, network), journal)
    assert network.heard == []


def test_somebody_elses_record_in_the_store_is_not_told(store, journal, time):
    forged = heads.announcement(STRANGER.writer(1), 99, "bafkqaaa", None, clock.now()).ipns_record
    store.objects[f"w/{WRITER.id}/{heads.IPNS_RECORD}"] = forged
    network = Told()
    Telling().tell_daily(parts_of(store, network), journal)
    assert (network.heard, journal.status().warnings) == ([], (UNTOLD,))


def test_a_node_that_forgot_has_the_head_again(store, journal, time, tmp_path: Path):
    with IpfsNode.running(tmp_path / "node") as node:
        router = Router(Web(node.gateway))
        assert router.find(WRITER.head_keys) is None
        Telling().tell_daily(parts_of(store, router), journal)
        lead = router.find(OwnerKey.from_words(OWNER.words).writer(1).head_keys)
        assert lead
        assert (lead.sequence, journal.status().warnings) == (1, ())
