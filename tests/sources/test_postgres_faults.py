"""PostgreSQL under fire: what others do meanwhile, processes and servers killed midway, targets in use."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dwebbackup import restore
from dwebbackup.errors import Damaged, DatabaseRefused, DwebbackupError, RestoreFailed, StoreUnreachable, TargetNotEmpty
from dwebbackup.ports import Restored, Store
from dwebbackup.scratch.postgres import Binaries, ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget, dump, psql
from dwebbackup.stores.local import LocalStore
from faulty import Call, Fault, Faulty, MemoryStore
from fix_postgres import Database, free_name, new_database
from sources.running import Backup
from sources.waiting import wait_for
from synthetic import back_up, errors, names, opened, small_pieces

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"
SEED = os.environ.get("DWEBBACKUP_TEST_SEED") or str(random.SystemRandom().randrange(10**6))

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["synthetic", "dwebbackup.sources.postgres", "dwebbackup.stores.local"])

HUNG = 90
"""Seconds after which a test is ended, so that a deadlock is a failure, and not the end of everything."""

BANK = """
CREATE TABLE first (id integer PRIMARY KEY, note text);
INSERT INTO first SELECT n, 'note ' || n FROM generate_series(1, 500) n;
CREATE TABLE large (id integer PRIMARY KEY, pad text);
INSERT INTO large SELECT n, md5(n::text) || md5((n + 1)::text) || md5((n * 3)::text) FROM generate_series(1, 25000) n;
CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL);
INSERT INTO account SELECT n, 1000 FROM generate_series(1, 100) n;
CREATE TABLE ledger (id serial PRIMARY KEY, debit integer, credit integer, amount integer);
CREATE TABLE total (entries integer);
INSERT INTO total VALUES (0);
CREATE TABLE refilled (id integer, value text);
INSERT INTO refilled SELECT n, md5(n::text) FROM generate_series(1, 300) n;
CREATE TABLE rewritten (id integer, value integer);
INSERT INTO rewritten SELECT n, n * 7 FROM generate_series(1, 300) n;
"""


@pytest.fixture(autouse=True)
def watchdog(pg_server: ScratchPostgres, pg_target: ScratchPostgres, tmp_path: Path) -> Iterator[None]:
    """Shows where a test hangs, and breaks off every session; if that does not help, ends the process."""

    def end() -> None:
        with open(tmp_path / "stacks", "w+") as stacks:
            faulthandler.dump_traceback(stacks)
            stacks.seek(0)
            print("this test hangs:", stacks.read(), file=sys.stderr)
        for server in (pg_server, pg_target):
            server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    timer = threading.Timer(HUNG, end)
    timer.start()
    faulthandler.dump_traceback_later(2 * HUNG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    timer.cancel()
    timer.join()
    assert not (tmp_path / "stacks").exists()


@pytest.fixture(autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


@pytest.fixture(autouse=True)
def _no_left_overs(pg_target: ScratchPostgres) -> Iterator[None]:
    """A test that fails spoils no other."""
    yield
    for name in left_overs(pg_target).splitlines():
        Database(pg_target, name).drop()


@pytest.fixture
def impatient(patch: pytest.MonkeyPatch) -> None:
    """Where others' locks are in the way, the next attempt comes after a second."""
    for module in (dump, psql):
        patch.setattr(module, "JOIN_TIMEOUT", 1)


@pytest.fixture
def bank(database: Database) -> Database:
    database.psql(BANK)
    return database


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


# --- what there is, and what comes back ---


DIGEST = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} t"


def state(database: Database) -> dict[str, str]:
    """Every table's rows, as a digest; what can be compared."""
    with psycopg.connect(database.uri) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        return {
            name: str(connection.execute(DIGEST.format(name)).fetchone())  # type: ignore[arg-type]
            for (name,) in tables
        }


