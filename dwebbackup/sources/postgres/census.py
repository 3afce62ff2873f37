"""What a PostgreSQL database holds: asked once inside the snapshot, answered in frozen records."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, replace
from typing import Any

from dwebbackup.manifest import Extension
from dwebbackup.sources.postgres import collations, subscriptions
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, major
from dwebbackup.sources.postgres.reserved import reserved

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

_PAGES = """CASE WHEN m.amname = 'heap' THEN pg_catalog.pg_relation_size(c.oid)
        / pg_catalog.current_setting('block_size')::bigint ELSE 0 END"""

TABLES = f"""SELECT c.oid, n.nspname, c.relname, c.relpersistence = 'u', pg_catalog.pg_table_size(c.oid), {_PAGES},
      coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '{{}}'),
      {_RELATION_MEMBER}, configuration.condition
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
    LEFT JOIN ({_CONFIGURATION}) AS configuration ON configuration.oid = c.oid
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_USER_SCHEMA}
      AND (configuration.oid IS NOT NULL OR NOT {_RELATION_MEMBER})
    ORDER BY c.oid"""  # noqa: S608

_SEQUENCES_OF_CONFIGURATION = f"""SELECT oid FROM ({_CONFIGURATION}) AS configuration
    UNION SELECT d.objid FROM pg_catalog.pg_depend d
    JOIN ({_CONFIGURATION}) AS configuration ON d.refobjid = configuration.oid
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 AND pg_catalog.has_table_privilege(d.objid, 'SELECT')"""  # noqa: S608
"""Those that the extension names, and those behind columns of tables that it names, which some extensions forget:
new rows would collide with those that were restored. No extension gives rights on what it forgets."""

SEQUENCES = f"""SELECT c.oid, n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {_USER_SCHEMA}
      AND (c.relpersistence <> 'u' OR NOT pg_catalog.pg_is_in_recovery())
      AND (NOT {_RELATION_MEMBER} OR c.oid IN ({_SEQUENCES_OF_CONFIGURATION}))
    ORDER BY c.oid"""  # noqa: S608

_THIS_DATABASE = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"

_IN_USER_SCHEMA = f"SELECT FROM pg_catalog.pg_namespace n WHERE n.oid = {{}} AND {_USER_SCHEMA}"

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


def _with_members(version: int) -> str:
    """The query for these, for who may use something as their member, and for the groups of all of them.

    Not by way of PostgreSQL's own roles, of memberships that only let one admit others, or to superusers: they need
    no membership, and would be useless on the other side.
    """
    counts = "AND (a.inherit_option OR a.set_option)" if version >= 160000 else ""
    theirs = f"{counts} JOIN pg_catalog.pg_roles r ON r.rolname !~ '^pg_'"
    return f"""WITH RECURSIVE
      users AS (SELECT role.oid, bool_or(role.owns) AS owns FROM ({_ROLES}) AS role
        JOIN pg_catalog.pg_roles r ON r.oid = role.oid AND r.rolname !~ '^pg_' GROUP BY role.oid),
      members AS (SELECT oid FROM users UNION SELECT a.member FROM members
        JOIN pg_catalog.pg_auth_members a ON a.roleid = members.oid {theirs} AND r.oid = a.member AND NOT r.rolsuper),
      everybody AS (SELECT oid FROM members UNION SELECT a.roleid FROM everybody
        JOIN pg_catalog.pg_auth_members a ON a.member = everybody.oid {theirs} AND r.oid = a.roleid)
    SELECT oid, coalesce(users.owns, false) AS owns, users.oid IS NOT NULL AS uses
    FROM everybody LEFT JOIN users USING (oid)"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Table:
    """A table with rows of its own."""

    oid: int
    schema: str
    name: str
    unlogged: bool
    size: int
    """Bytes, with what is stored beside its pages."""
    pages: int
    """0 where rows have no places that one could ask for: in storage of an extension's own."""
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
        Table(oid, schema, name, unlogged, size, pages, tuple(columns), member, condition or "")
        for oid, schema, name, unlogged, size, pages, columns, member, condition in execute(connection, TABLES)
    ]


def sequences(connection: Connection) -> list[tuple[str, str, int, bool]]:
    """(schema, name, last_value, is_called). A sequence is not under the snapshot, only ever ahead of it."""
    names = execute(connection, SEQUENCES)
    values: list[tuple[str, str, int, bool]] = []
    for start in range(0, len(names), 200):
        batch = names[start : start + 200]
        query = "\nUNION ALL\n".join(
            f"SELECT {number}, last_value, is_called FROM {identifier(schema, name)}"  # noqa: S608  # quoted
            for number, (_, schema, name) in enumerate(batch)
        )
        rows = {number: (value, called) for number, value, called in execute(connection, query)}
        values += [(schema, name, *rows[number]) for number, (_, schema, name) in enumerate(batch)]
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
    found = Database(*rows[0])
    if version < 150000:  # which does not keep what it was made with
        return replace(found, collation_version=collations.version(connection, found.provider, found.collate))
    return found


def extensions(connection: Connection) -> tuple[Extension, ...]:
    rows = execute(connection, "SELECT extname, extversion FROM pg_catalog.pg_extension ORDER BY extname")
    return tuple(Extension(name, version) for name, version in rows)


def has_large_objects(connection: Connection) -> bool:
    return bool(execute(connection, "SELECT 1 FROM pg_catalog.pg_largeobject_metadata LIMIT 1"))


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
            "role_settings": _role_settings(connection),
            "roles": _roles(connection),
            "memberships": _memberships(connection),
            "collations": [list(astuple(collation)) for collation in collations.used(connection)],
            "subscriptions": [list(astuple(subscription)) for subscription in subscriptions.listed(connection)],
            "reserved": reserved(connection),
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
    names = ("name", "owns", "uses", "super", "inherit", "createrole", "createdb", "login", "replication", "bypassrls")
    rows = execute(
        connection,
        f"""SELECT r.rolname::text, role.owns, role.uses, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
            rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil::text, {verifier}
            FROM ({_with_members(connection.info.server_version)}) AS role
            JOIN pg_catalog.{catalog} r ON r.oid = role.oid ORDER BY r.oid""",  # noqa: S608
    )
    return [dict(zip((*names, "limit", "until", "verifier"), row, strict=True)) for row in rows]


def _role_settings(connection: Connection) -> list[tuple[Any, ...]]:
    """What holds for these roles in every database."""
    return execute(
        connection,
        f"""SELECT r.rolname::text, s.setconfig FROM pg_catalog.pg_db_role_setting s
            JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
            WHERE s.setdatabase = 0 AND r.oid IN (
              SELECT oid FROM ({_with_members(connection.info.server_version)}) AS role)
            ORDER BY r.oid""",  # noqa: S608
    )


def _memberships(connection: Connection) -> list[tuple[Any, ...]]:
    version = connection.info.server_version
    others = "bool_or(a.inherit_option), bool_or(a.set_option)" if version >= 160000 else "NULL::boolean, NULL::boolean"
    return execute(
        connection,
        f"""WITH captured AS (SELECT oid FROM ({_with_members(version)}) AS role)
            SELECT g.rolname::text, m.rolname::text, bool_or(a.admin_option), {others}
            FROM pg_catalog.pg_auth_members a
            JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
            WHERE m.oid IN (SELECT oid FROM captured)
              AND (g.rolname ~ '^pg_' OR g.oid IN (SELECT oid FROM captured))
            GROUP BY 1, 2 ORDER BY 1, 2""",  # noqa: S608
    )


def major_of(connection: Connection) -> int:
    return major(connection.info.server_version)
