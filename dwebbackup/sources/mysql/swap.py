"""A restore's schema: filled under a temporary name; then its tables move to their place, all by one statement.

MySQL cannot rename a schema, but RENAME TABLE moves any number of tables from one to another, all or none. Triggers,
views, routines and events it cannot move: these are made anew, and have been made once before, in the temporary schema,
so that what the server would refuse is known before anything is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused, DwebbackupError, RestoreFailed, TargetNotEmpty
from dwebbackup.sources.mysql import census, definitions
from dwebbackup.sources.mysql.building import ROUTINES, Builder
from dwebbackup.sources.mysql.connection import Connection, Server, close, execute, identifier
from dwebbackup.sources.mysql.definitions import Definitions

LONGEST_NAME = 64
"""Characters of a name."""

MOVED = ("table", "sequence")
MADE = (*ROUTINES, "event")
"""What cannot be moved, views and triggers aside."""


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
    found = definitions.capture(connection, place.name)
    execute(connection, "USE information_schema")
    require_room(look(connection, place.name), replace=False)
    execute(connection, f"DROP SCHEMA {identifier(place.name)}")
    try:
        yield
    except BaseException as error:
        with _clearing_up(error, f"the empty database {place.name} could not be made again"), _alive(server) as alive:
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
        with _clearing_up(error, left), _alive(server) as alive:
            execute(alive, f"DROP SCHEMA IF EXISTS {identifier(name)}")
        raise
    execute(connection, f"DROP SCHEMA IF EXISTS {identifier(name)}")


def create(connection: Connection, name: str, like: Definitions) -> None:
    execute(connection, f"CREATE SCHEMA {identifier(name)} {_charset(like)}")


def _become(connection: Connection, name: str, like: Definitions) -> None:
    execute(connection, f"ALTER SCHEMA {identifier(name)} {_charset(like)}")


def _charset(of: Definitions) -> str:
    return f"CHARACTER SET {of.charset} COLLATE {of.collation}"


@contextmanager
def _clearing_up(error: BaseException, otherwise: str) -> Iterator[None]:
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


# --- taking the place ---


def take_place(connection: Connection, place: Place, found: Definitions) -> tuple[str, ...]:
    """Move the filled tables to their place, and make there what cannot be moved. What the user should know.

    Raises `RestoreFailed` when that cannot be; then the target is as it was.
    """
    old, aside = _standing(connection, place), place.beside("before")
    with _undoing(place, aside) as undo:
        if old:
            create(connection, aside, old)
            undo.append(lambda: execute(connection, f"DROP SCHEMA {identifier(aside)}"))
            undo.append(lambda: _become(connection, place.name, old))
            _become(connection, place.name, found)
            going = Builder(connection, old, place.name)
            undo.append(going.remake)
            going.drop("trigger", "view", *MADE)  # triggers would keep their tables from moving
        else:
            create(connection, place.name, found)
            undo.append(lambda: execute(connection, f"DROP SCHEMA {identifier(place.name)}"))
        there = [*_moves(old, place.name, aside), *_moves(found, place.temporary, place.name)]
        back = [*_moves(found, place.name, place.temporary), *_moves(old, aside, place.name)]
        _rename(connection, there)
        undo.append(lambda: _back(connection, back, place.name, aside))
        _repoint(connection, place.name, place.temporary)
        coming = Builder(connection, found, place.name)
        undo.append(coming.unmake)
        coming.make(*ROUTINES)
        coming.make_views()
        coming.make("trigger", "event")
    return (_keep_old(connection, old, place.name, aside),) if old else ()


@contextmanager
def _undoing(place: Place, aside: str) -> Iterator[list[Callable[[], object]]]:
    """Where something fails, what was done is undone, the last first."""
    undo: list[Callable[[], object]] = []
    try:
        yield undo
    except BaseException as error:
        with _clearing_up(error, f"{place.name} could not be put back: look for its tables in {aside} as well"):
            for step in reversed(undo):
                step()
        if isinstance(error, DatabaseRefused):
            raise RestoreFailed(f"{error}", error.hint) from error
        raise


def _standing(connection: Connection, place: Place) -> Definitions | None:
    """What is there and steps aside; None where nothing is. Raises `RestoreFailed` for what somebody made meanwhile."""
    now = look(connection, place.name)
    if now.state is State.ABSENT:
        return None
    if place.state is not State.FULL and now.state is State.FULL:
        raise RestoreFailed(f"somebody made the database {place.name} meanwhile, with {', '.join(now.objects)} in it")
    return definitions.capture(connection, place.name)


def _moves(what: Definitions | None, from_: str, to: str) -> Iterator[str]:
    for item in what.of(*MOVED) if what else ():
        yield f"{identifier(from_, item.name)} TO {identifier(to, item.name)}"


def _rename(connection: Connection, moves: Sequence[str]) -> None:
    if moves:
        execute(connection, "SET SESSION foreign_key_checks = 0")
        execute(connection, f"RENAME TABLE {', '.join(moves)}")


def _back(connection: Connection, moves: Sequence[str], name: str, aside: str) -> None:
    _rename(connection, moves)
    _repoint(connection, name, aside)


def _repoint(connection: Connection, schema: str, former: str) -> None:
    """Defaults that take the next value of a sequence name it with its schema, and do not follow it."""
    wanted = f"nextval({identifier(former)}.%"
    rows = execute(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND COLUMN_DEFAULT LIKE %s",
        (schema, wanted.replace("_", "\\_")),
    )
    for table, column, default in rows:
        moved = default.replace(f"nextval({identifier(former)}.", f"nextval({identifier(schema)}.")
        at = f"{identifier(schema, table)} ALTER COLUMN {identifier(column)}"
        execute(connection, f"ALTER TABLE {at} SET DEFAULT {moved}")


def _keep_old(connection: Connection, old: Definitions, name: str, aside: str) -> str:
    """What could not be moved with the old tables is made beside them; its events do not run."""
    told = f"the database that was there is kept as {aside}; drop it when you no longer need it"
    builder = Builder(connection, old, aside)
    try:
        _repoint(connection, aside, name)
        builder.make(*ROUTINES)
        builder.make_views()
        builder.make("trigger")
    except DwebbackupError as error:
        return f"{told}; not all of its triggers, views and routines could be made there: {error}"
    events = [item.name for item in old.of("event")]
    return f"{told}; its events were left out: {', '.join(events)}" if events else told
