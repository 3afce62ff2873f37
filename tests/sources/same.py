"""The yardstick of every restore: `differences` says in what two PostgreSQL databases are not the same.

The schema is compared as `pg_dump` prints it; what it does not print (rows, sequence values, large objects, whether
a materialized view is filled) is asked of the servers, with checksums computed there.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from dwebbackup.scratch.postgres import find_postgres

Connection = psycopg.Connection[tuple[Any, ...]]


def differences(uri_a: str, uri_b: str, pg_dump: Path | None = None) -> list[str]:
    """Everything in which database *a* differs from *b*, as readable pieces; empty when they are the same.

    Their names may differ, and so may the order of rows and of what `pg_dump` prints.
    """
    with _connect(uri_a) as a, _connect(uri_b) as b:
        return [
            *_compare_schemas(_schema(uri_a, a, pg_dump), _schema(uri_b, b, pg_dump)),
            *_compare_contents(a, b),
            *_compare("extension", _extensions(a), _extensions(b)),
        ]


def differences_between_majors(uri_a: str, uri_b: str, pg_dump: Path) -> list[str]:
    """The same for servers of different major versions, which print one definition in several ways.

    Of the schema it is compared what there is, and of extensions nothing: their versions are the servers'.
    """
    with _connect(uri_a) as a, _connect(uri_b) as b:
        in_a, in_b = (_headings(uri, at, pg_dump) for uri, at in ((uri_a, a), (uri_b, b)))
        return [*_compare("schema", in_a, in_b), *_compare_contents(a, b)]


def _headings(uri: str, connection: Connection, pg_dump: Path) -> dict[str, str]:
    """Since 14 the arguments of procedures are printed with `IN`."""
    return dict.fromkeys((heading.replace("(IN ", "(") for heading in _schema(uri, connection, pg_dump)), "there")


def _compare_contents(a: Connection, b: Connection) -> Iterator[str]:
    yield from _compare_tables(a, b)
    yield from _compare("sequence", _sequences(a), _sequences(b))
    yield from _compare("large object", _large_objects(a), _large_objects(b))


def _compare(what: str, in_a: Mapping[str, Any], in_b: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*in_a, *in_b}):
        if in_a.get(name) != in_b.get(name):
            yield f"{what} {name}: {in_a.get(name, 'missing')} | {in_b.get(name, 'missing')}"


# ---- the schema, as pg_dump prints it ----------------------------------------------------------------------

_HEADING = re.compile(r"^--\n-- (Name: .*; Type: .*; Schema: .*; Owner:.*)\n--\n", re.MULTILINE)
_ACCESS_METHOD = re.compile(r"^SET default_table_access_method = (.*);\n", re.MULTILINE)
_NOISE = re.compile(
    r"^(SET default_tablespace = .*|SET default_table_access_method = .*|\\[a-z]+ .*|)\n"
    r"|^--\n-- PostgreSQL database dump complete\n--\n",
    re.MULTILINE,
)


def _schema(uri: str, connection: Connection, pg_dump: Path | None) -> dict[str, str]:
    """The statements that make the database, by the headings that pg_dump gives them.

    They are sorted by these, since two dumps of the same need not have the same order.
    """
    found = defaultdict(str)
    encoding = connection.info.parameter_status("server_encoding") or ""
    preamble, *pieces = _HEADING.split(_dumped_schema(uri, encoding, pg_dump or _pg_dump()))
    found["settings"] = preamble
    access_method = ""
    for heading, body in zip(pieces[::2], pieces[1::2], strict=True):
        if "; Type: TABLE;" in heading or "; Type: MATERIALIZED VIEW;" in heading:
            found[heading] += f"-- by access method {access_method}\n"
        found[heading] += body
        for method in _ACCESS_METHOD.finditer(body):  # said at the end of the piece before the one it is for
            access_method = method[1]
    name = psycopg.conninfo.conninfo_to_dict(uri)["dbname"]
    return dict(_nameless(heading, _NOISE.sub("", body), str(name)) for heading, body in found.items())


def _nameless(heading: str, body: str, name: str) -> tuple[str, str]:
    """Both with `<database>` for the database's name, in pieces about the database itself."""
    if not re.search(r"Name: DATABASE |Type: DATABASE( PROPERTIES)?;", heading):
        return heading, body
    forms = re.compile(
        "|".join(rf"(?<!\w){re.escape(form)}(?!\w)" for form in ('"' + name.replace('"', '""') + '"', name))
    )
    return forms.sub("<database>", heading), forms.sub("<database>", body)


# A database may set others, which show in its dump.
_PRINTED_ALIKE = "-c quote_all_identifiers=off -c standard_conforming_strings=on -c timezone=UTC -c bytea_output=hex"


def _dumped_schema(uri: str, encoding: str, pg_dump: Path) -> str:
    """In the database's own encoding, since names of roles, which all databases share, may have no other."""
    dumped = subprocess.run(
        [pg_dump, "--schema-only", "--create", f"--encoding={encoding}", "-d", uri],
        env=os.environ | {"PGOPTIONS": _PRINTED_ALIKE},
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )
    assert dumped.returncode == 0, dumped.stderr
    return dumped.stdout


@functools.cache
def _pg_dump() -> Path:
    return find_postgres(os.environ.get("DWEBBACKUP_POSTGRES_BIN", "")).pg_dump


