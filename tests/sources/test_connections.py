"""Every way to a PostgreSQL server, there and back: addresses, passwords, certificates, poolers, standbys, refusals."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from psycopg.conninfo import make_conninfo

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused, WrongConfiguration
from dwebbackup.manifest import SourceFacts, StreamRecord
from dwebbackup.ports import Dump
from dwebbackup.scratch.postgres import Binaries, ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget, dump, psql, refusals, standby
from dwebbackup.sources.postgres.connection import Server
from faulty import MemoryStore
from fix_postgres import Database, free_name, new_database
from fix_standby import Pair
from fix_tls import PASSWORD, SECOND, Authority, TlsServer
from sources.running import Backup
from synthetic import back_up, names, opened

ROWS = "CREATE TABLE t AS SELECT n, md5(n::text) AS value FROM generate_series(1, 2000) n"
COUNT = "SELECT count(*), sum(n) FROM t"
COUNTED = "2000|2001000"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(autouse=True)
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of whoever runs the tests leads anywhere."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    return monkeypatch


def restore_to(uri: str, store: MemoryStore) -> restore.Done:
    writer = opened(store)
    return restore.restore(writer, writer.catalog.latest(), PostgresTarget(uri), restore.Options())


def there_and_back(server: ScratchPostgres, address: Callable[[str], str]) -> SourceFacts:
    """A backup and a restore of one table, each by that *address* of a database."""
    store = MemoryStore()
    with new_database(server) as source, free_name(server) as target:
        source.psql(ROWS)
        done = back_up(store, PostgresSource(address(source.name)))
        restore_to(address(target.name), store)
        assert target.psql(COUNT) == COUNTED
        return done.backup.manifest.sources[0].facts


def refused(attempt: Callable[[], object]) -> DatabaseRefused:
    """What it is refused with; never with the password in it, in whatever form."""
    with pytest.raises(DatabaseRefused) as caught:
        attempt()
    said = str(caught.value) + caught.value.hint
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "secret", "s%65cret"):
        assert secret not in said
    assert caught.value.exit_status == 14
    return caught.value


@pytest.fixture(scope="module")
def saved(pg_server: ScratchPostgres) -> MemoryStore:
    """With one backup. It is shared: nobody may add another."""
    store = MemoryStore()
    with new_database(pg_server) as source:
        source.psql(ROWS)
        back_up(store, PostgresSource(source.uri))
    return store


def refused_both_ways(address: Callable[[str], str], saved: MemoryStore) -> DatabaseRefused:
    """How a backup from there is refused; a restore to there is, too, and for the same reason, as is who only looks."""
    before = names(saved)
    out = refused(lambda: back_up(saved, PostgresSource(address("postgres"))))
    back = refused(lambda: restore_to(address("new"), saved))
    assert names(saved, "manifests/") == {name for name in before if name.startswith("manifests/")}
    looked = refused(PostgresSource(address("postgres")).condition)
    assert back.hint == looked.hint == out.hint
    return out


# --- addresses ---


@contextlib.contextmanager
def dead_port() -> Iterator[str]:
    """A port at 127.0.0.1 that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield str(taken.getsockname()[1])


def test_through_a_unix_socket(pg_server):
    there_and_back(pg_server, lambda name: f"host={pg_server.folder} port={pg_server.port} user=postgres dbname={name}")


@pytest.mark.parametrize("host", [f"[{SECOND}]" if ":" in SECOND else SECOND, "localhost"])
def test_by_a_url_with_a_password_in_it(tls_server, host):
    login = f"plain:{quote(PASSWORD, safe='')}"
    there_and_back(tls_server.server, lambda name: f"postgresql://{login}@{host}:{tls_server.port}/{name}")


def test_by_words(tls_server):
    there_and_back(tls_server.server, lambda name: words(tls_server, dbname=name))


def words(tls_server: TlsServer, **changes: str) -> str:
    place = {"host": "127.0.0.1", "port": tls_server.port, "user": "plain", "password": PASSWORD}
    return make_conninfo(**(place | changes))


