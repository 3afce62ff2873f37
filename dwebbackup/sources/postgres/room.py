"""For how many locks a server has room, and which setting would give a backup enough."""

from __future__ import annotations

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres.connection import Connection, execute

SETTING = "max_locks_per_transaction"

HOLDERS = 3
"""Each table is locked by the session that holds the snapshot, by `pg_dump`, and by who reads its rows."""

_SESSIONS = """(current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)"""


def locks(connection: Connection) -> int:
    """At least so many, of everybody on the server."""
    return int(execute(connection, f"SELECT current_setting('{SETTING}')::int * {_SESSIONS}")[0][0])


def enough_for(connection: Connection, tables: int) -> int:
    """What the setting has to be so that a backup of so many tables finds room beside what the app uses."""
    row = execute(connection, f"SELECT current_setting('{SETTING}')::int, {_SESSIONS}")[0]
    setting, sessions = map(int, row)
    return setting + -(-HOLDERS * tables // sessions)


def hint(connection: Connection, tables: int) -> str:
    """Which setting to change, and how."""
    return f"set {SETTING} to {enough_for(connection, tables)} or more, and restart the server"


def too_small(connection: Connection, tables: int) -> DatabaseRefused:
    """The error for a server whose table of locks was full."""
    return DatabaseRefused(f"the server has no room for locks on {tables} tables", hint(connection, tables))


def says_too_small(message: str) -> bool:
    """Whether that is what a program's error message means: the setting's name is the same in every language."""
    return SETTING in message
