"""A folder as a store: the contract, and what can happen to folders, disks and processes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import dwebbackup
from contracts.store import StoreContract, digest, names, noise
from dwebbackup.errors import ObjectMissing, StoreUnreachable
from dwebbackup.stores import Refused, TooLarge, local
from dwebbackup.stores.local import MARKER, LocalStore

DAY = 86400


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def store(root: Path) -> LocalStore:
    store = LocalStore(root)
    store.prepare()
    return store


class TestContract(StoreContract):
    @pytest.fixture
    def store(self, root: Path) -> LocalStore:
        store = LocalStore(root)
        store.prepare()
        return store


class TestLinks:
    def test_is_a_url_of_the_very_file(self, tmp_path: Path):
        store = LocalStore(tmp_path / "mein Büro #1?%41")
        (link,) = store.put("w/1/packs/ab/abc.age", b"linked")
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("file", "", "", "")
        assert link.isascii()
        assert Path(unquote(parts.path)).read_bytes() == b"linked"
        assert link == f"{store.url}/w/1/packs/ab/abc.age"

    def test_a_relative_path_is_made_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        store = LocalStore("here")
        monkeypatch.chdir("/")
        store.put("w/a", b"a")
        assert (tmp_path / "here/w/a").read_bytes() == b"a"
        assert store.url == (tmp_path / "here").as_uri()


class TestIsThereAStore:
    """An unmounted disk never reads as an empty store."""

    def test_the_first_put_makes_the_root_and_its_parents(self, tmp_path: Path):
        LocalStore(tmp_path / "a/b/c").put("w/1/head.json", b"1")
        assert LocalStore(tmp_path / "a/b/c").get("w/1/head.json") == b"1"

    def test_a_prepared_store_is_empty(self, root: Path, store: LocalStore):
        assert list(LocalStore(root).list("")) == []
        with pytest.raises(ObjectMissing):
            LocalStore(root).get("w/1/head.json")

    def test_preparing_again_changes_nothing(self, root: Path, store: LocalStore):
        store.put("w/1/head.json", b"1")
        store.prepare()
        LocalStore(root).prepare()
        assert names(store.list("")) == ["w/1/head.json"]

    @pytest.mark.parametrize("mounted", [False, True], ids=["no folder", "an empty folder"])
    def test_no_verb_but_put_takes_a_folder_for_a_store(self, root: Path, mounted: bool):
        if mounted:
            root.mkdir()
        for ask in (
            lambda store: list(store.list("")),
            lambda store: list(store.list("w/1/packs/")),
            lambda store: store.get("w/1/head.json"),
            lambda store: store.head("w/1/head.json"),
            lambda store: store.delete("w/1/head.json"),
        ):
            with pytest.raises(Refused, match="no store") as caught:
                ask(LocalStore(root))
            assert "mounted" in caught.value.hint
        assert root.exists() == mounted
        assert not mounted or not list(root.iterdir())

    def test_a_store_copied_without_its_marker_is_one(self, root: Path, store: LocalStore):
        store.put("w/1/head.json", b"1")
        (root / MARKER).unlink()
        (root / ".tmp").rmdir()
        assert names(LocalStore(root).list("")) == ["w/1/head.json"]
        LocalStore(root).put("w/1/next", b"2")

    def test_a_disk_that_goes_away_meanwhile_is_not_replaced(self, root: Path, store: LocalStore):
        store.put("w/1/a", b"a")
        root.rename(root.with_name("elsewhere"))
        for bare in (False, True):  # the mount point is gone, or is an empty folder
            if bare:
                root.mkdir()
            for name in ("w/1/b", "w/2/b"):
                with pytest.raises(Refused, match="no store"):
                    store.put(name, b"b")
            assert not bare or not list(root.iterdir())
        root.rmdir()
        root.with_name("elsewhere").rename(root)
        store.put("w/2/b", b"b")
        assert names(store.list("")) == ["w/1/a", "w/2/b"]

    def test_a_disk_that_goes_away_during_a_listing_is_no_end(self, root: Path, store: LocalStore):
        for folder in "abcd":
            store.put(f"w/1/{folder}/object", b"1")
        listing = store.list("w/")
        next(listing)
        root.rename(root.with_name("elsewhere"))
        with pytest.raises(StoreUnreachable):
            list(listing)

    def test_a_disk_exchanged_during_a_listing_is_no_end(self, root: Path, store: LocalStore):
        for folder in "abcd":
            store.put(f"w/1/{folder}/object", b"1")
        listing = store.list("w/")
        next(listing)
        root.rename(root.with_name("elsewhere"))
        LocalStore(root).prepare()
        with pytest.raises(StoreUnreachable, match="exchanged"):
            list(listing)

    @pytest.mark.parametrize("path", ["file", "file/below"])
    def test_a_file_cannot_be_prepared(self, tmp_path: Path, path: str):
        (tmp_path / "file").write_bytes(b"mine")
        with pytest.raises(Refused):
            LocalStore(tmp_path / path).prepare()
        with pytest.raises(Refused):
            list(LocalStore(tmp_path / path).list(""))
        assert (tmp_path / "file").read_bytes() == b"mine"

    def test_folders_removed_meanwhile_are_made_again(self, root: Path, store: LocalStore):
        store.put("w/1/packs/ab/a", b"a")
        shutil.rmtree(root / "w")
        shutil.rmtree(root / ".tmp")
        with pytest.raises(StoreUnreachable) as caught:  # the caller tries again
            store.put("w/1/packs/ab/b", b"b")
        assert not isinstance(caught.value, Refused)
        store.put("w/1/packs/ab/b", b"b")
        assert names(store.list("")) == ["w/1/packs/ab/b"]


class TestListing:
    def test_leaves_out_what_is_not_ours(self, root: Path, store: LocalStore):
        store.put("w/1/head.json", b"1")
        (root / "lost+found").mkdir(mode=0)
        (root / "w/.DS_Store").write_bytes(b"a file manager")
        (root / "w/1/Copy of head.json").write_bytes(b"a user")
        (root / ".tmp/0123456789abcdef").write_bytes(b"half a put")
        os.mkfifo(root / "w/.pipe")
        assert names(store.list("")) == ["w/1/head.json"]

    def test_bears_folders_and_files_that_vanish(self, root: Path, store: LocalStore):
        for folder in "abcd":
            for file in "1234":
                store.put(f"w/{folder}/{file}", b"1")
        listing = store.list("w/")
        first = next(listing).name
        others = [folder for folder in "abcd" if folder not in first]
        shutil.rmtree(root / "w" / others[0])
        shutil.rmtree(root / "w" / others[1])
        (root / "w" / others[2] / "1").unlink()
        vanished = next(file for file in "1234" if not first.endswith(file))
        (root / first).with_name(vanished).unlink()
        expected = [f"w/{first[2]}/{file}" for file in "1234" if file != vanished]
        expected += [f"w/{others[2]}/{file}" for file in "234"]
        assert sorted([first, *names(listing)]) == sorted(expected)

    def test_reads_only_folders_that_can_hold_the_prefix(self, store: LocalStore, monkeypatch: pytest.MonkeyPatch):
        for name in ("w/1/packs/ab/a", "w/1/packs/cd/a", "w/1/manifests/m", "w/12/a", "w/2/packs/ab/a"):
            store.put(name, b"1")
        read: list[str] = []
        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: read.append(path) or scandir(path))
        assert names(store.list("w/1/packs/a")) == ["w/1/packs/ab/a"]
        assert [path.partition("backups/")[2] for path in read] == ["w/1/packs/", "w/1/packs/ab/"]

    def test_modified_is_the_time_of_the_file(self, root: Path, store: LocalStore):
        store.put("w/1/a", b"a")
        os.utime(root / "w/1/a", (1, 1234567890.5))
        assert store.head("w/1/a").modified == 1234567890.5
        assert [found.modified for found in store.list("")] == [1234567890.5]


class TestAnotherPersonsFile:
    def test_that_would_fill_the_memory_is_not_read(self, root: Path, store: LocalStore):
        store.put("w/1/head.json", b"1")
        os.truncate(root / "w/1/head.json", 1 << 40)  # which takes no room on the disk
        with pytest.raises(TooLarge, match="larger than any object of ours"):
            store.get("w/1/head.json")
        assert store.head("w/1/head.json").size == 1 << 40


class TestSymbolicLinks:
    def test_the_root_may_be_one(self, tmp_path: Path, root: Path):
        (tmp_path / "big disk").mkdir()
        root.symlink_to(tmp_path / "big disk")
        store = LocalStore(root)
        store.put("w/1/a", b"a")
        assert (tmp_path / "big disk/w/1/a").read_bytes() == b"a"
        assert names(store.list("")) == ["w/1/a"]

    def test_none_leads_out_of_the_store(self, tmp_path: Path, root: Path, store: LocalStore):
        store.put("w/1/a", b"a")
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_bytes(b"mine")
        (root / "w/link").symlink_to(outside)
        for ask in (
            lambda: store.put("w/link/precious", b"overwritten"),
            lambda: store.put("w/link/deep/new", b"new"),
            lambda: store.get("w/link/precious"),
            lambda: store.head("w/link/precious"),
            lambda: store.delete("w/link/precious"),
            lambda: list(store.list("w/link/")),
            lambda: list(store.list("w/")),
            lambda: list(store.list("")),
        ):
            with pytest.raises(Refused, match="link"):
                ask()
        assert [(path.name, path.read_bytes()) for path in outside.iterdir()] == [("precious", b"mine")]
        assert names(store.list("w/1/")) == ["w/1/a"]

    def test_one_to_a_file_is_read_but_never_written_through(self, tmp_path: Path, root: Path, store: LocalStore):
        store.put("w/1/a", b"a")
        (tmp_path / "moved").write_bytes(b"moved away")
        for name in "bc":
            (root / "w/1" / name).symlink_to(tmp_path / "moved")
        assert store.get("w/1/b") == b"moved away"
        assert store.head("w/1/b").size == 10
        assert [found.size for found in store.list("w/1/b")] == [10]
        store.put("w/1/b", b"new")
        store.delete("w/1/c")
        assert (tmp_path / "moved").read_bytes() == b"moved away"
        assert store.get("w/1/b") == b"new"
        assert names(store.list("")) == ["w/1/a", "w/1/b"]

    def test_one_to_nothing_is_not_passed_over(self, root: Path, store: LocalStore):
        store.put("w/1/a", b"a")
        (root / "w/1/b").symlink_to("/no/such/disk/b")
        with pytest.raises(Refused, match="points to nothing"):
            list(store.list("w/"))
        with pytest.raises(ObjectMissing):
            store.get("w/1/b")

    @pytest.mark.parametrize("linked", [False, True])
    def test_a_pipe_is_refused_and_never_waited_for(self, tmp_path: Path, root: Path, store: LocalStore, linked: bool):
        store.put("w/1/a", b"a")
        if linked:
            os.mkfifo(tmp_path / "pipe")
            (root / "w/1/b").symlink_to(tmp_path / "pipe")
        else:
            os.mkfifo(root / "w/1/b")
        for ask in (lambda: store.get("w/1/b"), lambda: store.head("w/1/b"), lambda: list(store.list("w/"))):
            with pytest.raises(Refused, match="no regular file"):
                ask()


class TestNames:
    def test_the_marker_is_no_object(self, root: Path, store: LocalStore):
        before = (root / MARKER).read_bytes()
        for ask in (
            lambda: store.put(MARKER, b"x"),
            lambda: store.get(MARKER),
            lambda: store.head(MARKER),
            lambda: store.delete(MARKER),
        ):
            with pytest.raises(Refused):
                ask()
        assert (root / MARKER).read_bytes() == before
        assert list(store.list(MARKER)) == []

    def test_an_object_is_no_folder_and_a_folder_no_object(self, root: Path, store: LocalStore):
        store.put("w/1/a", b"a")
        for name in ("w/1/a/below", "w/1"):
            with pytest.raises(StoreUnreachable):
                store.put(name, b"x")
        assert names(store.list("")) == ["w/1/a"]
        assert not list((root / ".tmp").iterdir())


@contextmanager
def an_ordinary_user_owning(folder: str) -> Iterator[None]:
    """Root may read and write everything; then permissions are tested as somebody else."""
    if os.geteuid():
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestPermissions:
    @pytest.fixture
    def root(self) -> Iterator[Path]:
        """A folder that an ordinary user reaches, unlike pytest's own."""
        with tempfile.TemporaryDirectory() as parent:
            root = Path(parent, "backups")
            with an_ordinary_user_owning(parent):
                yield root

    @pytest.fixture
    def store(self, root: Path) -> LocalStore:
        store = LocalStore(root)
        store.put("w/1/a", b"a")
        return store

    def test_a_folder_that_cannot_be_written_cannot_be_prepared(self, root: Path):
        root.mkdir(mode=0o555)
        for path in (root, root / "below", root / "deep/below"):
            with pytest.raises(Refused, match="not writable"):
                LocalStore(path).prepare()

    def test_a_store_that_cannot_be_written_can_be_read(self, root: Path, store: LocalStore):
        for folder in (root, root / "w", root / "w/1", root / ".tmp"):
            folder.chmod(0o555)
        for other in (store, LocalStore(root)):
            for ask in (
                lambda store: store.put("w/1/b", b"b"),
                lambda store: store.put("w/1/a", b"b"),
                lambda store: store.delete("w/1/a"),
            ):
                with pytest.raises(Refused, match="not writable"):
                    ask(other)
            assert names(other.list("")) == ["w/1/a"]
            assert other.get("w/1/a") == b"a"
        for folder in (root, root / "w", root / "w/1", root / ".tmp"):
            folder.chmod(0o755)

    @pytest.mark.parametrize("closed", ["w", "w/1", "."])
    def test_a_folder_that_cannot_be_read_is_no_empty_listing(self, root: Path, store: LocalStore, closed: str):
        store.put("w/2/b", b"b")
        (root / closed).chmod(0)
        try:
            with pytest.raises(Refused, match="not readable"):
                list(store.list(""))
            for ask in (store.get, store.head):
                with pytest.raises(Refused, match="not readable"):
                    ask("w/1/a")
        finally:
            (root / closed).chmod(0o755)

    def test_objects_can_be_read_by_whom_the_umask_lets(self, root: Path, store: LocalStore):
        old = os.umask(0o027)
        try:
            store.put("w/1/shared", b"1")
        finally:
            os.umask(old)
        assert stat.S_IMODE((root / "w/1/shared").stat().st_mode) == 0o640


