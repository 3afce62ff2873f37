"""How a database is filled: indexes beside the rows, deadlocks between pg_restore's workers, only some tables."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dwebbackup import restore
from dwebbackup.errors import RestoreFailed, WrongConfiguration
from dwebbackup.manifest import StreamRecord
from dwebbackup.ports import TargetOptions
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget, contents, load, swap
from dwebbackup.sources.postgres.connection import Server
from dwebbackup.sources.postgres.contents import Contents
from dwebbackup.sources.postgres.schema import Archive
from dwebbackup.sources.postgres.tools import choose
from dwebbackup.sources.postgres.verdicts import Outcome, judge
from dwebbackup.sources.process import Children
from faulty import MemoryStore
from fix_postgres import Database, new_database
from sources.waiting import wait_for
from synthetic import back_up, opened

# --- pg_restore ---

KEYS = """
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int, parent int REFERENCES parent);
CREATE TABLE other (id int UNIQUE);
"""


def archive_of(database: Database, target: Database, folder: Path) -> Archive:
    """The schema of one, to go into the other."""
    path = folder / "schema"
    tools = choose(15)
    subprocess.run([tools.program("pg_dump"), "--format=custom", f"--file={path}", database.uri], check=True)
    server = Server(target.uri)
    with server.connect() as connection:
        return Archive(str(path), tools, server.conninfo(connection), server.environment(connection), owners=True)


@pytest.fixture
def archive(database: Database, pg_target: ScratchPostgres, tmp_path: Path) -> Iterator[tuple[Archive, Database]]:
    """The archive of a few tables, made in a new database, and the first one's key."""
    database.psql(KEYS)
    with new_database(pg_target) as target, Children() as children:
        archive = archive_of(database, target, tmp_path)
        archive.restore("pre-data", children)
        archive.restore("post-data", children, only=keys(archive, "parent"))
        yield archive, target


def keys(archive: Archive, *tables: str) -> list[int]:
    found = archive.contents()
    return [entry for name in tables for entry in found.select(found.matching(name)).entries]


BLOCKED = """SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND relation = 'parent'::regclass AND query LIKE '%child%'"""


def test_what_fails_in_a_deadlock_is_tried_again_alone(archive: tuple[Archive, Database]) -> None:
    """One session holds the parent; a foreign key locks the child and waits for it; then the session wants the child.
    The server ends pg_restore's statement, since the session's own patience is longer.
    """
    schema, target = archive
    rest = [entry for entry in schema.contents() if entry not in keys(schema, "parent")]
    with Children() as children, psycopg.connect(target.uri) as session:
        session.execute("SET deadlock_timeout = '1h'")
        session.execute("LOCK TABLE parent IN ROW EXCLUSIVE MODE")
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.append(schema.restore("post-data", children, 2, rest)))
        thread.start()
        wait_for(target.uri, BLOCKED)
        session.execute("LOCK TABLE child IN ROW EXCLUSIVE MODE")
        session.commit()
        thread.join()
    assert [(outcome.notes, outcome.spared) for outcome in outcomes] == [((), ())]
    assert target.psql("SELECT conname FROM pg_constraint WHERE contype = 'f'") == "child_parent_fkey"


def test_what_fails_again_alone_is_told_in_the_servers_words(archive: tuple[Archive, Database]) -> None:
    schema, target = archive
    target.psql("INSERT INTO other VALUES (1), (1)")
    with Children() as children, pytest.raises(RestoreFailed, match=r"post-data section: .*other_id_key"):
        schema.restore("post-data", children, 2, keys(schema, "other"))


# --- what a server refuses ---

BROKEN = """
CREATE TABLE numbers AS SELECT n FROM generate_series(1, 50) n;
CREATE FUNCTION biggest() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT max(n) FROM numbers';
CREATE FUNCTION half(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2';
CREATE FUNCTION quarter(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN half(half($1)); END $$;
CREATE MATERIALIZED VIEW top AS SELECT biggest();
CREATE INDEX by_quarter ON numbers (quarter(n));
COMMENT ON INDEX by_quarter IS 'it counts on a search_path';
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (parent int REFERENCES parent);
ALTER TABLE child DISABLE TRIGGER ALL;
INSERT INTO child VALUES (7);
ALTER TABLE child ENABLE TRIGGER ALL;
SELECT lo_from_bytea(0, 'large');
"""


