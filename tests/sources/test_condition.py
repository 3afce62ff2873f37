"""How a database stands before a restore is thought of: absent, empty, without a row, full; and never by a guess."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from dwebbackup.errors import DatabaseRefused
from dwebbackup.ports import Condition
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, swap
from dwebbackup.sources.postgres import condition as looking
from faulty import MemoryStore
from fix_postgres import Database, free_name, new_database
from fix_standby import Pair
from synthetic import back_up

WHOLE = "CREATE TABLE kept (id integer)"


def condition(uri: str) -> Condition:
    return PostgresSource(uri).condition()


def identity(database: Database) -> str:
    """As the next backup of it would have it."""
    return back_up(MemoryStore(), PostgresSource(database.uri)).backup.manifest.sources[0].facts.identity


# --- absent, empty ---


def test_a_database_that_its_server_does_not_have_is_absent(pg_server):
    with free_name(pg_server) as nowhere:
        assert condition(nowhere.uri) == Condition("absent")


def test_a_new_database_is_empty_and_has_an_identity_already(database):
    assert condition(database.uri) == Condition("empty", identity(database))


def test_what_a_killed_restore_left_is_not_taken_for_its_target(pg_target):
    with free_name(pg_target) as wanted:
        left_over = swap.Place(wanted.name, swap.State.ABSENT, ()).temporary
        with new_database(pg_target, left_over) as temporary:
            temporary.psql("CREATE TABLE half AS SELECT 1 AS one")
            assert condition(wanted.uri).state == "absent"
            with new_database(pg_target, wanted.name):
                assert condition(wanted.uri).state == "empty"


POSTGIS = """
CREATE EXTENSION postgis; CREATE EXTENSION postgis_topology; CREATE EXTENSION fuzzystrmatch;
CREATE EXTENSION postgis_tiger_geocoder;
"""
"""As its image makes every database; each of these brings tables, most of them with rows, some in schemas of its own."""


def test_tables_and_rows_that_come_with_extensions_do_not_count(database):
    database.psql(POSTGIS)
    assert database.psql("SELECT count(*) > 20 FROM pg_class WHERE relkind = 'r' AND oid >= 16384") == "t"
    assert condition(database.uri).state == "empty"
    for schema in ("tiger", "tiger_data"):
        database.psql(f"CREATE VIEW {schema}.mine AS SELECT 1 AS one")
        assert condition(database.uri).objects == (f"view {schema}.mine",)
        database.psql(f"DROP VIEW {schema}.mine")
    database.psql("CREATE TABLE place (at geometry)")
    assert condition(database.uri).state == "rowless"
    database.psql("INSERT INTO place VALUES ('POINT(1 2)')")
    assert condition(database.uri).state == "full"


def test_a_schema_with_an_extension_in_it_is_nothing_of_the_users(database):
    database.psql("CREATE SCHEMA extensions; CREATE EXTENSION hstore SCHEMA extensions")
    assert condition(database.uri).state == "empty"
    database.psql("CREATE SCHEMA tiger_data")  # nobody's but the geocoder's, which is not here
    assert condition(database.uri).objects == ("schema tiger_data",)


def test_a_row_of_the_users_in_an_extensions_table_counts(database):
    database.psql(POSTGIS)
    database.psql("INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid) VALUES (990001, 'mine', 1)")
    assert condition(database.uri).state == "full"


# --- with and without rows ---


ROWLESS = {
    "a table": WHOLE,
    "a table that had rows": "CREATE TABLE t AS SELECT 1 AS one; DELETE FROM t",
    "partitions": """
        CREATE TABLE p (id integer) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (9) PARTITION BY RANGE (id);
        CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (1) TO (5);""",
    "a partitioned table without a partition": "CREATE TABLE p (id integer) PARTITION BY RANGE (id)",
    "a child": "CREATE TABLE parent (id integer); CREATE TABLE child () INHERITS (parent)",
    "a filled materialized view": "CREATE TABLE t (id integer); CREATE MATERIALIZED VIEW m AS SELECT 1 AS one",
    "a sequence in use": "CREATE TABLE t (id serial); SELECT nextval('t_id_seq')",
    "an unlogged table": "CREATE UNLOGGED TABLE t (id integer)",
    "a function and no table": "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "a type and no table": "CREATE TYPE mood AS ENUM ('sad')",
    "a schema and no table": "CREATE SCHEMA app",
}

FULL = {
    "a row": "CREATE TABLE t AS SELECT 1 AS one",
    "a row in a strange place": """
        CREATE SCHEMA "an ""odd"" %s one"; CREATE TABLE "an ""odd"" %s one"."ta""ble %s" AS SELECT 1 AS one""",
    "a row of no columns": "CREATE TABLE t (); INSERT INTO t DEFAULT VALUES",
    "a row in a partition of a partition": ROWLESS["partitions"] + "INSERT INTO p VALUES (3)",
    "a row in a child": ROWLESS["a child"] + "; INSERT INTO child VALUES (1)",
    "a row in an unlogged table": "CREATE UNLOGGED TABLE t AS SELECT 1 AS one",
    "a large object": f"{WHOLE}; SELECT lo_create(1)",
    "a large object and no table": "SELECT lo_create(1)",
    "a row behind row security, to its owner": """
        CREATE TABLE t AS SELECT 1 AS one; ALTER TABLE t ENABLE ROW LEVEL SECURITY""",
}


@pytest.mark.parametrize("made", ROWLESS.values(), ids=ROWLESS)
def test_what_has_no_row_is_rowless(database, made):
    database.psql(made)
    found = condition(database.uri)
    assert (found.state, found.identity) == ("rowless", identity(database))
    assert 1 <= len(found.objects) <= 5


@pytest.mark.parametrize("made", FULL.values(), ids=FULL)
def test_what_has_a_row_or_a_large_object_is_full(database, made):
    database.psql(made)
    found = condition(database.uri)
    assert (found.state, found.identity) == ("full", identity(database))
    assert 1 <= len(found.objects) <= 5


def test_a_row_is_found_in_the_last_of_many_tables(database):
    """More than one statement asks about."""
    many = 2 * looking.AT_ONCE + 1
    made = (
        "EXECUTE format('CREATE TABLE t%s AS SELECT 1 AS id; DELETE FROM t%s', n, n)"  # each has a page that was used
    )
    database.psql(f"DO $$ BEGIN FOR n IN 1..{many} LOOP {made}; END LOOP; END $$")
    assert condition(database.uri).state == "rowless"
    database.psql(f"INSERT INTO t{many} VALUES (1)")
    assert condition(database.uri).state == "full"


# --- what cannot be told ---


@contextlib.contextmanager
def role(database: Database) -> Iterator[str]:
    """A role without rights in it; gives its way in."""
    database.psql("CREATE ROLE looker LOGIN")
    try:
        yield f"{database.uri}&user=looker"
    finally:
        database.psql("DROP OWNED BY looker; DROP ROLE looker")


UNTOLD = {
    "a table": ("CREATE TABLE secret (id integer)", 'no SELECT on table "public"."secret"'),
    "a schema": (
        "CREATE SCHEMA hidden CREATE TABLE t (id integer); GRANT SELECT ON hidden.t TO looker",
        'no USAGE on schema "hidden"',
    ),
    "some of its rows": (
        "CREATE TABLE secret (id integer); GRANT SELECT ON secret TO looker; ALTER TABLE secret ENABLE ROW LEVEL SECURITY",
        'row security hides rows of "public"."secret"',
    ),
}


@pytest.mark.parametrize(("made", "said"), UNTOLD.values(), ids=UNTOLD)
def test_who_may_not_read_all_is_never_told_that_there_is_no_row(database, made, said):
    with role(database) as uri:
        database.psql(f"{WHOLE}; GRANT SELECT ON kept TO looker; {made}")
        with pytest.raises(DatabaseRefused) as caught:
            condition(uri)
        assert said in str(caught.value)
        assert "as a superuser" in caught.value.hint
        database.psql("INSERT INTO kept VALUES (1)")
        assert condition(uri).state == "full"  # whatever is in the rest


def test_who_may_read_nothing_is_still_told_what_is_not_there(pg_server, database):
    with role(database) as uri:
        assert condition(uri).state == "empty"
        with free_name(pg_server) as nowhere:
            assert condition(uri.replace(database.name, nowhere.name)).state == "absent"


def test_a_table_that_somebody_is_changing_is_not_waited_for_in_vain(database, monkeypatch):
    """It is locked for as long as we wait, however long that is."""
    monkeypatch.setattr(looking, "LOCK_TIMEOUT", 100)
    database.psql(WHOLE)
    with psycopg.connect(database.uri) as other:
        other.execute("LOCK TABLE kept")
        with pytest.raises(DatabaseRefused) as caught:
            condition(database.uri)
    assert "a lock was held too long" in caught.value.hint
    assert condition(database.uri).state == "rowless"


def test_a_database_that_lets_nobody_in_is_not_absent(database):
    database.server.psql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    with pytest.raises(DatabaseRefused, match="not currently accepting connections"):
        condition(database.uri)


def test_an_address_without_a_database_is_not_said_to_lead_to_none(fresh_server):
    """For its name, libpq takes the user's."""
    fresh_server.psql("CREATE ROLE lonely LOGIN")
    with pytest.raises(DatabaseRefused, match="cannot connect"):
        condition(f"host={fresh_server.folder} port={fresh_server.port} user=lonely")


