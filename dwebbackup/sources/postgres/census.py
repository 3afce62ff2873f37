"""What a PostgreSQL database holds: asked once inside the snapshot, answered in frozen records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dwebbackup.manifest import Extension
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, major

_USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

_MEMBER = """EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.{catalog}'::regclass
        AND d.objid = {alias}.oid AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e')"""

_RELATION_MEMBER = _MEMBER.format(catalog="pg_class", alias="c")

_CONFIGURATION = """SELECT config.oid, config.condition
    FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) AS config(oid, condition)"""

LOCKABLE = f"""SELECT c.oid, n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {_USER_SCHEMA}
      AND (NOT {_RELATION_MEMBER} OR c.oid IN (SELECT oid FROM ({_CONFIGURATION}) AS configuration))
    ORDER BY c.oid"""  # noqa: S608  # parts of our own

TABLES = f"""SELECT c.oid, n.nspname, c.relname, c.relpersistence = 'u', pg_catalog.pg_table_size(c.oid),
      coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '{{}}'),
      {_RELATION_MEMBER}, configuration.condition
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN ({_CONFIGURATION}) AS configuration ON configuration.oid = c.oid
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_USER_SCHEMA}
      AND (configuration.oid IS NOT NULL OR NOT {_RELATION_MEMBER})
    ORDER BY c.oid"""  # noqa: S608

SEQUENCES = f"""SELECT n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {_USER_SCHEMA}
      AND (NOT {_RELATION_MEMBER} OR c.oid IN (SELECT oid FROM ({_CONFIGURATION}) AS configuration))
    ORDER BY c.oid"""  # noqa: S608

_THIS_DATABASE = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"

_IN_USER_SCHEMA = f"SELECT FROM pg_catalog.pg_namespace n WHERE n.oid = {{}} AND {_USER_SCHEMA}"

OBJECTS = "\nUNION ALL\n".join(
    f"SELECT {what} FROM pg_catalog.{catalog} x WHERE {condition} AND NOT {_MEMBER.format(catalog=catalog, alias='x')}"  # noqa: S608
    for what, catalog, condition in (
        (
            "'relation ' || x.oid::regclass::text",
            "pg_class",
            (
                "x.relpersistence <> 't' AND x.relkind NOT IN ('t', 'i', 'I')"
                f" AND EXISTS ({_IN_USER_SCHEMA.format('x.relnamespace')})"
            ),
        ),
        ("'function ' || x.proname", "pg_proc", f"EXISTS ({_IN_USER_SCHEMA.format('x.pronamespace')})"),
        (
            "'type ' || x.typname",
            "pg_type",
            f"x.typtype IN ('e', 'd', 'r') AND EXISTS ({_IN_USER_SCHEMA.format('x.typnamespace')})",
        ),
        (
            "'schema ' || x.nspname",
            "pg_namespace",
            "x.nspname !~ '^pg_' AND x.nspname NOT IN ('information_schema', 'public')",
        ),
        ("'large object ' || x.oid", "pg_largeobject_metadata", "true"),
        ("'publication ' || x.pubname", "pg_publication", "true"),
        ("'event trigger ' || x.evtname", "pg_event_trigger", "true"),
        ("'foreign server ' || x.srvname", "pg_foreign_server", "true"),
    )
)

_OF_BOOTSTRAP = "\nUNION ALL\n".join(
    f"SELECT 1 FROM pg_catalog.{catalog} x WHERE x.{owner} = 10 AND {condition}"  # noqa: S608
    f" AND NOT {_MEMBER.format(catalog=catalog, alias='x')}"
    for catalog, owner, condition in (
        ("pg_class", "relowner", f"EXISTS ({_IN_USER_SCHEMA.format('x.relnamespace')})"),
        ("pg_proc", "proowner", f"EXISTS ({_IN_USER_SCHEMA.format('x.pronamespace')})"),
        ("pg_type", "typowner", f"EXISTS ({_IN_USER_SCHEMA.format('x.typnamespace')})"),
        ("pg_namespace", "nspowner", "x.nspname !~ '^pg_' AND x.nspname NOT IN ('information_schema', 'public')"),
        ("pg_largeobject_metadata", "lomowner", "true"),
        ("pg_publication", "pubowner", "true"),
        ("pg_event_trigger", "evtowner", "true"),
        ("pg_foreign_server", "srvowner", "true"),
    )
)
"""Whether anything belongs to the superuser that initdb made, whose possessions PostgreSQL does not list elsewhere."""

