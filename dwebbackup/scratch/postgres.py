"""Throw-away PostgreSQL servers: each in a temporary folder of its own, reachable only by us, then gone."""

from __future__ import annotations

import functools
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused
from dwebbackup.scratch.programs import Binaries, find_postgres, install_postgres

__all__ = ["Binaries", "ScratchPostgres", "find_postgres", "install_postgres"]

# Waits beside the server for our end, whatever it is: the pipe it reads from closes even if we are killed.
# Each line it reads is the server's process id, or empty while none runs. Then it ends the server at once and
# removes the folder. (PR_SET_PDEATHSIG would kill the server when the *thread* that started it ends, is
# Linux's alone, and removes nothing.)
_KEEPER = """
server=
while read -r line; do server=$line; done
[ -z "$server" ] || kill -QUIT "$server"
tries=0
while rm -rf "$1"; [ -e "$1" ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
"""

_ACCESS = """\
# whoever reaches the socket passed the folder's permissions
local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""

# What a killed server committed is there after a restart: only a crash of the machine would lose it.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

# A start that failed for one of these may succeed a moment later: somebody took the port between our looking
# and the server's binding, or a killed server's last process has not gone yet.
_PASSING = ("Address already in use", "could not create any TCP/IP sockets", "is still in use")


class ScratchPostgres:
    """One PostgreSQL server in a temporary folder of its own that nobody else can reach; it ends with us.

    `start` makes the cluster when there is none yet, and runs it; `stop` ends it in good order, `kill` as a crash
    does; both can be followed by another `start`, on the same port. `destroy` also removes the folder. As a context
    manager it is started and destroyed. The superuser is `postgres`. When we are root, the server runs as an
    ordinary account, since PostgreSQL refuses root.

    *tcp*: listen on 127.0.0.1 as well, with a random password; else the only way in is a unix socket in the folder.
    *durable*: be as careful as a server in earnest, which survives a power cut, too.
    *locale*: by default a UTF-8 one, if the machine has one and *encoding* is UTF8, else C.
    *settings*: more lines for postgresql.conf.
    *template*: a folder where the first server of a kind leaves a copy of its empty cluster for the next ones,
    which then start sooner, and share its system identifier.

    Everything here raises `DatabaseRefused` when the server or psql does not do what it was asked for.
    """

    def __init__(
        self,
        binaries: Binaries,
        *,
        tcp: bool = False,
        durable: bool = False,
        encoding: str = "UTF8",
        locale: str | None = None,
        settings: Mapping[str, str] | None = None,
        template: Path | None = None,
    ) -> None:
        self.binaries = binaries
        self.encoding = encoding
        self.locale = locale or (_utf8_locale() if encoding.upper() in {"UTF8", "UTF-8"} else "C")
        self.port = 5432  # without TCP it is but a part of the socket's name
        self._password = secrets.token_hex(16) if tcp else ""
        self._settings = ({} if durable else _NOT_DURABLE) | dict(settings or {})
        self._template = template
        self._folder: Path | None = None
        self._keeper: subprocess.Popen[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    @property
    def folder(self) -> Path:
        """Holds `data`, `server.log` and the socket; there from `start` to `destroy`."""
        if self._folder is None:
            raise DatabaseRefused("the scratch server was not started, or is destroyed already")
        return self._folder

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    # -- beginning and end

    def start(self, timeout: float = 60) -> Self:
        """Return when it takes connections. Raises `DatabaseRefused` with the end of the server's log."""
        if self.running:
            return self
        new = self._folder is None
        try:
            if new:
                self._make_cluster()
            self._launch_patiently(timeout, may_move=new)
            if new and self._password:
                self.psql(f"ALTER ROLE postgres PASSWORD '{self._password}'")
        except BaseException:
            if new:
                self.destroy()
            raise
        return self

    def stop(self, timeout: float = 60) -> None:
        """End it in good order: sessions are broken off, everything is written."""
        self._end(signal.SIGINT, timeout)

    def kill(self) -> None:
        """End it as the end of a lease does: every process at once. The next start has to recover."""
        if self._server is None or self._server.poll() is not None:
            return
        memory = _shared_memory(self.folder / "data")
        os.kill(self._server.pid, signal.SIGSTOP)  # it would replace its children while we end them
        for child in _children(self._server.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._server.kill()
        self._server.wait()
        self._forget()
        if memory and shutil.which("ipcrm"):  # a few bytes that the system would keep until it is restarted
            subprocess.run(["ipcrm", "-m", memory], capture_output=True, check=False)

    def destroy(self) -> None:
        """End it and remove everything it left. A second time is no error."""
        if self._folder is None:
            return
        self._end(signal.SIGQUIT, 20)
        if self._keeper is not None:
            self._keeper.communicate()  # closes its pipe: it removes the folder and ends
        shutil.rmtree(self._folder, ignore_errors=True)  # should somebody have ended the keeper
        self._folder = self._keeper = None

    def _end(self, how: signal.Signals, timeout: float) -> None:
        if self._server is None:
            return
        self._server.send_signal(how)
        try:
            self._server.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def _forget(self) -> None:
        self._server = None
        self._tell_keeper("")

    def _tell_keeper(self, pid: str) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            with suppress(BrokenPipeError):
                self._keeper.stdin.write(f"{pid}\n")
                self._keeper.stdin.flush()

    # -- talking to it

    def uri(self, dbname: str = "postgres") -> str:
        """For libpq and psycopg, through the unix socket: no password."""
        host = quote(str(self.folder), safe="")
        return f"postgresql://postgres@/{quote(dbname, safe='')}?host={host}&port={self.port}"

    def tcp_uri(self, dbname: str = "postgres") -> str:
        """The same over 127.0.0.1, with the password; only for a server made with *tcp*."""
        if not self._password:
            raise DatabaseRefused("this scratch server does not listen on TCP")
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    def psql(self, sql: str, dbname: str = "postgres") -> str:
        """Run *sql* up to the first error; gives the rows, a line each, their columns separated by `|`."""
        return self._psql(dbname, [], sql)

    def execute_file(self, path: Path, dbname: str = "postgres", variables: Mapping[str, str] | None = None) -> str:
        """Run a file of SQL and psql commands, which sees *variables* as `:name`; the rest as with `psql`."""
        settings = [f"--set={name}={value}" for name, value in (variables or {}).items()]
        return self._psql(dbname, [*settings, "-f", str(path)], "")

    def log(self) -> str:
        """What the server wrote to its log so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def _psql(self, dbname: str, options: Sequence[str], sql: str) -> str:
        done = subprocess.run(
            [self.binaries.psql, "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.uri(dbname), *options],
            input=sql,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # a SQL_ASCII database gives back any byte
            env=_environment() | {"PGCLIENTENCODING": "UTF8"},
            check=False,
        )
        if done.returncode:
            raise DatabaseRefused(f"psql failed: {_tail(done.stderr)}")
        return done.stdout.removesuffix("\n")

    # -- the cluster

    def _make_cluster(self) -> None:
        account = _account()
        self._folder = Path(tempfile.mkdtemp(prefix="dwebbackup-pg-", dir=_temporary_folder(account)))
        self._keeper = _start_keeper(self._folder)
        if account:
            os.chown(self._folder, account["user"], account["group"])
        data = self._folder / "data"
        owner = account.get("user", os.geteuid())
        kept = self._template and self._template / f"{self.binaries.major}-{self.encoding}-{self.locale}-{owner}"
        if kept and kept.is_dir():
            _copy_folder(kept, data)
        else:
            self._initdb(data, account)
            if kept:
                _keep_copy(data, kept)
        (data / "pg_hba.conf").write_text(_ACCESS)
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {_quoted(value)}\n" for name, value in self._all_settings().items())

    def _initdb(self, data: Path, account: Mapping[str, Any]) -> None:
        options = [f"--encoding={self.encoding}", f"--locale={self.locale}", "--lc-messages=C", "--no-sync"]
        command = [str(self.binaries.initdb), "-D", str(data), "-U", "postgres", "-A", "trust", *options]
        try:
            done = subprocess.run(
                command,
                cwd=data.parent,
                env=_environment(),
                capture_output=True,
                text=True,
                check=False,
                **account,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise _cannot_run(self.binaries.initdb, error) from error
        if done.returncode:
            raise DatabaseRefused(f"initdb failed: {_tail(done.stderr)}")

    def _all_settings(self) -> dict[str, str]:
        return {
            "listen_addresses": "127.0.0.1" if self._password else "",
            "unix_socket_directories": str(self.folder),
            "password_encryption": "scram-sha-256",
            "dynamic_shared_memory_type": "mmap",  # in the folder: a killed server leaves none elsewhere
            "log_line_prefix": "%m [%p] %d ",
            **self._settings,
        }

    def _launch_patiently(self, timeout: float, *, may_move: bool) -> None:
        deadline = clock.monotonic() + timeout
        for _ in range(20):
            if may_move and self._password:
                self.port = _free_port()
            seen = len(self.log()) if (self.folder / "server.log").exists() else 0
            if self._launch(deadline):
                return
            said = self.log()[seen:]
            if not any(phrase in said for phrase in _PASSING):
                break
            time.sleep(0.05)
        raise DatabaseRefused(f"the scratch PostgreSQL server did not start: {_tail(said, 10)}")

    def _launch(self, deadline: float) -> bool:
        """True when it takes connections, False when it ended."""
        data = self.folder / "data"
        command = [str(self.binaries.postgres), "-D", str(data), "-p", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            try:
                server = self._server = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # an interrupt from the keyboard is for us alone
                    **_account(),
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise _cannot_run(self.binaries.postgres, error) from error
        self._tell_keeper(str(server.pid))
        while server.poll() is None:
            if _ready(data, server.pid):
                return True
            if clock.monotonic() > deadline:
                self.kill()
                return False
            time.sleep(0.005)
        self._forget()
        return False


def _account() -> dict[str, Any]:
    """As whom to run the server, in `subprocess` words; empty when we are an ordinary user ourselves."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise DatabaseRefused(
        "PostgreSQL does not run as root, and there is no account postgres or nobody",
        "run this as an ordinary user",
    )


