"""A lease: a database server, the app that writes into it, and a sidecar; each can end and begin again by itself."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.soak.commands import dwebbackup
from bench.soak.ledger import DATABASE
from bench.soak.tally import Tally
from bench.soak.watch import Watch, is_reading
from bench.soak.writers import Chronicle, Writers
from daemon.sidecar import PATIENCE, WRITER, Event, Sidecar
from dwebbackup.scratch.postgres import ScratchPostgres

SCHEDULE = "every 1 second"
NUDGE = 5.0
"""Seconds after which the sidecar is asked for a backup: by itself it would wait a minute after a failure."""


class Lease:
    """*place*: how its store is configured; *folder*: on its machine, so that leases do not see each other's locks."""

    def __init__(self, server: ScratchPostgres, folder: Path, place: Mapping[str, str], tally: Tally) -> None:
        folder.mkdir()
        self.server = server
        self.folder = folder
        self.tally = tally
        self.chronicle = Chronicle()
        self.writers: Writers | None = None
        self.sidecar: Sidecar | None = None
        self._place = dict(place)
        self._seen = 0

    @property
    def uri(self) -> str:
        return self.server.uri(DATABASE)

    @property
    def settings(self) -> dict[str, str]:
        return self._place | {"SOURCE": f"{self.uri}&name=app", "KEY": WRITER.line}

    # --- the app ---

    def write(self, rng: random.Random) -> None:
        self.writers = Writers(self.uri, self.chronicle, rng.randrange(10**9))

    def rest(self) -> None:
        """No more writes."""
        if self.writers:
            self.writers.stop()
            self.tally.transactions += self.writers.done
            self.tally.refused += self.writers.refused
            self.writers = None

    # --- the sidecar ---

    def start(self, **settings: str) -> None:
        self.sidecar = Sidecar(self.folder, **(self.settings | {"SCHEDULE": SCHEDULE, "JOBS": "2"} | settings))
        self.sidecar.__enter__()
        self._seen = 0
        self._watch = Watch(self.sidecar.process.pid, self.tally)

    def kill(self) -> None:
        assert self.sidecar
        self.tally.killed += 1
        self.tally.interrupted += is_reading(self.sidecar.process.pid)
        self.sidecar.kill()
        self._buried()

    def stop(self) -> None:
        """As an orchestrator does, which waits for 30 seconds."""
        assert self.sidecar
        self.tally.interrupted += is_reading(self.sidecar.process.pid)
        began = time.monotonic()
        status = self.sidecar.stop()
        taken = time.monotonic() - began
        self.tally.longest_stop = max(self.tally.longest_stop, taken)
        if status or taken > 30:
            self.tally.fault(f"asked to stop, the sidecar ended with status {status} after {taken:.1f} s")
        self._buried()

    def _buried(self) -> None:
        assert self.sidecar
        self.look()
        self._watch.stop()
        self.sidecar.__exit__()
        with (self.folder.parent / "sidecars.log").open("a") as log:
            log.writelines(self.sidecar.raw)
        self.sidecar = None

    def look(self) -> int:
        """Note what the sidecar said since the last look; how many backups it has reported in all."""
        assert self.sidecar
        events = self.sidecar.events[self._seen :]
        self._seen += len(events)
        for event in events:
            self.tally.note(event)
        return self.tally.runs

    def wait_for(self, what: str | Callable[[Event], bool], after: int = 0) -> Event:
        assert self.sidecar
        return self.sidecar.wait_for(what, after)

    def provoke(self, statements: str, until: Callable[[Event], bool]) -> str:
        """Do this to the server, and wait until the sidecar says such a thing; what the server said."""
        assert self.sidecar
        already = len(self.sidecar.events)
        said = self.server.psql(statements)
        self.nudge()
        self.wait_for(until, already)
        return said

    def let_run(self, number: int) -> None:
        """Until so many more backups are reported. Raises AssertionError with its last words if that never comes."""
        assert self.sidecar
        wanted = self.look() + number
        deadline = time.monotonic() + PATIENCE + NUDGE * number
        nudged = time.monotonic()
        while self.look() < wanted:
            if time.monotonic() > deadline or self.sidecar.process.poll() is not None:
                raise AssertionError("no backup comes any more\n" + "".join(self.sidecar.raw[-40:]))
            if time.monotonic() - nudged > NUDGE:
                nudged = time.monotonic()
                self.nudge()
            time.sleep(0.05)

    def nudge(self) -> None:
        assert self.sidecar
        self.sidecar.signal(signal.SIGUSR1)

    # --- others on this machine ---

    def by_hand(self, *words: str) -> dict[str, Any]:
        return dwebbackup(self.folder, *words, **self.settings)


def in_background(work: Callable[[], object]) -> Callable[[], None]:
    """Begin *work*; what is returned waits for its end, and raises what it raised."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def wait() -> None:
        thread.join()
        for failure in failures:
            raise failure

    return wait
