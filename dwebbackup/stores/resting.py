"""A wrapper round any store that, once it did not answer, is not asked again for a while: others are there to ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dwebbackup import clock
from dwebbackup.errors import StoreUnreachable
from dwebbackup.ports import Store, Stored, StoreTraits
from dwebbackup.stores import Refused

T = TypeVar("T")

REST = 120.0
"""Seconds."""


class Resting:
    """*store*; when it did not answer, every call of the next *seconds* fails at once, for the same reason.

    What is `Refused` is an answer. *failure*: why it did not answer just now. *monotonic* is for tests.
    """

    def __init__(
        self,
        store: Store,
        seconds: float = REST,
        monotonic: Callable[[], float] = clock.monotonic,
        failure: StoreUnreachable | None = None,
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._monotonic = monotonic
        self._until = 0.0
        self._why: StoreUnreachable | None = None
        self._lock = threading.Lock()
        if failure:
            self._rest(failure)

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def traits(self) -> StoreTraits:
        return self._store.traits

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        return self._unless_resting(lambda: self._store.put(name, data))

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        return self._unless_resting(lambda: self._store.get(name, links))

    def head(self, name: str) -> Stored:
        return self._unless_resting(lambda: self._store.head(name))

    def list(self, prefix: str) -> Iterator[Stored]:
        return iter(self._unless_resting(lambda: tuple(self._store.list(prefix))))

    def delete(self, name: str) -> None:
        self._unless_resting(lambda: self._store.delete(name))

    def _unless_resting(self, work: Callable[[], T]) -> T:
        with self._lock:
            why = self._why if self._monotonic() < self._until else None
        if why:
            raise StoreUnreachable(str(why), why.hint)
        try:
            return work()
        except StoreUnreachable as error:
            with self._lock:
                self._rest(error)
            raise

    def _rest(self, failure: StoreUnreachable) -> None:
        if not isinstance(failure, Refused):
            self._why, self._until = failure, self._monotonic() + self._seconds