def _cannot_run(program: Path, error: Exception) -> DatabaseRefused:
    hint = "as root: can the accounts postgres or nobody reach it?" if os.geteuid() == 0 else ""
    return DatabaseRefused(f"cannot run {program}: {error}", hint)


def _environment() -> dict[str, str]:
    """Ours, without what would lead PostgreSQL's programs elsewhere, and with English messages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _start_keeper(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "keeper", folder],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # it must outlive us when our whole process group is ended
    )


def _temporary_folder(account: Mapping[str, Any]) -> Path:
    """The usual one, unless *account* cannot get there, or a socket's path there were over the system's 100 bytes."""
    usual = Path(tempfile.gettempdir()).resolve()
    reachable = not account or all(folder.stat().st_mode & 0o001 for folder in (usual, *usual.parents))
    return usual if reachable and len(os.fsencode(usual)) < 64 else Path("/tmp")  # noqa: S108 - mkdtemp works in it


@functools.cache
def _utf8_locale() -> str:
    """The first UTF-8 locale of a few good ones that this machine has, else C."""
    if not shutil.which("locale"):
        return "C"
    known = {name.lower().replace("-", "") for name in _output("locale", "-a").split()}
    return next((name for name in ("C.UTF-8", "en_US.UTF-8") if name.lower().replace("-", "") in known), "C")


def _free_port() -> int:
    """A port that is free now, below the range from which systems give ports to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(10240, 32768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _copy_folder(folder: Path, to: Path) -> None:
    """With owners and modes, which `shutil.copytree` loses."""
    done = subprocess.run(["cp", "-Rp", folder, to], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DatabaseRefused(f"could not copy a scratch cluster: {_tail(done.stderr, 1)}")


def _keep_copy(data: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_name(secrets.token_hex(8))
    _copy_folder(data, unfinished)
    try:
        unfinished.rename(kept)
    except OSError:  # another process was faster
        shutil.rmtree(unfinished)


def _ready(data: Path, pid: int) -> bool:
    """Whether the server says so in the eighth line of its lock file (src/include/utils/pidfile.h)."""
    with suppress(FileNotFoundError):
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False


def _shared_memory(data: Path) -> str | None:
    """The id of the server's System V segment: the second number of the seventh line of its lock file."""
    with suppress(FileNotFoundError, IndexError):
        return (data / "postmaster.pid").read_text(errors="replace").splitlines()[6].split()[1]
    return None


def _children(parent: int) -> list[int]:
    processes = _linux_processes() if os.path.isdir("/proc/self") else _other_processes()
    return [pid for pid, its_parent in processes if its_parent == parent]


def _linux_processes() -> Iterator[tuple[int, int]]:
    """Process and parent ids, from /proc: slim images have no ps."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(FileNotFoundError, ProcessLookupError):
            after_command = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")[2]
            yield int(name), int(after_command.split()[1])


def _other_processes() -> Iterator[tuple[int, int]]:
    for line in _output("ps", "-A", "-o", "pid=,ppid=").splitlines():
        pid, parent = line.split()
        yield int(pid), int(parent)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _tail(text: str, lines: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
