"""What of a database only a superuser may bring back, besides extensions: so that a restore can tell beforehand."""

from __future__ import annotations

from collections.abc import Iterator

from dwebbackup.sources.postgres.connection import Connection, execute

_KINDS = (
    ("event trigger", "pg_event_trigger", "evtname", "true"),
    ("foreign data wrapper", "pg_foreign_data_wrapper", "fdwname", "true"),
    ("language", "pg_language", "lanname", "x.oid >= 16384"),  # what initdb made is below
    ("access method", "pg_am", "amname", "x.oid >= 16384"),
    (
        "function",
        "pg_proc",
        "proname",
        "x.oid >= 16384 AND x.prolang IN (SELECT oid FROM pg_catalog.pg_language WHERE NOT lanpltrusted)",
    ),
)

_OWNED = (
    ("relation", "x.oid::pg_catalog.regclass::text", "pg_class", "x.relowner", "x.relacl"),
    ("schema", "x.nspname", "pg_namespace", "x.nspowner", "x.nspacl"),
    ("function", "x.proname", "pg_proc", "x.proowner", "x.proacl"),
    ("type", "x.typname", "pg_type", "x.typowner", "x.typacl"),
    ("language", "x.lanname", "pg_language", "x.lanowner", "x.lanacl"),
    ("foreign data wrapper", "x.fdwname", "pg_foreign_data_wrapper", "x.fdwowner", "x.fdwacl"),
    ("foreign server", "x.srvname", "pg_foreign_server", "x.srvowner", "x.srvacl"),
)
"""What has an owner, and rights that others than the owner can pass on."""

_OF_COLUMNS = """SELECT 'relation', x.attrelid::pg_catalog.regclass::text, a.grantor
    FROM pg_catalog.pg_attribute x JOIN pg_catalog.pg_class c ON c.oid = x.attrelid,
      pg_catalog.aclexplode(x.attacl) a WHERE a.grantor <> c.relowner"""

_PASSED_ON = "\nUNION ALL\n".join(
    (
        *(
            f"SELECT '{kind}', {name}, a.grantor FROM pg_catalog.{catalog} x, pg_catalog.aclexplode({rights}) a "  # noqa: S608
            f"WHERE a.grantor <> {owner}"
            for kind, name, catalog, owner, rights in _OWNED
        ),
        _OF_COLUMNS,
    )
)
"""Rights given by somebody else than the owner: pg_restore has to become that role, as only a superuser may."""


def reserved(connection: Connection) -> tuple[str, ...]:
    """`event trigger audit` and so on; nothing that comes with an extension."""
    broad = "x.puballtables"
    if connection.info.server_version >= 150000:
        broad += " OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace n WHERE n.pnpubid = x.oid)"
    query = "\nUNION ALL\n".join(
        # parts of our own
        f"""SELECT '{kind} ' || x.{name} FROM pg_catalog.{catalog} x WHERE ({condition}) AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.{catalog}'::regclass
            AND d.objid = x.oid AND d.deptype = 'e')"""  # noqa: S608
        for kind, catalog, name, condition in (*_KINDS, ("publication", "pg_publication", "pubname", broad))
    )
    things = [what for (what,) in execute(connection, f"{query} ORDER BY 1")]
    return (*things, *_passed_on(connection))


def _passed_on(connection: Connection) -> Iterator[str]:
    query = f"""SELECT DISTINCT kind, name, grantor::pg_catalog.regrole::text
        FROM ({_PASSED_ON}) AS passed(kind, name, grantor) ORDER BY 1, 2, 3"""  # noqa: S608
    for kind, name, grantor in execute(connection, query):
        yield f"rights on {kind} {name} given by {grantor}"
