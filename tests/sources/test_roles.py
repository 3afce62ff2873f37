"""Roles there and back: who only is a member, what was set for them, and what stays of them when a restore fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused, DwebbackupError
from dwebbackup.ports import Restored
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget, census, swap
from dwebbackup.sources.postgres.connection import Server
from faulty import MemoryStore
from fix_majors import MAJORS, Majors
from fix_postgres import Database, free_name, new_database
from synthetic import back_up, opened

NAMES = ("rt_web", "rt_team", "rt_own", "rt_other", "rt_dba", "rt_monitors", "rt_restorer")


@contextmanager
def without_roles(*servers: ScratchPostgres) -> Iterator[None]:
    """Nobody has these names, before and after; their databases have to be gone by then."""
    for server in servers:
        server.psql("".join(f"DROP ROLE IF EXISTS {name};" for name in NAMES))
    try:
        yield
    finally:
        for server in servers:
            server.psql("".join(f"DROP ROLE IF EXISTS {name};" for name in NAMES))


@pytest.fixture
def source(pg_server: ScratchPostgres) -> Iterator[Database]:
    with without_roles(pg_server), new_database(pg_server) as database:
        yield database


@pytest.fixture
def copy(pg_target: ScratchPostgres) -> Iterator[Database]:
    with without_roles(pg_target), free_name(pg_target) as database:
        yield database


def kept(database: Database, clients: str | None = None) -> MemoryStore:
    """A backup."""
    store = MemoryStore()
    back_up(store, PostgresSource(database.uri, bin_folder=clients))
    return store


def bring_back(store: MemoryStore, to: Database, role: str = "postgres", clients: str | None = None) -> Restored:
    writer = opened(store)
    target = PostgresTarget(as_role(role, to), bin_folder=clients)
    return restore.restore(writer, writer.catalog.latest(), target, restore.Options()).restored


def planned(store: MemoryStore, to: Database, role: str) -> list[str]:
    writer = opened(store)
    return restore.plan(writer, writer.catalog.latest(), PostgresTarget(as_role(role, to)), restore.Options())


def as_role(name: str, database: Database) -> str:
    return database.uri.replace("postgres@", f"{name}@", 1)


def captured(database: Database) -> dict[str, Any]:
    """The stream `properties`."""
    with Server(database.uri).connect() as connection:
        return json.loads(census.properties(connection))


def roles_of(server: ScratchPostgres) -> list[str]:
    return server.psql("SELECT rolname FROM pg_roles WHERE rolname ~ '^rt_' ORDER BY 1").split()


def members_of(server: ScratchPostgres) -> list[str]:
    return server.psql("""
        SELECT m.rolname || '>' || g.rolname FROM pg_auth_members
        JOIN pg_roles g ON g.oid = roleid JOIN pg_roles m ON m.oid = member WHERE m.rolname ~ '^rt_' ORDER BY 1
    """).split()


def owner_of_t(database: Database) -> str:
    return database.psql("SELECT tableowner FROM pg_tables WHERE tablename = 't'")


OWNED = """
CREATE ROLE rt_own;
CREATE TABLE t (id integer);
INSERT INTO t VALUES (1);
ALTER TABLE t OWNER TO rt_own;
"""

GIVE_AWAY = "SELECT format('ALTER DATABASE %I OWNER TO rt_own', current_database()) \\gexec\n"
"""The database itself: then nothing belongs to the first superuser, whom no other role may act for."""


# --- members ---


def test_a_login_that_has_its_rights_by_membership_only_comes_back(source: Database, copy: Database):
    """By way of a group that has them by membership itself."""
    source.psql(f"""{OWNED}
        CREATE ROLE rt_team IN ROLE rt_own;
        CREATE ROLE rt_web LOGIN PASSWORD 'secret' IN ROLE rt_team;
    """)
    bring_back(kept(source), copy)
    assert members_of(copy.server) == ["rt_team>rt_own", "rt_web>rt_team"]
    with psycopg.connect(as_role("rt_web", copy)) as session:
        assert session.execute("SELECT id FROM t").fetchall() == [(1,)]
    verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'rt_web'"
    assert copy.server.psql(verifier) == source.psql(verifier)


def test_groups_of_captured_roles_come_with_them_and_nobody_else_of_these(source: Database, copy: Database):
    source.psql(f"""{OWNED}
        CREATE ROLE rt_monitors IN ROLE pg_monitor ROLE rt_own;
        CREATE ROLE rt_other LOGIN IN ROLE rt_monitors;
        CREATE ROLE rt_dba SUPERUSER IN ROLE rt_own;
    """)
    bring_back(kept(source), copy)
    assert roles_of(copy.server) == ["rt_monitors", "rt_own"]
    assert members_of(copy.server) == ["rt_monitors>pg_monitor", "rt_own>rt_monitors"]


def test_a_membership_that_only_lets_one_admit_others_draws_nobody_in(majors: Majors):
    """From 16 on, whoever creates a role is such a member of it."""
    server = majors.server(18)
    with without_roles(server), new_database(server) as database:
        database.psql(f"""{OWNED}
            CREATE ROLE rt_dba CREATEROLE; SET ROLE rt_dba; CREATE ROLE rt_other; RESET ROLE;
            CREATE ROLE rt_team; GRANT rt_own TO rt_team WITH INHERIT FALSE;
            GRANT SELECT ON t TO rt_other;
        """)
        names = [role["name"] for role in captured(database)["roles"]]
        assert [name for name in names if name.startswith("rt_")] == ["rt_own", "rt_other", "rt_team"]


def test_members_that_may_use_nothing_themselves_are_no_reason_to_leave_out_owners(source: Database, copy: Database):
    """Where the restore's role may create none."""
    source.psql(f"{OWNED} {GIVE_AWAY} CREATE ROLE rt_web LOGIN IN ROLE rt_own")
    store = kept(source)
    copy.server.psql("CREATE ROLE rt_own; CREATE ROLE rt_restorer LOGIN CREATEDB IN ROLE rt_own")
    assert "leave out the roles rt_web: this role may not create any" in planned(store, copy, "rt_restorer")
    restored = bring_back(store, copy, "rt_restorer")
    assert restored.shortfalls == ("the roles rt_web were not made: this role may not create any",)
    assert owner_of_t(copy) == "rt_own"


