"""PostgreSQL's major versions: each there and back, from older to newer, and what only some of them know."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from dwebbackup import restore
from dwebbackup.ports import Restored
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from faulty import MemoryStore
from fix_majors import CLIENT_18, MAJORS, WIDE, Majors
from fix_postgres import Database, free_name, new_database
from sources.nasty import fill_nasty, make_roles
from sources.same import differences, differences_between_majors
from sources.test_nasty_baseline import UNAVOIDABLE
from synthetic import back_up, opened

UPGRADES = [(15, 16), (15, 18), (16, 18), *([(13, 14), (13, 18), (14, 17), (17, 18)] if WIDE else [])]


def backup_of(database: Database, clients: str) -> MemoryStore:
    store = MemoryStore()
    back_up(store, PostgresSource(database.uri, bin_folder=clients))
    return store


def bring_back(store: MemoryStore, to: Database, clients: str, user: str = "postgres") -> Restored:
    writer = opened(store)
    target = PostgresTarget(to.uri.replace("//postgres@", f"//{user}@"), bin_folder=clients)
    return restore.restore(writer, writer.catalog.latest(), target, restore.Options()).restored


@contextmanager
def there_and_back(majors: Majors, source: Database, major: int) -> Iterator[tuple[Database, Restored]]:
    """A copy of *source* on the server of this major version, and what its restore said."""
    store = backup_of(source, majors.clients)
    with free_name(majors.server(major)) as copy:
        yield copy, bring_back(store, copy, majors.clients)


@contextmanager
def new_roles(server: ScratchPostgres, *names: str) -> Iterator[None]:
    """Nobody has these names before, nor afterwards."""
    try:
        yield
    finally:
        server.psql("".join(f"DROP ROLE IF EXISTS {name};" for name in names))


# --- everything there is, on every major version ---


@pytest.fixture(scope="module")
def nasty_on(majors: Majors) -> Iterator[Callable[[int], tuple[Database, MemoryStore]]]:
    """The nasty database on the server of a major version, and its backup."""
    with ExitStack() as stack:

        @functools.cache
        def nasty_on(major: int) -> tuple[Database, MemoryStore]:
            server = majors.server(major)
            database = stack.enter_context(new_database(server, f"""Nasty "db" of {major}: it's %41 & ü"""))
            fill_nasty(server, database.name)
            return database, backup_of(database, majors.clients)

        yield nasty_on


@pytest.mark.parametrize("major", MAJORS)
def test_the_nasty_database_comes_back_onto_its_own_major_version(majors: Majors, nasty_on, major: int) -> None:
    nasty, store = nasty_on(major)
    with free_name(majors.server(major)) as copy:
        bring_back(store, copy, majors.clients)
        found = differences(nasty.uri, copy.uri, majors.pg_dump(major))
    assert [piece.splitlines()[0] for piece in found] == UNAVOIDABLE, "\n".join(found)


@pytest.mark.parametrize(("older", "newer"), UPGRADES)
def test_the_nasty_database_moves_to_a_newer_major_version(majors: Majors, nasty_on, older: int, newer: int) -> None:
    nasty, store = nasty_on(older)
    make_roles(majors.server(newer))
    with free_name(majors.server(newer)) as copy:
        bring_back(store, copy, majors.clients)
        found = differences_between_majors(nasty.uri, copy.uri, majors.pg_dump(newer))
    assert found == [piece for piece in UNAVOIDABLE if piece.startswith("materialized view")]


@pytest.mark.parametrize("major", [major for major in MAJORS if major < 17])
def test_an_archive_of_client_18_goes_onto_an_older_server(majors: Majors, nasty_on, major: int) -> None:
    nasty, _ = nasty_on(major)
    store = backup_of(nasty, str(CLIENT_18))
    with free_name(majors.server(major)) as copy:
        bring_back(store, copy, str(CLIENT_18))
        found = differences(nasty.uri, copy.uri, majors.pg_dump(major))
    assert [piece.splitlines()[0] for piece in found] == UNAVOIDABLE, "\n".join(found)


# --- versions that do not fit ---


