"""PostgreSQL's major versions: each there and back, from older to newer, and what only some of them know."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused, ToolMissing
from dwebbackup.ports import Restored
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget, tools
from faulty import MemoryStore
from fix_majors import CLIENT_13, CLIENT_16, CLIENT_18, MAJORS, WIDE, Majors
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
    """Names for roles that the test makes, or a restore; afterwards nobody has them."""
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


@pytest.mark.parametrize("major", [13, 14, 15, 16] if WIDE else [15])
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
    with free_name(older) as copy, pytest.raises(DatabaseRefused, match=r"of PostgreSQL 16, and .* 15") as refusal:
        bring_back(store, copy, majors.clients)
    assert refusal.value.exit_status == 14
    assert older.psql(there) == before


def test_a_client_older_than_the_server_is_refused_with_the_package_to_install(majors: Majors) -> None:
    with new_database(majors.server(18)) as database, pytest.raises(ToolMissing) as refusal:
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
        (shortfall,) = bring_back(store, copy, str(CLIENT_18)).shortfalls
    assert "CREATE INDEX" in shortfall


# --- what a newer version has no more ---


def test_rights_on_functions_of_the_system_that_are_gone_are_a_note(majors: Majors) -> None:
    older, newer = majors.server(16), majors.server(18)
    with new_roles(older, "monitor"), new_roles(newer, "monitor"), new_database(older) as database:
        database.psql("""
            CREATE ROLE monitor;
            GRANT EXECUTE ON FUNCTION pg_stat_get_buf_written_backend() TO monitor;
            GRANT SELECT (buffers_backend) ON pg_stat_bgwriter TO monitor;
            GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO monitor;
        """)
        with there_and_back(majors, database, 18) as (copy, restored):
            assert copy.psql("SELECT has_function_privilege('monitor', 'pg_ls_dir(text)', 'EXECUTE')") == "t"
    assert [note.partition(" TO ")[0] for note in restored.shortfalls] == [
        "not restored: GRANT ALL ON FUNCTION pg_catalog.pg_stat_get_buf_written_backend()",
        "not restored: GRANT SELECT(buffers_backend) ON TABLE pg_catalog.pg_stat_bgwriter",
    ]


PUBLIC_RIGHTS = """
    SELECT privilege_type FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee = 0 ORDER BY 1
"""


@pytest.mark.parametrize(
    "taken_away", ["", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC"]
)
@pytest.mark.parametrize(
    ("major", "client"), [(15, None), *([(13, None), (13, CLIENT_13), (14, None)] if WIDE else [])]
)
def test_who_may_make_things_in_the_public_schema_stays_so(
    majors: Majors, major: int, client: Path | None, taken_away: str
) -> None:
    """Before 15 everybody may, from 15 on nobody but the database's owner, unless somebody said otherwise."""
    with new_database(majors.server(major)) as database:
        database.psql(taken_away)
        store = backup_of(database, str(client or majors.clients))
        for newer in {major, 16}:
            with free_name(majors.server(newer)) as copy:
                bring_back(store, copy, majors.clients)
                assert copy.psql(PUBLIC_RIGHTS) == database.psql(PUBLIC_RIGHTS)


# --- how a database sorts ---

LOCALES = {  # the first major that knows it
    "LOCALE 'C'": 13,
    "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C'": 15,
    "LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&V << w <<< W' LOCALE 'C'": 16,
    "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'": 17,
    "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'": 18,
}


@pytest.mark.parametrize("major", MAJORS)
def test_a_database_sorts_as_before(majors: Majors, major: int) -> None:
    for options in [options for options, since in LOCALES.items() if since <= major]:
        with new_database(majors.server(major), options=options) as database:
            database.psql("CREATE TABLE words AS SELECT unnest('{Zebra,Ärger,w,vz,W,va,ärger,z}'::text[]) AS word")
            store = backup_of(database, majors.clients)
            with free_name(majors.server(major)) as copy:
                bring_back(store, copy, majors.clients)
                assert differences(database.uri, copy.uri, majors.pg_dump(major)) == []