def _compare_schemas(in_a: Mapping[str, str], in_b: Mapping[str, str]) -> Iterator[str]:
    for heading in sorted({*in_a, *in_b}):
        lines_a, lines_b = in_a.get(heading, "").splitlines(), in_b.get(heading, "").splitlines()
        if lines_a != lines_b:
            yield "\n".join(
                [f"schema {heading}", *list(difflib.unified_diff(lines_a, lines_b, "a", "b", "", "", 1, ""))]
            )


# ---- what it does not print --------------------------------------------------------------------------------

# Databases and servers can have other defaults, and then the same value is printed in several ways.
_SETTINGS = {
    "search_path": "",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}


def _connect(uri: str) -> Connection:
    connection = psycopg.connect(uri, autocommit=True, client_encoding="utf8")
    connection.execute("SET search_path = ''")
    for name, value in _SETTINGS.items():
        connection.execute("SELECT set_config(name, %s, false) FROM pg_settings WHERE lower(name) = %s", [value, name])
    return connection


class _Table(NamedTuple):
    """Rows that are compared as one: a table's or a materialized view's own."""

    parts: tuple[sql.Composed, ...]
    """Rows as text, and from where; one part, unless a restore may move rows from one partition into another."""
    filled: bool


_TABLES = r"""
WITH moving AS (  -- partitioned by the hash of an enum: by numbers that differ from database to database
    SELECT partrelid FROM pg_partitioned_table AS p
    WHERE partstrat = 'h'
      AND EXISTS (SELECT FROM pg_opclass AS o WHERE o.oid = ANY (p.partclass) AND opcname = 'enum_ops')
)
SELECT coalesce(
           (SELECT relid FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS a (relid, depth)
            WHERE relid IN (SELECT partrelid FROM moving) ORDER BY depth DESC LIMIT 1),
           c.oid
       )::regclass::text,
       nspname, relname, relispopulated,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
             ORDER BY attname COLLATE "C")
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
"""


def _tables(connection: Connection) -> dict[str, _Table]:
    """By name. Columns are taken in the order of their names: pg_dump moves inherited ones to the front."""
    parts, filled = defaultdict(list), {}
    for name, schema, table, populated, columns in connection.execute(_TABLES):
        row = sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)
        parts[name].append(
            sql.SQL("(SELECT ROW({})::text FROM ONLY {} AS t) AS rows (row)").format(row, sql.Identifier(schema, table))
        )
        filled[name] = populated
    return {name: _Table(tuple(parts[name]), filled[name]) for name in parts}


# A sum does not care for the order, and sees a row that is there twice.
_CHECKSUM = "SELECT count(*), coalesce(sum(('x' || substr(md5(row), 1, 16))::bit(64)::bigint), 0) FROM {}"
_PRINTED = "SELECT convert_to(row, getdatabaseencoding()) FROM {}"


def _compare_tables(a: Connection, b: Connection) -> Iterator[str]:
    in_a, in_b = _tables(a), _tables(b)
    for name in sorted({*in_a, *in_b}):
        if name not in in_a or name not in in_b:
            yield f"table {name}: only in {'a' if name in in_a else 'b'}"
        elif in_a[name].filled != in_b[name].filled:
            yield f"materialized view {name}: filled only in {'a' if in_a[name].filled else 'b'}"
        elif in_a[name].filled:
            rows_a, rows_b = _checksum(a, in_a[name]), _checksum(b, in_b[name])
            if rows_a != rows_b:
                yield f"rows of {name}: {rows_a[0]} | {rows_b[0]}\n" + _example(a, b, in_a[name], in_b[name])


def _checksum(connection: Connection, table: _Table) -> tuple[int, int]:
    """How many rows, and the sum of their hashes."""
    count = total = 0
    for part in table.parts:
        for rows, hashes in connection.execute(sql.SQL(_CHECKSUM).format(part)):
            count += rows
            total += int(hashes)
    return count, total


def _example(a: Connection, b: Connection, in_a: _Table, in_b: _Table) -> str:
    """A few of the rows that only one of them has."""
    rows_a, rows_b = _rows(a, in_a), _rows(b, in_b)
    only = [("a", row) for row in (rows_a - rows_b)][:3] + [("b", row) for row in (rows_b - rows_a)][:3]
    return "\n".join(f"  only in {which}: {row.decode(errors='backslashreplace')[:300]}" for which, row in only)


def _rows(connection: Connection, table: _Table) -> Counter[bytes]:
    return Counter(row for part in table.parts for (row,) in connection.execute(sql.SQL(_PRINTED).format(part)))


def _sequences(connection: Connection) -> dict[str, Any]:
    """What each would give next, and whether it gave anything yet."""
    listed = connection.execute(
        "SELECT c.oid::regclass::text, nspname, relname FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = relnamespace WHERE relkind = 'S' AND relpersistence <> 't'"
    ).fetchall()
    ask = sql.SQL("SELECT last_value, is_called FROM {}")
    return {
        name: connection.execute(ask.format(sql.Identifier(schema, sequence))).fetchone()
        for name, schema, sequence in listed
    }


def _large_objects(connection: Connection) -> dict[str, Any]:
    listed = connection.execute(
        """
        SELECT oid::text, length(lo_get(oid)), md5(lo_get(oid)), lomowner::regrole::text,
               ARRAY(SELECT unnest(lomacl)::text ORDER BY 1), obj_description(oid, 'pg_largeobject')
        FROM pg_largeobject_metadata
        """
    )
    return {oid: facts for oid, *facts in listed}


def _extensions(connection: Connection) -> dict[str, Any]:
    """Their versions, which pg_dump leaves to the server it restores to."""
    return dict(connection.execute("SELECT extname, extversion FROM pg_extension").fetchall())
