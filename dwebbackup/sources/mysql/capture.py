"""A database's definitions asked of the server: by `SHOW CREATE`, and by the catalog where that tells it better."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.mysql.connection import Connection, Row, execute, identifier, refused
from dwebbackup.sources.mysql.definitions import Definition, Definitions


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
    names = [name for (name,) in _listed(connection, schema, "BASE TABLE", "SYSTEM VERSIONED")]
    lossy = _lossy_defaults(connection, schema)
    execute(connection, "SET character_set_results = binary")  # MariaDB prints a default's bytes as they are
    try:
        statements = [_show(connection, "TABLE", name)["Create Table"] for name in names]
    finally:
        if connection.open:
            execute(connection, "SET NAMES utf8mb4")
    for name, statement in zip(names, statements, strict=True):
        yield Definition("table", name, _text(statement), defaults=lossy.get(name, ()))


def _text(statement: str | bytes) -> str:
    """With a `?` for each byte that is no text: those of defaults, which are set once more."""
    if isinstance(statement, str):
        return statement
    return re.sub("[\udc80-\udcff]", "?", statement.decode(errors="surrogateescape"))


def _lossy_defaults(connection: Connection, schema: str) -> dict[str, tuple[tuple[str, str, str], ...]]:
    """Defaults that MariaDB tells with a `?` for what it has no room for: an emoji, or bytes that are no text."""
    rows = execute(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME, coalesce(CHARACTER_SET_NAME, 'binary') FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND COLUMN_DEFAULT LIKE %s ORDER BY TABLE_NAME, ORDINAL_POSITION",
        (schema, "'%?%"),
    )
    found: dict[str, tuple[tuple[str, str, str], ...]] = {}
    for table, column, charset in rows:
        value = execute(
            connection,
            f"SELECT hex(DEFAULT({identifier(column)})) FROM (SELECT 1) AS one"  # noqa: S608  # quoted
            f" LEFT JOIN {identifier(schema, table)} ON FALSE",
        )[0][0]
        found[table] = (*found.get(table, ()), (column, charset, value))
    return found


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