@pytest.mark.parametrize("right", ["", "pg_read_all_data"])
def test_who_reads_all_data_sees_password_verifiers_as_well(source: Database, right: str):
    source.psql(f"{OWNED} ALTER ROLE rt_own LOGIN PASSWORD 'secret'; CREATE ROLE rt_other LOGIN")
    source.psql(f"GRANT {right} TO rt_other" if right else "GRANT SELECT ON t TO rt_other")
    with Server(as_role("rt_other", source)).connect() as connection:
        roles = json.loads(census.properties(connection))["roles"]
    (verifier,) = [role["verifier"] for role in roles if role["name"] == "rt_own"]
    assert (verifier is None) == (not right)


# --- settings ---

SETTINGS = """
    SELECT setrole::regrole, setconfig FROM pg_db_role_setting
    WHERE setdatabase = 0 AND setrole::regrole::text ~ '^rt_' ORDER BY setrole::regrole::text
"""


def test_what_was_set_for_a_role_everywhere_comes_back_with_it(source: Database, copy: Database):
    source.psql(rf"""{OWNED}
        CREATE ROLE rt_web IN ROLE rt_own;
        ALTER ROLE rt_own SET search_path = "$user", "it's odd", public;
        ALTER ROLE rt_own SET "app.Secret" = 'a=''b\c';
        ALTER ROLE rt_web SET role = 'rt_own';
    """)
    expected = source.psql(SETTINGS)
    assert len(expected.splitlines()) == 2
    source.psql("CREATE ROLE rt_other; ALTER ROLE rt_other SET statement_timeout = '15s'")
    assert [role for role, _ in captured(source)["role_settings"] if role == "rt_other"] == []
    bring_back(kept(source), copy)
    assert copy.server.psql(SETTINGS) == expected


