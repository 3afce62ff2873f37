"""Rows back into tables by parallel COPY, indexes built beside it; sequences; statistics."""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from itertools import chain
from typing import NamedTuple, Protocol

import psycopg

from dwebbackup.errors import Damaged, DatabaseRefused
from dwebbackup.manifest import SourceFacts, StreamRecord
from dwebbackup.ports import StreamReader
from dwebbackup.sources.postgres import configuration
from dwebbackup.sources.postgres.connection import (
    Connection,
    Server,
    execute,
    identifier,
    refused,
    settings_sql,
)

BLOCK = 256 * 1024
"""Bytes handed to psycopg at a time."""

ROWS = ("rows", "configuration")


EARLY = 16 * 1024 * 1024
"""Bytes of rows from which a table's indexes are worth a pg_restore of their own."""


class Stopped(Exception):  # never seen outside: another worker's failure is what is raised
    """Another worker failed."""


class Indexes(Protocol):
    """What is built on tables that are full."""

    def of(self, path: Sequence[str]) -> Sequence[int]:
        """What can be built as soon as this one table is full."""

    def build(self, index: int) -> None: ...

    def abort(self) -> None:
        """End what is being built, now."""


def load_rows(
    server: Server,
    database: str,
    facts: SourceFacts,
    streams: Sequence[StreamRecord],
    read: StreamReader,
    jobs: int,
    indexes: Indexes,
) -> tuple[str, ...]:
    """Fill the tables, the largest first, by *jobs* connections; who has none left to fill builds indexes meanwhile.

    Before all others the configuration of extensions, which their types and functions may ask for.
    What was left out. Raises what one of them failed with.
    """
    tables = by_table(streams)
    with server.connect(database) as connection:
        roots = _roots(connection)
        left_out = tuple(_configure(connection, facts, [parts for parts in tables if _configures(parts)], read))
    todo = _Todo(parts for parts in tables if not _configures(parts))

    def fill(connection: Connection, parts: Sequence[StreamRecord]) -> None:
        chunks = chain.from_iterable(map(read, parts))
        root = roots.get(parts[0].path)
        _load_table(connection, facts, parts, _until(todo.stop, chunks), root)
        worth = root is None and sum(part.bytes for part in parts) >= EARLY
        todo.filled(indexes.of(parts[0].path) if worth else ())

    def work() -> None:
        with server.connect(database) as connection:
            while (task := todo.next()) is not None:
                if isinstance(task, _Index):
                    indexes.build(task.id)
                    todo.built(task)
                else:
                    fill(connection, task)

    in_parallel(work, jobs, todo.stop, indexes.abort)
    return left_out


class _Index(NamedTuple):
    id: int
    rest: Sequence[int]
    """Others on the same table. They come after it: a primary key locks out whatever is built beside it."""


class _Todo:
    """Tables to fill, largest first; then, only while others still fill theirs, indexes on those that are full.

    What is not begun when the last table is full is left to pg_restore, which builds several at once.
    """

    def __init__(self, tables: Iterable[Sequence[StreamRecord]]) -> None:
        self._tables = deque(sorted(tables, key=lambda parts: -sum(part.bytes for part in parts)))
        self._filling = 0
        self._ready: deque[_Index] = deque()
        self._changed = threading.Condition()
        self.stop = threading.Event()

    def next(self) -> Sequence[StreamRecord] | _Index | None:
        """Waits while there is nothing to do that may yet come up. None: there is nothing more."""
        with self._changed:
            while not self.stop.is_set():
                if self._tables:
                    self._filling += 1
                    return self._tables.popleft()
                if not self._filling:
                    break
                if self._ready:
                    return self._ready.popleft()
                self._changed.wait(1)  # a failure sets only `stop`
        return None

    def filled(self, indexes: Sequence[int]) -> None:
        with self._changed:
            self._filling -= 1
            self._add(indexes)
            self._changed.notify_all()

    def built(self, index: _Index) -> None:
        with self._changed:
            self._add(index.rest)
            self._changed.notify_all()

    def _add(self, indexes: Sequence[int]) -> None:
        if indexes:
            self._ready.append(_Index(indexes[0], indexes[1:]))


def _configures(parts: Sequence[StreamRecord]) -> bool:
    return parts[0].kind == "configuration"


def _configure(
    connection: Connection, facts: SourceFacts, tables: configuration.Tables, read: StreamReader
) -> Iterator[str]:
    """Fill extensions' own tables; what was left out."""
    for parts in configuration.in_order(connection, tables):
        try:
            _load_table(connection, facts, parts, chain.from_iterable(map(read, parts)), None)
        except DatabaseRefused as error:
            if not isinstance(error.__cause__, psycopg.errors.UniqueViolation):
                raise
            yield configuration.merge(connection, facts, parts, chain.from_iterable(map(read, parts)))


