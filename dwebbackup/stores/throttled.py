"""A wrapper round any store that puts no more bytes a second than it was told to, in all threads together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from dwebbackup import clock
from dwebbackup.errors import Interrupted
from dwebbackup.ports import Store, Stored, StoreTraits


class Bucket:
    """Fills with *rate* tokens a second, up to *room*; who takes more than there are waits until they would be there.

    Bytes or requests, it does not know which. Those who wait are served in the order in which they came, so that a
    large taking is not held up for ever by small ones.
    """

    def __init__(self, rate: float, room: float = 0.0, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._rate = rate
        self._room = room
        self._monotonic = monotonic
        self._tokens = room  # below zero: what those who wait have taken already
        self._filled = monotonic()
        self._lock = threading.Lock()

    def take(self, amount: float) -> float:
        """Take *amount* tokens; gives the seconds to wait before they may be used."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._room, self._tokens + (now - self._filled) * self._rate) - amount
            self._filled = now
            return max(0, -self._tokens / self._rate)


class Throttled:
    """*store*, where every put waits for as many tokens of *uploads* as it has bytes; the rest passes unhindered.

    Thus no second has more bytes than the rate on average over a few packs; a single one goes out as fast as it can.
    *stop* ends a wait at once; the put then raises `Interrupted`. *sleep* is for tests.
    """

    def __init__(
        self,
        store: Store,
        uploads: Bucket,
        *,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._store = store
        self._uploads = uploads
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

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        if not self._stop.is_set():  # what is put after that is a last note, and small
            self._await_turn(name, len(data))
        return self._store.put(name, data)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        return self._store.get(name, links)

    def head(self, name: str) -> Stored:
        return self._store.head(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        self._store.delete(name)

    def _await_turn(self, name: str, size: int) -> None:
        self._sleep(self._uploads.take(size))
        if self._stop.is_set():
            raise Interrupted(f"asked to stop while {name} waited for its turn to be stored")
