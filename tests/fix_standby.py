"""A hot standby for tests: a second real server that follows the first by streaming replication."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dwebbackup.scratch.postgres import Binaries, ScratchPostgres
from fix_postgres import SETTINGS, template

PATIENCE = 60
"""Seconds for what takes a few milliseconds."""


class _Standby(ScratchPostgres):
    """Its cluster is not made anew, but copied from its primary."""

    def __init__(self, primary: ScratchPostgres, settings: Mapping[str, str]) -> None:
        super().__init__(primary.binaries, settings=settings)
        self._primary = primary

    def _initdb(self, data: Path, account: Mapping[str, Any]) -> None:
        at = f"host={self._primary.folder} port={self._primary.port} user=postgres"
        command = [
            *(self.binaries.initdb.with_name("pg_basebackup"), f"--pgdata={data}", f"--dbname={at}"),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--wal-method=stream"),
        ]
        done = subprocess.run(command, cwd=data.parent, capture_output=True, text=True, check=False, **account)
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary and its standby."""

    primary: ScratchPostgres
    standby: ScratchPostgres

    def follow(self) -> None:
        """Until the standby has all that the primary has now."""
        there = self.primary.psql("SELECT pg_current_wal_insert_lsn()")
        deadline = time.monotonic() + PATIENCE
        while self.standby.psql(f"SELECT pg_last_wal_replay_lsn() >= '{there}'") != "t":
            assert time.monotonic() < deadline, f"the standby does not follow\n{self.standby.log()[-2000:]}"
            self.primary.psql("SELECT pg_log_standby_snapshot()" if self.primary.binaries.major > 15 else "SELECT 1")
            time.sleep(0.01)


@pytest.fixture(scope="session")
def pair(pg_binaries: Binaries) -> Iterator[Pair]:
    """The standby waits for nobody: whoever is in the way of what it follows is ended at once."""
    settings = SETTINGS | {"autovacuum": "off"}  # which would be in the way at any time
    with ScratchPostgres(pg_binaries, settings=settings, template=template(pg_binaries, "source")) as primary:
        waiting = {"max_standby_streaming_delay": "0", "hot_standby_feedback": "off"}
        with _Standby(primary, settings | waiting) as standby:
            yield Pair(primary, standby)
