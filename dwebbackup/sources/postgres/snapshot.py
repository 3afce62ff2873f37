"""Locks, then the snapshot, then the readers inside it: so that nothing can be truncated or dropped under them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres import census
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, settings_sql
from dwebbackup.sources.postgres.psql import LOCK_TIMEOUT, Psql

ROUNDS = 10

AT_ONCE = 500
"""Tables a LOCK statement names."""

_PASSING = (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedObject)

StartReader = Callable[[str, str], Psql]
"""Starts a psql, given the snapshot's name and statements to run first."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An exported snapshot, and the readers that already joined it."""

    name: str
    taken: float
    readers: tuple[Psql, ...]


def open_snapshot(connection: Connection, start: StartReader, readers: int) -> Snapshot:
    """Lock every table, export the snapshot, and let the readers lock and join.

    `LOCK TABLE` takes no snapshot, so what the snapshot then shows cannot be truncated, rewritten or dropped
    any more; with the snapshot first, a table truncated before its COPY would read as empty, without an error.
    A table that is new in the snapshot was not locked: then once more. The readers lock as well, at once:
    otherwise an ALTER that waits for us would make their COPY wait for it, for ever.
    Raises `DatabaseRefused`.
    """
    doubt = ""
    for _ in range(ROUNDS):
        try:
            return _try(connection, start, readers)
        except _Again as again:
            doubt = str(again)
            execute(connection, "ROLLBACK")
    raise DatabaseRefused(
        f"the tables could not be locked against being dropped or truncated during the backup: {doubt}",
        "another session holds a strong lock (ALTER, TRUNCATE, VACUUM FULL, CLUSTER); "
        "pg_stat_activity shows which; run the backup again when it is done",
    )


class _Again(Exception):  # not an error: a reason for another round
    pass


def _try(connection: Connection, start: StartReader, readers: int) -> Snapshot:
    wanted = census.lockable(connection)
    execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for statement in settings_sql(connection.info.server_version, {"lock_timeout": f"{LOCK_TIMEOUT}s"}).splitlines():
        execute(connection, statement)
    statements = lock_statements(wanted)
    try:
        for statement in statements:
            execute(connection, statement)
    except DatabaseRefused as error:
        if isinstance(error.__cause__, _PASSING):
            raise _Again(str(error.__cause__).strip().partition("\n")[0]) from error
        raise _with_room(error, len(wanted)) from error
    name = str(execute(connection, "SELECT pg_catalog.pg_export_snapshot()")[0][0])
    taken = clock.now()
    if census.lockable(connection) != wanted:
        raise _Again("tables were made, dropped or renamed meanwhile")
    enough = _locks(connection) > (readers + 2) * len(wanted)
    first = "".join(f"{statement};\n" for statement in statements) if enough else ""
    return Snapshot(name, taken, _join(start, name, first, readers))


def _join(start: StartReader, name: str, first: str, readers: int) -> tuple[Psql, ...]:
    started = [start(name, first) for _ in range(readers)]
    try:
        for psql in started:
            psql.wait_until_ready()
    except DatabaseRefused as error:
        for psql in started:
            psql.end()
        if "lock timeout" in str(error):
            raise _Again("another session came in between with a strong lock") from error
        raise
    return tuple(started)


def lock_statements(tables: Sequence[tuple[int, str, str]]) -> list[str]:
    """Each names tables alone, not their children: those stand in the list themselves."""
    statements = []
    for start in range(0, len(tables), AT_ONCE):
        batch = tables[start : start + AT_ONCE]
        names = ", ".join(f"ONLY {identifier(schema, name)}" for _, schema, name in batch)
        statements.append(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    return statements


def _locks(connection: Connection) -> int:
    """For how many locks the server has room, at least."""
    query = """SELECT current_setting('max_locks_per_transaction')::int * (current_setting('max_connections')::int
        + current_setting('max_prepared_transactions')::int)"""
    return int(execute(connection, query)[0][0])


def _with_room(error: DatabaseRefused, tables: int) -> DatabaseRefused:
    """Where the lock table was full, say which setting is needed."""
    if not isinstance(error.__cause__, psycopg.errors.OutOfMemory):
        return error
    return DatabaseRefused(
        f"the server has no room for locks on {tables} tables: {error}",
        f"set max_locks_per_transaction to {max(64, tables * 2 // 100 + 64)} or more and restart the server",
    )