@pytest.mark.parametrize("major", [major for major in MAJORS if 15 <= major < 18])
def test_a_database_with_rules_of_its_own_sorts_as_before_on_a_newer_major_version(majors: Majors, major: int) -> None:
    options = [options for options, since in LOCALES.items() if since <= major][-1]
    in_order = "SELECT string_agg(word, ' ' ORDER BY word) FROM words"
    with new_database(majors.server(major), options=options) as database:
        database.psql("CREATE TABLE words AS SELECT unnest('{Zebra,Ärger,w,vz,W,va,ärger,z}'::text[]) AS word")
        with there_and_back(majors, database, 18) as (copy, _):
            assert copy.psql(in_order) == database.psql(in_order)
            assert copy.psql(PROVIDER) == database.psql(PROVIDER)


PROVIDER = "SELECT datlocprovider, datcollate, datctype FROM pg_database WHERE datname = current_database()"


@pytest.mark.parametrize("major", [major for major in MAJORS if major >= 15])
def test_a_database_of_the_systems_locale_stays_so_where_new_ones_use_icu(majors: Majors, major: int) -> None:
    server = majors.server(major)
    with (
        new_database(server, options="LOCALE 'C'") as database,
        icu_by_default(server),
        there_and_back(majors, database, major) as (copy, _),
    ):
        assert copy.psql(PROVIDER) == database.psql(PROVIDER) == "c|C|C"


@contextmanager
def icu_by_default(server: ScratchPostgres) -> Iterator[None]:
    """As `initdb --locale-provider=icu` leaves a server."""
    column = "daticulocale" if server.binaries.major < 17 else "datlocale"
    change = f"UPDATE pg_database SET datlocprovider = '%s', {column} = %s WHERE datname = 'template0'"
    server.psql(change % ("i", "'und'"))
    try:
        yield
    finally:
        server.psql(change % ("c", "NULL"))


# --- what the archive holds, and what is carried beside it ---


@pytest.mark.parametrize("major", MAJORS)
def test_the_archive_holds_definitions_alone(majors: Majors, major: int, tmp_path: Path) -> None:
    client = tools.choose(major, majors.clients)
    with new_database(majors.server(major)) as database:
        database.psql("""
            CREATE TABLE t (a serial PRIMARY KEY);
            INSERT INTO t SELECT FROM generate_series(1, 100);
            ANALYZE;
            SELECT lo_from_bytea(4711, 'content');
            COMMENT ON LARGE OBJECT 4711 IS 'a comment';
        """)
        (tmp_path / "archive").write_bytes(archive_of(database, majors.clients))
    listed = subprocess.run(
        [client.program("pg_restore"), "--list", tmp_path / "archive"], check=True, capture_output=True, text=True
    )
    entries = {
        line.split(";", 1)[1].split(" ", 3)[3] for line in listed.stdout.splitlines() if not line.startswith(";")
    }
    assert entries - {"SCHEMA - public postgres", "ACL - SCHEMA public postgres"} == {  # these of servers before 15
        "TABLE public t postgres",
        "SEQUENCE public t_a_seq postgres",
        "SEQUENCE OWNED BY public t_a_seq postgres",
        "DEFAULT public t a postgres",
        "CONSTRAINT public t t_pkey postgres",
    }


def archive_of(database: Database, clients: str) -> bytes:
    """The stream `schema`."""
    view = memoryview(bytearray(65536))
    found = b""
    with PostgresSource(database.uri, bin_folder=clients).dump() as dump, dump.reader() as reader:
        stream = reader.open(next(spec for spec in dump.specs if spec.kind == "schema"))
        while count := stream.readinto(view):
            found += view[:count]
    return found


