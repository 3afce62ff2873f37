"""Child processes: started with a clean environment, their bad exits turned into errors that quote them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Self

from dwebbackup.errors import DwebbackupError

PIPE_SIZE = 1024 * 1024
"""Bytes a pipe holds where the system lets us say: 10% faster than the usual 64 KiB (measured)."""

OUTPUT_BLOCK = "256K"


_started: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
_starting = threading.Lock()
"""A set that grows cannot be looked through."""


class _Owned(subprocess.Popen[bytes]):
    """Known from before it is started."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        with _starting:
            _started.add(self)
        super().__init__(*arguments, **options)


def owned() -> frozenset[int] | None:
    """The processes of every `Child` that nobody has waited for to its end; None while one is being started."""
    with _starting:
        started = list(_started)
    waiting = [process for process in started if getattr(process, "returncode", None) is None]
    if any(getattr(process, "pid", None) is None for process in waiting):
        return None
    return frozenset(process.pid for process in waiting)


class Child:
    """One child process with its standard output on a pipe, and its standard error kept for the message."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | None = None,
    ) -> None:
        """With *stderr*, whoever gave it listens himself."""
        self.program = os.path.basename(command[0])
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child
        try:
            self.process = _Owned(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=self._errors if stderr is None else stderr,
                env=dict(environment),
                bufsize=0,
            )
        except OSError:
            self._errors.close()
            raise
        for pipe in (self.process.stdout, self.process.stdin):
            if pipe:
                enlarge(pipe.fileno())

    def finish(self, failure: Callable[[str], DwebbackupError], doing: str) -> None:
        """Wait for its end. Raises what *failure* makes of the message unless the exit status is 0."""
        status = self.process.wait()
        errors = self.errors()
        self._close()
        if status:
            raise failure(f"{self.program} failed {doing} ({_status(status)}): {errors or 'it said nothing'}")

    def errors(self) -> str:
        """The end of what it wrote to standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4000))
        return self._errors.read().decode(errors="replace").strip()

    def end(self) -> None:
        """Kill it, if it still runs; safe to call at any time, more than once, from any thread."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._close()

    def kill(self) -> None:
        """Kill it, and leave the rest to whoever reads from it."""
        if self.process.poll() is None:
            self.process.kill()

    def _close(self) -> None:
        self._errors.close()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                # It may have died with input unread; its exit status says why.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Children:
    """The children of one piece of work, all ended when it ends. Safe for several threads."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._lock = threading.Lock()
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def add(self, child: Child) -> Child:
        with self._lock:
            self._children.append(child)
            if self._over:
                child.kill()
        return child

    def kill(self) -> None:
        """Kill all, now and those added later; who reads from one of them sees its end."""
        with self._lock:
            self._over = True
            for child in self._children:
                child.kill()

    def end(self) -> None:
        """Kill and reap all."""
        self.kill()
        for child in self._children:
            child.end()


def enlarge(descriptor: int) -> None:
    """Let a pipe hold more, where the system can; a smaller one is only slower."""
    if sys.platform == "linux":
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:
            return


def unhurried(command: Sequence[str]) -> list[str]:
    """*command* with a large output buffer, where `stdbuf` exists: psql otherwise writes every 4 KiB."""
    stdbuf = shutil.which("stdbuf")
    return [stdbuf, f"-o{OUTPUT_BLOCK}", *command] if stdbuf and sys.platform == "linux" else list(command)


def _status(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
