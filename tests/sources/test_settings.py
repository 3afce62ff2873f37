"""Settings of sessions: a role's own change neither what comes back nor how long we are patient; the user's words do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from dwebbackup import restore
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.sources.postgres.connection import Server, execute, start_up_options
from faulty import MemoryStore
from synthetic import back_up, opened

OF_A_ROLE = {"array_nulls": "off", "default_transaction_read_only": "on", "idle_session_timeout": "1h"}
OURS = {"array_nulls": "on", "default_transaction_read_only": "off", "idle_session_timeout": "0"}


@pytest.fixture
def peculiar(pg_target: ScratchPostgres) -> Iterator[None]:
    """The superuser of the server to restore to has settings of its own."""
    for name, value in OF_A_ROLE.items():
        pg_target.psql(f"SET default_transaction_read_only = off; ALTER ROLE postgres SET {name} = '{value}'")
    yield
    pg_target.psql("SET default_transaction_read_only = off; ALTER ROLE postgres RESET ALL")


def test_a_roles_own_settings_change_nothing_in_what_comes_back(database, pg_target, target_database, peculiar):
    database.psql("CREATE TABLE t (id integer PRIMARY KEY, word text[] DEFAULT '{a,NULL}')")
    database.psql("INSERT INTO t VALUES (1, '{b,NULL}')")
    store = MemoryStore()
    back_up(store, PostgresSource(database.uri))
    writer = opened(store)
    restore.restore(writer, writer.catalog.latest(), PostgresTarget(target_database.uri), restore.Options())
    pg_target.psql("SET default_transaction_read_only = off; ALTER ROLE postgres RESET ALL")
    target_database.psql("INSERT INTO t VALUES (2)")
    assert target_database.psql("SELECT count(*) FROM t WHERE word[2] IS NULL") == "2"


def test_our_settings_outrank_a_roles_in_our_sessions_and_in_those_of_pg_restore(pg_target, peculiar):
    server = Server(pg_target.uri())
    query = f"SELECT {', '.join(f'current_setting({name!r})' for name in OURS)}"
    with server.connect() as connection:
        assert execute(connection, query) == [tuple(OURS.values())]
        environment = server.environment(connection) | start_up_options(connection)
        psql = [pg_target.binaries.psql, "-XAtqF,", "-d", server.conninfo(connection), "-c", query]
        said = subprocess.run(psql, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.strip() == ",".join(OURS.values())


def test_start_up_options_that_the_user_asked_for_stay(pg_target):
    with Server(f"{pg_target.uri()}&options=-c%20work_mem%3D5MB").connect() as connection:
        assert start_up_options(connection)["PGOPTIONS"].startswith("-c work_mem=5MB -c array_nulls=on")


@pytest.mark.parametrize(("said", "idle"), [("", "60"), ("keepalives_idle=7", "7")])
def test_idle_sessions_are_kept_alive_unless_the_user_says_otherwise(pg_target, said, idle):
    place = conninfo_to_dict(pg_target.tcp_uri())
    server = Server(" ".join([*(f"{key}='{value}'" for key, value in place.items()), said]))
    with server.connect() as connection:
        ours = connection.info.get_parameters()
        of_children = conninfo_to_dict(server.conninfo(connection))
    for parameters in (ours, of_children):
        assert (parameters["keepalives_idle"], parameters["keepalives_interval"]) == (idle, "15")
        assert parameters["keepalives_count"] == "4"


def test_the_users_own_patience_outranks_ours(pg_target, monkeypatch):
    server = Server(pg_target.uri())
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "77")
    with server.connect() as connection:
        assert connection.info.get_parameters()["connect_timeout"] == "77"
        assert server.environment(connection)["PGCONNECT_TIMEOUT"] == "77"
    monkeypatch.delenv("PGCONNECT_TIMEOUT")
    with server.connect() as connection:
        assert connection.info.get_parameters()["connect_timeout"] == "30"
        assert server.environment(connection)["PGCONNECT_TIMEOUT"] == "30"