def test_a_role_that_was_there_keeps_the_settings_that_it_has(source: Database, copy: Database):
    source.psql(f"{OWNED} ALTER ROLE rt_own SET statement_timeout = '15s'")
    copy.server.psql("CREATE ROLE rt_own")
    bring_back(kept(source), copy)
    assert copy.server.psql(SETTINGS) == ""


def test_a_setting_that_the_server_refuses_is_told_and_the_role_is_made_all_the_same(source: Database, copy: Database):
    source.psql(f"""{OWNED} {GIVE_AWAY}
        ALTER ROLE rt_own SET log_statement = 'all';
        ALTER ROLE rt_own SET work_mem = '7MB';
    """)
    copy.server.psql("CREATE ROLE rt_restorer LOGIN CREATEDB CREATEROLE")
    (told,) = bring_back(kept(source), copy, "rt_restorer").shortfalls
    assert told.startswith('not restored: setting log_statement of ROLE "rt_own": ')
    assert copy.server.psql(SETTINGS) == "rt_own|{work_mem=7MB}"
    assert owner_of_t(copy) == "rt_own"


# --- a restore that fails ---


def test_a_failed_restore_leaves_no_role_behind_and_the_next_one_says_what_they_lack(source: Database, copy: Database):
    source.psql(f"""{OWNED}
        ALTER ROLE rt_own LOGIN REPLICATION;
        ALTER TABLE t ADD CHECK (current_database() !~ '^dwebbackup_' OR current_setting('app.takes', true) IS NOT NULL);
    """)
    store = kept(source)
    with pytest.raises(DwebbackupError, match="t_check"):
        bring_back(store, copy)
    assert roles_of(copy.server) == []
    copy.server.psql("ALTER ROLE postgres SET app.takes = 'all'")
    try:
        shortfalls = bring_back(store, copy).shortfalls
    finally:
        copy.server.psql("ALTER ROLE postgres RESET app.takes")
    assert [each.partition(":")[0].partition(";")[0] for each in shortfalls] == [
        "role rt_own was made without REPLICATION",
        "role rt_own was made without a password",
    ]


def test_a_failed_restore_leaves_roles_that_were_there_and_those_that_somebody_uses(
    source: Database, copy: Database, monkeypatch: pytest.MonkeyPatch
):
    source.psql(f"{OWNED} CREATE ROLE rt_other; GRANT SELECT ON t TO rt_other; CREATE ROLE rt_web IN ROLE rt_own")
    copy.server.psql("CREATE ROLE rt_other")

    def interfered(*_: object) -> tuple[str, ...]:
        copy.server.psql("GRANT CREATE ON DATABASE postgres TO rt_own")
        raise DatabaseRefused("no renaming today")

    monkeypatch.setattr(swap, "take_place", interfered)
    try:
        with pytest.raises(DatabaseRefused, match="no renaming today"):
            bring_back(kept(source), copy)
        assert roles_of(copy.server) == ["rt_other", "rt_own"]
    finally:
        copy.server.psql("REVOKE CREATE ON DATABASE postgres FROM rt_own")


# --- without owners ---