def by_table(streams: Iterable[StreamRecord]) -> list[Sequence[StreamRecord]]:
    """The streams of each table, in the order of its parts. Raises `Damaged` when one is missing."""
    found: dict[tuple[str, tuple[str, ...]], list[StreamRecord]] = {}
    for stream in streams:
        found.setdefault((stream.kind, stream.path), []).append(stream)
    for parts in found.values():
        parts.sort(key=lambda part: part.part)
        if [part.part for part in parts] != list(range(len(parts))) or len({part.columns for part in parts}) > 1:
            raise Damaged(f"the parts of {parts[0].label} do not make a whole")
    return list(found.values())


def in_parallel(
    work: Callable[[], None], jobs: int, stop: threading.Event, abort: Callable[[], None] = lambda: None
) -> None:
    """Run *work* in so many threads; on the first failure tell the others to stop, by *abort* as well, and raise it."""
    with ThreadPoolExecutor(jobs, "load") as pool:
        pending = {pool.submit(work) for _ in range(jobs)}
        try:
            while pending:
                done, pending = wait(pending, timeout=1, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            abort()
            raise


def _until(stop: threading.Event, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if stop.is_set():
            raise Stopped
        yield chunk


_SPREAD_BY_ENUM = """SELECT n.nspname, c.relname, root_n.nspname, root.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class root ON root.oid = pg_catalog.pg_partition_root(c.oid)
    JOIN pg_catalog.pg_namespace root_n ON root_n.oid = root.relnamespace
    WHERE c.relkind = 'r' AND c.relispartition AND EXISTS (
      SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) AS above(oid)
      JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = above.oid
      JOIN pg_catalog.pg_opclass o ON o.oid = ANY (p.partclass)
      WHERE p.partstrat = 'h' AND o.opcname = 'enum_ops')"""


def _roots(connection: Connection) -> dict[tuple[str, ...], tuple[str, str]]:
    """Partitions whose rows may belong into another one here, and the table that spreads them.

    The hash of an enum's value is that of a number which is another one in every database.
    """
    rows = execute(connection, _SPREAD_BY_ENUM)
    return {(schema, name): (root_schema, root) for schema, name, root_schema, root in rows}


def _load_table(
    connection: Connection,
    facts: SourceFacts,
    parts: Sequence[StreamRecord],
    chunks: Iterator[bytes],
    root: tuple[str, str] | None,
) -> None:
    """One table in one transaction, *chunks* of all its parts; with *root*, by way of that.

    TRUNCATE in the same transaction lets COPY freeze the rows, and skip the log where `wal_level` is minimal.
    A configuration table already has the extension's own rows, and below *root* may be those of other streams.
    """
    stream = parts[0]
    table = identifier(*(root or stream.path))
    columns = f" ({', '.join(map(identifier, stream.columns))})" if stream.columns else ""
    fresh = stream.kind == "rows" and root is None
    options = f"ENCODING '{facts.encoding}'{', FREEZE' if fresh else ''}"
    with refused(f"filling {table}"), connection.transaction():
        # Nothing waits for its log to be on disk: the rename at the end does, for all that came before.
        connection.execute(settings_sql(connection.info.server_version, {"synchronous_commit": "off"}).encode())
        if fresh:
            connection.execute(f"TRUNCATE ONLY {table}".encode())
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY {table}{columns} FROM STDIN WITH ({options})".encode()) as copy:
                for block in blocks(chunks):
                    copy.write(block)
            rows = cursor.rowcount
        counted = sum(part.rows or 0 for part in parts)
        # An extension's own trigger may have put some where they belong: TimescaleDB has one on its metadata.
        if stream.rows is not None and rows != counted and stream.kind == "rows":
            raise Damaged(f"{table} took {rows} rows, and the backup counted {counted}")


def blocks(chunks: Iterable[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """The same bytes in blocks of *size* or a little more."""
    waiting: list[bytes] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= size:
            yield b"".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)


def set_sequences(connection: Connection, lines: bytes, *, whole: bool = True) -> None:
    """The inverse of the stream `sequences`; unless *whole*, only of those that are there."""
    calls = []
    for line in lines.splitlines():
        schema, name, value, called = json.loads(line)
        sequence = identifier(schema, name)
        if whole or execute(connection, "SELECT pg_catalog.to_regclass(%s) IS NOT NULL", (sequence,))[0][0]:
            calls.append((sequence, int(value), bool(called)))
    with refused("setting sequences"), connection.cursor() as cursor:
        cursor.executemany("SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)", calls)


def analyze(server: Server, database: str, jobs: int) -> tuple[str, ...]:
    """Statistics for every table, the largest first: without them the first queries plan blindly.

    A table that cannot be analyzed (one with a foreign table below it, whose server is away) is a note.
    """
    with server.connect(database) as connection:
        tables = execute(
            connection,
            """SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
              AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
            ORDER BY pg_catalog.pg_table_size(c.oid) DESC""",
        )
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for schema, name in tables:
        todo.put(identifier(schema, name))
    stop = threading.Event()
    notes: list[str] = []

    def work() -> None:
        with server.connect(database) as connection:
            while not stop.is_set():
                try:
                    table = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    execute(connection, f"ANALYZE {table}")
                except DatabaseRefused as error:
                    if connection.closed:
                        raise
                    notes.append(f"no statistics for {table}: {error}")

    in_parallel(work, min(jobs, max(1, len(tables))), stop)
    return tuple(notes)
