"""Waiting for what a server shows, rather than for time to pass."""

from __future__ import annotations

import time
from typing import Any

import psycopg

PATIENCE = 120
"""Seconds, on a machine that has other things to do."""


def wait_for(uri: str, query: str) -> Any:
    """Ask until there is an answer. A test that waits for what never comes fails, rather than hangs."""
    deadline = time.monotonic() + PATIENCE
    with psycopg.connect(uri, autocommit=True) as connection:
        while time.monotonic() < deadline:
            rows = connection.execute(query).fetchall()
            if rows and rows[0][0]:
                return rows[0][0]
            connection.execute("SELECT pg_sleep(0.01)")
    raise TimeoutError(f"there never was an answer to {query}")
