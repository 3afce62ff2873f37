"""The sidecar as a process beside real databases and stores: it restores what is empty, touches nothing else, and stays."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from calling import call
from daemon.gate import Gate
from daemon.sidecar import OWNER, WRITER, Event, Sidecar, memory
from dwebbackup.scratch.postgres import ScratchPostgres
from fix_ceph import Ceph
from fix_postgres import Database, free_name, new_database
from s3_server import port_of
from web_server import WebServer

ROWS = "CREATE TABLE t AS SELECT n, md5(n::text) AS value FROM generate_series(1, 2000) n"
STATE = "SELECT count(*) || ' ' || md5(string_agg(value, '' ORDER BY n)) FROM t"


@pytest.fixture
def app(database: Database) -> Database:
    """The app's database, with rows in it."""
    database.psql(ROWS)
    return database


def words(folder: Path) -> dict[str, object]:
    """What the owner has at home."""
    return {"STORE": f"file://{folder}/store", "KEY": OWNER.words}


def listed(folder: Path) -> list[dict[str, Any]]:
    """Each backup, with the tally of its only source."""
    return [each | each["tallies"][0] for each in call("list", "--json", **words(folder)).json["backups"]]


def reader() -> str:
    return OWNER.reader(1).line


def backed_up(folder: Path, database: Database) -> None:
    """A backup as the sidecar of an earlier lease left it."""
    call("backup", STORE=f"file://{folder}/store", KEY=WRITER.line, SOURCE=f"{database.uri}&name=app")


def sidecar(folder: Path, database: Database, **settings: object) -> Sidecar:
    return Sidecar(folder, SOURCE=f"{database.uri}&name=app", **settings)


def waits(event: Event) -> bool:
    return event.get("decision") == "wait"


def restored(event: Event) -> bool:
    return event["event"].startswith("restored from backup 1-")


# --- beside a database that holds data ---


def test_it_backs_up_and_says_so_and_ends_well_when_asked(tmp_path: Path, app: Database):
    with sidecar(tmp_path, app) as running:
        running.wait_for("backed up")
        running.wait_until_healthy()
        app.psql("INSERT INTO t VALUES (0, 'one more')")
        already = len(running.events)
        running.signal(signal.SIGUSR1)
        running.wait_for("backed up", after=already)
        assert "dwebbackup_fresh" in running.get("/metrics").text
        assert "app" in running.get("/").text
        assert running.get("/", token=False).status_code == 401
        assert memory(running.process.pid) < 110 << 20
        assert running.stop() == 0
    first, second = listed(tmp_path)
    assert second["bytes_stored"] < first["bytes_stored"] / 2


def test_a_restart_of_the_sidecar_alone_changes_nothing(tmp_path: Path, app: Database):
    state = app.psql(STATE)
    for _ in range(2):
        with sidecar(tmp_path, app, RESTORE_KEY=reader()) as running:
            running.wait_for("left as it is")
            running.wait_for("take the restore key out again")
            running.wait_until_healthy()
            assert running.stop() == 0
    assert app.psql(STATE) == state
    assert len(listed(tmp_path)) == 1  # the next is due in an hour


def test_a_backup_made_by_hand_beside_it_is_seen(tmp_path: Path, app: Database):
    with sidecar(tmp_path, app) as running:
        running.wait_for("backed up")
        call("backup", **words(tmp_path), SOURCE=f"{app.uri}&name=app", expect=0)
        os.utime(tmp_path)
        running.stop()
    assert len(listed(tmp_path)) == 2


def test_it_makes_a_last_backup_when_it_is_told_to(tmp_path: Path, app: Database):
    with sidecar(tmp_path, app, BACKUP_ON_STOP="yes") as running:
        running.wait_for("backed up")
        app.psql("INSERT INTO t VALUES (0, 'the last word')")
        assert running.stop() == 0
        assert running.count("backed up") == 2
    assert listed(tmp_path)[-1]["rows"] == 2001


