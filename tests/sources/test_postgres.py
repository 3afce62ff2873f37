"""PostgreSQL there and back: the nastiest database, odd encodings, settings that get in the way, few rights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused, TargetNotEmpty
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.stores.local import LocalStore
from fix_postgres import Database, free_name, new_database
from sources.nasty import ENCODINGS, encoding_options, fill_encoded, make_roles, other_session
from sources.same import differences
from sources.test_nasty_baseline import UNAVOIDABLE
from sources.waiting import wait_for
from synthetic import back_up, opened


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.prepare()
    return store


def there_and_back(store: LocalStore, source: str, target: str) -> restore.Done:
    back_up(store, PostgresSource(source))
    writer = opened(store)
    return restore.restore(writer, writer.catalog.latest(), PostgresTarget(target), restore.Options())


def test_the_nasty_database_comes_back_but_for_what_no_dump_can_carry(
    store: LocalStore, nasty: Database, pg_target: ScratchPostgres
) -> None:
    make_roles(pg_target)
    with free_name(pg_target, nasty.name) as copy, other_session(nasty.uri):
        there_and_back(store, nasty.uri, copy.uri)
        found = differences(nasty.uri, copy.uri)
    assert [piece.splitlines()[0] for piece in found] == UNAVOIDABLE, "\n".join(found)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_survives(
    store: LocalStore, pg_server: ScratchPostgres, pg_target: ScratchPostgres, encoding: str
) -> None:
    with new_database(pg_server, options=encoding_options(encoding)) as source:
        fill_encoded(pg_server, source.name, encoding)
        with free_name(pg_target, source.name) as copy:
            there_and_back(store, source.uri, copy.uri)
            assert differences(source.uri, copy.uri) == []


def test_an_empty_database_comes_back(store: LocalStore, database: Database, target_database: Database) -> None:
    done = there_and_back(store, database.uri, target_database.uri)
    assert (done.restored.tables, done.restored.rows) == (0, 0)
    assert target_database.exists()


# ---- what is in a database must not decide what our queries mean ------------------------------------------


def test_operators_in_the_databases_search_path_are_never_ours(store: LocalStore, database: Database) -> None:
    database.psql(
        """
        CREATE SCHEMA e;
        CREATE SEQUENCE e.called;
        CREATE FUNCTION e.hears(name, text) RETURNS boolean LANGUAGE plpgsql AS
            $$ BEGIN PERFORM nextval('e.called'); RETURN true; END $$;
        CREATE OPERATOR e.!~ (LEFTARG = name, RIGHTARG = text, FUNCTION = e.hears);
        """
    )
    database.psql(f'ALTER DATABASE "{database.name}" SET search_path = e, pg_catalog')
    back_up(store, PostgresSource(database.uri))
    assert database.psql("SELECT is_called FROM e.called") == "f"


class Unhurried(LocalStore):
    """Takes its first pack only when the statement that reads the rows has been running for two seconds."""

    def __init__(self, folder: Path, database: Database) -> None:
        super().__init__(folder)
        self._database = database
        self._waited = False

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        if "/packs/" in name and not self._waited:
            self._waited = True
            wait_for(self._database.server.uri("postgres"), READING_FOR_LONG)
        return super().put(name, data)


READING_FOR_LONG = """SELECT count(*) FROM pg_stat_activity
    WHERE query LIKE 'COPY%' AND state = 'active' AND clock_timestamp() - query_start > '2s'"""


def test_a_short_statement_timeout_of_the_database_stops_nothing(
    tmp_path: Path, database: Database, target_database: Database
) -> None:
    store = Unhurried(tmp_path, database)
    store.prepare()
    # More than fits into pipes and packs, so that the statement lasts as long as the store wants.
    database.psql("CREATE TABLE t AS SELECT md5(n::text) || md5((-n)::text) FROM generate_series(1, 600000) n")
    database.psql(f'ALTER DATABASE "{database.name}" SET statement_timeout = 1000')
    there_and_back(store, database.uri, target_database.uri)
    assert target_database.psql("SELECT count(*) FROM t") == "600000"


# ---- rights, roles, places ---------------------------------------------------------------------------------


@contextmanager
def roles(server: ScratchPostgres, **wanted: str) -> Iterator[None]:
    """Roles for as long as they are needed; whatever belongs to them has to be gone by then."""
    for name, rights in wanted.items():
        server.psql(f"CREATE ROLE {name} {rights}")
    try:
        yield
    finally:
        for name in wanted:
            server.psql(f"DROP ROLE {name}")


def test_an_apps_own_database_is_restored_by_who_is_no_superuser(
    store: LocalStore, pg_server: ScratchPostgres, pg_target: ScratchPostgres
) -> None:
    with roles(pg_server, app="LOGIN"), new_database(pg_server, options="OWNER app") as source:
        source.psql("SET ROLE app; CREATE TABLE t (id integer); INSERT INTO t VALUES (1)")
        back_up(store, PostgresSource(source.uri))
    with roles(pg_target, restorer="LOGIN CREATEDB CREATEROLE"):
        try:
            with free_name(pg_target) as copy:
                uri = copy.uri.replace("postgres@", "restorer@", 1)
                writer = opened(store)
                restore.restore(writer, writer.catalog.latest(), PostgresTarget(uri), restore.Options())
                assert copy.psql("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == "app"
                assert copy.psql("SELECT datdba::regrole FROM pg_database WHERE datname = current_database()") == "app"
        finally:
            pg_target.psql("DROP ROLE IF EXISTS app")


def test_the_first_superuser_is_captured_where_it_owns_something(
    store: LocalStore, database: Database, fresh_server: ScratchPostgres
) -> None:
    database.psql("CREATE TABLE t (id integer)")
    back_up(store, PostgresSource(database.uri))
    fresh_server.psql("CREATE ROLE boss SUPERUSER LOGIN")
    with psycopg.connect(fresh_server.uri().replace("postgres@", "boss@", 1), autocommit=True) as session:
        session.execute("ALTER ROLE postgres RENAME TO elsewhere")
        uri = fresh_server.uri("copy").replace("postgres@", "boss@", 1)
        writer = opened(store)
        done = restore.restore(writer, writer.catalog.latest(), PostgresTarget(uri), restore.Options())
        assert any("postgres was made without SUPER" in note for note in told(done))
        assert session.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'postgres'").fetchone() == (False,)


def test_membership_in_a_powerful_role_does_not_come_back(
    store: LocalStore, pg_server: ScratchPostgres, pg_target: ScratchPostgres
) -> None:
    try:
        with roles(pg_server, low="LOGIN"), new_database(pg_server, options="OWNER low") as source:
            pg_server.psql("GRANT pg_execute_server_program TO low; GRANT pg_read_all_data TO low")
            with free_name(pg_target) as copy:
                done = there_and_back(store, source.uri, copy.uri)
                groups = copy.psql(
                    "SELECT string_agg(roleid::regrole::text, ' ') FROM pg_auth_members WHERE member = 'low'::regrole"
                )
        assert groups == "pg_read_all_data"
        assert any("pg_execute_server_program" in note for note in told(done))
    finally:
        pg_target.psql("DROP ROLE IF EXISTS low")


def test_tablespaces_are_left_behind(
    store: LocalStore, pg_server: ScratchPostgres, database: Database, target_database: Database
) -> None:
    place = pg_server.folder / "fast"
    place.mkdir()
    owner = (pg_server.folder / "data").stat() if (pg_server.folder / "data").exists() else pg_server.folder.stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    pg_server.psql(f"CREATE TABLESPACE fast LOCATION '{place}'")
    try:
        database.psql("CREATE TABLE t (id integer PRIMARY KEY USING INDEX TABLESPACE fast) TABLESPACE fast")
        there_and_back(store, database.uri, target_database.uri)
        assert target_database.psql("SELECT count(*) FROM t") == "0"
    finally:
        database.drop()
        pg_server.psql("DROP TABLESPACE fast")


# ---- what counts as empty ----------------------------------------------------------------------------------


# as it is where the extension's script makes the schema
SCHEMA_IS_THE_EXTENSIONS = """
SET allow_system_table_mods = on;
INSERT INTO pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
SELECT 'pg_namespace'::regclass, n.oid, 0, 'pg_extension'::regclass, e.oid, 0, 'e'
FROM pg_namespace n, pg_extension e WHERE nspname = 'dwebbackup_config' AND extname = 'dwebbackup_test_config';
"""


def test_rows_that_an_extension_keeps_for_its_user_are_not_overwritten(
    store: LocalStore, database: Database, pg_target: ScratchPostgres
) -> None:
    back_up(store, PostgresSource(database.uri))
    writer = opened(store)
    with new_database(pg_target) as target:
        target.psql("CREATE EXTENSION dwebbackup_test_config")
        target.psql(SCHEMA_IS_THE_EXTENSIONS)
        target.psql("INSERT INTO dwebbackup_config.setting VALUES ('mine', 'precious')")
        with pytest.raises(TargetNotEmpty, match="setting"):
            restore.restore(writer, writer.catalog.latest(), PostgresTarget(target.uri), restore.Options())
        assert target.psql("SELECT value FROM dwebbackup_config.setting WHERE NOT builtin") == "precious"
        target.psql("DELETE FROM dwebbackup_config.setting WHERE NOT builtin")
        restore.restore(writer, writer.catalog.latest(), PostgresTarget(target.uri), restore.Options())


def test_an_empty_target_that_cannot_be_removed_is_left_as_it_was(
    store: LocalStore, database: Database, pg_target: ScratchPostgres
) -> None:
    back_up(store, PostgresSource(database.uri))
    writer = opened(store)
    with new_database(pg_target) as target:
        pg_target.psql(f"ALTER DATABASE {target.name} IS_TEMPLATE true")  # which nobody may drop
        with pytest.raises(DatabaseRefused, match="template"):
            restore.restore(writer, writer.catalog.latest(), PostgresTarget(target.uri), restore.Options())
        assert target.exists()
        pg_target.psql(f"ALTER DATABASE {target.name} IS_TEMPLATE false")


# ---- how it is reached -------------------------------------------------------------------------------------


def test_the_database_that_a_service_names_is_the_one(
    store: LocalStore, pg_server: ScratchPostgres, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.psql("CREATE TABLE t (id integer)")
    at = conninfo_to_dict(database.uri)
    (tmp_path / "services").write_text("[shop]\n" + "".join(f"{key}={value}\n" for key, value in at.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    done = back_up(store, PostgresSource("postgresql:///?service=shop"))
    facts = done.backup.manifest.sources[0].facts
    assert (facts.database, facts.name) == (database.name, "shop")


def told(done: restore.Done) -> tuple[str, ...]:
    """All that a restore has to say."""
    return (*done.restored.notes, *getattr(done.restored, "shortfalls", ()))
