"""What somebody made in a database, by which it is told from an empty one: objects of every kind, and kept rows."""

from __future__ import annotations

from collections.abc import Iterator

from dwebbackup.sources.postgres import census, subscriptions
from dwebbackup.sources.postgres.connection import Connection, execute, identifier

IN_SCHEMAS = {
    "pg_class": "relnamespace",
    "pg_collation": "collnamespace",
    "pg_conversion": "connamespace",
    "pg_opclass": "opcnamespace",
    "pg_operator": "oprnamespace",
    "pg_opfamily": "opfnamespace",
    "pg_proc": "pronamespace",
    "pg_statistic_ext": "stxnamespace",
    "pg_ts_config": "cfgnamespace",
    "pg_ts_dict": "dictnamespace",
    "pg_ts_parser": "prsnamespace",
    "pg_ts_template": "tmplnamespace",
    "pg_type": "typnamespace",
}
"""Catalogs of what has a schema, and the column with it: the system's own is in schemas of its own."""

_USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

_MADE_LATER = "x.oid >= 16384"
"""FirstNormalObjectId: what initdb makes comes before."""

_EXTENDED = """EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extnamespace = x.oid
    OR e.extname = 'postgis_tiger_geocoder' AND x.nspname = 'tiger_data')"""
"""The schema that an extension is in belongs to none, even if it was made for it; and that geocoder makes another one,
which it lets go. Images of PostGIS have both kinds in every new database."""

ELSEWHERE = {
    "pg_am": _MADE_LATER,
    "pg_cast": _MADE_LATER,
    "pg_default_acl": _MADE_LATER,
    "pg_event_trigger": _MADE_LATER,
    "pg_foreign_data_wrapper": _MADE_LATER,
    "pg_foreign_server": _MADE_LATER,
    "pg_language": _MADE_LATER,
    "pg_largeobject_metadata": "true",  # whoever makes one may choose its number
    "pg_namespace": f"x.nspname !~ '^pg_' AND x.nspname NOT IN ('information_schema', 'public') AND NOT {_EXTENDED}",
    "pg_publication": _MADE_LATER,
    "pg_transform": _MADE_LATER,
}
"""Catalogs of what has none, and how the system's own is told."""

PARTS = frozenset(
    {
        "pg_amop",
        "pg_amproc",
        "pg_attrdef",
        "pg_constraint",
        "pg_enum",
        "pg_policy",
        "pg_publication_namespace",
        "pg_publication_rel",
        "pg_rewrite",
        "pg_trigger",
        "pg_user_mapping",
    }
)
"""Catalogs of what is part of something else that is counted."""

EXTENSIONS = "pg_extension"
"""Not counted: hosters have them in every new database, and a restore makes them again."""

_CLASSES = {"pg_largeobject_metadata": "pg_largeobject"}
"""By which the server knows objects, where that is not the catalog that lists them."""

_BUT = {"pg_class": " AND x.relkind NOT IN ('i', 'I')"}


def user_objects(connection: Connection, limit: int = 5) -> list[str]:
    """What a restore would endanger, the first few: everything outside extensions and the system's schemas, and of
    extensions' tables the rows that they say belong to a dump.
    """
    query = "\nUNION ALL\n".join(_listed())
    rows = execute(connection, f"{query}\nLIMIT {int(limit)}")
    objects = [name for (name,) in rows if name]  # none: it was dropped just now
    objects += [f"subscription {subscription.name}" for subscription in subscriptions.listed(connection)]
    if objects:
        return objects[:limit]
    for table in census.tables(connection):
        kept = f"SELECT FROM ONLY {identifier(*table.path)} {table.condition}"
        if execute(connection, f"SELECT EXISTS ({kept})")[0][0]:
            objects.append(f"rows of {identifier(*table.path)}")
    return objects[:limit]


def _listed() -> Iterator[str]:
    """A query a catalog; without what comes and goes with something else, such as the type of a table's rows."""
    conditions = {
        catalog: f"x.{column} IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE {_USER_SCHEMA})"  # noqa: S608
        for catalog, column in IN_SCHEMAS.items()
    }
    for catalog, condition in (conditions | ELSEWHERE).items():
        kind = f"'pg_catalog.{_CLASSES.get(catalog, catalog)}'::regclass"
        yield f"""SELECT pg_catalog.pg_describe_object({kind}, x.oid, 0)
            FROM pg_catalog.{catalog} x WHERE {condition}{_BUT.get(catalog, "")} AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_depend d WHERE d.classid = {kind}
              AND d.objid = x.oid AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))"""  # noqa: S608  # words of our own
