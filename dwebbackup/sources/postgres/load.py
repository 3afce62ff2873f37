"""Streams back into a database: schema by pg_restore, rows by parallel COPY, then indexes and the rest."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from dwebbackup.errors import Damaged, DatabaseRefused
from dwebbackup.manifest import SourceFacts, StreamRecord
from dwebbackup.ports import StreamReader
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


class Stopped(Exception):  # never seen outside: another worker's failure is what is raised
    """Another worker failed."""


def load_rows(
    server: Server,
    database: str,
    facts: SourceFacts,
    streams: Sequence[StreamRecord],
    read: StreamReader,
    jobs: int,
) -> None:
    """Fill the tables, the largest first, by *jobs* connections. Raises what one of them failed with."""
    with server.connect(database) as connection:
        roots = _roots(connection)
    todo: queue.SimpleQueue[StreamRecord] = queue.SimpleQueue()
    for stream in sorted(streams, key=lambda stream: -stream.bytes):
        todo.put(stream)
    stop = threading.Event()

    def work() -> None:
        with server.connect(database) as connection:
            while not stop.is_set():
                try:
                    stream = todo.get_nowait()
                except queue.Empty:
                    return
                _load_table(connection, facts, stream, _until(stop, read(stream)), roots.get(stream.path))

    in_parallel(work, jobs, stop)


def in_parallel(work: Callable[[], None], jobs: int, stop: threading.Event) -> None:
    """Run *work* in so many threads; on the first failure tell the others to stop, and raise it."""
    with ThreadPoolExecutor(jobs, "load") as pool:
        pending = {pool.submit(work) for _ in range(jobs)}
        try:
            while pending:
                done, pending = wait(pending, timeout=1, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
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
    stream: StreamRecord,
    chunks: Iterator[bytes],
    root: tuple[str, str] | None,
) -> None:
    """One table in one transaction; with *root*, by way of that.

    TRUNCATE in the same transaction lets COPY freeze the rows, and skip the log where `wal_level` is minimal.
    A configuration table already has the extension's own rows, and below *root* may be those of other streams.
    """
    table = identifier(*(root or stream.path))
    columns = f" ({', '.join(map(identifier, stream.columns))})" if stream.columns else ""
    fresh = stream.kind == "rows" and root is None
    options = f"ENCODING '{facts.encoding}'{', FREEZE' if fresh else ''}"
    with refused(f"filling {table}"), connection.transaction():
        connection.execute(settings_sql(connection.info.server_version).encode())
        if fresh:
            connection.execute(f"TRUNCATE ONLY {table}".encode())
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY {table}{columns} FROM STDIN WITH ({options})".encode()) as copy:
                for block in blocks(chunks):
                    copy.write(block)
            rows = cursor.rowcount
        if stream.rows is not None and rows != stream.rows:
            raise Damaged(f"{table} took {rows} rows, and the backup counted {stream.rows}")


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


def set_sequences(connection: Connection, lines: bytes) -> None:
    """The inverse of the stream `sequences`."""
    calls = []
    for line in lines.splitlines():
        schema, name, value, called = json.loads(line)
        calls.append((identifier(schema, name), int(value), bool(called)))
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
