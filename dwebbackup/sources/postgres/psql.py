r"""Rows out of PostgreSQL by one `psql` a worker, which copies table after table through one pipe.

psycopg hands out COPY data row by row, which costs a core of Python; psql costs none. How a table's end is told:
in COPY's text form a line never begins with `\\.` (a backslash in a value is doubled), so after each table psql is
made to print `\\. <rows>`, and waits for the next command. The marker is therefore always the last thing read.
"""

from __future__ import annotations

import os
import re
import subprocess

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres.connection import settings_sql
from dwebbackup.sources.postgres.refusals import of_program
from dwebbackup.sources.process import Child, Children, unhurried

_MARKER = re.compile(rb"\n(\\\. (\d+)\n)\Z")
_MARKER_BEGUN = re.compile(rb"\n(\\(?:\.(?: \d*)?)?)\Z")
_READY = "ready"
LOCK_TIMEOUT = 30
"""Seconds to wait for a table's lock."""
JOIN_TIMEOUT = 3
"""The same where we hold one already: only somebody who waits for us can be in the way, so patience is no use."""
_LONGEST = 32
"""Bytes of a marker and the line end before it, at most."""


class Psql:
    """One psql inside the snapshot."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        snapshot: str,
        version: int,
        children: Children,
        first: str = "",
    ) -> None:
        """*first*: statements to run before anything else, each with its semicolon."""
        flags = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        self._child = children.add(Child(unhurried([*command, *flags]), environment, stdin=subprocess.PIPE))
        self._child.program = "psql"  # which may have begun as stdbuf
        assert self._child.process.stdin and self._child.process.stdout  # noqa: PT018  # both are pipes
        self._commands = self._child.process.stdin.fileno()
        self._output = self._child.process.stdout.fileno()
        self._send(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
            f"SET TRANSACTION SNAPSHOT '{snapshot}';\nSET LOCAL lock_timeout = '{JOIN_TIMEOUT}s';\n{first}"
            f"{settings_sql(version, {'lock_timeout': f'{LOCK_TIMEOUT}s'})}\\o /dev/null\n\\echo {_READY}\n"
        )
        self._is_ready = False

    def wait_until_ready(self) -> None:
        """Until it is connected, has joined the snapshot and ran its first statements. Raises `DatabaseRefused`."""
        if self._is_ready:
            return
        expected = f"{_READY}\n".encode()
        said = b""
        while len(said) < len(expected):
            more = os.read(self._output, len(expected) - len(said))
            if not more:
                self.fail("anything")
            said += more
        if said != expected:
            raise DatabaseRefused(f"psql said {said!r} instead of being ready")
        self._is_ready = True

    def copy(self, what: str, encoding: str, label: str) -> PsqlStream:
        r"""Rows of *what*: a table with its columns, or a query in brackets, quoted for SQL.

        `\copy … to pstdout` rather than COPY, since only then psql says how many rows the server counted; it
        takes one line, so for a name with a line end in it we count the rows ourselves.
        """
        self.wait_until_ready()
        counted = "\n" in what or "\r" in what
        form = "COPY {} TO STDOUT WITH (ENCODING '{}');" if counted else r"\copy {} to pstdout with (encoding '{}')"
        begin, end = ("\\o\n", "\\o /dev/null\n") if counted else ("", "")
        self._send(f"{begin}{form.format(what, encoding)}\n\\echo '\\\\.' :ROW_COUNT\n{end}")
        return PsqlStream(self, label, counted=counted)

    def read(self, view: memoryview) -> int:
        return os.readv(self._output, [view])

    def fail(self, label: str) -> None:
        """It ended while there was more to come."""
        self._child.finish(of_program, f"while reading {label}")
        raise DatabaseRefused(f"psql ended while reading {label}")

    def close(self) -> None:
        """Let it end. Raises `DatabaseRefused` unless it does so with exit status 0."""
        assert self._child.process.stdin
        self._child.process.stdin.close()
        self._child.finish(of_program, "at the end of its snapshot")

    def end(self) -> None:
        """Kill it."""
        self._child.end()

    def _send(self, commands: str) -> None:
        data = memoryview(commands.encode())
        try:
            while data:
                data = data[os.write(self._commands, data) :]
        except BrokenPipeError:
            self.fail("anything")


class PsqlStream:
    """One table's rows in COPY's text form; ends at the marker."""

    def __init__(self, psql: Psql, label: str, *, counted: bool) -> None:
        self._psql = psql
        self._label = label
        self._counted = counted
        self._held = b""
        self._at_line_start = True
        self._ended = False
        self.rows: int | None = 0 if counted else None

    def readinto(self, view: memoryview, /) -> int:
        """Rows; 0 once the marker was read. Raises `DatabaseRefused` when psql ends without it."""
        if self._ended:
            return 0
        if len(view) < 2 * _LONGEST:
            raise ValueError(f"a view of {2 * _LONGEST} bytes or more is needed")
        filled = len(self._held)
        view[:filled] = self._held
        self._held = b""
        while True:
            count = self._psql.read(view[filled:])
            if not count:
                self._psql.fail(self._label)
            filled += count
            size = self._without_marker(view, filled)
            if size or self._ended:
                return self._count(view, size)
            # Only the beginning of a marker so far.
            filled = len(self._held)
            self._held = b""

    def _without_marker(self, view: memoryview, filled: int) -> int:
        """How many bytes are rows; a marker ends the stream, the beginning of one is held back."""
        start = max(0, filled - _LONGEST)
        before = b"\n" if start == 0 and self._at_line_start else b"."
        tail = before + view[start:filled]
        start -= 1
        if ended := _MARKER.search(tail):
            self._ended = True
            if not self._counted:
                self.rows = int(ended[2])
            return start + ended.start(1)
        if begun := _MARKER_BEGUN.search(tail):
            self._held = begun[1]
            return start + begun.start(1)
        return filled

    def _count(self, view: memoryview, size: int) -> int:
        if size:
            self._at_line_start = view[size - 1] == 0x0A
            if self._counted:
                self.rows = (self.rows or 0) + bytes(view[:size]).count(b"\n")
        return size
