"""A new, empty database filled from a backup: schema, rows and indexes, sequences, large objects, the rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.manifest import SourceRecord, StreamRecord
from dwebbackup.ports import StreamReader
from dwebbackup.sources.postgres import largeobjects, load, schema, subscriptions
from dwebbackup.sources.postgres.connection import Server, start_up_options
from dwebbackup.sources.postgres.contents import Contents, Selection
from dwebbackup.sources.postgres.schema import Archive
from dwebbackup.sources.postgres.timescale import restoring
from dwebbackup.sources.postgres.tools import Tools, major_in
from dwebbackup.sources.postgres.verdicts import Notes, ask_again
from dwebbackup.sources.process import Children


@dataclass(frozen=True, slots=True)
class Filling:
    """What goes where, and how."""

    server: Server
    database: str
    source: SourceRecord
    read: StreamReader
    tools: Tools
    jobs: int
    owners: bool
    wanted: tuple[str, ...] = ()
    """Names of tables, if not all are wanted."""
    left_out: frozenset[str] = frozenset()
    """Extensions that are not restored, and the schemas that they would make."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a database got."""

    streams: Sequence[StreamRecord]
    """The rows."""
    notes: Notes
    shortfalls: Notes


def fill(filling: Filling) -> Filled:
    """All of it, into a database that has nothing.

    Raises `RestoreFailed`, `DatabaseRefused`, `Damaged`, and what the reader raises.
    """
    server, database, facts = filling.server, filling.database, filling.source.facts
    rules = restoring(server, database, facts.extensions)
    with Children() as children, rules, _archive(filling) as archive:
        contents = archive.contents(facts.encoding)
        selection = select(contents, filling.wanted) if filling.wanted else None
        entries = selection.entries if selection else tuple(contents)
        before = archive.restore("pre-data", children, only=entries)
        indexes = _Indexes(contents, archive, children)
        streams = chosen(filling, contents, selection)
        shortfalls = before.notes + load.load_rows(
            server, database, facts, streams, filling.read, filling.jobs, indexes
        )
        _load_others(filling, selection)
        rest = [entry for entry in entries if entry not in indexes.built]
        outcome = archive.restore("post-data", children, filling.jobs, rest)
    with server.connect(database) as connection:
        refused = (*before.spared, *indexes.refused, *outcome.spared)
        shortfalls += (*outcome.notes, *ask_again(connection, refused))
        notes = (*_about(selection), *subscriptions.part(connection))
    shortfalls += load.analyze(server, database, filling.jobs)
    return Filled(streams, notes, shortfalls)


def wanted_rows(filling: Filling, environment: Mapping[str, str]) -> Sequence[StreamRecord]:
    """The streams of rows that `fill` would load; *environment* is for pg_restore.

    Raises `WrongConfiguration`, and what the reader raises.
    """
    if not filling.wanted:
        return _rows(filling)
    with schema.archive_file(filling.read(only(filling.source, "schema"))) as path:
        archive = Archive(path, filling.tools, "", environment, filling.owners)
        contents = archive.contents(filling.source.facts.encoding)
    return chosen(filling, contents, select(contents, filling.wanted))


@contextmanager
def _archive(filling: Filling) -> Iterator[Archive]:
    server, name = filling.server, filling.database
    with server.connect(name) as connection:
        environment = server.environment(connection, name) | start_up_options(connection)
        conninfo = server.conninfo(connection, name)
        if filling.owners:
            schema.level_public(connection, major_in(filling.source.facts.client_version))
    with schema.archive_file(filling.read(only(filling.source, "schema"))) as path:
        yield Archive(path, filling.tools, conninfo, environment, filling.owners, filling.left_out)


def _load_others(filling: Filling, selection: Selection | None) -> None:
    """Sequences, those of what was left out excepted; large objects, which belong to no table."""
    source, read = filling.source, filling.read
    with filling.server.connect(filling.database) as connection:
        whole = selection is None and not filling.left_out
        load.set_sequences(connection, b"".join(read(only(source, "sequences"))), whole=whole)
        if selection is None and any(stream.kind == "largeobjects" for stream in source.streams):
            owners, pages = read(only(source, "largeobjectowners")), read(only(source, "largeobjects"))
            largeobjects.load(connection, source.facts, owners, pages, give=filling.owners)


class _Indexes:
    """Indexes built one by one while other tables are still being filled. Safe for several threads."""

    def __init__(self, contents: Contents, archive: Archive, children: Children) -> None:
        self.built: set[int] = set()
        self.refused: list[str] = []
        """Statements that failed."""
        self._contents = contents
        self._archive = archive
        self._children = children
        self._lock = threading.Lock()

    def of(self, path: Sequence[str]) -> Sequence[int]:
        found = self._contents.named(path)
        return self._contents.indexes_of(found[0]) if len(found) == 1 else ()

    def build(self, index: int) -> None:
        outcome = self._archive.restore("post-data", self._children, only=[index])
        with self._lock:
            self.built.add(index)
            self.refused += outcome.spared

    def abort(self) -> None:
        self._children.kill()


def select(contents: Contents, wanted: Sequence[str]) -> Selection:
    """What `--table` names, with what belongs to it. Raises `WrongConfiguration` for a name that no table has."""
    tables: set[int] = set()
    for pattern in wanted:
        found = contents.matching(pattern)
        if not found:
            raise WrongConfiguration(
                f"the backup has no table {pattern}", "`dwebbackup show BACKUP` lists them; SCHEMA.NAME, or NAME alone"
            )
        tables |= set(found)
    return contents.select(tables)


def chosen(filling: Filling, contents: Contents, selection: Selection | None) -> list[StreamRecord]:
    """The rows to load; those that an extension wants to be kept come with it, whatever was asked for."""
    streams = _rows(filling)
    if selection is None:
        return streams
    return [
        stream
        for stream in streams
        if stream.kind == "configuration" or selection.tables.intersection(contents.named(stream.path))
    ]


def _rows(filling: Filling) -> list[StreamRecord]:
    """The streams of rows, but for those of extensions that are left out."""
    return [
        stream
        for stream in tables(filling.source)
        if stream.kind != "configuration" or stream.path[0] not in filling.left_out
    ]


def _about(selection: Selection | None) -> Iterator[str]:
    if selection:
        yield "only some tables were asked for: this is not the whole database"
        for name in selection.empty:
            yield f"the table {name} is there, since another one needs it, but has no rows"
        for name in selection.left_out:
            yield f"left out, since it needs a table that was not asked for: {name}"


def only(source: SourceRecord, kind: str) -> StreamRecord:
    """The one stream of this kind. Raises `Damaged`."""
    streams = [stream for stream in source.streams if stream.kind == kind]
    if len(streams) != 1:
        raise Damaged(f"the backup has {len(streams)} {kind} streams, not one")
    return streams[0]


def tables(source: SourceRecord) -> list[StreamRecord]:
    """The streams of rows, a table each or a part of one."""
    return [stream for stream in source.streams if stream.kind in load.ROWS]
