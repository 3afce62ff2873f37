"""Several stores as one: everything goes to all of them, and comes from whichever has it whole."""

from __future__ import annotations

import hashlib
import math
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from configuring import configured
from contracts.store import StoreContract
from dwebbackup import assemble
from dwebbackup.access import below
from dwebbackup.assemble import joined
from dwebbackup.errors import Damaged, Interrupted, ObjectMissing, StoreUnreachable
from dwebbackup.ports import Member, Several, Store, Stored, StoreTraits, members
from dwebbackup.stores import Refused
from dwebbackup.stores.local import LocalStore
from dwebbackup.stores.mirrored import Mirrored
from dwebbackup.stores.resting import Resting
from faulty import Fault, Faulty, MemoryStore

DATA = b"sealed bytes"
PACK = f"w/1/packs/{hashlib.sha256(DATA).hexdigest()[:2]}/{hashlib.sha256(DATA).hexdigest()}.age"

NEAR, FAR = StoreTraits(distance=0), StoreTraits(distance=2)


def mirrored(*stores: Store, best_effort: Sequence[Store] = ()) -> Mirrored:
    return Mirrored([*(Member(store) for store in stores), *(Member(store, required=False) for store in best_effort)])


class TestContract(StoreContract):
    """A folder and two stores in memory, one of which may fail."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        folder = LocalStore(tmp_path / "store")
        folder.prepare()
        return mirrored(folder, MemoryStore("second"), best_effort=[MemoryStore("third")])


def test_a_put_is_in_every_store_and_its_links_are_of_all():
    one, two = MemoryStore("one"), MemoryStore("two")
    links = mirrored(one, two).put("w/1/a", b"a")
    assert one.objects == two.objects == {"w/1/a": b"a"}
    assert links == ("memory://one/w/1/a", "memory://two/w/1/a")


def test_a_put_fails_where_a_required_store_fails_and_the_others_have_it_all_the_same():
    one, two = MemoryStore("one"), MemoryStore("two")
    with pytest.raises(StoreUnreachable):
        mirrored(Faulty(one, at={"put": Fault.raise_before}), two).put("w/1/a", b"a")
    assert two.objects == {"w/1/a": b"a"}


@pytest.mark.parametrize("fault", [Fault.raise_before, Fault.refuse])
def test_a_store_that_is_not_required_may_miss_a_put_which_is_remembered(fault: Fault):
    one, two = MemoryStore("one"), MemoryStore("two")
    both = mirrored(one, best_effort=[Faulty(two, at={("put", 1): fault})])
    assert both.put("w/1/a", b"a") == ("memory://one/w/1/a",)
    both.put("w/1/b", b"b")
    assert both.absent("w/1/a") == ("two",)
    assert both.absent("w/1/b") == ()
    assert list(both.missed()) == ["two"]
    both.put("w/1/a", b"a")
    assert both.absent("w/1/a") == ()


def test_what_asks_to_stop_is_no_miss():
    class Stopped(MemoryStore):
        def put(self, name: str, data: bytes) -> tuple[str, ...]:
            raise Interrupted(name)

    with pytest.raises(Interrupted):
        mirrored(MemoryStore("one"), best_effort=[Stopped("two")]).put("w/1/a", b"a")


def test_the_nearest_store_is_asked_first():
    far, near = Faulty(MemoryStore("far", traits=FAR)), Faulty(MemoryStore("near", traits=NEAR))
    both = mirrored(far, near)
    both.put("w/1/a", b"a")
    far.calls.clear()
    assert both.get("w/1/a") == b"a"
    assert both.head("w/1/a").size == 1
    assert far.calls == []


@pytest.mark.parametrize("fault", [Fault.raise_before, Fault.miss, Fault.truncate, Fault.flip_bit])
def test_what_one_store_cannot_give_whole_comes_from_the_next(fault: Fault):
    one, two = MemoryStore("one"), MemoryStore("two")
    first = Faulty(one, at={"get": fault})
    both = mirrored(first, two)
    both.put(PACK, DATA)
    assert both.get(PACK) == DATA
    assert first.struck


def test_bytes_that_are_wrong_everywhere_are_damaged_and_never_given():
    one, two = MemoryStore("one"), MemoryStore("two")
    both = mirrored(one, Faulty(two, at={"get": Fault.raise_before}))
    one.put(PACK, b"other bytes")
    with pytest.raises(Damaged, match="not what its name says") as caught:
        both.get(PACK)
    assert not isinstance(caught.value, ObjectMissing)


def test_nothing_is_missing_that_another_store_could_not_be_asked_for():
    both = mirrored(
        MemoryStore("one"), Faulty(MemoryStore("two"), at={"get": Fault.raise_before, "head": Fault.raise_before})
    )
    with pytest.raises(StoreUnreachable):
        both.get("w/1/a")
    with pytest.raises(StoreUnreachable):
        both.head("w/1/a")


def test_a_listing_has_what_any_store_has_and_fails_with_any():
    one, two = MemoryStore("one"), MemoryStore("two")
    one.put("w/1/a", b"a")
    two.put("w/1/a", b"a")
    two.put("w/1/b", b"b")
    assert sorted(each.name for each in mirrored(one, two).list("w/")) == ["w/1/a", "w/1/b"]
    with pytest.raises(StoreUnreachable):
        list(mirrored(one, Faulty(two, at={"list": Fault.break_listing})).list("w/"))


def test_what_is_deleted_goes_wherever_that_is_allowed():
    one, two = MemoryStore("one"), MemoryStore("two", traits=StoreTraits(deletes=False))
    both = mirrored(one, two)
    both.put("w/1/a", b"a")
    both.delete("w/1/a")
    assert one.objects == {}
    assert two.objects == {"w/1/a": b"a"}


class Portal(MemoryStore):
    """Keeps no names: gives a thing for its link only."""

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        assert links, name
        return super().get(links[0].removeprefix("sia://"))

    def head(self, name: str):
        raise AssertionError(name)

    def list(self, prefix: str):
        raise AssertionError(prefix)


def test_a_store_without_names_is_asked_by_links_alone_and_last():
    named, portal = MemoryStore("named"), Portal("portal", traits=StoreTraits(lists=False, distance=0))
    portal.objects["skylink"] = DATA
    both = mirrored(named, portal)
    assert both.get(PACK, ["sia://skylink"]) == DATA
    with pytest.raises(ObjectMissing):
        both.get(PACK)
    with pytest.raises(ObjectMissing):
        both.head(PACK)
    assert list(both.list("")) == []


def test_a_store_without_names_gets_only_what_is_linked_to():
    named, portal = MemoryStore("named"), Portal("portal", traits=StoreTraits(lists=False))
    both = mirrored(named, portal)
    for name in (PACK, "w/1/head.json", "w/1/checkpoints/run-0.age"):
        both.put(name, DATA)
    assert set(portal.objects) == {PACK}
    assert len(named.objects) == 3


def test_strangers_are_asked_by_links_when_no_store_has_it():
    stranger = Portal("stranger")
    stranger.objects["skylink"] = DATA
    alone = Mirrored([Member(MemoryStore("one"))], stranger)
    assert alone.get(PACK, ["sia://skylink"]) == DATA
    with pytest.raises(ObjectMissing):
        alone.get(PACK)


def test_below_a_prefix_it_is_still_several():
    one, two = MemoryStore("one"), MemoryStore("two")
    both = below(mirrored(one, best_effort=[Faulty(two, at={("put", 1): Fault.raise_before})]), "1")
    both.put("head.json", b"1")
    assert [(each.store.name, each.required) for each in members(both)] == [("one", True), ("two", False)]
    assert members(both)[0].store.get("head.json") == b"1"
    assert isinstance(both, Several)
    assert both.absent("head.json") == ("two",)
    assert list(both.missed()) == ["two"]


def test_one_store_is_its_own_only_member():
    store = MemoryStore()
    assert members(store) == (Member(store),)


def test_puts_of_many_threads_reach_every_store():
    one, two = MemoryStore("one"), MemoryStore("two")
    both = mirrored(one, two)
    threads = [threading.Thread(target=both.put, args=(f"w/1/{number}", b"x")) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(one.objects) == len(two.objects) == 50


# --- rest ---


def test_a_store_that_did_not_answer_is_left_alone_for_a_while():
    now = 0.0
    broken = Faulty(MemoryStore("one"), at={("get", 1): Fault.raise_before})
    resting = Resting(broken, 60, lambda: now)
    resting.put("w/1/a", b"a")
    for _ in range(3):
        with pytest.raises(StoreUnreachable):
            resting.get("w/1/a")
    assert [verb for verb, _ in broken.calls] == ["put", "get"]
    now = 61
    assert resting.get("w/1/a") == b"a"


def test_what_is_refused_or_missing_is_an_answer():
    broken = Faulty(MemoryStore("one"), at={("put", 1): Fault.refuse})
    resting = Resting(broken, 60, lambda: 0.0)
    with pytest.raises(StoreUnreachable):
        resting.put("w/1/a", b"a")
    with pytest.raises(ObjectMissing):
        resting.get("w/1/a")
    resting.put("w/1/a", b"a")
    assert resting.get("w/1/a") == b"a"


def test_a_store_that_could_not_be_begun_rests_at_first():
    now = 0.0
    one = Faulty(MemoryStore("one"))
    resting = Resting(one, 60, lambda: now, StoreUnreachable("it hangs"))
    with pytest.raises(StoreUnreachable, match="it hangs"):
        resting.put("w/1/a", b"a")
    assert one.calls == []
    now = 61
    resting.put("w/1/a", b"a")
    assert Resting(one, 60, lambda: now, Refused("no")).get("w/1/a") == b"a"


@pytest.fixture
def hung() -> Iterator[tuple[str, list[socket.socket]]]:
    """The address of a server that never says a word, and the connections that came to it."""
    came: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                came.append(server.accept()[0])
            except OSError:  # it is shut down
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", came
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for each in came:
        each.close()


def test_a_store_that_hangs_and_is_not_required_is_given_up_once(
    hung: tuple[str, list[socket.socket]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    address, came = hung
    monkeypatch.setattr(joined, "QUICK", 0.2)
    several = assemble.prepared_store(configured(STORE=f"file://{tmp_path}/a ipfs+http://{address}/x?required=no"))
    several.put(PACK, DATA)
    several.put("w/1/head.json", b"{}")
    assert "0.2 seconds without a byte" in several.missed()["ipfs"]
    assert len(came) <= 1  # none, if we had hung up before it was looked at


# --- outages ---


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Line(MemoryStore):
    """A store that cannot be reached before *back*; each time, a second is spent to find that out."""

    def __init__(self, name: str, clock: Clock, back: float) -> None:
        super().__init__(name)
        self._clock = clock
        self._back = back

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        self._require_line()
        return super().get(name, links)

    def head(self, name: str) -> Stored:
        self._require_line()
        return super().head(name)

    def _require_line(self) -> None:
        if self._clock.now < self._back:
            self._clock.sleep(1)
            raise StoreUnreachable(f"{self.name}: no route to host")


def patient(clock: Clock, *stores: Store, linked: Store | None = None, **more) -> Mirrored:
    options = {"patience": 300, "sleep": clock.sleep, "monotonic": clock.monotonic} | more
    return Mirrored([Member(store) for store in stores], linked, **options)


@pytest.mark.parametrize("name", [PACK, "w/1/head.json"])
def test_an_outage_of_all_stores_is_waited_for(name: str, clock: Clock):
    lines = [Resting(Line(each, clock, 40), 120, clock.monotonic) for each in ("one", "two")]
    for each in lines:
        each.put(name, DATA)
    assert patient(clock, *lines).get(name) == DATA
    assert 120 <= clock.now < 140
    clock.now = 0
    assert patient(clock, *lines).head(name).size == len(DATA)


def test_an_outage_that_does_not_end_is_waited_for_once(clock: Clock):
    several = patient(clock, Line("one", clock, math.inf), Line("two", clock, math.inf))
    with pytest.raises(StoreUnreachable, match="one: no route"):
        several.get(PACK)
    assert 300 <= clock.now < 320
    with pytest.raises(StoreUnreachable):
        several.get(PACK)
    assert clock.now < 325


def test_a_store_that_came_back_is_waited_for_again(clock: Clock):
    line = Line("one", clock, 200)
    line.put(PACK, DATA)
    several = patient(clock, line)
    assert several.get(PACK) == DATA
    line._back = clock.now + 200
    assert several.get(PACK) == DATA


def test_the_one_store_that_has_a_thing_is_waited_for(clock: Clock):
    lacks, has = MemoryStore("one"), Line("two", clock, 40)
    has.put(PACK, DATA)
    assert patient(clock, lacks, has).get(PACK) == DATA
    clock.now = 0
    lacks.put(PACK, b"other bytes")
    assert patient(clock, lacks, has).get(PACK) == DATA


def test_what_need_not_be_there_is_waited_for_only_if_nobody_can_tell(clock: Clock):
    with pytest.raises(StoreUnreachable):
        patient(clock, MemoryStore("one"), Line("two", clock, 40)).get("w/1/head.json")
    assert clock.now == 1


def test_nobody_waits_for_strangers_or_for_what_is_refused_or_without_patience(clock: Clock):
    refusing = Faulty(MemoryStore("one"), at={"get": Fault.refuse})
    with pytest.raises(Refused):
        patient(clock, refusing).get(PACK)
    with pytest.raises(StoreUnreachable):
        patient(clock, MemoryStore("one"), linked=Line("networks", clock, 40)).get(PACK, ["ipfs://b"])
    with pytest.raises(StoreUnreachable):
        patient(clock, Line("one", clock, 40), patience=0).get(PACK)
    assert clock.now == 2


def test_stop_ends_the_wait_for_an_outage(clock: Clock):
    stop = threading.Event()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        stop.set()

    with pytest.raises(Interrupted):
        patient(clock, Line("one", clock, 40), sleep=sleep, stop=stop).get(PACK)
    assert clock.now == 11


def test_it_is_as_far_away_as_the_farthest_who_may_have_to_be_asked():
    near, far = MemoryStore("near", traits=NEAR), MemoryStore("far", traits=FAR)
    assert Mirrored((Member(near), Member(far))).traits.distance == FAR.distance
    assert Mirrored((Member(near),)).traits.distance == NEAR.distance
