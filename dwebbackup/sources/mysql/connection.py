"""How a MySQL or MariaDB server is reached: PyMySQL for us, arguments and an environment for client programs."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import pymysql
from pymysql.constants import CLIENT

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.mysql import refusals
from dwebbackup.sources.mysql.address import Address

OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0)}
"""Servers before these are not backed up."""

PATIENCE = 30
"""Seconds for a connection to come about."""

LOCK_PATIENCE = 120
"""Seconds that a question of ours waits for somebody who is changing a table."""

NO_TLS = 2026
"""The error number of clients for TLS that did not come about."""

_FOREVER = 365 * 24 * 3600

_PLAIN = {
    "time_zone": "'+00:00'",
    "sql_mode": "''",
    "sql_quote_show_create": "1",
    "autocommit": "1",
    "wait_timeout": str(_FOREVER // 12),
    "net_read_timeout": str(_FOREVER),
    "net_write_timeout": str(_FOREVER),
    "lock_wait_timeout": str(LOCK_PATIENCE),
    "sql_select_limit": "18446744073709551615",
    "sql_big_selects": "1",
    "unique_checks": "1",
    "foreign_key_checks": "1",
}
"""Settings under which values have one text form, and no session ends for having nothing to say to a slow store."""

_OF_FLAVOUR = {
    "MariaDB": {
        "max_statement_time": "0",
        "idle_transaction_timeout": "0",
        "idle_readonly_transaction_timeout": "0",
        "idle_write_transaction_timeout": "0",
    },
    "MySQL": {"max_execution_time": "0"},
}

Connection: TypeAlias = "pymysql.connections.Connection[pymysql.cursors.Cursor]"
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """What answers: MySQL or MariaDB, and which."""

    text: str
    """As the server tells it: `10.11.19-MariaDB-0+deb12u1`."""

    @property
    def flavour(self) -> str:
        return "MariaDB" if "mariadb" in self.text.lower() else "MySQL"

    @property
    def number(self) -> tuple[int, ...]:
        found = re.search(r"(?:5\.5\.5-)?(\d+)\.(\d+)(?:\.(\d+))?", self.text)
        return tuple(int(part or 0) for part in found.groups()) if found else (0,)

    def __str__(self) -> str:
        return f"{self.flavour} {'.'.join(map(str, self.number))}"


class Server:
    """One way to one database."""

    def __init__(self, url: str) -> None:
        """Raises `WrongConfiguration`."""
        self.address = Address.parse(url)
        self._tls = self.address.tls.context()

    @property
    def database(self) -> str:
        return self.address.database

    @property
    def url(self) -> str:
        """For people: without the password."""
        return self.address.url

    def connect(self, database: str = "", *, loads: bool = False) -> Connection:
        """A connection with plain settings, in autocommit, to a server that is new enough.

        *loads*: the server may ask for rows (LOAD DATA LOCAL); PyMySQL itself never gives it any file.
        Raises `DatabaseRefused`.
        """
        connection = self._open(database, CLIENT.LOCAL_FILES if loads else 0)
        try:
            version = version_of(connection)
            _require_new_enough(version, self.url)
            execute(connection, settings_sql(version))
            execute(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        except BaseException:
            close(connection)
            raise
        return connection

    def _open(self, database: str, flags: int) -> Connection:
        at = self.address
        try:
            _knock(at.socket)
            connection = self._dial(database, flags, None if at.socket else self._tls)
        except (pymysql.MySQLError, OSError, UnicodeError, ValueError) as error:
            raise refusals.no_connection(error, at.url) from None
        if at.tls.mode not in ("DISABLED", "PREFERRED") and not at.socket and not _encrypted(connection):
            close(connection)
            raise refusals.no_connection(pymysql.OperationalError(NO_TLS, "the server has no TLS"), at.url)
        return connection

    def _dial(self, database: str, flags: int, tls: ssl.SSLContext | None) -> Connection:
        at = self.address
        try:
            return pymysql.connect(
                host=at.host or "localhost",
                port=at.port,
                unix_socket=at.socket or None,
                user=at.user,
                password=at.password.encode(),  # of a text, PyMySQL would take the bytes of Latin-1
                database=database or None,
                charset="utf8mb4",
                connect_timeout=PATIENCE,
                ssl=tls,
                ssl_disabled=tls is None,
                client_flag=flags,
                autocommit=None,
                program_name="dwebbackup",
            )
        except pymysql.OperationalError as error:
            if tls is None or at.tls.mode != "PREFERRED" or error.args[0] != NO_TLS:
                raise
            return self._dial(database, flags, None)

    def arguments(self) -> list[str]:
        """For a client program: where to go, and nothing secret."""
        at = self.address
        where = ["--protocol=SOCKET", f"--socket={at.socket}"] if at.socket else _over_tcp(at)
        return ["--no-defaults", *where, f"--user={at.user}"]

    def environment(self) -> dict[str, str]:
        """The password goes by a variable, never by argv; our own variables, which hold keys, are left out."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("DWEBBACKUP_") and key not in ("MYSQL_PWD", "MYSQL_HOST", "MYSQL_TCP_PORT")
        }
        password = {"MYSQL_PWD": self.address.password} if self.address.password else {}
        return inherited | password | {"LC_ALL": "C"}


