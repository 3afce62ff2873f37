"""A restore's schema: filled under a temporary name; then its tables move to their place, all by one statement.

MySQL cannot rename a schema, but RENAME TABLE moves any number of tables from one to another, all or none. Triggers,
views, routines and events it cannot move: these are made anew, and have been made once before, in the temporary schema,
so that what the server would refuse is known before anything is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused, DwebbackupError, RestoreFailed, TargetNotEmpty
from dwebbackup.sources.mysql import census, definitions
from dwebbackup.sources.mysql.building import Builder
from dwebbackup.sources.mysql.connection import Connection, Server, close, execute, identifier
from dwebbackup.sources.mysql.definitions import Definitions

LONGEST_NAME = 64
"""Characters of a name."""

MOVED = ("table", "sequence")
MADE = ("procedure", "function", "package", "package body", "trigger", "event")
"""What cannot be moved, views aside."""


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
    words = f"CHARACTER SET {like.charset} COLLATE {like.collation}"
    execute(connection, f"CREATE SCHEMA {identifier(name)} {words}")


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
    old = _standing(connection, place)
    undo: list[tuple[str, Definitions, str]] = []
    aside = place.beside("before")
    try:
        if old is None:
            create(connection, place.name, found)
        else:
            create(connection, aside, old)
            undo.append(("remake", old, place.name))
            _drop_made(connection, old, place.name)
        _move(connection, place, aside, old, found)
        undo.append(("back", found, aside if old else ""))
        _make_rest(connection, found, place.name)
    except BaseException as error:
        with _clearing_up(error, f"{place.name} could not be put back: look for its tables in {aside} as well"):
            _undo(connection, place, old, undo, aside)
        if isinstance(error, DatabaseRefused):
            raise RestoreFailed(f"{error}", error.hint) from error
        raise
    if old is None:
        return ()
    return (_keep_old(connection, old, aside),)


def _standing(connection: Connection, place: Place) -> Definitions | None:
    """What is there and steps aside; None where nothing is. Raises `RestoreFailed` for what somebody made meanwhile."""
    now = look(connection, place.name)
    if now.state is State.ABSENT:
        return None
    if place.state is not State.FULL and now.state is State.FULL:
        raise RestoreFailed(f"somebody made the database {place.name} meanwhile, with {', '.join(now.objects)} in it")
    return definitions.capture(connection, place.name)


def _drop_made(connection: Connection, old: Definitions, schema: str) -> None:
    """Triggers would keep their tables from moving; the rest would stand in the way of what comes."""
    Builder(connection, old, schema).drop("trigger", "view", *MADE)


def _move(connection: Connection, place: Place, aside: str, old: Definitions | None, found: Definitions) -> None:
    moves = [*_moves(old, place.name, aside)] if old else []
    moves += _moves(found, place.temporary, place.name)
    if moves:
        execute(connection, "SET SESSION foreign_key_checks = 0")
        execute(connection, f"RENAME TABLE {', '.join(moves)}")
    _repoint(connection, place.name, place.temporary)
    if old:
        _repoint(connection, aside, place.name)


def _moves(what: Definitions, from_: str, to: str) -> Iterator[str]:
    for item in what.of(*MOVED):
        yield f"{identifier(from_, item.name)} TO {identifier(to, item.name)}"


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


def _make_rest(connection: Connection, found: Definitions, schema: str) -> None:
    builder = Builder(connection, found, schema)
    builder.make("function", "procedure", "package", "package body")
    builder.make_views()
    builder.make("trigger")
    builder.make("event")


def _undo(
    connection: Connection,
    place: Place,
    old: Definitions | None,
    done: Sequence[tuple[str, Definitions, str]],
    aside: str,
) -> None:
    """Everything back to where it was."""
    for what, definitions_, _ in reversed(done):
        if what == "back":
            _drop_made(connection, definitions_, place.name)
            moves = [*_moves(definitions_, place.name, place.temporary)]
            moves += _moves(old, aside, place.name) if old else []
            if moves:
                execute(connection, f"RENAME TABLE {', '.join(moves)}")
            if old:
                _repoint(connection, place.name, aside)
        else:
            _make_rest(connection, definitions_, place.name)
            execute(connection, f"DROP SCHEMA {identifier(aside)}")
    if old is None and not census.objects(connection, place.name):
        execute(connection, f"DROP SCHEMA IF EXISTS {identifier(place.name)}")


def _keep_old(connection: Connection, old: Definitions, aside: str) -> str:
    """What could not be moved with the old tables is made beside them; its events do not run."""
    told = f"the database that was there is kept as {aside}; drop it when you no longer need it"
    builder = Builder(connection, old, aside)
    try:
        builder.make("function", "procedure", "package", "package body")
        builder.make_views()
        builder.make("trigger")
    except DwebbackupError as error:
        return f"{told}; not all of its triggers, views and routines could be made there: {error}"
    events = [item.name for item in old.of("event")]
    return f"{told}; its events were left out: {', '.join(events)}" if events else told
