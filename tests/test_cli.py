"""The commands as users type them: a real database out, and back, and every exit status on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from calling import PROGRAM, call, environment
from dwebbackup import drafting
from dwebbackup.cli.restore import GOES_ON
from dwebbackup.keys import OwnerKey, parse_key
from fix_postgres import Database, new_database

OWNER = OwnerKey(bytes(range(32)))
STRANGER = OwnerKey(bytes(range(32, 64)))

TABLES = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO customer SELECT n, 'customer ' || n FROM generate_series(1, 3000) AS n;
CREATE TABLE "Order" (id int PRIMARY KEY, customer int REFERENCES customer, total numeric);
INSERT INTO "Order" SELECT n, 1 + n % 3000, n / 7.0 FROM generate_series(1, 5000) AS n;
"""
SUM = """SELECT count(*), sum(hashtext(customer::text)) FROM customer
    UNION ALL SELECT count(*), sum(hashtext("Order"::text)) FROM "Order" """


@dataclass(frozen=True)
class Shop:
    """A database with something in it, and an empty folder for its backups."""

    database: Database
    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """What the owner configures."""
        return {"SOURCE": self.database.uri, "STORE": f"file://{self.folder}", "KEY": OWNER.words}

    def call(self, *arguments: object, expect: int = 0, **changes: object):
        return call(*arguments, expect=expect, **(self.settings | changes))

    def back_up(self, **changes: object) -> dict:
        return self.call("backup", "--json", **changes).json

    def files(self, kind: str) -> list[Path]:
        return sorted(self.folder.glob(f"w/*/{kind}/**/*.age"))


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    database.psql(TABLES)
    return Shop(database, tmp_path / "store")


# --- there and back ---


def test_a_database_comes_back_from_the_words_and_the_folder(shop: Shop, target_database: Database):
    made = shop.back_up()
    before = shop.database.psql(SUM)
    shop.database.drop()
    ended = shop.call("restore", "latest", "--to", target_database.uri, "--json", SOURCE="")
    assert target_database.psql(SUM) == before
    restored = ended.json
    assert restored["backup"] == made["backup"]
    assert (restored["tables"], restored["rows"]) == (2, 8000)
    assert restored["seconds"] > 0
    assert target_database.name in restored["target"]


def test_a_backup_says_what_it_did(shop: Shop):
    made = shop.back_up()
    manifest = shop.files("manifests")[0]
    assert made["sequence"] == 1
    assert made["backup"] == f"1-{made['manifest']['sha256'][:8]}"
    assert made["manifest"]["sha256"] in manifest.name
    assert made["manifest"]["links"] == [f"file://{manifest}"]
    assert made["bytes_read"] > 100_000
    assert 0 < made["bytes_stored"] < made["bytes_read"]
    assert made["packs_new"] == len(shop.files("packs"))
    assert made["seconds"] > 0
    again = shop.back_up()
    assert again["bytes_read"] == made["bytes_read"]
    assert again["bytes_stored"] < made["bytes_stored"] / 3  # the schema's archive tells when it was made
    assert shop.call("backup").out.startswith("backup 3-")


def test_the_first_backup_says_that_it_began_a_store(shop: Shop):
    """It may be the empty folder on which a disk should be mounted."""
    (note,) = [note for note in shop.back_up()["notes"] if "new store" in note]
    assert note == f"a new store was begun in file://{shop.folder}: is its disk mounted?"
    assert not [note for note in shop.back_up()["notes"] if "new store" in note]


def test_a_writer_key_backs_up_and_cannot_read_a_row(shop: Shop, target_database: Database):
    line = shop.call("key", "writer").out.strip()
    shop.back_up(KEY=line)
    shop.call("list", KEY=line)
    shop.call("verify", KEY=line)
    assert shop.call("verify", "--data", "--json", KEY=line, expect=16).json["status"] == 16
    to = ("--to", target_database.uri)
    assert "cannot read one row" in shop.call("restore", "latest", *to, KEY=line, expect=16).err
    assert not target_database.exists()
    shop.call("restore", "latest", *to)


def test_a_reader_key_restores_and_cannot_back_up(shop: Shop, target_database: Database):
    shop.back_up()
    line = shop.call("key", "reader").out.strip()
    assert "cannot add backups" in shop.call("backup", KEY=line, expect=16).err
    shop.call("restore", "latest", "--to", target_database.uri, KEY=line)
    assert target_database.psql(SUM) == shop.database.psql(SUM)


