"""How a database stands before anybody thinks of restoring into it: absent, empty, without a row, or full.

Whatever cannot be told for certain is refused: a database that is taken for empty gets an old backup, and one that is
taken for a new project's starts a history from nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dwebbackup.errors import DatabaseRefused
from dwebbackup.ports import Condition
from dwebbackup.sources.postgres import census, databases, rights, standby, swap
from dwebbackup.sources.postgres.census import Table
from dwebbackup.sources.postgres.connection import Connection, Server, execute, identifier
from dwebbackup.sources.postgres.objects import user_objects

LOCK_TIMEOUT = 10_000
"""Milliseconds to wait for a table that somebody is changing; whoever asks comes again."""

AT_ONCE = 100
"""Tables asked about in one statement: it locks them all, with their indexes, and the server has room for some."""

_READABLE = """SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'r'
    AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
    AND NOT pg_catalog.row_security_active(c.oid)"""


def condition(server: Server) -> Condition:
    """What `Source.condition` promises.

    A database with objects and no table is *rowless*, too: nothing is restored into it either way, and where backups
    have rows, one that holds none is a reason to ask somebody rather than to go on.
    """
    try:
        connection = server.connect()
    except DatabaseRefused:
        if _is_absent(server):
            return Condition("absent")
        raise
    with connection:
        execute(connection, f"SET lock_timeout = {LOCK_TIMEOUT}")
        identity = census.database(connection).identity
        objects = tuple(user_objects(connection))
        if not objects:
            return Condition("empty", identity)
        return Condition("full" if _has_rows(connection) else "rowless", identity, objects)


def _is_absent(server: Server) -> bool:
    """Whether the server says so in its catalog: why it lets nobody in, it says in any language.

    False where it cannot be asked; why the database itself was not reached then says more. A standby never has the
    last word.
    """
    if not server.database:
        return False
    try:
        with swap.control(server) as connection:
            return not databases.exists(connection, server.database)
    except DatabaseRefused:
        return False


def _has_rows(connection: Connection) -> bool:
    """Large objects are as good as rows. Raises `DatabaseRefused` when those that may be read have none, and some
    may not.
    """
    if census.has_large_objects(connection):
        return True
    readable = {oid for (oid,) in execute(connection, _READABLE)}
    away = standby.is_standby(connection)
    tables = sorted(census.tables(connection), key=lambda table: -table.pages)  # where there are rows is soon found
    asked = [table for table in tables if table.oid in readable and not (away and table.unlogged)]
    if any(_one_has_rows(connection, asked[start : start + AT_ONCE]) for start in range(0, len(asked), AT_ONCE)):
        return True
    rights.require(connection)
    _require_logged(table for table in tables if away and table.unlogged)
    return False


def _one_has_rows(connection: Connection, tables: Sequence[Table]) -> bool:
    """Whether there is one row in any of them; of an extension's, one that it says is the user's."""
    asked = " OR ".join(f"EXISTS (SELECT FROM ONLY {identifier(*table.path)} {table.condition})" for table in tables)
    return bool(execute(connection, f"SELECT {asked}")[0][0])


def _require_logged(unlogged: Iterable[Table]) -> None:
    names = [identifier(*table.path) for table in unlogged]
    if names:
        raise DatabaseRefused(
            f"whether there are rows in {', '.join(names[: standby.NAMED])} only the primary knows: they are unlogged",
            "name the primary as the source while the database has no other rows",
        )
