"""Large objects out and back: their pages as rows, and who owns and may use them as rows as well.

`pg_dump` leaves them out here: since version 17 it counts even their owners as data, and up to 16 it wrote an entry
or more for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

from dwebbackup.manifest import SourceFacts
from dwebbackup.sources.postgres.connection import Connection, identifier, literal, refused, settings_sql
from dwebbackup.sources.postgres.load import blocks

PAGES = "(SELECT loid, pageno, data FROM pg_catalog.pg_largeobject ORDER BY loid, pageno)"
"""For COPY, in one line. The stream `largeobjects`."""

OWNERS = " ".join(
    """(SELECT r.rolname,
        CASE WHEN first.lomacl IS NOT NULL THEN coalesce((
            SELECT json_agg(json_build_array(grantor.rolname, coalesce(grantee.rolname, ''), a.privilege_type,
                a.is_grantable) ORDER BY a.ordinality)
            FROM pg_catalog.aclexplode(first.lomacl) WITH ORDINALITY AS a
            JOIN pg_catalog.pg_roles grantor ON grantor.oid = a.grantor
            LEFT JOIN pg_catalog.pg_roles grantee ON grantee.oid = a.grantee), '[]') END,
        alike.comment, alike.oids
    FROM (SELECT pg_catalog.obj_description(oid, 'pg_largeobject') AS comment, array_agg(oid ORDER BY oid) AS oids
        FROM pg_catalog.pg_largeobject_metadata
        GROUP BY 1, lomowner, lomacl::text, oid::bigint / 1000) AS alike
    JOIN pg_catalog.pg_largeobject_metadata first ON first.oid = alike.oids[1]
    JOIN pg_catalog.pg_roles r ON r.oid = first.lomowner
    ORDER BY alike.oids[1])""".split()
)
"""The stream `largeobjectowners`: large objects that differ in nothing but their numbers share a row. No more than
a thousand neighbours do: so a statement about them stays short, and a new one changes few rows."""

_RIGHTS = {"SELECT", "UPDATE"}


class _Alike(NamedTuple):
    """A row of the stream `largeobjectowners`."""

    owner: str
    rights: Sequence[tuple[str, str, str, bool]] | None
    """(by whom, to whom or empty for everybody, right, with grant option); None: the owner's alone."""
    comment: str | None
    oids: Sequence[int]


def load(
    connection: Connection, facts: SourceFacts, owners: Iterable[bytes], pages: Iterable[bytes], *, give: bool
) -> None:
    """The inverse of both streams, into a database without large objects. *give*: with their owners and rights.

    Rights come last: an owner may have taken even its own away.
    """
    with refused("restoring large objects"):
        _copy(connection, facts, "owners (owner text, rights json, comment text, oids oid[])", owners)
        for alike in _listed(connection):
            _make(connection, alike, give=give)
        _copy(connection, facts, "pages (loid oid, pageno integer, data bytea)", pages)
        with _transaction(connection):
            connection.execute(
                """SELECT count(pg_catalog.lo_put(loid, pageno::bigint * 2048, data))
                FROM (SELECT * FROM pg_temp.pages ORDER BY loid, pageno) AS pages"""
            )
        for alike in _listed(connection):
            _describe(connection, alike, give=give)
        connection.execute("DROP TABLE pg_temp.owners, pg_temp.pages")


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute(settings_sql(connection.info.server_version).encode())
        yield


def _copy(connection: Connection, facts: SourceFacts, definition: str, chunks: Iterable[bytes]) -> None:
    """Into a new temporary table."""
    table = definition.partition(" ")[0]
    with _transaction(connection), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {definition}".encode())
        with cursor.copy(f"COPY pg_temp.{table} FROM STDIN WITH (ENCODING '{facts.encoding}')".encode()) as copy:
            for block in blocks(chunks):
                copy.write(block)


def _listed(connection: Connection) -> Iterator[_Alike]:
    with connection.cursor("listed", withhold=True) as cursor:
        cursor.execute("SELECT owner, rights, comment, oids FROM pg_temp.owners")
        yield from map(_Alike._make, cursor)


def _make(connection: Connection, alike: _Alike, *, give: bool) -> None:
    with _transaction(connection):
        if give:
            _act_as(connection, alike.owner)
        connection.execute(
            "SELECT count(pg_catalog.lo_create(oid)) FROM unnest(%s::oid[]) AS wanted (oid)", (list(alike.oids),)
        )


def _describe(connection: Connection, alike: _Alike, *, give: bool) -> None:
    with _transaction(connection):
        if give:
            _act_as(connection, alike.owner)
        if alike.comment is not None:
            for oid in alike.oids:
                connection.execute(f"COMMENT ON LARGE OBJECT {oid} IS {literal(alike.comment)}".encode())
        if give and alike.rights is not None:
            _give_rights(connection, alike, alike.rights)


def _give_rights(connection: Connection, alike: _Alike, rights: Sequence[tuple[str, str, str, bool]]) -> None:
    """Each by whom it was given: what one who may pass it on has given goes when that one loses it."""
    objects = f"LARGE OBJECT {', '.join(map(str, alike.oids))}"
    connection.execute(f"REVOKE ALL ON {objects} FROM {identifier(alike.owner)}".encode())
    for grantor, granted in groupby(rights, key=lambda item: item[0]):
        _act_as(connection, grantor)
        for _, role, right, option in granted:
            if right in _RIGHTS:
                grantee = identifier(role) if role else "PUBLIC"
                passing = " WITH GRANT OPTION" if option else ""
                connection.execute(f"GRANT {right} ON {objects} TO {grantee}{passing}".encode())


def _act_as(connection: Connection, role: str) -> None:
    connection.execute(f"SET LOCAL ROLE {identifier(role)}".encode())