def test_with_a_password_file(tls_server, tmp_path, patch):
    password = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    file = tmp_path / "passwords"
    file.write_text(f"127.0.0.1:{tls_server.port}:*:plain:{password}\n")
    file.chmod(0o600)
    patch.setenv("PGPASSFILE", str(file))
    there_and_back(tls_server.server, lambda name: f"postgresql://plain@127.0.0.1:{tls_server.port}/{name}")


def test_by_variables_alone(tls_server, patch):
    for name, value in {"HOST": SECOND, "PORT": tls_server.port, "USER": "plain", "PASSWORD": PASSWORD}.items():
        patch.setenv(f"PG{name}", value)
    there_and_back(tls_server.server, lambda name: f"dbname={name}")


def test_by_a_service_whose_first_host_is_dead(tls_server, tmp_path, patch):
    """A service file outranks the variables by which a child would be told where to go."""
    file = tmp_path / "services"
    patch.setenv("PGSERVICEFILE", str(file))
    with dead_port() as dead:
        file.write_text(
            f"[shop]\nhost=127.0.0.1,{SECOND}\nport={dead},{tls_server.port}\nuser=plain\npassword={PASSWORD}\n"
            "application_name=shop\ntarget_session_attrs=read-write\ndbname=postgres\n"
        )
        there_and_back(tls_server.server, lambda name: f"service=shop dbname={name}")


@pytest.mark.parametrize("addresses", [{}, {"hostaddr": "127.0.0.1,127.0.0.1"}], ids=["names", "names and addresses"])
def test_by_several_hosts_of_which_the_first_is_dead(tls_server, addresses):
    with dead_port() as dead:
        place = {"host": "localhost,localhost", "port": f"{dead},{tls_server.port}", **addresses}
        there_and_back(tls_server.server, lambda name: words(tls_server, dbname=name, **place))


def test_the_primary_among_several_hosts_is_found(pair, patch):
    by = {"target_session_attrs": "read-write", "host": f"{pair.standby.folder},{pair.primary.folder}"}
    ports = f"{pair.standby.port},{pair.primary.port}"
    facts = there_and_back(pair.primary, lambda name: make_conninfo(user="postgres", port=ports, dbname=name, **by))
    assert facts.notes == ()


@pytest.mark.parametrize("wanted", ["standby", "prefer-standby"])
def test_the_standby_among_several_hosts_is_found(pair, store, wanted):
    with new_database(pair.primary) as source:
        source.psql("CREATE UNLOGGED TABLE u (id integer)")
        pair.follow()
        by = {"target_session_attrs": wanted, "host": f"{pair.primary.folder},{pair.standby.folder}"}
        ports = f"{pair.primary.port},{pair.standby.port}"
        at = make_conninfo(user="postgres", port=ports, dbname=source.name, **by)
        (note,) = back_up(store, PostgresSource(at)).backup.manifest.sources[0].facts.notes
        assert "standby" in note


# --- TLS ---


def verified(tls_server: TlsServer, **changes: str) -> dict[str, str]:
    place = {"host": "localhost", "sslmode": "verify-full", "sslrootcert": str(tls_server.folder / "authority.pem")}
    return place | {"user": "secured"} | changes


def certified(tls_server: TlsServer, **changes: str) -> dict[str, str]:
    files = {"sslcert": str(tls_server.folder / "certified.pem"), "sslkey": str(tls_server.folder / "certified.key")}
    return verified(tls_server) | files | {"user": "certified", "password": ""} | changes


@pytest.mark.parametrize("by", [verified, certified])
def test_over_tls_with_a_verified_server_and_a_password_or_a_certificate(tls_server, by):
    there_and_back(tls_server.server, lambda name: words(tls_server, dbname=name, **by(tls_server)))


def with_a_locked_key(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    key = serialization.load_pem_private_key((tls_server.folder / "certified.key").read_bytes(), None)
    locked = tmp_path / "locked.key"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))
    locked.chmod(0o600)
    return certified(tls_server, sslkey=str(locked), sslpassword="secret")


