"""`dwebbackup doctor`: what is wrong is named, all of it; what is well is left as it was."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
import pytest

from calling import call
from dwebbackup.access import PROBES, below
from dwebbackup.checking import ConfiguredStore, check_store
from dwebbackup.doctor import status_of
from dwebbackup.keys import OwnerKey
from dwebbackup.ports import Finding, Store
from dwebbackup.probe import LEFT_OVER, Times, probe
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource
from dwebbackup.stores.local import MARKER, LocalStore
from faulty import At, Call, Fault, Faulty, MemoryStore
from fix_ceph import Ceph
from fix_postgres import Database, new_database
from fix_standby import Pair
from stores.test_local import an_ordinary_user_owning

OWNER = OwnerKey(bytes(range(32)))
STRANGER = OwnerKey(bytes(range(32, 64)))

QUICK = ("reached", "catalog", "missing objects", "head", "list", "delete", "clock", "newest backup", "its parts")
"""What is well with a good store however slow it is: `put` and `get` are noticed then."""


@dataclass(frozen=True)
class Office:
    """What a user has: a database, a place for backups, the words."""

    database: Database
    store: str

    def call(self, *arguments: object, expect: int = 0, **changes: object):
        settings = {"SOURCE": self.database.uri, "STORE": self.store, "KEY": OWNER.words}
        return call(*arguments, expect=expect, **(settings | changes))

    def findings(self, *arguments: object, expect: int = 0, **changes: object) -> dict[str, dict]:
        """What `doctor` says, by what it says it of; of several on the same thing, the last."""
        document = self.call("doctor", "--json", *arguments, expect=expect, **changes).json
        assert document["ok"] == (expect in (0, 3))
        return {finding["name"]: finding for finding in document["findings"]}


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of AWS nor of a machine that looks rented."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AKASH_", "KUBERNETES_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def office(database: Database, tmp_path: Path) -> Office:
    database.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    return Office(database, f"file://{tmp_path}/store")


def levels(findings: dict[str, dict]) -> dict[str, str]:
    return {name: finding["level"] for name, finding in findings.items()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- all is well ---


def test_all_is_well_and_nothing_is_changed(office: Office, tmp_path: Path):
    made = office.call("backup", "--json").json
    before = files(tmp_path)
    found = office.findings()
    assert files(tmp_path) == before
    assert set(levels(found).values()) == {"ok", "notice"}
    source = f"source {office.database.name}"
    for name in QUICK:
        assert found[f"store local: {name}"]["level"] == "ok", found
    assert made["backup"] in found["store local: newest backup"]["sentence"]
    assert "PostgreSQL 1" in found[f"{source}: server"]["sentence"]
    assert "pg_dump, pg_restore, psql 1" in found[f"{source}: client programs"]["sentence"]
    assert "1 table will be locked" in found[f"{source}: locks"]["sentence"]
    assert found["copies"]["level"] == "notice"


def test_people_are_told_where_their_backups_are_and_no_secret(office: Office):
    office.call("backup")
    ended = office.call("doctor")
    assert office.store in ended.out
    assert "all backups lie in one store" in ended.out
    assert re.search(r"\n\n\d notices?\n\n", ended.out)  # a slow disk is another
    assert f"1  {OWNER.writer(1).id}" in ended.out
    assert OWNER.words.split()[3] not in ended.out.split()
    assert ended.err == ""
    assert office.call("doctor", "--quiet").out == ""


def test_the_recovery_sheet_has_every_writer_of_the_store(office: Office, tmp_path: Path):
    office.call("backup")
    office.call("backup", KEY=office.call("key", "writer", "--next").out.strip())
    office.call("doctor", "--sheet", tmp_path / "sheet")
    text = (tmp_path / "sheet").read_text()
    assert all(word in text for word in (*OWNER.words.split(), OWNER.writer(1).id, OWNER.writer(2).id, office.store))
    assert office.call("doctor", "--sheet", tmp_path / "sheet", expect=2).out == ""
    writer = OWNER.writer(1).line
    assert "--sheet" in office.call("doctor", "--sheet", tmp_path / "another", KEY=writer, expect=16).err


@pytest.mark.parametrize("key", [OWNER.writer(1).line, OWNER.reader(1).line], ids=["writer", "reader"])
def test_a_key_line_is_enough(office: Office, key: str):
    office.call("backup")
    found = office.findings(KEY=key)
    assert set(levels(found).values()) == {"ok", "notice"}
    reads_only = key.startswith("dwbr")
    assert ("store local: put" in found) != reads_only
    assert (f"source {office.database.name}: server" in found) != reads_only


# --- the configuration ---


def test_every_fault_is_told_at_once(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("jbos: 4\nsources: [{url: 'postgresql://nobody@127.0.0.1:1/none'}]\n")
    ended = call(
        *("doctor", "--json", "--config", tmp_path / "c.yaml"),
        STORE="ftp://x",
        KEY="one two",
        JOBS="many",
        RECIPIENTS="age1x",
        POSTGRES_BIN_FILE="/none",
        TARGET="oracle://x/y",
        expect=14,
    )
    findings = [finding for finding in ended.json["findings"] if finding["level"] == "failure"]
    told = "\n".join(finding["sentence"] for finding in findings)
    for fault in (
        "'jbos'",
        "DWEBBACKUP_JOBS",
        "ftp://",
        "24 words",
        "age recipient",
        "oracle://",
        "127.0.0.1:1",
        "read /none",
    ):
        assert fault in told, told
    assert len(findings) == 9  # of a file for what may not stand in one: that, and that it cannot be read
    assert sorted({finding["status"] for finding in findings}) == [2, 14]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"NOTIFY": "https://hooks.slack.com/services/T0/B0/x gopher://somebody"}, "of no known kind"),
        ({"RESTORE_KEY": OWNER.writer(1).line}, "which cannot read one row"),
    ],
)
def test_what_only_the_sidecar_would_meet_is_told(office: Office, wrong: dict[str, str], said: str):
    finding = office.findings(expect=2, **wrong)["configuration"]
    assert finding["level"] == "failure"
    assert said in finding["sentence"] + finding["hint"]


def test_what_nobody_configured_is_told():
    found = call("doctor", "--json", expect=2).json["findings"]
    told = " ".join(finding["sentence"] for finding in found)
    assert "no key is configured" in told
    assert "no store is configured" in told
    assert "nothing can be backed up from here" in told
    told = call("doctor", "--json", KEY=OWNER.writer(1).line, STORE="file:///none", expect=2).out
    assert "no source is configured" in told


def test_words_on_a_rented_machine_are_told(office: Office, monkeypatch: pytest.MonkeyPatch):
    office.call("backup")
    monkeypatch.setenv("AKASH_DEPLOYMENT_SEQUENCE", "1234")
    found = office.findings(expect=3)
    assert "rented machine (AKASH_DEPLOYMENT_SEQUENCE" in found["key"]["sentence"]
    assert (found["key"]["level"], found["copies"]["level"]) == ("warning", "warning")
    assert office.findings(KEY=OWNER.writer(1).line, expect=3)["key"]["level"] == "ok"


# --- the store ---


def test_an_absent_store_is_told_and_not_made(office: Office, tmp_path: Path):
    found = office.findings(expect=3)
    assert found["store local: begun"]["level"] == "warning"
    assert not (tmp_path / "store").exists()


def test_a_store_without_backups_is_no_fault(office: Office):
    office.call("init")
    found = office.findings()
    assert "its start is marked" in found["store local: backups"]["sentence"]
    office.call("list", expect=10)  # as before


def test_a_store_that_cannot_be_written_is_told(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    office.call("backup")
    (tmp_path / "store" / ".tmp").rmdir()
    (tmp_path / "store" / ".tmp").write_text("where puts are written first")  # as root, permissions stop nobody
    found = office.findings(expect=13)
    assert found["store local: put"]["level"] == "failure"
    assert found["store local: newest backup"]["level"] == "ok"
    assert "store local: delete" not in found


def test_the_writers_of_a_store_that_does_not_answer_are_not_called_none(office: Office, tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "w").symlink_to(tmp_path)
    ended = office.call("doctor", "--sheet", tmp_path / "sheet", expect=13)
    for text in (ended.out, (tmp_path / "sheet").read_text()):
        assert "(not known: the store could not be asked)" in text
        assert "(none yet)" not in text


@pytest.mark.parametrize(("option", "level", "status"), [("", "failure", 13), ("&required=no", "warning", 3)])
def test_a_second_store_that_fails_is_a_warning_where_it_is_not_required(
    office: Office, tmp_path: Path, option: str, level: str, status: int
):
    office.call("backup")
    spoiled = tmp_path / "second"
    spoiled.mkdir()
    (spoiled / MARKER).touch()
    (spoiled / "w").write_bytes(b"in the way")
    stores = f"{office.store} file://{spoiled}?name=second{option}"
    found = office.findings(STORE=stores, expect=status)
    told = {each["level"] for name, each in found.items() if name.startswith("store second: ")}
    assert told & {"failure", "warning"} == {level}, found
    assert found["store local: newest backup"]["level"] == "ok"
    assert "copies" not in found


def test_a_copy_that_lost_the_mark_of_the_store_is_a_store(office: Office, tmp_path: Path):
    office.call("backup")
    (tmp_path / "store" / MARKER).unlink()
    found = office.findings()
    assert "store local: begun" not in found
    assert found["store local: newest backup"]["level"] == "ok"


def test_a_wrong_key_is_told(office: Office):
    office.call("backup")
    assert "opens none of them" in office.findings(KEY=STRANGER.words, expect=10)["store local: catalog"]["sentence"]
    assert office.findings(KEY=STRANGER.reader(1).line, expect=10)["store local: catalog"]["level"] == "failure"
    fresh = office.findings(KEY=STRANGER.writer(1).line, expect=3)["store local: catalog"]
    assert (fresh["level"], "new writer" in fresh["hint"]) == ("warning", True)


def test_a_missing_pack_is_told(office: Office, tmp_path: Path):
    office.call("backup")
    next((tmp_path / "store").glob("w/*/packs/*/*.age")).unlink()
    assert "is missing" in office.findings(expect=12)["store local: its parts"]["sentence"]


def test_a_backup_that_is_overdue_is_told(shelf):
    shelf.add(next_by="2026-11-02T03:00:00Z")
    times = Times(now=lambda: 1793588400.0)  # 2026-11-02T03:00:00Z
    for late, level in ((0, "ok"), (1, "warning")):
        each = ConfiguredStore(shelf.root)
        found = check_store(each, OWNER, replace(times, now=lambda late=late: times.now() + late)).findings
        assert [each.level for each in found if each.name == "newest backup"] == [level]


def test_a_bucket_is_tried_out(office: Office, ceph: Ceph):
    bucket = ceph.bucket()
    settings = {
        "STORE": f"s3://{bucket}/below?endpoint={ceph.http}",
        "STORE_S3_ACCESS_KEY_ID": ceph.key.id,
        "STORE_S3_SECRET_ACCESS_KEY": ceph.key.secret,
    }
    office.call("backup", **settings)
    objects = [each["Key"] for each in ceph.client().list_objects_v2(Bucket=bucket)["Contents"]]
    found = office.findings(**settings)
    for name in QUICK:
        assert found[f"store s3: {name}"]["level"] == "ok", found
    assert "NoSuchKey, without a message" in found["store s3: dialect, errors"]["sentence"]
    assert found["store s3: dialect, conditional puts"]["sentence"] == "are honoured"
    assert "are not kept" in found["store s3: dialect, versions"]["sentence"]
    assert [each["Key"] for each in ceph.client().list_objects_v2(Bucket=bucket)["Contents"]] == objects
    wrong = office.findings(**(settings | {"STORE_S3_SECRET_ACCESS_KEY": "wrong"}), expect=13)
    assert "SignatureDoesNotMatch" in wrong["store s3: reached"]["sentence"]
    assert "store s3: put" not in wrong


def test_a_key_that_may_only_read_the_bucket_is_told(office: Office, ceph: Ceph):
    bucket = ceph.bucket()
    reader = ceph.user("only-reads-for-doctor")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/only-reads-for-doctor"]},
                "Action": ["s3:ListBucket", "s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }
    ceph.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    found = office.findings(
        STORE=f"s3://{bucket}?endpoint={ceph.http}",
        STORE_S3_ACCESS_KEY_ID=reader.id,
        STORE_S3_SECRET_ACCESS_KEY=reader.secret,
        expect=13,
    )
    assert found["store s3: missing objects"]["level"] == "ok"
    assert found["store s3: put"]["level"] == "failure"
    assert "AccessDenied" in found["store s3: put"]["sentence"]


# --- the probe ---


NOW = 1_700_000_000.0
"""What the clock of a store in memory says."""

PREFIX = "w/0123/"


def probed(store: Store, now: Callable[[], float] = lambda: NOW) -> dict[str, Finding]:
    seconds = itertools.count()
    return {found.name: found for found in probe(below(store, "0123"), Times(now, lambda: next(seconds) / 100))}


def test_a_probe_comes_and_goes():
    store = Faulty(MemoryStore())
    found = probed(store)
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["put"].sentence == "1.0 MiB in 0.0 s: 100 MiB a second"
    assert store.store.objects == {}
    assert {name.rpartition("/")[0] + "/" for verb, name in store.calls if verb != "list"} == {f"{PREFIX}{PROBES}"}


@pytest.mark.parametrize(
    ("at", "name", "level", "status", "told"),
    [
        ({("get", 1): Fault.refuse}, "missing objects", "failure", 13, "that is not there"),
        ({"put": Fault.refuse}, "put", "failure", 13, "refuses put"),
        ({"put": Fault.raise_after}, "put", "failure", 13, "does not answer"),
        ({("head", 1): Fault.refuse}, "head", "failure", 13, "refuses head"),
        ({("get", 2): Fault.flip_bit}, "get", "failure", 12, "other bytes"),
        ({("get", 2): Fault.truncate}, "get", "failure", 12, "other bytes"),
        ({("get", 2): Fault.miss}, "get", "failure", 12, "has no"),
        ({"list": Fault.break_listing}, "list", "failure", 13, "broke off"),
        ({"list": Fault.hide}, "list", "warning", 3, "does not have an object"),
        ({("head", 2): Fault.raise_before}, "delete", "failure", 13, "does not answer head"),
    ],
)
def test_whatever_a_store_does_not_do_is_told_and_nothing_stays(at: At, name: str, level: str, status: int, told: str):
    store = Faulty(MemoryStore(), at=at)
    found = probed(store)
    assert store.struck
    assert (found[name].level, told in found[name].sentence) == (level, True), found
    assert status_of(found.values()) == status
    assert [each.name for each in found.values() if each.level != "ok"] == [name]
    assert store.store.objects == {}


def test_a_probe_that_cannot_be_removed_is_named():
    store = Faulty(MemoryStore(), at={"delete": Fault.refuse})
    found = probed(store)
    (left,) = store.store.objects
    assert left.removeprefix(PREFIX) in found["delete"].sentence
    assert status_of(found.values()) == 13


def test_a_read_only_folder_is_told():
    with TemporaryDirectory() as parent, an_ordinary_user_owning(parent):
        store = LocalStore(Path(parent, "store"))
        store.put(f"{PREFIX}head.json", b"")
        folders = [path for path in Path(parent).rglob("*") if path.is_dir()]
        for folder in folders:
            folder.chmod(0o555)
        found = probed(LocalStore(Path(parent, "store")))
        for folder in folders:
            folder.chmod(0o755)
    assert list(found) == ["missing objects", "put"]
    assert (found["put"].level, found["put"].status, "is not writable" in found["put"].sentence) == (
        "failure",
        13,
        True,
    )


def test_whatever_ends_the_probe_it_is_removed():
    for verb in ("put", "head", "get", "list"):
        store = MemoryStore()

        def stop(call: Call, verb: str = verb) -> None:
            if call.verb == verb and call.nth == (2 if verb == "get" else 1):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            probed(Faulty(store, stop))
        assert store.objects == {}


def test_what_a_killed_doctor_left_is_removed_an_hour_later():
    store = MemoryStore()
    for age in (LEFT_OVER - 1, LEFT_OVER + 1):
        store.now = NOW - age
        store.put(f"{PREFIX}{PROBES}{age}", b"")
    store.now = NOW
    assert "1 probe" in probed(store)["left over"].sentence
    assert list(store.objects) == [f"{PREFIX}{PROBES}{LEFT_OVER - 1}"]


def test_a_probe_is_nobodys_backup(office: Office):
    office.call("init")
    store = LocalStore(office.store.removeprefix("file://"))
    below(store, OWNER.writer(1).id).put(f"{PROBES}0123456789abcdef", b"left")
    office.call("list", expect=10)
    office.call("backup")
    office.call("list")
    office.call("verify", "--data")
    assert "is empty" in office.call("list", KEY=STRANGER.words, STORE=_only_probes(store), expect=10).err


def _only_probes(store: LocalStore) -> str:
    """A store where nothing but somebody's probe is."""
    other = LocalStore(f"{store.url.removeprefix('file://')}-of-probes")
    below(other, OWNER.writer(1).id).put(f"{PROBES}0123456789abcdef", b"left")
    return other.url


