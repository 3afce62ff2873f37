"""How a PostgreSQL server is reached: libpq's own rules for us, an environment without secrets in argv for children."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dwebbackup.errors import DatabaseRefused, WrongConfiguration
from dwebbackup.sources.postgres import pooler, refusals

OLDEST = 13
"""PostgreSQL majors before this one are not backed up."""

PATIENCE = 30
"""Seconds for a connection to come about, where nobody says otherwise."""

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
    "max_parallel_workers_per_gather": "0",
    "enable_tidscan": "on",
    "default_transaction_read_only": "off",
    "standard_conforming_strings": "on",
    "xmloption": "content",
    "array_nulls": "on",
}
"""Settings under which values have one text form, whatever the server, database or role prefers.
`synchronize_seqscans`: otherwise two dumps of an unchanged table begin at different rows, as with rows that several
processes of the server gather; and --jobs says how many of its cores a backup takes. `enable_tidscan`: the parts of a
cut table are read without the pages of the others."""

SINCE_14 = {"idle_session_timeout": "0"}
SINCE_17 = {"transaction_timeout": "0"}

RESTORING = ("array_nulls", "default_transaction_read_only", "idle_session_timeout")
"""Those of them that pg_restore does not see to by itself."""

KEEPALIVES = {"keepalives_idle": "60", "keepalives_interval": "15", "keepalives_count": "4"}
"""Seconds and times: what is between us and the server does not forget a session that has nothing to say for hours,
and a server that is gone is missed after two minutes."""

LOCK_PATIENCE = "120000"
"""Milliseconds that a question of ours waits for somebody who has locked the catalogs. Programs that fill or read
tables have the setting of `SESSION`: their own workers wait for each other as long as it takes.
"""

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
        self._own_sessions: set[str | None] = set()
        """Databases that were found to be reached without a pooler, or by one that shares no session."""

    @property
    def database(self) -> str:
        """The database's name where we are told; empty where libpq finds it: in a service file, by the user's name."""
        return self.parameters.get("dbname") or os.environ.get("PGDATABASE", "")

    @property
    def url(self) -> str:
        """For people: without credentials."""
        host = self.parameters.get("host") or os.environ.get("PGHOST") or "localhost"
        if host.count(":") > 1 and "," not in host:
            host = f"[{host}]"
        port = self.parameters.get("port") or os.environ.get("PGPORT") or "5432"
        user = self.parameters.get("user")
        return f"postgresql://{user + '@' if user else ''}{host}:{port}/{self.database}"

    def connect(self, database: str | None = None) -> Connection:
        """A connection with `SESSION` settings, in autocommit, to a server that is new enough.

        The first to each database makes sure that no pooler shares it with others. Raises `DatabaseRefused`.
        """
        connection = self._open({"dbname": database} if database else {})
        try:
            self._require_postgres(connection)
            if database not in self._own_sessions:
                with refused("asking who answers"):
                    pooler.require_own_sessions(connection, lambda: self._open(_reached(connection)), self.url)
                self._own_sessions.add(database)
            execute(connection, _session_sql(connection.info.server_version))
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, changes: Mapping[str, str]) -> Connection:
        patience = os.environ.get("PGCONNECT_TIMEOUT") or PATIENCE
        parameters: dict[str, Any] = KEEPALIVES | {"application_name": "dwebbackup", "connect_timeout": patience}
        parameters |= self.parameters | dict(changes) | {"client_encoding": "UTF8"}
        try:
            return psycopg.connect(**parameters, autocommit=True)
        except (psycopg.Error, UnicodeError) as error:  # the latter for what can be no name of a host
            raise refusals.no_connection(error, self.url) from None

    def _require_postgres(self, connection: Connection) -> None:
        version = connection.info.parameter_status("server_version")
        if version is None or connection.info.server_version < OLDEST * 10000:
            raise DatabaseRefused(f"{self.url} is {version or 'no PostgreSQL'}; PostgreSQL {OLDEST} or newer is needed")

    def environment(self, connection: Connection, database: str | None = None) -> dict[str, str]:
        """For a client program: reaches the very server that *connection* reached.

        What is secret goes by libpq's environment variables, never by argv, where anybody on the host reads it;
        our own variables, which hold keys, are left out. Raises `WrongConfiguration` for a secret that libpq
        has no variable for.
        """
        values = self.parameters | _reached(connection) | {"application_name": "dwebbackup"}
        if database:
            values["dbname"] = database
        values.pop("client_encoding", None)
        variables = _variables()
        for key in SECRETS:
            if key in values and key not in variables:
                raise WrongConfiguration(
                    f"{key} cannot be handed to pg_dump", "write it into a service file, and name that: service=NAME"
                )
        named = {variables[key]: value for key, value in values.items() if key in variables}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("DWEBBACKUP_")}
        patience = {"PGCONNECT_TIMEOUT": str(PATIENCE)}
        return patience | inherited | named | {"LC_ALL": "C", "PGCLIENTENCODING": "UTF8"}

    def conninfo(self, connection: Connection, database: str | None = None) -> str:
        """`key=value` words for `-d` of a client, without secrets: where *connection* is, and what has no variable.

        The place stands here and not in the environment alone, because there a service file outranks it.
        """
        variables = _variables()
        rest = {
            key: value
            for key, value in self.parameters.items()
            if key not in variables and key not in SECRETS and key != "client_encoding"
        }
        return make_conninfo(**(KEEPALIVES | rest | _reached(connection) | ({"dbname": database} if database else {})))


def start_up_options(connection: Connection) -> dict[str, str]:
    """What pg_restore's environment needs besides, so that its sessions have the settings that ours have.

    Start-up options: poolers refuse them, so behind one it has none.
    """
    if pooler.is_proxied(connection):
        return {}
    values = settings(connection.info.server_version)
    ours = " ".join(f"-c {key}={values[key]}" for key in RESTORING if key in values)
    return {"PGOPTIONS": f"{connection.info.get_parameters().get('options', '')} {ours}".strip()}


def _variables() -> dict[str, str]:
    """The environment variables of libpq by the words for the same thing."""
    return {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}


def _reached(connection: Connection) -> dict[str, str]:
    """The one server, of those that were to be tried, or that a name may stand for; and as whom, in which database."""
    info = connection.info
    return {
        "host": info.host,
        "hostaddr": info.hostaddr,
        "port": str(info.port),
        "target_session_attrs": "any",
        "user": info.user,
        "dbname": info.dbname,
    }


def settings(version: int) -> dict[str, str]:
    """`SESSION` for a server of this version (as `server_version` numbers it)."""
    return SESSION | (SINCE_14 if version >= 140000 else {}) | (SINCE_17 if version >= 170000 else {})


def _session_sql(version: int) -> str:
    """One query that sets them for the whole session; a short `statement_timeout` must not end that query."""
    wanted = settings(version) | {"lock_timeout": LOCK_PATIENCE}
    calls = (f"pg_catalog.set_config({literal(key)}, {literal(value)}, false)" for key, value in wanted.items())
    first = f"SET statement_timeout = 0; SET lock_timeout = {LOCK_PATIENCE}"  # even the rest looks into the catalogs
    return f"{first}; SELECT {', '.join(calls)}"


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
        raise refusals.answer(error, doing) from error


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
