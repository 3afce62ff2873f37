"""What the role of a backup or a restore may do: all that is missing is named at once, and the pages' roles suffice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.sources.postgres.rights import Missing, statements
from faulty import MemoryStore
from fix_majors import WIDE, Majors
from fix_postgres import Database, free_name, new_database
from sources.same import differences
from synthetic import back_up, opened

PAGE = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text()

THINGS = """
CREATE SCHEMA "Hidden'""; x";
CREATE TABLE "Hidden'""; x".t AS SELECT 1 AS one;
CREATE SCHEMA open;
GRANT USAGE ON SCHEMA open TO reader;
CREATE TABLE open.granted AS SELECT n FROM generate_series(1, 10) n;
GRANT SELECT ON open.granted TO reader;
CREATE TABLE open.forbidden (id serial, secret text);
CREATE TABLE open.by_column (a integer, b integer);
GRANT SELECT (a, b) ON open.by_column TO reader;
CREATE TABLE open.parted (id integer) PARTITION BY RANGE (id);
CREATE TABLE open.part PARTITION OF open.parted FOR VALUES FROM (0) TO (10);
GRANT SELECT ON open.part TO reader;
CREATE VIEW open.seen AS SELECT * FROM open.forbidden;
CREATE TABLE open.secured (id integer);
ALTER TABLE open.secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON open.secured USING (id < 5);
INSERT INTO open.secured SELECT generate_series(1, 9);
GRANT SELECT ON open.secured TO reader;
CREATE SEQUENCE open.counter;
GRANT USAGE ON SEQUENCE open.counter TO reader;
CREATE EXTENSION dwebbackup_test_config;
INSERT INTO dwebbackup_config.setting VALUES ('mine', 'precious');
SELECT lo_from_bytea(0, 'large');
"""


@contextmanager
def roles(server: ScratchPostgres, *names: str, rights: str = "LOGIN") -> Iterator[None]:
    """For as long as they are needed; their databases have to be gone by then."""
    for name in names:
        server.psql(f"DROP ROLE IF EXISTS {name}")
        server.psql(f"CREATE ROLE {name} {rights}")
    try:
        yield
    finally:
        for name in names:
            server.psql(f"DROP ROLE IF EXISTS {name}")


def as_role(name: str, database: Database) -> str:
    return database.uri.replace("postgres@", f"{name}@", 1)


def mending(error: DatabaseRefused) -> str:
    """The statements of its hint."""
    return error.hint.partition(": ")[2].partition(" -- ")[0]


@pytest.fixture
def guarded(pg_server: ScratchPostgres) -> Iterator[Database]:
    """A database of which the role `reader` may read only a part."""
    with roles(pg_server, "reader"), new_database(pg_server) as database:
        database.psql(THINGS)
        yield database


# --- a backup ---


def test_everything_that_is_missing_is_named_at_once_before_anything_is_stored(guarded: Database):
    store = MemoryStore()
    with pytest.raises(DatabaseRefused) as caught:
        back_up(store, PostgresSource(as_role("reader", guarded)))
    said = re.split(r": (?=no )|; (?=no |row )", str(caught.value))[1:]
    extension = re.compile(r', "dwebbackup_config"(\."\w+")?|"dwebbackup_config"(\."\w+")?, ')
    assert [extension.sub("", each) for each in said] == [
        'no USAGE on schema "Hidden\'""; x"',
        'no SELECT on table "Hidden\'""; x"."t", "open"."by_column", "open"."forbidden", "open"."parted"',
        'no SELECT on sequence "open"."counter", "open"."forbidden_id_seq"',
        "no large objects",
        'row security hides rows of "open"."secured"',
    ]
    assert '"dwebbackup_config"."setting"' in said[1]
    assert store.objects == {}


def test_the_statements_that_are_given_mend_it(guarded: Database, target_database: Database):
    store = MemoryStore()
    with pytest.raises(DatabaseRefused) as caught:
        back_up(store, PostgresSource(as_role("reader", guarded)))
    guarded.psql(mending(caught.value))
    back_up(store, PostgresSource(as_role("reader", guarded)))
    writer = opened(store)
    restore.restore(writer, writer.catalog.latest(), PostgresTarget(target_database.uri), restore.Options())
    assert target_database.psql("SELECT count(*) FROM open.secured") == "9"
    assert target_database.psql("SELECT value FROM dwebbackup_config.setting WHERE name = 'mine'") == "precious"
    assert target_database.psql("SELECT convert_from(lo_get(oid), 'UTF8') FROM pg_largeobject_metadata") == "large"


def test_an_owner_lacks_nothing_where_row_security_spares_owners(pg_server: ScratchPostgres):
    with roles(pg_server, "reader"), new_database(pg_server, options="OWNER reader") as database:
        database.psql(
            "SET ROLE reader; CREATE TABLE t (id integer); INSERT INTO t VALUES (1), (2);"
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id = 1)"
        )
        done = back_up(MemoryStore(), PostgresSource(as_role("reader", database)))
        assert [stream.rows for stream in done.backup.manifest.sources[0].streams if stream.kind == "rows"] == [2]
        database.psql("ALTER TABLE t FORCE ROW LEVEL SECURITY")
        with pytest.raises(DatabaseRefused, match="row security hides rows of") as caught:
            back_up(MemoryStore(), PostgresSource(as_role("reader", database)))
        assert mending(caught.value) == 'ALTER ROLE "reader" BYPASSRLS;'


def test_of_many_tables_a_few_are_named_and_all_are_mended(pg_server: ScratchPostgres):
    with roles(pg_server, "reader"), new_database(pg_server) as database:
        database.psql("".join(f"CREATE TABLE t{number} (id integer);" for number in range(100, 150)))
        with pytest.raises(DatabaseRefused, match='"t109" and 40 more') as caught:
            back_up(MemoryStore(), PostgresSource(as_role("reader", database)))
        assert mending(caught.value) == 'GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO "reader";'
        database.psql(mending(caught.value))
        back_up(MemoryStore(), PostgresSource(as_role("reader", database)))


def test_statements_come_a_kind_and_a_schema_at_a_time():
    found = [
        Missing("schema", "a", ""),
        Missing("schema", 'b"', ""),
        Missing("table", "a", "x"),
        Missing("table", "a", "y"),
        *(Missing("table", 'b"', f"t{number}") for number in range(11)),
        Missing("large objects", "pg_catalog", "pg_largeobject"),
        Missing("row security", "a", "x"),
        Missing("row security", "a", "y"),
    ]
    assert list(statements(found, "r")) == [
        'GRANT USAGE ON SCHEMA "a", "b""" TO "r";',
        'GRANT SELECT ON TABLE "a"."x", "a"."y" TO "r";',
        'GRANT SELECT ON ALL TABLES IN SCHEMA "b""" TO "r";',
        'GRANT SELECT ON TABLE "pg_catalog"."pg_largeobject" TO "r";',
        'ALTER ROLE "r" BYPASSRLS;',
    ]


