"""Where a restore goes, and what stands there; the schema under a temporary name in which everything is filled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused, DwebbackupError, TargetNotEmpty
from dwebbackup.sources.mysql import census
from dwebbackup.sources.mysql.capture import capture
from dwebbackup.sources.mysql.connection import Connection, Server, close, execute, identifier
from dwebbackup.sources.mysql.definitions import Definitions

LONGEST_NAME = 64
"""Characters of a name."""


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
    objects: tuple[str, ...] = ()
    """The first few things that stand there."""

    @property
    def temporary(self) -> str:
        """The same for every restore to this name, so that a killed one's left-over is recognised."""
        return f"dwebbackup_restoring_{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    def beside(self, what: str) -> str:
        """A name for another schema: this one's, with *what* became of that, and when."""
        stamp = "".join(filter(str.isdigit, clock.iso(clock.now())))[:14]
        return f"{self.name[: LONGEST_NAME - len(stamp) - len(what) - 2]}_{what}_{stamp}"


def look(connection: Connection, name: str) -> Place:
    """What is at the target now. Raises `DatabaseRefused`."""
    if not census.exists(connection, name):
        return Place(name, State.ABSENT)
    objects = tuple(census.objects(connection, name))
    return Place(name, State.FULL if objects else State.EMPTY, objects)


def require_room(place: Place, *, replace: bool) -> None:
    """Raises `TargetNotEmpty` when the target holds objects and may not be replaced."""
    if place.name.lower() in census.SYSTEM:
        raise DatabaseRefused(f"{place.name} is the server's own schema", "name another database")
    if place.state is State.FULL and not replace:
        raise TargetNotEmpty(
            f"{place.name} holds objects ({', '.join(place.objects)}, …); nothing was touched",
            "name another database, or say --replace: the old one is kept under another name",
        )


@contextmanager
def only_one(connection: Connection, place: Place) -> Iterator[None]:
    """Hold a lock against a second restore to the same name, as long as *connection* lives."""
    if execute(connection, "SELECT GET_LOCK(%s, 0)", (place.temporary,))[0][0] != 1:
        raise DatabaseRefused(f"another restore to {place.name} is under way on this server", "wait for it to end")
    yield


@contextmanager
def vacated(connection: Connection, server: Server, place: Place) -> Iterator[None]:
    """An empty target is removed for as long as the restore lasts, and made again if that fails.

    So no app finds it and begins to fill it; rights on it are by its name, and stay. Raises `TargetNotEmpty` if it has
    been filled.
    """
    if place.state is not State.EMPTY:
        yield
        return
    found = capture(connection, place.name)
    execute(connection, "USE information_schema")
    require_room(look(connection, place.name), replace=False)
    execute(connection, f"DROP SCHEMA {identifier(place.name)}")
    try:
        yield
    except BaseException as error:
        with clearing_up(error, f"the empty database {place.name} could not be made again"), _alive(server) as alive:
            if not census.exists(alive, place.name):  # by somebody else, who then goes on with it
                create(alive, place.name, found)
        raise


@contextmanager
def temporary_schema(connection: Connection, server: Server, place: Place, found: Definitions) -> Iterator[str]:
    """A new, empty schema like the source, dropped again in the end; its name."""
    name = place.temporary
    execute(connection, f"DROP SCHEMA IF EXISTS {identifier(name)}")
    create(connection, name, found)
    try:
        yield name
    except BaseException as error:
        left = f"{name} is left over, and the next restore to {place.name} drops it"
        with clearing_up(error, left), _alive(server) as alive:
            execute(alive, f"DROP SCHEMA IF EXISTS {identifier(name)}")
        raise
    execute(connection, f"DROP SCHEMA IF EXISTS {identifier(name)}")


def create(connection: Connection, name: str, like: Definitions) -> None:
    execute(connection, f"CREATE SCHEMA {identifier(name)} {_charset(like)}")


def become(connection: Connection, name: str, like: Definitions) -> None:
    execute(connection, f"ALTER SCHEMA {identifier(name)} {_charset(like)}")


def _charset(of: Definitions) -> str:
    return f"CHARACTER SET {of.charset} COLLATE {of.collation}"


@contextmanager
def clearing_up(error: BaseException, otherwise: str) -> Iterator[None]:
    """What fails here is said beside *error*, never instead of it."""
    try:
        yield
    except DwebbackupError as another:
        error.add_note(f"{otherwise}: {another}")


@contextmanager
def _alive(server: Server) -> Iterator[Connection]:
    """A new connection: whatever went wrong may have taken the old one with it."""
    connection = server.connect()
    try:
        yield connection
    finally:
        close(connection)
