"""PgBouncer for tests: the real program, in front of a scratch server, in each of its modes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from dwebbackup.scratch.postgres import ScratchPostgres

PATIENCE = 60
"""Seconds for a start, which takes a few milliseconds."""

PORT = 6432  # but a part of the socket's name

# Databases are those of the server.
SETTINGS = """\
[databases]
* = host={server.folder} port={server.port} user=postgres
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
logfile = {folder}/log
pool_mode = {mode}
"""

Bouncing = Callable[..., "Bouncer"]
"""Starts one, given the mode and more lines for its settings."""


class Bouncer:
    """A running PgBouncer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def uri(self, database: str) -> str:
        return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(str(self.folder), safe='')}&port={PORT}"


@pytest.fixture
def pgbouncer() -> Iterator[Bouncing]:
    """Starts as many as wanted. A missing program fails the test."""
    if not (shutil.which("pgbouncer") and shutil.which("setpriv")):
        pytest.fail("pgbouncer or setpriv is missing: apt-get install pgbouncer util-linux")
    with ExitStack() as stack:
        yield lambda server, mode, *lines: stack.enter_context(_running(server, mode, lines))


@contextmanager
def _running(server: ScratchPostgres, mode: str, lines: tuple[str, ...]) -> Iterator[Bouncer]:
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        settings = SETTINGS.format(server=server, port=PORT, folder=folder, mode=mode)
        (folder / "ini").write_text("\n".join([settings, *lines]) + "\n")
        command = ["setpriv", "--pdeathsig", "KILL", *_account(folder, server), "pgbouncer", "-q", str(folder / "ini")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            _wait(folder, process)
            yield Bouncer(folder)
        finally:
            process.kill()
            process.wait()


def _account(folder: Path, server: ScratchPostgres) -> list[str]:
    """The server's: it refuses root, as PostgreSQL does."""
    if os.geteuid() != 0:
        return []
    owner = server.folder.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    return [f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(folder / f".s.PGSQL.{PORT}")) == 0:
                return
        assert process.poll() is None, f"pgbouncer ended: {(folder / 'log').read_text()}"
        assert time.monotonic() < deadline, f"pgbouncer does not answer: {(folder / 'log').read_text()}"
        time.sleep(0.01)
