"""A PostgreSQL database as a target: what a restore would do there, and the restore, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from dwebbackup.errors import ToolMissing, WrongConfiguration
from dwebbackup.manifest import SourceRecord, StreamRecord
from dwebbackup.ports import Restored, StreamReader, TargetOptions
from dwebbackup.report.wording import size
from dwebbackup.sources.postgres import census, load, properties, roles, swap
from dwebbackup.sources.postgres.connection import Connection, Server, execute, identifier
from dwebbackup.sources.postgres.filling import Filling, fill, only, wanted_rows
from dwebbackup.sources.postgres.fitness import BY_DATABASE, Difference, Grade, judge, left_out, require, sentences
from dwebbackup.sources.postgres.needs import Offers, look
from dwebbackup.sources.postgres.needs import needs as needs_of
from dwebbackup.sources.postgres.properties import Properties
from dwebbackup.sources.postgres.swap import Place, State
from dwebbackup.sources.postgres.timescale import require_whole
from dwebbackup.sources.postgres.tools import choose, major_in

KINDS = frozenset({"schema", *load.ROWS, "sequences", "largeobjects", "largeobjectowners", "properties"})
"""The streams of a source of this kind, as `docs/format.md` describes them."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything decided before anything is touched."""

    place: Place
    properties: Properties
    missing: tuple[str, ...]
    """Roles that are not there."""
    new_roles: tuple[str, ...]
    """Those of them that will be made."""
    obstacle: str
    """Why things do not get their owners and rights; empty: they do."""
    offers: Offers
    differences: tuple[Difference, ...]
    filling: Filling
    streams: Sequence[StreamRecord]