def test_a_server_with_too_many_clients_is_not_taken_for_one_without_the_database(fresh_server):
    fresh_server.psql("CREATE ROLE plain LOGIN")
    uri = f"host={fresh_server.folder} port={fresh_server.port} user=plain dbname=nowhere"
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(psycopg.connect(f"{uri} dbname=postgres"))
        with pytest.raises(DatabaseRefused) as caught:
            condition(uri)
    assert "no connection is left for us" in caught.value.hint
    assert condition(uri).state == "absent"


def test_a_stopped_server_is_not_taken_for_one_without_the_database(fresh_server: ScratchPostgres):
    uri = fresh_server.uri("nowhere")
    fresh_server.stop()
    with pytest.raises(DatabaseRefused) as caught:
        condition(uri)
    assert "is the server running" in caught.value.hint


# --- a standby ---


def test_a_standby_tells_of_rows_but_not_what_only_its_primary_knows(pair: Pair):
    with new_database(pair.primary) as source:
        on_standby = Database(pair.standby, source.name)
        source.psql(WHOLE)
        pair.follow()
        assert condition(on_standby.uri) == condition(source.uri)
        source.psql("CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS one")
        pair.follow()
        with pytest.raises(DatabaseRefused, match=r'"public"\."fleeting" only the primary'):
            condition(on_standby.uri)
        source.psql("INSERT INTO kept VALUES (1)")
        pair.follow()
        assert condition(on_standby.uri).state == "full"


def test_what_a_standby_does_not_have_is_not_said_to_be_absent(pair: Pair):
    with free_name(pair.primary) as nowhere, pytest.raises(DatabaseRefused) as caught:
        condition(Database(pair.standby, nowhere.name).uri)
    assert "does not exist" in str(caught.value)