def restore_to(uri: str, store: Store, **options: Any) -> Restored:
    writer = opened(store)
    target = PostgresTarget(uri)
    return restore.restore(writer, writer.catalog.latest(), target, restore.Options(**options)).restored


@contextlib.contextmanager
def brought_back(store: Store, server: ScratchPostgres) -> Iterator[Database]:
    """The newest backup in a database of its own."""
    with free_name(server) as database:
        restore_to(database.uri, store)
        yield database


def assert_good(store: MemoryStore, server: ScratchPostgres, wanted: dict[str, str]) -> None:
    with brought_back(store, server) as database:
        assert state(database) == wanted
    assert errors(store) == []


def at_the_first(verb: str, action: Callable[[], object], store: Store) -> Faulty:
    """*store*, with *action* before the first pack is put, or fetched: in the midst of the rows."""
    done: list[Call] = []

    def plan(call: Call) -> Fault | None:
        if call.verb == verb and "/packs/" in call.name and not done:
            done.append(call)
            action()
        return None

    return Faulty(store, plan)


class Session(threading.Thread):
    """Another session, which runs *statements* one after the other, as a transaction unless one says otherwise."""

    def __init__(self, uri: str, *statements: str) -> None:
        super().__init__()
        self.connection = psycopg.connect(uri, autocommit=True)
        self.pid = self.connection.info.backend_pid
        self.error: psycopg.Error | None = None
        self._uri = uri
        self._statements = statements
        self.start()

    def run(self) -> None:
        try:
            for statement in self._statements:
                self.connection.execute(statement)
        except psycopg.Error as error:
            self.error = error
        finally:
            self.connection.close()

    def waits(self) -> bool:
        """True once it waits for somebody's lock; False when it came to its end without."""
        query = f"""SELECT CASE WHEN EXISTS (SELECT FROM pg_locks WHERE pid = {self.pid} AND NOT granted) THEN 'waits'
            WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {self.pid}) THEN 'ended' END"""
        return wait_for(self._uri, query) == "waits"