def test_a_backup_that_is_cut_off_is_continued_by_the_next_sidecar(tmp_path: Path, database: Database):
    database.psql(
        """CREATE TABLE t AS SELECT n, string_agg(md5((n * m)::text), '') AS value
        FROM generate_series(1, 8000) n, generate_series(1, 100) m GROUP BY n"""
    )
    with sidecar(tmp_path, database, RATE="500K", JOBS=1) as running:
        running.wait_for("left as it is")
        running.wait_until(lambda: any((tmp_path / "store").rglob("packs/*/*.age")))
        assert running.stop() == 0
        assert running.count("backed up") == 0
    assert any((tmp_path / "store").rglob("checkpoints/*"))
    with sidecar(tmp_path, database) as running:
        done = running.wait_for("backed up")
        running.stop()
    assert done["bytes_stored"] < 0.45 * done["bytes_read"]  # hexadecimal digits alone need half
    assert call("verify", "--data", **words(tmp_path)).status == 0


# --- on an empty database ---


@pytest.mark.parametrize("there", [False, True], ids=["absent", "empty"])
def test_it_restores_what_is_not_there_and_goes_on(
    tmp_path: Path, app: Database, pg_target: ScratchPostgres, there: bool
):
    backed_up(tmp_path, app)
    state = app.psql(STATE)
    with free_name(pg_target, "app") as fresh:
        if there:
            pg_target.psql("CREATE DATABASE app")
            fresh.psql("CREATE EXTENSION hstore")
        with sidecar(tmp_path, fresh, RESTORE_KEY=reader()) as running:
            running.wait_for(restored)
            assert fresh.psql(STATE) == state
            running.wait_for("backed up")
            running.wait_until_healthy()
            assert running.stop() == 0
    first, second = listed(tmp_path)
    assert (second["suspect"], second["identity"] == first["identity"]) == ([], False)
    assert "newest" in second["note"]


def test_without_a_key_it_waits_and_says_how_to_hand_it_in(tmp_path: Path, app: Database, pg_target: ScratchPostgres):
    backed_up(tmp_path, app)
    line = tmp_path / "reader"
    with free_name(pg_target, "app") as fresh:
        config = tmp_path / "c.yaml"
        config.write_text("restore_key_file: reader\n")
        line.write_text(WRITER.line)  # which opens no row
        line.chmod(0o600)
        arguments = {"SOURCE": f"{fresh.uri}&name=app"}
        with Sidecar(tmp_path, RESTORE_KEY_FILE=line, **arguments) as running:
            running.wait_for("is a writer key, which cannot read one row")
            assert running.get("/healthz", token=False).status_code == 503
            assert not fresh.exists()
            line.write_text(reader())
            running.signal(signal.SIGHUP)
            running.wait_for(restored)
        assert fresh.psql(STATE) == app.psql(STATE)


def test_one_where_nothing_ever_was_begins_only_with_the_owners_mark(tmp_path: Path, database: Database):
    with sidecar(tmp_path, database) as running:
        alarm = running.wait_for(waits)
        assert "nor the owner's mark" in alarm["event"]
        assert "dwebbackup init" in running.get("/").text
        assert running.get("/healthz").status_code == 503
        assert running.count("backed up") == 0
        call("init", **words(tmp_path))
        running.wait_for("a new project begins")
        running.wait_for("backed up")
        running.wait_until_healthy()


def test_a_mark_that_somebody_else_made_begins_nothing(tmp_path: Path, database: Database):
    call("init", **words(tmp_path))
    mark = next((tmp_path / "store").rglob("genesis.json"))
    line, _, _ = mark.read_bytes().partition(b"\n")
    mark.write_bytes(line + b"\n" + b"0" * 128 + b"\n")
    with sidecar(tmp_path, database) as running:
        running.wait_for("the signature of this genesis does not hold")
        assert running.count("backed up") == 0
        assert running.get("/healthz").status_code == 503


def test_tables_of_migrations_that_came_first_are_an_alarm(tmp_path: Path, app: Database, pg_target: ScratchPostgres):
    backed_up(tmp_path, app)
    with new_database(pg_target) as fresh:
        fresh.psql("CREATE TABLE t (n int, value text)")
        with sidecar(tmp_path, fresh, RESTORE_KEY=reader()) as running:
            assert "has 2,000 rows" in running.wait_for(waits)["event"]
            assert fresh.psql("SELECT count(*) FROM t") == "0"
            fresh.psql("DROP TABLE t")
            running.wait_for(restored)
        assert fresh.psql(STATE) == app.psql(STATE)
    assert len(listed(tmp_path)) <= 2