@pytest.mark.parametrize("early", [False, True])
def test_what_the_source_had_broken_stops_no_restore_and_is_named(
    monkeypatch: pytest.MonkeyPatch, database: Database, target_database: Database, early: bool
) -> None:
    monkeypatch.setattr(load, "EARLY", 1 if early else 1 << 40)
    database.psql(BROKEN)
    store = MemoryStore()
    back_up(store, PostgresSource(database.uri))
    shortfalls = restored(store, target_database).restored.shortfalls
    for broken in ("REFRESH MATERIALIZED VIEW public.top", "INDEX by_quarter", "child_parent_fkey"):
        assert any(broken in line for line in shortfalls), broken
    assert not any("(7)" in line for line in shortfalls)  # a value of a row
    assert target_database.psql("SELECT (SELECT count(*) FROM numbers) + (SELECT count(*) FROM child)") == "51"
    assert target_database.psql("SELECT count(*) FROM pg_largeobject_metadata") == "1"


def test_an_index_for_which_the_server_has_no_room_stops_the_restore(
    pg_target: ScratchPostgres, database: Database, target_database: Database
) -> None:
    database.psql("CREATE TABLE t AS SELECT md5(n::text) FROM generate_series(1, 100000) n; CREATE INDEX ON t (md5)")
    store = MemoryStore()
    back_up(store, PostgresSource(database.uri))
    pg_target.psql(
        """CREATE ROLE tight LOGIN SUPERUSER; ALTER ROLE tight SET temp_file_limit = '64kB';
        ALTER ROLE tight SET maintenance_work_mem = '1MB'"""
    )
    writer = opened(store)
    target = PostgresTarget(make_conninfo(target_database.uri, user="tight"))
    try:
        with pytest.raises(RestoreFailed, match="temp_file_limit"):
            restore.restore(writer, writer.catalog.latest(), target, restore.Options())
    finally:
        pg_target.psql("DROP ROLE tight")
    assert not target_database.exists()


def test_a_right_that_could_not_be_given_is_told() -> None:
    said = 'WARNING:  no privileges were granted for "public"\nWARNING:  no privileges were granted for "public"\n'
    outcome = judge(0, said, ())
    assert outcome.notes == ('the server warned: no privileges were granted for "public"',)
    assert (outcome.said, outcome.fatal, outcome.spared) == ("", (), ())


# --- indexes beside the rows ---


def test_an_index_is_built_while_another_table_is_still_being_filled(
    monkeypatch: pytest.MonkeyPatch, database: Database, target_database: Database
) -> None:
    """The larger table's rows come only when the smaller one's key is there."""
    monkeypatch.setattr(load, "EARLY", 1)
    database.psql(
        """CREATE TABLE small AS SELECT n AS id FROM generate_series(1, 1000) n; ALTER TABLE small ADD PRIMARY KEY (id);
        CREATE INDEX second ON small (id DESC);
        CREATE TABLE large AS SELECT n AS id, md5(n::text) FROM generate_series(1, 3000) n; CREATE INDEX ON large (id)
        """
    )
    store = MemoryStore()
    back_up(store, PostgresSource(database.uri))
    writer = opened(store)
    backup = writer.catalog.latest()
    source = backup.manifest.sources[0]
    place = swap.Place(target_database.name, swap.State.ABSENT, ())
    there = target_database.server.uri(place.temporary)
    with writer.packs(backup.manifest) as packs:

        def read(stream: StreamRecord) -> Iterator[bytes]:
            if stream.path == ("public", "large"):
                for name in ("small_pkey", "second"):
                    wait_for(there, f"SELECT to_regclass('public.{name}') IS NOT NULL")
            yield from packs.stream(stream)

        PostgresTarget(target_database.uri).load(source, read, TargetOptions(jobs=2))
    indexes = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'"
    assert target_database.psql(indexes) == "large_id_idx second small_pkey"


WAITING = """SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND relation = 'small'::regclass AND query LIKE '{}%'"""