WILL_NOT_CHANGE = [
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EXDEV,
]
MAY_CHANGE = [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE, errno.EBUSY, errno.ENODEV]


class TestErrorsOfTheSystem:
    @pytest.mark.parametrize("step", ["open", "write", "fsync", "replace", "mkdir"])
    @pytest.mark.parametrize("number", WILL_NOT_CHANGE + MAY_CHANGE, ids=errno.errorcode.get)
    def test_a_put_that_fails_leaves_the_old(
        self, root: Path, store: LocalStore, step: str, number: int, monkeypatch: pytest.MonkeyPatch
    ):
        store.put("w/1/head.json", b"old")
        name = "w/1/new/folder" if step == "mkdir" else "w/1/head.json"
        with monkeypatch.context() as broken:
            broken.setattr(os, step, failing(number))
            with pytest.raises(StoreUnreachable) as caught:
                store.put(name, b"new")
        assert isinstance(caught.value, Refused) == (number in WILL_NOT_CHANGE)
        assert caught.value.hint
        assert str(root) in str(caught.value)
        assert {found.name: store.get(found.name) for found in store.list("")} == {"w/1/head.json": b"old"}
        assert not list((root / ".tmp").iterdir())
        store.put(name, b"new")
        assert store.get(name) == b"new"

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT], ids=errno.errorcode.get)
    def test_a_disk_that_cannot_be_read_is_unreachable(
        self, store: LocalStore, number: int, monkeypatch: pytest.MonkeyPatch
    ):
        store.put("w/1/a", b"a")
        with monkeypatch.context() as broken:
            broken.setattr(os, "stat", failing(number))
            for ask in (store.get, store.head, lambda prefix: list(store.list(prefix))):
                with pytest.raises(StoreUnreachable) as caught:
                    ask("w/1/a")
                assert not isinstance(caught.value, Refused)
        with monkeypatch.context() as broken:
            broken.setattr(os, "scandir", failing(number))
            with pytest.raises(StoreUnreachable):
                list(store.list("w/1/"))
        with monkeypatch.context() as broken:
            broken.setattr(os, "unlink", failing(number))
            with pytest.raises(StoreUnreachable):
                store.delete("w/1/a")
        assert store.get("w/1/a") == b"a"

    def test_short_writes_are_continued(self, store: LocalStore, monkeypatch: pytest.MonkeyPatch):
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:1000]))
        store.put("w/1/a", noise(12_345))
        assert store.get("w/1/a") == noise(12_345)

    def test_a_file_system_that_cannot_sync_is_used_all_the_same(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
        store.put("w/1/a", b"a")
        assert store.get("w/1/a") == b"a"


def failing(number: int):
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


class TestDurability:
    """What is in place is on the disk: every entry is synced after it was made, before anybody is told."""

    @pytest.fixture
    def journal(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
        """(what was done, the inode of the file or folder that it was done to), in order."""
        done: list[tuple[str, int]] = []
        sync, mkdir, replace, unlink = local._sync, os.mkdir, os.replace, os.unlink

        def inode(path: str) -> int:
            return os.stat(path).st_ino

        def noted_sync(descriptor: int) -> None:
            sync(descriptor)
            done.append(("sync", os.fstat(descriptor).st_ino))

        def noted_mkdir(path: str, *mode: int) -> None:
            mkdir(path, *mode)
            done.append(("entry", inode(os.path.dirname(path))))

        def noted_replace(old: str, new: str) -> None:
            moved = inode(old)
            replace(old, new)
            done.append(("moved", moved))
            done.append(("entry", inode(os.path.dirname(new))))

        def noted_unlink(path: str) -> None:
            unlink(path)
            done.append(("entry", inode(os.path.dirname(path))))

        monkeypatch.setattr(local, "_sync", noted_sync)
        monkeypatch.setattr(os, "mkdir", noted_mkdir)
        monkeypatch.setattr(os, "replace", noted_replace)
        monkeypatch.setattr(os, "unlink", noted_unlink)
        return done

    def check(self, journal: list[tuple[str, int]], root: Path) -> None:
        aside = (root / ".tmp").stat().st_ino  # nothing in it has to outlive anything
        for position, (what, inode) in enumerate(journal):
            if what == "moved":
                assert ("sync", inode) in journal[:position], "bytes first, then the name"
            if what == "entry" and inode != aside:
                assert ("sync", inode) in journal[position:], "a folder is synced after its entry changed"

    def test_of_the_first_put(self, tmp_path: Path, journal: list[tuple[str, int]]):
        root = tmp_path / "deep/backups"
        LocalStore(root).put("w/1/packs/ab/a", b"a")
        self.check(journal, root)
        changed = {inode for what, inode in journal if what == "entry"}
        for folder in (
            tmp_path,
            root.parent,
            root,
            root / "w",
            root / "w/1",
            root / "w/1/packs",
            root / "w/1/packs/ab",
        ):
            assert folder.stat().st_ino in changed

    def test_of_folders_that_somebody_else_made(self, root: Path, store: LocalStore, journal: list[tuple[str, int]]):
        (root / "w/1/packs").mkdir(parents=True)
        store.put("w/1/packs/a", b"a")
        for folder in (root, root / "w", root / "w/1", root / "w/1/packs"):
            assert ("sync", folder.stat().st_ino) in journal

    def test_of_a_put_like_the_last_costs_two_syncs(self, store: LocalStore, journal: list[tuple[str, int]]):
        store.put("w/1/packs/ab/a", b"a")
        journal.clear()
        store.put("w/1/packs/ab/b", b"b")
        assert [what for what, _ in journal] == ["sync", "moved", "entry", "sync"]

    def test_of_a_delete(self, root: Path, store: LocalStore, journal: list[tuple[str, int]]):
        store.put("w/1/a", b"a")
        folder = (root / "w/1").stat().st_ino
        journal.clear()
        store.delete("w/1/a")
        assert journal == [("entry", folder), ("sync", folder)]
        journal.clear()
        store.delete("w/1/a")
        assert journal == [("sync", folder)]


class TestLeftovers:
    def test_old_ones_are_cleared_away_and_young_ones_left(self, root: Path, store: LocalStore):
        aside = root / ".tmp"
        (aside / "old").write_bytes(b"a put killed days ago")
        (aside / "young").write_bytes(b"another process is putting right now")
        now = (aside / "young").stat().st_mtime
        os.utime(aside / "old", (now, now - DAY - 60))
        os.utime(aside / "young", (now, now - DAY + 60))
        LocalStore(root).put("w/1/a", b"a")
        assert [path.name for path in aside.iterdir()] == ["young"]


def run(program: str, *arguments: object, before: tuple[str, ...] = (), **options) -> subprocess.Popen[str]:
    """A Python program as a process of its own, which can be killed or limited."""
    environment = os.environ | {"PYTHONPATH": str(Path(dwebbackup.__file__).parents[1])}
    command = [*before, sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


KILLED_AT_EVERY_LINE = """
import os, signal, sys
from dwebbackup.stores import local

def killed_at(line, root):
    '''Fork a process which puts, and kills itself when it comes to the line-th line of the store's module.'''
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    def trace(frame, event, _):
        nonlocal line
        if frame.f_code.co_filename != local.__file__:
            return None
        line -= event == 'line'
        if line == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    store = local.LocalStore(root)
    sys.settrace(trace)
    store.put('w/1/head.json', b'first')
    store.put('w/1/head.json', b'second')
    store.put('w/1/packs/ab/abc', b'third')
    os._exit(0)

line = 1
while killed_at(line, os.path.join(sys.argv[1], str(line))):
    line += 1
print(line)
"""

WHOLE = {"w/1/head.json": (b"first", b"second"), "w/1/packs/ab/abc": (b"third",)}

PUTS_FOREVER = """
import hashlib, itertools, os, sys, threading
from dwebbackup.stores import local

local._sync = lambda descriptor: None  # most of the time would go there, and hardly a kill would meet a write

def put(number):
    data = hashlib.shake_128(bytes([number])).digest(4 << 20)
    digest = hashlib.sha256(data).hexdigest()
    for turn in itertools.count():
        name = f'w/1/packs/{number}{turn % 16:02x}/{digest}.age'
        store.put(name, data)
        os.write(1, (name + '\\n').encode())  # at once, or every kill would come as late as the last

store = local.LocalStore(sys.argv[1])
store.prepare()
for number in range(4):
    threading.Thread(target=put, args=[number]).start()
"""


class TestKilled:
    def test_at_any_line(self, tmp_path: Path):
        with run(KILLED_AT_EVERY_LINE, tmp_path) as process:
            lines = int(process.communicate()[0])
        assert lines > 100
        assert process.returncode == 0
        for root in tmp_path.iterdir():
            self.check_whole(root)

    def check_whole(self, root: Path) -> None:
        """What is there is whole; and the next process can go on."""
        if (root / MARKER).exists():
            found = {each.name: LocalStore(root).get(each.name) for each in LocalStore(root).list("")}
            assert all(data in WHOLE[name] for name, data in found.items()), root
        after = LocalStore(root)
        after.put("w/1/head.json", b"second")
        after.put("w/1/packs/ab/abc", b"third")
        assert {each.name: after.get(each.name) for each in after.list("")} == {
            name: versions[-1] for name, versions in WHOLE.items()
        }

    @pytest.mark.parametrize("puts", [1, 2, 3, 5, 8, 13, 21, 34])
    def test_at_random_while_four_threads_put(self, root: Path, puts: int):
        with run(PUTS_FOREVER, root, bufsize=0) as process:
            acknowledged = [process.stdout.readline().strip() for _ in range(puts)]
            process.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        store = LocalStore(root)
        found = names(store.list("w/1/packs/"))
        assert set(acknowledged) <= set(found)
        for name in found:
            assert digest(store.get(name)) in name


FILLS_THE_DISK = """
import os, sys
from dwebbackup.stores import Refused
from dwebbackup.stores.local import LocalStore

store = LocalStore(sys.argv[1])
kept = {}

def put(name, data):
    try:
        store.put(name, data)
    except Refused as error:
        assert 'no room left' in str(error) and error.hint, error
        return False
    kept[name] = data
    return True

size = 1024
while put(f'w/1/packs/{size}', os.urandom(size)):
    size *= 2
assert size >= 65536, size
assert not put('w/1/packs/1024', os.urandom(size)), 'overwritten on a full disk'
found = {each.name: store.get(each.name) for each in store.list('')}
assert found == kept, found.keys() ^ kept.keys()
assert not os.listdir(os.path.join(sys.argv[1], '.tmp'))
store.delete(f'w/1/packs/{size // 2}')
assert put('w/1/packs/next', b'next')
print('held')
"""

ON_A_SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
"""Its mounts are seen by nobody else, and end with it."""


def small_disks_can_be_mounted(folder: str) -> bool:
    try:
        return not subprocess.run([*ON_A_SMALL_DISK, f"mount -t tmpfs none {folder}"], capture_output=True).returncode
    except FileNotFoundError:
        return False


class TestFullDisk:
    def test_at_the_limit_of_a_files_size(self, root: Path):
        limited = ("sh", "-c", 'ulimit -f 512 && exec "$@"', "sh")
        with run(FILLS_THE_DISK, root, before=limited) as process:
            assert process.communicate()[0] == "held\n"

    @pytest.mark.skipif(not small_disks_can_be_mounted("/mnt"), reason="no user namespaces, or not Linux")
    def test_at_the_end_of_a_disk(self, root: Path):
        root.mkdir()
        mounted = (*ON_A_SMALL_DISK, f'mount -t tmpfs -o size=1m none "{root}" && exec "$@"', "sh")
        with run(FILLS_THE_DISK, root, before=mounted) as process:
            assert process.communicate()[0] == "held\n"


class TestSeveralAtOnce:
    def test_many_stores_on_one_new_folder(self, root: Path):
        """Eight daemons that start at once."""
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                LocalStore(root).put(f"w/{number}/head.json", b"1")
            except BaseException as failure:  # a thread would keep it to itself
                failures.append(failure)

        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert names(LocalStore(root).list("")) == [f"w/{number}/head.json" for number in range(8)]


def test_a_folder_is_nearer_than_any_other_store(tmp_path: Path):
    assert LocalStore(tmp_path).traits.distance == 0
