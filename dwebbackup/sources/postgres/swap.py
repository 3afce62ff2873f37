"""A restore's database: filled under a temporary name, renamed when complete, so nobody connects to half of one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import psycopg

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused, RestoreFailed, TargetNotEmpty
from dwebbackup.manifest import SourceFacts
from dwebbackup.sources.postgres import census, properties
from dwebbackup.sources.postgres.connection import Connection, Server, execute, identifier, literal, refused
from dwebbackup.sources.postgres.properties import Properties

LONGEST_NAME = 63
"""Bytes of a PostgreSQL name."""

RENAME_TRIES = 20

_PROVIDERS = {"c": ("libc", ""), "i": ("icu", "ICU_LOCALE"), "b": ("builtin", "BUILTIN_LOCALE")}
"""By `pg_database.datlocprovider`: its name, and the option of CREATE DATABASE for its locale."""


class State(Enum):
    """What stands where the restored database is to be."""

    ABSENT = "absent"
    EMPTY = "empty"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a restore goes, and how it gets there."""

    name: str
    state: State
    objects: tuple[str, ...]
    """The first few things that stand there."""
    sessions: int

    @property
    def temporary(self) -> str:
        """The same for every restore to this name, so that a killed one's left-over is recognised."""
        return f"dwebbackup_restoring_{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    def aside(self, moment: str) -> str:
        """What the database that is replaced is called afterwards."""
        stamp = "".join(filter(str.isdigit, moment))[:14]
        kept = self.name.encode()[: LONGEST_NAME - len(stamp) - 8].decode(errors="ignore")
        return f"{kept}_before_{stamp}"


@contextmanager
def control(server: Server) -> Iterator[Connection]:
    """A connection to a database that is not the target. Raises `DatabaseRefused`."""
    refusal: DatabaseRefused | None = None
    for name in ("postgres", "template1"):
        if name == server.database:
            continue
        try:
            connection = server.connect(name)
        except DatabaseRefused as error:
            refusal = refusal or error
            continue
        with connection:
            yield connection
        return
    raise refusal or DatabaseRefused(f"no way to reach {server.url} beside the target itself")


def look(connection: Connection, server: Server) -> Place:
    """What is at the target now. Raises `DatabaseRefused`."""
    name = server.database
    exists = execute(connection, "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", (name,))
    if not exists:
        return Place(name, State.ABSENT, (), 0)
    sessions = execute(
        connection,
        "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
        (name,),
    )[0][0]
    with server.connect() as inside:
        objects = tuple(census.user_objects(inside))
    return Place(name, State.FULL if objects else State.EMPTY, objects, int(sessions))


def require_room(place: Place, *, replace: bool) -> None:
    """Raises `TargetNotEmpty` when the target holds objects and may not be replaced."""
    if place.state is State.FULL and not replace:
        raise TargetNotEmpty(
            f"{place.name} holds objects ({', '.join(place.objects)}, …); nothing was touched",
            "name another database, or say --replace: the old one is kept under another name",
        )


@contextmanager
def only_one(connection: Connection, place: Place) -> Iterator[None]:
    """Hold a lock against a second restore to the same name, as long as *connection* lives."""
    key = int.from_bytes(hashlib.sha256(place.temporary.encode()).digest()[:8], "big", signed=True)
    if not execute(connection, "SELECT pg_catalog.pg_try_advisory_lock(%s)", (key,))[0][0]:
        raise DatabaseRefused(f"another restore to {place.name} is under way on this server", "wait for it to end")
    yield


@contextmanager
def vacated(connection: Connection, server: Server, place: Place) -> Iterator[None]:
    """An empty target is removed for as long as the restore lasts, and made again if that fails.

    So no app finds it and begins to fill it; and dropping it at the end would make the server write out all that
    was restored (DROP DATABASE is a checkpoint: 2.4 s after 0.9 GB). Raises `TargetNotEmpty` if it has been filled.
    """
    if place.state is not State.EMPTY:
        yield
        return
    aside = place.aside(clock.iso(clock.now()))
    _rename(connection, (place.name, aside))
    try:
        statement, before = _require_still_empty(server, place, aside)
        execute(connection, f"DROP DATABASE {identifier(aside)} WITH (FORCE)")
    except BaseException:
        _rename(connection, (aside, place.name))
        raise
    try:
        yield
    except BaseException:
        execute(connection, statement)
        properties.apply(connection, place.name, before)
        raise


def _require_still_empty(server: Server, place: Place, aside: str) -> tuple[str, Properties]:
    """The statement that makes it again, and what it had besides."""
    with server.connect(aside) as inside:
        objects = tuple(census.user_objects(inside))
        require_room(Place(place.name, State.FULL if objects else State.EMPTY, objects, 0), replace=False)
        database = census.database(inside)
        statement = _create(inside, place.name, database.encoding, dict(database.details))
        return statement, properties.parse(census.properties(inside))


@contextmanager
def temporary_database(connection: Connection, place: Place, facts: SourceFacts) -> Iterator[str]:
    """A new, empty database like the source, dropped again if anything fails; its name."""
    name = place.temporary
    execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
    execute(connection, _create(connection, name, facts.encoding, dict(facts.details)))
    try:
        yield name
    except BaseException:
        _drop_quietly(connection, name)
        raise


def _create(connection: Connection, name: str, encoding: str, locale: Mapping[str, str]) -> str:
    """From template0, with this encoding and locale (`census.Database.details`)."""
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


def _drop_quietly(connection: Connection, name: str) -> None:
    """After a failure: if even this fails, the next restore finds the left-over and drops it."""
    try:
        connection.execute(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)".encode())
    except psycopg.Error:
        return


def take_place(connection: Connection, place: Place) -> tuple[str, ...]:
    """Rename the filled database to its name; what stands there steps aside. What the user should know.

    Raises `RestoreFailed` when it cannot be renamed; then the target is as it was.
    """
    if place.state is not State.FULL:
        _rename(connection, (place.temporary, place.name))
        return ()
    aside = place.aside(clock.iso(clock.now()))
    _rename(connection, (place.name, aside), (place.temporary, place.name))
    return (f"the database that was there is kept as {aside}; drop it when you no longer need it",)


def _rename(connection: Connection, *names: tuple[str, str]) -> None:
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