def test_a_failure_ends_an_index_that_is_being_built(
    monkeypatch: pytest.MonkeyPatch, database: Database, target_database: Database
) -> None:
    """Somebody who was first in the queue for the table keeps the index waiting for ever; then the other table fails."""
    monkeypatch.setattr(load, "EARLY", 1)
    database.psql(
        """CREATE TABLE small AS SELECT n AS id FROM generate_series(1, 1000) n; CREATE INDEX slow ON small (id);
        CREATE TABLE large AS SELECT n AS id, md5(n::text) FROM generate_series(1, 3000) n"""
    )
    store = MemoryStore()
    back_up(store, PostgresSource(database.uri))
    writer = opened(store)
    backup = writer.catalog.latest()
    source = backup.manifest.sources[0]
    there = target_database.server.uri(swap.Place(target_database.name, swap.State.ABSENT, ()).temporary)
    with writer.packs(backup.manifest) as packs, ThreadPoolExecutor(1) as beside, ExitStack() as sessions:

        def read(stream: StreamRecord) -> Iterator[bytes]:
            if stream.path == ("public", "small"):
                session = sessions.enter_context(closing(psycopg.connect(there)))
                beside.submit(session.execute, "LOCK TABLE small IN ROW EXCLUSIVE MODE")
                wait_for(there, WAITING.format("LOCK TABLE"))
            if stream.path == ("public", "large"):
                wait_for(there, WAITING.format("CREATE INDEX"))
                raise RuntimeError("the store is gone")
            yield from packs.stream(stream)

        with pytest.raises(RuntimeError, match="the store is gone"):
            PostgresTarget(target_database.uri).load(source, read, TargetOptions(jobs=2))
    assert not target_database.exists()


# --- only some tables ---

SHOP = """
CREATE SCHEMA shop;
CREATE SCHEMA archive;
CREATE TYPE shop.state AS ENUM ('open', 'paid');
CREATE FUNCTION shop.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TABLE shop.customer (id serial PRIMARY KEY, name text);
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES shop.customer,
    state shop.state NOT NULL DEFAULT 'open', CHECK (id > 0));
CREATE TABLE shop.log (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE shop.log_old PARTITION OF shop.log FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE shop.log_new PARTITION OF shop.log FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TABLE archive.orders (id int, "a b" text);
CREATE TABLE shop.big_order () INHERITS (archive.orders);
CREATE INDEX ON shop.log (at);
ALTER TABLE shop.log ADD PRIMARY KEY (at, what);
CREATE INDEX by_customer ON shop.orders (customer);
CREATE TRIGGER stamped BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.stamp();
CREATE VIEW shop.unpaid AS SELECT * FROM shop.orders WHERE state = 'open';
COMMENT ON TABLE shop.orders IS 'what is wanted';
INSERT INTO shop.customer (name) SELECT 'customer ' || n FROM generate_series(1, 20) n;
INSERT INTO shop.orders (customer) SELECT n FROM generate_series(1, 20) n;
INSERT INTO shop.log SELECT '2019-12-20'::date + n, n FROM generate_series(1, 20) n;
INSERT INTO archive.orders VALUES (1, 'x');
INSERT INTO shop.big_order VALUES (2, 'y');
"""

RELATIONS = """SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY c.oid::regclass::text) FROM pg_class c
    JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('shop', 'archive')"""


@pytest.fixture(scope="module")
def shop(pg_server: ScratchPostgres) -> Iterator[MemoryStore]:
    """A backup of a few tables that hang together."""
    store = MemoryStore()
    with new_database(pg_server) as database:
        database.psql(SHOP)
        back_up(store, PostgresSource(database.uri))
    return store


def restored(store: MemoryStore, target: Database, *tables: str) -> restore.Done:
    writer = opened(store)
    return restore.restore(
        writer, writer.catalog.latest(), PostgresTarget(target.uri), restore.Options(tables=tuple(tables))
    )


def test_one_table_comes_back_with_all_that_belongs_to_it(shop: MemoryStore, target_database: Database) -> None:
    done = restored(shop, target_database, "shop.orders")
    assert target_database.psql(RELATIONS) == "shop.by_customer shop.orders shop.orders_id_seq shop.orders_pkey"
    assert (done.restored.tables, done.restored.rows) == (1, 20)
    assert done.warnings == ()
    assert (
        "left out, since it needs a table that was not asked for: fk constraint shop orders orders_customer_fkey"
        in (done.restored.notes)
    )
    target_database.psql("INSERT INTO shop.orders (customer, state) VALUES (99, DEFAULT)")
    assert target_database.psql(
        "SELECT max(id), max(state), min(obj_description('shop.orders'::regclass)) FROM shop.orders"
    ) == ("21|open|what is wanted")
    assert target_database.psql("SELECT count(*) FROM pg_trigger WHERE tgname = 'stamped'") == "1"


