"""Locks, then the snapshot, then the readers inside it: so that nothing can be truncated or dropped under them."""

from __future__ import annotations

import fcntl
import select
import termios
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres import census, room
from dwebbackup.sources.postgres.connection import Connection, execute, identifier
from dwebbackup.sources.postgres.psql import LOCK_TIMEOUT, Psql
from dwebbackup.sources.postgres.refusals import GONE, LOCKED, NO_ROOM, ServerRefused
from dwebbackup.sources.process import Child

ROUNDS = 10

AT_ONCE = 500
"""Tables a LOCK statement names."""

StartReader = Callable[[str, str], Psql]
"""Starts a psql, given the snapshot's name and statements to run first."""

StartSchema = Callable[[str], Child]
"""Starts `pg_dump` of the schema, given the snapshot's name."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An exported snapshot, and those who already joined it."""

    name: str
    taken: float
    """Seconds since 1970."""
    opened: float
    """The same moment, by the monotonic clock."""
    readers: tuple[Psql, ...]
    schema: Child


def open_snapshot(connection: Connection, start: StartReader, start_schema: StartSchema, readers: int) -> Snapshot:
    """Lock every table, export the snapshot, and let the readers lock and join.

    `LOCK TABLE` takes no snapshot, so what the snapshot then shows cannot be truncated, rewritten or dropped
    any more; with the snapshot first, a table truncated before its COPY would read as empty, without an error.
    A table that is new in the snapshot was not locked: then once more. The readers lock as well, at once, and so
    does `pg_dump`: otherwise an ALTER that waits for us would make them wait for it, for ever.
    Raises `DatabaseRefused`.
    """
    doubt = ""
    for _ in range(ROUNDS):
        try:
            return _try(connection, start, start_schema, readers)
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


def _try(connection: Connection, start: StartReader, start_schema: StartSchema, readers: int) -> Snapshot:
    _begin(connection, "READ ONLY")
    wanted = census.lockable(connection)
    execute(connection, "COMMIT")
    _begin(connection, "ISOLATION LEVEL REPEATABLE READ READ ONLY")
    statements = lock_statements(wanted)
    try:
        for statement in statements:
            execute(connection, statement)
    except ServerRefused as error:
        if error.sqlstate in LOCKED | GONE:
            raise _Again(str(error.__cause__).strip().partition("\n")[0]) from error
        if error.sqlstate == NO_ROOM:
            execute(connection, "ROLLBACK")
            raise room.too_small(connection, len(wanted)) from error
        raise
    name = str(execute(connection, "SELECT pg_catalog.pg_export_snapshot()")[0][0])
    taken, opened = clock.now(), clock.monotonic()
    if census.lockable(connection) != wanted:
        raise _Again("tables were made, dropped or renamed meanwhile")
    enough = room.locks(connection) > (readers + 2) * len(wanted)
    first = "".join(f"{statement};\n" for statement in statements) if enough else ""
    schema = start_schema(name)
    joined: tuple[Psql, ...] = ()
    try:
        joined = _join(start, name, first, readers)
        _let_lock(connection, schema, name, [oid for oid, _, _ in wanted])
    except BaseException:
        schema.end()
        for psql in joined:
            psql.end()
        raise
    return Snapshot(name, taken, opened, joined, schema)


def _begin(connection: Connection, mode: str) -> None:
    execute(connection, f"BEGIN {mode}; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")


def _join(start: StartReader, name: str, first: str, readers: int) -> tuple[Psql, ...]:
    started = [start(name, first) for _ in range(readers)]
    try:
        for psql in started:
            psql.wait_until_ready()
    except DatabaseRefused as error:
        for psql in started:
            psql.end()
        if isinstance(error, ServerRefused) and error.sqlstate in LOCKED:
            raise _Again("another session came in between with a strong lock") from error
        raise
    return tuple(started)


def schema_session(snapshot: str) -> str:
    """What the session of `pg_dump` is called."""
    return f"dwebbackup schema {snapshot}"


def _let_lock(connection: Connection, schema: Child, snapshot: str, tables: Sequence[int]) -> None:
    """Until `pg_dump` has its locks: it holds as many as there are tables, or prints, which it does at the end."""
    query = """SELECT count(DISTINCT l.relation) FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
        WHERE a.application_name = %s AND l.granted AND l.relation = ANY(%s)"""
    assert schema.process.stdout
    output = schema.process.stdout.fileno()
    pause = 0.01
    while not select.select([output], [], [], pause)[0]:
        pause = min(2 * pause, 0.5)
        if execute(connection, query, (schema_session(snapshot), list(tables)))[0][0] == len(tables):
            return
    # It tells no SQLSTATE, and the server's words may be in any language; its own are English.
    if not _waiting(output) and schema.process.wait() and "LOCK TABLE" in schema.errors():
        if room.says_too_small(schema.errors()):
            raise room.too_small(connection, len(tables))
        raise _Again("another session came in between with a strong lock")


def _waiting(pipe: int) -> int:
    """How many bytes can be read; 0 at the end."""
    size = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, size)
    return size[0]


def lock_statements(tables: Sequence[tuple[int, str, str]]) -> list[str]:
    """Each names tables alone, not their children: those stand in the list themselves."""
    statements = []
    for start in range(0, len(tables), AT_ONCE):
        batch = tables[start : start + AT_ONCE]
        names = ", ".join(f"ONLY {identifier(schema, name)}" for _, schema, name in batch)
        statements.append(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    return statements