def test_it_waits_for_a_server_that_is_not_there_yet(tmp_path: Path, fresh_server: ScratchPostgres):
    port = int(fresh_server.tcp_uri().rpartition(":")[2].partition("/")[0])
    with Gate(port, shut=True) as gate:
        variables = {
            "POSTGRES_HOST": "127.0.0.1",
            "PGPORT": str(gate.port),
            "POSTGRES_PASSWORD": password(fresh_server),
        }
        variables |= {"POSTGRES_PORT": "tcp://10.0.0.1:5432", "POSTGRES_USER": "postgres", "POSTGRES_DB": "app"}
        fresh_server.psql("CREATE DATABASE app")
        Database(fresh_server, "app").psql(ROWS)
        with Sidecar(tmp_path, variables) as running:
            running.wait_for(lambda event: event.get("kind") == "database")
            assert running.get("/healthz").status_code == 503
            gate.open()
            running.wait_for("backed up")
            running.wait_until_healthy()
            gate.shut()
            already = len(running.events)
            running.signal(signal.SIGUSR1)
            running.wait_for(lambda event: event.get("kind") == "database", after=already)
            gate.open()
            running.signal(signal.SIGUSR1)
            running.wait_for("backed up", after=already)


def password(server: ScratchPostgres) -> str:
    return psycopg.conninfo.conninfo_to_dict(server.tcp_uri())["password"]


# --- a store that is away ---


def test_a_store_that_cannot_be_asked_is_never_an_empty_one(
    tmp_path: Path, ceph: Ceph, app: Database, pg_target: ScratchPostgres
):
    key = ceph.user("sidecar")
    bucket = ceph.bucket(key)
    address = ceph.address(bucket)
    with Gate(port_of(address.endpoint)) as gate, free_name(pg_target, "app") as fresh:
        settings = {
            "STORE": f"s3://{bucket}?endpoint=http://127.0.0.1:{gate.port}&region=default&path_style=yes",
            "STORE_S3_ACCESS_KEY_ID": key.id,
            "STORE_S3_SECRET_ACCESS_KEY": key.secret,
        }
        call("backup", KEY=WRITER.line, SOURCE=f"{app.uri}&name=app", **settings)
        gate.shut()
        with sidecar(tmp_path, fresh, RESTORE_KEY=reader(), **settings) as running:
            running.wait_for(lambda event: event.get("kind") == "store")
            assert running.get("/healthz").status_code == 503
            assert not fresh.exists()
            gate.open()
            running.wait_for(restored)
        assert fresh.psql(STATE) == app.psql(STATE)


# --- killed at its work ---


def test_a_restore_that_was_killed_is_begun_again(tmp_path: Path, app: Database, pg_target: ScratchPostgres):
    backed_up(tmp_path, app)
    with free_name(pg_target, "app") as fresh:
        with sidecar(tmp_path, fresh, RESTORE_KEY=reader()) as running:
            running.wait_for(lambda event: event.get("decision") == "restore")
            running.kill()
        with sidecar(tmp_path, fresh, RESTORE_KEY=reader()) as running:
            running.wait_until_healthy()
        assert fresh.psql(STATE) == app.psql(STATE)
    assert all(each["suspect"] == [] for each in listed(tmp_path))


# --- what must not pass for good ---


def test_a_database_that_was_wiped_is_told_of_and_replaces_nothing(tmp_path: Path, app: Database):
    with sidecar(tmp_path, app) as running:
        running.wait_for("backed up")
        app.psql("TRUNCATE t")
        already = len(running.events)
        running.signal(signal.SIGUSR1)
        assert "it has 0 rows" in running.wait_for("suspect: ", after=already)["event"]
        running.wait_until(lambda: "it has 0 rows" in running.get("/").text)
        assert running.stop() == 0
    good, suspect = listed(tmp_path)
    assert (good["suspect"], bool(suspect["suspect"])) == ([], True)
    assert "newest" in good["note"]


def test_two_sidecars_have_two_histories_and_nobody_chooses(tmp_path: Path, app: Database, pg_target: ScratchPostgres):
    """The old lease and the new one, both alive."""
    with sidecar(tmp_path, app) as old:
        old.wait_for("backed up")
        with free_name(pg_target, "app") as fresh, sidecar(tmp_path, fresh, RESTORE_KEY=reader()) as new:
            new.wait_for("backed up")
            already = len(old.events)
            old.signal(signal.SIGUSR1)
            old.wait_for("backed up", after=already)
            for running in (old, new):
                assert running.stop() == 0
    ids = {each["identity"] for each in listed(tmp_path)}
    assert len(ids) == 2
    refused = call("restore", "latest", "--to", f"{app.uri}", **words(tmp_path), expect=12)
    assert "two databases are backed up as app" in refused.err


