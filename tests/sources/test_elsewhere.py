"""What leads elsewhere: a restored copy has it, takes nothing from the original, and gives no password away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dwebbackup import restore
from dwebbackup.cli import backup as command
from dwebbackup.errors import DatabaseRefused, RestoreFailed, TargetNotEmpty
from dwebbackup.ports import Restored
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget, swap
from faulty import MemoryStore
from fix_majors import CLIENT_18, MAJORS, WIDE, Majors
from fix_postgres import Database, free_name, new_database
from sources.waiting import wait_for
from synthetic import back_up, opened


def bring_back(store: MemoryStore, uri: str, clients: str | None = None, **options: bool) -> Restored:
    writer = opened(store)
    target = PostgresTarget(uri, bin_folder=clients)
    return restore.restore(writer, writer.catalog.latest(), target, restore.Options(**options)).restored


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


SOME = [major for major in MAJORS if WIDE or major != 16]

# --- subscriptions and publications ---

SUBSCRIPTIONS = "SELECT subname, subenabled, subslotname FROM pg_subscription WHERE subdbid = {} ORDER BY 1"
HERE = "(SELECT oid FROM pg_database WHERE datname = current_database())"
NAME = '"its ""s"'
SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = '{}'"


@contextmanager
def subscribed(server: ScratchPostgres) -> Iterator[tuple[Database, Database, Database]]:
    """A database that publishes, one that follows it and has all its rows, and a name for a copy of that."""
    with new_database(server) as publisher, free_name(server) as copy, new_database(server) as follower:
        publisher.psql(f"""
            CREATE TABLE t AS SELECT 1 AS a;
            CREATE PUBLICATION p FOR TABLE t;
            SELECT pg_create_logical_replication_slot('slot_of_{publisher.name}', 'pgoutput');
        """)
        follower.psql(f"""
            CREATE TABLE t (a integer);
            CREATE SUBSCRIPTION {NAME} CONNECTION 'host={server.folder} port={server.port} user=postgres
                dbname={publisher.name} password=hidden' PUBLICATION p
                WITH (create_slot = false, slot_name = 'slot_of_{publisher.name}');
        """)
        try:
            wait_for(follower.uri, "SELECT 1 FROM pg_subscription_rel WHERE srsubstate = 'r'")
            yield publisher, follower, copy
        finally:
            asleep(copy)
            asleep(follower)
            wait_for(publisher.uri, "SELECT count(*) = 0 FROM pg_replication_slots WHERE active")
            publisher.psql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def asleep(database: Database) -> None:
    """Its subscriptions are gone, and their slots are not."""
    if database.exists():
        for name in database.psql(
            f"SELECT quote_ident(subname) FROM pg_subscription WHERE subdbid = {HERE}"
        ).splitlines():
            database.psql(f"ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
            database.psql(f"DROP SUBSCRIPTION {name}")


@pytest.mark.parametrize("major", SOME)
def test_a_restored_subscription_sleeps_without_a_slot(store: MemoryStore, majors: Majors, major: int) -> None:
    server = majors.server(major)
    with subscribed(server) as (publisher, follower, copy):
        back_up(store, PostgresSource(follower.uri, bin_folder=majors.clients))
        restored = bring_back(store, copy.uri, majors.clients)
        assert copy.psql(SUBSCRIPTIONS.format(HERE)) == 'its "s|f|'
        assert follower.psql(SUBSCRIPTIONS.format(HERE)) == f'its "s|t|slot_of_{publisher.name}'
        (note,) = restored.notes
        assert "hidden" not in note
        asleep(copy)
        assert publisher.psql(SLOTS.format(publisher.name)) == f"slot_of_{publisher.name}"


def test_the_statements_of_the_note_let_the_copy_take_the_originals_place(
    store: MemoryStore, pg_server: ScratchPostgres
) -> None:
    with subscribed(pg_server) as (publisher, follower, copy):
        back_up(store, PostgresSource(follower.uri))
        (note,) = bring_back(store, copy.uri).notes
        asleep(follower)
        for statement in note.partition("since the backup: ")[2].split("; "):
            copy.psql(statement)
        publisher.psql("INSERT INTO t VALUES (2)")
        wait_for(copy.uri, "SELECT 1 FROM t WHERE a = 2")
        assert copy.psql("SELECT a FROM t ORDER BY a") == "1\n2"


def test_the_plan_says_that_subscriptions_will_sleep(
    store: MemoryStore, pg_server: ScratchPostgres, target_database: Database
) -> None:
    with subscribed(pg_server) as (_, follower, _):
        back_up(store, PostgresSource(follower.uri))
    writer = opened(store)
    steps = restore.plan(writer, writer.catalog.latest(), PostgresTarget(target_database.uri), restore.Options())
    assert 'note: the subscriptions its "s will be disabled and without their slots' in steps


@pytest.mark.parametrize("major", SOME)
def test_what_a_backup_role_may_not_read_is_in_the_backups_notes(
    store: MemoryStore, majors: Majors, major: int
) -> None:
    server = majors.server(major)
    server.psql("CREATE ROLE hidden_reader LOGIN; CREATE ROLE hidden_user")
    try:
        with subscribed(server) as (_, follower, copy):
            follower.psql("""
                GRANT SELECT ON t TO hidden_reader;
                CREATE EXTENSION postgres_fdw;
                CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
                CREATE USER MAPPING FOR hidden_user SERVER far OPTIONS (user 'u', password 'p');
            """)
            back_up(store, PostgresSource(follower.uri, bin_folder=majors.clients))
            assert opened(store).catalog.latest().manifest.sources[0].facts.notes == ()
            weak = follower.uri.replace("postgres@", "hidden_reader@", 1)
            done = back_up(store, PostgresSource(weak, bin_folder=majors.clients))
            assert "note: without the subscriptions" in command.text(done)
            notes = bring_back(store, copy.uri, majors.clients).notes
        assert [note.partition(",")[0] for note in notes] == [
            'without the subscriptions its "s',
            "the user mappings hidden_user on far have no options",
        ]
    finally:
        server.psql("DROP ROLE hidden_reader, hidden_user")


def test_a_subscription_that_cannot_be_made_comes_short_and_tells_no_password(
    store: MemoryStore, majors: Majors
) -> None:
    """`pg_dump` 18 names an option that servers before 16 do not know."""
    server = majors.server(15)
    with subscribed(server) as (_, follower, copy):
        back_up(store, PostgresSource(follower.uri, bin_folder=str(CLIENT_18)))
        restored = bring_back(store, copy.uri, str(CLIENT_18))
        assert copy.psql("SELECT a FROM t") == "1"
    (shortfall,) = restored.shortfalls
    assert shortfall.startswith(f"not restored: subscription {NAME}: ERROR:")
    assert "hidden" not in shortfall


def test_a_target_that_has_only_a_subscription_is_not_empty(
    store: MemoryStore, database: Database, pg_target: ScratchPostgres
) -> None:
    back_up(store, PostgresSource(database.uri))
    with new_database(pg_target) as target:
        target.psql("CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)")
        with pytest.raises(TargetNotEmpty, match="subscription s"):
            bring_back(store, target.uri)
        asleep(target)


def test_a_target_that_takes_in_changes_is_not_replaced_meanwhile(
    store: MemoryStore, pg_server: ScratchPostgres
) -> None:
    with subscribed(pg_server) as (_, follower, _):
        back_up(store, PostgresSource(follower.uri))
        with pytest.raises(DatabaseRefused, match="takes in changes") as refusal:
            bring_back(store, follower.uri, replace=True)
        follower.psql(refusal.value.hint)
        (kept,) = (note for note in bring_back(store, follower.uri, replace=True).notes if "is kept as" in note)
        old = Database(pg_server, kept.partition("kept as ")[2].partition(";")[0])
        asleep(old)
        old.drop()


def test_a_left_over_with_a_subscription_is_dropped_and_leaves_the_slot(
    store: MemoryStore, pg_server: ScratchPostgres
) -> None:
    """A restore was killed when its subscription still had the original's slot."""
    with subscribed(pg_server) as (publisher, follower, copy):
        back_up(store, PostgresSource(follower.uri))
        left_over = swap.Place(copy.name, swap.State.ABSENT, ()).temporary
        pg_server.psql(f"CREATE DATABASE {left_over}")
        pg_server.psql(
            f"CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = 'slot_of_{publisher.name}')",
            left_over,
        )
        bring_back(store, copy.uri)
        assert copy.exists()
        assert publisher.psql(SLOTS.format(publisher.name)) == f"slot_of_{publisher.name}"