def test_a_slow_store_is_told_what_that_means():
    minutes = itertools.count()
    found = {
        each.name: each for each in probe(below(MemoryStore(), "0123"), Times(lambda: NOW, lambda: 60 * next(minutes)))
    }
    assert (found["put"].level, found["put"].sentence) == ("notice", "1.0 MiB in 1 min 0 s: 17.1 KiB a second")
    assert "1 GiB would take 17 h 4 min" in found["put"].hint
    assert status_of(found.values()) == 0


@pytest.mark.parametrize(
    ("seconds", "level", "told"),
    [
        (0, "ok", "agree"),
        (60, "ok", "agree"),
        (61, "warning", "1 min 1 s ahead of"),
        (-61, "warning", "1 min 1 s behind"),
        (300, "warning", "5 min 0 s ahead of"),
        (301, "failure", "5 min 1 s ahead of"),
        (-301, "failure", "5 min 1 s behind"),
    ],
)
def test_a_clock_that_is_off_is_told(seconds: int, level: str, told: str):
    found = probed(MemoryStore(), lambda: NOW + seconds)["clock"]
    assert (found.level, told in found.sentence) == (level, True), found
    assert status_of([found]) == {"ok": 0, "warning": 3, "failure": 13}[level]


def test_the_status_is_that_of_the_gravest_failure():
    def failing(*statuses: int) -> int:
        return status_of([Finding("x", "failure", "", status=status) for status in statuses])

    assert failing(0) == 1  # nobody said what would come of it
    assert failing(0, 12) == 12
    assert status_of([]) == 0
    assert status_of([Finding("x", "notice", ""), Finding("x", "ok", "")]) == 0
    assert status_of([Finding("x", "warning", ""), Finding("x", "ok", "")]) == 3
    order = [12, 13, 14, 15, 16, 10, 2, 1]
    for at, status in enumerate(order):
        assert failing(*reversed(order[at:])) == status


