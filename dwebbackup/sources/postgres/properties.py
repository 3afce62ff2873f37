"""Roles, and what a database has beside its contents: owner, rights, settings, comment; captured, and put back.

Everything is built here from an allow-list of statements: text from a backup is never run as SQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dwebbackup.errors import Damaged, DatabaseRefused
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, literal, refused

_RIGHTS = {"CREATE", "CONNECT", "TEMPORARY"}

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

_LISTS = {
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
}
"""Settings whose stored value is a list that PostgreSQL has quoted already (GUC_LIST_QUOTE)."""


@dataclass(frozen=True, slots=True)
class Properties:
    """The stream `properties`."""

    owner: str
    connection_limit: int
    comment: str | None
    grants: tuple[tuple[str, str, bool], ...] | None
    """(role or empty for everybody, right, with grant option); None: PostgreSQL's default rights."""
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    """(role or empty for all, `name=value` each)."""
    roles: tuple[Mapping[str, Any], ...]
    memberships: tuple[tuple[str, str, bool, bool | None, bool | None], ...]
    """(group, member, with the admin, inherit and set options); the last two are None from before PostgreSQL 16."""

    @property
    def role_names(self) -> tuple[str, ...]:
        return tuple(str(role["name"]) for role in self.roles)


def parse(data: bytes) -> Properties:
    """Raises `Damaged`."""
    try:
        value = json.loads(data)
        database = value["database"]
        return Properties(
            owner=str(database["owner"]),
            connection_limit=int(database["connection_limit"]),
            comment=database["comment"],
            grants=None if database["default_rights"] else tuple(tuple(item) for item in database["grants"]),
            settings=tuple((role, tuple(items)) for role, items in value["settings"]),
            roles=tuple(value["roles"]),
            memberships=tuple(tuple(item) for item in value["memberships"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"the database's properties cannot be read: {error}") from None


def missing_roles(connection: Connection, properties: Properties) -> tuple[str, ...]:
    """Roles that own or may use something in the backup, and do not exist on this server."""
    present = {name for (name,) in execute(connection, "SELECT rolname::text FROM pg_catalog.pg_roles")}
    return tuple(name for name in properties.role_names if name not in present)


def may_give(connection: Connection, properties: Properties, missing: Sequence[str]) -> bool:
    """Whether this role may make things belong to their owners: a superuser, or a member of all who own something;
    those who are missing it has to be able to create.
    """
    superuser, creates = execute(
        connection, "SELECT rolsuper, rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"
    )[0]
    if superuser or (missing and not creates):
        return bool(superuser)
    owners = [str(role["name"]) for role in properties.roles if role.get("owns") and role["name"] not in missing]
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    query = f"SELECT bool_and(pg_catalog.pg_has_role(name, '{right}')) FROM unnest(%s::text[]) AS owner(name)"  # noqa: S608
    return not owners or bool(execute(connection, query, (owners,))[0][0])


def create_roles(connection: Connection, properties: Properties, missing: Sequence[str]) -> tuple[str, ...]:
    """Make the missing roles, with their password verifiers where the backup could see them.

    SUPERUSER, REPLICATION and BYPASSRLS are never given, nor membership in a role that is here already, unless it
    is one of PostgreSQL's harmless ones: a backup must not be a way to rights. All or none; what the user should
    know.
    """
    with refused("creating roles"), connection.transaction():
        return _create_roles(connection, properties, missing)


def _create_roles(connection: Connection, properties: Properties, missing: Sequence[str]) -> tuple[str, ...]:
    notes = []
    superuser = execute(connection, "SELECT current_setting('is_superuser') = 'on'")[0][0]
    for role in properties.roles:
        name = str(role["name"])
        if name not in missing:
            continue
        execute(connection, f"CREATE ROLE {identifier(name)} {' '.join(_attributes(role))}")
        if not superuser:  # who creates a role is no member of it yet, and may give it nothing
            execute(connection, f"GRANT {identifier(name)} TO CURRENT_USER")
        withheld = [right.upper() for right in ("super", "replication", "bypassrls") if role.get(right)]
        if withheld:
            notes.append(f"role {name} was made without {', '.join(withheld)}; grant it yourself if it needs it")
        if role.get("login") and not role.get("verifier"):
            notes.append(f"role {name} was made without a password: the backup could not see it")
    for group, member, *options in properties.memberships:
        if member in missing and (group in missing or group in _HARMLESS):
            notes += _join(connection, group, member, options)
        elif member in missing:
            notes.append(f"role {member} was made without being a member of {group}; grant that yourself")
    return tuple(notes)


def _join(connection: Connection, group: str, member: str, options: Sequence[bool | None]) -> Iterator[str]:
    """Make *member* one of *group*, as it was. A statement that this role may not run is a note."""
    admin, *others = options
    words = ["ADMIN OPTION"] if admin else []
    if connection.info.server_version >= 160000:
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


def apply(connection: Connection, name: str, properties: Properties) -> tuple[str, ...]:
    """Give the database *name* what it had. A statement that this role may not run is a note, not a failure."""
    notes = []
    for statement in _statements(name, properties):
        try:
            execute(connection, statement)
        except DatabaseRefused as error:
            notes.append(f"not restored: {statement.partition(' TO ')[0]}: {error}")
    notes += _settings(connection, name, properties)
    return tuple(notes)


def _statements(name: str, properties: Properties) -> Iterator[str]:
    database = identifier(name)
    if properties.grants is not None:
        yield f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"
        for role, right, option in properties.grants:
            if right in _RIGHTS:
                grantee = identifier(role) if role else "PUBLIC"
                yield f"GRANT {right} ON DATABASE {database} TO {grantee}{' WITH GRANT OPTION' if option else ''}"
    if properties.comment is not None:
        yield f"COMMENT ON DATABASE {database} IS {literal(properties.comment)}"
    if properties.connection_limit != -1:
        yield f"ALTER DATABASE {database} CONNECTION LIMIT {properties.connection_limit}"
    if properties.owner in properties.role_names or not properties.owner.startswith("pg_"):
        yield f"ALTER DATABASE {database} OWNER TO {identifier(properties.owner)}"


def _settings(connection: Connection, name: str, properties: Properties) -> Iterator[str]:
    """`ALTER DATABASE … SET`, `ALTER ROLE … IN DATABASE … SET`; what could not be set, as notes."""
    for role, items in properties.settings:
        whose = f"ROLE {identifier(role)} IN DATABASE {identifier(name)}" if role else f"DATABASE {identifier(name)}"
        for item in items:
            key, _, value = item.partition("=")
            try:
                execute(connection, f"ALTER {whose} SET {_parameter(key)} TO {_value(key, value)}")
            except DatabaseRefused as error:
                yield f"not restored: setting {key}: {error}"


def _parameter(key: str) -> str:
    """`app.secret` is two names."""
    return identifier(*key.split("."))


def _value(key: str, value: str) -> str:
    if key.lower() not in _LISTS:
        return literal(value)
    return ", ".join(map(literal, _split(value))) or "''"


def _split(value: str) -> list[str]:
    """The elements of a quoted list: `"$user", public`."""
    elements: list[str] = []
    rest = value.strip()
    while rest:
        if rest.startswith('"'):
            end = 1
            while (end := rest.index('"', end)) + 1 < len(rest) and rest[end + 1] == '"':
                end += 2
            elements.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :]
        else:
            word, comma, tail = rest.partition(",")
            elements.append(word.strip())
            rest = comma + tail
        rest = rest.strip().removeprefix(",").strip()
    return elements
