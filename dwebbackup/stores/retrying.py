"""A wrapper round any store that asks again when there was no answer, as long as a time budget lasts."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import tenacity

from dwebbackup import clock
from dwebbackup.errors import Interrupted, StoreUnreachable
from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.report import log
from dwebbackup.stores import Busy, Place, Refused

_T = TypeVar("_T")


class Retrying:
    """*store*, where each call may be tried again for up to *budget* seconds after it first failed.

    *hurried*: after it began, where others are there to ask: what did not answer for so long is not asked once more.

    Only `StoreUnreachable` is worth another try, and not when it is `Refused`. The n-th wait is random, below
    *first_wait* · 2ⁿ⁻¹ and below *longest_wait*, so that many clients do not come back at once; one that is `Busy`
    is left alone for as long as it asked besides, but not longer than *longest_pause*. The last error is raised as
    it was. Trying again does no harm: every verb of a store may be repeated.

    *stop* ends a wait at once; the call then raises `Interrupted`. *sleep* and *monotonic* are for tests.
    """

    def __init__(
        self,
        store: Place,
        *,
        budget: float = 300.0,
        hurried: bool = False,
        first_wait: float = 1.0,
        longest_wait: float = 30.0,
        longest_pause: float = 120.0,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._store = store
        self._budget = budget
        self._hurried = hurried
        self._longest_pause = longest_pause
        self._wait = tenacity.wait_random_exponential(multiplier=first_wait, max=longest_wait)
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait
        self._monotonic = monotonic

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
        self._keep_trying("prepare", "", self._store.prepare)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        return self._keep_trying("put", name, lambda: self._store.put(name, data))

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        return self._keep_trying("get", name, lambda: self._store.get(name, links))

    def head(self, name: str) -> Stored:
        return self._keep_trying("head", name, lambda: self._store.head(name))

    def list(self, prefix: str) -> Iterator[Stored]:
        """Collected before it is handed out: after a failure it starts over, and gives nothing twice."""
        return iter(self._keep_trying("list", prefix, lambda: tuple(self._store.list(prefix))))

    def delete(self, name: str) -> None:
        self._keep_trying("delete", name, lambda: self._store.delete(name))

    def _keep_trying(self, verb: str, name: str, attempt: Callable[[], _T]) -> _T:
        since = self._monotonic() if self._hurried else math.inf

        def out_of_time(state: tenacity.RetryCallState) -> bool:
            nonlocal since
            now = self._monotonic()
            since = min(since, now)
            return now - since + state.upcoming_sleep > self._budget

        def tell(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            log.logger(__name__).warning(
                "store did not answer, trying again",
                store=self.name,
                verb=verb,
                object=name,
                attempt=state.attempt_number,
                wait=round(state.upcoming_sleep, 1),
                error=str(error),
            )

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_worth_another_try),
            wait=self._pause_before,
            stop=out_of_time,
            before_sleep=tell,
            sleep=self._pause,
            reraise=True,
        )(attempt)

    def _pause_before(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = min(error.seconds, self._longest_pause) if isinstance(error, Busy) else 0.0
        return asked + self._wait(state)

    def _pause(self, seconds: float) -> None:
        self._sleep(seconds)
        if self._stop.is_set():
            raise Interrupted(f"asked to stop while store {self.name} did not answer")


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, StoreUnreachable) and not isinstance(error, Refused)