class PostgresTarget:
    """A PostgreSQL database that a backup can be brought back to."""

    def __init__(self, url: str, jobs: int = 2, bin_folder: str | None = None) -> None:
        self._server = Server(url)
        if not self._server.database:
            raise WrongConfiguration(
                "the target names no database", "it looks like postgresql://USER@HOST:5432/DATABASE"
            )
        self._bin_folder = bin_folder
        self._jobs = jobs

    @property
    def url(self) -> str:
        return self._server.url

    def plan(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Sequence[str]:
        """Raises `TargetNotEmpty`, `DatabaseRefused`, `ToolMissing`."""
        with swap.control(self._server) as connection:
            plan = self._plan(connection, source, read, options)
        place, facts = plan.place, source.facts
        steps = [
            f"create {place.temporary} ({facts.encoding}, {facts.detail('collate')}) on {self.url}",
            *_about_roles(plan),
            *_about_extensions(plan),
            f"restore the schema with pg_restore {plan.filling.tools.version}",
            f"fill {len(load.by_table(plan.streams))} tables with {_rows(plan.streams)} rows, {options.jobs} at a time",
            "build indexes and constraints, refresh materialized views, analyze",
        ]
        match place.state:
            case State.ABSENT:
                steps.append(f"rename it to {place.name}")
            case State.EMPTY:
                steps.append(f"rename it to {place.name}, in the place of the empty database, which is removed first")
            case State.FULL:
                steps += _about_replacing(place, sum(stream.bytes for stream in plan.streams))
        return [*steps, *_about_differences(plan)]

    def load(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Restored:
        """Raises `TargetNotEmpty`, `DatabaseRefused`, `ToolMissing`, `RestoreFailed`, and what *read* raises."""
        with ExitStack() as stack:
            connection = stack.enter_context(swap.control(self._server))
            plan = self._plan(connection, source, read, options)
            stack.enter_context(swap.only_one(connection, plan.place))
            shortfalls = (*sentences(plan.differences, Grade.SHORT), *_missed(plan))
            shortfalls += stack.enter_context(roles.made(connection, plan.properties, plan.new_roles))
            stack.enter_context(swap.vacated(connection, self._server, plan.place))
            name = stack.enter_context(swap.temporary_database(connection, self._server, plan.place, source.facts))
            if plan.filling.owners:  # from the start: the schema public belongs to whoever owns the database
                owner = identifier(plan.properties.owner)
                execute(connection, f"ALTER DATABASE {identifier(name)} OWNER TO {owner}")
            filled = fill(plan.filling)
            shortfalls += filled.shortfalls
            absent = set(plan.missing).difference(plan.new_roles)
            shortfalls += properties.apply(connection, name, plan.properties, owners=plan.filling.owners, absent=absent)
            notes = (*source.facts.notes, *sentences(plan.differences, Grade.NOTE), *filled.notes)
            if options.announce:
                with self._server.connect(name) as inside:
                    identity = census.database(inside).identity
                options.announce(identity)
            notes += swap.take_place(connection, self._server, plan.place)
        return Restored(self.url, len(load.by_table(filled.streams)), _rows(filled.streams), notes, shortfalls)

    def _plan(self, connection: Connection, source: SourceRecord, read: StreamReader, options: TargetOptions) -> _Plan:
        facts = source.facts
        if facts.kind != "postgres":
            raise WrongConfiguration(f"this backup is of {facts.kind}, and {self.url} is PostgreSQL")
        _require_known(source)
        captured = properties.parse(b"".join(read(only(source, "properties"))))
        needs = needs_of(facts, captured)
        offers = look(connection, needs)
        differences = judge(needs, offers)
        require(differences, self.url)
        without = left_out(needs, offers)
        require_whole(facts.extensions, options.tables)
        tools = choose(max(offers.major, major_in(facts.client_version)), self._bin_folder)
        place = swap.look(connection, self._server)
        swap.require_room(place, replace=options.replace)
        missing = roles.missing(connection, captured)
        obstacle = roles.obstacle(connection, captured, missing)
        new_roles = missing if not obstacle and roles.may_create(connection) else ()
        filling = Filling(
            self._server,
            place.temporary,
            source,
            read,
            tools,
            options.jobs,
            not obstacle,
            tuple(options.tables),
            frozenset((*without, *(BY_DATABASE[name] for name in without if name in BY_DATABASE))),
        )
        streams = wanted_rows(filling, self._server.environment(connection))
        return _Plan(place, captured, missing, new_roles, obstacle, offers, differences, filling, streams)


def _about_replacing(place: Place, rows: int) -> Iterator[str]:
    yield f"disconnect whoever is connected to {place.name}: {', '.join(place.sessions) or 'nobody is now'}"
    yield f"keep {place.name} under another name, and rename"
    yield f"the server's disk has to hold both: {size(place.size)} that are there, {size(rows)} of rows, and indexes"


def _about_roles(plan: _Plan) -> Iterator[str]:
    if plan.obstacle:
        yield f"leave out owners and rights: {plan.obstacle}"
    elif plan.new_roles:
        yield f"create the roles {', '.join(plan.new_roles)}"
    elif plan.missing:
        yield f"leave out the roles {', '.join(plan.missing)}: this role may not create any"


def _missed(plan: _Plan) -> Iterator[str]:
    """What comes short of roles, owners and rights."""
    if plan.obstacle:
        yield f"restored without owners and rights: {plan.obstacle}"
    elif plan.missing and not plan.new_roles:
        yield f"the roles {', '.join(plan.missing)} were not made: this role may not create any"


def _about_extensions(plan: _Plan) -> Iterator[str]:
    made = [
        f"{name} {offered.version}"
        for name, offered in plan.offers.extensions.items()
        if name not in plan.filling.left_out
    ]
    if made:
        yield f"make the extensions {', '.join(made)}"


def _about_differences(plan: _Plan) -> Iterator[str]:
    if plan.properties.subscriptions:
        names = ", ".join(subscription.name for subscription in plan.properties.subscriptions)
        yield f"note: the subscriptions {names} will be disabled and without their slots"
    for grade in (Grade.NOTE, Grade.SHORT, Grade.DOUBT):
        yield from (f"note: {sentence}" for sentence in sentences(plan.differences, grade))


def _require_known(source: SourceRecord) -> None:
    """Raises `ToolMissing` when a newer version stored what this one would leave out."""
    unknown = sorted({stream.kind for stream in source.streams} - KINDS)
    if unknown:
        raise ToolMissing(
            f"the backup holds {', '.join(unknown)}, which this version cannot put back",
            "install the newest version: pip install --upgrade dwebbackup",
        )


def _rows(streams: Sequence[StreamRecord]) -> int:
    return sum(stream.rows or 0 for stream in streams)
