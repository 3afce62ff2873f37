"""TimescaleDB's own rules for a restore: its very version, made before all else, and told when it begins and ends.

As its makers describe it for `pg_dump` and `pg_restore` ("Logical backup").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dwebbackup.errors import WrongConfiguration
from dwebbackup.manifest import Extension
from dwebbackup.sources.postgres.connection import Connection, Server, execute, literal

NAME = "timescaledb"


def require_whole(extensions: Sequence[Extension], wanted: Sequence[str]) -> None:
    """Raises `WrongConfiguration` when only some tables are wanted: the rows of a hypertable are in others."""
    if wanted and any(extension.name == NAME for extension in extensions):
        raise WrongConfiguration(
            "with TimescaleDB a backup comes back only as a whole: the rows of its tables are in tables of its own",
            "restore it without --table, beside the original",
        )


@contextmanager
def restoring(server: Server, database: str, extensions: Sequence[Extension]) -> Iterator[None]:
    """As long as this lasts, what is TimescaleDB's own comes in as it stood, and its workers rest."""
    version = next((extension.version for extension in extensions if extension.name == NAME), None)
    if version is None:
        yield
        return
    with server.connect(database) as connection:
        execute(connection, f"CREATE EXTENSION {NAME} SCHEMA public VERSION {literal(version)}")
    with server.connect(database) as connection:
        _tell(connection, "timescaledb_pre_restore")
    yield
    with server.connect(database) as connection:
        _tell(connection, "timescaledb_post_restore")


def _tell(connection: Connection, function: str) -> None:
    execute(connection, f"SELECT public.{function}()")