def test_a_backup_of_a_newer_server_is_refused_before_anything_is_touched(majors: Majors) -> None:
    older = majors.server(15)
    there = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles ORDER BY 1"
    before = older.psql(there)
    with new_roles(majors.server(16), "only_on_16"), new_database(majors.server(16)) as database:
        database.psql("CREATE ROLE only_on_16; CREATE TABLE t (); ALTER TABLE t OWNER TO only_on_16")
        store = backup_of(database, majors.clients)
    with free_name(older) as copy, pytest.raises(DatabaseRefused, match="of PostgreSQL 16, and .* 15") as refusal:
        bring_back(store, copy, majors.clients)
    assert refusal.value.exit_status == 14
    assert older.psql(there) == before


def test_a_client_older_than_the_server_is_refused_with_the_package_to_install(majors: Majors) -> None:
    with new_database(majors.server(18)) as database:
        with pytest.raises(ToolMissing) as refusal:
            backup_of(database, str(CLIENT_16))
    assert refusal.value.exit_status == 15
    assert "postgresql-client-18" in refusal.value.hint


def test_a_client_older_than_the_archive_is_refused_with_the_package_to_install(majors: Majors) -> None:
    server = majors.server(16)
    with new_database(server) as database, free_name(server) as copy:
        store = backup_of(database, str(CLIENT_18))
        with pytest.raises(ToolMissing) as refusal:
            bring_back(store, copy, str(CLIENT_16))
        assert not copy.exists()
    assert refusal.value.exit_status == 15
    assert "postgresql-client-18" in refusal.value.hint


@pytest.mark.parametrize(
    ("version", "major"), [("18.4", 18), ("18beta1", 18), ("15.18 (Debian 15.18-0+deb12u1)", 15), ("19devel", 19)]
)
def test_the_major_version_is_read_however_a_server_tells_its_own(version: str, major: int) -> None:
    assert tools.major_in(version) == major


def test_an_error_that_reads_like_the_harmless_one_is_not_taken_for_it(majors: Majors) -> None:
    """pg_restore 18 sets `transaction_timeout`, which older servers do not know; nothing else may fail like that."""
    server = majors.server(15)
    with new_database(server) as database, free_name(server) as copy:
        database.psql("""
            CREATE FUNCTION only_here(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
                IF current_setting('application_name') <> 'psql' THEN
                    RAISE 'unrecognized configuration parameter "transaction_timeout"';
                END IF;
                RETURN $1;
            END$$;
            CREATE TABLE t AS SELECT 1 AS a;
            CREATE INDEX ON t (only_here(a));
        """)
        store = backup_of(database, str(CLIENT_18))
        with pytest.raises(RestoreFailed, match="CREATE INDEX"):
            bring_back(store, copy, str(CLIENT_18))
        assert not copy.exists()


# --- what a newer version has no more ---


def test_rights_on_functions_of_the_system_that_are_gone_are_a_note(majors: Majors) -> None:
    with new_roles(majors.server(16), "monitor"), new_roles(majors.server(18), "monitor"):
        with new_database(majors.server(16)) as database:
            database.psql("""
                CREATE ROLE monitor;
                GRANT EXECUTE ON FUNCTION pg_stat_get_buf_written_backend() TO monitor;
                GRANT SELECT (buffers_backend) ON pg_stat_bgwriter TO monitor;
                GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO monitor;
            """)
            with there_and_back(majors, database, 18) as (copy, restored):
                assert copy.psql("SELECT has_function_privilege('monitor', 'pg_ls_dir(text)', 'EXECUTE')") == "t"
    assert [note.partition(" TO ")[0] for note in restored.notes] == [
        "not restored: GRANT ALL ON FUNCTION pg_catalog.pg_stat_get_buf_written_backend()",
        "not restored: GRANT SELECT(buffers_backend) ON TABLE pg_catalog.pg_stat_bgwriter",
    ]


@pytest.mark.parametrize("change", ["", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC"])
@pytest.mark.parametrize("major", [MAJORS[0], 15])
def test_who_may_make_things_in_the_public_schema_stays_so(majors: Majors, major: int, change: str) -> None:
    """Before 15 everybody may, from 15 on nobody but the database's owner, unless somebody said otherwise."""
    with new_database(majors.server(major)) as database:
        database.psql(change)
        for newer in {major, 15, 16}:
            with there_and_back(majors, database, newer) as (copy, _):
                assert copy.psql(PUBLIC_RIGHTS) == database.psql(PUBLIC_RIGHTS)


PUBLIC_RIGHTS = """
    SELECT privilege_type FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee = 0 ORDER BY 1
"""