OWNED = """
SET ROLE app;
CREATE SCHEMA inside;
CREATE TABLE inside.secured (id serial PRIMARY KEY, note text);
INSERT INTO inside.secured (note) SELECT 'note ' || n FROM generate_series(1, 100) n;
ALTER TABLE inside.secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON inside.secured USING (id < 5);
CREATE SEQUENCE inside.counter;
SELECT nextval('inside.counter');
CREATE MATERIALIZED VIEW inside.gathered AS SELECT 1 AS one;
SELECT lo_from_bytea(0, 'large');
"""


# --- the roles of docs/postgres.md, word for word ---


def sql_of_page(title: str) -> list[str]:
    """The blocks of SQL below that heading."""
    section = re.split(r"^## ", PAGE.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^```sql\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("major", [13, 15, 18] if WIDE else [15, 18])
def test_the_pages_roles_may_do_what_they_are_for(majors: Majors, major: int):
    """Backed up by the one, restored by the other onto the same server, under a new name."""
    server = majors.server(major)
    since_14, on_13 = sql_of_page("Rights of a backup role")
    (restoring,) = sql_of_page("Rights of a restore role")
    store = MemoryStore()
    with roles(server, "app"), new_database(server, options="OWNER app") as source:
        source.psql(OWNED)
        try:
            server.psql("DROP ROLE IF EXISTS backup; DROP ROLE IF EXISTS restorer")
            source.psql(since_14 if major > 13 else on_13)
            source.psql(restoring)
            back_up(store, PostgresSource(as_role("backup", source), bin_folder=majors.clients))
            with free_name(server) as copy:
                writer = opened(store)
                target = PostgresTarget(as_role("restorer", copy), bin_folder=majors.clients)
                restore.restore(writer, writer.catalog.latest(), target, restore.Options())
                found = differences(source.uri, copy.uri, majors.pg_dump(major))
        finally:
            source.drop()
            server.psql("DROP ROLE IF EXISTS backup; DROP ROLE IF EXISTS restorer")
    # What the superuser gave on its own things, on 13, only it can give again.
    assert [piece for piece in found if not piece.endswith(" TO backup;")] == []
