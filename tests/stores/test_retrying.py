"""Trying again: when, how long, and when not; and the stores for tests, which are tried here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from structlog.testing import capture_logs

from contracts.store import StoreContract, names
from dwebbackup.errors import Interrupted, ObjectMissing, StoreUnreachable
from dwebbackup.ports import Store
from dwebbackup.stores import Busy, Refused
from dwebbackup.stores.retrying import Retrying
from faulty import Call, Fault, Faulty, Killed, MemoryStore, Plan, dead_from, flipped


class Clock:
    """Time that passes only when somebody sleeps, or a slow store takes it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stored() -> MemoryStore:
    store = MemoryStore()
    store.put("w/1/a", b"a")
    store.put("w/1/b", b"b")
    store.put("w/1/c", b"c")
    return store


def retrying(store: Store, clock: Clock, **options) -> Retrying:
    return Retrying(store, sleep=clock.sleep, monotonic=clock.monotonic, **options)


ASKS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("w/1/a", b"new"),
    "get": lambda store: store.get("w/1/a"),
    "head": lambda store: store.head("w/1/a"),
    "list": lambda store: list(store.list("w/")),
    "delete": lambda store: store.delete("w/1/a"),
}


def every_other(call: Call) -> Fault | None:
    """Half of all calls fail: one before, the next after it took effect."""
    return (None, Fault.raise_before, None, Fault.raise_after)[call.number % 4]


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestFaultyWithoutFaults(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Faulty(MemoryStore())


class TestRetryingOverAFlakyStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Retrying(Faulty(MemoryStore(), every_other), sleep=lambda _: None)


@pytest.mark.parametrize("verb", ASKS)
class TestEveryVerb:
    @pytest.mark.parametrize("fault", [Fault.raise_before, Fault.raise_after])
    def test_is_tried_until_it_is_answered(self, verb: str, fault: Fault, stored: MemoryStore, clock: Clock):
        expected_store = stored.copy()
        expected = ASKS[verb](expected_store)
        flaky = Faulty(stored, at={1: fault, 2: fault, 3: fault})
        assert ASKS[verb](retrying(flaky, clock)) == expected
        assert [call for call, _ in flaky.calls] == [verb] * 4
        assert len(clock.slept) == 3
        assert stored.objects == expected_store.objects

    def test_gives_up_in_time_with_the_last_error(self, verb: str, stored: MemoryStore, clock: Clock):
        dead = Faulty(stored, dead_from(1))
        with pytest.raises(StoreUnreachable, match=f"memory does not answer {verb} w/"):
            ASKS[verb](retrying(dead, clock, budget=300))
        assert len(dead.calls) > 8
        assert 150 < clock.now <= 300  # a next wait of up to 30 s did not fit

    def test_that_is_refused_is_not_tried_again(self, verb: str, stored: MemoryStore, clock: Clock):
        refusing = Faulty(stored, at={verb: Fault.refuse})
        with pytest.raises(Refused):
            ASKS[verb](retrying(refusing, clock))
        assert len(refusing.calls) == 1

    def test_is_not_tried_again_after_the_end(self, verb: str, stored: MemoryStore, clock: Clock):
        killed = Faulty(stored, at={1: Fault.kill_before})
        with pytest.raises(Killed):
            ASKS[verb](retrying(killed, clock))
        assert len(killed.calls) == 1

    def test_tells_of_every_try(self, verb: str, stored: MemoryStore, clock: Clock):
        with capture_logs() as lines:
            ASKS[verb](retrying(Faulty(stored, at={1: Fault.raise_before, 2: Fault.raise_after}), clock))
        assert [(line["store"], line["verb"], line["attempt"]) for line in lines] == [
            ("memory", verb, 1),
            ("memory", verb, 2),
        ]
        assert {line["log_level"] for line in lines} == {"warning"}
        assert all("does not answer" in line["error"] and line["object"].startswith("w/") for line in lines)


class TestRetrying:
    @pytest.mark.parametrize("verb", ["get", "head"])
    def test_what_is_missing_is_missing(self, verb: str, stored: MemoryStore, clock: Clock):
        lying = Faulty(stored, at={verb: Fault.miss})
        with pytest.raises(ObjectMissing):
            ASKS[verb](retrying(lying, clock))
        assert len(lying.calls) == 1

    def test_another_error_passes_through(self, clock: Clock):
        class Broken(MemoryStore):
            calls = 0

            def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
                self.calls += 1
                raise ZeroDivisionError

        broken = Broken()
        with pytest.raises(ZeroDivisionError):
            retrying(broken, clock).get("w/1/a")
        assert broken.calls == 1

    def test_waits_are_random_below_a_growing_limit(self, stored: MemoryStore):
        rounds = []
        for _ in range(200):
            clock = Clock()
            flaky = Faulty(stored, lambda call: Fault.raise_before if call.number <= 6 else None)
            retrying(flaky, clock, first_wait=1, longest_wait=10).get("w/1/a")
            rounds.append(clock.slept)
        limits = [1, 2, 4, 8, 10, 10]
        for waits, limit in zip(zip(*rounds, strict=True), limits, strict=True):
            assert 0 <= min(waits) < limit * 0.2
            assert limit * 0.8 < max(waits) <= limit

    def test_time_that_the_store_itself_takes_counts(self, stored: MemoryStore, clock: Clock):
        class Slow(MemoryStore):
            calls = 0

            def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
                self.calls += 1
                clock.now += 100
                raise StoreUnreachable("timed out")

        slow = Slow()
        with pytest.raises(StoreUnreachable):
            retrying(slow, clock, budget=250).get("w/1/a")
        assert slow.calls == 4  # failed at 100, a little after 200, 300 and 400

    def test_a_try_that_takes_longer_than_the_budget_is_made_again(self, stored: MemoryStore, clock: Clock):
        class Slow(MemoryStore):
            calls = 0

            def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
                self.calls += 1
                clock.now += 600
                raise StoreUnreachable("too slow")

        slow = Slow()
        with pytest.raises(StoreUnreachable, match="too slow"):
            retrying(slow, clock, budget=300).get("w/1/a")
        assert slow.calls == 2

    def test_in_a_hurry_the_first_try_counts(self, stored: MemoryStore, clock: Clock):
        class Hanging(MemoryStore):
            calls = 0

            def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
                self.calls += 1
                clock.now += 20
                raise StoreUnreachable("not one byte")

        hanging = Hanging()
        with pytest.raises(StoreUnreachable, match="not one byte"):
            retrying(hanging, clock, budget=20, hurried=True).get("w/1/a")
        assert (hanging.calls, clock.now) == (1, 20)

    @pytest.mark.parametrize(("asked", "left_alone"), [(0.5, 0.5), (7, 7), (60, 60), (61, 60), (86400, 60)])
    def test_a_busy_store_is_left_alone_as_long_as_it_asks_within_reason(
        self, asked: float, left_alone: float, clock: Clock
    ):
        class Crowded(MemoryStore):
            calls = 0

            def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
                self.calls += 1
                if self.calls == 1:
                    raise Busy("slow down", "", asked)
                return b"done"

        store = retrying(Crowded(), clock, first_wait=1, longest_pause=60)
        assert store.get("w/1/a") == b"done"
        assert left_alone <= sum(clock.slept) <= left_alone + 1

    def test_a_store_that_stays_busy_is_given_up_in_time(self, clock: Clock):
        class Crowded(MemoryStore):
            def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
                raise Busy("slow down", "", 86400)

        with pytest.raises(Busy):
            retrying(Crowded(), clock, budget=300, longest_pause=100).get("w/1/a")
        assert 200 <= clock.now <= 300

    def test_each_call_has_the_whole_budget(self, stored: MemoryStore, clock: Clock):
        dead = Faulty(stored, dead_from(1))
        store = retrying(dead, clock, budget=60, longest_wait=10)
        for _ in range(3):
            before = len(dead.calls)
            with pytest.raises(StoreUnreachable):
                store.get("w/1/a")
            assert len(dead.calls) - before > 3

    def test_a_listing_that_breaks_off_starts_over(self, stored: MemoryStore, clock: Clock):
        breaking = Faulty(stored, at={1: Fault.break_listing, 2: Fault.break_listing})
        assert names(retrying(breaking, clock).list("w/")) == ["w/1/a", "w/1/b", "w/1/c"]
        assert len(breaking.calls) == 3

    def test_a_listing_that_cannot_be_completed_gives_nothing(self, stored: MemoryStore, clock: Clock):
        breaking = Faulty(stored, at={"list": Fault.break_listing})
        with pytest.raises(StoreUnreachable):
            retrying(breaking, clock).list("w/")

    def test_stop_ends_a_wait_at_once(self, stored: MemoryStore):
        stop, failed = threading.Event(), threading.Event()
        ended: list[BaseException] = []

        def plan(_: Call) -> Fault:
            failed.set()
            return Fault.raise_before

        def work() -> None:
            try:
                Retrying(Faulty(stored, plan), budget=1e9, first_wait=1e6, longest_wait=1e6, stop=stop).get("w/1/a")
            except BaseException as error:  # a thread would keep it to itself
                ended.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert failed.wait(60)
        stop.set()
        thread.join(60)
        assert [type(error) for error in ended] == [Interrupted]

    def test_after_stop_a_call_is_made_but_not_repeated(self, stored: MemoryStore):
        stop = threading.Event()
        stop.set()
        flaky = Faulty(stored, at={2: Fault.raise_before})
        store = Retrying(flaky, stop=stop)
        assert store.get("w/1/a") == b"a"
        with pytest.raises(Interrupted, match="memory"):
            store.get("w/1/a")
        assert len(flaky.calls) == 2

    def test_is_the_store_to_those_who_ask(self, stored: MemoryStore):
        store = Retrying(stored)
        assert (store.name, store.url, store.traits) == (stored.name, stored.url, stored.traits)


class TestFaulty:
    """The yardstick itself."""

    @pytest.mark.parametrize(
        ("fault", "error", "happened"),
        [
            (Fault.raise_before, StoreUnreachable, False),
            (Fault.raise_after, StoreUnreachable, True),
            (Fault.refuse, Refused, False),
            (Fault.kill_before, Killed, False),
            (Fault.kill_after, Killed, True),
        ],
    )
    def test_an_error_before_or_after_the_effect(
        self, fault: Fault, error: type[BaseException], happened: bool, stored: MemoryStore
    ):
        for name in ("put", "delete"):
            before = stored.copy()
            store = Faulty(before, at={1: fault})
            with pytest.raises(error):
                ASKS[name](store)
            assert (before.objects != stored.objects) == happened
            assert [(call.number, call.verb) for call in store.struck] == [(1, name)]

    def test_bytes_that_come_back_wrong(self, stored: MemoryStore):
        stored.put("w/1/a", b"12345678")
        store = Faulty(stored, at={2: Fault.truncate, ("get", 3): Fault.flip_bit})
        assert [store.get("w/1/a") for _ in range(4)] == [b"12345678", b"1234", b"1234\x34678", b"12345678"]
        assert [call.nth for call in store.struck] == [2, 3]

    def test_a_flipped_bit_is_one_bit(self):
        for bit in range(32):
            changed = flipped(b"\0\xff\0\xff", bit)
            assert (int.from_bytes(changed, "little") ^ 0xFF00FF00).bit_count() == 1
        assert flipped(b"", 0) == b""

    def test_a_call_that_happens_twice(self, stored: MemoryStore):
        inner = Faulty(stored)
        assert Faulty(inner, at={"put": Fault.duplicate}).put("w/1/a", b"2") == stored.put("w/1/a", b"2")
        assert inner.calls == [("put", "w/1/a")] * 2

    def test_objects_that_are_hidden(self, stored: MemoryStore):
        store = Faulty(stored, at={"list": Fault.hide}, hidden=lambda name: name.endswith("b"))
        assert names(store.list("w/")) == ["w/1/a", "w/1/c"]
        assert names(Faulty(stored, at={"list": Fault.hide}).list("w/")) == []

    def test_a_listing_that_breaks_off(self, stored: MemoryStore):
        listing = Faulty(stored, at={"list": Fault.break_listing}).list("w/")
        assert next(listing).name == "w/1/a"
        with pytest.raises(StoreUnreachable):
            list(listing)

    def test_nothing_happens_after_the_end(self, stored: MemoryStore):
        store = Faulty(stored, at={("put", 2): Fault.kill_before})
        store.put("w/1/d", b"d")
        with pytest.raises(Killed):
            store.put("w/1/e", b"e")
        for ask in ASKS.values():
            with pytest.raises(Killed):
                ask(store)
        assert names(stored.list("")) == ["w/1/a", "w/1/b", "w/1/c", "w/1/d"]
        assert stored.get("w/1/a") == b"a"

    def test_a_store_that_dies_stays_dead(self, stored: MemoryStore):
        store = Faulty(stored, dead_from(2))
        assert store.get("w/1/a") == b"a"
        for ask in ASKS.values():
            with pytest.raises(StoreUnreachable):
                ask(store)

    def test_a_fault_that_cannot_strike_leaves_the_call_alone(self, stored: MemoryStore):
        for fault in (Fault.truncate, Fault.flip_bit, Fault.hide, Fault.break_listing, Fault.miss):
            store = Faulty(stored, at={1: fault})
            store.put("w/1/a", b"a")
            assert not store.struck
        assert stored.get("w/1/a") == b"a"

    def test_a_plan_for_no_verb_of_a_store_is_a_mistake(self, stored: MemoryStore):
        with pytest.raises(ValueError, match="putt"):
            Faulty(stored, at={("putt", 1): Fault.raise_before})

    @pytest.mark.parametrize("plan", [every_other, dead_from(3)])
    def test_the_same_plan_strikes_the_same_calls(self, plan: Plan, stored: MemoryStore):
        struck = []
        for _ in range(2):
            store = Faulty(stored.copy(), plan)
            for verb in [*ASKS, *ASKS]:
                try:
                    ASKS[verb](store)
                except (StoreUnreachable, ObjectMissing):
                    continue
            struck.append(store.struck)
        assert struck[0] == struck[1]
        assert struck[0]


class TestMemoryClock:
    def test_objects_are_as_old_as_the_test_says(self):
        store = MemoryStore(now=1000)
        store.put("w/1/old", b"1")
        store.now += 72 * 3600
        store.put("w/1/new", b"1")
        assert [each.modified for each in store.list("")] == [1000 + 72 * 3600, 1000]
        assert store.head("w/1/old").modified == 1000

    def test_a_copy_is_a_store_of_its_own(self):
        store = MemoryStore()
        store.put("w/1/a", b"1")
        twin = store.copy()
        twin.put("w/1/b", b"2")
        twin.delete("w/1/a")
        assert names(store.list("")) == ["w/1/a"]
        assert names(twin.list("")) == ["w/1/b"]
