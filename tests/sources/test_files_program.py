"""Folders through the whole program: as commands are typed, beside a database, and looked after by a sidecar."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from calling import Ended, call
from daemon.sidecar import OWNER as SIDECAR_OWNER
from daemon.sidecar import Sidecar
from dwebbackup.keys import OwnerKey
from fix_postgres import Database
from sources.trees import picture, url


@dataclass(frozen=True)
class App:
    """An app's uploads, and an empty folder for their backups."""

    uploads: Path
    store: Path

    def call(self, *arguments: object, expect: int = 0, **changes: object) -> Ended:
        settings = {
            "STORE": f"file://{self.store}",
            "KEY": OwnerKey(bytes(range(32))).words,
            "SOURCE": url(self.uploads),
        }
        return call(*arguments, expect=expect, **(settings | changes))

    def back_up(self, expect: int = 0, **changes: object) -> dict:
        return self.call("backup", "--json", expect=expect, **changes).json


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(tmp_path / "uploads", tmp_path / "store")
    made.uploads.mkdir()
    for number in range(100):
        (made.uploads / f"{number}.jpg").write_bytes(os.urandom(3000))
    return made


def test_a_folder_comes_back_from_the_words_and_the_store(app: App, tmp_path: Path):
    made, before = app.back_up(), picture(app.uploads)
    shutil.rmtree(app.uploads)
    ended = app.call("restore", "latest", "--to", url(app.uploads), SOURCE="")
    assert f"backup {made['backup']} is restored to {url(app.uploads)}: 100 files, " in ended.out
    assert picture(app.uploads) == before
    assert f"database   {app.uploads}, files\n" in app.call("show", "latest").out
    assert app.call("list", "--json").json["backups"][0]["rows"] == 100
    assert app.call("verify", "--json").json["findings"] == []


def test_a_second_backup_of_the_same_folder_stores_only_its_manifest(app: App):
    app.back_up()
    again = app.back_up()
    assert again["packs_new"] == 0
    assert again["bytes_stored"] < 4096


def test_a_folder_that_lost_most_of_its_files_is_suspect(app: App):
    first = app.back_up()
    for number in range(60):
        (app.uploads / f"{number}.jpg").unlink()
    second = app.back_up(expect=3)
    assert second["suspect"] == [f"it has 40 files, and backup {first['backup']} had 100"]
    assert app.call("show", "latest", "--json", expect=3).json["sequence"] == 1


def test_another_folder_under_the_same_name_is_suspect_until_it_is_accepted(app: App):
    app.back_up()
    app.uploads.rename(app.uploads.with_name("aside"))
    shutil.copytree(app.uploads.with_name("aside"), app.uploads)
    assert "it is of another folder" in app.back_up(expect=3)["suspect"][0]
    app.call("backup", "--accept")
    assert app.back_up()["suspect"] == []


def test_what_a_url_leaves_out_stands_in_the_manifest(app: App, tmp_path: Path):
    (app.uploads / "cache").mkdir()
    (app.uploads / "cache" / "x").write_bytes(b"x")
    app.back_up(SOURCE=url(app.uploads, "exclude=/cache", "exclude=1*.jpg"))
    assert "exclude    /cache, 1*.jpg" in app.call("show", "latest").out
    app.call("restore", "latest", "--to", url(tmp_path / "back"))
    assert "cache" not in os.listdir(tmp_path / "back")
    assert len(os.listdir(tmp_path / "back")) == 100 - 11


def test_a_configuration_leaves_things_out_of_a_folder_and_of_nothing_else(app: App, tmp_path: Path):
    file = tmp_path / "dwebbackup.yaml"
    file.write_text(f"sources:\n  - url: {url(app.uploads)}\n    name: pictures\n    exclude: ['1*.jpg', '*#?']\n")
    app.call("backup", "--config", file, SOURCE="")
    shown = app.call("show", "latest").out
    assert "exclude    1*.jpg, *#?" in shown
    assert "source     pictures" in shown
    file.write_text("sources:\n  - url: postgresql://h/d\n    exclude: x\n")
    assert "is no folder" in app.call("backup", "--config", file, SOURCE="", expect=2).err


def test_a_database_and_its_uploads_stand_in_one_backup_and_come_back_one_at_a_time(
    app: App, database: Database, target_database: Database, tmp_path: Path
):
    database.psql("CREATE TABLE picture AS SELECT n, n || '.jpg' AS file FROM generate_series(0, 99) AS n")
    made = app.back_up(SOURCE=f"{url(app.uploads)} {database.uri}")
    shown = app.call("show", made["backup"]).out
    assert shown.index("source     " + database.name) < shown.index("source     uploads")
    several = app.call("restore", "latest", "--to", url(tmp_path / "back"), expect=10)
    assert "--source" in several.err
    app.call("restore", "latest", "--source", "uploads", "--to", url(tmp_path / "back"))
    app.call("restore", "latest", "--source", database.name, "--to", target_database.uri)
    assert picture(tmp_path / "back") == picture(app.uploads)
    assert target_database.psql("SELECT count(*) FROM picture") == "100"
    wrong = app.call("restore", "latest", "--source", "uploads", "--to", target_database.uri, "--replace", expect=2)
    assert "this backup is of files" in wrong.err


def test_doctor_looks_at_a_folder_and_says_when_it_is_not_there(app: App):
    app.back_up()
    assert f"{app.uploads} is there, and full" in app.call("doctor").out
    app.uploads.rename(app.uploads.with_name("aside"))
    assert f"there is no folder {app.uploads}" in app.call("doctor", expect=14).out


def test_a_sidecar_restores_a_folder_that_was_emptied_and_goes_on_with_it(app: App, tmp_path: Path):
    before = picture(app.uploads)
    settings = {"SOURCE": url(app.uploads), "RESTORE_KEY": SIDECAR_OWNER.reader(1).line}
    with Sidecar(tmp_path, **settings) as sidecar:
        sidecar.wait_for("backed up")
        assert sidecar.stop() == 0
    shutil.rmtree(app.uploads)
    app.uploads.mkdir()
    with Sidecar(tmp_path, **settings) as sidecar:
        sidecar.wait_for(lambda event: event["event"].startswith("restored from backup"))
        assert sidecar.stop() == 0
    assert picture(app.uploads) == before
    again = app.call("backup", "--json", KEY=SIDECAR_OWNER.words, STORE=f"file://{tmp_path}/store")
    assert again.json["suspect"] == []
