"""A folder that does not hold still while it is read, or may not be read: what is not as it was is read again or named.

Between the first 64 KiB and the rest tar waits for us, since a pipe holds a MiB at most: then things are changed.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from calling import call
from dwebbackup.errors import BackupFailed, DatabaseRefused
from dwebbackup.keys import OwnerKey
from dwebbackup.sources.files import FilesSource
from dwebbackup.sources.files.hearing import MOST_NAMED, Hearing, unescape
from sources.trees import nobody, picture, put_back, read_all, taken, url

LARGE = 8 * 1024 * 1024
"""What tar cannot have read when we have read 64 KiB of it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    (made / "a large one").write_bytes(os.urandom(LARGE))
    (made / "another").write_bytes(b"another")
    return made


def test_what_grows_while_it_is_read_is_read_again(folder: Path, tmp_path: Path):
    def grow() -> None:
        with open(folder / "a large one", "ab") as file:
            file.write(b"more" * 1000)

    backup = taken(FilesSource(url(folder)), grow)
    assert not backup.record.facts.shortfalls
    assert backup.record.streams[1].bytes > LARGE
    done = put_back(backup, tmp_path / "back")
    assert picture(tmp_path / "back") == picture(folder)
    assert done.rows == 2


def test_what_shrinks_while_it_is_read_is_read_again(folder: Path, tmp_path: Path):
    os.link(folder / "a large one", folder / "the same")
    backup = taken(FilesSource(url(folder)), lambda: os.truncate(folder / "a large one", 1_000_000))
    assert not backup.record.facts.shortfalls
    put_back(backup, tmp_path / "back")
    assert picture(tmp_path / "back") == picture(folder)
    assert (tmp_path / "back" / "the same").samefile(tmp_path / "back" / "a large one")


def test_what_changes_again_while_it_is_read_again_is_named(folder: Path, tmp_path: Path):
    def grow() -> None:
        with open(folder / "a large one", "ab") as file:
            file.write(b"more")

    with FilesSource(url(folder)).dump() as dump:
        for spec in dump.specs:
            with dump.reader() as reader:
                read_all(reader.open(spec), grow)
        facts = dump.finish()
    assert facts.shortfalls == ("changed while it was read, twice: a large one",)


def test_what_went_away_while_the_folder_was_read_is_no_shortfall(folder: Path, tmp_path: Path):
    (folder / "z").mkdir()
    (folder / "z" / "file").write_bytes(b"x")
    backup = taken(FilesSource(url(folder)), (folder / "another").unlink)
    assert not backup.record.facts.shortfalls
    assert backup.record.facts.notes == ("1 went away while the folder was read",)
    put_back(backup, tmp_path / "back")
    assert picture(tmp_path / "back").keys() == picture(folder).keys()


def test_what_changed_and_then_went_away_is_no_shortfall(folder: Path, tmp_path: Path):
    source = FilesSource(url(folder))
    with source.dump() as dump:
        with dump.reader() as reader:
            first = read_all(reader.open(dump.specs[0]), lambda: os.truncate(folder / "a large one", 5))
        (folder / "a large one").unlink()
        with dump.reader() as reader:
            read_all(reader.open(dump.specs[1]))
        facts = dump.finish()
    assert len(first) > LARGE
    assert not facts.shortfalls
    assert facts.notes == ("1 went away while the folder was read",)


def test_a_tar_that_is_killed_is_no_end(folder: Path):
    source = FilesSource(url(folder))
    with source.dump() as dump, dump.reader() as reader, pytest.raises(BackupFailed, match="killed by signal 9"):
        read_all(reader.open(dump.specs[0]), dump.abort)


def test_whoever_waits_for_the_first_stream_is_let_go_when_the_backup_is_given_up(folder: Path):
    failures: list[Exception] = []

    def wait() -> None:
        with dump.reader() as reader:
            try:
                read_all(reader.open(dump.specs[1]))
            except BackupFailed as error:
                failures.append(error)

    with FilesSource(url(folder)).dump() as dump:
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        dump.abort()
        waiting.join(60)
    assert len(failures) == 1


