"""What a database is made of, asked of the server: its tables, their columns, and how their rows are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dwebbackup.sources.mysql.connection import Connection, execute, identifier, version_of

SYSTEM = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
"""Schemas of the server's own."""

ELSEWHERE = frozenset({"FEDERATED", "CONNECT", "SPIDER", "MRG_MYISAM", "OQGRAPH", "SPHINX", "S3", "NDB", "NDBCLUSTER"})
"""Engines whose rows lie somewhere else: to write them there again would be wrong."""

TRANSACTIONAL = frozenset({"InnoDB", "ROCKSDB", "TokuDB", "BLACKHOLE"})
"""Engines whose tables a snapshot shows as they were."""

PLAIN = frozenset("tinyint smallint mediumint int bigint decimal double year date time datetime timestamp json".split())
"""Types whose text is printed as it is: never the word NULL, and never with what encloses a value in front."""

QUOTE = "X'1F'"
"""What encloses a value that would be read as something else without."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column that a row has to bring along: a generated one is none."""

    name: str
    kind: str
    """Its type's name."""
    nullable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table with rows of its own."""

    name: str
    engine: str
    size: int
    """Bytes, about."""
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """The columns of the key that rows are ordered by; empty where there is none."""
    key_name: str

    @property
    def consistent(self) -> bool:
        return self.engine in TRANSACTIONAL


_TABLES = """SELECT TABLE_NAME, TABLE_TYPE, ENGINE, coalesce(DATA_LENGTH, 0) FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME"""

_COLUMNS = """SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, IS_NULLABLE = 'YES', EXTRA FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION"""

_KEYS = """SELECT s.TABLE_NAME, s.INDEX_NAME, s.COLUMN_NAME, s.SUB_PART, s.NULLABLE FROM information_schema.STATISTICS s
    WHERE s.TABLE_SCHEMA = %s AND s.NON_UNIQUE = 0 AND s.INDEX_TYPE = 'BTREE'
    ORDER BY s.TABLE_NAME, s.INDEX_NAME <> 'PRIMARY', s.INDEX_NAME, s.SEQ_IN_INDEX"""


def tables(connection: Connection, schema: str) -> list[Table]:
    """Every table whose rows a backup reads."""
    columns, keys = _columns(connection, schema), _keys(connection, schema)
    return [
        Table(name, engine or "", int(size), tuple(columns.get(name, ())), *keys.get(name, ((), "")))
        for name, _, engine, size in execute(connection, _TABLES, (schema,))
        if engine not in ELSEWHERE
    ]


def elsewhere(connection: Connection, schema: str) -> list[str]:
    """Tables whose rows are not read."""
    found = execute(connection, _TABLES, (schema,))
    return [f"{name} ({engine})" for name, _, engine, _ in found if engine in ELSEWHERE]


def versioned(connection: Connection, schema: str) -> list[str]:
    """Tables that keep what their rows were before: a thing of MariaDB's."""
    return [name for name, kind, _, _ in execute(connection, _TABLES, (schema,)) if kind == "SYSTEM VERSIONED"]


def _columns(connection: Connection, schema: str) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = {}
    for table, name, kind, nullable, extra in execute(connection, _COLUMNS, (schema,)):
        if not _is_generated(extra):
            found.setdefault(table, []).append(Column(name, str(kind).lower(), bool(nullable)))
    return found


def _is_generated(extra: str) -> bool:
    """`DEFAULT_GENERATED` is MySQL's word for a default that is an expression."""
    said = f" {extra.upper()} "
    return " GENERATED" in said


def _keys(connection: Connection, schema: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """Of each table its primary key, or a unique one of whole columns that are never NULL."""
    found: dict[tuple[str, str], list[str]] = {}
    unfit: set[tuple[str, str]] = set()
    for table, index, column, part, nullable in execute(connection, _KEYS, (schema,)):
        found.setdefault((table, index), []).append(column)
        if column is None or (index != "PRIMARY" and (part is not None or nullable == "YES")):
            unfit.add((table, index))
    keys: dict[str, tuple[tuple[str, ...], str]] = {}
    for (table, index), columns in found.items():
        if (table, index) not in unfit:
            keys.setdefault(table, (tuple(columns), index))
    return keys


def select(schema: str, table: Table) -> str:
    """The statement that reads its rows, in the order of its key: equal rows then are equal bytes."""
    what = ", ".join(map(expression, table.columns)) or "1"
    order = f" ORDER BY {', '.join(map(identifier, table.key))}" if table.key else ""
    hint = f" FORCE INDEX ({identifier(table.key_name)})" if table.key else ""
    return f"SELECT {what} FROM {identifier(schema, table.name)}{hint}{order}"  # noqa: S608  # quoted


def expression(column: Column) -> str:
    """A column's value as the text of a stream has it, in the bytes that the column has.

    A client prints NULL and the text `NULL` alike, so the latter is enclosed; and so is what begins with what encloses.
    FLOAT prints no more than six digits of its own accord; as a DOUBLE it has all of them.
    """
    name = identifier(column.name)
    if column.kind == "float":
        return f"{name} + 0e0"
    if column.kind in PLAIN:
        return name
    raw = f"CAST({name} AS BINARY)"
    enclosed = f"CONCAT({QUOTE}, REPLACE({raw}, {QUOTE}, X'1F1F'), {QUOTE})"
    return f"IF(ASCII({raw}) = 31 OR (OCTET_LENGTH({raw}) = 4 AND {raw} = X'4E554C4C'), {enclosed}, {raw})"


def server_id(connection: Connection) -> str:
    """What tells one server from all others. Raises `DatabaseRefused`."""
    name = "server_uid" if version_of(connection).flavour == "MariaDB" else "server_uuid"
    rows = execute(connection, "SHOW GLOBAL VARIABLES LIKE %s", (name,))
    if not rows:  # MariaDB before 10.6.16 and its like have none; what else there is outlives a restart
        rows = execute(connection, "SELECT '', concat(@@hostname, ':', @@port, @@datadir)")
    return str(rows[0][1])


def identity(connection: Connection, schema: str) -> str:
    """Who a database is: its server's number and its name, which is all that it has."""
    return f"mysql:{server_id(connection)}:{schema}"


def exists(connection: Connection, schema: str) -> bool:
    return bool(execute(connection, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (schema,)))


def objects(connection: Connection, schema: str, most: int = 5) -> Sequence[str]:
    """The first few things that somebody made in it."""
    found = execute(connection, _OBJECTS, (schema,) * 4)
    return [f"{kind} {name}" for kind, name in found[:most]]


_OBJECTS = """SELECT lower(CASE TABLE_TYPE WHEN 'BASE TABLE' THEN 'table' WHEN 'SYSTEM VERSIONED' THEN 'table'
      ELSE TABLE_TYPE END), TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s
    UNION ALL SELECT lower(ROUTINE_TYPE), ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s
    UNION ALL SELECT 'event', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s
    UNION ALL SELECT 'trigger', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s"""


def names(tables: Iterable[Table]) -> list[str]:
    return [table.name for table in tables]
