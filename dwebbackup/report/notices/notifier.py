"""Everybody who is told: hands each notice to every channel that wants it, and gives runs their ids."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from dwebbackup import clock
from dwebbackup.report.notices.channel import Channel
from dwebbackup.report.notices.courier import Courier
from dwebbackup.report.notices.notice import Notice


class Notifier:
    """Neither call raises, and only `close` waits. *first_wait* and *monotonic* are for tests."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        first_wait: float = 2.0,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._couriers = tuple(Courier(channel, monotonic, first_wait) for channel in channels)
        self._lock = threading.Lock()
        self._runs: dict[str, str] = {}

    @property
    def failures(self) -> int:
        """How many notices did not reach a channel that they were for."""
        return sum(courier.failures for courier in self._couriers)

    def tell(self, notice: Notice) -> None:
        """Everybody whom it concerns, some time soon."""
        notice = replace(notice, run=self._run_of(notice))
        for courier in self._couriers:
            courier.take(notice)

    def close(self, seconds: float) -> None:
        """Deliver what waits, at most so long; a notice that fails now is not tried again."""
        deadline = self._monotonic() + seconds
        for courier in self._couriers:
            courier.close()
        for courier in self._couriers:
            courier.join(deadline - self._monotonic())

    def _run_of(self, notice: Notice) -> str:
        """What a start and its outcome have in common; the outcome ends it."""
        with self._lock:
            if notice.event == "start":
                self._runs[notice.source] = str(uuid.uuid4())
                return self._runs[notice.source]
            if notice.event in {"success", "failure", "recovery"}:
                return self._runs.pop(notice.source, "")
        return ""
