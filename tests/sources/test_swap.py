"""A target before, during and after a restore: what counts as empty, what is in the way, who comes in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import pq

from dwebbackup.errors import DatabaseRefused, RestoreFailed, StoreUnreachable, TargetNotEmpty
from dwebbackup.manifest import SourceFacts
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import objects, swap
from dwebbackup.sources.postgres.connection import Connection, Server
from dwebbackup.sources.postgres.objects import user_objects
from fix_postgres import Database, free_name, new_database
from sources.waiting import wait_for

FACTS = SourceFacts(
    name="shop",
    kind="postgres",
    identity="postgres:1:1",
    database="shop",
    server_version="15",
    client_version="15",
    encoding="UTF8",
    snapshot="2026-01-01T00:00:00Z",
    snapshot_seconds=0.0,
)


@pytest.fixture
def absent(pg_target: ScratchPostgres) -> Iterator[Database]:
    with free_name(pg_target) as target:
        yield target
        drop_others(target)


@pytest.fixture
def empty(pg_target: ScratchPostgres) -> Iterator[Database]:
    with new_database(pg_target) as target:
        yield target
        drop_others(target)


def others(target: Database) -> list[str]:
    """Databases that a restore left beside it."""
    of_ours = (
        rf"datname LIKE '{target.name}\_%' OR datname = '{swap.Place(target.name, swap.State.ABSENT, ()).temporary}'"
    )
    return target.server.psql(f"SELECT datname FROM pg_database WHERE {of_ours}").splitlines()


def drop_others(target: Database) -> None:
    for name in others(target):
        Database(target.server, name).drop()


def restored(
    target: Database, meanwhile: Callable[[Connection, Database], object] | None = None, *, replace: bool = False
) -> None:
    """What a restore does around the filling; *meanwhile* gets the control session, and what is to be filled."""
    server = Server(target.uri)
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(swap.control(server))
        place = swap.look(connection, server)
        swap.require_room(place, replace=replace)
        stack.enter_context(swap.only_one(connection, place))
        stack.enter_context(swap.vacated(connection, server, place))
        name = stack.enter_context(swap.temporary_database(connection, server, place, FACTS))
        filled = Database(target.server, name)
        filled.psql("CREATE TABLE restored AS SELECT 2 AS two")
        if meanwhile:
            meanwhile(connection, filled)
        swap.take_place(connection, server, place)


# --- what is empty ---


KINDS = {
    "table": "CREATE TABLE t (id integer)",
    "view": "CREATE VIEW v AS SELECT 1 AS one",
    "sequence": "CREATE SEQUENCE s",
    "composite type": "CREATE TYPE pair AS (a integer, b integer)",
    "enum": "CREATE TYPE mood AS ENUM ('sad')",
    "range": "CREATE TYPE span AS RANGE (subtype = float8)",
    "base type": "CREATE TYPE shell",
    "domain": "CREATE DOMAIN small AS integer",
    "function": "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "aggregate": "CREATE AGGREGATE total (integer) (sfunc = int4pl, stype = integer)",
    "schema": "CREATE SCHEMA mine",
    "large object": "SELECT lo_create(1)",  # a number as initdb gives to its own
    "collation": 'CREATE COLLATION mine FROM "C"',
    "conversion": "CREATE CONVERSION mine FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "text search configuration": "CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple)",
    "text search dictionary": "CREATE TEXT SEARCH DICTIONARY mine (TEMPLATE = simple)",
    "text search parser": (
        "CREATE TEXT SEARCH PARSER mine"
        " (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)"
    ),
    "text search template": "CREATE TEXT SEARCH TEMPLATE mine (LEXIZE = dsimple_lexize)",
    "operator": "CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq)",
    "operator family": "CREATE OPERATOR FAMILY mine USING btree",
    "operator class": "CREATE OPERATOR CLASS mine FOR TYPE integer USING hash FAMILY integer_ops AS STORAGE integer",
    "cast": "CREATE CAST (integer AS point) WITH INOUT",
    "transform": "CREATE TRANSFORM FOR integer LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal))",
    "language": "CREATE LANGUAGE mine HANDLER plpgsql_call_handler",
    "access method": "CREATE ACCESS METHOD mine TYPE INDEX HANDLER bthandler",
    "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "foreign data wrapper": "CREATE FOREIGN DATA WRAPPER mine",
    "foreign server": "CREATE FOREIGN DATA WRAPPER mine; CREATE SERVER there FOREIGN DATA WRAPPER mine",
    "publication": "CREATE PUBLICATION mine",
    "event trigger": (
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION f()"
    ),
}


def test_a_database_with_one_object_of_any_kind_is_not_empty(empty):
    """All in one database, each rolled back."""
    with psycopg.connect(empty.uri) as connection:
        assert user_objects(connection) == []
        for kind, statement in KINDS.items():
            connection.execute(statement.encode())
            assert user_objects(connection), kind
            connection.rollback()


def test_no_catalog_is_forgotten_where_it_is_asked_what_a_database_holds(empty):
    catalogs = empty.psql(
        "SELECT relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid'"
        " WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared"
    ).splitlines()
    known = {*objects.IN_SCHEMAS, *objects.ELSEWHERE, *objects.PARTS, objects.EXTENSIONS}
    assert set(catalogs) - known == set()


def test_what_belongs_to_extensions_or_to_a_session_is_nothing_of_the_users(empty):
    empty.psql("CREATE EXTENSION dwebbackup_test_config")
    with psycopg.connect(empty.uri, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE t (id serial)")
        named = user_objects(connection, 100)
    assert not any(name.startswith(("table ", "sequence ", "type ", "function ")) for name in named)


def test_a_database_with_a_text_search_configuration_alone_is_not_dropped(empty):
    empty.psql(KINDS["text search configuration"])
    with pytest.raises(TargetNotEmpty, match=r"text search configuration public\.mine"):
        restored(empty)
    assert empty.psql("SELECT count(*) FROM pg_ts_config WHERE cfgname = 'mine'") == "1"


# --- what is in the way ---


@contextlib.contextmanager
def a_prepared_transaction(target: Database) -> Iterator[None]:
    target.psql("BEGIN; CREATE TABLE later (id integer); PREPARE TRANSACTION 'swap_gid'")
    try:
        yield
    finally:
        target.psql("ROLLBACK PREPARED 'swap_gid'")


@contextlib.contextmanager
def a_slot(target: Database) -> Iterator[None]:
    target.psql("SELECT pg_create_logical_replication_slot('swap_slot', 'pgoutput')")
    try:
        yield
    finally:
        wait_for(target.uri, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'swap_slot'")
        target.psql("SELECT pg_drop_replication_slot('swap_slot')")


@contextlib.contextmanager
def a_sender(target: Database) -> Iterator[psycopg.Connection]:
    """A session that may replicate."""
    sender = psycopg.connect(target.uri, replication="database", autocommit=True)
    with contextlib.closing(sender):
        yield sender


@contextlib.contextmanager
def a_reader_of_a_slot(target: Database) -> Iterator[None]:
    with a_slot(target), a_sender(target) as sender:
        start = b"START_REPLICATION SLOT swap_slot LOGICAL 0/0 (proto_version '1', publication_names 'p')"
        assert sender.pgconn.exec_(start).status == pq.ExecStatus.COPY_BOTH
        yield


@pytest.mark.parametrize(
    ("in_the_way", "full", "said", "hint"),
    [
        (a_prepared_transaction, True, "prepared transaction swap_gid", "ROLLBACK PREPARED 'swap_gid'"),
        (a_prepared_transaction, False, "prepared transaction swap_gid", "ROLLBACK PREPARED 'swap_gid'"),
        (a_reader_of_a_slot, True, "replication slot swap_slot, which somebody reads", "stop who reads"),
        (a_slot, False, "replication slot swap_slot", "pg_drop_replication_slot('swap_slot')"),
        (a_sender, True, "walsender", "stop who replicates"),
    ],
)
def test_what_keeps_a_database_from_stepping_aside_is_named_beforehand(empty, in_the_way, full, said, hint):
    if full:
        empty.psql("CREATE TABLE mine AS SELECT 1 AS one")
    with in_the_way(empty):
        with pytest.raises(DatabaseRefused, match=said) as caught:
            restored(empty, replace=True)
        assert hint in caught.value.hint
        assert empty.exists()
        assert others(empty) == []


def test_a_slot_that_nobody_reads_is_not_in_the_way_of_a_database_that_is_kept(empty):
    empty.psql("CREATE TABLE mine AS SELECT 1 AS one")
    with a_slot(empty):
        restored(empty, replace=True)
    (kept,) = others(empty)
    assert Database(empty.server, kept).psql("SELECT one FROM mine") == "1"


# --- who comes in between ---


def newcomer(target: Database, *statements: str) -> None:
    target.server.psql(f"CREATE DATABASE {target.name}")
    for statement in statements:
        target.psql(statement)


def test_two_restores_see_each_other_by_whatever_database_they_came(absent):
    server = Server(absent.uri)
    place = swap.Place(absent.name, swap.State.ABSENT, ())
    with server.connect("template1") as other, swap.only_one(other, place):  # noqa: SIM117
        with pytest.raises(DatabaseRefused, match="under way"):
            restored(absent)
    restored(absent)
    assert absent.exists()


def test_an_empty_newcomer_steps_aside(empty):
    restored(empty, lambda *_: newcomer(empty))
    assert empty.psql("SELECT two FROM restored") == "2"
    (kept,) = others(empty)
    assert kept.startswith(f"{empty.name}_before_")


def test_what_was_restored_is_kept_beside_a_newcomer_with_things_in_it(absent):
    with pytest.raises(RestoreFailed, match="somebody made") as caught:
        restored(absent, lambda *_: newcomer(absent, "CREATE TABLE mine AS SELECT 1 AS one"))
    (kept,) = others(absent)
    assert kept in str(caught.value)
    assert kept in caught.value.hint
    assert absent.psql("SELECT one FROM mine") == "1"
    assert Database(absent.server, kept).psql("SELECT two FROM restored") == "2"


def test_a_failure_is_told_and_a_newcomer_left_alone(empty):
    def fail(*_: object) -> None:
        newcomer(empty, "CREATE TABLE mine AS SELECT 1 AS one")
        raise StoreUnreachable("the store is away")

    with pytest.raises(StoreUnreachable) as caught:
        restored(empty, fail)
    assert not hasattr(caught.value, "__notes__")
    assert empty.psql("SELECT one FROM mine") == "1"
    assert others(empty) == []


def test_an_empty_target_is_made_again_by_another_session_where_the_first_was_lost(empty):
    def lose(connection: Connection, _: Database) -> None:
        empty.server.psql(f"SELECT pg_terminate_backend({connection.info.backend_pid})")

    empty.server.psql(f"COMMENT ON DATABASE {empty.name} IS 'for the shop'")
    with pytest.raises(DatabaseRefused):
        restored(empty, lose)
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    assert empty.psql(comment) == "for the shop"
    assert others(empty) == []


def test_a_clean_up_that_fails_is_told_beside_the_cause(fresh_server):
    def fail(*_: object) -> None:
        fresh_server.stop()
        raise StoreUnreachable("the store is away")

    with new_database(fresh_server) as target:
        with pytest.raises(StoreUnreachable) as caught:
            restored(target, fail)
        fresh_server.start()
    notes = "\n".join(caught.value.__notes__)
    assert "is left over" in notes
    assert f"the empty database {target.name} could not be made again" in notes
