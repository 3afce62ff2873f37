"""One moment for several connections: definitions held first, then all writing stopped for that moment, then let go.

MySQL cannot hand a snapshot from one session to another. So nothing is written while the readers begin theirs: under
`FLUSH TABLES WITH READ LOCK`, or where the user may not do that, under `LOCK TABLES … READ` on this database's tables;
with neither right there is one reader. It lasts as long as a few statements, and not as long as the backup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.mysql import census
from dwebbackup.sources.mysql.client import JOIN_TIMEOUT, LOCK_TIMEOUT, Client
from dwebbackup.sources.mysql.connection import Connection, Server, close, execute, identifier
from dwebbackup.sources.mysql.position import position
from dwebbackup.sources.mysql.refusals import CHANGED, LOCKED, NO_RIGHT, ServerRefused

ROUNDS = 5

STILL_TIMEOUT = 10
"""Seconds to wait for those who write: everybody else who wants to write waits behind us meanwhile."""

BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What every reader sees."""

    tables: tuple[census.Table, ...]
    clients: tuple[Client, ...]
    """Those who are in it."""
    taken: float
    """Seconds since 1970."""
    opened: float
    """The same moment, by the monotonic clock."""
    position: tuple[tuple[str, str], ...]
    aligned: str
    """By what the readers began at one moment: `flush`, `tables`, or `single` where there is but one."""


class _Again(Exception):  # not an error: a reason for another round
    pass


def open_snapshot(connection: Connection, server: Server, start: Callable[[], Client], readers: int) -> Snapshot:
    """Hold every table's definition by *connection*, and have as many *readers* begin. Raises `DatabaseRefused`.

    Who holds a definition keeps it as it is: ALTER, DROP, TRUNCATE and RENAME wait until the backup is done. The
    readers hold them as well: otherwise an ALTER that waits for us would make them wait for it, for ever.
    """
    doubt = ""
    for _ in range(ROUNDS):
        try:
            return _try(connection, server, start, readers)
        except _Again as again:
            doubt = str(again)
            execute(connection, "ROLLBACK")
    raise DatabaseRefused(
        f"the tables could not be held against being altered during the backup: {doubt}",
        "another session alters tables, or waits to; SHOW PROCESSLIST tells which; run it again when that is done",
    )


def _try(connection: Connection, server: Server, start: Callable[[], Client], readers: int) -> Snapshot:
    with _told_again():
        tables = _held(connection, server.database)
        clients = [start() for _ in range(readers)]
        try:
            for client in clients:
                client.wait()
            return _joined(server, tables, clients)
        except BaseException:
            for client in clients:
                client.end()
            raise


def _held(connection: Connection, schema: str) -> tuple[census.Table, ...]:
    """All tables, held as they are from now on. Raises `_Again`."""
    tables = census.tables(connection, schema)
    execute(connection, "START TRANSACTION READ ONLY")
    execute(connection, f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT}")
    for table in tables:
        execute(connection, f"SELECT 1 FROM {identifier(schema, table.name)} LIMIT 0")  # noqa: S608  # quoted
    _require_same(census.tables(connection, schema), tables)
    return tuple(tables)


def _joined(server: Server, tables: Sequence[census.Table], clients: Sequence[Client]) -> Snapshot:
    quoted = [identifier(server.database, table.name) for table in tables]
    with _stillness(server, quoted) as (how, gate):
        joining = clients if how != "single" else clients[:1]
        for client in joining:
            client.run(f"SET SESSION lock_wait_timeout = {JOIN_TIMEOUT}", BEGIN)
        for client in joining:
            client.wait()
        _require_same(census.tables(gate, server.database), tables)
        taken, opened, at = clock.now(), clock.monotonic(), position(gate)
    for client in joining:
        client.hold(quoted)
    for client in joining:
        client.wait()
    for client in clients[len(joining) :]:
        client.end()
    return Snapshot(tuple(tables), tuple(joining), taken, opened, at, how)


def _require_same(now: Sequence[census.Table], before: Sequence[census.Table]) -> None:
    if [replace(table, size=0) for table in now] != [replace(table, size=0) for table in before]:
        raise _Again("tables were made, dropped or altered meanwhile")


@contextmanager
def _told_again() -> Iterator[None]:
    """What another session is to blame for is a reason for another round."""
    try:
        yield
    except ServerRefused as error:
        if error.number in LOCKED | CHANGED:
            raise _Again(str(error)) from error
        raise


@contextmanager
def _stillness(server: Server, tables: Sequence[str]) -> Iterator[tuple[str, Connection]]:
    """While this lasts, nothing is written: how that was done, and the connection that does it."""
    gate = server.connect()
    try:
        execute(gate, f"SET SESSION lock_wait_timeout = {STILL_TIMEOUT}")
        yield _stop_writing(gate, tables), gate
        execute(gate, "UNLOCK TABLES")
    finally:
        close(gate)


def _stop_writing(gate: Connection, tables: Sequence[str]) -> str:
    statements = {"flush": "FLUSH TABLES WITH READ LOCK"}
    if tables:
        statements["tables"] = "LOCK TABLES " + ", ".join(f"{table} READ" for table in tables)
    for how, statement in statements.items():
        try:
            execute(gate, statement)
        except ServerRefused as error:
            if error.number not in NO_RIGHT:
                raise
        else:
            return how
    return "single"
