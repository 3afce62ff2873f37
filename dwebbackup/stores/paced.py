"""A wrapper round any store whose provider counts requests: never more in a second than it takes, in all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from dwebbackup import clock
from dwebbackup.errors import Interrupted
from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.stores import Place
from dwebbackup.stores.throttled import Bucket

PAGE = 1000
"""Objects of a listing that come with one request."""


class Paced:
    """*store*, which is asked at most *requests* times in any one second; who comes too early waits.

    A tenth of them may come at once, so that a few are never held up. Within the retries, so that what is tried again
    counts, too. *stop* ends a wait; the call then raises `Interrupted`. *sleep* and *monotonic* are for tests.
    """

    def __init__(
        self,
        store: Place,
        requests: int,
        *,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        at_once = max(1, requests // 10)
        self._bucket = Bucket(requests - at_once, at_once, monotonic)
        self._store = store
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def traits(self) -> StoreTraits:
        return self._store.traits

    def prepare(self) -> None:
        self._await_turn()
        self._store.prepare()

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        self._await_turn()
        return self._store.put(name, data)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        self._await_turn()
        return self._store.get(name, links)

    def head(self, name: str) -> Stored:
        self._await_turn()
        return self._store.head(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        self._await_turn()
        for number, stored in enumerate(self._store.list(prefix), 1):
            yield stored
            if number % PAGE == 0:
                self._await_turn()

    def delete(self, name: str) -> None:
        self._await_turn()
        self._store.delete(name)

    def _await_turn(self) -> None:
        wait = self._bucket.take(1)
        if wait and not self._stop.is_set():  # what is asked after that is a last note
            self._sleep(wait)
            if self._stop.is_set():
                raise Interrupted(f"asked to stop while requests waited for their turn at store {self.name}")