# --- the source ---


def test_missing_client_programs_are_told(office: Office, tmp_path: Path):
    office.call("backup")
    found = office.findings(POSTGRES_BIN=tmp_path, expect=15)
    programs = found[f"source {office.database.name}: client programs"]
    assert (programs["level"], "no pg_dump" in programs["sentence"]) == ("failure", True)
    assert found[f"source {office.database.name}: server"]["level"] == "ok"


def test_missing_rights_are_told_with_what_mends_them(office: Office):
    office.call("backup")
    office.database.psql("CREATE ROLE blind LOGIN")
    try:
        found = office.findings(SOURCE=f"{office.database.uri}&user=blind", expect=14)
    finally:
        office.database.psql("DROP ROLE blind")
    rights = found[f"source {office.database.name}: rights"]
    assert "no SELECT on table" in rights["sentence"]
    assert "GRANT SELECT ON TABLE" in rights["hint"]


def test_a_standby_is_told_with_what_it_lacks(pair: Pair):
    with new_database(pair.primary) as database:
        database.psql("CREATE UNLOGGED TABLE fleeting ()")
        pair.follow()
        found = {each.name: each for each in PostgresSource(pair.standby.uri(database.name)).check()}
    assert "max_standby_streaming_delay 0" in found["standby"].sentence
    assert '"fleeting"' in found["not in a backup"].sentence
    assert status_of(found.values()) == 0


