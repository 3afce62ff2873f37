"""Everything of a database but its rows, as records: what makes each table, view, routine, trigger and event.

They are no dump text: each is one statement of a known shape, or the parts of one, and is run as one statement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dwebbackup.errors import Damaged, DatabaseRefused
from dwebbackup.sources.mysql.connection import Connection, Row, execute, identifier, refused

KINDS = ("table", "sequence", "view", "procedure", "function", "package", "package body", "trigger", "event")

_AUTO_INCREMENT = re.compile(r"^(\) ENGINE=\w+(?: TABLESPACE .*?)?) AUTO_INCREMENT=\d+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definition:
    """One thing in a database."""

    kind: str
    name: str
    statement: str
    """Of a trigger its body alone: what the server says of the rest is as somebody wrote it, with names of schemas."""
    definer: str = ""
    """`user@host`; as whom it runs."""
    sql_mode: str = ""
    charset: str = ""
    """In which what is in its quotes was written (`character_set_client`)."""
    collation: str = ""
    """Of the connection that made it."""
    table: str = ""
    """Of a trigger."""
    when: str = ""
    """Of a trigger: `BEFORE INSERT`."""
    time_zone: str = ""
    """Of an event."""
    value: int | None = None
    """Of a sequence: what it gives next."""
    broken: bool = False
    """Of a view: its server says that it refers to what is not there."""

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Definitions:
    """A whole database but its rows."""

    schema: str
    charset: str
    collation: str
    items: tuple[Definition, ...]

    def of(self, *kinds: str) -> list[Definition]:
        return [item for item in self.items if item.kind in kinds]

    def steady(self) -> Definitions:
        """Without what changes while an app writes: where counters stand."""
        items = (
            _with(item, statement=_AUTO_INCREMENT.sub(r"\1", item.statement, count=1), value=None)
            for item in self.items
        )
        return Definitions(self.schema, self.charset, self.collation, tuple(items))


def _with(item: Definition, **changes: Any) -> Definition:
    return Definition(**(asdict(item) | changes))


def encode(found: Definitions) -> bytes:
    """Lines of JSON: the database itself, then a line each; what is as usual is left out."""
    first = {"kind": "database", "name": found.schema, "charset": found.charset, "collation": found.collation}
    lines = [
        first,
        *(
            {key: value for key, value in asdict(item).items() if value not in ("", None, False)}
            for item in found.items
        ),
    ]
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def decode(data: bytes) -> Definitions:
    """The inverse. Raises `Damaged`."""
    try:
        first, *lines = [json.loads(line) for line in data.decode().split("\n") if line]
        items = tuple(Definition(**({"statement": ""} | line)) for line in lines)
        found = Definitions(first["name"], first["charset"], first["collation"], items)
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"the schema in the backup cannot be read: {error}") from error
    unknown = sorted({item.kind for item in items} - set(KINDS))
    if unknown:
        raise Damaged(f"the schema in the backup has {', '.join(unknown)}, which this version cannot put back")
    return found


# --- asking the server ---


def capture(connection: Connection, schema: str) -> Definitions:
    """All of it, as it is now. Raises `DatabaseRefused`."""
    charset, collation = execute(
        connection,
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
        " WHERE SCHEMA_NAME = %s",
        (schema,),
    )[0]
    execute(connection, f"USE {identifier(schema)}")  # so that names are told without the schema's
    items = (
        *_sequences(connection, schema),
        *_tables(connection, schema),
        *_routines(connection, schema),
        *_views(connection, schema),
        *_triggers(connection, schema),
        *_events(connection, schema),
    )
    return Definitions(schema, charset, collation, items)


def _show(connection: Connection, what: str, name: str) -> dict[str, Any]:
    """`SHOW CREATE …` by the names of its columns."""
    with refused(f"SHOW CREATE {what}"), connection.cursor() as cursor:
        cursor.execute(f"SHOW CREATE {what} {identifier(name)}")
        row = cursor.fetchone()
        assert row is not None
        return dict(zip((column[0] for column in cursor.description or ()), row, strict=True))


def _listed(connection: Connection, schema: str, *kinds: str) -> Sequence[Row]:
    marks = ", ".join(["%s"] * len(kinds))
    query = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ({}) ORDER BY 1"
    return execute(connection, query.format(marks), (schema, *kinds))


def _tables(connection: Connection, schema: str) -> Iterator[Definition]:
    for (name,) in _listed(connection, schema, "BASE TABLE", "SYSTEM VERSIONED"):
        yield Definition("table", name, _show(connection, "TABLE", name)["Create Table"])


def _sequences(connection: Connection, schema: str) -> Iterator[Definition]:
    """A sequence is not under any snapshot, only ever ahead of it."""
    for (name,) in _listed(connection, schema, "SEQUENCE"):
        statement = _show(connection, "SEQUENCE", name)["Create Table"]
        value = execute(connection, f"SELECT next_not_cached_value FROM {identifier(schema, name)}")[0][0]  # noqa: S608
        yield Definition("sequence", name, statement, value=int(value))


def _views(connection: Connection, schema: str) -> Iterator[Definition]:
    rows = execute(
        connection,
        "SELECT TABLE_NAME, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.VIEWS"
        " WHERE TABLE_SCHEMA = %s ORDER BY 1",
        (schema,),
    )
    for name, definer, charset, collation in rows:
        statement = _show(connection, "VIEW", name)["Create View"]
        broken = not _opens(connection, schema, name)
        yield Definition("view", name, statement, definer, "", charset, collation, broken=broken)


def _opens(connection: Connection, schema: str, view: str) -> bool:
    """Whether it can be asked for anything: what it refers to is there."""
    try:
        execute(connection, f"SELECT 1 FROM {identifier(schema, view)} LIMIT 0")  # noqa: S608  # quoted
    except DatabaseRefused as error:
        if getattr(error, "number", 0) in (1356, 1146, 1054, 1449, 1305):
            return False
        raise
    return True


def _routines(connection: Connection, schema: str) -> Iterator[Definition]:
    rows = execute(
        connection,
        "SELECT ROUTINE_TYPE, ROUTINE_NAME, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION"
        " FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s ORDER BY 1, 2",
        (schema,),
    )
    for kind, name, definer, charset, collation in rows:
        shown = _show(connection, kind, name)
        statement = shown[f"Create {kind.capitalize() if kind != 'PACKAGE BODY' else 'Package body'}"]
        if not statement:
            raise DatabaseRefused(
                f"the user may not see what {kind.lower()} {name} does",
                "GRANT SHOW_ROUTINE ON *.* TO … (MySQL), GRANT SELECT ON mysql.proc TO … (MariaDB)",
            )
        # The modes in information_schema have other names where they are old.
        yield Definition(kind.lower(), name, statement, definer, shown["sql_mode"], charset, collation)


def _triggers(connection: Connection, schema: str) -> Iterator[Definition]:
    rows = execute(
        connection,
        "SELECT TRIGGER_NAME, ACTION_STATEMENT, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION,"
        " EVENT_OBJECT_TABLE, concat(ACTION_TIMING, ' ', EVENT_MANIPULATION) FROM information_schema.TRIGGERS"
        " WHERE TRIGGER_SCHEMA = %s ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
        (schema,),
    )
    for name, body, *rest in rows:
        written = _show(connection, "TRIGGER", name)["SQL Original Statement"]
        yield Definition("trigger", name, _whole(body, written), *rest)


def _whole(body: str, written: str) -> str:
    """The body of a trigger from the end of what somebody wrote: MariaDB tells it alone with `?` for an emoji."""
    tail = written[-len(body) :]
    same = len(tail) == len(body) and all(ours in (theirs, "?") for ours, theirs in zip(body, tail, strict=True))
    return tail if same else body


def _events(connection: Connection, schema: str) -> Iterator[Definition]:
    rows = execute(
        connection,
        "SELECT EVENT_NAME, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, TIME_ZONE"
        " FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY 1",
        (schema,),
    )
    for name, definer, charset, collation, zone in rows:
        shown = _show(connection, "EVENT", name)
        yield Definition(
            "event", name, shown["Create Event"], definer, shown["sql_mode"], charset, collation, time_zone=zone
        )
