"""One snapshot of a PostgreSQL database: locks first, then the snapshot, then schema and rows out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused
from dwebbackup.manifest import SourceFacts, StreamSpec
from dwebbackup.ports import ByteStream, Dump
from dwebbackup.sources.postgres import census, largeobjects
from dwebbackup.sources.postgres.connection import Connection, Server, execute, identifier, literal
from dwebbackup.sources.postgres.psql import JOIN_TIMEOUT, Psql
from dwebbackup.sources.postgres.snapshot import open_snapshot, schema_session
from dwebbackup.sources.postgres.tools import Tools, choose
from dwebbackup.sources.process import Child, Children

SCHEMA_ESTIMATE = 64 * 1024


class PostgresSource:
    """A PostgreSQL database that can be backed up."""

    kind = "postgres"

    def __init__(self, url: str, name: str = "", jobs: int = 2, bin_folder: str | None = None) -> None:
        self._server = Server(url)
        self._bin_folder = bin_folder
        self._jobs = jobs
        self.name = name or self._server.database or self._server.parameters.get("service", "postgres")

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        """Lock every table, then open the snapshot. Raises `DatabaseRefused`, `ToolMissing`."""
        with self._server.connect(pooled=True) as connection, Children() as children:
            tools = choose(census.major_of(connection), self._bin_folder)
            yield PostgresDump(self.name, self._server, connection, tools, children, self._jobs)


class PostgresDump:
    """The open snapshot. One connection holds the locks and exports it; every reader joins it."""

    def __init__(
        self,
        name: str,
        server: Server,
        connection: Connection,
        tools: Tools,
        children: Children,
        jobs: int,
    ) -> None:
        self._name = name
        self._connection = connection
        self._tools = tools
        self._children = children
        self._version = connection.info.server_version
        self._environment = server.environment(connection)
        self._target = server.conninfo(connection.info.dbname)
        self._snapshot = open_snapshot(connection, self._start_psql, self._start_schema, jobs)
        self._waiting = list(self._snapshot.readers)
        self._clock = clock.monotonic()
        self._database = census.database(connection)
        self._tables = [table for table in census.tables(connection) if not (table.unlogged and self._database.standby)]
        self._kept = {
            "properties": census.properties(connection),
            "sequences": b"".join(
                json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in census.sequences(connection)
            ),
        }
        self.specs: Sequence[StreamSpec] = tuple(self._streams())

    def _streams(self) -> Iterator[StreamSpec]:
        yield StreamSpec("schema", estimate=SCHEMA_ESTIMATE)
        if census.has_large_objects(self._connection):
            size = _size(self._connection, "pg_catalog.pg_largeobject")
            yield StreamSpec("largeobjects", estimate=size, tag=largeobjects.PAGES)
            size = _size(self._connection, "pg_catalog.pg_largeobject_metadata")
            yield StreamSpec("largeobjectowners", estimate=size, tag=largeobjects.OWNERS)
        for table in sorted(self._tables, key=lambda table: (-table.size, table.path)):
            columns = f" ({', '.join(map(identifier, table.columns))})" if table.columns else ""
            what = f"{identifier(*table.path)}{columns}"
            if table.of_extension:
                listed = ", ".join(map(identifier, table.columns))
                what = f"(SELECT {listed} FROM ONLY {identifier(*table.path)} {table.condition})"  # noqa: S608
            kind = "configuration" if table.of_extension else "rows"
            yield StreamSpec(kind, table.path, table.columns, table.size, tag=what)
        for kind, data in self._kept.items():
            yield StreamSpec(kind, estimate=len(data))

    @contextmanager
    def reader(self) -> Iterator[PostgresReader]:
        """A reader with a psql of its own, which joined the snapshot when it was taken."""
        psql = self._waiting.pop() if self._waiting else self._start_psql(self._snapshot.name, "")
        yield PostgresReader(self, psql)
        psql.close()

    def _start_psql(self, snapshot: str, first: str) -> Psql:
        command = [self._tools.program("psql"), "-d", self._target]
        return Psql(command, self._environment, snapshot, self._version, self._children, first)

    def open_rows(self, psql: Psql, spec: StreamSpec) -> ByteStream:
        return psql.copy(spec.tag, self._database.encoding, spec.label)

    def open_kept(self, spec: StreamSpec) -> ByteStream:
        return KeptStream(self._kept[spec.kind])

    def open_schema(self) -> ByteStream:
        return SchemaStream(self._snapshot.schema)

    def _start_schema(self, snapshot: str) -> Child:
        """`pg_dump` of everything but rows.

        By sections rather than `--exclude-table-data='*'`, which would also leave out the refresh of materialized
        views. Sequence values are in neither: they are a stream of their own, and large objects are two.
        """
        command = [
            self._tools.program("pg_dump"),
            "--format=custom",
            "--compress=0",
            "--section=pre-data",
            "--section=post-data",
            "-B",  # no large objects; its long name has changed
            *(["--no-statistics"] if self._tools.major >= 18 else []),  # ANALYZE comes with every restore
            # Names of roles are in whatever encoding they were made: only without conversion are all readable.
            f"--encoding={self._connection.info.parameter_status('server_encoding')}",
            f"--snapshot={snapshot}",
            f"--lock-wait-timeout={JOIN_TIMEOUT * 1000}",
            "--no-password",
            f"--dbname={self._target}",
        ]
        environment = self._environment | {"PGAPPNAME": schema_session(snapshot)}
        return self._children.add(Child(command, environment))

    def abort(self) -> None:
        self._children.kill()

    def finish(self) -> SourceFacts:
        """The connection that holds the locks is still there, so nothing changed below the readers."""
        try:
            execute(self._connection, "SELECT 1")
        except DatabaseRefused as error:
            raise DatabaseRefused(f"the snapshot was lost before everything was read: {error}", error.hint) from error
        database = self._database
        facts = SourceFacts(
            name=self._name,
            kind=PostgresSource.kind,
            identity=database.identity,
            database=self._connection.info.dbname,
            server_version=self._connection.info.parameter_status("server_version") or "",
            client_version=self._tools.version,
            encoding=database.encoding,
            snapshot=clock.iso(self._snapshot.taken),
            snapshot_seconds=round(clock.monotonic() - self._clock, 3),
            extensions=census.extensions(self._connection),
            details=database.details,
            notes=self._notes(),
        )
        self._connection.execute("ROLLBACK")
        return facts

    def _notes(self) -> tuple[str, ...]:
        if self._database.standby:
            return ("taken from a standby, where unlogged tables have no rows",)
        return ()


class PostgresReader:
    """Opens streams one after the other."""

    def __init__(self, dump: PostgresDump, psql: Psql) -> None:
        self._dump = dump
        self._psql = psql

    def open(self, spec: StreamSpec) -> ByteStream:
        if spec.kind == "schema":
            return self._dump.open_schema()
        if spec.kind in ("properties", "sequences"):
            return self._dump.open_kept(spec)
        return self._dump.open_rows(self._psql, spec)


class SchemaStream:
    """What `pg_dump` prints; its end is one only with exit status 0."""

    rows = None

    def __init__(self, child: Child) -> None:
        self._child = child
        assert child.process.stdout
        self._output = child.process.stdout

    def readinto(self, view: memoryview, /) -> int:
        if self._output.closed:
            return 0
        count = self._output.readinto(view)  # type: ignore[attr-defined]  # unbuffered, so a raw FileIO
        if not count:
            self._child.finish(DatabaseRefused, "dumping the schema")
        return int(count)


class KeptStream:
    """A stream that was small enough to be asked for at the start."""

    rows = None

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def readinto(self, view: memoryview, /) -> int:
        taken, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(taken)] = taken
        return len(taken)


def _size(connection: Connection, relation: str) -> int:
    query = f"SELECT pg_catalog.pg_total_relation_size({literal(relation)}::regclass)"
    return int(execute(connection, query)[0][0])