def test_a_whole_configuration_in_one_file(shop: Shop, tmp_path: Path):
    (tmp_path / "words").write_text(OWNER.words)
    (tmp_path / "words").chmod(0o600)
    (tmp_path / "c.yaml").write_text(
        f"sources: [{{name: shop, url: '{shop.database.uri}'}}, {{name: other, url: 'postgresql://nowhere.invalid/x'}}]\n"
        f"stores: [{{url: 'file://{shop.folder}', name: disk}}]\nkey_file: words\njobs: 3\n"
    )
    ended = call("backup", "--config", tmp_path / "c.yaml", "--source", "shop", "--json")
    assert ended.json["sequence"] == 1
    manifest = call("show", "latest", "--config", tmp_path / "c.yaml", "--json").json
    assert manifest["sources"][0]["facts"]["name"] == "shop"
    assert manifest["stores"][0]["name"] == "disk"


# --- which backup ---


def test_list_and_show_tell_what_there_is(shop: Shop):
    made = [shop.back_up() for _ in range(2)]
    listed = shop.call("list", "--json").json["backups"]
    assert [each["backup"] for each in listed] == [each["backup"] for each in made]
    assert [each["bytes_read"] for each in listed] == [each["bytes_read"] for each in made]
    assert listed[0]["sources"] == [shop.database.name]
    text = shop.call("list").out
    assert made[0]["backup"] in text
    assert text.splitlines()[2].endswith("newest")

    manifest = shop.call("show", "latest", "--json").json
    assert (manifest["kind"], manifest["sequence"], manifest["writer"]) == ("manifest", 2, OWNER.writer(1).id)
    shown = shop.call("show", made[0]["backup"]).out
    assert f"backup     {made[0]['backup']}" in shown
    assert "public.customer" in shown
    assert "3,000" in shown


def test_a_backup_is_found_by_every_name_it_has(shop: Shop, target_database: Database):
    first, second = shop.back_up(), shop.back_up()
    digest = first["manifest"]["sha256"]
    copy = shop.folder.parent / "a-copy-of-the-manifest"
    copy.write_bytes(shop.files("manifests")[0].read_bytes())
    for name in (first["backup"], "1", digest, digest[:8], copy):
        assert shop.call("show", name, "--json").json["sequence"] == 1
    for name in ("latest", second["backup"], "2999-01-01", "2999-01-01T03:00"):
        assert shop.call("show", name, "--json").json["sequence"] == 2
    for name in ("7", "1-00000000", "2001-01-01", digest[:7]):
        shop.call("show", name, expect=10)
    shop.call("show", "2026-13-01", expect=2)


def test_a_backup_of_long_ago_is_found_by_its_time(shop: Shop):
    first = shop.back_up()
    taken = shop.call("show", "latest", "--json").json["sources"][0]["facts"]["snapshot"]
    assert shop.call("show", taken, "--json").json["sequence"] == 1
    to = ("--to", shop.database.server.uri("unused"), "--dry-run", "--json")
    assert shop.call("restore", "latest", "--as-of", taken, *to).json["backup"] == first["backup"]
    shop.call("restore", "latest", "--as-of", "2001-01-01", *to, expect=10)
    shop.call("restore", "1", "--as-of", taken, *to, expect=2)


def test_the_newest_backup_of_one_of_several_sources(shop: Shop, target_database: Database, tmp_path: Path):
    with new_database(shop.database.server) as other:
        config = tmp_path / "c.yaml"
        urls = {"one": shop.database.uri, "two": other.uri}
        config.write_text(json.dumps({"sources": [{"name": name, "url": url} for name, url in urls.items()]}))
        first, second = (
            shop.call("backup", "--config", config, "--source", name, "--json", SOURCE="").json for name in urls
        )
        third = shop.back_up(SOURCE=other.uri, KEY=shop.call("key", "writer", "--next").out.strip())
    to = ("--to", target_database.uri, "--json", "--dry-run")
    for source, expected in {"one": first, "two": second, other.name: third}.items():
        assert shop.call("restore", "latest", "--source", source, *to).json["backup"] == expected["backup"]
        by_time = ("--as-of", "2999-01-01", "--source", source)
        assert shop.call("restore", "latest", *by_time, *to).json["backup"] == expected["backup"]
    assert shop.call("restore", "latest", *to).json["backup"] == third["backup"]
    assert (
        f"there are backups of {other.name}" in shop.call("restore", "latest", "--source", "three", *to, expect=10).err
    )
    restored = shop.call("restore", "latest", "--source", "one", "--to", target_database.uri, "--json").json
    assert restored["rows"] == 8000


