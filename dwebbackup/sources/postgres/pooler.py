"""Tells whether a session is ours alone, or a pooler's that gives it to somebody else after each transaction.

A backup and a restore need sessions of their own: locks and snapshots live in them, and `pg_dump` sets a `search_path`
that the app would find in its own sessions afterwards. Asking changes nothing: only who answers is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from dwebbackup.errors import DatabaseRefused

ROUNDS = 8
"""Times that two sessions ask where a pooler is in between. Whichever idle session it gives next, the newest, the
oldest or any, two who ask in turns soon meet the same, or one of them meets two."""

Connection = psycopg.Connection[tuple[Any, ...]]

Backend = tuple[int, bytes]
"""A process of a server: its id, and when the server was started."""

_WHO = b"""BEGIN READ ONLY; SET LOCAL statement_timeout = 0;
    SELECT pg_catalog.pg_backend_pid(), pg_catalog.timestamptz_send(pg_catalog.pg_postmaster_start_time()); COMMIT"""
"""In one message, which passes a pooler in any of its modes. A time as text would depend on the session's settings."""


def require_own_sessions(ours: Connection, another: Callable[[], Connection], where: str) -> None:
    """Raises `DatabaseRefused` when a pooler shares sessions, or each connection ends at another server.

    *ours* is in autocommit; *another* connects the same way once more. What psycopg raises passes through.
    """
    with another() as other:
        mine, theirs = [_backend(ours)], [_backend(other)]
        if mine[0][1] != theirs[0][1]:
            raise DatabaseRefused(
                f"one connection to {where} ends at another server than the next one does",
                "all of a backup or restore needs one server: give the address of one behind the balancer",
            )
        if is_proxied(ours):
            for turn in range(ROUNDS):
                mine.append(_backend(ours))
                theirs += [_backend(other) for _ in range(1 + turn % 2)]  # out of step, else two may take turns with us
        if len({*mine}) > 1 or len({*theirs}) > 1 or {*mine} & {*theirs}:
            raise DatabaseRefused(
                f"{where} is a pooler that gives each transaction another session (pool_mode transaction or statement)",
                "connect to the server itself, past the pooler, or to an entry of it with pool_mode=session",
            )


def _backend(connection: Connection) -> Backend:
    cursor = connection.execute(_WHO, prepare=False)
    while cursor.description is None:  # what BEGIN and SET say
        cursor.nextset()
    pid, started = cursor.fetchall()[0]
    return int(pid), bytes(started)


def is_proxied(connection: Connection) -> bool:
    """Poolers give a client another process id than the server's, so that it cancels by way of them."""
    return connection.info.backend_pid != _backend(connection)[0]