# --- whatever is wrong, it stays ---

WRONG = {
    "no key": ({"KEY": ""}, "no key is configured"),
    "a reader key": ({"KEY": OWNER.reader(1).line}, "cannot add backups"),
    "a key with a typing error": ({"KEY": WRITER.line[:-1] + "q"}, "key"),
    "a schedule that is none": ({"SCHEDULE": "61 * * * *"}, "61"),
    "an unknown variable": ({"SHEDULE": "daily"}, "DWEBBACKUP_SHEDULE is not a variable"),
    "no store": ({"STORE": ""}, "no store is configured"),
    "a store of no kind": ({"STORE": "gopher://x"}, "gopher"),
    "a source that is none": ({"SOURCE": "app"}, "not a URL"),
}


@pytest.mark.parametrize(("settings", "said"), WRONG.values(), ids=WRONG)
def test_it_stays_and_says_what_is_wrong(tmp_path: Path, settings: dict[str, str], said: str):
    with Sidecar(tmp_path, **({"SOURCE": "postgresql://app@127.0.0.1:9/app"} | settings)) as running:
        running.wait_for(lambda event: event["level"] == "error" and said in event["event"])
        assert said.replace("'", "&#39;") in running.get("/").text or said in running.get("/").text
        assert running.get("/healthz", token=False).status_code == 503
        assert running.process.poll() is None
        assert running.stop() == 0


def test_a_configuration_that_is_mended_is_taken_without_a_restart(tmp_path: Path, app: Database):
    line = tmp_path / "key"
    line.write_text("dwbw1nonsense")
    line.chmod(0o600)
    with sidecar(tmp_path, app, KEY="", KEY_FILE=line) as running:
        running.wait_for(lambda event: event["level"] == "error")
        line.write_text(WRITER.line)
        running.wait_for("backed up")
        running.wait_until_healthy()


def test_words_in_a_sidecar_work_and_are_warned_of_at_every_start(tmp_path: Path, app: Database):
    with sidecar(tmp_path, app, KEY=OWNER.words) as running:
        running.wait_for("the 24 words are on this machine")
        running.wait_for("backed up")


@pytest.mark.parametrize("nowhere", ["/dev/full", "a reader who left"])
def test_a_log_that_nobody_can_read_does_not_end_it(tmp_path: Path, app: Database, nowhere: str):
    running = sidecar(tmp_path, app)
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "wb") as full:
        output = full.fileno() if nowhere == "/dev/full" else writing
        with running.started(output) as process:
            running.wait_until(lambda: any((tmp_path / "store").rglob("head.json")))
            assert process.poll() is None
    os.close(writing)
    assert len(listed(tmp_path)) == 1


# --- several databases, and whoever is to be told ---


def test_each_of_several_databases_has_its_own_schedule_and_its_own_trouble(tmp_path: Path, app: Database):
    with new_database(app.server) as other, WebServer() as web:
        other.psql(ROWS)
        config = tmp_path / "c.yaml"
        config.write_text(
            f"""sources:
- {{name: app, url: "{app.uri}", schedule: "every 1 second"}}
- {{name: other, url: "{other.uri}", schedule: daily at 03:00}}
- {{name: gone, url: "postgresql://nobody@127.0.0.1:9/none"}}
notify: "json+http://{web.place}/hook"
"""
        )
        with Sidecar(tmp_path, arguments=("--config", str(config))) as running:
            for name in ("app", "other"):
                running.wait_for(backup_of(name))
            running.wait_for(lambda event: event.get("source") == "gone" and event["level"] == "error")
            running.wait_until(lambda: sum(map(backup_of("app"), running.events)) >= 3)
            assert running.get("/healthz").status_code == 503  # one of them has no backup
            told = running.get("/").text
            assert "every 1 second" in told
            assert "daily at 03:00" in told
            assert b'"alarm"' in web.next().body
            assert running.stop() == 0
    counts = Counter(each["source"] for each in listed(tmp_path))
    assert counts["other"] == 1
    assert counts["app"] >= 3


def backup_of(name: str) -> Callable[[Event], bool]:
    return lambda event: event["event"] == "backed up" and event.get("source") == name