def test_tables_that_refer_to_each_other_come_back_together(shop: MemoryStore, target_database: Database) -> None:
    done = restored(shop, target_database, "shop.orders", "customer")
    assert not [note for note in done.restored.notes if "left out" in note]
    assert target_database.psql("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == "1"
    assert target_database.psql("INSERT INTO shop.customer DEFAULT VALUES RETURNING id") == "21"


def test_a_partitioned_table_comes_back_with_its_partitions(shop: MemoryStore, target_database: Database) -> None:
    done = restored(shop, target_database, "log")
    assert target_database.psql("SELECT count(*) FROM shop.log") == "20"
    assert (done.restored.tables, done.restored.rows) == (2, 20)
    assert target_database.psql("SELECT count(*) FROM pg_inherits") == "6"  # tables, and their indexes


def test_a_partition_comes_back_as_a_table_of_its_own(shop: MemoryStore, target_database: Database) -> None:
    done = restored(shop, target_database, "shop.log_new")
    assert target_database.psql("SELECT count(*) FROM shop.log_new") == "9"
    assert target_database.psql(RELATIONS) == "shop.log_new shop.log_new_at_idx shop.log_new_pkey"
    assert done.restored.notes == ("only some tables were asked for: this is not the whole database",)


def test_a_name_without_a_schema_and_a_star_find_all_that_they_fit(
    shop: MemoryStore, target_database: Database
) -> None:
    assert restored(shop, target_database, "orders").restored.rows == 21
    target_database.drop()
    assert restored(shop, target_database, "shop.log_*").restored.rows == 20


def test_a_table_that_another_one_needs_is_there_and_said_to_be_empty(
    shop: MemoryStore, target_database: Database
) -> None:
    done = restored(shop, target_database, "big_order")
    assert target_database.psql("SELECT string_agg(id::text, ',') FROM archive.orders") == "2"
    assert "the table archive orders is there, since another one needs it, but has no rows" in done.restored.notes


@pytest.mark.parametrize("dry", [True, False])
def test_a_table_that_is_not_in_the_backup_is_named_before_anything_is_touched(
    shop: MemoryStore, target_database: Database, dry: bool
) -> None:
    writer = opened(shop)
    act = restore.plan if dry else restore.restore
    with pytest.raises(WrongConfiguration, match=r"no table shop\.order$"):
        act(
            writer,
            writer.catalog.latest(),
            PostgresTarget(target_database.uri),
            restore.Options(tables=("shop.orders", "shop.order")),
        )
    assert not target_database.exists()


# --- the list of contents ---


@pytest.fixture(scope="module")
def nasty_contents(nasty: Database, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    path = tmp_path_factory.mktemp("archive") / "schema"
    tools = choose(15)
    command = [tools.program("pg_dump"), "--format=custom", "--schema-only", "--encoding=UTF8", f"--file={path}"]
    subprocess.run([*command, nasty.uri], check=True, stderr=subprocess.DEVNULL)
    return Archive(str(path), tools, "", {}, owners=True).contents("UTF8")


def test_every_table_is_found_by_its_names(nasty: Database, nasty_contents: Contents) -> None:
    with psycopg.connect(nasty.uri, client_encoding="UTF8") as connection:
        tables = connection.execute(
            """SELECT nspname, relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND nspname !~ '^pg_|^information_schema' AND relpersistence <> 't'
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""
        ).fetchall()
    assert len(tables) > 90
    assert [table for table in tables if not nasty_contents.named(table)] == []


def test_no_entry_is_lost_and_each_selection_is_in_the_archives_order(nasty_contents: Contents) -> None:
    everything = list(nasty_contents)
    assert len(everything) > 500
    selection = nasty_contents.select(nasty_contents.matching("*"))
    positions = [everything.index(entry) for entry in selection.entries]
    assert positions == sorted(positions)
    assert selection.empty == ()


LISTING = """;
; Selected TOC Entries:
;
2; 2615 16391 SCHEMA - ATTACH me
3; 1259 16392 TABLE ATTACH t me
4; 1259 16393 TABLE public t me
;\tdepends on: 2
5; 1259 16394 INDEX ATTACH i me
;\tdepends on: 3
6; 0 0 INDEX ATTACH public j me
;\tdepends on: 5 7
7; 1259 16395 INDEX public j me
;\tdepends on: 4 9
"""


def test_a_schema_that_is_called_like_a_kind_is_none() -> None:
    found = contents.parse(LISTING)
    assert found.named(("ATTACH", "t")) == [3]
    assert found.indexes_of(3) == [5]
    assert found.indexes_of(4) == []  # its index needs something else, too
    assert found.matching("ATTACH.t") == [3]
