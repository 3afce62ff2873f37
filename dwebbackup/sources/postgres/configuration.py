"""Extensions' configuration tables: in which order they are filled, and what if a key is there already."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Sequence

from dwebbackup.manifest import SourceFacts, StreamRecord
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, refused, settings_sql

_REFERENCES = """SELECT n.nspname, c.relname, n_to.nspname, c_to.relname
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class c_to ON c_to.oid = k.confrelid
    JOIN pg_catalog.pg_namespace n_to ON n_to.oid = c_to.relnamespace
    WHERE k.contype = 'f' AND k.conrelid <> k.confrelid"""

Tables = Sequence[Sequence[StreamRecord]]
"""The streams of each table."""


def in_order(connection: Connection, tables: Tables) -> Tables:
    """These configuration tables, so that each row finds what it refers to.

    Their foreign keys come with the extension, before any row; those of other tables come after all rows.
    """
    by_path = {parts[0].path: parts for parts in tables}
    graph: dict[tuple[str, ...], set[tuple[str, ...]]] = {path: set() for path in by_path}
    for schema, name, to_schema, to_name in execute(connection, _REFERENCES):
        if (schema, name) in graph and (to_schema, to_name) in graph:
            graph[schema, name].add((to_schema, to_name))
    try:
        return [by_path[path] for path in graphlib.TopologicalSorter(graph).static_order()]
    except graphlib.CycleError:
        return tables  # no order is right then; the server says so, unless their rows refer to nothing


def merge(connection: Connection, facts: SourceFacts, parts: Sequence[StreamRecord], chunks: Iterable[bytes]) -> str:
    """Fill a table in which this version of its extension has put rows of its own with the same keys: they stay.

    Reference systems that users of PostGIS entered themselves come with a later PostGIS, for example.
    """
    table, columns = identifier(*parts[0].path), ", ".join(map(identifier, parts[0].columns))
    with refused(f"filling {table}"), connection.transaction(), connection.cursor() as cursor:
        cursor.execute(settings_sql(connection.info.server_version).encode())
        rows = f"SELECT {columns} FROM {table} WITH NO DATA"  # noqa: S608  # quoted
        cursor.execute(f"CREATE TEMPORARY TABLE merged ON COMMIT DROP AS {rows}".encode())
        with cursor.copy(f"COPY pg_temp.merged FROM STDIN WITH (ENCODING '{facts.encoding}')".encode()) as copy:
            for chunk in chunks:
                copy.write(chunk)
        there = cursor.rowcount
        rows = f"SELECT {columns} FROM pg_temp.merged ON CONFLICT DO NOTHING"  # noqa: S608
        cursor.execute(f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE {rows}".encode())
        return f"{there - cursor.rowcount} rows of {table} were left out: its extension has others with the same keys"
