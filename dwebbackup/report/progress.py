"""How far long work is: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from dwebbackup import clock
from dwebbackup.ports import Progress, Quiet
from dwebbackup.report import log

if TYPE_CHECKING:
    from tqdm import tqdm

LINE_EVERY = 30.0
"""Seconds between two log lines."""


@contextmanager
def progress_on(stream: TextIO, *, quiet: bool = False) -> Iterator[Progress]:
    """The display that suits *stream*. However the work ends, no bar is left standing."""
    if quiet:
        yield Quiet()
    elif stream.isatty():
        bar = Bar(stream)
        try:
            yield bar
        finally:
            bar.end()
    else:
        yield Lines()


class Bar:
    """One line that is drawn over and over: bytes, rate, time left. It is gone when the work is done."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm  # noqa: PLC0415  # only a terminal needs it

        self._stream = stream
        self._lock = threading.Lock()
        self._tqdm = tqdm
        self._bar: tqdm[Any] | None = None
        tqdm.monitor_interval = 0  # else tqdm starts a thread that wakes up every ten seconds
        tqdm.set_lock(threading.RLock())  # its own also locks out other processes, of which there are none

    def begin(self, what: str, total: int | None) -> None:
        self.end()
        with self._lock:
            self._bar = self._tqdm(
                desc=what,
                total=total or None,
                file=self._stream,
                unit="B",
                unit_scale=True,
                unit_divisor=1024,
                dynamic_ncols=True,
                leave=False,
            )

    def advance(self, size: int) -> None:
        with self._lock:
            if self._bar is not None:
                if self._bar.total and self._bar.n + size > self._bar.total:
                    self._bar.total = self._bar.n + size  # it was an estimate
                self._bar.update(size)

    def end(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
            self._bar = None


class Lines:
    """A log line about every `LINE_EVERY` seconds, and one at the end of what took that long: the result of what is
    quicker says it all. *monotonic* is for tests.
    """

    def __init__(self, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._what = ""
        self._total: int | None = None
        self._done = 0
        self._began = self._told = monotonic()

    def begin(self, what: str, total: int | None) -> None:
        with self._lock:
            self._what, self._total, self._done = what, total, 0
            self._began = self._told = self._monotonic()

    def advance(self, size: int) -> None:
        with self._lock:
            self._done += size
            now = self._monotonic()
            if now - self._told < LINE_EVERY:
                return
            self._told = now
            self._tell(now)

    def end(self) -> None:
        with self._lock:
            if self._told == self._began:
                return
            seconds = round(self._monotonic() - self._began, 1)
            log.logger(__name__).info(f"{self._what}: done", bytes=self._done, seconds=seconds)

    def _tell(self, now: float) -> None:
        rate = self._done / max(now - self._began, 0.001)
        left = {}
        if self._total and self._total >= self._done:
            left = {"total": self._total, "seconds_left": round((self._total - self._done) / max(rate, 1))}
        log.logger(__name__).info(self._what, bytes=self._done, bytes_per_second=round(rate), **left)
