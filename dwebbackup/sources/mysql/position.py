"""Where the server's binary log stood at the moment of a snapshot, where the user may ask."""

from __future__ import annotations

from collections.abc import Iterator

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.mysql.connection import Connection, execute, version_of


def position(connection: Connection) -> tuple[tuple[str, str], ...]:
    """`binlog` and `gtid`; nothing where there is no such log, or the user has no right to know."""
    try:
        return tuple(_position(connection))
    except DatabaseRefused as error:
        if getattr(error, "number", 0):  # the server answered; so it is no more than a right
            return ()
        raise


def _position(connection: Connection) -> Iterator[tuple[str, str]]:
    version = version_of(connection)
    newer = version.flavour == "MySQL" and version.number >= (8, 2)
    rows = execute(connection, "SHOW BINARY LOG STATUS" if newer else "SHOW MASTER STATUS")
    if not rows:
        return
    yield "binlog", f"{rows[0][0]}:{rows[0][1]}"
    if version.flavour == "MySQL":
        gtid = execute(connection, "SELECT @@GLOBAL.gtid_executed")[0][0]
    else:
        gtid = execute(connection, "SELECT @@GLOBAL.gtid_binlog_pos")[0][0]
    if gtid:
        yield "gtid", str(gtid).replace("\n", "")
