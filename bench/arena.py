"""Where the contenders meet: one ordinary PostgreSQL server with the database in it, and a clean target for each."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import contenders
from bench.contenders import Contender, Place
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.scratch.programs import find_postgres

SETTINGS = {
    "fsync": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "dynamic_shared_memory_type": "posix",
}

_SOURCE, _TARGET = "source", "target"
_DISK = 5e9
"""Bytes for what is there at once at scale 1: two databases of 1.3 GB, and what some contenders store. So many for
the server's log come on top, at any scale.
"""
_ROWS = "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM events), (SELECT count(*) FROM images)"


@dataclass(frozen=True, slots=True)
class Arena:
    """The database, as seen by the rows of the table."""

    server: ScratchPostgres
    scale: float
    rounds: int
    with_ours: bool
    environment: Mapping[str, str]

    @property
    def accounts(self) -> int:
        """Rows of `pgbench_accounts`, numbered from 1."""
        return int(4000000 * self.scale)

    def size(self) -> int:
        """Bytes of the database on disk."""
        return int(self.server.psql(f"SELECT pg_database_size('{_SOURCE}')"))

    def place(self, contender: Contender) -> AbstractContextManager[Place]:
        return contenders.place(contender, self.environment)

    def clear_target(self) -> None:
        """Leave an empty database to restore into, and nothing for the server to catch up with."""
        self.drop_target()
        self.server.psql(f"CREATE DATABASE {_TARGET}")
        self.server.psql("CHECKPOINT")

    def drop_target(self) -> None:
        self.server.psql(f"DROP DATABASE IF EXISTS {_TARGET} WITH (FORCE)")

    def check_target(self) -> None:
        """Nobody is fast who restored less than everything."""
        if self.server.psql(_ROWS, _TARGET) != self.server.psql(_ROWS, _SOURCE):
            raise SystemExit("the restored database has other rows than the source")

    def change(self) -> None:
        """A day of use. What is measured after this, is measured on a larger database."""
        _run(self.server, "change.sql", self.scale)


@contextmanager
def arena(scale: float, rounds: int, *, with_ours: bool) -> Iterator[Arena]:
    """Start the server and fill the database; both are gone afterwards."""
    _require_disk(scale)
    binaries = find_postgres(os.environ.get("DWEBBACKUP_POSTGRES_BIN", ""))
    with ScratchPostgres(binaries, durable=True, settings=SETTINGS) as server:
        programs = [str(binaries.pg_dump.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PG", "DWEBBACKUP_"))},
            "PATH": os.pathsep.join(programs),
            "SOURCE": server.uri(_SOURCE),
            "TARGET": server.uri(_TARGET),
        }
        _fill(server, scale)
        yield Arena(server, scale, rounds, with_ours, environment)


def _require_disk(scale: float) -> None:
    folder, needed = tempfile.gettempdir(), (scale + 1) * _DISK
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(
            f"{folder} has {free / 1e9:.0f} GB free, and this takes {needed / 1e9:.0f}; TMPDIR names another"
        )


def _fill(server: ScratchPostgres, scale: float) -> None:
    server.psql(f"CREATE DATABASE {_SOURCE}")
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda name: _run(server, name, scale), ("events.sql", "data.sql")):
            pass
    # The first to read new rows has to mark them as committed: let that be us.
    server.psql("VACUUM ANALYZE", _SOURCE)
    server.psql("CHECKPOINT")


def _run(server: ScratchPostgres, name: str, scale: float) -> None:
    server.execute_file(Path(__file__).with_name(name), _SOURCE, {"scale": str(scale)})
