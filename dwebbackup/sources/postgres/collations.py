"""How a database sorts: the collations that its objects need beside its own, and what a server knows of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres.connection import Connection, execute

LIBC, ICU = "c", "i"
"""As `pg_collation.collprovider` and `pg_database.datlocprovider` have them."""


@dataclass(frozen=True, slots=True)
class Collation:
    """A collation that a database's objects use."""

    name: str
    of_system: bool
    """It comes with the server, so a restore has to find it there; any other is made by the restore."""
    provider: str
    locales: tuple[str, ...]
    """Of the operating system, by name; none where it is not libc that sorts."""


_USED = """SELECT c.collname::text, n.nspname = 'pg_catalog', c.collprovider::text,
      CASE WHEN c.collprovider = 'c' THEN ARRAY[c.collcollate::text, c.collctype::text] ELSE '{}' END
    FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
    WHERE c.collprovider <> 'd' AND CASE WHEN n.nspname = 'pg_catalog'
      THEN EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.refclassid = 'pg_catalog.pg_collation'::regclass AND d.refobjid = c.oid AND d.deptype <> 'p')
      ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_collation'::regclass AND d.objid = c.oid AND d.deptype = 'e') END
    ORDER BY 2, 1"""


def used(connection: Connection) -> tuple[Collation, ...]:
    """Those that somebody made, and of the server's own those that something depends on."""
    return tuple(
        Collation(name, of_system, provider, tuple(dict.fromkeys(locales)))
        for name, of_system, provider, locales in execute(connection, _USED)
    )


def named(connection: Connection) -> frozenset[str]:
    """The names of the collations that come with the server."""
    rows = execute(
        connection,
        "SELECT collname::text FROM pg_catalog.pg_collation WHERE collnamespace = 'pg_catalog'::regnamespace",
    )
    return frozenset(name for (name,) in rows)


def has_icu(connection: Connection) -> bool:
    """Whether the server was built with it. One that was not knows some names, but no version of their rules."""
    query = """SELECT EXISTS (SELECT FROM pg_catalog.pg_collation
        WHERE collprovider = 'i' AND pg_catalog.pg_collation_actual_version(oid) IS NOT NULL)"""
    return bool(execute(connection, query)[0][0])


def known_locales(connection: Connection, locales: Iterable[str]) -> frozenset[str]:
    """Of these locales the ones that the server's operating system has."""
    return frozenset(locale for locale in locales if _is_known(connection, locale))


def _is_known(connection: Connection, locale: str) -> bool:
    """The server asks its system for a locale whenever a setting names it; this one ends with the statement."""
    try:
        execute(connection, "SELECT pg_catalog.set_config('lc_monetary', %s, true)", (locale,))
    except DatabaseRefused as error:
        if isinstance(error.__cause__, psycopg.errors.InvalidParameterValue):
            return False
        raise
    return True


def version(connection: Connection, provider: str, locale: str) -> str:
    """The version of the rules that this locale has on the server now; empty where nobody can tell.

    Of one system's locales all have the same version, but for those that sort by bytes and have none.
    """
    if provider == LIBC:
        which = "collcollate !~ '^(C|POSIX)($|[.])' AND %s::text !~ '^(C|POSIX)($|[.])'"
    else:
        which = f"{_locale_column(connection)} = %s"
    rows = execute(
        connection,
        f"""SELECT pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation
            WHERE collprovider = '{provider}' AND {which} LIMIT 1""",  # noqa: S608
        (locale,),
    )
    return (rows[0][0] if rows else "") or ""


def _locale_column(connection: Connection) -> str:
    """Where the locale stands that is not the operating system's."""
    version = connection.info.server_version
    return "colllocale" if version >= 170000 else "colliculocale" if version >= 150000 else "collcollate"
