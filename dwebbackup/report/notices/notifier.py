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
    """No call raises, and only `close` waits. *first_wait* and *monotonic* are for tests."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        first_wait: float = 2.0,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._first_wait = first_wait
        self._lock = threading.Lock()
        self._couriers: tuple[Courier, ...] = ()
        self._dismissed: tuple[Courier, ...] = ()
        self._runs: dict[str, str] = {}
        self.change(channels)

    def change(self, channels: Sequence[Channel]) -> None:
        """These from now on. Who stays remembers what he was told; who goes gets what waits, if he takes it at once."""
        with self._lock:
            before = list(self._couriers)
            self._couriers = tuple(self._courier(channel, before) for channel in channels)
            self._dismissed += tuple(before)
        for courier in before:
            courier.close()

    @property
    def failures(self) -> int:
        """How many notices did not reach a channel that they were for."""
        return sum(courier.failures for courier in self._everybody())

    def tell(self, notice: Notice) -> None:
        """Everybody whom it concerns, some time soon."""
        notice = replace(notice, run=self._run_of(notice))
        for courier in self._couriers:
            courier.take(notice)

    def close(self, seconds: float) -> None:
        """Deliver what waits, at most so long; a notice that fails now is not tried again."""
        deadline = self._monotonic() + seconds
        for courier in self._everybody():
            courier.close()
        for courier in self._everybody():
            courier.join(deadline - self._monotonic())

    def _everybody(self) -> tuple[Courier, ...]:
        with self._lock:
            return self._couriers + self._dismissed

    def _courier(self, channel: Channel, before: list[Courier]) -> Courier:
        """The one that this channel had *before*, which is taken from there; else a new one."""
        for courier in before:
            if courier.channel == channel:
                before.remove(courier)
                return courier
        return Courier(channel, self._monotonic, self._first_wait)

    def _run_of(self, notice: Notice) -> str:
        """What a start and its outcome have in common; the outcome ends it."""
        with self._lock:
            if notice.event == "start":
                self._runs[notice.source] = str(uuid.uuid4())
                return self._runs[notice.source]
            if notice.event in {"success", "failure"}:
                return self._runs.pop(notice.source, "")
        return ""