_ROLES = f"""SELECT s.refobjid AS oid, s.deptype = 'o' AS owns FROM pg_catalog.pg_shdepend s
    WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND (
      s.dbid = {_THIS_DATABASE} OR s.classid = 'pg_catalog.pg_database'::regclass AND s.objid = {_THIS_DATABASE})
    UNION SELECT datdba, true FROM pg_catalog.pg_database WHERE datname = current_database()
    UNION SELECT setrole, false FROM pg_catalog.pg_db_role_setting WHERE setrole <> 0 AND setdatabase = {_THIS_DATABASE}
    UNION SELECT 10::oid, true WHERE EXISTS ({_OF_BOOTSTRAP})
    """  # noqa: S608
"""Everybody who owns or may use something in this database, by what PostgreSQL itself refuses to drop them for."""

ROLES = f"SELECT oid, bool_or(owns) AS owns FROM ({_ROLES}) AS role GROUP BY oid"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Table:
    """A table with rows of its own."""

    oid: int
    schema: str
    name: str
    unlogged: bool
    size: int
    columns: tuple[str, ...]
    of_extension: bool
    condition: str
    """Of an extension's configuration table: `WHERE …`, which rows are the user's."""

    @property
    def path(self) -> tuple[str, str]:
        return self.schema, self.name


@dataclass(frozen=True, slots=True)
class Database:
    """The database itself."""

    system: str
    oid: int
    encoding: str
    collate: str
    ctype: str
    provider: str
    """`c`, `i` or `b`: libc, ICU, built in."""
    locale: str
    """Of the ICU or built-in provider."""
    rules: str
    """Of the ICU provider, beside the locale's own."""
    collation_version: str
    standby: bool

    @property
    def identity(self) -> str:
        return f"postgres:{self.system}:{self.oid}"

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """What a database like it must be created with; empty values left out."""
        values = {
            "collate": self.collate,
            "ctype": self.ctype,
            "provider": self.provider,
            "locale": self.locale,
            "rules": self.rules,
            "collation_version": self.collation_version,
        }
        return tuple((key, value) for key, value in values.items() if value)


def lockable(connection: Connection) -> list[tuple[int, str, str]]:
    """(oid, schema, name) of every table whose rows or definition a backup reads."""
    return [(oid, schema, name) for oid, schema, name in execute(connection, LOCKABLE)]


def tables(connection: Connection) -> list[Table]:
    return [
        Table(oid, schema, name, unlogged, size, tuple(columns), member, condition or "")
        for oid, schema, name, unlogged, size, columns, member, condition in execute(connection, TABLES)
    ]


def sequences(connection: Connection) -> list[tuple[str, str, int, bool]]:
    """(schema, name, last_value, is_called). A sequence is not under the snapshot, only ever ahead of it."""
    names = execute(connection, SEQUENCES)
    values: list[tuple[str, str, int, bool]] = []
    for start in range(0, len(names), 200):
        batch = names[start : start + 200]
        query = "\nUNION ALL\n".join(
            f"SELECT {number}, last_value, is_called FROM {identifier(schema, name)}"  # noqa: S608  # quoted
            for number, (schema, name) in enumerate(batch)
        )
        rows = {number: (value, called) for number, value, called in execute(connection, query)}
        values += [(schema, name, *rows[number]) for number, (schema, name) in enumerate(batch)]
    return values


def database(connection: Connection) -> Database:
    version = connection.info.server_version
    provider, collation = ("d.datlocprovider", "coalesce(d.datcollversion, '')") if version >= 150000 else ("'c'", "''")
    locale = "''" if version < 150000 else "d.datlocale" if version >= 170000 else "d.daticulocale"
    rules = "d.daticurules" if version >= 160000 else "''"
    rows = execute(
        connection,
        f"""SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system())::text, d.oid,
            pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, {provider}::text,
            coalesce({locale}, ''), coalesce({rules}, ''), {collation}, pg_catalog.pg_is_in_recovery()
            FROM pg_catalog.pg_database d WHERE d.datname = current_database()""",  # noqa: S608
    )
    return Database(*rows[0])


