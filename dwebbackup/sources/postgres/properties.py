"""What a database has beside its contents, as a backup holds it: owner, rights, settings, comment; and put back.

Everything is built here from an allow-list of statements: text from a backup is never run as SQL.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dwebbackup.errors import Damaged, DatabaseRefused
from dwebbackup.sources.postgres import settings
from dwebbackup.sources.postgres.collations import Collation
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, literal
from dwebbackup.sources.postgres.subscriptions import Subscription

_RIGHTS = {"CREATE", "CONNECT", "TEMPORARY"}


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
    role_settings: tuple[tuple[str, tuple[str, ...]], ...]
    """The same, of roles in all databases."""
    roles: tuple[Mapping[str, Any], ...]
    memberships: tuple[tuple[str, str, bool, bool | None, bool | None], ...]
    """(group, member, with the admin, inherit and set options); the last two are None from before PostgreSQL 16."""
    collations: tuple[Collation, ...]
    subscriptions: tuple[Subscription, ...]
    reserved: tuple[str, ...]
    """What only a superuser may bring back."""

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
            role_settings=tuple((role, tuple(items)) for role, items in value.get("role_settings", ())),
            roles=tuple(value["roles"]),
            memberships=tuple(tuple(item) for item in value["memberships"]),
            collations=tuple(
                Collation(str(name), bool(of_system), str(provider), tuple(locales))
                for name, of_system, provider, locales in value.get("collations", ())
            ),
            subscriptions=tuple(Subscription(*item) for item in value.get("subscriptions", ())),
            reserved=tuple(map(str, value.get("reserved", ()))),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"the database's properties cannot be read: {error}") from None


def apply(
    connection: Connection, name: str, properties: Properties, *, owners: bool = True, absent: Collection[str] = ()
) -> tuple[str, ...]:
    """Give the database *name* what it had: owner and rights only with *owners*, no settings to roles *absent*.

    A statement that this role may not run is a note, not a failure.
    """
    notes = []
    for statement in (*(_rights(name, properties) if owners else ()), *_statements(name, properties, owners=owners)):
        try:
            execute(connection, statement)
        except DatabaseRefused as error:
            notes.append(f"not restored: {statement.partition(' TO ')[0]}: {error}")
    notes += _settings(connection, name, properties, absent)
    return tuple(notes)


def _rights(name: str, properties: Properties) -> Iterator[str]:
    database = identifier(name)
    if properties.grants is not None:
        yield f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"
        for role, right, option in properties.grants:
            if right in _RIGHTS:
                grantee = identifier(role) if role else "PUBLIC"
                yield f"GRANT {right} ON DATABASE {database} TO {grantee}{' WITH GRANT OPTION' if option else ''}"


def _statements(name: str, properties: Properties, *, owners: bool) -> Iterator[str]:
    database = identifier(name)
    if properties.comment is not None:
        yield f"COMMENT ON DATABASE {database} IS {literal(properties.comment)}"
    if properties.connection_limit != -1:
        yield f"ALTER DATABASE {database} CONNECTION LIMIT {properties.connection_limit}"
    if owners and (properties.owner in properties.role_names or not properties.owner.startswith("pg_")):
        yield f"ALTER DATABASE {database} OWNER TO {identifier(properties.owner)}"


def _settings(connection: Connection, name: str, properties: Properties, absent: Collection[str]) -> Iterator[str]:
    """`ALTER DATABASE … SET`, `ALTER ROLE … IN DATABASE … SET`; what could not be set, as notes."""
    database = f"DATABASE {identifier(name)}"
    for role, items in properties.settings:
        if role in absent:
            yield f"not restored: the settings of role {role} in this database: there is no such role"
        else:
            yield from settings.put_back(
                connection, f"ROLE {identifier(role)} IN {database}" if role else database, items
            )
