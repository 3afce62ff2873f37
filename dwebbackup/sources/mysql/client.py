r"""Rows out of MySQL by one client program a worker, which prints table after table into one pipe.

PyMySQL hands out each row as a Python tuple, which costs a core; the client program costs none. What it prints in batch
mode is what LOAD DATA reads: a line a row, tabs between the values, and backslashes before what would be mistaken. How
the end of a table is told: after each table the client is made to print a line that begins with 128 random bits, and
waits for the next statement. The marker is therefore always the last thing read.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections.abc import Sequence

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.mysql.connection import Server, Version, settings_sql
from dwebbackup.sources.mysql.refusals import of_program
from dwebbackup.sources.mysql.tools import Tool
from dwebbackup.sources.process import Child, Children, unhurried

_FLAGS = (
    "--batch",
    "--skip-column-names",
    "--quick",
    "--unbuffered",
    "--binary-mode",  # no commands of the client's own
    "--default-character-set=binary",  # nothing is converted
    "--max-allowed-packet=1G",
    "--connect-timeout=30",
    "--skip-reconnect",
    "--skip-auto-rehash",
)

LOCK_TIMEOUT = 30
"""Seconds to wait for a table that somebody is changing."""
JOIN_TIMEOUT = 3
"""The same where we hold one already: only somebody who waits for us can be in the way, so patience is no use."""


class Client:
    """One client program, and later its snapshot. One thread at a time may use it."""

    def __init__(self, server: Server, version: Version, tool: Tool, children: Children) -> None:
        command = [tool.path, *server.arguments(), *tool.tls(server.address), *_FLAGS]
        self._child = children.add(Child(unhurried(command), server.environment(), stdin=subprocess.PIPE))
        self._child.program = os.path.basename(tool.path)  # which may have begun as stdbuf
        assert self._child.process.stdin and self._child.process.stdout  # noqa: PT018  # both are pipes
        self._statements = self._child.process.stdin.fileno()
        self._output = self._child.process.stdout.fileno()
        self.nonce = secrets.token_hex(16).encode()
        self.busy = threading.Lock()
        """Held while a stream is read, where several workers have but one snapshot."""
        self._waiting = 0
        self.run(settings_sql(version), "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def run(self, *statements: str) -> None:
        """Have it run statements that print nothing; `wait` says when they are done."""
        self._send("".join(f"{statement};\n" for statement in (*statements, self._marker("0"))))
        self._waiting += 1

    def wait(self) -> None:
        """Until all that was to be run is done. Raises `DatabaseRefused`."""
        while self._waiting:
            expected = self.nonce + b"\t0\n"
            said = b""
            while len(said) < len(expected):
                more = os.read(self._output, len(expected) - len(said))
                if not more:
                    self.fail("anything")
                said += more
            if said != expected:
                raise DatabaseRefused(f"{self._child.program} said {said!r} instead of being ready")
            self._waiting -= 1

    def hold(self, tables: Sequence[str]) -> None:
        """A statement that asks for no row locks a table's definition to the end of the transaction."""
        self.run(
            *(f"SELECT 1 FROM {table} LIMIT 0" for table in tables),  # noqa: S608  # quoted
            f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT}",
        )

    def rows(self, statement: str, label: str) -> RowStream:
        """What the statement gives."""
        self.wait()
        self._send(f"{statement};\n{self._marker('FOUND_ROWS()')};\n")
        return RowStream(self, label)

    def read(self, view: memoryview) -> int:
        return os.readv(self._output, [view])

    def ended(self) -> None:
        """A stream was read to its end: the next one may have its turn."""
        if self.busy.locked():
            self.busy.release()

    def fail(self, label: str) -> None:
        """It ended while there was more to come."""
        self._child.finish(of_program, f"while reading {label}")
        raise DatabaseRefused(f"{self._child.program} ended while reading {label}")

    def close(self) -> None:
        """Let it end. Raises `DatabaseRefused` unless it does so with exit status 0."""
        assert self._child.process.stdin
        self._child.process.stdin.close()
        self._child.finish(of_program, "at the end of its snapshot")

    def end(self) -> None:
        """Kill it."""
        self._child.end()

    def _marker(self, number: str) -> str:
        return f"SELECT '{self.nonce.decode()}', {number}"

    def _send(self, statements: str) -> None:
        data = memoryview(statements.encode())
        try:
            while data:
                data = data[os.write(self._statements, data) :]
        except BrokenPipeError:
            self.fail("anything")


class RowStream:
    """One table's rows; ends at the marker."""

    def __init__(self, client: Client, label: str) -> None:
        self._client = client
        self._label = label
        self._held = b""
        self._at_line_start = True
        self._ended = False
        self.rows: int | None = None
        """As the server counted them."""

    def readinto(self, view: memoryview, /) -> int:
        """Rows; 0 once the marker was read. Raises `DatabaseRefused` when the client ends without it."""
        if self._ended:
            return 0
        longest = len(self._client.nonce) + 24
        if len(view) < 2 * longest:
            raise ValueError(f"a view of {2 * longest} bytes or more is needed")
        filled = len(self._held)
        view[:filled] = self._held
        self._held = b""
        while True:
            count = self._client.read(view[filled:])
            if not count:
                self._client.fail(self._label)
            filled += count
            size = self._without_marker(view, filled, longest)
            if size or self._ended:
                self._at_line_start = size == 0 or view[size - 1] == 0x0A
                return size
            # Only the beginning of a marker so far.
            filled = len(self._held)
            self._held = b""

    def _without_marker(self, view: memoryview, filled: int, longest: int) -> int:
        """How many bytes are rows; a marker ends the stream, the beginning of one is held back."""
        start = max(0, filled - longest)
        tail = bytes(view[start:filled])
        begin = tail.rfind(b"\n", 0, len(tail) - 1) + 1
        if begin == 0 and not (start == 0 and self._at_line_start):
            return filled  # the last line is longer than any marker, or began as a row
        line, nonce = tail[begin:], self._client.nonce
        if line.startswith(nonce) and line.endswith(b"\n"):
            self._ended = True
            self.rows = int(line.split(b"\t")[1])
            self._client.ended()
            return start + begin
        if line.startswith(nonce) or nonce.startswith(line):
            self._held = line
            return start + begin
        return filled
