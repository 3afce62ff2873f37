"""A MySQL or MariaDB database as a target: what a restore would do there, and the restore, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from dwebbackup.errors import Damaged, ToolMissing, WrongConfiguration
from dwebbackup.manifest import SourceRecord, StreamRecord
from dwebbackup.ports import Restored, StreamReader, TargetOptions
from dwebbackup.sources.mysql import building, census, definitions, fitness, load, moving, rights, swap
from dwebbackup.sources.mysql.building import ROUTINES, Builder
from dwebbackup.sources.mysql.connection import Connection, Server, close
from dwebbackup.sources.mysql.definitions import Definitions
from dwebbackup.sources.mysql.dump import KIND
from dwebbackup.sources.mysql.swap import Place, State

KINDS = frozenset({"schema", "rows"})
"""The streams of a source of this kind, as `docs/format.md` describes them."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything decided before anything is touched."""

    place: Place
    found: Definitions
    """What is restored."""
    streams: tuple[StreamRecord, ...]
    notes: tuple[str, ...]


class MysqlTarget:
    """A MySQL or MariaDB database that a backup can be brought back to."""

    def __init__(self, url: str) -> None:
        """Raises `WrongConfiguration`."""
        self._server = Server(url)
        if not self._server.database:
            raise WrongConfiguration("the target names no database", "it looks like mysql://USER@HOST:3306/DATABASE")

    @property
    def url(self) -> str:
        return self._server.url

    def plan(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Sequence[str]:
        """Raises `TargetNotEmpty`, `DatabaseRefused`."""
        with self._control() as connection:
            plan = self._plan(connection, source, read, options)
        place, rows = plan.place, sum(stream.rows or 0 for stream in plan.streams)
        steps = [
            f"create {place.temporary} ({plan.found.charset}, {plan.found.collation}) on {self.url}",
            f"fill {len(plan.streams)} tables with {rows} rows, {options.jobs} at a time",
            "make its views, routines and triggers there once, to see that the server takes them",
        ]
        match place.state:
            case State.ABSENT:
                steps.append(f"create {place.name}, and move all tables there")
            case State.EMPTY:
                steps.append(f"move all tables to {place.name}, which is removed before and made again")
            case State.FULL:
                steps.append(f"move what is in {place.name} to another name, and all tables to {place.name}, at once")
        return [*steps, "make its views, routines, triggers and events", *(f"note: {note}" for note in plan.notes)]

    def load(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Restored:
        """Raises `TargetNotEmpty`, `DatabaseRefused`, `RestoreFailed`, and what *read* raises."""
        with ExitStack() as stack:
            connection = stack.enter_context(self._control())
            plan = self._plan(connection, source, read, options)
            place, found = plan.place, plan.found
            stack.enter_context(swap.only_one(connection, place))
            stack.enter_context(swap.vacated(connection, self._server, place))
            name = stack.enter_context(swap.temporary_schema(connection, self._server, place, found))
            builder = Builder(connection, found, name)
            builder.make("sequence")
            builder.make("table")
            load.load_rows(self._server, name, plan.streams, read, options.jobs)
            builder.set_sequences()
            shortfalls = _rehearse(connection, found, name)
            if options.announce:
                options.announce(census.identity(connection, place.name))
            notes = (*source.facts.notes, *plan.notes, *moving.take_place(connection, place, found))
        rows = sum(stream.rows or 0 for stream in plan.streams)
        return Restored(self.url, len(plan.streams), rows, notes, shortfalls)

    def _plan(self, connection: Connection, source: SourceRecord, read: StreamReader, options: TargetOptions) -> _Plan:
        if source.facts.kind != KIND:
            raise WrongConfiguration(f"this backup is of {source.facts.kind}, and {self.url} is MySQL or MariaDB")
        _require_known(source)
        found = definitions.decode(b"".join(read(_schema(source))))
        streams = tuple(stream for stream in source.streams if stream.kind == "rows")
        notes: tuple[str, ...] = ()
        if options.tables:
            found, streams, notes = _only(found, streams, options.tables)
        notes += fitness.judge(connection, source.facts, found)
        place = swap.look(connection, self._server.database)
        swap.require_room(place, replace=options.replace)
        if place.state is State.FULL:
            rights.require_for_replacing(connection, place.name)
        elif found.items:
            rights.require(connection, place.name)  # else something that somebody makes there would not be seen
        return _Plan(place, found, streams, notes)

    @contextmanager
    def _control(self) -> Iterator[Connection]:
        connection = self._server.connect()
        try:
            yield connection
        finally:
            close(connection)


def _rehearse(connection: Connection, found: Definitions, schema: str) -> tuple[str, ...]:
    """Make all that cannot be moved, and drop it again: what the server refuses, it refuses now. What comes short."""
    builder = Builder(connection, found, schema)
    builder.make(*ROUTINES)
    builder.make_views()
    builder.make("trigger")
    builder.unmake()
    absent = building.missing(connection, (item.definer for item in found.items))
    told = [f"{name} is not there, as whom some of it is to run: CREATE USER" for name in absent]
    told += [f"made in this user's own name, since it may not act for {name}" for name in sorted(builder.orphans)]
    return (*builder.refused, *told)


def _only(
    found: Definitions, streams: tuple[StreamRecord, ...], wanted: Sequence[str]
) -> tuple[Definitions, tuple[StreamRecord, ...], tuple[str, ...]]:
    """What `--table` names, with triggers, and sequences for defaults. Raises `WrongConfiguration`."""
    names: set[str] = set()
    for pattern in wanted:
        plain = pattern.removeprefix(f"{found.schema}.")
        fitting = {item.name for item in found.of("table") if fnmatchcase(item.name, plain)}
        if not fitting:
            raise WrongConfiguration(f"the backup has no table {pattern}", "`dwebbackup show BACKUP` lists them")
        names |= fitting
    kept = tuple(
        item
        for item in found.items
        if (item.kind == "table" and item.name in names)
        or item.kind == "sequence"
        or (item.kind == "trigger" and item.table in names)
    )
    note = "only some tables were asked for: this is not the whole database; views, routines and events were left out"
    return replace(found, items=kept), tuple(each for each in streams if each.path[0] in names), (note,)


def _schema(source: SourceRecord) -> StreamRecord:
    found = [stream for stream in source.streams if stream.kind == "schema"]
    if len(found) != 1:
        raise Damaged(f"the backup has {len(found)} schema streams, not one")
    return found[0]


def _require_known(source: SourceRecord) -> None:
    """Raises `ToolMissing` when a newer version stored what this one would leave out."""
    unknown = sorted({stream.kind for stream in source.streams} - KINDS)
    if unknown:
        raise ToolMissing(
            f"the backup holds {', '.join(unknown)}, which this version cannot put back",
            "install the newest version: pip install --upgrade dwebbackup",
        )
