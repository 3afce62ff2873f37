"""Filled tables moved to their place, all by one statement, and what stood there moved aside by the same.

MySQL cannot rename a schema, but RENAME TABLE moves any number of tables from one to another, all or none. Triggers,
views, routines and events it cannot move: these are made anew, and have been made once before, in the temporary schema,
so that what the server would refuse is known before anything is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dwebbackup.errors import DatabaseRefused, DwebbackupError, RestoreFailed
from dwebbackup.sources.mysql.building import ROUTINES, Builder
from dwebbackup.sources.mysql.capture import capture
from dwebbackup.sources.mysql.connection import Connection, execute, identifier
from dwebbackup.sources.mysql.definitions import Definitions
from dwebbackup.sources.mysql.swap import Place, State, become, clearing_up, create, look

MOVED = ("table", "sequence")
MADE = (*ROUTINES, "event")
"""What cannot be moved, views and triggers aside."""


def take_place(connection: Connection, place: Place, found: Definitions) -> tuple[str, ...]:
    """Move the filled tables to their place, and make there what cannot be moved. What the user should know.

    Raises `RestoreFailed` when that cannot be; then the target is as it was.
    """
    old, aside = _standing(connection, place), place.beside("before")
    with _undoing(place, aside) as undo:
        if old:
            create(connection, aside, old)
            undo.append(lambda: execute(connection, f"DROP SCHEMA {identifier(aside)}"))
            undo.append(lambda: become(connection, place.name, old))
            become(connection, place.name, found)
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
        with clearing_up(error, f"{place.name} could not be put back: look for its tables in {aside} as well"):
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
    return capture(connection, place.name)


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
