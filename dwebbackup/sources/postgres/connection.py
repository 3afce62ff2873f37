"""How a PostgreSQL server is reached: libpq's own rules for us, an environment without secrets in argv for children."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dwebbackup.errors import DatabaseRefused, WrongConfiguration

OLDEST = 13
"""PostgreSQL majors before this one are not backed up."""

SECRETS = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")

SESSION: dict[str, str] = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "search_path": "",
    "row_security": "off",
    "synchronize_seqscans": "off",
    "default_transaction_read_only": "off",
    "standard_conforming_strings": "on",
    "xmloption": "content",
}
"""Settings under which values have one text form, whatever the server, database or role prefers.
`synchronize_seqscans`: otherwise two dumps of an unchanged table begin at different rows."""

SINCE_17 = {"transaction_timeout": "0"}

Connection = psycopg.Connection[tuple[Any, ...]]


class Server:
    """One way to one database, as a URL or `key=value` words that libpq takes."""

    def __init__(self, url: str) -> None:
        """Raises `WrongConfiguration` when libpq would not take it."""
        try:
            self.parameters: dict[str, str] = {
                key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None
            }
        except psycopg.ProgrammingError:  # its text may quote the password
            raise WrongConfiguration(
                "this is not an address of a PostgreSQL database that libpq takes",
                "it looks like postgresql://user@host:5432/database; a password in it is percent-encoded",
            ) from None

    @property
    def database(self) -> str:
        """The database's name where we are told; empty where libpq finds it: in a service file, by the user's name."""
        return self.parameters.get("dbname") or os.environ.get("PGDATABASE", "")

    @property
    def url(self) -> str:
        """For people: without credentials."""
        host = self.parameters.get("host") or os.environ.get("PGHOST") or "localhost"
        port = self.parameters.get("port") or os.environ.get("PGPORT") or "5432"
        user = self.parameters.get("user")
        return f"postgresql://{user + '@' if user else ''}{host}:{port}/{self.database}"

    def connect(self, database: str | None = None, *, pooled: bool = False) -> Connection:
        """A connection with `SESSION` settings, in autocommit. Raises `DatabaseRefused`.

        *pooled*: it may go through a pooler, so nothing is set that outlives a transaction; the caller does it
        with `settings_sql` in each. Without them, what is in the database decides what our queries mean.
        """
        parameters: dict[str, Any] = {"application_name": "dwebbackup", "connect_timeout": 30}
        parameters |= self.parameters | ({"dbname": database} if database else {}) | {"client_encoding": "UTF8"}
        try:
            connection = psycopg.connect(**parameters, autocommit=True)
        except psycopg.Error as error:
            raise DatabaseRefused(f"cannot connect to {self.url}: {str(error).strip()}", _hint(error)) from None
        if connection.info.parameter_status("server_version") is None or connection.info.server_version < (
            OLDEST * 10000
        ):
            version = connection.info.parameter_status("server_version") or "no PostgreSQL"
            connection.close()
            raise DatabaseRefused(f"{self.url} is {version}; PostgreSQL {OLDEST} or newer is needed")
        if not pooled:
            try:
                execute(connection, _session_sql(connection.info.server_version))
            except DatabaseRefused:
                connection.close()
                raise
        return connection

    def environment(self, connection: Connection, database: str | None = None) -> dict[str, str]:
        """For a client program: reaches the very server that *connection* reached.

        Everything goes by libpq's environment variables, nothing by argv, where anybody on the host reads it;
        our own variables, which hold keys, are left out. Raises `WrongConfiguration` for a secret that libpq
        has no variable for.
        """
        values = self.parameters | {
            "dbname": database or connection.info.dbname,
            "host": connection.info.host or self.parameters.get("host", ""),
            "port": str(connection.info.port),
            "user": connection.info.user,
            "application_name": "dwebbackup",
        }
        values.pop("client_encoding", None)
        known = {option.keyword.decode(): option.envvar for option in pq.Conninfo.get_defaults()}
        named = {}
        for key, value in values.items():
            variable = known.get(key)
            if variable:
                named[variable.decode()] = value
            elif key in SECRETS:
                raise WrongConfiguration(f"{key} cannot be handed to pg_dump", "use a service file or ~/.pgpass")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("DWEBBACKUP_")}
        return inherited | named | {"LC_ALL": "C", "PGCLIENTENCODING": "UTF8"}

    def conninfo(self, database: str) -> str:
        """`key=value` words for `-d` of a client, with what has no variable and is no secret."""
        known = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
        rest = {
            key: value
            for key, value in self.parameters.items()
            if key not in known and key not in SECRETS and key != "client_encoding"
        }
        return make_conninfo(**{**rest, "dbname": database})


def settings(version: int) -> dict[str, str]:
    """`SESSION` for a server of this version (as `server_version` numbers it)."""
    return SESSION | (SINCE_17 if version >= 170000 else {})


def _session_sql(version: int) -> str:
    """One query that sets them for the whole session."""
    calls = (
        f"pg_catalog.set_config({literal(key)}, {literal(value)}, false)" for key, value in settings(version).items()
    )
    return f"SELECT {', '.join(calls)}"


def settings_sql(version: int, changes: Mapping[str, str] = {}) -> str:
    """`SET LOCAL` statements, a line each: they end with the transaction, so a pooler sees nothing of them."""
    values = settings(version) | dict(changes)
    return "".join(f"SET LOCAL {key} = {literal(value)};\n" for key, value in values.items())


def execute(connection: Connection, statement: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
    """Run one statement, and give its rows. Raises `DatabaseRefused`."""
    with refused(" ".join(statement.split()[:3])):  # no more: further on, it may hold a secret
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def refused(doing: str) -> Iterator[None]:
    """Translate what the server or the connection says into `DatabaseRefused`."""
    try:
        yield
    except psycopg.Error as error:
        raise DatabaseRefused(f"the database refused ({doing}): {_message(error)}", _hint(error)) from error


def identifier(*names: str) -> str:
    """`"schema"."table"`, quoted for SQL."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A quoted string for SQL, under standard_conforming_strings either way."""
    quoted = text.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def major(version: int) -> int:
    """18 of 180001."""
    return version // 10000


def _message(error: psycopg.Error) -> str:
    primary = error.diag.message_primary or str(error).strip()
    return f"{primary} ({error.sqlstate})" if error.sqlstate else primary


_HINTS: dict[str, LiteralString] = {
    "28": "check the user and the password",
    "3D": "the database does not exist; check its name",
    "42501": "the role lacks a right: docs/postgres.md lists the GRANTs a backup needs",
    "53": "the server is out of resources; try again later, or with --jobs 1",
    "55P03": "a lock was held too long by another session; try again later",
    "57P": "the server is shutting down or was restarted; run it again",
    "08": "the connection was lost; run it again",
}


def _hint(error: psycopg.Error) -> str:
    state = error.sqlstate or ""
    for prefix, hint in _HINTS.items():
        if state.startswith(prefix):
            return hint
    return error.diag.message_hint or "is the server running, and the address right?" if not state else ""
