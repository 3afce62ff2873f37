"""The yardstick of MySQL restores: in what two databases differ, schema by `SHOW CREATE`, rows by the server's own eyes."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from typing import Any

from fix_mysql import Schema, identifier


def differences(a: Schema, b: Schema) -> list[str]:
    """Everything in which *a* differs from *b*, a line each; empty when they are the same but for their names."""
    in_a, in_b = facts(a), facts(b)
    return [
        f"{name}: {in_a.get(name, 'missing')!r} | {in_b.get(name, 'missing')!r}"
        for name in sorted({*in_a, *in_b})
        if in_a.get(name, None) != in_b.get(name, None)
    ]


_ASKED = {
    "table": "SELECT TABLE_NAME, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
    "columns": "SELECT concat(TABLE_NAME, '.', COLUMN_NAME), concat_ws('/', ORDINAL_POSITION, COLUMN_DEFAULT, IS_NULLABLE,"
    " COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, COLUMN_COMMENT, GENERATION_EXPRESSION)"
    " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()",
    "view": "SELECT TABLE_NAME, concat_ws('/', VIEW_DEFINITION, CHECK_OPTION, IS_UPDATABLE, DEFINER, SECURITY_TYPE,"
    " CHARACTER_SET_CLIENT, COLLATION_CONNECTION) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()",
    "routine": "SELECT concat(ROUTINE_TYPE, ' ', ROUTINE_NAME), concat_ws('/', DTD_IDENTIFIER, ROUTINE_DEFINITION,"
    " IS_DETERMINISTIC, SQL_DATA_ACCESS, SECURITY_TYPE, SQL_MODE, ROUTINE_COMMENT, DEFINER, CHARACTER_SET_CLIENT,"
    " COLLATION_CONNECTION, DATABASE_COLLATION) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()",
    "parameter": "SELECT concat(SPECIFIC_NAME, ' ', ORDINAL_POSITION), concat_ws('/', PARAMETER_MODE, PARAMETER_NAME,"
    " DTD_IDENTIFIER) FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA = DATABASE()",
    "trigger": "SELECT TRIGGER_NAME, concat_ws('/', EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_ORDER,"
    " ACTION_STATEMENT, ACTION_TIMING, SQL_MODE, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION,"
    " DATABASE_COLLATION) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
    "event": "SELECT EVENT_NAME, concat_ws('/', DEFINER, TIME_ZONE, EVENT_DEFINITION, EVENT_TYPE, EXECUTE_AT,"
    " INTERVAL_VALUE, INTERVAL_FIELD, SQL_MODE, STARTS, ENDS, STATUS, ON_COMPLETION, EVENT_COMMENT,"
    " CHARACTER_SET_CLIENT, COLLATION_CONNECTION) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()",
    "database": "SELECT 'it', concat_ws('/', DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME)"
    " FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()",
}


def facts(schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with contextlib.closing(schema.server.connect(schema.name)) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00', sql_mode = ''")
        for what, query in _ASKED.items():
            cursor.execute(query)
            for name, told in cursor.fetchall():
                found[f"{what} {name}"] = _nameless(str(told), schema.name)
        for table in [name.partition(" ")[2] for name in found if name.startswith("table ")]:
            cursor.execute("SET character_set_results = binary")  # a default may be no text
            cursor.execute(f"SHOW CREATE TABLE {identifier(table)}")
            told = cursor.fetchone()[1]
            cursor.execute("SET NAMES utf8mb4")
            statement = _nameless(told if isinstance(told, str) else told.decode(errors="replace"), schema.name)
            found[f"statement {table}"] = statement.replace("CHARACTER SET utf8mb4 ", "")  # printed at MySQL's whim
            found[f"rows {table}"] = _rows(cursor, schema.name, table)
        cursor.execute(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'SEQUENCE'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT * FROM {identifier(name)}")
            found[f"sequence {name}"] = cursor.fetchone()
    return found


def _nameless(text: str, schema: str) -> str:
    """A definition that names its own schema names the copy's in the copy."""
    return re.sub(rf"{re.escape(identifier(schema))}\.|(?<![\w`]){re.escape(schema)}\.", "<schema>.", text)


def _rows(cursor: Any, schema: str, table: str) -> Counter[tuple[Any, ...]]:
    """Every value in hexadecimal digits of its bytes: no client converts those."""
    cursor.execute(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " ORDER BY ORDINAL_POSITION",
        (schema, table),
    )
    exact = ("float", "double")
    columns = [
        f"hex(CAST({identifier(name)} + 0e0 AS CHAR))" if kind in exact else f"hex(CAST({identifier(name)} AS BINARY))"
        for name, kind in cursor.fetchall()
    ]
    cursor.execute(f"SELECT {', '.join(columns)} FROM {identifier(table)}")
    return Counter(cursor.fetchall())
