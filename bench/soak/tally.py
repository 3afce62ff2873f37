"""What is counted while the soak runs, and what went wrong that should not have."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024


@dataclass(slots=True)
class Tally:
    """Everything that is printed at the end."""

    began: float = field(default_factory=time.monotonic)
    reported: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Every backup that anybody was told of as good, with the event that told of it."""
    pruned: set[str] = field(default_factory=set)
    incidents: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """Runs that failed, by kind; and looks at a database or a store that was not there."""
    failed: list[str] = field(default_factory=list)
    """Why."""
    runs: int = 0
    killed: int = 0
    """Sidecars."""
    interrupted: int = 0
    """Runs that read from the database when their sidecar was killed or asked to stop."""
    suspects: set[str] = field(default_factory=set)
    read: int = 0
    stored: int = 0
    transactions: int = 0
    refused: int = 0
    restores: int = 0
    peak: int = 0
    """Bytes of a sidecar with its children."""
    last: int = 0
    """The same, of a sidecar at rest, at the end."""
    longest_stop: float = 0.0
    longest_restore: float = 0.0
    longest_zombie: float = 0.0
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, event: dict[str, Any]) -> None:
        """A line of a sidecar's log."""
        if event["event"] == "backed up":
            self.report(event["backup"], event)
            self.runs += 1
            self.read += event["bytes_read"]
            self.stored += event["bytes_stored"]
        elif event["level"] == "warning" and "suspect: " in event["event"] and "backup" in event:
            self.suspects.add(event["backup"])
            self.reported.pop(event["backup"], None)
        elif event["level"] == "error" and "kind" in event:
            self.failures[event["kind"]] += 1
            self.failed.append(event["event"])
            if event["kind"] == "internal" or "exception" in event:
                self.fault(f"the sidecar met an error that it does not know: {event}")
        if event["event"].startswith("this is a fault of"):
            self.fault(f"the sidecar met an error that it does not know: {event}")

    def report(self, backup: str, event: dict[str, Any]) -> None:
        self.reported[backup] = event

    def incident(self, name: str) -> None:
        self.incidents[name] += 1
        say(f"{self.elapsed():5.0f} s  {self.runs:3} runs  {name}")

    def fault(self, what: str) -> None:
        with self._lock:
            self.faults.append(what)
        say(f"FAULT: {what}")

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def lines(self) -> Iterator[str]:
        """For people."""
        failures = ", ".join(f"{number} {kind}" for kind, number in sorted(self.failures.items()))
        yield f"runs: {self.runs} ok, of them {len(self.suspects)} suspect; failed: {failures or 'none'}"
        yield f"sidecars killed: {self.killed}; runs interrupted while they read: {self.interrupted}"
        yield "incidents: " + ", ".join(f"{number} {name}" for name, number in sorted(self.incidents.items()))
        yield f"transactions: {self.transactions:,}; given up for another's lock: {self.refused}"
        yield f"backups: {len(self.reported)} good, {len(self.pruned)} pruned, {self.restores} restored and examined"
        share = self.stored / self.read if self.read else 0
        yield f"bytes: {self.read / MIB:,.0f} MiB read, {self.stored / MIB:,.0f} MiB stored ({share:.1%})"
        yield f"sidecar: at most {self.peak / MIB:.0f} MiB with its children, {self.last / MIB:.0f} MiB at the end"
        yield f"at most {self.longest_restore:.1f} s to restore a database, {self.longest_stop:.1f} s to stop"
        yield f"longest zombie: {self.longest_zombie:.0f} s"
        yield f"time: {self.elapsed():.0f} s"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
