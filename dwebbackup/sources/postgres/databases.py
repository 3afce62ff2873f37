"""Whole databases: made like another one, renamed while nobody is connected, dropped."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from dwebbackup.errors import DatabaseRefused, RestoreFailed
from dwebbackup.sources.postgres import subscriptions
from dwebbackup.sources.postgres.connection import Connection, Server, execute, identifier, literal, refused

RENAME_TRIES = 20

_PROVIDERS = {"c": ("libc", ""), "i": ("icu", "ICU_LOCALE"), "b": ("builtin", "BUILTIN_LOCALE")}
"""By `pg_database.datlocprovider`: its name, and the option of CREATE DATABASE for its locale."""


def creation(connection: Connection, name: str, encoding: str, locale: Mapping[str, str]) -> str:
    """The statement that makes it, from template0, with this encoding and locale (`census.Database.details`)."""
    words = [
        f"CREATE DATABASE {identifier(name)} TEMPLATE template0 ENCODING {literal(encoding)}",
        f"LC_COLLATE {literal(locale.get('collate', 'C'))} LC_CTYPE {literal(locale.get('ctype', 'C'))}",
    ]
    if connection.info.server_version >= 150000:
        provider, option = _PROVIDERS[locale.get("provider", "c")]
        words.append(f"LOCALE_PROVIDER {provider}")  # else it would be template0's
        if option:
            words.append(f"{option} {literal(locale.get('locale', ''))}")
        if locale.get("rules"):
            words.append(f"ICU_RULES {literal(locale['rules'])}")
    return " ".join(words)


def exists(connection: Connection, name: str) -> bool:
    return bool(execute(connection, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (name,)))


def drop(connection: Connection, server: Server, name: str) -> None:
    """A left-over, if it is there. Its subscriptions would hold it, and drop slots of the original."""
    if subscriptions.listed(connection, name):
        with server.connect(name) as inside:
            subscriptions.drop_all(inside)
    execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def rename(connection: Connection, *names: tuple[str, str]) -> None:
    """Disconnect whoever is connected, and rename, all or nothing; nobody gets in between. Raises `RestoreFailed`.

    RENAME itself holds off new sessions from its beginning to the end of the transaction, and waits a while for
    old ones to go.
    """
    for attempt in range(RENAME_TRIES):
        try:
            with refused("renaming"), connection.transaction():
                for old, new in names:
                    _disconnect(connection, old)
                    execute(connection, f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}")
        except DatabaseRefused as error:
            if not isinstance(error.__cause__, psycopg.errors.ObjectInUse) or attempt == RENAME_TRIES - 1:
                raise RestoreFailed(f"{names[0][0]} could not be renamed: {error}", error.hint) from error
        else:
            return


def _disconnect(connection: Connection, name: str) -> None:
    """End its sessions; what the server itself does there ends without us."""
    execute(
        connection,
        """SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()""",
        (name,),
    )
