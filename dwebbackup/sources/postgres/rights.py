"""What a backup's role may not read, all of it before anything is read, with the statements that would mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres.census import LOCKABLE, SEQUENCES, TABLES
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, major

NAMED = 10
"""So many of a kind are named one by one."""

READ_ALL = 14
"""The first major with the role `pg_read_all_data`."""

# `has_table_privilege` takes sequences, too; its sister refuses whatever else the planner may ask it about first.
_MISSING = f"""SELECT 'schema', n.nspname, '' FROM pg_catalog.pg_namespace n
      WHERE n.nspname IN (SELECT nspname FROM ({LOCKABLE}) AS t UNION SELECT nspname FROM ({SEQUENCES}) AS s)
        AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    UNION ALL SELECT 'table', nspname, relname FROM ({LOCKABLE}) AS t
      WHERE NOT pg_catalog.has_table_privilege(oid, 'SELECT')
    UNION ALL SELECT 'sequence', nspname, relname FROM ({SEQUENCES}) AS s
      WHERE NOT pg_catalog.has_table_privilege(oid, 'SELECT')
    UNION ALL SELECT 'large objects', 'pg_catalog', 'pg_largeobject'
      WHERE EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
        AND NOT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')
    UNION ALL SELECT 'row security', nspname, relname FROM ({TABLES}) AS r
      WHERE pg_catalog.row_security_active(oid)"""  # noqa: S608  # parts of our own


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that may not be read, or not all of it."""

    kind: str
    """`schema`, `table`, `sequence`, `large objects`, or `row security`: a table that shows only some of its rows."""
    schema: str
    name: str
    """Empty for a schema."""

    @property
    def path(self) -> str:
        """Quoted for SQL."""
        return identifier(self.schema, self.name) if self.name else identifier(self.schema)


def require(connection: Connection) -> None:
    """Raises `DatabaseRefused`, which names every right that a backup would lack."""
    found = missing(connection)
    if not found:
        return
    role = str(execute(connection, "SELECT current_user")[0][0])
    mending = " ".join(statements(found, role))
    if major(connection.info.server_version) >= READ_ALL and found[0].kind != "row security":
        mending += f" -- or, for new tables as well: GRANT pg_read_all_data TO {identifier(role)};"
    raise DatabaseRefused(
        f"the role {role} may not read everything: {'; '.join(_described(found))}",
        f"as a superuser, in this database: {mending}",
    )


def missing(connection: Connection) -> Sequence[Missing]:
    """By kind and name."""
    found = [Missing(*row) for row in execute(connection, _MISSING)]
    return sorted(found, key=lambda each: (_KINDS.index(each.kind), each.schema, each.name))


_KINDS = ("schema", "table", "sequence", "large objects", "row security")


def statements(found: Sequence[Missing], role: str) -> Iterator[str]:
    """The SQL that lets *role* read what was *found*, which is sorted; few statements, however much it is."""
    grantee = identifier(role)
    for kind, group in groupby(found, key=lambda each: each.kind):
        if kind == "row security":
            yield f"ALTER ROLE {grantee} BYPASSRLS;"
        elif kind == "schema":
            yield f"GRANT USAGE ON SCHEMA {', '.join(each.path for each in group)} TO {grantee};"
        else:
            yield from _grants("SEQUENCE" if kind == "sequence" else "TABLE", group, grantee)


def _grants(what: str, found: Iterable[Missing], grantee: str) -> Iterator[str]:
    for schema, group in groupby(found, key=lambda each: each.schema):
        paths = [each.path for each in group]
        named = f"{what} {', '.join(paths)}" if len(paths) <= NAMED else f"ALL {what}S IN SCHEMA {identifier(schema)}"
        yield f"GRANT SELECT ON {named} TO {grantee};"


def _described(found: Sequence[Missing]) -> Iterator[str]:
    for kind, group in groupby(found, key=lambda each: each.kind):
        paths = [each.path for each in group]
        if kind == "large objects":
            yield "no large objects"
            continue
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        yield f"{_LACKING[kind]} {', '.join(paths[:NAMED])}{more}"


_LACKING = {
    "schema": "no USAGE on schema",
    "table": "no SELECT on table",
    "sequence": "no SELECT on sequence",
    "row security": "row security hides rows of",
}
