"""One channel's waiting notices, and the thread that delivers them: a dead channel holds up no other one."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from dwebbackup.report import log
from dwebbackup.report.notices.channel import HEARS, Channel, NotDelivered
from dwebbackup.report.notices.deduplication import Deduplication
from dwebbackup.report.notices.notice import Notice, cleaned

MOST_WAITING = 100

PATIENCE = 3600.0
"""Seconds after which no further try is made to deliver a notice; the next one like it is then news."""

LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    notice: Notice
    since: float


class Courier:
    """Delivers in order. *first_wait*: seconds before the second try; each further one waits twice as long.

    Its thread sends without holding the lock, so that whoever brings a notice never waits for a network.
    """

    def __init__(self, channel: Channel, monotonic: Callable[[], float], first_wait: float) -> None:
        self.channel = channel
        self._monotonic = monotonic
        self._first_wait = first_wait
        self._lock = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._in_hand = 0
        self._deduplication = Deduplication()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._failures = 0

    @property
    def failures(self) -> int:
        """Notices that this channel did not get."""
        with self._lock:
            return self._failures

    def take(self, notice: Notice) -> None:
        """To be delivered, if it is for this channel and is news to it; never blocks."""
        if notice.event not in HEARS[self.channel.audience]:
            return
        with self._lock:
            now = self._monotonic()
            if self.channel.audience == "people" and not self._deduplication.is_news(notice, now):
                return
            lost = self._line_up(_Waiting(notice, now))
        if lost:
            self._log(lost, "we are about to stop" if self._closing.is_set() else "too many are waiting")

    def _line_up(self, waiting: _Waiting) -> Notice | None:
        """What is lost by that; under the lock."""
        if self._closing.is_set():
            return self._lose(waiting.notice)
        self._waiting.append(waiting)
        self._start()
        self._lock.notify()
        return self._lose(self._waiting.popleft().notice) if len(self._waiting) > MOST_WAITING else None

    def close(self) -> None:
        """No further notice is taken, and no further failure forgiven: each that waits is tried once."""
        with self._lock:
            self._closing.set()
            self._lock.notify()

    def join(self, seconds: float) -> None:
        """Until all is delivered, at most so long; what is not counts as failed."""
        if self._thread:
            self._thread.join(max(0.0, seconds))
        with self._lock:
            left = len(self._waiting) + self._in_hand
            self._waiting.clear()
            self._failures += left
            self._in_hand = 0
        if left:
            log.logger(__name__).warning("notices not delivered", channel=self.channel.called, notices=left)

    def _start(self) -> None:
        """With the first notice; under the lock. Where a system gives no thread, the next notice asks again."""
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name=f"notices to {self.channel.called}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return
        self._thread = thread

    def _run(self) -> None:
        while waiting := self._next():
            self._deliver(waiting)
            with self._lock:
                self._in_hand = 0

    def _next(self) -> _Waiting | None:
        with self._lock:
            self._lock.wait_for(lambda: self._waiting or self._closing.is_set())
            if not self._waiting:
                return None
            self._in_hand = 1
            return self._waiting.popleft()

    def _deliver(self, waiting: _Waiting) -> None:
        try:
            notice = cleaned(waiting.notice)
            self._keep_trying(waiting.since)(lambda: self.channel.send(notice))
        except NotDelivered as error:
            self._fail(waiting.notice, str(error), error.hint)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong with telling, the telling goes on
            # Not its words: only of what we raise ourselves is it known that no secret is in it.
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._fail(waiting.notice, f"{type(error).__name__} in {place.filename}:{place.lineno}")

    def _keep_trying(self, since: float) -> tenacity.Retrying:
        wait = tenacity.wait_random_exponential(multiplier=self._first_wait, max=LONGEST_WAIT)

        def out_of_time(state: tenacity.RetryCallState) -> bool:
            return self._closing.is_set() or self._monotonic() - since + state.upcoming_sleep > PATIENCE

        def pause_before(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return wait(state) + (error.pause if isinstance(error, NotDelivered) else 0.0)

        def pause(seconds: float) -> None:
            self._closing.wait(seconds)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, NotDelivered) and error.again),
            wait=pause_before,
            stop=out_of_time,
            sleep=pause,
            before_sleep=self._tell_of_first_failure,
            reraise=True,
        )

    def _tell_of_first_failure(self, state: tenacity.RetryCallState) -> None:
        """At once, and not after an hour, whoever tries a new setting learns that it does not work."""
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1 and isinstance(error, NotDelivered):
            log.logger(__name__).warning(
                "a notice cannot be delivered yet, trying again",
                channel=self.channel.called,
                error=str(error),
                hint=error.hint,
            )

    def _fail(self, notice: Notice, error: str, hint: str = "") -> None:
        with self._lock:
            if not self._in_hand:  # `join` was tired of waiting, and has counted it
                return
            self._lose(notice)
        self._log(notice, error, hint)

    def _lose(self, notice: Notice) -> Notice:
        """Under the lock."""
        self._failures += 1
        self._deduplication.forget(notice)
        return notice

    def _log(self, notice: Notice, error: str, hint: str = "") -> None:
        log.logger(__name__).warning(
            "a notice was not delivered",
            channel=self.channel.called,
            told=notice.event,
            source=notice.source,
            error=error,
            hint=hint,
        )
