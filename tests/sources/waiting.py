"""Waiting for what a server shows, rather than for time to pass."""

from __future__ import annotations

from typing import Any

import psycopg


def wait_for(uri: str, query: str) -> Any:
    """Ask until there is an answer."""
    with psycopg.connect(uri, autocommit=True) as connection:
        while True:
            rows = connection.execute(query).fetchall()
            if rows and rows[0][0]:
                return rows[0][0]
            connection.execute("SELECT pg_sleep(0.01)")
