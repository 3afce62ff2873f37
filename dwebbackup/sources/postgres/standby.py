"""What a hot standby lacks: rows of unlogged tables and values of unlogged sequences, which its primary alone has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres import refusals
from dwebbackup.sources.postgres.connection import Connection, execute, identifier
from dwebbackup.sources.postgres.refusals import ServerRefused

NAMED = 20
"""So many tables and sequences a note names."""

_UNLOGGED = """SELECT n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence = 'u' AND c.relkind IN ('r', 'S') AND n.nspname !~ '^pg_'
    ORDER BY c.relkind DESC, n.nspname, c.relname"""


def is_standby(connection: Connection) -> bool:
    return bool(execute(connection, "SELECT pg_catalog.pg_is_in_recovery()")[0][0])


def notes(connection: Connection) -> Iterator[str]:
    """What a backup of a standby comes short of."""
    names = [identifier(*row) for row in execute(connection, _UNLOGGED)] if is_standby(connection) else []
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield (
            "taken from a standby, which has no rows of unlogged tables and no values of unlogged sequences: "
            f"{', '.join(names[:NAMED])}{more}"
        )


@contextmanager
def explained(connection: Connection) -> Iterator[None]:
    """Where a session was lost and nobody says why, a standby has most likely ended it for its primary's sake."""
    standby = is_standby(connection)
    try:
        yield
    except ServerRefused as error:
        if standby and not error.sqlstate and error.hint in ("", refusals.LOST):
            error.hint = refusals.STANDBY
        raise


def require_primary(connection: Connection, where: str) -> None:
    """Raises `DatabaseRefused`."""
    if is_standby(connection):
        raise DatabaseRefused(
            f"{where} is a standby, into which nobody can write",
            "restore onto its primary; an address with several hosts finds it by target_session_attrs=read-write",
        )