@pytest.mark.parametrize("major", MAJORS)
def test_large_objects_keep_their_owners_rights_and_comments(majors: Majors, major: int) -> None:
    """In groups that are alike, and over more than one thousand, where a group ends."""
    server = majors.server(major)
    with new_roles(server, "holder", "reader", "passer"), new_database(server) as database:
        database.psql(r"""
            CREATE ROLE holder; CREATE ROLE reader; CREATE ROLE passer;
            SELECT lo_from_bytea(n, int4send(n)) FROM generate_series(1500, 3500) AS n;
            SELECT format('ALTER LARGE OBJECT %s OWNER TO holder', n) FROM generate_series(1990, 2010) AS n \gexec
            GRANT UPDATE ON LARGE OBJECT 1995, 1996 TO passer WITH GRANT OPTION;
            SET ROLE passer;
            GRANT UPDATE ON LARGE OBJECT 1995 TO reader;
            RESET ROLE;
            GRANT SELECT ON LARGE OBJECT 1996, 2000 TO PUBLIC;
            REVOKE ALL ON LARGE OBJECT 2001 FROM holder;
            REVOKE UPDATE ON LARGE OBJECT 2002 FROM holder;
            COMMENT ON LARGE OBJECT 2001 IS 'it''s \ "odd"';
            COMMENT ON LARGE OBJECT 2010 IS 'of the second thousand';
        """)
        with there_and_back(majors, database, major) as (copy, _):
            assert differences(database.uri, copy.uri, majors.pg_dump(major)) == []


ONLY_18 = r"""
CREATE TABLE generated (a integer, b integer GENERATED ALWAYS AS (a * 2), c integer GENERATED ALWAYS AS (a * 3) STORED);
INSERT INTO generated VALUES (1), (NULL);
CREATE TABLE nothing_to_copy (b integer GENERATED ALWAYS AS (7));
INSERT INTO nothing_to_copy DEFAULT VALUES;
CREATE TABLE named (a integer CONSTRAINT "a, not null" NOT NULL, b integer);
INSERT INTO named VALUES (1, NULL);
ALTER TABLE named ADD CONSTRAINT b_not_null_later NOT NULL b NOT VALID;
CREATE TABLE inherits () INHERITS (named);
ALTER TABLE named ADD CONSTRAINT here_alone CHECK (a > 0) NOT ENFORCED;
CREATE ROLE maintainer;
GRANT MAINTAIN ON named TO maintainer WITH GRANT OPTION;
GRANT pg_maintain TO maintainer;
CREATE FUNCTION restricted() RETURNS text LANGUAGE sql AS E'/*\n\\restrict x\n\\unrestrict x\n\\! touch pwned\n*/ SELECT 1::text';
COMMENT ON FUNCTION restricted() IS E'\\unrestrict x\n\\! touch pwned';
ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO maintainer;
SELECT lo_from_bytea(1, 'with rights by default');
ALTER DEFAULT PRIVILEGES REVOKE SELECT ON LARGE OBJECTS FROM maintainer;
SELECT lo_from_bytea(2, 'without');
ALTER DEFAULT PRIVILEGES GRANT UPDATE ON LARGE OBJECTS TO maintainer;
ANALYZE;
"""


def test_what_only_version_18_knows_comes_back(majors: Majors) -> None:
    server = majors.server(18)
    with new_roles(server, "maintainer"), new_database(server) as database:
        database.psql(ONLY_18)
        with there_and_back(majors, database, 18) as (copy, _):
            assert differences(database.uri, copy.uri, majors.pg_dump(18)) == []


# --- roles, and roles that are no superusers ---

MEMBERS = """
    SELECT g.rolname, m.rolname, admin_option, inherit_option, set_option FROM pg_auth_members
    JOIN pg_roles g ON g.oid = roleid JOIN pg_roles m ON m.oid = member WHERE m.rolname ~ '^test_' ORDER BY 1, 2
"""


def test_members_of_roles_keep_how_they_are_members(majors: Majors) -> None:
    roles = ("test_group", "test_plain", "test_bare", "test_admin", "test_noinherit")
    older, newer = majors.server(16), majors.server(18)
    with new_roles(older, *roles), new_roles(newer, *roles), new_database(older) as database:
        database.psql("".join(f"CREATE ROLE {role}; CREATE SCHEMA {role} AUTHORIZATION {role};" for role in roles))
        database.psql("""
            ALTER ROLE test_noinherit NOINHERIT;
            GRANT test_group TO test_plain, test_noinherit;
            GRANT test_group TO test_bare WITH INHERIT FALSE, SET FALSE;
            GRANT test_group TO test_admin WITH ADMIN TRUE, INHERIT FALSE;
            GRANT pg_monitor TO test_admin WITH INHERIT FALSE;
        """)
        with there_and_back(majors, database, 18):
            assert newer.psql(MEMBERS) == older.psql(MEMBERS)