def test_a_role_that_may_not_have_enough_sessions_is_told(office: Office):
    office.call("backup")
    office.database.psql("CREATE ROLE few LOGIN CONNECTION LIMIT 3; GRANT SELECT ON ALL TABLES IN SCHEMA public TO few")
    try:
        found = office.findings(SOURCE=f"{office.database.uri}&user=few", JOBS=2, expect=3)
    finally:
        office.database.psql("DROP OWNED BY few; DROP ROLE few")
    told = found[f"source {office.database.name}: sessions"]["sentence"]
    assert told == "a backup opens 4 sessions, and this role may have 3"


def test_a_server_without_room_for_locks_is_told(fresh_server: ScratchPostgres):
    fresh_server.psql("ALTER SYSTEM SET max_locks_per_transaction = 10")
    fresh_server.stop()
    fresh_server.start()
    fresh_server.psql("DO $$BEGIN FOR n IN 1..400 LOOP EXECUTE 'CREATE TABLE t' || n || '()'; COMMIT; END LOOP; END$$")
    (locks,) = [found for found in PostgresSource(fresh_server.uri("postgres")).check() if found.name == "locks"]
    assert locks.level == "warning"
    assert "400 tables" in locks.sentence
    assert "set max_locks_per_transaction to 28 " in locks.hint
