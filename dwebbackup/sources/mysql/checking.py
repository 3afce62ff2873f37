"""What `doctor` says of a MySQL or MariaDB source: would a backup find the server, its client and its rights?"""

from __future__ import annotations

from collections.abc import Iterator

from dwebbackup.errors import DatabaseRefused, ToolMissing
from dwebbackup.ports import Finding
from dwebbackup.report.wording import size
from dwebbackup.sources.mysql import census, rights
from dwebbackup.sources.mysql.connection import Connection, Server, close, execute, version_of
from dwebbackup.sources.mysql.tools import choose

OTHER_SESSIONS = 2
"""Besides the readers: the one that holds the definitions, and the one that stops writing for a moment."""


def check(server: Server, jobs: int, bin_folder: str | None) -> Iterator[Finding]:
    """Nothing is locked or written. Raises `DatabaseRefused` when the server cannot be asked."""
    connection = server.connect(server.database)
    try:
        yield _server(connection, server)
        yield _client(connection, bin_folder)
        yield from _rights(connection, server.database)
        yield from _sessions(connection, jobs + OTHER_SESSIONS)
        yield from _engines(connection, server.database)
    finally:
        close(connection)


def _server(connection: Connection, server: Server) -> Finding:
    taken = sum(table.size for table in census.tables(connection, server.database))
    return Finding("server", "ok", f"{server.url} is {version_of(connection)}; its rows take {size(taken)} there")


def _client(connection: Connection, bin_folder: str | None) -> Finding:
    try:
        tool = choose(version_of(connection), bin_folder)
    except ToolMissing as error:
        return Finding.of("client program", error)
    return Finding("client program", "ok", f"{tool.version} at {tool.path}")


def _rights(connection: Connection, schema: str) -> Iterator[Finding]:
    try:
        rights.require(connection, schema)
    except DatabaseRefused as error:
        yield Finding.of("rights", error)
        return
    found = rights.look(connection, schema)
    if any(map(found.has_everywhere, ("RELOAD", "FLUSH_TABLES"))):
        yield Finding("rights", "ok", "the user may read everything, and stop writing for a moment")
    elif found.has("LOCK TABLES"):
        yield Finding("rights", "ok", "the user may read everything, and lock these tables for a moment")
    else:
        yield Finding(
            "rights",
            "notice",
            "the user may read everything, but only by one session, whatever --jobs says",
            f"GRANT LOCK TABLES ON `{schema}`.* TO it, or RELOAD ON *.*",
        )


def _sessions(connection: Connection, needed: int) -> Iterator[Finding]:
    limit = int(execute(connection, "SELECT @@max_user_connections")[0][0])
    if 0 < limit < needed:
        yield Finding(
            "sessions",
            "warning",
            f"a backup opens {needed} sessions, and this user may have {limit}",
            "use fewer --jobs, or ALTER USER … WITH MAX_USER_CONNECTIONS",
        )


def _engines(connection: Connection, schema: str) -> Iterator[Finding]:
    loose = [f"{table.name} ({table.engine})" for table in census.tables(connection, schema) if not table.consistent]
    if loose:
        yield Finding(
            "engines",
            "warning",
            f"not of one moment with the rest: {', '.join(loose[:10])}",
            "ALTER TABLE … ENGINE = InnoDB",
        )