def test_the_password_of_a_key_comes_from_a_service_file(tls_server, tmp_path, patch):
    """There is no variable for it, and arguments are for all to read."""
    file = tmp_path / "services"
    patch.setenv("PGSERVICEFILE", str(file))
    place = {"port": tls_server.port} | with_a_locked_key(tls_server, tmp_path)
    file.write_text("[shop]\n" + "".join(f"{key}={value}\n" for key, value in place.items() if value))
    there_and_back(tls_server.server, lambda name: f"service=shop dbname={name}")


def test_the_password_of_a_key_is_not_taken_from_an_address(tls_server, tmp_path, store):
    place = with_a_locked_key(tls_server, tmp_path)
    with pytest.raises(WrongConfiguration) as caught:
        back_up(store, PostgresSource(words(tls_server, dbname="postgres", **place)))
    assert "service file" in caught.value.hint
    assert "secret" not in str(caught.value)


def no_tls_for(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    return {"user": "secured", "sslmode": "disable"}


def another_authority(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    return verified(tls_server, sslrootcert=str(Authority("somebody else").write(tmp_path / "other.pem")))


def another_name(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    return verified(tls_server, host="somewhere.test", hostaddr="127.0.0.1")


def no_file_of_an_authority(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    return verified(tls_server, sslrootcert=str(tmp_path / "nowhere.pem"))


def a_key_for_everybody(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    key = shutil.copy(tls_server.folder / "certified.key", tmp_path)
    os.chmod(key, 0o644)
    return certified(tls_server, sslkey=key)


def no_client_certificate(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    nothing = str(tmp_path / "nothing")
    return certified(tls_server, sslcert=nothing, sslkey=nothing)


def a_client_certificate_of_another_authority(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    path = Authority("somebody else").certify(tmp_path, "certified")
    return certified(tls_server, sslcert=str(path), sslkey=str(path.with_suffix(".key")))


def a_client_certificate_for_another_name(tls_server: TlsServer, tmp_path: Path) -> dict[str, str]:
    path = tls_server.authority.certify(tmp_path, "another")
    return certified(tls_server, sslcert=str(path), sslkey=str(path.with_suffix(".key")))


@pytest.mark.parametrize(
    ("by", "hint"),
    [
        (no_tls_for, "sslmode=require"),
        (another_authority, "the authority in sslrootcert"),
        (another_name, "a name that stands in the server's certificate"),
        (no_file_of_an_authority, "as sslrootcert"),
        (a_key_for_everybody, "chmod 600"),
        (no_client_certificate, "see sslcert and sslkey"),
        (a_client_certificate_of_another_authority, "see sslcert and sslkey"),
        (a_client_certificate_for_another_name, "see sslcert and sslkey"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_what_is_wrong_with_tls_is_told(tls_server, saved, tmp_path, by, hint):
    changes = by(tls_server, tmp_path)
    refusal = refused_both_ways(lambda name: words(tls_server, dbname=name, **changes), saved)
    assert hint in refusal.hint


def test_a_server_without_tls_is_refused_where_it_is_required(pg_server, saved):
    refusal = refused_both_ways(lambda name: f"{pg_server.tcp_uri(name)}?sslmode=require", saved)
    assert "no TLS" in refusal.hint


# --- no way in ---


def a_wrong_password(tls_server: TlsServer) -> str:
    return f"postgresql://plain:s%65cret@127.0.0.1:{tls_server.port}/"


def no_such_user(tls_server: TlsServer) -> str:
    return f"host={tls_server.server.folder} port={tls_server.port} user=nobody password=secret"


def no_password(tls_server: TlsServer) -> str:
    return f"postgresql://plain@127.0.0.1:{tls_server.port}/"


def no_such_service(tls_server: TlsServer) -> str:
    return "service=nowhere user=plain password=secret"


def no_host_at_all(tls_server: TlsServer) -> str:
    return "postgresql://plain:secret@no..where/"


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        (a_wrong_password, "check the user and the password"),
        (no_such_user, "the role does not exist"),
        (no_password, "it wants a password"),
        (no_such_service, "PGSERVICEFILE"),
        (no_host_at_all, "the name of the host"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_who_is_not_let_in_is_told_why(tls_server, saved, address, hint):
    at = address(tls_server)
    assert hint in refused_both_ways(lambda name: make_conninfo(at, dbname=name), saved).hint


def test_a_database_that_does_not_exist_is_told(pg_server, store):
    refusal = refused(lambda: back_up(store, PostgresSource(pg_server.tcp_uri("nowhere"))))
    assert "check its name" in refusal.hint


def test_an_address_that_cannot_be_read_is_not_quoted():
    with pytest.raises(WrongConfiguration) as caught:
        PostgresSource("postgresql://plain:secret%zz@127.0.0.1/shop")
    assert "secret" not in str(caught.value) + caught.value.hint


def test_a_role_without_a_connection_left_is_told(tls_server, saved):
    tls_server.server.psql("CREATE ROLE busy LOGIN CONNECTION LIMIT 0")
    refusal = refused_both_ways(
        lambda name: f"host={tls_server.server.folder} port={tls_server.port} user=busy dbname={name}", saved
    )
    assert "no connection is left" in refusal.hint


def test_a_reader_without_a_connection_left_is_told(tls_server, store):
    """There is room for the first session, and for the one that makes sure of it; not for all the others."""
    tls_server.server.psql("CREATE ROLE small LOGIN CONNECTION LIMIT 2")
    with new_database(tls_server.server) as source:
        source.psql(f"{ROWS}; ALTER TABLE t OWNER TO small")
        at = f"host={tls_server.server.folder} port={tls_server.port} user=small dbname={source.name}"
        refusal = refused(lambda: back_up(store, PostgresSource(at, jobs=3), jobs=3))
    tls_server.server.psql("DROP ROLE small")
    assert "no connection is left" in refusal.hint


def test_a_server_that_is_starting_is_told(fresh_server, saved):
    """It waits for its primary, and lets nobody in meanwhile."""
    data = fresh_server.folder / "data"
    fresh_server.stop()
    with starting(fresh_server, data) as address:
        refusal = refused_both_ways(lambda name: f"{address} dbname={name}", saved)
    assert "try again in a moment" in refusal.hint


@contextlib.contextmanager
def starting(server: ScratchPostgres, data: Path) -> Iterator[str]:
    (data / "standby.signal").touch()
    owner = data.stat()
    settings = {
        "hot_standby": "off",
        "listen_addresses": "",
        "unix_socket_directories": str(server.folder),
        "port": "5432",
    }
    process = subprocess.Popen(
        [str(server.binaries.postgres), "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=data,
        **({"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}),
    )
    try:
        wait_until(lambda: answers(server.folder / ".s.PGSQL.5432"))
        yield f"host={server.folder} port=5432 user=postgres"
    finally:
        process.terminate()
        process.wait()


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_no_postgresql_server_is_told(saved):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_like_a_web_server, args=[listener])
        thread.start()
        try:
            at = f"postgresql://somebody:secret@127.0.0.1:{listener.getsockname()[1]}"
            refusal = refused_both_ways(lambda name: f"{at}/{name}", saved)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert "address of a PostgreSQL server" in refusal.hint


def answer_like_a_web_server(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


# --- poolers ---


def test_through_a_pooler_that_gives_each_client_its_own_session(pg_server, pgbouncer):
    there_and_back(pg_server, pgbouncer(pg_server, "session").uri)


IN_TURNS = "server_round_robin = 1"


@pytest.mark.parametrize(
    ("mode", "line", "sessions"),
    [
        ("transaction", "", 1),
        ("transaction", "", 3),
        ("transaction", IN_TURNS, 2),
        ("transaction", IN_TURNS, 3),
        ("transaction", "default_pool_size = 1", 1),
        ("statement", "", 1),
        ("statement", IN_TURNS, 1),
    ],
)
def test_a_pooler_that_shares_sessions_is_refused_before_anything_is_set(
    pg_server, saved, pgbouncer, mode, line, sessions
):
    pooler = pgbouncer(pg_server, mode, line)
    if mode == "transaction":
        open_sessions(pooler.uri("postgres"), sessions)
    refusal = refused_both_ways(pooler.uri, saved)
    assert "pooler" in str(refusal)
    assert "pool_mode=session" in refusal.hint
    with psycopg.connect(pooler.uri("postgres"), autocommit=True) as client:
        for _ in range(5):
            assert client.execute(SET_BY_US).fetchall() == []


def open_sessions(uri: str, count: int) -> None:
    """Let the pooler have so many idle ones, which clients before us used all at once."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(psycopg.connect(uri)) for _ in range(count)]
        used = {client.execute("SELECT pg_backend_pid()").fetchone() for client in clients}
        for client in clients:
            client.commit()
    assert len(used) == count


SET_BY_US = "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> 'application_name'"


def test_a_busy_pooler_that_shares_sessions_is_refused(pg_server, saved, pgbouncer):
    """Apps come in between, so that which session comes next is anybody's guess."""
    pooler = pgbouncer(pg_server, "transaction")
    stop = threading.Event()
    apps = [threading.Thread(target=use, args=(pooler.uri("postgres"), stop)) for _ in range(3)]
    for app in apps:
        app.start()
    try:
        for _ in range(5):
            assert "pooler" in str(refused(lambda: back_up(saved, PostgresSource(pooler.uri("postgres")))))
    finally:
        stop.set()
        for app in apps:
            app.join()


def use(uri: str, stop: threading.Event) -> None:
    with psycopg.connect(uri, autocommit=True, prepare_threshold=None) as connection:
        while not stop.is_set():
            connection.execute("SELECT 1")


def test_a_pooler_with_too_few_sessions_is_told(pg_server, saved, pgbouncer):
    pooler = pgbouncer(pg_server, "session", "default_pool_size = 1", "query_wait_timeout = 2")
    assert "no connection is left" in refused_both_ways(pooler.uri, saved).hint


def test_a_balancer_that_leads_to_several_servers_is_refused(pg_server, pg_target, saved):
    with tempfile.TemporaryDirectory() as folder, balancer(Path(folder, ".s.PGSQL.5432"), pg_server, pg_target):
        refusal = refused_both_ways(lambda name: f"host={folder} port=5432 user=postgres dbname={name}", saved)
    assert "another server" in str(refusal)


@contextlib.contextmanager
def balancer(path: Path, *servers: ScratchPostgres) -> Iterator[None]:
    """Each connection to *path* ends at the next one of *servers*."""
    threads: list[threading.Thread] = []

    def lead() -> None:
        for server in itertools.cycle(servers):
            try:
                client, _ = listener.accept()
            except OSError:
                return
            there = socket.socket(socket.AF_UNIX)
            there.connect(str(server.folder / f".s.PGSQL.{server.port}"))
            for ends in ((client, there), (there, client)):
                threads.append(threading.Thread(target=pump, args=ends))
                threads[-1].start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threads.append(threading.Thread(target=lead))
        threads[0].start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def pump(out_of: socket.socket, into: socket.socket) -> None:
    """Until either end is closed; each end is closed by the one that reads from it."""
    with out_of, contextlib.suppress(OSError):
        while data := out_of.recv(65536):
            into.sendall(data)
    with contextlib.suppress(OSError):
        into.shutdown(socket.SHUT_RDWR)


# --- standbys ---


def test_a_standby_is_backed_up_and_what_it_lacks_is_named(pair, pg_target, store):
    with new_database(pair.primary) as source:
        source.psql(f"{ROWS}; CREATE TABLE counted (id integer GENERATED ALWAYS AS IDENTITY, value text)")
        source.psql("INSERT INTO counted (value) SELECT 'x' FROM generate_series(1, 40)")
        source.psql("CREATE UNLOGGED TABLE passing (id serial); INSERT INTO passing SELECT FROM generate_series(1, 9)")
        source.psql("SELECT lo_from_bytea(42, 'a large object')")
        pair.follow()
        done = back_up(store, PostgresSource(pair.standby.uri(source.name)))
        facts = done.backup.manifest.sources[0].facts
        (note,) = facts.notes
        assert note.endswith(": " + UNLOGGED[pair.primary.binaries.major >= 15])
        with free_name(pg_target) as target:
            back = restore_to(target.uri, store)
            assert note in back.restored.notes
            assert target.psql(COUNT) == COUNTED
            assert int(target.psql("INSERT INTO counted (value) VALUES ('new') RETURNING id")) > 40  # the log is ahead
            assert target.psql("INSERT INTO passing DEFAULT VALUES RETURNING id") == "1"
            assert target.psql("SELECT convert_from(lo_get(42), 'UTF8')") == "a large object"
        assert back_up(store, PostgresSource(source.uri)).backup.manifest.sources[0].facts.identity == facts.identity


UNLOGGED = ['"public"."passing"', '"public"."passing", "public"."passing_id_seq"']
"""Since 15 the sequence of such a table is like it."""


def test_of_many_unlogged_tables_a_note_names_some(pair, store):
    with new_database(pair.primary) as source:
        source.psql("".join(f"CREATE UNLOGGED TABLE u{number:02} (id integer);" for number in range(25)))
        pair.follow()
        done = back_up(store, PostgresSource(pair.standby.uri(source.name)))
        (note,) = done.backup.manifest.sources[0].facts.notes
        assert note.endswith('"public"."u19" and 5 more')


def test_a_restore_onto_a_standby_is_refused(pair, saved):
    refusal = refused(lambda: restore_to(pair.standby.uri("new"), saved))
    assert "standby" in str(refusal)
    assert "primary" in refusal.hint
    assert pair.primary.psql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dwebbackup%'") == "0"


class Meddled:
    """A source where something is done as soon as its snapshot is there."""

    def __init__(self, source: PostgresSource, action: Callable[[], object]) -> None:
        self.name = source.name
        self._source = source
        self._action = action

    @contextlib.contextmanager
    def dump(self) -> Iterator[Dump]:
        with self._source.dump() as snapshot:
            self._action()
            yield snapshot


def ended(pair: Pair, database: Database) -> bool:
    """Whether the standby has broken off all sessions there."""
    count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database.name}'"
    return pair.standby.psql(count) == "0"


@pytest.mark.parametrize("statement", ["TRUNCATE t", "DELETE FROM t WHERE n < 1000; VACUUM t"])
def test_a_conflict_with_the_primary_is_explained(pair, store, statement):
    """The standby ends whoever holds a lock, or still sees rows, in the way of what it follows."""

    def meddle() -> None:
        source.psql(statement)
        wait_until(lambda: ended(pair, source))

    with new_database(pair.primary) as source:
        source.psql(ROWS)
        pair.follow()
        at = PostgresSource(pair.standby.uri(source.name), jobs=1)
        refusal = refused(lambda: back_up(store, Meddled(at, meddle)))
    assert names(store, "manifests/") == set()
    assert "max_standby_streaming_delay" in refusal.hint


def test_a_lost_snapshot_of_a_standby_is_explained(pair):
    """Nobody reads any more; the session that holds the locks is asked last of all."""
    with new_database(pair.primary) as source:
        source.psql(ROWS)
        pair.follow()
        with PostgresSource(pair.standby.uri(source.name), jobs=1).dump() as snapshot:
            source.psql("DROP TABLE t")
            wait_until(lambda: ended(pair, source))
            refusal = refused(snapshot.finish)
    assert "max_standby_streaming_delay" in refusal.hint


def test_a_conflict_in_the_midst_of_a_table_is_explained(pair):
    """The reader is ended there, or else, if it was quick, the session that holds the locks is when all was read."""
    view = memoryview(bytearray(65536))

    def read_all() -> None:
        with source_at.dump() as snapshot:
            with snapshot.reader() as reader:
                rows = reader.open(next(spec for spec in snapshot.specs if spec.kind == "rows"))
                rows.readinto(view)
                source.psql("TRUNCATE t")
                while rows.readinto(view):
                    pass
            wait_until(lambda: ended(pair, source))
            snapshot.finish()

    with new_database(pair.primary) as source:
        source.psql("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 20000) n")
        pair.follow()
        source_at = PostgresSource(pair.standby.uri(source.name), jobs=1)
        refusal = refused(read_all)
    assert "max_standby_streaming_delay" in refusal.hint


@pytest.mark.parametrize(("server", "hint"), [("standby", refusals.STANDBY), ("primary", refusals.LOST)])
def test_a_session_that_is_lost_without_a_word_is_explained_on_a_standby_alone(pair, server, hint):
    """A program may find its connection closed before it reads why."""
    with (
        Server(getattr(pair, server).uri()).connect() as connection,
        pytest.raises(refusals.ServerRefused) as caught,
        standby.explained(connection),
    ):
        raise refusals.of_program("pg_dump failed: query failed: server closed the connection unexpectedly")
    assert caught.value.hint == hint


# --- a server that speaks German ---


@pytest.mark.parametrize("late", ["psql", "pg_dump"])
def test_a_lock_that_comes_in_between_is_known_in_german(german_server, pg_binaries, store, tmp_path, patch, late):
    """A child comes after an ALTER that waits for us, and gives up: then everything is begun once more."""
    for module in (dump, psql):
        patch.setattr(module, "JOIN_TIMEOUT", 1)
    gate = programs_with_a_gate(tmp_path, pg_binaries, late)
    with new_database(german_server) as source:
        source.psql(ROWS)
        running = Backup(store, PostgresSource(source.uri, jobs=1, bin_folder=str(tmp_path)))
        with open(gate, "w") as go:  # opens when that child has begun
            others = 1 if late == "psql" else 2
            wait_until(lambda: int(source.psql(f"SELECT count(*) {LOCKS} AND granted")) >= others)
            altering = threading.Thread(target=source.psql, args=["ALTER TABLE t ADD COLUMN more text"])
            altering.start()
            wait_until(lambda: source.psql(f"SELECT count(*) {LOCKS} AND NOT granted AND mode LIKE 'AccessEx%'") == "1")
            go.write("go\n")
        gate.unlink()
        running.join()
        altering.join()
        assert running.error is None
        (rows,) = (each for each in opened_streams(store) if each.kind == "rows")
        assert rows.columns == ("n", "value", "more")


LOCKS = "FROM pg_locks WHERE relation = 't'::regclass AND pid <> pg_backend_pid()"


def programs_with_a_gate(folder: Path, binaries: Binaries, late: str) -> Path:
    """Client programs, of which *late* waits at the gate, once it is opened for writing, for a word to go on."""
    gate = folder / "gate"
    os.mkfifo(gate)
    for program in (binaries.pg_dump, binaries.pg_restore, binaries.psql):
        wait = f"[ ! -p {gate} ] || read -r go < {gate}\n" if program.name == late else ""
        script = folder / program.name
        script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {program} "$@"\n{wait}exec {program} "$@"\n')
        script.chmod(0o755)
    return gate


def opened_streams(store: MemoryStore) -> tuple[StreamRecord, ...]:
    writer = opened(store)
    return writer.catalog.latest().manifest.sources[0].streams


def test_who_is_refused_in_german_is_not_told_that_nobody_answered(german_server, saved):
    german_server.psql("CREATE ROLE niemand LOGIN CONNECTION LIMIT 0")
    at = german_server.uri().replace("postgres@", "niemand@")
    refusal = refused_both_ways(lambda name: make_conninfo(at, dbname=name), saved)
    assert "zu viele Verbindungen" in str(refusal)
    assert "whether connections are left" in refusal.hint


# --- what programs say ---


@pytest.mark.parametrize(
    ("said", "state", "message"),
    [
        ("FEHLER:  55P03: storniere\nLOCATION:  ProcessInterrupts, postgres.c:3312", "55P03", "FEHLER: storniere"),
        ("WARNING:  01000: hm\nERROR:  42501: permission denied\n", "42501", "WARNING: hm\nERROR: permission denied"),
        (
            "psql: error: connection to server failed: FATAL:  nobody",
            "",
            "psql: error: connection to server failed: FATAL:  nobody",
        ),
        ("ERROR:  57014: stopped\nFATAL:  57P01: ended", "57014", "ERROR: stopped\nFATAL: ended"),
        ("ERROR:  22012: ERROR:  99999: lies", "22012", "ERROR: ERROR:  99999: lies"),
    ],
)
def test_the_state_is_read_from_what_psql_says(said, state, message):
    refusal = refusals.of_program(f"psql failed (exit status 3): {said}")
    assert refusal.sqlstate == state
    assert str(refusal).removeprefix("psql failed (exit status 3): ") == message + (f" ({state})" if state else "")
