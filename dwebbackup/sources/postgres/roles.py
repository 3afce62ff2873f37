"""The roles of a backup that a server lacks: whether we may make them, how they are made, and dropped if all fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres import settings
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, literal, major, refused
from dwebbackup.sources.postgres.properties import Properties

OPTIONS_OF_MEMBERS = 160000
"""Since this version, each membership says whether it inherits, and whether it lets one act as the group."""

OWNERS_INHERIT = 15
"""In this version, `public` belongs to whoever owns the database, if only they inherit. Since 16, they need not."""

_HARMLESS = {
    "pg_read_all_data",
    "pg_read_all_settings",
    "pg_read_all_stats",
    "pg_stat_scan_tables",
    "pg_monitor",
    "pg_signal_backend",
    "pg_checkpoint",
    "pg_maintain",
    "pg_use_reserved_connections",
}
"""PostgreSQL's own roles that a restore lets a new role join. None of them leads to the system below the server."""


def missing(connection: Connection, properties: Properties) -> tuple[str, ...]:
    """Roles of the backup that do not exist on this server."""
    present = {name for (name,) in execute(connection, "SELECT rolname::text FROM pg_catalog.pg_roles")}
    return tuple(name for name in properties.role_names if name not in present)


def may_create(connection: Connection) -> bool:
    query = "SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"
    return bool(execute(connection, query)[0][0])


def obstacle(connection: Connection, properties: Properties, lacking: Sequence[str]) -> str:
    """Why this role may not make things belong to their owners; empty for a superuser, and for a member of all who
    own something, who inherits from them, and can create those that are *lacking*. Raises `DatabaseRefused`.
    """
    superuser, inherits = execute(
        connection, "SELECT rolsuper, rolinherit FROM pg_catalog.pg_roles WHERE rolname = current_user"
    )[0]
    if superuser:
        return ""
    if not inherits and major(connection.info.server_version) == OWNERS_INHERIT:
        raise DatabaseRefused(
            "this role is NOINHERIT, so it may not make anything in the schema public even of its own databases",
            "ALTER ROLE … INHERIT",
        )
    needed = [str(role["name"]) for role in properties.roles if role["name"] in lacking and role.get("uses", True)]
    if needed and not may_create(connection):
        return f"this role may not create the roles {', '.join(needed)}"
    owners = [str(role["name"]) for role in properties.roles if role.get("owns")]
    there = [name for name in owners if name not in lacking]
    chosen_by_membership = connection.info.server_version >= OPTIONS_OF_MEMBERS
    if others := _without(connection, there, "SET" if chosen_by_membership else "MEMBER"):
        return f"this role may not act for {', '.join(others)}"
    # Acting for them is not enough: pg_restore gives a thing away before it is done with it.
    foreign = _without(connection, there, "USAGE") if inherits or chosen_by_membership else owners
    return f"this role does not inherit the rights of {', '.join(foreign)}" if foreign else ""


def _without(connection: Connection, roles: Sequence[str], right: str) -> list[str]:
    """Those of *roles* of which the current one is no member with this right."""
    query = "SELECT name FROM unnest(%s::text[]) AS role(name) WHERE NOT pg_catalog.pg_has_role(name, %s)"
    return [name for (name,) in execute(connection, query, (list(roles), right))]


@contextmanager
def made(connection: Connection, properties: Properties, lacking: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Have the *lacking* roles made, and dropped again if anything fails; what the user should know.

    Those that stayed would not be lacking the next time, and nobody would be told what they were made without.
    """
    notes = create(connection, properties, lacking)
    try:
        yield notes
    except BaseException:
        for name in lacking:
            # What somebody uses by now stays, and whatever failed is told first, even if it took the connection along.
            with suppress(DatabaseRefused, psycopg.Error):
                execute(connection, f"DROP ROLE {identifier(name)}")
        raise


def create(connection: Connection, properties: Properties, lacking: Sequence[str]) -> tuple[str, ...]:
    """Make the *lacking* roles, with their password verifiers where the backup could see them.

    SUPERUSER, REPLICATION and BYPASSRLS are never given, nor membership in a role that is here already, unless it
    is one of PostgreSQL's harmless ones: a backup must not be a way to rights. All or none; what the user should
    know.
    """
    notes: list[str] = []
    with refused("creating roles"), connection.transaction():
        join_them = not execute(connection, "SELECT current_setting('is_superuser') = 'on'")[0][0]
        for role in properties.roles:
            if role["name"] in lacking:
                notes += _create(connection, role, join=join_them)
        notes += _join_groups(connection, properties, lacking)
        for name, items in properties.role_settings:
            if name in lacking:
                notes += settings.put_back(connection, f"ROLE {identifier(name)}", items)
    return tuple(notes)


def _create(connection: Connection, role: Mapping[str, Any], *, join: bool) -> Iterator[str]:
    name = str(role["name"])
    execute(connection, f"CREATE ROLE {identifier(name)} {' '.join(_attributes(role))}")
    if join:  # who creates a role is no member of it yet, and may give it nothing
        options = "WITH INHERIT TRUE, SET TRUE" if connection.info.server_version >= OPTIONS_OF_MEMBERS else ""
        execute(connection, f"GRANT {identifier(name)} TO CURRENT_USER {options}")
    withheld = [right.upper() for right in ("super", "replication", "bypassrls") if role.get(right)]
    if withheld:
        yield f"role {name} was made without {', '.join(withheld)}; grant it yourself if it needs it"
    if role.get("login") and not role.get("verifier"):
        yield f"role {name} was made without a password: the backup could not see it"


def _join_groups(connection: Connection, properties: Properties, lacking: Sequence[str]) -> Iterator[str]:
    for group, member, *options in properties.memberships:
        if member in lacking and (group in lacking or group in _HARMLESS):
            yield from _join(connection, group, member, options)
        elif member in lacking:
            yield f"role {member} was made without being a member of {group}; grant that yourself"


def _join(connection: Connection, group: str, member: str, options: Sequence[bool | None]) -> Iterator[str]:
    """Make *member* one of *group*, as it was. A statement that this role may not run is a note."""
    admin, *others = options
    words = ["ADMIN OPTION"] if admin else []
    if connection.info.server_version >= OPTIONS_OF_MEMBERS:
        words += [
            f"{name} {value}" for name, value in zip(("INHERIT", "SET"), others, strict=True) if value is not None
        ]
    statement = f"GRANT {identifier(group)} TO {identifier(member)}{' WITH ' if words else ''}{', '.join(words)}"
    try:
        with refused("granting a role"), connection.transaction():
            execute(connection, statement)
    except DatabaseRefused as error:
        yield f"not restored: {member} as a member of {group}: {error}"


def _attributes(role: Mapping[str, Any]) -> Iterator[str]:
    yield "LOGIN" if role.get("login") else "NOLOGIN"
    yield "INHERIT" if role.get("inherit", True) else "NOINHERIT"
    yield "CREATEDB" if role.get("createdb") else "NOCREATEDB"
    yield "CREATEROLE" if role.get("createrole") else "NOCREATEROLE"
    yield f"CONNECTION LIMIT {int(role.get('limit', -1))}"
    if role.get("until"):
        yield f"VALID UNTIL {literal(str(role['until']))}"
    if role.get("verifier"):
        yield f"PASSWORD {literal(str(role['verifier']))}"
