"""A PostgreSQL database as a target: what a restore would do there, and the restore, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from dwebbackup.errors import Damaged, DatabaseRefused, ToolMissing, WrongConfiguration
from dwebbackup.manifest import SourceRecord, StreamRecord
from dwebbackup.ports import Restored, StreamReader, TargetOptions
from dwebbackup.sources.postgres import largeobjects, load, properties, schema, swap
from dwebbackup.sources.postgres.connection import Connection, Server, execute, identifier, major
from dwebbackup.sources.postgres.properties import Properties
from dwebbackup.sources.postgres.swap import Place, State
from dwebbackup.sources.postgres.tools import Tools, choose, major_in

KINDS = frozenset({"schema", *load.ROWS, "sequences", "largeobjects", "largeobjectowners", "properties"})
"""The streams of a source of this kind, as `docs/format.md` describes them."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything decided before anything is touched."""

    place: Place
    tools: Tools
    server_major: int
    properties: Properties
    missing: tuple[str, ...]
    owners: bool


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
        sentences = [
            f"create {place.temporary} ({facts.encoding}, {facts.detail('collate')}) on {self.url}",
            *_about_roles(plan),
            f"restore the schema with pg_restore {plan.tools.version}",
            f"fill {len(_tables(source))} tables with {_rows(source)} rows, {options.jobs} at a time",
            "build indexes and constraints, refresh materialized views, analyze",
        ]
        match place.state:
            case State.ABSENT:
                sentences.append(f"rename it to {place.name}")
            case State.EMPTY:
                sentences.append(
                    f"rename it to {place.name}, in the place of the empty database, which is removed first"
                )
            case State.FULL:
                sentences.append(
                    f"disconnect {place.sessions} sessions, keep {place.name} under another name, and rename"
                )
        return sentences

    def load(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Restored:
        """Raises `TargetNotEmpty`, `DatabaseRefused`, `ToolMissing`, `RestoreFailed`, and what *read* raises."""
        with ExitStack() as stack:
            connection = stack.enter_context(swap.control(self._server))
            plan = self._plan(connection, source, read, options)
            stack.enter_context(swap.only_one(connection, plan.place))
            shortfalls = self._make_roles(connection, plan)
            stack.enter_context(swap.vacated(connection, self._server, plan.place))
            name = stack.enter_context(swap.temporary_database(connection, plan.place, source.facts))
            if plan.owners:  # from the start: the schema public belongs to whoever owns the database
                owner = identifier(plan.properties.owner)
                execute(connection, f"ALTER DATABASE {identifier(name)} OWNER TO {owner}")
            shortfalls += self._fill(name, source, read, plan, options)
            shortfalls += properties.apply(connection, name, plan.properties) if plan.owners else ()
            notes = (*source.facts.notes, *swap.take_place(connection, plan.place))
        return Restored(self.url, len(_tables(source)), _rows(source), notes, shortfalls)

    def _plan(self, connection: Connection, source: SourceRecord, read: StreamReader, options: TargetOptions) -> _Plan:
        facts = source.facts
        if facts.kind != "postgres":
            raise WrongConfiguration(f"this backup is of {facts.kind}, and {self.url} is PostgreSQL")
        _require_known(source)
        here, there = major(connection.info.server_version), major_in(facts.server_version)
        if here < there:
            raise DatabaseRefused(
                f"the backup is of PostgreSQL {there}, and {self.url} is PostgreSQL {here}",
                f"restore onto PostgreSQL {there} or newer",
            )
        tools = choose(max(here, major_in(facts.client_version)), self._bin_folder)
        place = swap.look(connection, self._server)
        swap.require_room(place, replace=options.replace)
        self._require_extensions(connection, source)
        captured = properties.parse(b"".join(read(only(source, "properties"))))
        missing = properties.missing_roles(connection, captured)
        owners = properties.may_give(connection, captured, missing)
        return _Plan(place, tools, here, captured, missing, owners)

    def _require_extensions(self, connection: Connection, source: SourceRecord) -> None:
        available = {
            name for (name,) in execute(connection, "SELECT name::text FROM pg_catalog.pg_available_extensions")
        }
        lacking = [extension.name for extension in source.facts.extensions if extension.name not in available]
        if lacking:
            raise DatabaseRefused(
                f"{self.url} lacks the extensions {', '.join(lacking)}",
                "install their packages on the database server, then restore again",
            )

    def _make_roles(self, connection: Connection, plan: _Plan) -> tuple[str, ...]:
        if not plan.owners:
            names = ", ".join(plan.properties.role_names)
            return (f"restored without owners and rights: this role may not act for all of {names}",)
        return properties.create_roles(connection, plan.properties, plan.missing)

    def _fill(
        self, name: str, source: SourceRecord, read: StreamReader, plan: _Plan, options: TargetOptions
    ) -> tuple[str, ...]:
        """What was left out or comes short."""
        server = self._server
        with server.connect(name) as connection:
            environment = server.environment(connection, name)
            conninfo = server.conninfo(name)
            if plan.owners:
                schema.level_public(connection, major_in(source.facts.client_version))
        with schema.archive_file(read(only(source, "schema"))) as archive:
            notes = schema.restore_section(
                plan.tools, archive, "pre-data", conninfo, environment, jobs=1, owners=plan.owners
            )
            load.load_rows(server, name, source.facts, _tables(source), read, options.jobs)
            with server.connect(name) as connection:
                load.set_sequences(connection, b"".join(read(only(source, "sequences"))))
                if any(stream.kind == "largeobjects" for stream in source.streams):
                    owners, pages = read(only(source, "largeobjectowners")), read(only(source, "largeobjects"))
                    largeobjects.load(connection, source.facts, owners, pages, give=plan.owners)
            notes += schema.restore_section(
                plan.tools, archive, "post-data", conninfo, environment, jobs=options.jobs, owners=plan.owners
            )
        return notes + load.analyze(server, name, options.jobs)


def _about_roles(plan: _Plan) -> Iterator[str]:
    if not plan.owners:
        yield f"leave out owners and rights: this role may not act for all of {', '.join(plan.properties.role_names)}"
    elif plan.missing:
        yield f"create the roles {', '.join(plan.missing)}"


def _require_known(source: SourceRecord) -> None:
    """Raises `ToolMissing` when a newer version stored what this one would leave out."""
    unknown = sorted({stream.kind for stream in source.streams} - KINDS)
    if unknown:
        raise ToolMissing(
            f"the backup holds {', '.join(unknown)}, which this version cannot put back",
            "install the newest version: pip install --upgrade dwebbackup",
        )


def only(source: SourceRecord, kind: str) -> StreamRecord:
    """The one stream of this kind. Raises `Damaged`."""
    streams = [stream for stream in source.streams if stream.kind == kind]
    if len(streams) != 1:
        raise Damaged(f"the backup has {len(streams)} {kind} streams, not one")
    return streams[0]


def _tables(source: SourceRecord) -> list[StreamRecord]:
    return [stream for stream in source.streams if stream.kind in load.ROWS]


def _rows(source: SourceRecord) -> int:
    return sum(stream.rows or 0 for stream in _tables(source))
