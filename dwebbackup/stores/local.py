"""A store in a folder of this machine: each object a file, written aside, synced, then renamed into place."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import quote

from dwebbackup.errors import ObjectMissing, StoreUnreachable
from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.stores import LOOK_WHO_NEEDS_IT, Refused, check_name, check_prefix, check_size, is_segment

MARKER = "dwebbackup-store"
"""A file in the root that says: this is the store, and not the empty folder that its disk is mounted on."""

_README = b"Backups made by dwebbackup. Everything in this folder belongs to them; leave it as it is.\n"
_ASIDE = ".tmp"
_WRITERS = "w"
_DAY = 86400.0

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG}
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOTTY}


class LocalStore:
    """The folder *path* as a `Store`.

    An object is whole or not there, whatever ends the process or the machine; when `put` or `delete` returns,
    it is on the disk. `Refused` is raised for what another try cannot mend: no room, no permission, no store.

    Symbolic links: the root may be one, or lie behind some. Below it, one in place of a folder is refused, so
    that no put and no prune ever leaves the store. One in place of an object is read if a regular file stands
    at its end (whoever reads checks the digest); put replaces the link, delete removes it, never its target.
    """

    def __init__(self, path: str | os.PathLike[str], name: str = "local") -> None:
        self._name = name
        self._root = os.path.abspath(path)
        self._aside = os.path.join(self._root, _ASIDE)
        self._marker = os.path.join(self._root, MARKER)
        self._prepared = False
        self._durable: set[str] = set()  # folders that are known to outlive a power cut

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return _file_url(self._root)

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(distance=0)

    def prepare(self) -> None:
        """Make the root if there is none, mark it as a store, and clear away what killed puts left.

        For those who will write: a reader must not turn the empty mount point of a lost disk into a store.
        Raises `StoreUnreachable` when the root cannot be made or written.
        """
        with self._telling("prepare the store"):
            _make_with_parents(self._root)
            os.makedirs(self._aside, exist_ok=True)
            self._durable = {self._root}
            self._remove_leftovers()
            if not os.path.exists(self._marker):
                self._place(self._marker, _README)
            self._prepared = True

    def has_begun(self) -> bool:
        """Whether there is a store; True where that cannot be told, so that the first call says what hinders it."""
        try:
            self._find_store()
        except Refused:
            return False
        except OSError:
            return True
        return True

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        """As the port says. The first one prepares the store."""
        path = self._path(name)
        if not self._prepared:
            self.prepare()
        with self._telling(f"keep {name}"):
            try:
                self._place(path, data)
            except FileNotFoundError:
                self._find_store()  # when the whole store is gone, nobody makes a new one in its place
                self._prepared = False
                raise
        return (_file_url(path),)

    def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
        path = self._path(name)
        with self._telling(f"read {name}", reading=True), self._missing(name):
            _object_status(path)
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                check_size(f"{name} in store {self._name}", size)
                return file.read(size)

    def head(self, name: str) -> Stored:
        path = self._path(name)
        with self._telling(f"read {name}", reading=True), self._missing(name):
            status = _object_status(path)
            return Stored(name, status.st_size, status.st_mtime)

    def list(self, prefix: str) -> Iterator[Stored]:
        check_prefix(prefix)
        folder, slash, beginning = prefix.rpartition("/")
        self._folder(folder)  # refuses links
        return self._list(folder + slash, beginning)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._telling(f"delete {name}"):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                self._find_store()
            # Prune relies on this: a manifest that came back after a power cut would name packs that did not.
            # Also when there was nothing to delete: whoever deleted it may have been killed before this.
            with suppress(FileNotFoundError, NotADirectoryError):
                _sync_folder(os.path.dirname(path))

    # Out

    def _place(self, path: str, data: bytes) -> None:
        """The file aside comes first: where it cannot be made, no folder is made either."""
        temporary = os.path.join(self._aside, secrets.token_hex(16))
        try:
            _write(temporary, data)
            self._make_folder(os.path.dirname(path))
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(os.path.dirname(path))

    def _make_folder(self, folder: str) -> None:
        """Make a folder below the root, if this process has not seen to it before."""
        if folder not in self._durable:
            self._make_folder(os.path.dirname(folder))
            _make_durably(folder)
            self._durable.add(folder)

    def _remove_leftovers(self) -> None:
        """Remove what is over a day old by the clock of the disk, which may be another machine's."""
        probe = os.path.join(self._aside, secrets.token_hex(16))
        _write(probe, b"")  # this also finds out whether the store can be written
        now = os.stat(probe).st_mtime
        os.unlink(probe)
        with os.scandir(self._aside) as entries:
            for entry in entries:
                with suppress(OSError):  # another process may be clearing away, too
                    if now - entry.stat(follow_symlinks=False).st_mtime > _DAY:
                        os.unlink(entry.path)

    # Back

    def _list(self, folder: str, beginning: str) -> Iterator[Stored]:
        with self._telling("list", reading=True):
            store = self._find_store()
            yield from self._walk(folder, beginning)
            if self._find_store() != store:  # the folders that "vanished" on the way did so with their disk
                raise StoreUnreachable(f"{self._root} was exchanged while it was listed")

    def _walk(self, folder: str, beginning: str = "") -> Iterator[Stored]:
        """What lies below *folder*, which is empty or ends in `/`, and goes on with *beginning*."""
        for entry in _entries(os.path.join(self._root, folder)):
            name = folder + entry.name
            # What cannot be an object is not ours: `.tmp`, `lost+found`, what file managers leave.
            if not entry.name.startswith(beginning) or not is_segment(entry.name) or name == MARKER:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name + "/")
            elif status := _status_unless_deleted(entry):
                _check_regular(entry.path, status)
                yield Stored(name, status.st_size, status.st_mtime)

    def _find_store(self) -> tuple[int, int]:
        """Which folder the store is right now. Raises `Refused` when there is none."""
        for sign in (self._marker, os.path.join(self._root, _WRITERS)):
            with suppress(FileNotFoundError, NotADirectoryError):
                os.stat(sign)
                root = os.stat(self._root)
                return root.st_dev, root.st_ino
        raise Refused(f"there is no store in {self._root}", "is its disk mounted, and the path right?")

    # Names and errors

    def _path(self, name: str) -> str:
        """The file of an object. Raises `Refused` for what cannot name one."""
        check_name(name)
        if name == MARKER:
            raise Refused(f"{name!r} is the store's own file")
        folder, _, last = name.rpartition("/")
        return os.path.join(self._folder(folder), last)

    def _folder(self, name: str) -> str:
        """The folder *name* below the root. Raises `Refused` when a symbolic link stands on the way."""
        path = self._root
        for part in filter(None, name.split("/")):
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise Refused(f"{path} is a symbolic link", "put the folder itself there, or link all")
        return path

    @contextmanager
    def _missing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._find_store()
            raise ObjectMissing(f"store {self._name} has no {name}", LOOK_WHO_NEEDS_IT) from None

    @contextmanager
    def _telling(self, what: str, *, reading: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._told(error, what, reading=reading) from error

    def _told(self, error: OSError, what: str, *, reading: bool) -> StoreUnreachable:
        """The system's error as ours: `Refused` where nothing changes by itself."""
        failed = f"cannot {what}: {error}"
        if error.errno in _NO_ROOM:
            return Refused(f"no room left in {self._root}: {failed}", "free some, or raise the quota")
        if error.errno in _FORBIDDEN:
            may = "readable" if reading else "writable"
            return Refused(f"{self._root} is not {may}: {failed}", "check its owner, and how it is mounted")
        if error.errno in _IN_THE_WAY:
            return Refused(f"{self._root}: {failed}", "something else stands there; move it away")
        return StoreUnreachable(f"{self._root}: {failed}", "is its disk in order?")


def _file_url(path: str) -> str:
    return "file://" + quote(os.fsencode(path))


def _write(path: str, data: bytes) -> None:
    """A new file with *data*, on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _make_with_parents(folder: str) -> None:
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        _make_durably(each)


def _make_durably(folder: str) -> None:
    """Make one folder; it is there for good once the folder that it stands in is synced.

    Synced also when it was there: whoever made it may not have come that far.
    """
    with suppress(FileExistsError):  # if it is a file, the next step fails
        os.mkdir(folder)
    _sync_folder(os.path.dirname(folder))


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Have it written to the disk itself. Some network file systems cannot; nobody can do better there."""
    try:
        if sys.platform == "darwin":  # whose fsync stops at the drive's cache
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _entries(folder: str) -> Sequence[os.DirEntry[str]]:
    """What stands in a folder; nothing, if it was removed meanwhile. Raises OSError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _object_status(path: str) -> os.stat_result:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError  # other stores know no folders: nothing has this name
    _check_regular(path, status)
    return status


def _status_unless_deleted(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:
        if entry.is_symlink():  # never skipped: it may point to a disk that is not mounted
            raise Refused(f"{entry.path} points to nothing", "mount what it points to, or remove it") from None
        return None


def _check_regular(path: str, status: os.stat_result) -> None:
    """A pipe would be waited for, a device would never end. Raises `Refused`."""
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{path} is no regular file", "move it away, or put the real one there")