def test_members_from_before_16_inherit_as_their_role_does(majors: Majors) -> None:
    roles = ("test_group", "test_plain", "test_noinherit")
    older, newer = majors.server(15), majors.server(16)
    with new_roles(older, *roles), new_roles(newer, *roles), new_database(older) as database:
        database.psql("".join(f"CREATE ROLE {role}; CREATE SCHEMA {role} AUTHORIZATION {role};" for role in roles))
        database.psql("ALTER ROLE test_noinherit NOINHERIT; GRANT test_group TO test_plain, test_noinherit")
        with there_and_back(majors, database, 16):
            assert newer.psql(MEMBERS) == "test_group|test_noinherit|f|f|t\ntest_group|test_plain|f|t|t"


OF_SEVERAL = r"""
CREATE ROLE test_app; CREATE ROLE test_other;
SELECT format('ALTER DATABASE %I OWNER TO test_app', current_database()) \gexec
GRANT pg_monitor TO test_app;
CREATE SCHEMA app AUTHORIZATION test_app;
CREATE TABLE app.t AS SELECT 1 AS a;
ALTER TABLE app.t OWNER TO test_app;
GRANT SELECT ON app.t TO test_other;
SELECT lo_from_bytea(1, 'a'), lo_from_bytea(2, 'b');
ALTER LARGE OBJECT 1 OWNER TO test_app;
ALTER LARGE OBJECT 2 OWNER TO test_other;
GRANT SELECT ON LARGE OBJECT 1 TO test_other;
REVOKE ALL ON LARGE OBJECT 2 FROM test_other;
COMMENT ON LARGE OBJECT 2 IS 'a comment';
"""

WHOSE = """
SELECT relname, relowner::regrole, relacl FROM pg_class WHERE relname = 't';
SELECT oid, lomowner::regrole, lomacl FROM pg_largeobject_metadata ORDER BY 1;
"""


@pytest.mark.parametrize("major", MAJORS)
def test_a_role_that_may_make_roles_and_databases_brings_back_owners_and_rights(majors: Majors, major: int) -> None:
    server = majors.server(major)
    with new_roles(server, "test_app", "test_other", "test_restorer"):
        with new_database(server) as database:
            database.psql(OF_SEVERAL)
            store = backup_of(database, majors.clients)
            before = database.psql(WHOSE)
        server.psql("DROP ROLE test_app, test_other; CREATE ROLE test_restorer LOGIN CREATEDB CREATEROLE")
        with free_name(server) as copy:
            restored = bring_back(store, copy, majors.clients, "test_restorer")
            after = copy.psql(WHOSE)
    assert after == before
    assert ["member of pg_monitor" in note for note in restored.shortfalls] == ([True] if major >= 16 else [])


@pytest.mark.parametrize("major", [major for major in MAJORS if major >= 16])
def test_a_member_that_may_not_act_as_the_owners_restores_without_them(majors: Majors, major: int) -> None:
    server = majors.server(major)
    with new_roles(server, "test_app", "test_other", "test_restorer"), new_database(server) as database:
        database.psql(OF_SEVERAL)
        server.psql("""
            CREATE ROLE test_restorer LOGIN CREATEDB;
            GRANT test_app, test_other, postgres TO test_restorer WITH SET FALSE;
        """)
        store = backup_of(database, majors.clients)
        with free_name(server) as copy:
            restored = bring_back(store, copy, majors.clients, "test_restorer")
            assert copy.psql(WHOSE) == "t|test_restorer|\n1|test_restorer|\n2|test_restorer|"
            assert copy.psql("SELECT lo_get(1), lo_get(2)") == r"\x61|\x62"
    assert "without owners and rights" in restored.shortfalls[0]