def test_a_rollback_shows_to_whoever_remembers_the_sequence(shop: Shop):
    shop.back_up()
    to = ("--to", shop.database.server.uri("unused"), "--dry-run", "--json")
    shop.call("restore", "latest", "--at-least", 1, *to)
    ended = shop.call("restore", "latest", "--at-least", 2, *to, expect=12)
    assert "older than the backup 2 that you know of" in ended.json["error"]


def test_the_next_writer_carries_the_owners_word_on_the_last(shop: Shop):
    first = shop.back_up()
    line = shop.call("key", "writer", "--next").out.strip()
    key = parse_key(line)
    assert (key.number, key.id) == (2, OWNER.writer(2).id)
    assert (key.retired.number, key.retired.sequence) == (1, 1)
    assert key.retired.manifest_sha256.hex() == first["manifest"]["sha256"]
    assert key.retired.is_signed_by(OWNER.verify_key, OWNER.writer(1).verify_key)

    second = shop.back_up(KEY=line)
    assert second["number"] == 2
    assert [each["number"] for each in shop.call("list", "--json").json["backups"]] == [1, 2]
    assert shop.call("show", "latest", "--json").json["number"] == 2
    assert "fits several" in shop.call("show", "1", expect=10).err
    assert shop.call("show", first["backup"], "--json").json["number"] == 1
    assert shop.back_up()["number"] == 2  # the words, too, go on with the newest writer
    assert shop.call("key", "reader", "--json").json["number"] == 2


# --- restore with care ---


def test_a_full_target_is_left_alone_unless_it_may_be_replaced(shop: Shop):
    shop.back_up()
    shop.database.psql('DELETE FROM "Order"; CREATE TABLE keep_me ()')
    ended = shop.call("restore", "latest", "--to", shop.database.uri, "--json", expect=11)
    assert ended.json["status"] == 11
    assert shop.database.psql('SELECT count(*) FROM "Order"') == "0"
    replaced = shop.call("restore", "latest", "--to", shop.database.uri, "--replace", "--json")
    assert shop.database.psql('SELECT count(*) FROM "Order"') == "5000"
    kept = next(note for note in replaced.json["notes"] if "is kept as" in note).split("kept as ")[1].split(";")[0]
    assert shop.database.server.psql("SELECT count(*) FROM keep_me", kept) == "0"
    Database(shop.database.server, kept).drop()


def test_a_dry_run_touches_nothing(shop: Shop, target_database: Database):
    shop.back_up()
    ended = shop.call("restore", "latest", "--dry-run", TARGET=target_database.uri)
    assert "8000 rows" in ended.out.replace(",", "")
    assert not target_database.exists()


def test_a_dry_run_of_a_replacement_names_who_is_connected_and_how_much_room_it_takes(shop: Shop):
    shop.back_up()
    with psycopg.connect(shop.database.uri, application_name="the shop"):
        ended = shop.call("restore", "latest", "--dry-run", "--replace", "--json", TARGET=shop.database.uri)
    steps = ended.json["plan"]
    assert f"disconnect whoever is connected to {shop.database.name}: postgres (the shop)" in steps
    assert any("has to hold both" in step for step in steps)
    assert shop.database.psql("SELECT count(*) FROM customer") == "3000"


