"""One snapshot of a PostgreSQL database: locks first, then the snapshot, then schema and rows out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused
from dwebbackup.manifest import SourceFacts, StreamSpec
from dwebbackup.ports import ByteStream, Condition, Dump, Finding
from dwebbackup.sources.postgres import census, cutting, rights, standby
from dwebbackup.sources.postgres.checking import check
from dwebbackup.sources.postgres.condition import condition
from dwebbackup.sources.postgres.connection import Connection, Server, execute, refused
from dwebbackup.sources.postgres.psql import JOIN_TIMEOUT, Psql
from dwebbackup.sources.postgres.refusals import of_program
from dwebbackup.sources.postgres.snapshot import open_snapshot, schema_session
from dwebbackup.sources.postgres.streams import streams
from dwebbackup.sources.postgres.tools import Tools, choose
from dwebbackup.sources.postgres.unseen import unseen
from dwebbackup.sources.process import Child, Children


class PostgresSource:
    """A PostgreSQL database that can be backed up."""

    kind = "postgres"

    def __init__(
        self, url: str, name: str = "", jobs: int = 2, bin_folder: str | None = None, *, piece: int = cutting.PIECE
    ) -> None:
        """*piece*: bytes of a table that one stream holds, about, where large tables are cut."""
        self._server = Server(url)
        self._bin_folder = bin_folder
        self._jobs = jobs
        self._piece = piece
        self.name = name or self._server.database or self._server.parameters.get("service", "postgres")

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        """Lock every table, then open the snapshot. Raises `DatabaseRefused`, `ToolMissing`."""
        with self._server.connect() as connection, standby.explained(connection), Children() as children:
            tools = choose(census.major_of(connection), self._bin_folder)
            rights.require(connection)
            yield PostgresDump(self.name, self._server, connection, tools, children, self._jobs, self._piece)

    def check(self) -> Iterator[Finding]:
        """As the port says. Raises `DatabaseRefused`."""
        return check(self._server, self._jobs, self._bin_folder)

    def condition(self) -> Condition:
        """As the port says. Raises `DatabaseRefused`."""
        return condition(self._server)


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
        piece: int,
    ) -> None:
        self._name = name
        self._connection = connection
        self._tools = tools
        self._children = children
        self._version = connection.info.server_version
        self._environment = server.environment(connection)
        self._target = server.conninfo(connection)
        self._snapshot = open_snapshot(connection, self._start_psql, self._start_schema, jobs)
        self._waiting = list(self._snapshot.readers)
        self._database = census.database(connection)
        tables = [table for table in census.tables(connection) if not (table.unlogged and self._database.standby)]
        self._kept = {
            "properties": census.properties(connection),
            "sequences": b"".join(
                json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in census.sequences(connection)
            ),
        }
        listed = streams(connection, tables, self._kept, jobs, piece)
        self.specs: Sequence[StreamSpec] = tuple(listed)

    @contextmanager
    def reader(self) -> Iterator[PostgresReader]:
        """A reader with a psql of its own, which joined the snapshot when it was taken."""
        try:
            psql = self._waiting.pop()
        except IndexError:  # asking beforehand would not do: others take theirs at the same time
            psql = self._start_psql(self._snapshot.name, "")
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
        self._connection.close()  # with the locks; nobody else uses it

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
            snapshot_seconds=round(clock.monotonic() - self._snapshot.opened, 3),
            extensions=census.extensions(self._connection),
            details=database.details,
            notes=tuple(self._notes()),
        )
        with refused("letting the snapshot go"):
            self._connection.execute("ROLLBACK")
        return facts

    def _notes(self) -> Iterator[str]:
        yield from standby.notes(self._connection)
        yield from unseen(self._connection)


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
            self._child.finish(of_program, "dumping the schema")
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
