"""Databases at the limits of what PostgreSQL allows: very wide, very many, very long, and next to nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused
from dwebbackup.ports import Restored
from dwebbackup.scratch.postgres import Binaries, ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.sources.postgres.refusals import of_program
from dwebbackup.stores.local import LocalStore
from faulty import MemoryStore
from fix_majors import WIDE
from fix_postgres import Database
from sources.same import differences
from synthetic import back_up, names, opened

needs_time = pytest.mark.skipif(not WIDE, reason="takes minutes, and much memory: a part of `make test-wide`")


def there_and_back(source: Database, target: Database, store: MemoryStore | LocalStore | None = None) -> Restored:
    store = store or MemoryStore()
    back_up(store, PostgresSource(source.uri), jobs=2)
    writer = opened(store)
    place = PostgresTarget(target.uri)
    return restore.restore(writer, writer.catalog.latest(), place, restore.Options()).restored


# --- wide, and next to nothing ---

ODD = {
    "as many columns as a table can have": (
        (
            f"CREATE TABLE wide ({', '.join(f'column_{n} boolean' for n in range(1600))});"
            f"INSERT INTO wide VALUES ({', '.join(['true', 'false'] * 800)}); INSERT INTO wide DEFAULT VALUES"
        ),
        2,
    ),
    "rows without a column": ("CREATE TABLE bare (); INSERT INTO bare SELECT FROM generate_series(1, 1000)", 1000),
    "rows of generated columns only": (
        (
            "CREATE TABLE made (a integer GENERATED ALWAYS AS (1 + 1) STORED); INSERT INTO made SELECT FROM "
            "generate_series(1, 10)"
        ),
        10,
    ),
    "columns that were all dropped": (
        (
            "CREATE TABLE dropped (a integer, b text); INSERT INTO dropped VALUES (1, 'x'), (2, 'y');"
            "ALTER TABLE dropped DROP a, DROP b"
        ),
        2,
    ),
    "empty tables only": ("CREATE TABLE a (id integer); CREATE TABLE b (id serial PRIMARY KEY)", 0),
    "no table at all": ("CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE s", 0),
    "one row, and nothing in it": ("CREATE TABLE void (a text); INSERT INTO void VALUES (NULL)", 1),
}


@pytest.mark.parametrize(("made", "rows"), ODD.values(), ids=ODD)
def test_an_odd_database_comes_back(database: Database, target_database: Database, made: str, rows: int):
    database.psql(made)
    assert there_and_back(database, target_database).rows == rows
    assert differences(database.uri, target_database.uri) == []


def test_rows_without_a_column_are_cut_and_come_back(database: Database, target_database: Database):
    database.psql("CREATE TABLE bare (); INSERT INTO bare SELECT FROM generate_series(1, 30000)")
    store = MemoryStore()
    done = back_up(store, PostgresSource(database.uri, piece=256 * 1024), jobs=2)
    assert len([stream for stream in done.backup.manifest.sources[0].streams if stream.kind == "rows"]) > 2
    writer = opened(store)
    restore.restore(writer, writer.catalog.latest(), PostgresTarget(target_database.uri), restore.Options())
    assert target_database.psql("SELECT count(*) FROM bare") == "30000"


# --- more tables than a server has locks for ---


@pytest.fixture
def cramped(pg_binaries: Binaries) -> Iterator[ScratchPostgres]:
    """A server with as little room for locks as there can be."""
    settings = {
        "max_locks_per_transaction": "10",
        "max_connections": "12",
        "max_wal_senders": "0",
        "max_worker_processes": "0",
        "autovacuum": "off",
        "autovacuum_max_workers": "1",
    }
    with ScratchPostgres(pg_binaries, settings=settings) as server:
        yield server


@pytest.mark.parametrize("tables", [400, 2500], ids=["full once pg_dump locks as well", "full at once"])
def test_a_server_with_too_little_room_for_locks_is_told_how_much_is_enough(cramped: ScratchPostgres, tables: int):
    """And the figure is one that really is enough."""
    cramped.psql("".join(f"CREATE TABLE t{number} ();\n" for number in range(tables)))
    source = PostgresSource(cramped.uri())
    with pytest.raises(DatabaseRefused, match=f"no room for locks on {tables} tables") as caught:
        back_up(MemoryStore(), source)
    enough = re.search(r"set max_locks_per_transaction to (\d+) or more", caught.value.hint)[1]
    cramped.psql(f"ALTER SYSTEM SET max_locks_per_transaction = {enough}")
    cramped.stop()
    cramped.start()
    done = back_up(MemoryStore(), source)
    assert len(done.backup.manifest.sources[0].streams) >= tables


# --- long rows, and very many tables ---

TOO_LONG = "ERROR:  invalid memory alloc request size 1200000003"


def test_a_row_that_postgresql_cannot_print_is_told_as_what_it_is():
    assert (
        "a bytea counts twice"
        in of_program(f"psql failed while reading rows.public.t (exit status 3): {TOO_LONG}").hint
    )


@pytest.fixture
def folder(tmp_path: Path) -> LocalStore:
    """What is as large as this must not be in memory as well."""
    store = LocalStore(tmp_path / "store")
    (tmp_path / "store").mkdir()
    store.prepare()
    return store


LONGEST = {
    "a bytea of 450 MB": ("bytea", "decode(repeat('ab', 450000000), 'hex')", "450000000"),
    "a text of 900 MB": ("text", "repeat('0123456789', 90000000)", "900000000"),
}


@needs_time
@pytest.mark.parametrize(("kind", "value", "length"), LONGEST.values(), ids=LONGEST)
def test_the_longest_rows_that_postgresql_can_print_come_back(
    database: Database, target_database: Database, folder: LocalStore, kind: str, value: str, length: str
):
    database.psql(f"CREATE TABLE long (value {kind}); ALTER TABLE long ALTER value SET STORAGE EXTERNAL")
    database.psql(f"INSERT INTO long VALUES ({value})")
    there_and_back(database, target_database, folder)
    digest = "SELECT length(value), md5(value) FROM long"
    assert target_database.psql(digest).startswith(f"{length}|")
    assert target_database.psql(digest) == database.psql(digest)


@needs_time
def test_a_row_that_postgresql_cannot_print_is_refused_by_the_name_of_its_table(database: Database):
    database.psql("CREATE TABLE fine AS SELECT 1 AS one; CREATE TABLE long (value bytea)")
    database.psql("ALTER TABLE long ALTER value SET STORAGE EXTERNAL")
    database.psql(
        "INSERT INTO long SELECT decode(repeat('ab', 400000000), 'hex') || decode(repeat('cd', 200000000), 'hex')"
    )
    store = MemoryStore()
    with pytest.raises(DatabaseRefused, match=r"while reading rows\.public\.long") as caught:
        back_up(store, PostgresSource(database.uri), jobs=2)
    assert "a bytea counts twice" in caught.value.hint
    assert names(store, "manifests/") == set()


@needs_time
def test_many_thousand_tables_come_back(pg_binaries: Binaries):
    with ScratchPostgres(pg_binaries, settings={"max_locks_per_transaction": "700"}) as server:
        server.psql("CREATE DATABASE many")
        for start in range(0, 20_000, 500):
            server.psql(
                f"DO $$ BEGIN FOR n IN {start}..{start + 499} LOOP EXECUTE format('CREATE TABLE t%s (id serial "
                "PRIMARY KEY, note text); INSERT INTO t%s (note) VALUES (''x'')', n, n); END LOOP; END $$",
                "many",
            )
        result = there_and_back(Database(server, "many"), Database(server, "copy"))
        assert (result.tables, result.rows) == (20_000, 20_000)
        assert server.psql("SELECT count(*) FROM pg_indexes WHERE tablename ~ '^t[0-9]+$'", "copy") == "20000"
