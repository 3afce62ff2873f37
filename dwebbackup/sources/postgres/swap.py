"""A restore's database: filled under a temporary name, renamed when complete, so nobody connects to half of one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum

import psycopg

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused, DwebbackupError, RestoreFailed, TargetNotEmpty
from dwebbackup.manifest import SourceFacts
from dwebbackup.sources.postgres import census, databases, hindrances, properties, standby, subscriptions
from dwebbackup.sources.postgres.connection import Connection, Server, execute, identifier
from dwebbackup.sources.postgres.objects import user_objects
from dwebbackup.sources.postgres.properties import Properties

LONGEST_NAME = 63
"""Bytes of a PostgreSQL name."""


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
    sessions: tuple[str, ...] = ()
    """Who is connected there: `role (program)`, with how many of them there are."""
    size: int = 0
    """Bytes of what stands there."""
    following: tuple[str, ...] = ()
    """Subscriptions by which it takes in changes."""
    hindrances: tuple[tuple[str, str], ...] = ()
    """What else keeps it from stepping aside, and what to do about each."""

    @property
    def temporary(self) -> str:
        """The same for every restore to this name, so that a killed one's left-over is recognised."""
        return f"dwebbackup_restoring_{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    def beside(self, what: str) -> str:
        """A name for another database: this one's, with *what* became of that, and when."""
        stamp = "".join(filter(str.isdigit, clock.iso(clock.now())))[:14]
        kept = self.name.encode()[: LONGEST_NAME - len(stamp) - len(what) - 2].decode(errors="ignore")
        return f"{kept}_{what}_{stamp}"


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
            standby.require_primary(connection, server.url)
            yield connection
        return
    raise refusal or DatabaseRefused(f"no way to reach {server.url} beside the target itself")


_SESSIONS = """SELECT concat(coalesce(usename, '?'), ' (' || nullif(application_name, '') || ')',
      CASE WHEN count(*) > 1 THEN concat(' × ', count(*)) END)
    FROM pg_catalog.pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'
    GROUP BY usename, application_name ORDER BY count(*) DESC, 1"""


def look(connection: Connection, server: Server) -> Place:
    """What is at the target now. Raises `DatabaseRefused`."""
    name = server.database
    if not databases.exists(connection, name):
        return Place(name, State.ABSENT, ())
    sessions = execute(connection, _SESSIONS, (name,))
    with server.connect() as inside:
        objects = tuple(user_objects(inside))
        size = int(execute(inside, "SELECT pg_catalog.pg_database_size(current_database())")[0][0])
    following = tuple(each.name for each in subscriptions.listed(connection, name) if each.enabled)
    state = State.FULL if objects else State.EMPTY
    in_the_way = hindrances.listed(connection, name, dropped=state is State.EMPTY)
    return Place(name, state, objects, tuple(who for (who,) in sessions), size, following, in_the_way)


def require_room(place: Place, *, replace: bool) -> None:
    """Raises `TargetNotEmpty` when the target holds objects and may not be replaced, `DatabaseRefused` if it cannot."""
    if place.state is State.FULL and not replace:
        raise TargetNotEmpty(
            f"{place.name} holds objects ({', '.join(place.objects)}, …); nothing was touched",
            "name another database, or say --replace: the old one is kept under another name",
        )
    if place.following:
        raise DatabaseRefused(
            f"{place.name} takes in changes by the subscriptions {', '.join(place.following)}, and cannot be renamed "
            "meanwhile; nothing was touched",
            "; ".join(f"ALTER SUBSCRIPTION {identifier(name)} DISABLE" for name in place.following),
        )
    if place.hindrances:
        raise DatabaseRefused(
            f"{place.name} cannot step aside: {', '.join(what for what, _ in place.hindrances)}; nothing was touched",
            "; ".join(dict.fromkeys(remedy for _, remedy in place.hindrances)),
        )


_HELD_ELSEWHERE = """SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND (classid::bigint << 32 | objid::bigint) = %s AND pid <> pg_catalog.pg_backend_pid()"""
"""Each database has such locks of its own, and another restore may have reached this server by way of another one."""