def test_without_owners_the_databases_settings_comment_and_limit_still_come_back(source: Database, copy: Database):
    source.psql(rf"""{OWNED}
        CREATE ROLE rt_other;
        SELECT format('ALTER DATABASE %I SET work_mem = ''7MB''', current_database()),
            format('COMMENT ON DATABASE %I IS ''kept''', current_database()),
            format('ALTER DATABASE %I CONNECTION LIMIT 17', current_database()),
            format('ALTER ROLE rt_other IN DATABASE %I SET work_mem = ''8MB''', current_database()),
            format('GRANT CREATE ON DATABASE %I TO rt_other', current_database()) \gexec
    """)
    copy.server.psql("CREATE ROLE rt_restorer LOGIN CREATEDB")
    without, setting = bring_back(kept(source), copy, "rt_restorer").shortfalls
    assert without.startswith("restored without owners and rights: this role may not create the roles rt_own")
    assert setting == "not restored: the settings of role rt_other in this database: there is no such role"
    assert copy.psql("SHOW work_mem") == "7MB"
    assert (
        copy.psql("""
            SELECT datconnlimit, shobj_description(oid, 'pg_database'), datdba::regrole, datacl
            FROM pg_database WHERE datname = current_database()
        """)
        == "17|kept|rt_restorer|"
    )


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("major", MAJORS)
def test_owners_need_a_role_that_inherits_from_them(majors: Majors, major: int, there: bool):
    """From 16 on, a role that makes them can have that said by its membership, whatever it does otherwise."""
    server = majors.server(major)
    with without_roles(server):
        with new_database(server) as database:
            database.psql(OWNED + GIVE_AWAY)
            store = kept(database, majors.clients)
        if not there:
            server.psql("DROP ROLE rt_own")
        server.psql("CREATE ROLE rt_restorer LOGIN CREATEDB CREATEROLE NOINHERIT")
        if there:
            server.psql("GRANT rt_own TO rt_restorer")
        with free_name(server) as copy:
            if major == 15:
                with pytest.raises(DatabaseRefused, match="NOINHERIT"):
                    bring_back(store, copy, "rt_restorer", majors.clients)
                return
            shortfalls = bring_back(store, copy, "rt_restorer", majors.clients).shortfalls
            owner = owner_of_t(copy)
    if there or major < 16:
        assert shortfalls == ("restored without owners and rights: this role does not inherit the rights of rt_own",)
        assert owner == "rt_restorer"
    else:
        assert (shortfalls, owner) == ((), "rt_own")


def test_who_may_make_no_database_is_told_where_the_rights_of_a_restore_stand(source: Database, copy: Database):
    copy.server.psql("CREATE ROLE rt_restorer LOGIN")
    with pytest.raises(DatabaseRefused) as caught:
        bring_back(kept(source), copy, "rt_restorer")
    assert "docs/postgres.md" in caught.value.hint
    assert "restore" in caught.value.hint


# --- rights passed on ---


def test_rights_that_others_than_the_owner_gave_are_told_beforehand(source: Database, copy: Database):
    source.psql(f"""{OWNED} {GIVE_AWAY}
        CREATE ROLE rt_team; CREATE ROLE rt_web; CREATE SCHEMA inside AUTHORIZATION rt_own;
        CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
        ALTER FUNCTION f OWNER TO rt_own;
        GRANT SELECT (id) ON t TO rt_team WITH GRANT OPTION;
        GRANT USAGE ON SCHEMA inside TO rt_team WITH GRANT OPTION;
        GRANT EXECUTE ON FUNCTION f TO rt_team WITH GRANT OPTION;
        SET ROLE rt_team;
        GRANT SELECT (id) ON t TO rt_web;
        GRANT USAGE ON SCHEMA inside TO rt_web;
        GRANT EXECUTE ON FUNCTION f TO rt_web;
    """)
    copy.server.psql("CREATE ROLE rt_restorer LOGIN CREATEDB CREATEROLE")
    store = kept(source)
    (told,) = [step for step in planned(store, copy, "rt_restorer") if "may be refused" in step]
    assert told.partition(" at ")[2].partition(": only superusers")[0].split(", ") == [
        "rights on function f given by rt_team",
        "rights on relation public.t given by rt_team",
        "rights on schema inside given by rt_team",
    ]
    with pytest.raises(DwebbackupError, match="session authorization"):
        bring_back(store, copy, "rt_restorer")
    assert roles_of(copy.server) == ["rt_restorer"]
