"""Requests held to so many a second: over a clock of our own, all threads together, and the end of waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.store import StoreContract
from dwebbackup.errors import Interrupted
from dwebbackup.ports import Store
from dwebbackup.stores.paced import PAGE, Paced
from faulty import MemoryStore


class Clock:
    """Time that passes while somebody sleeps, or when a test says so; it is exact."""

    def __init__(self) -> None:
        self.now = Fraction(1000)

    def monotonic(self) -> Any:
        return self.now

    def sleep(self, seconds: Any) -> None:
        self.now += seconds


class Noted(MemoryStore):
    """Notes when it is asked for an object's age."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.times: list[Fraction] = []

    def prepare(self) -> None: ...

    def head(self, name: str) -> Any:
        self.times.append(self.clock.now)
        return super().head(name)


def paced(store: Any, requests: int, clock: Clock) -> Paced:
    return Paced(store, requests, sleep=clock.sleep, monotonic=clock.monotonic)


class TestPaced(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Paced(MemoryStore(), 10**9)


@given(st.integers(2, 40), st.lists(st.fractions(0, 2, max_denominator=20), min_size=1, max_size=80))
def test_no_second_has_more_requests_than_the_provider_takes(requests: int, pauses: list[Fraction]):
    clock = Clock()
    inner = Noted(clock)
    inner.put("w/1/a", b"a")
    store = paced(inner, requests, clock)
    for pause in pauses:
        clock.now += pause
        store.head("w/1/a")
    for first in inner.times:
        assert sum(first <= time < first + 1 for time in inner.times) <= requests


def test_a_few_requests_wait_for_nothing():
    clock = Clock()
    store = paced(MemoryStore(), 100, clock)
    for number in range(10):
        store.put(f"w/1/{number}", b"")
    assert clock.now == 1000


def test_those_that_go_on_for_long_have_nine_tenths_of_the_rate():
    clock = Clock()
    store = paced(MemoryStore(), 100, clock)
    for number in range(910):
        store.put(f"w/1/{number}", b"")
    assert clock.now == 1010


def test_all_threads_together_have_one_rate():
    waits: list[float] = []
    clock = Clock()
    store = Paced(MemoryStore(), 100, sleep=waits.append, monotonic=clock.monotonic)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.put(f"w/1/{number}", b""), range(20)))
    assert sorted(waits) == [Fraction(number, 90) for number in range(1, 11)]


def test_every_kind_of_request_counts():
    clock = Clock()
    store = paced(Noted(clock), 2, clock)  # one at once, then one a second
    store.put("w/1/a", b"a")
    store.get("w/1/a")
    store.head("w/1/a")
    list(store.list("w/"))
    store.delete("w/1/a")
    store.prepare()
    assert clock.now == 1005


def test_a_long_listing_counts_once_a_page():
    clock = Clock()
    inner = MemoryStore()
    for number in range(2 * PAGE + 1):
        inner.put(f"w/1/{number}", b"")
    assert len(list(paced(inner, 2, clock).list("w/"))) == 2 * PAGE + 1
    assert clock.now == 1002


def test_stop_ends_a_wait_and_nothing_is_asked():
    stop, inner = threading.Event(), MemoryStore()

    def sleep(_: float) -> None:
        stop.set()

    store = Paced(inner, 2, stop=stop, sleep=sleep)
    store.put("w/1/a", b"")
    with pytest.raises(Interrupted):
        store.put("w/1/b", b"")
    assert list(inner.objects) == ["w/1/a"]


def test_a_last_note_after_stop_goes_out_at_once():
    stop, waits = threading.Event(), []
    stop.set()
    store = Paced(MemoryStore(), 2, stop=stop, sleep=waits.append)
    for number in range(5):
        store.put(f"w/1/{number}", b"")
    assert not waits


def test_is_the_store_to_those_who_ask():
    inner = MemoryStore()
    store = Paced(inner, 100)
    assert (store.name, store.url, store.traits) == (inner.name, inner.url, inner.traits)
