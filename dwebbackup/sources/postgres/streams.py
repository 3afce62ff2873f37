"""Which streams a snapshot consists of, what psql is asked for each, and in which order they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dwebbackup.manifest import StreamSpec
from dwebbackup.sources.postgres import census, cutting, largeobjects
from dwebbackup.sources.postgres.census import Table
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, literal, major

SCHEMA_ESTIMATE = 64 * 1024


def streams(
    connection: Connection, tables: Iterable[Table], kept: Mapping[str, bytes], jobs: int, piece: int
) -> Iterator[StreamSpec]:
    """The schema first, since it is there already; then rows, what takes longest first; then what was *kept*."""
    yield StreamSpec("schema", estimate=SCHEMA_ESTIMATE)
    yield from _large_objects(connection)
    pieces = _pieces(list(tables), connection.info.server_version, jobs, piece)
    yield from sorted(pieces, key=lambda spec: (-spec.estimate, spec.path, spec.part))
    for kind, data in kept.items():
        yield StreamSpec(kind, estimate=len(data))


def _large_objects(connection: Connection) -> Iterator[StreamSpec]:
    if census.has_large_objects(connection):
        size = _size(connection, "pg_catalog.pg_largeobject")
        yield StreamSpec("largeobjects", estimate=size, tag=largeobjects.PAGES)
        size = _size(connection, "pg_catalog.pg_largeobject_metadata")
        yield StreamSpec("largeobjectowners", estimate=size, tag=largeobjects.OWNERS)


def _pieces(tables: Sequence[Table], version: int, jobs: int, piece: int) -> Iterator[StreamSpec]:
    """A stream a table, or several where it is cut."""
    total = sum(table.size for table in tables)
    may_cut = major(version) >= cutting.SINCE
    for table in tables:
        if table.of_extension:
            what = _selected(table, table.condition)
            yield StreamSpec("configuration", table.path, table.columns, table.size, what)
            continue
        parts = cutting.ranges(table.size, table.pages, total, jobs, piece) if may_cut else cutting.WHOLE
        for number, pages in enumerate(parts):
            what = _selected(table, cutting.condition(pages)) if len(parts) > 1 else _whole(table)
            yield StreamSpec("rows", table.path, table.columns, table.size // len(parts), what, number)


def _whole(table: Table) -> str:
    """For COPY."""
    columns = f" ({', '.join(map(identifier, table.columns))})" if table.columns else ""
    return f"{identifier(*table.path)}{columns}"


def _selected(table: Table, condition: str) -> str:
    """For COPY: only some rows."""
    columns = ", ".join(map(identifier, table.columns))
    return f"(SELECT {columns} FROM ONLY {identifier(*table.path)} {condition})"  # noqa: S608  # quoted


def _size(connection: Connection, relation: str) -> int:
    query = f"SELECT pg_catalog.pg_total_relation_size({literal(relation)}::regclass)"
    return int(execute(connection, query)[0][0])