@contextmanager
def only_one(connection: Connection, place: Place) -> Iterator[None]:
    """Hold a lock against a second restore to the same name, as long as *connection* lives."""
    key = int.from_bytes(hashlib.sha256(place.temporary.encode()).digest()[:8], "big", signed=True)
    ours = execute(connection, "SELECT pg_catalog.pg_try_advisory_lock(%s)", (key,))[0][0]
    if not ours or execute(connection, _HELD_ELSEWHERE, (key,)):
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
    aside = place.beside("before")
    databases.rename(connection, (place.name, aside))
    try:
        again, before = _require_still_empty(server, place, aside)
        execute(connection, f"DROP DATABASE {identifier(aside)} WITH (FORCE)")
    except BaseException as error:
        with _clearing_up(error, f"{place.name} is now called {aside}"):
            databases.rename(connection, (aside, place.name))
        raise
    try:
        yield
    except BaseException as error:
        lost = f"the empty database {place.name} could not be made again"
        with _clearing_up(error, lost), _alive(connection, server, place) as alive:
            if not databases.exists(alive, place.name):  # by somebody else, who then goes on with it
                execute(alive, again)
                properties.apply(alive, place.name, before)
        raise


def _require_still_empty(server: Server, place: Place, aside: str) -> tuple[str, Properties]:
    """The statement that makes it again, and what it had besides."""
    with server.connect(aside) as inside:
        objects = tuple(user_objects(inside))
        require_room(Place(place.name, State.FULL if objects else State.EMPTY, objects), replace=False)
        database = census.database(inside)
        again = databases.creation(inside, place.name, database.encoding, dict(database.details))
        return again, properties.parse(census.properties(inside))


@contextmanager
def temporary_database(connection: Connection, server: Server, place: Place, facts: SourceFacts) -> Iterator[str]:
    """A new, empty database like the source, dropped again if anything fails; its name."""
    name = place.temporary
    databases.drop(connection, server, name)
    execute(connection, databases.creation(connection, name, facts.encoding, dict(facts.details)))
    try:
        yield name
    except BaseException as error:
        left = f"{name} is left over, and the next restore to {place.name} drops it"
        with _clearing_up(error, left), _alive(connection, server, place) as alive:
            databases.drop(alive, server, name)
        raise


@contextmanager
def _clearing_up(error: BaseException, otherwise: str) -> Iterator[None]:
    """What fails here is said beside *error*, never instead of it."""
    try:
        yield
    except (DwebbackupError, psycopg.Error) as another:
        error.add_note(f"{otherwise}: {another}")


@contextmanager
def _alive(connection: Connection, server: Server, place: Place) -> Iterator[Connection]:
    """*connection*; where that is gone, a new one, with the lock that went with it."""
    with ExitStack() as stack:
        try:
            execute(connection, "SELECT 1")
        except DatabaseRefused:
            connection = stack.enter_context(control(server))
            stack.enter_context(only_one(connection, place))
        yield connection


def take_place(connection: Connection, server: Server, place: Place) -> tuple[str, ...]:
    """Rename the filled database to its name; what stands there steps aside. What the user should know.

    Raises `RestoreFailed` when it cannot be renamed; then the target is as it was, with the filled one beside it.
    """
    try:
        return _take_place(connection, server, place)
    except DwebbackupError as error:
        outcome, kept = error, place.beside("restored")
        with _clearing_up(error, f"nor could it be kept as {kept}"):
            databases.rename(connection, (place.temporary, kept))
            outcome = RestoreFailed(
                f"{error}; what was restored is complete, and kept as {kept}",
                f"make room, then ALTER DATABASE {identifier(kept)} RENAME TO {identifier(place.name)}; or drop it",
            )
        raise outcome from error.__cause__


def _take_place(connection: Connection, server: Server, place: Place) -> tuple[str, ...]:
    if not databases.exists(connection, place.name):
        databases.rename(connection, (place.temporary, place.name))
        return ()
    if place.state is not State.FULL:
        _require_empty_newcomer(server, place.name)
    aside = place.beside("before")
    databases.rename(connection, (place.name, aside), (place.temporary, place.name))
    return (f"the database that was there is kept as {aside}; drop it when you no longer need it",)


def _require_empty_newcomer(server: Server, name: str) -> None:
    with server.connect() as inside:
        objects = user_objects(inside)
    if objects:
        raise RestoreFailed(f"somebody made the database {name} meanwhile, with {', '.join(objects)} in it")