def extensions(connection: Connection) -> tuple[Extension, ...]:
    rows = execute(connection, "SELECT extname, extversion FROM pg_catalog.pg_extension ORDER BY extname")
    return tuple(Extension(name, version) for name, version in rows)


def has_large_objects(connection: Connection) -> bool:
    return bool(execute(connection, "SELECT 1 FROM pg_catalog.pg_largeobject_metadata LIMIT 1"))


def user_objects(connection: Connection, limit: int = 5) -> list[str]:
    """What a restore would endanger, the first few: everything outside extensions and the system's schemas, and of
    extensions' tables the rows that they say belong to a dump.
    """
    objects = [name for (name,) in execute(connection, f"{OBJECTS}\nLIMIT {int(limit)}")]
    if objects:
        return objects
    for table in tables(connection):
        rows = f"SELECT FROM ONLY {identifier(*table.path)} {table.condition}"
        if execute(connection, f"SELECT EXISTS ({rows})")[0][0]:
            objects.append(f"rows of {identifier(*table.path)}")
    return objects[:limit]


def properties(connection: Connection) -> bytes:
    """What `pg_dump` leaves out unless it creates the database: its owner, rights, settings and comment; and the
    roles that own or may use anything in it. JSON.
    """
    return json.dumps(
        {
            "database": _database_properties(connection),
            "settings": execute(
                connection,
                """SELECT coalesce(r.rolname::text, ''), s.setconfig FROM pg_catalog.pg_db_role_setting s
                LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
                WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                ORDER BY s.setrole""",
            ),
            "roles": _roles(connection),
            "memberships": _memberships(connection),
        },
        ensure_ascii=False,
        sort_keys=True,
    ).encode()


def _database_properties(connection: Connection) -> dict[str, Any]:
    rows = execute(
        connection,
        """SELECT o.rolname::text, d.datconnlimit, pg_catalog.shobj_description(d.oid, 'pg_database'),
            d.datacl IS NULL,
            coalesce((SELECT json_agg(json_build_array(coalesce(g.rolname::text, ''), a.privilege_type, a.is_grantable)
              ORDER BY a.ordinality) FROM pg_catalog.aclexplode(d.datacl) WITH ORDINALITY a
              LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee), '[]')
        FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles o ON o.oid = d.datdba
        WHERE d.datname = current_database()""",
    )
    owner, limit, comment, default, grants = rows[0]
    return {
        "owner": owner,
        "connection_limit": limit,
        "comment": comment,
        "default_rights": default,
        "grants": grants,
    }


def _roles(connection: Connection) -> list[dict[str, Any]]:
    may_see = execute(connection, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')")[0][0]
    catalog, verifier = ("pg_authid", "r.rolpassword") if may_see else ("pg_roles", "NULL")
    names = ("name", "owns", "super", "inherit", "createrole", "createdb", "login", "replication", "bypassrls")
    rows = execute(
        connection,
        f"""SELECT r.rolname::text, role.owns, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
            rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil::text, {verifier}
            FROM ({ROLES}) AS role JOIN pg_catalog.{catalog} r ON r.oid = role.oid
            WHERE r.rolname !~ '^pg_' ORDER BY r.oid""",  # noqa: S608
    )
    return [dict(zip((*names, "limit", "until", "verifier"), row, strict=True)) for row in rows]


def _memberships(connection: Connection) -> list[tuple[Any, ...]]:
    since_16 = connection.info.server_version >= 160000
    others = "bool_or(a.inherit_option), bool_or(a.set_option)" if since_16 else "NULL::boolean, NULL::boolean"
    return execute(
        connection,
        f"""SELECT g.rolname::text, m.rolname::text, bool_or(a.admin_option), {others}
            FROM pg_catalog.pg_auth_members a
            JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
            WHERE m.oid IN (SELECT oid FROM ({ROLES}) AS role)
              AND (g.rolname ~ '^pg_' OR g.oid IN (SELECT oid FROM ({ROLES}) AS role))
            GROUP BY 1, 2 ORDER BY 1, 2""",  # noqa: S608
    )


def major_of(connection: Connection) -> int:
    return major(connection.info.server_version)
