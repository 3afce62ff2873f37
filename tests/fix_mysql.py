"""MariaDB for tests: a real server a session, a new schema whenever a test asks for one; newer servers in the wide run."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pymysql
import pytest

PATIENCE = 60
"""Seconds for a server to come up, on a machine that has other things to do."""

NEWER = Path(__file__).parents[1] / ".cache" / "mysql-newer"

_numbers = itertools.count(1)


@dataclass(slots=True)
class MysqlServer:
    """A server on a unix socket in a folder of its own, run by an ordinary user; gone when the context ends."""

    program: str
    install: Sequence[str]
    """What makes an empty data folder; `@DATA@` stands for it."""
    settings: Sequence[str] = ()
    folder: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        # Sockets have short names, so the folder has, too.
        self.folder = Path(tempfile.mkdtemp(prefix="dwebbackup-my-", dir="/tmp"))
        try:
            self._give(self.folder)
            command = [word.replace("@DATA@", str(self.data)) for word in self.install]
            self._check(subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user()))
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    def start(self) -> None:
        """Until it answers."""
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [
                self.program,
                "--no-defaults",
                f"--datadir={self.data}",
                f"--socket={self.socket}",
                f"--pid-file={self.folder / 'pid'}",
                f"--tmpdir={self.folder}",
                "--innodb-buffer-pool-size=64M",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-flush-method=nosync" if "mariadbd" in self.program else "--innodb-doublewrite=OFF",
                *(self.settings or ("--skip-networking",)),
            ],
            stdout=log,
            stderr=log,
            **self._as_user(),
        )
        log.close()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.socket))
                self.execute("SELECT 1")
            except (pymysql.MySQLError, OSError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((self.folder / "log").read_text(errors="replace")[-3000:])
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """As a machine that is switched off would."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def url(self, schema: str, user: str = "root", password: str = "") -> str:
        login = f"{quote(user, safe='')}{':' + quote(password, safe='') if password else ''}"
        return f"mysql://{login}@/{quote(schema, safe='')}?socket={self.socket}"

    def connect(self, schema: str = "", user: str = "root", password: str = "") -> pymysql.connections.Connection[Any]:
        return pymysql.connect(
            unix_socket=str(self.socket),
            user=user,
            password=password,
            database=schema or None,
            charset="utf8mb4",
            autocommit=True,
        )

    def execute(self, *statements: str, schema: str = "") -> list[tuple[Any, ...]]:
        """The rows of the last one."""
        with contextlib.closing(self.connect(schema)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def _give(self, folder: Path) -> None:
        if os.geteuid() == 0:
            at = pwd.getpwnam(self._user())
            os.chown(folder, at.pw_uid, at.pw_gid)
            folder.chmod(0o755)

    def _as_user(self) -> dict[str, Any]:
        """No such server runs as root."""
        if os.geteuid() != 0:
            return {}
        return {"user": self._user(), "group": pwd.getpwnam(self._user()).pw_gid, "extra_groups": []}

    def _user(self) -> str:
        return "mysql" if "mysql" in {each.pw_name for each in pwd.getpwall()} else "nobody"

    def _check(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode:
            pytest.fail(f"{done.args[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


@dataclass(frozen=True, slots=True)
class Schema:
    """One database on a server; it may not exist yet."""

    server: MysqlServer
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.execute(*statements, schema=self.name)

    def exists(self) -> bool:
        found = self.server.execute("SHOW DATABASES")
        return (self.name,) in found

    def drop(self) -> None:
        self.server.execute(f"DROP DATABASE IF EXISTS {identifier(self.name)}")


def identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@contextlib.contextmanager
def free_schema(server: MysqlServer, name: str = "") -> Iterator[Schema]:
    """One that does not exist yet; dropped afterwards, with whatever a restore left beside it."""
    schema = Schema(server, name or f"test_{next(_numbers)}")
    schema.drop()
    try:
        yield schema
    finally:
        schema.drop()
        for (other,) in server.execute("SHOW DATABASES"):
            if other.startswith((f"{schema.name}_before_", f"{schema.name}_restored_")):
                Schema(server, other).drop()


@contextlib.contextmanager
def new_schema(server: MysqlServer, name: str = "", *, options: str = "CHARACTER SET utf8mb4") -> Iterator[Schema]:
    with free_schema(server, name) as schema:
        server.execute(f"CREATE DATABASE {identifier(schema.name)} {options}")
        yield schema


def mariadb_here(settings: Sequence[str] = ()) -> MysqlServer:
    """The machine's own. A missing one fails the test."""
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if not program or not install:
        pytest.fail("the programs `mariadbd` and `mariadb-install-db` are missing: apt-get install mariadb-server")
    words = ("--no-defaults", "--datadir=@DATA@", "--auth-root-authentication-method=normal", "--skip-test-db")
    return MysqlServer(program, (install, *words), settings)


def mysql_newer(settings: Sequence[str] = ()) -> MysqlServer:
    """A newer MySQL than Debian's stable has: none."""
    root = NEWER / "mysql"
    program = str(root / "programs" / "mysqld")
    places = (f"--basedir={root / 'usr'}", f"--lc-messages-dir={root / 'usr/share/mysql'}")
    install = (program, "--no-defaults", "--initialize-insecure", "--datadir=@DATA@", *places)
    own = ("--mysqlx=OFF", "--secure-file-priv=", f"--plugin-dir={root / 'usr/lib/mysql/plugin'}")
    return MysqlServer(program, install, (*places, *own, *(settings or ("--skip-networking",))))


_SYSTEM_TABLES = ("mariadb_system_tables", "mariadb_performance_tables", "mariadb_system_tables_data")


def mariadb_newer(settings: Sequence[str] = ()) -> MysqlServer:
    """MariaDB of the next Debian."""
    root = NEWER / "mariadb"
    program = str(root / "programs" / "mariadbd")
    places = (f"--basedir={root / 'usr'}", f"--lc-messages-dir={root / 'usr/share/mysql'}")
    # Its mariadb-install-db runs programs that want the libraries of their own release; this is what it does.
    scripts = " ".join(str(root / f"usr/share/mariadb/{name}.sql") for name in _SYSTEM_TABLES)
    begin = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;"
    start = f"{program} --no-defaults --bootstrap --datadir=@DATA@ {' '.join(places)}"
    install = ("/bin/sh", "-euc", f"mkdir @DATA@; (echo '{begin}'; cat {scripts}) | {start}")
    return MysqlServer(program, install, (*places, *(settings or ("--skip-networking",))))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MysqlServer]:
    """The server that tests share, with a binary log as an app's would have."""
    with mariadb_here(("--skip-networking", "--log-bin", "--server-id=1", "--event-scheduler=OFF")) as server:
        yield server


@pytest.fixture
def schema(mariadb: MysqlServer) -> Iterator[Schema]:
    """A fresh empty database."""
    with new_schema(mariadb) as schema:
        yield schema


@pytest.fixture
def target(mariadb: MysqlServer) -> Iterator[Schema]:
    """The name of a database that does not exist yet."""
    with free_schema(mariadb) as schema:
        yield schema


@pytest.fixture
def fresh_mariadb() -> Iterator[MysqlServer]:
    """A server for one test alone, free to be killed or to have users."""
    with mariadb_here() as server:
        yield server
