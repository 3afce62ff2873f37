"""Looks at a sidecar's processes while it runs: their memory, and children that ended and were not buried."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.measure import memory_of
from bench.soak.tally import Tally

EVERY = 0.5
"""Seconds between two looks."""


class Watch:
    def __init__(self, pid: int, tally: Tally) -> None:
        self._pid = pid
        self._tally = tally
        self._zombies: dict[int, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            if memory := memory_of(self._pid):
                self._tally.last = memory
                self._tally.peak = max(self._tally.peak, memory)
            self._look_for_zombies()

    def _look_for_zombies(self) -> None:
        now = time.monotonic()
        there = {pid for pid, state, parent in _processes() if state == "Z" and parent == self._pid}
        self._zombies = {pid: self._zombies.get(pid, now) for pid in there}
        longest = max((now - since for since in self._zombies.values()), default=0.0)
        self._tally.longest_zombie = max(self._tally.longest_zombie, longest)


def is_reading(pid: int) -> bool:
    """Whether a sidecar has children at work: it has some while it reads from a database."""
    return any(parent == pid and state != "Z" for _, state, parent in _processes())


def left_behind(folder: Path, patience: float) -> list[str]:
    """The processes that work with temporary files below *folder*, and did not end in so many seconds."""
    deadline = time.monotonic() + patience
    while (found := list(_of(folder))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _of(folder: Path) -> Iterator[str]:
    marks = [f"TMPDIR={folder}{end}".encode() for end in ("/", "\0")]
    for pid, _, _ in _processes():
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # others' are no concern of ours
            if any(mark in Path(f"/proc/{pid}/environ").read_bytes() for mark in marks):
                yield f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _processes() -> Iterator[tuple[int, str, int]]:
    """Each one's number, state and parent."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
            yield int(name), fields[0], int(fields[1])