def test_a_restore_that_leaves_something_out_is_not_called_complete(shop: Shop, target_database: Database):
    role = f"{shop.database.name}_app"
    shop.database.psql(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON customer TO {role}")
    try:
        shop.back_up()
        ended = shop.call("restore", "latest", "--to", target_database.uri, "--json", expect=3)
    finally:
        for database in (shop.database, target_database):
            database.drop()
            database.server.psql(f"DROP ROLE IF EXISTS {role}")
    expected = f"role {role} was made without a password: the backup could not see it"
    assert ended.json["rows"] == 8000
    assert ended.json["shortfalls"] == [expected]
    assert f"warning: {expected}" in ended.err
    assert ended.json["notes"] == [GOES_ON]


# --- when something is wrong ---


def test_a_newest_backup_that_was_spoiled_is_named_by_whatever_takes_the_one_before(
    shop: Shop, target_database: Database
):
    """Its head was lost, so that nothing vouches for it."""
    first = shop.back_up()
    head = next(shop.folder.glob("w/*/head.json"))
    line = head.read_bytes()
    second = shop.back_up()
    head.write_bytes(line)
    shop.files("manifests")[1].write_bytes(b"cut")
    said = f"manifest {second['backup']} was passed over"
    to = ("--to", target_database.uri)
    by_time = ("--as-of", "2999-01-01")
    for command in (["show", "latest"], ["restore", "latest", "--dry-run", *to], ["restore", "latest", *by_time, *to]):
        assert f"warning: {said}" in shop.call(*command, expect=3).err
    assert f"warning: catalog: {said}" in shop.call("verify", "latest", expect=3).out
    assert said in shop.call("key", "writer", "--next", expect=3).err
    restored = shop.call("restore", "latest", "--replace", *to, "--json", expect=3).json
    assert restored["backup"] == first["backup"]
    assert said in restored["doubts"][0]
    shop.call("show", first["backup"])
    kept = restored["notes"][0].split("kept as ")[1].split(";")[0]
    Database(target_database.server, kept).drop()


def test_a_list_tells_of_streams_that_a_manifest_spilled_without_fetching_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(drafting, "SPILL", 0)
        made = [shop.back_up()]
    made.append(shop.back_up())
    for index in shop.files("indexes"):
        index.unlink()
    listed = shop.call("list", "--json").json["backups"]
    assert [each["bytes_read"] for each in listed] == [each["bytes_read"] for each in made]
    assert [each["rows"] for each in listed] == [8000, 8000]
    assert shop.call("list").out.splitlines()[1].split()[2] == shop.database.name


def test_an_empty_store_has_no_backups_and_says_so(shop: Shop):
    shop.folder.mkdir()
    (shop.folder / "w").mkdir()
    for command in ("list", "verify"):
        assert shop.call(command, "--json", expect=10).json["status"] == 10


def test_other_words_open_nothing(shop: Shop):
    shop.back_up()
    assert "opens none of them" in shop.call("list", KEY=STRANGER.words, expect=10).err


def test_a_store_that_is_not_there_is_no_empty_store(shop: Shop):
    for command in (["list"], ["verify"], ["show", "latest"]):
        assert shop.call(*command, "--json", expect=13).json["status"] == 13
    assert not shop.folder.exists()


def test_a_changed_pack_is_found(shop: Shop, target_database: Database):
    shop.back_up()
    assert shop.call("verify", "--data", "--json").json["ok"] is True
    pack = max(shop.files("packs"), key=lambda path: path.stat().st_size)  # of rows, which stay the same
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.write_bytes(data)
    assert shop.call("verify", "--json").json["ok"] is True  # it is there, with its size
    ended = shop.call("verify", "--data", "latest", "--json", expect=12)
    assert ended.json["ok"] is False
    (finding,) = ended.json["findings"]
    assert finding["severity"] == "error"
    advice = f"delete packs/{pack.parent.name}/{pack.name}"
    assert advice in finding["message"]
    assert advice in shop.call("restore", "latest", "--to", target_database.uri, expect=12).err
    assert not target_database.exists()
    shop.back_up()
    shop.call("verify", "--data", "latest", expect=12)  # what is there with its size is taken for good
    pack.unlink()
    shop.back_up()
    shop.call("verify", "--data", "latest")


def test_a_missing_pack_is_found_without_reading(shop: Shop):
    shop.back_up()
    shop.files("packs")[0].unlink()
    ended = shop.call("verify", expect=12)
    assert "is missing" in ended.out
    assert "NOT WHOLE" in ended.out


def test_what_a_stranger_put_there_is_named_and_passed_over(shop: Shop):
    shop.back_up()
    manifest = shop.files("manifests")[0]
    junk = manifest.with_name(f"{2:010d}-{'0' * 64}.age")
    junk.write_bytes(b"junk")
    listed = shop.call("list", "--json", expect=3).json
    assert [each["note"][:10] for each in listed["backups"]] == ["newest", "unreadable"]
    again = shop.call("backup", "--json", expect=3)
    assert again.json["sequence"] == 2
    assert "passed over" in again.json["doubts"][0]
    assert "warning: manifest 2-00000000" in again.err


def test_a_head_whose_manifests_are_gone_is_an_alarm(shop: Shop):
    shop.back_up()
    shop.files("manifests")[0].unlink()
    assert "lists none" in shop.call("list", expect=12).err
    assert "lists none" in shop.call("backup", expect=3).err


def test_the_start_of_a_writer_can_be_marked_once(shop: Shop):
    assert "only the 24 words" in shop.call("init", KEY=OWNER.writer(1).line, expect=16).err
    marked = shop.call("init", "--json").json
    assert (marked["number"], marked["writer_id"]) == (1, OWNER.writer(1).id)
    assert json.loads(next(shop.folder.glob("w/*/genesis.json")).read_text().splitlines()[0])["number"] == 1
    shop.call("init", expect=2)
    shop.call("list", expect=10)
    shop.back_up()
    (shop.folder / "w" / OWNER.writer(1).id / "genesis.json").unlink()
    assert "has backups already" in shop.call("init", expect=2).err
    assert "writer 1 has backups, which writer 2 continues" in shop.call("init", "--writer", "2", expect=2).err


def test_a_database_that_is_not_there(shop: Shop):
    uri = shop.database.server.uri("no_such_database")
    assert shop.call("backup", "--json", SOURCE=uri, expect=14).json["status"] == 14


def test_client_programs_that_are_not_there(shop: Shop, tmp_path: Path):
    assert "postgresql-client" in shop.call("backup", POSTGRES_BIN=tmp_path, expect=15).err


@pytest.mark.parametrize(
    ("command", "changes", "said"),
    [
        (["backup"], {"SOURCE": ""}, "no source is configured"),
        (["backup"], {"SOURCE": "oracle://u:hunter2@h/d"}, "does not know: oracle://"),
        (["backup"], {"STORE": ""}, "no store is configured"),
        (["backup"], {"STORE": "file:///a?required=no"}, "at least one store has to be required"),
        (["backup"], {"STORE": "ftp://bucket"}, "does not know: ftp://"),
        (["backup"], {"STORE": "file://backups"}, "does not name a folder"),
        (["backup"], {"RECIPIENTS": "age1nonsense"}, "checksum"),
        (["backup"], {"JOBS": "0"}, "DWEBBACKUP_JOBS"),
        (["backup", "--jobs", "100"], {}, "--jobs"),
        (["list"], {"KEY": ""}, "no key is configured"),
        (["list"], {"SORCE": "x"}, "did you mean DWEBBACKUP_SOURCE?"),
        (["restore", "latest"], {}, "no target is configured"),
        (["restore", "latest", "--to", "postgresql://u:hunter2@h/d"], {}, "command line"),
        (["backup", "--source", "postgresql://u:hunter2@h/d"], {}, "command line"),
    ],
)
def test_what_is_configured_wrongly_is_named(command: list[str], changes: dict, said: str, tmp_path: Path):
    settings = {"SOURCE": "postgresql://h/d", "STORE": f"file://{tmp_path}/store", "KEY": OWNER.words} | changes
    ended = call(*command, "--json", expect=2, **settings)
    assert said in ended.json["error"] + ended.json["hint"]
    assert "hunter2" not in ended.out + ended.err


def test_extra_recipients_read_everything(shop: Shop):
    guest = OwnerKey(bytes(32))
    recipient = call("key", "show", "--json", KEY=guest.words).json["recipient"]
    shop.back_up(RECIPIENTS=recipient)
    identity = shop.folder.parent / "identity"
    identity.write_text(call("key", "show", "--identity", KEY=guest.words).out)
    manifest = shop.files("manifests")[0]
    plain = subprocess.run(["age", "-d", "-i", identity, manifest], capture_output=True, check=True).stdout
    printed = subprocess.run(["zstd", "-dc"], input=plain, capture_output=True, check=True).stdout
    assert json.loads(printed)["sequence"] == 1


# --- being stopped ---


@contextmanager
def table_locked(database: Database) -> Iterator[psycopg.Connection]:
    """Nobody gets at the customers, and whoever tries has to wait."""
    with psycopg.connect(database.uri) as connection:
        connection.execute("LOCK TABLE customer")
        yield connection


def wait_until_somebody_waits(connection: psycopg.Connection) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while connection.execute(query).fetchone() == (0,):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_stopped_ends_at_once_and_the_next_one_succeeds(shop: Shop, number: signal.Signals):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with (
        table_locked(shop.database) as connection,
        subprocess.Popen([*PROGRAM, "backup", "--json"], env=environment(shop.settings), **pipes) as process,
    ):
        wait_until_somebody_waits(connection)
        os.kill(process.pid, number)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert json.loads(out)["status"] == 130
    assert f"interrupted by {number.name}" in err
    assert shop.files("manifests") == []
    assert shop.back_up()["sequence"] == 1
