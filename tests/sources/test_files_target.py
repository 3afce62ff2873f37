"""Where a folder is restored: absent, empty, full, a mount point, somebody else's; and all or nothing."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dwebbackup.errors import (
    Damaged,
    DatabaseRefused,
    RestoreFailed,
    StoreUnreachable,
    TargetNotEmpty,
    ToolMissing,
    WrongConfiguration,
)
from dwebbackup.manifest import SourceRecord
from dwebbackup.ports import TargetOptions
from dwebbackup.sources.files import FilesSource, FilesTarget, place
from sources.trees import Taken, nobody, picture, put_back, taken, url


@pytest.fixture
def backup(tmp_path: Path) -> Taken:
    """Of a folder with a few files."""
    made = tmp_path / "made"
    (made / "a").mkdir(parents=True)
    (made / "a" / "b").write_bytes(b"b" * 100_000)
    (made / "c").write_bytes(b"c")
    os.chmod(made, 0o750)
    return taken(FilesSource(url(made)))


@pytest.fixture
def made(tmp_path: Path, backup: Taken) -> dict:
    return picture(tmp_path / "made")


@pytest.fixture
def place_to_be(tmp_path: Path) -> Path:
    (tmp_path / "srv").mkdir()
    return tmp_path / "srv" / "folder"


def fill(folder: Path) -> dict:
    folder.mkdir(exist_ok=True)
    (folder / "old").write_bytes(b"old")
    return picture(folder)


def mount(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system say that something is mounted there, as proc(5) has it."""
    lines = folder.parent.parent / "mountinfo"
    escaped = os.fsencode(folder).replace(b"\\", rb"\134").replace(b" ", rb"\040")
    lines.write_bytes(
        b"22 1 0:21 / /proc rw - proc proc rw\n36 35 98:0 /x %s rw,noatime master:1 - ext4 /dev/x rw\n" % escaped
    )
    monkeypatch.setattr(place, "MOUNTS", str(lines))


# --- absent, empty, full ---


@pytest.mark.parametrize("there", [False, True])
def test_an_absent_or_empty_folder_is_filled_and_nothing_is_left_beside_it(
    backup: Taken, made: dict, place_to_be: Path, there: bool
):
    if there:
        place_to_be.mkdir(mode=0o700)
    done = put_back(backup, place_to_be)
    assert picture(place_to_be) == made
    assert os.listdir(place_to_be.parent) == ["folder"]
    assert (done.tables, done.rows, done.unit, done.notes) == (0, 2, "file", ())


def test_a_folder_that_holds_something_is_refused_untouched(backup: Taken, place_to_be: Path):
    before = fill(place_to_be)
    with pytest.raises(TargetNotEmpty, match="holds old"):
        put_back(backup, place_to_be)
    assert picture(place_to_be) == before
    assert os.listdir(place_to_be.parent) == ["folder"]


def test_a_folder_that_is_replaced_is_kept_under_another_name(backup: Taken, made: dict, place_to_be: Path):
    before = fill(place_to_be)
    done = put_back(backup, place_to_be, replace=True)
    (aside,) = set(os.listdir(place_to_be.parent)) - {"folder"}
    assert picture(place_to_be) == made
    assert picture(place_to_be.parent / aside) == before
    assert aside.startswith("folder_before_20")
    assert done.notes == (f"the folder that was there is kept as {place_to_be.parent / aside}; remove it when you no longer need it",)  # fmt: skip


def test_a_symbolic_link_to_a_folder_stays_and_the_folder_is_filled(
    backup: Taken, made: dict, place_to_be: Path, tmp_path: Path
):
    (tmp_path / "disk").mkdir()
    place_to_be.symlink_to(tmp_path / "disk")
    put_back(backup, place_to_be)
    assert place_to_be.is_symlink()
    assert picture(tmp_path / "disk") == made


@pytest.mark.parametrize("at", ["a file", "missing/folder"])
def test_where_no_folder_can_be_is_refused(backup: Taken, tmp_path: Path, at: str):
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(DatabaseRefused):
        put_back(backup, tmp_path / at)


# --- mount points, and folders among somebody else's ---