def test_a_restore_that_fails_after_its_subscription_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, store: MemoryStore, pg_server: ScratchPostgres
) -> None:
    from dwebbackup.sources.postgres import load

    def fail(*args: object) -> None:
        raise RestoreFailed("here")

    monkeypatch.setattr(load, "analyze", fail)
    with subscribed(pg_server) as (publisher, follower, copy):
        back_up(store, PostgresSource(follower.uri))
        with pytest.raises(RestoreFailed, match="here"):
            bring_back(store, copy.uri)
        assert pg_server.psql("SELECT datname FROM pg_database WHERE datname LIKE 'dwebbackup_restoring_%'") == ""
        assert publisher.psql(SLOTS.format(publisher.name)) == f"slot_of_{publisher.name}"


# --- foreign servers ---


def test_a_refused_user_mapping_is_told_without_its_password(
    store: MemoryStore, database: Database, pg_target: ScratchPostgres, target_database: Database
) -> None:
    """Its wrapper looks at options, and here it wants others."""
    database.psql("""
        CREATE FUNCTION validator(text[], oid) RETURNS void LANGUAGE plpgsql AS
            $$BEGIN IF $1 <> '{}' AND current_setting('application_name') <> 'psql' THEN RAISE 'not these'; END IF; END$$;
        CREATE FOREIGN DATA WRAPPER wrapper VALIDATOR validator;
        CREATE SERVER far FOREIGN DATA WRAPPER wrapper OPTIONS (password 'hidden, too');
        CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'u', password 'it''s hidden;
            pg_restore');
    """)
    back_up(store, PostgresSource(database.uri))
    with pytest.raises(RestoreFailed, match=r"CREATE SERVER far FOREIGN DATA WRAPPER wrapper OPTIONS …") as failure:
        bring_back(store, target_database.uri)
    assert "hidden" not in str(failure.value)
    assert "CREATE USER MAPPING FOR postgres SERVER far" in str(failure.value)