# --- what may not be read ---


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder with something that whoever runs this may not read; root is somebody else meanwhile."""
    with tempfile.TemporaryDirectory(prefix="dwb") as name, nobody(Path(name)):
        made = Path(name) / "folder"
        (made / "secret").mkdir(parents=True)
        for path in ("open", "shut", "secret/file"):
            (made / path).write_bytes(path.encode())
        os.chmod(made / "shut", 0)
        os.chmod(made / "secret", 0)
        yield made
        os.chmod(made / "secret", 0o700)


def test_what_may_not_be_read_is_named_and_makes_the_backup_incomplete(closed: Path):
    back = closed.with_name("back")
    backup = taken(FilesSource(url(closed)))
    assert backup.record.facts.shortfalls == (
        "could not be read: secret: Cannot open: Permission denied",
        "could not be read: shut: Cannot open: Permission denied",
    )
    done = put_back(backup, back)
    assert done.shortfalls == backup.record.facts.shortfalls
    assert (back / "open").read_bytes() == b"open"
    assert not (back / "shut").exists()


def test_a_folder_that_may_not_be_read_itself_is_refused(closed: Path):
    source = FilesSource(url(closed / "secret"))
    with pytest.raises(DatabaseRefused, match="cannot be read: Permission denied"), source.dump():
        pass
    with pytest.raises(DatabaseRefused, match="cannot be read: Permission denied"):
        source.condition()


def test_what_is_in_folders_that_may_not_be_read_cannot_be_told(closed: Path):
    (closed / "open").unlink()
    os.chmod(closed / "shut", 0o600)
    (closed / "shut").unlink()
    with pytest.raises(DatabaseRefused, match="secret cannot be read"):
        FilesSource(url(closed)).condition()


# --- through the whole program ---


@pytest.fixture
def loaded(tmp_path: Path) -> None:
    """All modules and word lists are in memory: where the program lies, somebody without rights may not look."""
    (tmp_path / "x").mkdir()
    settings = {"SOURCE": url(tmp_path / "x"), "STORE": f"file://{tmp_path}/store", "KEY": OwnerKey(bytes(32)).words}
    call("backup", **settings)
    call("show", "latest", **settings)
    call("restore", "latest", "--to", url(tmp_path / "y"), **settings)


@pytest.mark.usefixtures("loaded")
def test_an_incomplete_backup_ends_with_status_3_and_says_so_wherever_it_is_shown(closed: Path):
    store = closed.with_name("store")
    settings = {"SOURCE": url(closed), "STORE": f"file://{store}", "KEY": OwnerKey(bytes(range(32))).words}
    told = "could not be read: shut: Cannot open: Permission denied"
    made = call("backup", "--json", expect=3, **settings)
    assert f"folder is incomplete: {told}" in made.json["doubts"]
    assert made.json["suspect"] == []
    assert f"incomplete {told}" in call("show", "latest", **settings).out
    back = call("restore", "latest", "--to", url(closed.with_name("back")), "--json", expect=3, **settings)
    assert told in back.json["shortfalls"]


# --- what tar says ---


def hear(said: bytes, status: int = 0) -> Hearing:
    hearing = Hearing("tar")
    with hearing.listening() as ear:
        for at in range(0, len(said), 7):
            os.write(ear, said[at : at + 7])
    hearing.end(status)
    return hearing


def test_names_that_look_like_complaints_are_names():
    found = hear(b"./\n./tar: x: Cannot open: No\n./a/\n./a/tar: \n./b\\ntar: c\n")
    assert found.files == 3
    assert list(found.unread.sentences("")) == []


def test_of_many_complaints_a_few_are_told_and_all_are_counted():
    said = b"".join(b"./%d\ntar: ./x%d: Cannot open: Permission denied\n" % (n, n) for n in range(500))
    found = hear(said + b"tar: Exiting with failure status due to previous errors\n", 2)
    told = list(found.unread.sentences("could not be read"))
    assert found.files == 500
    assert len(told) == MOST_NAMED + 1
    assert told[-1] == f"could not be read: {500 - MOST_NAMED} more"


@pytest.mark.parametrize(("said", "status"), [(b"tar: Error is not recoverable: exiting now\n", 2), (b"", 2), (b"", -9), (b"", 127)])  # fmt: skip
def test_a_tar_that_did_not_come_to_the_end_fails_the_backup(said: bytes, status: int):
    with pytest.raises(BackupFailed, match="tar failed"):
        hear(said, status)


def test_more_names_than_can_be_read_again_are_told_of():
    found = hear(b"".join(b"tar: ./%s%d: file changed as we read it\n" % (b"n" * 200, n) for n in range(400)), 1)
    assert 200 < len(found.changed) < 400
    assert len(found.changed) + MOST_NAMED < 400
    assert len(list(found.unsettled.sentences(""))) == MOST_NAMED + 1


def test_every_name_is_read_out_of_tars_way_of_writing_it(tmp_path: Path):
    every = bytes(set(range(1, 256)) - {47})
    for at in range(0, 254, 100):
        (tmp_path / os.fsdecode(b"x" + every[at : at + 100])).write_bytes(b"")
    from subprocess import run

    said = run(["tar", "-cvf", "/dev/null", "--quoting-style=escape", "-C", tmp_path, "."], env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, capture_output=True, check=True)  # fmt: skip
    names = {unescape(line.decode("ascii")) for line in said.stdout.splitlines()}
    assert names == {b"./", *(b"./" + os.fsencode(name) for name in os.listdir(tmp_path))}