@pytest.mark.parametrize("there", [(), ("lost+found",)])
def test_a_mount_point_stays_and_is_filled(
    backup: Taken, made: dict, place_to_be: Path, there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    volume = place_to_be.with_name("a volume")
    volume.mkdir()
    for name in there:
        (volume / name).mkdir()
    mount(volume, monkeypatch)
    number = volume.stat().st_ino
    put_back(backup, volume)
    found = picture(volume)
    assert set(found) - set(made) == {name.encode() for name in there}
    assert {name: found[name] for name in made} == made
    assert volume.stat().st_ino == number
    assert os.listdir(volume.parent) == ["a volume"]


def test_what_a_mount_point_holds_is_kept_inside_of_it_and_no_backup_takes_it(
    backup: Taken, made: dict, place_to_be: Path, monkeypatch: pytest.MonkeyPatch
):
    before = fill(place_to_be)
    mount(place_to_be, monkeypatch)
    with pytest.raises(TargetNotEmpty):
        put_back(backup, place_to_be)
    put_back(backup, place_to_be, replace=True)
    (aside,) = [name for name in os.listdir(place_to_be) if name.startswith(".")]
    assert picture(place_to_be / aside)[b"old"] == before[b"old"]
    again = taken(FilesSource(url(place_to_be)))
    assert again.streams == backup.streams


def test_a_folder_whose_parent_may_not_be_written_is_filled(backup: Taken):
    with tempfile.TemporaryDirectory(prefix="dwb") as name, nobody(Path(name)):
        folder = Path(name) / "folder"
        folder.mkdir()
        os.chmod(name, 0o500)
        put_back(backup, folder)
        assert set(os.listdir(folder)) == {"a", "c"}
        with pytest.raises(DatabaseRefused, match="nothing can be made in"):
            put_back(backup, Path(name) / "another")
        os.chmod(name, 0o700)


def test_a_volume_that_belongs_to_root_and_is_writable_for_all_is_filled(backup: Taken):
    with tempfile.TemporaryDirectory(prefix="dwb") as name:
        volume, mine = Path(name) / "volume", Path(name) / "mine"
        volume.mkdir()
        mine.mkdir()
        os.chmod(volume, 0o777)
        os.chmod(name, 0o755)
        with nobody(mine):
            is_ours = os.stat(volume).st_uid == os.geteuid()  # where root does not run this
            done = put_back(backup, volume)
        assert {"a", "c"} <= set(os.listdir(volume))
        told = "left out: rights and times of the folder itself, which belongs to somebody else"
        assert (told in done.shortfalls) is not is_ours


# --- all or nothing ---


def failing(backup: Taken, error: Exception):
    def read(stream):
        yield backup.streams[stream.kind][:50_000]
        raise error

    return read


def test_a_restore_that_fails_leaves_everything_as_it_was(backup: Taken, place_to_be: Path):
    before = fill(place_to_be)
    target = FilesTarget(url(place_to_be))
    with pytest.raises(StoreUnreachable):
        target.load(backup.record, failing(backup, StoreUnreachable("gone")), TargetOptions(replace=True))
    assert picture(place_to_be) == before
    assert os.listdir(place_to_be.parent) == ["folder"]


def test_what_a_killed_restore_left_is_cleared(backup: Taken, made: dict, place_to_be: Path):
    left = Path(place.look(str(place_to_be)).temporary)
    (left / "a" / "deep").mkdir(parents=True)
    (left / "a" / "deep" / "x").write_bytes(b"half")
    (left / "c").symlink_to("/etc")
    os.chmod(left / "a" / "deep", 0o500)
    os.chmod(left / "a", 0o500)
    put_back(backup, place_to_be)
    assert picture(place_to_be) == made
    assert os.listdir(place_to_be.parent) == ["folder"]


def test_what_a_killed_restore_left_is_cleared_by_whoever_could_not_open_it(backup: Taken):
    with tempfile.TemporaryDirectory(prefix="dwb") as name, nobody(Path(name)):
        left = Path(place.look(f"{name}/folder").temporary)
        (left / "a" / "b").mkdir(parents=True)
        (left / "a" / "b" / "c").write_bytes(b"half")
        (left / "link").symlink_to("/")
        os.chmod(left / "a" / "b", 0)
        os.chmod(left / "a", 0)
        put_back(backup, Path(name) / "folder")
        assert os.listdir(name) == ["folder"]


def test_two_restores_to_one_place_do_not_meet(backup: Taken, made: dict, place_to_be: Path):
    left = Path(place.look(str(place_to_be)).temporary)
    left.mkdir()
    (left / "half").write_bytes(b"half")
    other = os.open(left, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_SH)
    with pytest.raises(DatabaseRefused, match="another restore"):
        put_back(backup, place_to_be)
    assert os.listdir(left) == ["half"]
    os.close(other)
    put_back(backup, place_to_be)
    assert picture(place_to_be) == made


def test_a_folder_that_was_filled_meanwhile_is_left_alone_and_the_restored_one_is_kept(
    backup: Taken, made: dict, place_to_be: Path
):
    found: dict = {}
    with pytest.raises(RestoreFailed, match="kept as") as caught:
        put_back(backup, place_to_be, announce=lambda _: found.update(fill(place_to_be)))
    (kept,) = set(os.listdir(place_to_be.parent)) - {"folder"}
    assert picture(place_to_be) == found
    assert picture(place_to_be.parent / kept) == made
    assert kept in str(caught.value)


def test_a_mount_point_that_was_filled_meanwhile_is_left_alone(
    backup: Taken, place_to_be: Path, monkeypatch: pytest.MonkeyPatch
):
    place_to_be.mkdir()
    mount(place_to_be, monkeypatch)
    with pytest.raises(RestoreFailed, match="filled meanwhile"):
        put_back(backup, place_to_be, announce=lambda _: fill(place_to_be))
    (kept,) = set(os.listdir(place_to_be)) - {"old"}
    assert set(os.listdir(place_to_be / kept)) == {"a", "c"}


@pytest.mark.parametrize("mounted", [False, True])
def test_who_it_will_be_is_announced_when_all_is_in_it(
    backup: Taken, place_to_be: Path, monkeypatch: pytest.MonkeyPatch, mounted: bool
):
    place_to_be.mkdir()
    if mounted:
        mount(place_to_be, monkeypatch)
    told: list[str] = []

    def announce(identity: str) -> None:
        told.append(identity)
        assert not set(os.listdir(place_to_be)) & {"a", "c"}

    put_back(backup, place_to_be, announce=announce)
    assert told == [FilesSource(url(place_to_be)).condition().identity]


def test_what_announcing_raises_undoes_it_all(backup: Taken, place_to_be: Path):
    def refuse(_: str) -> None:
        raise StoreUnreachable("not now")

    with pytest.raises(StoreUnreachable):
        put_back(backup, place_to_be, announce=refuse)
    assert os.listdir(place_to_be.parent) == []


# --- what does not fit ---


def test_tables_of_a_folder_are_refused(backup: Taken, place_to_be: Path):
    with pytest.raises(WrongConfiguration, match="no tables"):
        put_back(backup, place_to_be, tables=("x",))


def test_a_backup_of_something_else_is_refused(backup: Taken, place_to_be: Path):
    other = replace(backup, record=replace(backup.record, facts=replace(backup.record.facts, kind="postgres")))
    with pytest.raises(WrongConfiguration, match="this backup is of postgres"):
        put_back(other, place_to_be)


def test_streams_that_are_not_known_are_refused_before_anything_is_made(backup: Taken, place_to_be: Path):
    files = backup.record.streams[0]
    for streams, refusal in (((files, replace(files, kind="new")), ToolMissing), ((files, files), Damaged)):
        with pytest.raises(refusal):
            put_back(replace(backup, record=SourceRecord(backup.record.facts, streams)), place_to_be)
    assert os.listdir(place_to_be.parent) == []


def test_a_plan_says_what_would_be_done_and_does_nothing(
    backup: Taken, place_to_be: Path, monkeypatch: pytest.MonkeyPatch
):
    def plan(**options: object) -> str:
        return "\n".join(FilesTarget(url(place_to_be)).plan(backup.record, backup.read, TargetOptions(**options)))

    assert "unpack 2 files" in plan()
    assert f"rename it to {place_to_be}" in plan()
    fill(place_to_be)
    with pytest.raises(TargetNotEmpty):
        plan()
    assert "under another name" in plan(replace=True)
    mount(place_to_be, monkeypatch)
    assert "inside of it" in plan(replace=True)
    assert os.listdir(place_to_be) == ["old"]


@pytest.fixture(autouse=True)
def _all_closed() -> Iterator[None]:
    """No restore leaves a descriptor behind."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before
