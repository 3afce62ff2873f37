"""How a database stands before anybody thinks of restoring into it: absent, empty, without a row, or full."""

from __future__ import annotations

from dwebbackup.errors import DatabaseRefused
from dwebbackup.ports import Condition
from dwebbackup.sources.mysql import census, rights
from dwebbackup.sources.mysql.connection import Connection, Server, close, execute, identifier


def condition(server: Server) -> Condition:
    """What `Source.condition` promises. Whatever cannot be told for certain is refused.

    A user without rights on a database does not see it: so none is called absent or empty before they are known.
    """
    connection = server.connect()
    try:
        rights.require(connection, server.database)
        if not census.exists(connection, server.database):
            return Condition("absent")
        identity = census.identity(connection, server.database)
        objects = tuple(census.objects(connection, server.database))
        if not objects:
            return Condition("empty", identity)
        return Condition("full" if _has_rows(connection, server.database) else "rowless", identity, objects)
    finally:
        close(connection)


def _has_rows(connection: Connection, schema: str) -> bool:
    away = census.elsewhere(connection, schema)
    tables = sorted(census.tables(connection, schema), key=lambda table: -table.size)  # where rows are is soon found
    for table in tables:
        if execute(connection, f"SELECT 1 FROM {identifier(schema, table.name)} LIMIT 1"):  # noqa: S608  # quoted
            return True
    if away:
        raise DatabaseRefused(f"whether there are rows cannot be told of {', '.join(away)}: they lie elsewhere")
    return False
