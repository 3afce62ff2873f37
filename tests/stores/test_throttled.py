"""Uploads held to a rate: the arithmetic over a clock of our own, all threads together, and the end of waiting."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calling import PROGRAM, call, environment
from contracts.store import StoreContract
from dwebbackup import assemble, config
from dwebbackup.errors import Interrupted
from dwebbackup.ports import Store
from dwebbackup.stores.throttled import Bucket, Throttled
from faulty import MemoryStore
from fix_postgres import Database
from synthetic import OWNER

NUMBERS = st.integers(0, 10**7).map(Fraction)


class Clock:
    """Time that passes when a test says so; it is exact."""

    def __init__(self) -> None:
        self.now = Fraction(1000)

    def monotonic(self) -> Any:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestThrottled(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Throttled(MemoryStore(), Bucket(1e12))


class TestBucket:
    def test_bytes_are_paid_for_before_they_go_out(self, clock: Clock):
        bucket = Bucket(100, monotonic=clock.monotonic)
        assert bucket.take(400) == 4

    def test_those_who_wait_wait_one_after_the_other(self, clock: Clock):
        bucket = Bucket(100, monotonic=clock.monotonic)
        assert [bucket.take(400), bucket.take(50), bucket.take(400)] == [4, 4.5, 8.5]

    def test_time_that_passes_pays(self, clock: Clock):
        bucket = Bucket(100, monotonic=clock.monotonic)
        bucket.take(400)
        clock.now += 3
        assert bucket.take(100) == 2
        clock.now += 2
        assert bucket.take(100) == 1

    def test_idle_time_saves_nothing_up_beyond_the_room(self, clock: Clock):
        bucket = Bucket(100, room=500, monotonic=clock.monotonic)
        clock.now += 86400
        assert [bucket.take(500), bucket.take(100)] == [0, 1]

    def test_requests_may_come_in_small_crowds(self, clock: Clock):
        """As for a provider who allows 500 a second."""
        bucket = Bucket(500, room=500, monotonic=clock.monotonic)
        waits = [bucket.take(1) for _ in range(1000)]
        assert waits[:500] == [0] * 500
        assert waits[500:] == pytest.approx([number / 500 for number in range(1, 501)])

    def test_nothing_costs_nothing(self, clock: Clock):
        assert Bucket(100, monotonic=clock.monotonic).take(0) == 0

    @given(NUMBERS, NUMBERS, st.lists(st.tuples(st.fractions(0, 100, max_denominator=1000), NUMBERS), max_size=50))
    def test_no_stretch_of_time_has_more_than_the_rate_and_the_room(
        self, rate: Fraction, room: Fraction, takings: list[tuple[Fraction, Fraction]]
    ):
        clock = Clock()
        bucket = Bucket(rate + 1, room, clock.monotonic)
        free = [clock.now]  # when each amount was let go
        for pause, amount in takings:
            clock.now += pause
            free.append(clock.now + bucket.take(amount))
        assert free == sorted(free)
        for first in range(len(takings)):
            for last in range(first, len(takings)):
                taken = sum(amount for _, amount in takings[first : last + 1])
                assert taken <= (free[last + 1] - free[first]) * (rate + 1) + room


class TestPutting:
    def test_all_threads_together_have_one_rate(self, clock: Clock):
        waits: list[float] = []
        store = Throttled(MemoryStore(), Bucket(1000, monotonic=clock.monotonic), sleep=waits.append)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: store.put(f"w/1/{number}", bytes(500)), range(20)))
        assert sorted(waits) == [number / 2 for number in range(1, 21)]

    def test_only_what_goes_out_waits(self, clock: Clock):
        waits: list[float] = []
        store = Throttled(MemoryStore(), Bucket(1, monotonic=clock.monotonic), sleep=waits.append)
        store.put("w/1/a", bytes(1000))
        assert store.get("w/1/a") == bytes(1000)
        assert store.head("w/1/a").size == 1000
        assert [found.name for found in store.list("w/")] == ["w/1/a"]
        store.delete("w/1/a")
        assert waits == [1000]

    def test_stop_ends_a_wait_at_once_and_nothing_is_put(self):
        stop, stored = threading.Event(), MemoryStore()
        ended: list[BaseException] = []
        waiting = threading.Event()

        class Watched(Bucket):
            def take(self, amount: float) -> float:
                waiting.set()
                return super().take(amount)

        def work() -> None:
            try:
                Throttled(stored, Watched(1), stop=stop).put("w/1/a", bytes(10**9))
            except BaseException as error:  # a thread would keep it to itself
                ended.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert waiting.wait(60)
        stop.set()
        thread.join(60)
        assert [type(error) for error in ended] == [Interrupted]
        assert not stored.objects

    def test_a_last_note_after_stop_goes_out_at_once(self):
        stop, stored = threading.Event(), MemoryStore()
        stop.set()
        Throttled(stored, Bucket(1), stop=stop).put("w/1/checkpoint", bytes(10**6))
        assert list(stored.objects) == ["w/1/checkpoint"]

    def test_is_the_store_to_those_who_ask(self):
        stored = MemoryStore()
        store = Throttled(stored, Bucket(1))
        assert (store.name, store.url, store.traits) == (stored.name, stored.url, stored.traits)


class TestTheOption:
    def test_a_backup_is_held_to_it_and_what_reads_is_not(self, tmp_path: Path):
        configured = config.load(environment={"DWEBBACKUP_STORE": f"file://{tmp_path}", "DWEBBACKUP_RATE": "5M"})
        assert isinstance(assemble.prepared_store(configured), Throttled)
        assert not isinstance(assemble.store(configured), Throttled)
        free = config.load(environment={"DWEBBACKUP_STORE": f"file://{tmp_path}"})
        assert not isinstance(assemble.prepared_store(free), Throttled)

    def test_the_backup_comes_back(self, database: Database, target_database: Database, tmp_path: Path):
        database.psql("CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) AS n")
        settings = {"SOURCE": database.uri, "STORE": f"file://{tmp_path}", "KEY": OWNER.words}
        call("backup", "--rate", "100M", **settings)
        call("restore", "latest", "--to", target_database.uri, **settings)
        assert target_database.psql("SELECT count(*), sum(n) FROM t") == "5000|12502500"

    def test_an_interrupted_backup_does_not_wait_for_its_turn(self, database: Database, tmp_path: Path):
        """Its pack would wait for minutes."""
        random = "SELECT string_agg(gen_random_uuid()::text, '') AS text FROM generate_series(1, 25000)"
        database.psql(f"CREATE TABLE t AS {random}")
        settings = {"SOURCE": database.uri, "STORE": f"file://{tmp_path}", "KEY": OWNER.words, "RATE": "1K"}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*PROGRAM, "backup"], env=environment(settings), **pipes) as process:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob("w/*/checkpoints/*")):
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
        assert not list(tmp_path.glob("w/*/manifests/*"))
