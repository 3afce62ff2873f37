"""The database of the soak: how it is made, what must hold in it at every moment, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from dwebbackup.scratch.postgres import ScratchPostgres

DATABASE = "app"

RULES = {
    "the ledger has no gap": "SELECT count(*) = max(n) + 1 FROM ledger",
    "money is neither made nor lost": "SELECT sum(balance) = 1000 * count(*) FROM accounts",
    "every child has a parent": "SELECT NOT EXISTS (SELECT parent FROM children EXCEPT SELECT id FROM parents)",
    "every file has its content": "SELECT coalesce(bool_and(md5(lo_get(content)) = digest), true) FROM files",
    "no content is without a file": """SELECT NOT EXISTS
        (SELECT oid FROM pg_largeobject_metadata EXCEPT SELECT content FROM files)""",
    "the cache is full": "SELECT count(*) = 500 FROM cache",
}

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'soak' AND tablename <> 'ledger' ORDER BY 1"
_LAST = "SELECT n, checksum FROM ledger ORDER BY n DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class State:
    """Where a database stands, and what is wrong with it."""

    n: int
    """The number of its last transaction."""
    checksum: int
    broken: tuple[str, ...] = ()


def fill(server: ScratchPostgres) -> None:
    server.psql(f"CREATE DATABASE {DATABASE}")
    server.execute_file(Path(__file__).with_name("ledger.sql"), DATABASE)


def examine(uri: str) -> State:
    """All rules, in one snapshot."""
    with psycopg.connect(uri, options="-c search_path=soak") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        n, checksum = connection.execute(_LAST).fetchone()
        broken = [rule for rule, query in RULES.items() if connection.execute(query).fetchone() != (True,)]
        tables = [name for (name,) in connection.execute(_TABLES)]
        found = sum(connection.execute("SELECT total(%s)", (name,)).fetchone()[0] for name in tables)
        if found != checksum:
            broken.append(f"the rows are those of the ledger's checksum ({found}, not {checksum})")
        broken += _behind(connection, tables)
    return State(n, int(checksum), tuple(broken))


def _behind(connection: psycopg.Connection, tables: list[str]) -> list[str]:
    """Sequences that would give a number a second time."""
    behind = []
    for table in tables:
        if sequence := _sequence(connection, table):
            schema, name = sequence.split(".")
            query = SQL("SELECT last_value >= coalesce((SELECT max(id) FROM {}), 0) FROM {}")
            query = query.format(Identifier(table), Identifier(schema, name))
            if connection.execute(query).fetchone() != (True,):
                behind.append(f"{sequence} is not behind its table")
    return behind


def _sequence(connection: psycopg.Connection, table: str) -> str | None:
    """What gives a table its numbers."""
    query = """SELECT pg_get_serial_sequence(attrelid::regclass::text, attname) FROM pg_attribute
        WHERE attrelid = %s::regclass AND attname = 'id'"""
    found = connection.execute(query, (table,)).fetchone()
    return found[0] if found else None
