"""What `doctor` says of a PostgreSQL source: would a backup find the server, its tools, its rights and enough room?"""

from __future__ import annotations

from collections.abc import Iterator

from dwebbackup.errors import DatabaseRefused, ToolMissing
from dwebbackup.ports import Finding
from dwebbackup.report.wording import count, size
from dwebbackup.sources.postgres import census, rights, room, standby
from dwebbackup.sources.postgres.connection import Connection, Server, execute
from dwebbackup.sources.postgres.tools import PROGRAMS, choose
from dwebbackup.sources.postgres.unseen import unseen

OTHER_SESSIONS = 2
"""Besides the readers: the one that holds the locks, and that of `pg_dump`."""


def check(server: Server, jobs: int, bin_folder: str | None) -> Iterator[Finding]:
    """Nothing is locked or written. Raises `DatabaseRefused` when the server cannot be asked."""
    with server.connect() as connection:
        yield _server(connection, server.url)
        yield _tools(connection, bin_folder)
        yield _rights(connection)
        yield _locks(connection)
        yield from _sessions(connection, jobs + OTHER_SESSIONS)
        yield from _standby(connection)
        yield from _shortfalls(connection)


def _server(connection: Connection, url: str) -> Finding:
    version = connection.info.parameter_status("server_version")
    taken = execute(connection, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")[0][0]
    return Finding("server", "ok", f"{url} is PostgreSQL {version}; the database takes {size(taken)} there")


def _tools(connection: Connection, bin_folder: str | None) -> Finding:
    try:
        tools = choose(census.major_of(connection), bin_folder)
    except ToolMissing as error:
        return Finding.of("client programs", error)
    return Finding("client programs", "ok", f"{', '.join(PROGRAMS)} {tools.version} in {tools.folder}")


def _locks(connection: Connection) -> Finding:
    tables = len(census.lockable(connection))
    most = room.locks(connection)
    told = f"the server has room for {count(most, 'lock')}, and {count(tables, 'table')} will be locked"
    if room.HOLDERS * tables <= most:
        return Finding("locks", "ok", told)
    return Finding("locks", "warning", told, room.hint(connection, tables))


def _sessions(connection: Connection, needed: int) -> Iterator[Finding]:
    """Limits of the role and of the database; the server's own is everybody's, and changes all the time."""
    role, database = execute(
        connection,
        """SELECT (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user),
        (SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())""",
    )[0]
    for what, limit in (("role", role), ("database", database)):
        if 0 <= limit < needed:
            yield Finding(
                "sessions",
                "warning",
                f"a backup opens {needed} sessions, and this {what} may have {limit}",
                f"use fewer --jobs, or ALTER {what.upper()} … CONNECTION LIMIT {needed}",
            )


def _standby(connection: Connection) -> Iterator[Finding]:
    if standby.is_standby(connection):
        delay, feedback = execute(
            connection, "SELECT current_setting('max_standby_streaming_delay'), current_setting('hot_standby_feedback')"
        )[0]
        yield Finding(
            "standby",
            "notice",
            f"this is a standby, with max_standby_streaming_delay {delay} and hot_standby_feedback {feedback}",
            "a backup that lasts longer than that delay is cancelled where the primary changes or cleans what it reads",
        )


def _rights(connection: Connection) -> Finding:
    try:
        rights.require(connection)
    except DatabaseRefused as error:
        return Finding.of("rights", error)
    return Finding("rights", "ok", "the role may read all that a backup reads")


def _shortfalls(connection: Connection) -> Iterator[Finding]:
    """What a backup would note as not in it."""
    for sentence in (*standby.notes(connection), *unseen(connection)):
        yield Finding("not in a backup", "notice", sentence)
