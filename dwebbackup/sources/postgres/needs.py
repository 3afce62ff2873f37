"""What a backup needs of a server that it is restored to, and what a server has of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dwebbackup.manifest import Extension, SourceFacts
from dwebbackup.sources.postgres import collations
from dwebbackup.sources.postgres.collations import LIBC, Collation
from dwebbackup.sources.postgres.connection import Connection, execute, major
from dwebbackup.sources.postgres.properties import Properties
from dwebbackup.sources.postgres.tools import major_in

ALWAYS_THERE = "plpgsql"
"""The extension that every new database has."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a backup needs."""

    major: int
    encoding: str
    provider: str
    """Who sorts, as `pg_database.datlocprovider` has it."""
    locale: str
    """The locale that sorts, whosever it is."""
    version: str
    """Of that locale's rules; empty where the source could not tell."""
    locales: tuple[str, ...]
    """Of the operating system, with which the database itself is made."""
    extensions: tuple[Extension, ...]
    collations: tuple[Collation, ...]
    """That objects use."""
    reserved: tuple[str, ...]
    """What only a superuser may bring back."""


@dataclass(frozen=True, slots=True)
class Offered:
    """An extension as a server has it."""

    version: str
    """Which CREATE EXTENSION makes unless told otherwise, and pg_restore does not tell."""
    versions: frozenset[str]
    """What it can make."""
    leads_here: bool
    """Whether the extension's own scripts lead from the backup's version to this one."""
    for_superusers: bool


@dataclass(frozen=True, slots=True)
class Offers:
    """What a server has, as far as a backup asks for it."""

    major: int
    knows_encoding: bool
    has_icu: bool
    version: str
    """Of the rules that the source's locale has here; empty where the server cannot tell."""
    locales: frozenset[str]
    collations: frozenset[str]
    extensions: Mapping[str, Offered]
    superuser: bool


def needs(facts: SourceFacts, properties: Properties) -> Needs:
    """What this source needs."""
    provider, collate = facts.detail("provider") or LIBC, facts.detail("collate") or "C"
    return Needs(
        major=major_in(facts.server_version),
        encoding=facts.encoding,
        provider=provider,
        locale=collate if provider == LIBC else facts.detail("locale"),
        version=facts.detail("collation_version"),
        locales=tuple(dict.fromkeys((collate, facts.detail("ctype") or "C"))),
        extensions=tuple(extension for extension in facts.extensions if extension.name != ALWAYS_THERE),
        collations=properties.collations,
        reserved=properties.reserved,
    )


def look(connection: Connection, needs: Needs) -> Offers:
    """Ask the server for all that this backup needs; changes nothing. Raises `DatabaseRefused`."""
    question = "SELECT pg_catalog.pg_char_to_encoding(%s) >= 0, current_setting('is_superuser') = 'on'"
    knows_encoding, superuser = execute(connection, question, (needs.encoding,))[0]
    locales = {*needs.locales, *(locale for collation in needs.collations for locale in collation.locales)}
    offered = {extension.name: _offered(connection, extension) for extension in needs.extensions}
    return Offers(
        major=major(connection.info.server_version),
        knows_encoding=knows_encoding,
        has_icu=collations.has_icu(connection),
        version=collations.version(connection, needs.provider, needs.locale),
        locales=collations.known_locales(connection, sorted(locales)),
        collations=collations.named(connection),
        extensions={name: extension for name, extension in offered.items() if extension},
        superuser=superuser,
    )


def _offered(connection: Connection, extension: Extension) -> Offered | None:
    """None where the server does not have it."""
    rows = execute(
        connection,
        """SELECT e.default_version, v.version, v.superuser AND NOT v.trusted
        FROM pg_catalog.pg_available_extensions e JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name
        WHERE e.name = %s""",
        (extension.name,),
    )
    if not rows:
        return None
    default = str(rows[0][0])
    return Offered(
        version=default,
        versions=frozenset(version for _, version, _ in rows),
        leads_here=default == extension.version or _leads(connection, extension, default),
        for_superusers=any(for_superusers for _, version, for_superusers in rows if version == default),
    )


def _leads(connection: Connection, extension: Extension, version: str) -> bool:
    """PostgreSQL gives versions no order: one that can be updated to another is older."""
    query = """SELECT EXISTS (SELECT FROM pg_catalog.pg_extension_update_paths(%s)
        WHERE source = %s AND target = %s AND path IS NOT NULL)"""
    return bool(execute(connection, query, (extension.name, extension.version, version))[0][0])