def _knock(path: str) -> None:
    """Whether somebody listens there; PyMySQL leaves its socket open where nobody does."""
    if path:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)


def _require_new_enough(version: Version, url: str) -> None:
    if version.number[:2] < OLDEST[version.flavour]:
        oldest = " or ".join(f"{name} {major}.{minor}" for name, (major, minor) in OLDEST.items())
        raise DatabaseRefused(f"{url} is {version}; {oldest}, or newer, is needed")


def _over_tcp(at: Address) -> Iterator[str]:
    yield from ("--protocol=TCP", f"--host={at.host or 'localhost'}", f"--port={at.port}")


def _encrypted(connection: Connection) -> bool:
    rows = execute(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    return bool(rows and rows[0][1])


def version_of(connection: Connection) -> Version:
    return Version(str(execute(connection, "SELECT VERSION()")[0][0]))


def settings_sql(version: Version) -> str:
    """One statement that sets them for the session."""
    values = _PLAIN | _OF_FLAVOUR[version.flavour]
    return "SET " + ", ".join(f"SESSION {key} = {value}" for key, value in values.items())


def execute(connection: Connection, statement: str, parameters: Sequence[Any] | None = None) -> Sequence[Row]:
    """Run one statement, and give its rows. Raises `DatabaseRefused`."""
    with refused(" ".join(statement.split()[:3])), connection.cursor() as cursor:  # no more: it may hold a secret
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else ()


def send(connection: Connection, statement: bytes) -> tuple[int, int]:
    """Run one statement that is bytes already: how many rows it touched, how many warnings there are.

    Raises `DatabaseRefused`.
    """
    doing = statement[:40].decode(errors="replace").split("(")[0].strip()
    with refused(doing), connection.cursor() as cursor:
        cursor.execute(statement)  # type: ignore[call-overload]  # str in its types alone
        return int(cursor.rowcount), int(cursor.warning_count)


@contextmanager
def refused(doing: str) -> Iterator[None]:
    """Translate what the server or the connection says into `DatabaseRefused`."""
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        raise refusals.answer(error, doing) from error


def close(connection: Connection) -> None:
    """At once, without a word to the server, and more than once if need be."""
    # `close` would speak to the server, which may have gone, or be in the midst of taking rows.
    connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001


def identifier(*names: str) -> str:
    """`` `schema`.`table` ``, quoted for SQL."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def literal(text: str) -> str:
    """A quoted string for SQL, whatever `sql_mode` says of backslashes: it is in hexadecimal digits."""
    return f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)" if text else "''"
