"""`dwebbackup prune` as users type it: what it shows, what it deletes, whom it refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from calling import Ended, call
from dwebbackup import access, backup, clock
from dwebbackup.backup import Options
from dwebbackup.checkpoint import GRACE
from dwebbackup.keys import OwnerKey
from dwebbackup.stores.local import LocalStore
from synthetic import OWNER, WRITER, SyntheticSource, back_up, errors, names, noise, restored, small_pieces

DAY = 24 * 3600.0


@dataclass(frozen=True)
class Folder:
    """A store with six backups of one a day, the last of them 30 days old."""

    path: Path

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.path)

    def call(self, *arguments: object, expect: int = 0, **changes: object) -> Ended:
        settings = {"STORE": f"file://{self.path}", "KEY": OWNER.words} | changes
        return call("prune", *arguments, expect=expect, **settings)

    def sequences(self) -> list[int]:
        return sorted(int(path.name[:10]) for path in self.path.glob("w/*/manifests/*"))

    def age(self, seconds: float) -> None:
        """As if all of it had been put so long ago."""
        for path in self.path.rglob("*.age"):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "store")
    folder.store.prepare()
    with small_pieces() as patch:
        now = clock.now()
        for number in range(6):
            patch.setattr(clock, "now", lambda number=number: now - (35 - number) * DAY)
            back_up(folder.store, {"table": noise(5000, number)})
            folder.age(DAY)
        patch.undo()
    folder.age(29 * DAY)
    with small_pieces():
        yield folder


def test_it_shows_and_drops_what_the_policy_does_not_keep(folder: Folder):
    ended = folder.call("--keep", "last 2, floor 1")
    lines = ended.out.splitlines()
    assert lines[0].split() == ["BACKUP", "FINISHED", "SOURCE", "WRITER", "WHY"]
    assert [line.split()[0] for line in lines[1:7]] == ["drop"] * 4 + ["keep"] * 2
    assert lines[1].endswith("1  not of the last 2")
    assert lines[6].endswith("1  last 2; newest good of synthetic")
    assert lines[7].startswith("4 backups dropped; ")
    assert folder.sequences() == [5, 6]
    assert errors(folder.store) == []
    assert restored(folder.store, "5") == {"table": noise(5000, 4)}
    assert len(names(folder.store, "packs/")) == 2


def test_a_dry_run_deletes_nothing(folder: Folder):
    before = names(folder.store)
    shown = folder.call("--keep", "last 2, floor 1", "--dry-run", "--json").json
    assert [each["keep"] for each in shown["backups"]] == [False] * 4 + [True] * 2
    assert (shown["dry_run"], shown["dropped"], shown["policy"]) == (True, 0, "last 2, floor 1")
    assert names(folder.store) == before
    assert "4 backups would be dropped; nothing was" in folder.call("--keep", "last 2, floor 1", "--dry-run").out
    done = folder.call("--keep", "last 2, floor 1", "--json").json
    assert done["backups"] == shown["backups"]
    assert (done["dry_run"], done["dropped"], done["doubts"]) == (False, 4, [])
    assert done["objects"] > 0
    assert done["bytes"] > 4 * 5000


def test_the_policy_may_be_configured(folder: Folder):
    folder.call("--quiet", KEEP="last 3")
    assert folder.sequences() == [4, 5, 6]
    folder.call("--keep", "last 1, floor 1", KEEP="last 3")
    assert folder.sequences() == [6]


def test_without_a_policy_nothing_is_dropped(folder: Folder):
    ended = folder.call(expect=2)
    assert "no retention policy is configured" in ended.err
    assert "DWEBBACKUP_KEEP" in ended.err
    assert "keeps nothing" in folder.call("--keep", "floor 3", expect=2).err
    assert folder.sequences() == [1, 2, 3, 4, 5, 6]


def test_a_policy_that_would_undercut_the_floor_is_told_so(folder: Folder):
    ended = folder.call("--keep", "last 1", expect=3)
    assert "warning: this policy alone would keep fewer than 3 good backups of synthetic" in ended.err
    assert folder.sequences() == [4, 5, 6]


def test_what_has_to_wait_is_told(folder: Folder):
    (prefix,) = folder.path.glob("w/*")
    (prefix / "checkpoints").mkdir(exist_ok=True)
    (prefix / "checkpoints" / ("0" * 16 + "-0.age")).write_bytes(b"of a run under way")
    packs = names(folder.store, "packs/")
    ended = folder.call("--keep", "last 2, floor 1", expect=3)
    assert "warning: packs and indexes of writer 1 wait for a later prune: a backup is under way" in ended.err
    assert folder.sequences() == [5, 6]
    assert names(folder.store, "packs/") == packs
    folder.age(GRACE)
    folder.call("--keep", "last 2, floor 1")
    assert len(names(folder.store, "packs/")) == 2


def test_a_writer_key_drops_what_is_old_and_spares_what_is_young(folder: Folder):
    for number in range(3):
        back_up(folder.store, {"table": noise(5000, 10 + number)})
    ended = folder.call("--keep", "last 1, floor 1", KEY=WRITER.line)
    assert ended.out.count("spared: with a writer key nothing of the last 14 days is dropped") == 2
    assert folder.sequences() == [7, 8, 9]


def test_a_reader_key_is_refused(folder: Folder):
    folder.call("--keep", "last 1", expect=16, KEY=OWNER.reader(1).line)
    assert len(folder.sequences()) == 6


def test_the_words_prune_each_writer_by_itself(folder: Folder):
    second = OWNER.writer(2)
    sources = [SyntheticSource({"table": noise(5000, 20)})]
    backup.back_up(sources, access.below(folder.store, second.id), second, Options())
    shown = folder.call("--keep", "last 1, floor 1", "--json").json
    assert [(each["number"], each["sequence"]) for each in shown["backups"] if each["keep"]] == [(1, 6), (2, 1)]
    assert errors(folder.store) == []


def test_a_manifest_that_cannot_be_read_stays_and_so_do_all_packs(folder: Folder):
    spoiled = next(folder.path.glob("w/*/manifests/0000000002-*"))
    spoiled.write_bytes(b"spoiled")
    os.utime(spoiled, (1, 1))
    packs = names(folder.store, "packs/")
    assert "stays, since it cannot be read" in folder.call("--keep", "last 1", "--dry-run", expect=3).err
    folder.call("--keep", "last 1", expect=12)
    assert spoiled.exists()
    assert names(folder.store, "packs/") == packs


def test_other_words_find_nothing_to_prune(folder: Folder):
    folder.call("--keep", "last 1", expect=10, KEY=OwnerKey(bytes(32)).words)
