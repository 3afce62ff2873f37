"""A folder out and back: whatever is in it, as GNU tar reads it too, and the same bytes for the same folder."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import chunking
from dwebbackup.errors import DatabaseRefused, ToolMissing, WrongConfiguration
from dwebbackup.sources.files import FilesSource, tar
from dwebbackup.sources.files.unpacking import Unpacking
from sources.trees import grow, listen_at, picture, put_back, taken, url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "the folder"
    made.mkdir()
    return made


def test_everything_that_a_folder_can_hold_comes_back(folder: Path, tmp_path: Path):
    grow(folder)
    before = picture(folder)
    done = put_back(taken(FilesSource(url(folder))), tmp_path / "back")
    assert picture(tmp_path / "back") == before
    assert done.rows == sum(not os.path.isdir(os.path.join(os.fsencode(folder), name)) for name in before)
    assert not done.shortfalls
    assert sorted(done.notes) == [
        "a symbolic link that leads out of the folder: outward -> /etc/hostname",
    ]


def test_holes_stay_holes(folder: Path, tmp_path: Path):
    grow(folder)
    backup = taken(FilesSource(url(folder)))
    assert len(backup.streams["files"]) < 10_000_000
    put_back(backup, tmp_path / "back")
    for name in ("holes", "only a hole"):
        there = os.stat(tmp_path / "back" / name)
        assert there.st_blocks * 512 < there.st_size / 10


def test_gnu_tar_unpacks_what_we_store(folder: Path, tmp_path: Path):
    grow(folder)
    back = tmp_path / "back"
    back.mkdir()
    data = taken(FilesSource(url(folder))).streams["files"]
    unpack = ["tar", "-x", "-p", "--xattrs", "--xattrs-include=*", "-f", "-", "-C", back]
    subprocess.run(unpack, input=data, check=True)
    assert picture(back) == picture(folder)


def test_the_same_folder_gives_the_same_bytes_wherever_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    grow(folder)
    first = taken(FilesSource(url(folder))).streams
    monkeypatch.setenv("TAR_OPTIONS", "--exclude=* --format=v7")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    for path, _, files in os.walk(folder):  # which changes the times of reading
        for name in files:
            if name != "fifo" and os.path.isfile(os.path.join(path, name)):
                Path(path, name).read_bytes()
    assert taken(FilesSource(url(folder))).streams == first
    put_back(taken(FilesSource(url(folder))), tmp_path / "elsewhere")
    assert taken(FilesSource(url(tmp_path / "elsewhere"))).streams == first


def test_members_are_sorted_by_the_bytes_of_their_names_and_name_no_users(folder: Path):
    for number in range(200):
        (folder / f"{number:03}").mkdir()
        (folder / f"{number:03}" / "in it").write_bytes(b"")
    (folder / "Z").write_bytes(b"")
    (folder / "\u00e9").write_bytes(b"")
    (folder / "a").write_bytes(b"")
    with tarfile.open(fileobj=io.BytesIO(taken(FilesSource(url(folder))).streams["files"])) as archive:
        names = archive.getnames()
        owners = {each.uname + each.gname for each in archive}
    assert owners == {""}
    assert len(names) == 404
    assert names == sorted(names, key=os.fsencode)


def test_what_changed_in_one_file_leaves_the_chunks_of_others(folder: Path):
    for number in range(2000):
        (folder / f"{number:04d}").write_bytes(os.urandom(700) + b"%d" % number)
    source = FilesSource(url(folder))
    before = chunks(taken(source).streams["files"])
    (folder / "1000").write_bytes(b"another")
    (folder / "0000").unlink()
    after = chunks(taken(source).streams["files"])
    assert len(after) > 50
    assert len(after - before) <= 6


def chunks(data: bytes) -> set[bytes]:
    rest = memoryview(data)

    def readinto(view: memoryview) -> int:
        nonlocal rest
        count = min(len(view), len(rest))
        view[:count], rest = rest[:count], rest[count:]
        return count

    return {bytes(chunk) for batch in chunking.cut(readinto, chunking.AVERAGE) for chunk in batch}


NAME = st.binary(min_size=1, max_size=20).filter(lambda name: name not in (b".", b"..") and not {0, 47} & set(name))
TREE = st.recursive(
    st.one_of(st.binary(max_size=2000), st.text("xy/.", min_size=1, max_size=120)),
    lambda inner: st.dictionaries(NAME, inner, max_size=5),
    max_leaves=15,
).filter(lambda tree: isinstance(tree, dict))


@given(TREE, st.integers(0, 2**33 * 10**9))
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: dict, mtime: int):
    made = tmp_path_factory.mktemp("tree")
    plant(tree, os.fsencode(made / "in"), mtime)
    (made / "out").mkdir()
    with Unpacking(str(made / "out")) as unpacking:
        unpacking.unpack([taken(FilesSource(url(made / "in"))).streams["files"]])
        unpacking.finish()
        unpacking.dress_top(str(made / "out"))
    assert picture(made / "out") == picture(made / "in")
    shutil.rmtree(made)


def plant(tree: dict | bytes | str, path: bytes, mtime: int) -> None:
    """Folders of dictionaries, files of bytes, symbolic links of texts."""
    if isinstance(tree, str):
        os.symlink(tree, path)
    elif isinstance(tree, bytes):
        with open(path, "xb") as file:
            file.write(tree)
    else:
        os.mkdir(path)
        for name, inner in tree.items():
            plant(inner, os.path.join(path, name), mtime)
    os.utime(path, ns=(0, mtime), follow_symlinks=False)


# --- what is left out ---


def names(source: FilesSource, tmp_path: Path) -> set[str]:
    """What comes back of it."""
    put_back(taken(source), tmp_path / "names")
    found = {
        os.path.relpath(os.path.join(path, name), tmp_path / "names")
        for path, folders, files in os.walk(tmp_path / "names")
        for name in (*folders, *files)
    }
    shutil.rmtree(tmp_path / "names")
    return found


@pytest.mark.parametrize(
    ("globs", "left"),
    [
        ((), {"a", "a/x.log", "a/cache", "a/cache/1", "cache", "cache/2", "x.log", "[b]*"}),
        (("*.log",), {"a", "a/cache", "a/cache/1", "cache", "cache/2", "[b]*"}),
        (("cache",), {"a", "a/x.log", "x.log", "[b]*"}),
        (("/cache/",), {"a", "a/x.log", "a/cache", "a/cache/1", "x.log", "[b]*"}),
        (("a/cache",), {"a", "a/x.log", "cache", "cache/2", "x.log", "[b]*"}),
        (("/a/*", "[[]b]*"), {"a", "cache", "cache/2", "x.log"}),
        (("/*.log",), {"a", "a/cache", "a/cache/1", "cache", "cache/2", "[b]*"}),
        (("*",), set()),
    ],
)  # fmt: skip
def test_globs_leave_things_out_for_backups_and_for_the_question_what_is_there(
    folder: Path, tmp_path: Path, globs: tuple[str, ...], left: set[str]
):
    for name in ("a/x.log", "a/cache/1", "cache/2", "x.log", "[b]*"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    source = FilesSource(url(folder, *(f"exclude={glob}" for glob in globs)))
    assert names(source, tmp_path) == left
    full = any((folder / name).is_file() for name in left)
    assert source.condition().state == ("full" if full else "rowless" if left else "empty")


def test_what_a_restore_left_beside_its_files_is_nobodys(folder: Path, tmp_path: Path):
    (folder / ".dwebbackup_before_20261120030000").mkdir()
    (folder / ".dwebbackup_before_20261120030000" / "old").write_bytes(b"x")
    source = FilesSource(url(folder))
    assert source.condition().state == "empty"
    assert names(source, tmp_path) == set()


def test_sockets_are_left_out_and_named(folder: Path, tmp_path: Path):
    listen_at(folder / "a socket")
    backup = taken(FilesSource(url(folder)))
    assert backup.record.facts.notes == ("left out: a socket (socket ignored)",)
    assert not backup.record.facts.shortfalls
    assert backup.record.streams[0].rows == 0
    assert put_back(backup, tmp_path / "back").notes == backup.record.facts.notes


def test_other_file_systems_are_left_out_and_named(tmp_path: Path):
    others = [f"exclude=/{name}" for name in os.listdir("/") if name != "proc" and name.isascii()]
    backup = taken(FilesSource(url("/", *others)))
    assert backup.record.facts.notes == ("left out: proc/ (file is on a different filesystem; not dumped)",)
    put_back(backup, tmp_path / "back")
    assert os.listdir(tmp_path / "back") == ["proc"]
    assert os.listdir(tmp_path / "back" / "proc") == []


# --- what is no folder, and no tar ---


@pytest.mark.parametrize("at", ["missing", "a file", "a file/in it"])
def test_what_is_no_folder_is_refused(tmp_path: Path, at: str):
    (tmp_path / "a file").write_bytes(b"")
    source = FilesSource(url(tmp_path / at))
    with pytest.raises(DatabaseRefused, match=r"there is no folder|is not a folder"), source.dump():
        pass
    with pytest.raises(DatabaseRefused):
        list(source.check())


@pytest.mark.parametrize(
    "wrong",
    ["files://host/x", "files:relative", "files://", "files:///x?exclude=", "files:///x?exclude=/", "files:///x?mounts=1", "files:///x?jobs=2", "files:///x%00"],
)  # fmt: skip
def test_a_url_that_names_no_folder_is_refused(wrong: str):
    with pytest.raises(WrongConfiguration):
        FilesSource(wrong)


def test_a_tar_that_is_not_gnus_or_too_old_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for said in ("bsdtar 3.7.2 - libarchive 3.7.2", "tar (GNU tar) 1.28"):
        program = tmp_path / "tar"
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ToolMissing, match=said.replace("(", r"\(").replace(")", r"\)")) as caught:
            tar.find()
        assert "1.29" in caught.value.hint
    program.unlink()
    with pytest.raises(ToolMissing, match="missing"):
        tar.find()


def test_doctor_sees_a_folder_and_its_tar(folder: Path):
    (folder / "x").write_bytes(b"")
    found = {finding.name: finding for finding in FilesSource(url(folder)).check()}
    assert found["folder"].level == "ok"
    assert "full" in found["folder"].sentence
    assert "GNU tar" in found["client programs"].sentence


# --- what is there ---


def test_a_folder_is_absent_empty_without_a_file_or_full(folder: Path):
    source = FilesSource(url(folder))
    (folder / "lost+found").mkdir()
    empty = source.condition()
    (folder / "only" / "folders").mkdir(parents=True)
    rowless = source.condition()
    (folder / "only" / "folders" / "link").symlink_to("nowhere")
    full = source.condition()
    assert [each.state for each in (empty, rowless, full)] == ["empty", "rowless", "full"]
    assert rowless.objects == ("only",)
    assert len({each.identity for each in (empty, rowless, full)}) == 1
    shutil.rmtree(folder)
    assert source.condition().state == "absent"
    folder.parent.rmdir()
    with pytest.raises(DatabaseRefused, match="there is no folder"):
        source.condition()


def test_another_folder_in_its_place_is_another_one_unless_the_user_says_who_it_is(folder: Path):
    plain, named = FilesSource(url(folder)), FilesSource(url(folder, "identity=uploads"))
    before = plain.condition().identity
    folder.rename(folder.with_name("aside"))
    folder.mkdir()
    assert plain.condition().identity != before
    assert named.condition().identity == "files:uploads"
    assert taken(plain).record.facts.identity == plain.condition().identity


def test_a_folder_that_is_exchanged_while_it_is_read_is_refused(folder: Path):
    (folder / "x").write_bytes(b"x")

    def exchange() -> None:
        folder.rename(folder.with_name("aside"))
        folder.mkdir()

    with pytest.raises(DatabaseRefused, match="became another folder"):
        taken(FilesSource(url(folder)), exchange)
