"""PostgreSQL for tests: two real servers a session, and a new database whenever a test asks for one."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dwebbackup.scratch.postgres import Binaries, ScratchPostgres, find_postgres
from sources.nasty import fill_nasty, with_extension

# Empty clusters, kept between sessions so that a server starts in a third of the time.
CACHE = Path(__file__).parents[1] / ".cache" / "postgres"

SETTINGS = {
    "wal_level": "logical",
    "max_connections": "60",
    "max_prepared_transactions": "10",
    "max_locks_per_transaction": "1024",
}

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """One database on a scratch server; it may not exist yet."""

    server: ScratchPostgres
    name: str

    @property
    def uri(self) -> str:
        """Through the unix socket."""
        return self.server.uri(self.name)

    @property
    def tcp_uri(self) -> str:
        """Over 127.0.0.1, with a password."""
        return self.server.tcp_uri(self.name)

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.name)

    def execute_file(self, path: Path, variables: Mapping[str, str] | None = None) -> str:
        return self.server.execute_file(path, self.name, variables)

    def exists(self) -> bool:
        return self.server.psql(f"SELECT count(*) FROM pg_database WHERE datname = {literal(self.name)}") == "1"

    def drop(self) -> None:
        """Forget it, if it is there, with whoever is connected to it."""
        self.server.psql(f"DROP DATABASE IF EXISTS {identifier(self.name)} WITH (FORCE)")


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@contextmanager
def new_database(
    server: ScratchPostgres, name: str = "", *, template: str = "template0", options: str = ""
) -> Iterator[Database]:
    """A fresh copy of *template*, empty by default, with *options* of CREATE DATABASE; dropped afterwards."""
    with free_name(server, name) as database:
        server.psql(f"CREATE DATABASE {identifier(database.name)} TEMPLATE {identifier(template)} {options}")
        yield database


@contextmanager
def free_name(server: ScratchPostgres, name: str = "") -> Iterator[Database]:
    """A database that does not exist yet; dropped afterwards should it exist then."""
    database = Database(server, name or f"test_{next(_numbers)}")
    database.drop()
    try:
        yield database
    finally:
        database.drop()


@pytest.fixture(scope="session")
def pg_binaries() -> Iterator[Binaries]:
    """The machine's PostgreSQL, whose servers know the test extension as well. A missing one fails the test."""
    found = find_postgres(os.environ.get("DWEBBACKUP_POSTGRES_BIN", ""))
    with ScratchPostgres(found, template=template(found, "source")) as server:
        binaries = with_extension(server, server.folder / "programs")  # so they go with it, however we end
        server.stop()
        yield binaries


@pytest.fixture(scope="session")
def pg_server(pg_binaries: Binaries) -> Iterator[ScratchPostgres]:
    """The server to back up from, through a unix socket or TCP; each test worker has its own."""
    with _server(pg_binaries, "source") as server:
        yield server


@pytest.fixture(scope="session")
def pg_target(pg_binaries: Binaries) -> Iterator[ScratchPostgres]:
    """A second server of the same kind, with another system identifier, to restore to."""
    with _server(pg_binaries, "target") as server:
        yield server


@pytest.fixture
def fresh_server(pg_binaries: Binaries) -> Iterator[ScratchPostgres]:
    """A server for one test alone: without anybody's roles, and free to be stopped or killed."""
    with _server(pg_binaries, "target") as server:
        yield server


@pytest.fixture
def database(pg_server: ScratchPostgres) -> Iterator[Database]:
    """A fresh empty database on the source server."""
    with new_database(pg_server) as database:
        yield database


@pytest.fixture(scope="session")
def nasty(pg_server: ScratchPostgres) -> Iterator[Database]:
    """A database with everything in it that backup tools trip over. It is shared: nobody may change it."""
    with new_database(pg_server, """Nasty "db" it's %41 & ü""") as database:
        fill_nasty(pg_server, database.name)
        yield database


@pytest.fixture
def target_database(pg_target: ScratchPostgres) -> Iterator[Database]:
    """The name of a database on the target server that does not exist yet."""
    with free_name(pg_target) as database:
        yield database


def _server(binaries: Binaries, kind: str) -> ScratchPostgres:
    return ScratchPostgres(binaries, tcp=True, settings=SETTINGS, template=template(binaries, kind))


def template(binaries: Binaries, kind: str) -> Path:
    """A cluster a kind: copies of one share its system identifier, and source and target must not."""
    made_by = f"{binaries.initdb} {binaries.version}"
    return CACHE / f"{kind}-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"
