"""Rows back into tables by several connections: LOAD DATA, the server's own protocol, or INSERT where that is off."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from pymysql.constants import COMMAND
from pymysql.protocol import MysqlPacket, OKPacketWrapper

from dwebbackup.errors import Damaged, DatabaseRefused, RestoreFailed
from dwebbackup.manifest import StreamRecord
from dwebbackup.ports import StreamReader
from dwebbackup.sources.mysql.building import TABLES
from dwebbackup.sources.mysql.connection import (
    Connection,
    Server,
    close,
    execute,
    identifier,
    refused,
    send,
    version_of,
)
from dwebbackup.sources.mysql.filler import OFFERED, Filler

BLOCK = 256 * 1024
"""Bytes handed to the server at a time."""

INSERT = 1024 * 1024
"""Bytes of rows in an INSERT, about."""

LARGEST_PACKET = 4 * 1024 * 1024

_DATA_TRUNCATED = 1265


class Stopped(Exception):  # never seen outside: another worker's failure is what is raised
    """Another worker failed."""


def load_rows(server: Server, schema: str, streams: Sequence[StreamRecord], read: StreamReader, jobs: int) -> None:
    """Fill the tables, the largest first, by *jobs* connections. Raises what one of them failed with."""
    todo = deque(sorted(streams, key=lambda stream: -stream.bytes))
    stop = threading.Event()

    def work() -> None:
        connection = server.connect(schema, loads=True)
        try:
            by_file = _prepare(connection)
            while not stop.is_set():
                try:
                    stream = todo.popleft()
                except IndexError:
                    return
                _fill(connection, schema, stream, _until(stop, read(stream)), by_file=by_file)
        finally:
            close(connection)

    in_parallel(work, max(1, min(jobs, len(streams))), stop)


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


def _prepare(connection: Connection) -> bool:
    """Settings for filling; whether the server takes LOAD DATA LOCAL."""
    execute(
        connection,
        f"SET SESSION sql_mode = '{TABLES}', foreign_key_checks = 0, unique_checks = 0, autocommit = 0,"
        " max_error_count = 65535",
    )
    if version_of(connection).flavour == "MariaDB":
        execute(connection, "SET SESSION check_constraint_checks = 0")
    by_file = bool(execute(connection, "SELECT @@GLOBAL.local_infile")[0][0])
    execute(connection, "SET NAMES binary")
    return by_file


def _fill(connection: Connection, schema: str, stream: StreamRecord, chunks: Iterator[bytes], *, by_file: bool) -> None:
    """One table in one transaction."""
    (name,) = stream.path
    filler = _filler(connection, schema, name, stream.columns)
    rows = _load(connection, filler, chunks) if by_file else _insert(connection, filler, chunks)
    execute(connection, "COMMIT")
    if rows != stream.rows:
        raise Damaged(f"{filler.table} took {rows} rows, and the backup counted {stream.rows}")


def _filler(connection: Connection, schema: str, name: str, columns: tuple[str, ...]) -> Filler:
    found = execute(
        connection,
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (schema, name),
    )
    kinds = {_text(column): _text(kind).lower() for column, kind in found}
    return Filler(identifier(schema, name), columns, kinds, version_of(connection).flavour == "MySQL")


def _text(value: str | bytes) -> str:
    """After SET NAMES binary, names come as bytes."""
    return value.decode() if isinstance(value, bytes) else value


# --- LOAD DATA ---


def _load(connection: Connection, filler: Filler, chunks: Iterator[bytes]) -> int:
    """How many rows the table took. Raises `RestoreFailed` when it did not take one as it is."""
    with refused(f"filling {filler.table}"):
        _ask(connection, filler.load_statement())
        asked = _answer(connection)
        if not asked.is_load_local_packet() or _named(asked) != OFFERED:
            close(connection)
            raise DatabaseRefused("the server asked for a file of this machine that nobody offered")
        try:
            for packet in _packets(blocks(chunks)):
                connection.write_packet(packet)
        except BaseException:
            close(connection)  # an end without this would count as the end of the rows
            raise
        connection.write_packet(b"")
        done = OKPacketWrapper(_answer(connection))
    if done.warning_count:
        _require_harmless(connection, filler, done.warning_count)
    return int(done.affected_rows)


def _ask(connection: Connection, statement: str) -> None:
    """Half of a query. PyMySQL's own goes on by opening whatever file of this machine the server names."""
    connection._execute_command(COMMAND.COM_QUERY, statement)  # type: ignore[attr-defined]  # noqa: SLF001


def _answer(connection: Connection) -> MysqlPacket:
    """Raises what the server says."""
    return connection._read_packet()  # type: ignore[no-untyped-call,no-any-return]  # noqa: SLF001


def _named(asked: MysqlPacket) -> bytes:
    """The file that the server asks for."""
    return bytes(asked.get_all_data()[1:])  # type: ignore[no-untyped-call]


def _packets(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """A packet of the protocol holds less than 16 MiB."""
    for block in blocks:
        for start in range(0, len(block), LARGEST_PACKET):
            yield block[start : start + LARGEST_PACKET]


def _require_harmless(connection: Connection, filler: Filler, count: int) -> None:
    """What would be an error elsewhere is a warning with LOCAL, and so it is here with INSERT, which has no strict mode
    here. One is harmless: a value of an ENUM that is none of its words stays none.
    """
    told = execute(connection, "SHOW WARNINGS")
    enums = [name for name, kind in filler.kinds.items() if kind == "enum"]
    harmless = [
        number == _DATA_TRUNCATED and any(f"'{name}'" in _text(message) for name in enums)
        for _, number, message in told
    ]
    if len(told) < count or not all(harmless):
        said = "; ".join(_text(message) for _, _, message in told[:3]) or "it does not say what"
        raise RestoreFailed(f"{filler.table} would not take its rows as they are: {said}")


# --- INSERT ---


def _insert(connection: Connection, filler: Filler, chunks: Iterator[bytes]) -> int:
    rows, rest = 0, b""
    for block in blocks(chunks, INSERT):
        data = rest + block
        whole, end, rest = data.rpartition(b"\n")
        if end:
            taken, warnings = send(connection, filler.insert_statement(whole))
            rows += taken
            if warnings:
                _require_harmless(connection, filler, warnings)
    if rest:
        raise Damaged(f"the rows of {filler.table} end in the midst of one")
    return rows


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