def test_a_server_that_goes_when_the_snapshot_is_let_go_is_named(bank, store, monkeypatch):
    """The very last moment of a dump: nothing more is read after it."""
    unseen = dump.unseen

    def last(connection: psycopg.Connection) -> list[str]:
        found = list(unseen(connection))
        with psycopg.connect(bank.uri, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        return found

    monkeypatch.setattr(dump, "unseen", last)
    with pytest.raises(DatabaseRefused, match="letting the snapshot go"):
        back_up(store, PostgresSource(bank.uri))


# --- out: what others do meanwhile ---


@pytest.mark.parametrize("vanishing", ["DROP TABLE large", "DROP SCHEMA passing CASCADE"])
def test_what_others_do_between_the_listing_and_the_locks_is_seen_whole_or_not_at_all(
    bank, pg_target, store, vanishing
):
    """One session holds the lock that the backup waits for first, and changes everything else before it lets go."""
    bank.psql("CREATE SCHEMA passing; CREATE TABLE passing.by AS SELECT 1 AS one")
    other = psycopg.connect(bank.uri)
    other.execute("ALTER TABLE first ALTER COLUMN note TYPE varchar(100)")
    running = Backup(store, PostgresSource(bank.uri))
    wait_for(bank.uri, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'first'::regclass")
    other.execute("DROP TABLE total")
    other.execute("CREATE TABLE total AS SELECT 12345 AS entries")
    other.execute(vanishing)
    other.execute("TRUNCATE refilled")
    other.execute("INSERT INTO refilled SELECT n, 'new' FROM generate_series(1, 200) n")
    other.execute("ALTER TABLE rewritten ALTER COLUMN value TYPE bigint")
    other.execute("CREATE TABLE appeared AS SELECT generate_series(1, 50) AS id")
    other.execute("UPDATE account SET balance = balance + 1")
    other.commit()
    running.join()
    other.close()
    assert running.error is None
    assert "appeared" in state(bank)
    assert_good(store, pg_target, state(bank))


def test_a_table_that_appears_between_the_listing_and_the_locks_is_locked_as_well(bank, pg_target, store):
    """Or else somebody could truncate it under us, and it would be backed up as empty."""
    other = psycopg.connect(bank.uri)
    other.execute("LOCK TABLE first IN ACCESS EXCLUSIVE MODE")
    truncating: list[Session] = []

    def truncate() -> None:
        truncating.append(Session(bank.uri, "TRUNCATE appeared"))
        assert truncating[0].waits()

    running = Backup(at_the_first("put", truncate, store), PostgresSource(bank.uri, jobs=1))
    wait_for(bank.uri, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'first'::regclass")
    other.execute("CREATE TABLE appeared AS SELECT generate_series(1, 50) AS id")
    other.commit()
    other.close()
    running.join()
    assert running.error is None
    truncating[0].join()
    with brought_back(store, pg_target) as copy:
        assert copy.psql("SELECT count(*) FROM appeared") == "50"


def test_a_deadlock_with_a_migration_is_given_way_to(bank, pg_target, store):
    """It holds the table that we lock last, and now wants the one that we locked first."""
    other = psycopg.connect(bank.uri)
    other.execute("SET deadlock_timeout = '1h'")  # so that the server ends our statement, and not this session's
    other.execute("ALTER TABLE rewritten ADD COLUMN more text")
    running = Backup(store, PostgresSource(bank.uri))
    wait_for(bank.uri, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'rewritten'::regclass")
    other.execute("ALTER TABLE first ADD COLUMN more text")
    other.commit()
    other.close()
    running.join()
    assert running.error is None
    assert_good(store, pg_target, state(bank))


STRONG = (
    "TRUNCATE large",  # which is being read
    "TRUNCATE account",
    "ALTER TABLE rewritten ALTER COLUMN value TYPE bigint",
    "ALTER TABLE total ADD COLUMN more text DEFAULT 'x'",
    "ALTER TABLE first RENAME TO renamed",
    "DROP TABLE refilled",
    "VACUUM FULL ledger",
)
WEAK = (
    "CREATE TABLE appeared AS SELECT generate_series(1, 1000) AS id",
    "DELETE FROM refilled; DELETE FROM account WHERE id > 50; UPDATE rewritten SET value = 0",
    "INSERT INTO ledger (amount) SELECT generate_series(1, 5000)",
    "CREATE INDEX ON account (balance)",
    "VACUUM large",
)


@pytest.mark.parametrize(("statements", "wait"), [(STRONG, True), (WEAK, False)], ids=["strong locks", "weak locks"])
@pytest.mark.parametrize("jobs", [1, 2], ids=["one job", "two jobs"])
def test_what_others_do_during_the_rows_is_not_in_the_backup(bank, pg_target, store, statements, wait, jobs):
    """What needs a strong lock waits until the backup is over; the rest is done at once. Neither is seen."""
    before = state(bank)
    sessions: list[Session] = []

    def meddle() -> None:
        for statement in statements:
            session = Session(bank.uri, statement)
            assert session.waits() == wait, statement
            sessions.append(session)

    back_up(at_the_first("put", meddle, store), PostgresSource(bank.uri, jobs=jobs), jobs=jobs)
    for session in sessions:
        session.join()
        assert session.error is None
    assert state(bank) != before
    assert_good(store, pg_target, before)


TRANSFER = """WITH moved AS (UPDATE account SET balance = balance + CASE WHEN id = {debit} THEN -{amount} ELSE {amount} END
    WHERE id IN ({debit}, {credit})),
  noted AS (INSERT INTO ledger (debit, credit, amount) VALUES ({debit}, {credit}, {amount}))
  UPDATE total SET entries = entries + 1"""

REFILL = "TRUNCATE refilled; INSERT INTO refilled SELECT n, md5(n::text) FROM generate_series(1, 300) n"
REWRITE = "ALTER TABLE rewritten ALTER COLUMN value TYPE {kind}"
REMAKE = "DROP TABLE IF EXISTS passing; CREATE TABLE passing AS SELECT generate_series(1, 100) AS id"


def hammer(uri: str, stop: threading.Event, chance: random.Random, counts: list[int]) -> None:
    """What a busy app does, migrations included; these give up at once where they would have to wait."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '20ms'")
        while not stop.is_set():
            debit, credit = chance.sample(range(1, 101), 2)
            statement = chance.choice(
                [TRANSFER.format(debit=debit, credit=credit, amount=chance.randrange(100))] * 6
                + [REFILL, REWRITE.format(kind=chance.choice(["bigint", "integer", "numeric"])), REMAKE]
            )
            with contextlib.suppress(psycopg.Error):  # they are in each other's way, too
                connection.execute(statement)
                counts.append(1)


@contextlib.contextmanager
def hammered(uri: str, sessions: int = 2) -> Iterator[list[int]]:
    print(f"DWEBBACKUP_TEST_SEED={SEED}")
    stop, counts = threading.Event(), list[int]()
    threads = [
        threading.Thread(target=hammer, args=(uri, stop, random.Random(f"{SEED} {number}"), counts))
        for number in range(sessions)
    ]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_busy_database_comes_back_as_it_was_at_one_moment(bank, pg_target, store, impatient):
    """Money neither appears nor vanishes, tables of one transaction are in step, no table is found empty."""
    taken = attempts = 0
    with hammered(bank.uri) as counts:
        while taken < (10 if WIDE else 3):
            attempts += 1
            assert attempts < 100
            try:
                back_up(store, PostgresSource(bank.uri), jobs=1 + attempts % 2)
            except DatabaseRefused as refusal:  # it may give up; then there is no manifest
                print(refusal)
                continue
            taken += 1
            with brought_back(store, pg_target) as copy:
                assert copy.psql("SELECT sum(balance) FROM account") == "100000"
                entries = copy.psql("SELECT entries FROM total")
                assert copy.psql("SELECT count(*) FROM ledger") == entries
                moved = """SELECT count(*) FROM account a WHERE balance <> 1000
                    - (SELECT coalesce(sum(amount), 0) FROM ledger WHERE debit = a.id)
                    + (SELECT coalesce(sum(amount), 0) FROM ledger WHERE credit = a.id)"""
                assert copy.psql(moved) == "0"
                assert copy.psql("SELECT count(*) FROM refilled") == "300"
                assert copy.psql("SELECT count(*), sum(value) FROM rewritten") == "300|316050"
                assert copy.psql("SELECT count(*) FROM large") == "25000"
                if copy.psql("SELECT to_regclass('passing')"):
                    assert copy.psql("SELECT count(*) FROM passing") == "100"
    assert len(counts) > 100
    assert errors(store) == []


# --- out: programs and servers killed midway ---


class Programs:
    """A folder of client programs that note their process ids; `pg_dump` waits to be let go, if it is told to."""

    def __init__(self, folder: Path, binaries: Binaries) -> None:
        self.folder = str(folder)
        self.gate = folder / "gate"
        self._pids = folder / "pids"
        for program in (binaries.pg_dump, binaries.pg_restore, binaries.psql):
            script = folder / program.name
            script.write_text(
                f'#!/bin/sh\n[ "$1" = --version ] && exec {program} "$@"\necho {program.name} $$ >> {self._pids}\n'
                f"{f'[ ! -p {self.gate} ] || read -r go < {self.gate}' if program.name == 'pg_dump' else ''}\n"
                f'exec {program} "$@"\n'
            )
            script.chmod(0o755)

    def pids(self, program: str) -> list[int]:
        lines = self._pids.read_text().splitlines()
        return [int(pid) for name, pid in map(str.split, lines) if name == program]


@pytest.fixture
def programs(tmp_path: Path, pg_binaries: Binaries) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    return Programs(folder, pg_binaries)


def assert_no_manifest_and_the_next_is_good(store, database, server) -> None:
    assert names(store, "manifests/") == set()
    back_up(store, PostgresSource(database.uri))
    assert_good(store, server, state(database))


@pytest.mark.parametrize("jobs", [1, 2], ids=["one job", "two jobs"])
def test_a_killed_psql_is_noticed(bank, pg_target, store, programs, jobs):
    def kill() -> None:
        for pid in programs.pids("psql"):
            with contextlib.suppress(ProcessLookupError):  # one may have done all it had to
                os.kill(pid, signal.SIGKILL)

    source = PostgresSource(bank.uri, jobs=jobs, bin_folder=programs.folder)
    with pytest.raises(DatabaseRefused, match="killed by signal 9") as caught:
        back_up(at_the_first("put", kill, store), source, jobs=jobs)
    assert caught.value.exit_status == 14
    assert_no_manifest_and_the_next_is_good(store, bank, pg_target)


def test_a_killed_pg_dump_is_noticed(bank, pg_target, store, programs):
    """It waits for a lock behind an ALTER that waits for us."""
    with behind_an_alter(bank, programs, store) as running:
        os.kill(programs.pids("pg_dump")[0], signal.SIGKILL)
        running.join()
        assert "killed by signal 9" in str(running.error)
    assert isinstance(running.error, DatabaseRefused)
    assert_no_manifest_and_the_next_is_good(store, bank, pg_target)


def test_an_alter_between_our_locks_and_those_of_pg_dump_is_let_through(bank, pg_target, store, programs, impatient):
    """A deadlock that no server detects: pg_dump waits for the ALTER, that for us, and we for pg_dump."""
    with behind_an_alter(bank, programs, store) as running:
        running.join()
    assert running.error is None
    assert bank.psql("SELECT count(more) FROM account") == "0"
    assert_good(store, pg_target, state(bank))


@contextlib.contextmanager
def behind_an_alter(database: Database, programs: Programs, store: Store) -> Iterator[Backup]:
    """A backup whose pg_dump is held up by an ALTER, which came after our locks, and before those of pg_dump."""
    os.mkfifo(programs.gate)
    running = Backup(store, PostgresSource(database.uri, jobs=1, bin_folder=programs.folder))
    with open(programs.gate, "w") as gate:  # opens when pg_dump has begun
        locked = "FROM pg_locks WHERE granted AND relation = 'account'::regclass"
        wait_for(database.uri, f"SELECT count(*) = 2 {locked}")  # the coordinator's, and the reader's
        alter = Session(database.uri, "ALTER TABLE account ADD COLUMN more text")
        assert alter.waits()
        gate.write("go\n")
    others = f"NOT granted AND relation = 'account'::regclass AND pid <> {alter.pid}"
    wait_for(database.uri, f"SELECT 1 FROM pg_locks WHERE {others}")
    os.unlink(programs.gate)
    yield running
    running.join()
    alter.join()
    assert alter.error is None


OUR_SESSIONS = "FROM pg_stat_activity WHERE application_name = 'dwebbackup' AND datname = '{}' ORDER BY backend_start"


@pytest.mark.parametrize("number", [0, 1], ids=["the one that holds the locks", "a reader"])
def test_a_session_that_is_broken_off_is_noticed(bank, pg_server, pg_target, store, number):
    """The one that holds the locks does nothing while others read: only at the end is it missed."""

    def terminate() -> None:
        ours = f"SELECT pid {OUR_SESSIONS.format(bank.name)} OFFSET {number} LIMIT 1"
        assert pg_server.psql(f"SELECT pg_terminate_backend(pid) FROM ({ours}) AS one") == "t"

    with pytest.raises(DatabaseRefused) as caught:
        back_up(at_the_first("put", terminate, store), PostgresSource(bank.uri, jobs=1))
    assert caught.value.exit_status == 14
    assert_no_manifest_and_the_next_is_good(store, bank, pg_target)


@pytest.mark.parametrize("jobs", [1, 2], ids=["one job", "two jobs"])
def test_a_server_that_is_killed_in_the_midst_of_a_backup_is_noticed(fresh_server, pg_target, store, jobs):
    with new_database(fresh_server) as database:
        database.psql(BANK)
        with pytest.raises(DatabaseRefused) as caught:
            back_up(at_the_first("put", fresh_server.kill, store), PostgresSource(database.uri, jobs=jobs), jobs=jobs)
        assert caught.value.exit_status == 14
        fresh_server.start()
        assert_no_manifest_and_the_next_is_good(store, database, pg_target)


def test_a_store_that_fails_midway_leaves_no_session_behind(bank, pg_server, pg_target, store):
    with pytest.raises(StoreUnreachable):
        back_up(Faulty(store, at={("put", 4): Fault.raise_before}), PostgresSource(bank.uri), jobs=2)
    wait_for(pg_server.uri(), f"SELECT NOT EXISTS (SELECT 1 {OUR_SESSIONS.format(bank.name)})")
    assert_no_manifest_and_the_next_is_good(store, bank, pg_target)


# --- out and back: no server there ---


def _nobody(listener: socket.socket) -> None:
    listener.close()


def _talks_nonsense(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _hangs_up(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def _is_silent(listener: socket.socket) -> None:
    """Whoever connects is never even accepted."""


@pytest.fixture(params=[_nobody, _talks_nonsense, _hangs_up, _is_silent], ids=lambda each: each.__name__[1:])
def strange_server(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=request.param, args=[listener])
        thread.start()
        yield f"postgresql://somebody:secret@127.0.0.1:{port}/somewhere?connect_timeout=2"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_what_is_no_postgresql_server_is_refused(strange_server, bank, store):
    back_up(store, PostgresSource(bank.uri))
    for attempt in (
        lambda: back_up(store, PostgresSource(strange_server)),
        lambda: restore_to(strange_server, store),
    ):
        with pytest.raises(DatabaseRefused) as caught:
            attempt()
        assert caught.value.exit_status == 14
        assert "secret" not in str(caught.value) + caught.value.hint
    assert len(names(store, "manifests/")) == 1


# --- back: the target ---


def left_overs(server: ScratchPostgres) -> str:
    return server.psql("SELECT datname FROM pg_database WHERE datname LIKE 'dwebbackup\\_restoring\\_%'")


@pytest.fixture
def saved(bank: Database, store: MemoryStore) -> dict[str, str]:
    """What is in the one backup of the store."""
    back_up(store, PostgresSource(bank.uri))
    return state(bank)


def test_a_target_with_anything_in_it_is_refused_and_left_alone(saved, store, pg_target):
    with new_database(pg_target) as target:
        target.psql("CREATE TABLE mine AS SELECT 1 AS one")
        with pytest.raises(TargetNotEmpty) as caught:
            restore_to(target.uri, store)
        assert caught.value.exit_status == 11
        assert set(state(target)) == {"mine"}
        assert left_overs(pg_target) == ""


def test_a_replaced_database_is_kept_under_another_name(saved, store, pg_target):
    with new_database(pg_target) as target:
        target.psql("CREATE TABLE mine AS SELECT 1 AS one")
        notes = restore_to(target.uri, store, replace=True).notes
        assert state(target) == saved
        kept = pg_target.psql(f"SELECT datname FROM pg_database WHERE datname LIKE '{target.name}\\_before\\_%'")
        assert kept in "".join(notes)
        with free_kept(pg_target, kept) as old:
            assert old.psql("SELECT one FROM mine") == "1"


@contextlib.contextmanager
def free_kept(server: ScratchPostgres, name: str) -> Iterator[Database]:
    """A database that somebody else made; dropped afterwards."""
    kept = Database(server, name)
    assert kept.exists()
    try:
        yield kept
    finally:
        kept.drop()


def test_whoever_is_connected_to_a_replaced_database_is_disconnected(saved, store, pg_target):
    """Among them apps that connect again at once."""
    with new_database(pg_target) as target:
        target.psql("CREATE TABLE mine AS SELECT 1 AS one")
        idle = psycopg.connect(target.uri)
        stop = threading.Event()
        again = threading.Thread(target=_connect_again_and_again, args=(target.uri, stop))
        again.start()
        try:
            restore_to(target.uri, store, replace=True)
        finally:
            stop.set()
            again.join()
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
        idle.close()
        assert state(target) == saved
        kept = pg_target.psql(f"SELECT datname FROM pg_database WHERE datname LIKE '{target.name}\\_before\\_%'")
        with free_kept(pg_target, kept) as old:
            assert set(state(old)) == {"mine"}


def _connect_again_and_again(uri: str, stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(psycopg.Error), psycopg.connect(uri) as connection:
            connection.execute("SELECT count(*) FROM pg_class a, pg_class b")


@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
def test_a_restore_that_fails_leaves_the_target_as_it_was(saved, store, pg_target, empty):
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(new_database(pg_target) if empty else free_name(pg_target))
        for number, fault, expected in (
            (1, Fault.raise_before, StoreUnreachable),
            (4, Fault.truncate, Damaged),
            (9, Fault.miss, Damaged),
        ):
            with pytest.raises(expected):
                restore_to(target.uri, Faulty(store, _nth_pack(number, fault)))
            assert target.exists() == empty
            assert left_overs(pg_target) == ""
        restore_to(target.uri, store)
        assert state(target) == saved


def _nth_pack(number: int, fault: Fault) -> Callable[[Call], Fault | None]:
    seen: list[str] = []

    def plan(call: Call) -> Fault | None:
        if call.verb == "get" and "/packs/" in call.name:
            seen.append(call.name)
            return fault if len(seen) == number else None
        return None

    return plan


def loading(uri: str) -> Any:
    """Until rows are on their way into the temporary database; the process id of one of those sessions."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'dwebbackup\\_restoring\\_%' AND query LIKE 'COPY %'"
    return wait_for(uri, query)


def in_the_midst(action: Callable[[], object], server: ScratchPostgres, store: Store) -> Faulty:
    """*store*, with *action* once rows are being loaded: the pack that comes late holds the last of them."""
    done: list[Call] = []

    def plan(call: Call) -> Fault | None:
        if call.verb == "get" and "/packs/" in call.name:
            done.append(call)
            if len(done) == 12:
                loading(server.uri())
                action()
        return None

    return Faulty(store, plan)


def test_a_server_that_is_killed_in_the_midst_of_a_restore_takes_the_next_one(fresh_server, saved, store):
    with free_name(fresh_server) as target:
        with pytest.raises((DatabaseRefused, RestoreFailed)):
            restore_to(target.uri, in_the_midst(fresh_server.kill, fresh_server, store))
        fresh_server.start()
        assert not target.exists()
        assert left_overs(fresh_server)
        restore_to(target.uri, store)
        assert state(target) == saved
        assert left_overs(fresh_server) == ""


def test_a_loading_session_that_is_broken_off_leaves_nothing(saved, store, pg_target):
    def terminate() -> None:
        pg_target.psql(f"SELECT pg_terminate_backend({loading(pg_target.uri())})")

    with free_name(pg_target) as target:
        with pytest.raises(DatabaseRefused):
            restore_to(target.uri, in_the_midst(terminate, pg_target, store))
        assert not target.exists()
        assert left_overs(pg_target) == ""


def test_a_restore_that_lost_its_lock_ends_and_the_next_replaces_what_it_left(saved, store, pg_target):
    """The session that holds it does nothing while rows are loaded: only at the end is it missed."""

    def terminate() -> None:
        held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        assert pg_target.psql(f"SELECT pg_terminate_backend(pid) FROM ({held}) AS one") == "t"

    with free_name(pg_target) as target:
        with pytest.raises((DatabaseRefused, RestoreFailed)):
            restore_to(target.uri, in_the_midst(terminate, pg_target, store))
        assert not target.exists()
        restore_to(target.uri, store)
        assert state(target) == saved
        assert left_overs(pg_target) == ""


def test_of_two_restores_to_one_target_the_second_is_refused(saved, store, pg_target):
    refusals: list[DwebbackupError] = []

    def second() -> None:
        try:
            restore_to(target.uri, store)
        except DwebbackupError as error:
            refusals.append(error)

    with free_name(pg_target) as target:
        restore_to(target.uri, in_the_midst(second, pg_target, store))
        assert state(target) == saved
    (refusal,) = refusals
    assert isinstance(refusal, DatabaseRefused)
    assert "under way" in str(refusal)


def test_a_database_that_somebody_makes_meanwhile_is_not_overwritten(saved, store, pg_target):
    def make() -> None:
        pg_target.psql(f"CREATE DATABASE {target.name}")
        target.psql("CREATE TABLE mine AS SELECT 1 AS one")

    with free_name(pg_target) as target:
        with pytest.raises(RestoreFailed):
            restore_to(target.uri, in_the_midst(make, pg_target, store))
        assert set(state(target)) == {"mine"}
        kept = pg_target.psql(f"SELECT datname FROM pg_database WHERE datname LIKE '{target.name}\\_restored\\_%'")
        with free_kept(pg_target, kept) as restored:
            assert state(restored) == saved
        assert left_overs(pg_target) == ""


def _restore_and_tell(folder: Path, uri: str, calls: Connection) -> None:
    """The process: one restore, that tells of each pack it fetches."""

    def tell(call: Call) -> Fault | None:
        if "/packs/" in call.name:
            calls.send(call.name)
        return None

    restore_to(uri, Faulty(LocalStore(folder), tell))


@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
def test_the_next_restore_replaces_what_a_killed_one_left(saved, bank, pg_target, tmp_path, empty):
    folder = tmp_path / "backups"
    back_up(LocalStore(folder), PostgresSource(bank.uri))
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(new_database(pg_target) if empty else free_name(pg_target))
        calls, theirs = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=_restore_and_tell, args=(folder, target.uri, theirs))
        process.start()
        theirs.close()
        for _ in range(12):
            calls.recv()
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert left_overs(pg_target)
        gone = "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'dwebbackup')"
        wait_for(pg_target.uri(), f"SELECT {gone}")
        restore_to(target.uri, LocalStore(folder))
        assert state(target) == saved
        assert left_overs(pg_target) == ""


def test_a_role_that_may_not_create_roles_restores_without_owners_and_says_so(database, pg_server, pg_target, store):
    pg_server.psql("DROP ROLE IF EXISTS bank_owner; CREATE ROLE bank_owner")
    database.psql(BANK)
    database.psql("ALTER TABLE account OWNER TO bank_owner; GRANT SELECT ON ledger TO bank_owner")
    pg_target.psql("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN CREATEDB")
    back_up(store, PostgresSource(database.uri))
    with free_name(pg_target) as target:
        shortfalls = restore_to(target.uri.replace("postgres@", "plain@", 1), store).shortfalls
        assert any("without owners" in each and "bank_owner" in each for each in shortfalls)
        assert state(target) == state(database)
        assert target.psql("SELECT DISTINCT relowner::regrole FROM pg_class WHERE relname = 'account'") == "plain"
        assert target.psql("SELECT count(*) FROM pg_roles WHERE rolname = 'bank_owner'") == "0"
