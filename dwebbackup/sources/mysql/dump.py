"""One snapshot of a MySQL or MariaDB database: definitions held, then the moment, then schema and rows out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused, WrongConfiguration
from dwebbackup.manifest import SourceFacts, StreamSpec
from dwebbackup.ports import ByteStream, Condition, Dump, Finding
from dwebbackup.sources.mysql import census, definitions, rights
from dwebbackup.sources.mysql.capture import capture
from dwebbackup.sources.mysql.checking import check
from dwebbackup.sources.mysql.client import Client
from dwebbackup.sources.mysql.condition import condition
from dwebbackup.sources.mysql.connection import Connection, Server, close, execute, version_of
from dwebbackup.sources.mysql.snapshot import Snapshot, open_snapshot
from dwebbackup.sources.mysql.tools import Tool, choose
from dwebbackup.sources.process import Children

KIND = "mysql"
"""Of both: what MariaDB is, `server_version` says."""

REMEMBERED = ("max_allowed_packet", "lower_case_table_names")
"""Settings of the server that a target is compared by."""

NAMED = 10
"""Tables that a note names at most."""


class MysqlSource:
    """A MySQL or MariaDB database that can be backed up."""

    kind = KIND

    def __init__(self, url: str, name: str = "", jobs: int = 2, bin_folder: str | None = None) -> None:
        """Raises `WrongConfiguration`."""
        self._server = Server(url)
        if not self._server.database:
            raise WrongConfiguration("the source names no database", "it looks like mysql://USER@HOST:3306/DATABASE")
        self._bin_folder = bin_folder
        self._jobs = jobs
        self.name = name or self._server.database

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        """Raises `DatabaseRefused`, `ToolMissing`."""
        connection = self._server.connect(self._server.database)
        try:
            with Children() as children:
                tool = choose(version_of(connection), self._bin_folder)
                rights.require(connection, self._server.database)
                yield MysqlDump(self.name, self._server, connection, tool, children, self._jobs)
        finally:
            close(connection)

    def check(self) -> Iterator[Finding]:
        """As the port says. Raises `DatabaseRefused`."""
        return check(self._server, self._jobs, self._bin_folder)

    def condition(self) -> Condition:
        """As the port says. Raises `DatabaseRefused`."""
        return condition(self._server)


class MysqlDump:
    """The open snapshot. One connection holds the definitions; every reader is in the snapshot already."""

    def __init__(
        self, name: str, server: Server, connection: Connection, tool: Tool, children: Children, jobs: int
    ) -> None:
        self._name = name
        self._server = server
        self._connection = connection
        self._tool = tool
        self._children = children
        self._version = version_of(connection)
        self._aborted = False
        self._snapshot: Snapshot = open_snapshot(connection, server, self._start, jobs)
        self._waiting = list(self._snapshot.clients)
        self._shared = self._snapshot.clients[0]
        self._tables = {table.name: table for table in self._snapshot.tables}
        self._definitions = capture(connection, server.database)
        self._schema = definitions.encode(self._definitions)
        self.specs: Sequence[StreamSpec] = tuple(self._streams())

    def _start(self) -> Client:
        return Client(self._server, self._version, self._tool, self._children)

    def _streams(self) -> Iterator[StreamSpec]:
        yield StreamSpec("schema", estimate=len(self._schema))
        for table in sorted(self._snapshot.tables, key=lambda table: (-table.size, table.name)):
            columns = tuple(column.name for column in table.columns)
            yield StreamSpec("rows", (table.name,), columns, table.size)

    @contextmanager
    def reader(self) -> Iterator[MysqlReader]:
        """A reader with a client of its own; where there are too few of them, one that waits for its turn."""
        try:
            client = self._waiting.pop()
        except IndexError:  # asking beforehand would not do: others take theirs at the same time
            yield MysqlReader(self, self._shared)
            return
        yield MysqlReader(self, client)
        if client is not self._shared:
            client.close()

    def open_rows(self, client: Client, spec: StreamSpec) -> ByteStream:
        while not client.busy.acquire(timeout=1):
            self._require_running()
        self._require_running()
        statement = census.select(self._server.database, self._tables[spec.path[0]])
        return client.rows(statement, spec.label)

    def open_schema(self) -> ByteStream:
        return KeptStream(self._schema)

    def _require_running(self) -> None:
        if self._aborted:
            raise DatabaseRefused("the run was aborted")

    def abort(self) -> None:
        self._aborted = True
        self._children.kill()
        close(self._connection)  # nobody else uses it

    def finish(self) -> SourceFacts:
        """Nothing that was read was altered meanwhile; what cannot be held is looked at once more."""
        self._shared.wait()
        self._shared.close()
        self._require_unchanged()
        found, version = self._definitions, self._version
        facts = SourceFacts(
            name=self._name,
            kind=KIND,
            identity=census.identity(self._connection, self._server.database),
            database=self._server.database,
            server_version=str(version),
            client_version=self._tool.version,
            encoding=found.charset,
            snapshot=clock.iso(self._snapshot.taken),
            snapshot_seconds=round(clock.monotonic() - self._snapshot.opened, 3),
            details=(
                ("collation", found.collation),
                ("server", version.text),
                ("aligned", self._snapshot.aligned),
                *((name, str(execute(self._connection, f"SELECT @@{name}")[0][0])) for name in REMEMBERED),
                *self._snapshot.position,
            ),
            notes=tuple(self._notes()),
        )
        execute(self._connection, "ROLLBACK")
        return facts

    def _require_unchanged(self) -> None:
        """Tables were held. Routines, events and views cannot be."""
        try:
            now = capture(self._connection, self._server.database).steady()
        except DatabaseRefused as error:
            raise DatabaseRefused(f"the snapshot was lost before everything was read: {error}", error.hint) from error
        before = self._definitions.steady()
        if now != before:
            changed = {item.label for item in set(now.items) ^ set(before.items)} or {"the database itself"}
            raise DatabaseRefused(
                f"the schema was changed while it was read: {', '.join(sorted(changed)[:NAMED])}",
                "run the backup again",
            )

    def _notes(self) -> Iterator[str]:
        loose = [f"{table.name} ({table.engine})" for table in self._snapshot.tables if not table.consistent]
        if loose:
            yield (
                f"not of one moment with the rest, since their engines have no transactions: {_some(loose)}; "
                "ALTER TABLE … ENGINE = InnoDB mends it"
            )
        away = census.elsewhere(self._connection, self._server.database)
        if away:
            yield f"without rows, which lie elsewhere: {_some(away)}"
        versioned = census.versioned(self._connection, self._server.database)
        if versioned:
            yield f"only the rows of today, not their history: {_some(versioned)}"
        broken = [item.name for item in self._definitions.of("view") if item.broken]
        if broken:
            yield f"views that refer to what is not there: {_some(broken)}"
        if self._snapshot.aligned == "single":
            yield "read by one session: the user may neither FLUSH TABLES WITH READ LOCK nor LOCK TABLES"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


class MysqlReader:
    """Opens streams one after the other."""

    def __init__(self, dump: MysqlDump, client: Client) -> None:
        self._dump = dump
        self._client = client

    def open(self, spec: StreamSpec) -> ByteStream:
        return self._dump.open_schema() if spec.kind == "schema" else self._dump.open_rows(self._client, spec)


class KeptStream:
    """A stream that was small enough to be asked for at the start."""

    rows = None

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def readinto(self, view: memoryview, /) -> int:
        taken, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(taken)] = taken
        return len(taken)
