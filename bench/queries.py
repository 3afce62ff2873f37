"""A load on the database: point reads and updates by pgbench at a steady rate, and how long each of them took."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.arena import Arena

RATE = 200
"""Queries a second: a few per cent of what the server could answer."""

_CLIENTS = 4
_PATIENCE = 60

_ACCOUNT = "\\set aid random(1, :accounts)\n"
_SCRIPTS = {  # by weight
    "read.sql@4": f"{_ACCOUNT}SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n",
    "update.sql@1": f"{_ACCOUNT}UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n",
}


@dataclass(frozen=True, slots=True)
class Queries:
    """A load that is under way."""

    process: subprocess.Popen[bytes]
    folder: Path

    def latencies(self, since: float, until: float) -> list[float]:
        """Milliseconds of each query that ended meanwhile, from when it was due: waiting in line counts.

        pgbench writes 4 KiB at a time, so those of the last half second may be missing.
        """
        self._check()
        found = []
        for line in self._lines():
            _, _, microseconds, _, second, fraction, *_ = line.split()
            if since <= int(second) + int(fraction) / 1e6 <= until:
                found.append(int(microseconds) / 1000)
        return found

    def wait_until_answered(self) -> None:
        """Until the first answers are in, and the server has what it needs in memory."""
        deadline = time.monotonic() + _PATIENCE
        while not self._lines():
            self._check()
            if time.monotonic() > deadline:
                raise SystemExit("pgbench got no answers")
            time.sleep(0.05)

    def _lines(self) -> list[str]:
        """Whole ones only."""
        logs = [path.read_text() for path in self.folder.glob("log.*")]
        return [line for log in logs for line in log.rpartition("\n")[0].splitlines()]

    def _check(self) -> None:
        if self.process.poll() is not None:
            raise SystemExit(f"pgbench ended: {(self.folder / 'said').read_text()[-2000:]}")


@contextmanager
def queries(arena: Arena) -> Iterator[Queries]:
    """Run the load against the source as long as the context lasts."""
    with TemporaryDirectory(prefix="dwebbackup-bench-") as name:
        folder = Path(name)
        for script, text in _SCRIPTS.items():
            (folder / script.partition("@")[0]).write_text(text)
        command = [
            *(str(arena.server.binaries.pg_dump.with_name("pgbench")), "--no-vacuum", "--time=86400"),
            *(f"--rate={RATE}", f"--client={_CLIENTS}", f"--define=accounts={arena.accounts}"),
            *("--log", f"--log-prefix={folder}/log", *(f"--file={folder}/{script}" for script in _SCRIPTS)),
            arena.environment["SOURCE"],
        ]
        with (folder / "said").open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
            try:
                load = Queries(process, folder)
                load.wait_until_answered()
                yield load
            finally:
                process.terminate()
