"""Where a folder is restored: filled under a temporary name beside it, and renamed when complete.

What is a mount point cannot be renamed, and beside a folder whose parent belongs to somebody else nothing can be made:
such a folder is filled in one of ours inside of it, and what is in that is moved up at the end, name by name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from dwebbackup import clock
from dwebbackup.errors import DatabaseRefused, RestoreFailed, TargetNotEmpty
from dwebbackup.sources.files.excluding import RESERVED
from dwebbackup.sources.files.folder import contents, first_named, refused

MOUNTS = "/proc/self/mountinfo"
"""Of Linux: a line a mount; the fifth word is where (proc(5))."""


class State(Enum):
    """What stands where the restored folder is to be."""

    ABSENT = "absent"
    EMPTY = "empty"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a restore goes, and how it gets there."""

    path: str
    state: State
    objects: tuple[str, ...] = ()
    """The first few things that stand there."""
    inside: bool = False
    """Whether it stays, and only what is in it changes."""

    @property
    def temporary(self) -> str:
        """The same for every restore to this path, so that a killed one's left-over is recognised."""
        if self.inside:
            return os.path.join(self.path, f"{RESERVED}restoring")
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return os.path.join(os.path.dirname(self.path), f"{RESERVED}restoring_{digest}")

    def beside(self, what: str) -> str:
        """A name for another folder: this one's, with *what* became of that, and when."""
        stamp = "".join(filter(str.isdigit, clock.iso(clock.now())))[:14]
        if self.inside:
            return os.path.join(self.path, f"{RESERVED}{what}_{stamp}")
        return f"{self.path}_{what}_{stamp}"


def look(path: str) -> Place:
    """What is at *path* now. Raises `DatabaseRefused`."""
    path = os.path.realpath(path)
    above = os.path.dirname(path)
    with refused(above):
        os.stat(above)
    if not os.path.lexists(path):
        return Place(path, State.ABSENT)
    objects = first_named(path)
    with refused(path), os.scandir(path) as entries:
        ours = any(entry.name.startswith(RESERVED) for entry in entries)
    inside = ours or _is_mount(path) or not _is_ours(above)
    state = State.FULL if objects else State.EMPTY
    return Place(path, state, objects, inside)


def _is_ours(folder: str) -> bool:
    """Whether something can be made in it."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def require_room(place: Place, *, replace: bool) -> None:
    """Raises `TargetNotEmpty` when something is there that may not be replaced."""
    if place.state is State.FULL and not replace:
        raise TargetNotEmpty(
            f"{place.path} holds {', '.join(place.objects)}, …; nothing was touched",
            "name another folder, or say --replace: what is there is kept under another name",
        )


@contextmanager
def temporary_folder(place: Place) -> Iterator[str]:
    """A new, empty folder of ours, removed again if anything fails. Raises `RestoreFailed`, `DatabaseRefused`."""
    path = place.temporary
    with _only_one(path) as lock:
        try:
            _clear(path)
            yield path
        except BaseException as error:
            if os.path.lexists(path) and _is(lock, path):
                _remove_after(error, path)
            raise


@contextmanager
def _only_one(path: str) -> Iterator[int]:
    """Make the folder, and hold it against a second restore to the same place."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # of a restore that was killed, or that goes on
    except OSError as error:
        above = os.path.dirname(path)
        raise DatabaseRefused(f"nothing can be made in {above}: {error.strerror}", "name a folder elsewhere") from error
    with refused(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseRefused(f"another restore fills {path}", "wait for it to end") from None
        yield descriptor
    finally:
        os.close(descriptor)


def _is(descriptor: int, path: str) -> bool:
    ours, there = os.fstat(descriptor), os.lstat(path)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _clear(path: str) -> None:
    """Empty it: what is in it is the left-over of a killed restore. Raises `RestoreFailed`."""
    try:
        os.chmod(path, 0o700)
        for above, folders, _ in os.walk(path):
            for folder in folders:
                if not os.path.islink(os.path.join(above, folder)):
                    os.chmod(os.path.join(above, folder), 0o700)  # before it is looked into
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
    except OSError as error:
        raise RestoreFailed(f"{path} could not be cleared: {error.strerror}", "remove it, and try again") from error


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _remove_after(error: BaseException, path: str) -> None:
    """What fails here is said beside *error*, never instead of it."""
    try:
        _clear(path)
        os.rmdir(path)
    except (OSError, RestoreFailed) as another:
        error.add_note(f"{path} is left over, and the next restore to the same place clears it: {another}")


def take_place(place: Place) -> tuple[str, ...]:
    """Put the filled folder into its place; what stands there steps aside. What the user should know.

    Raises `RestoreFailed` when it cannot be put there; then the target is as it was, with the filled one beside it.
    """
    try:
        return _move_up(place) if place.inside else _rename(place)
    except OSError as error:
        told = f"{place.path} could not be replaced: {error.strerror}; {_kept(place)}"
        raise RestoreFailed(told, "make room, and move it to its place; or remove it") from error


def _kept(place: Place) -> str:
    """Where the filled folder is from now on."""
    kept = place.beside("restored")
    try:
        os.rename(place.temporary, kept)
    except OSError as error:
        return f"nor could what was restored be kept: {error.strerror}"
    return f"what was restored is complete, and kept as {kept}"


def _rename(place: Place) -> tuple[str, ...]:
    """An empty folder gives way by itself; one that has been filled meanwhile does not."""
    if place.state is not State.FULL:
        os.rename(place.temporary, place.path)
        return ()
    aside = place.beside("before")
    os.rename(place.path, aside)
    try:
        os.rename(place.temporary, place.path)
    except OSError:
        os.rename(aside, place.path)
        raise
    return (f"the folder that was there is kept as {aside}; remove it when you no longer need it",)


def _move_up(place: Place) -> tuple[str, ...]:
    """Not in one step: whoever looks meanwhile sees a part."""
    there = list(contents(place.path))
    if there and place.state is not State.FULL:
        raise FileExistsError(0, "it has been filled meanwhile")
    notes: tuple[str, ...] = ()
    if there:
        aside = place.beside("before")
        os.mkdir(aside, 0o700)
        for name in there:
            os.rename(os.path.join(place.path, name), os.path.join(aside, name))
        notes = (f"what was there is kept in {aside}; remove it when you no longer need it",)
    for name in os.listdir(place.temporary):
        os.rename(os.path.join(place.temporary, name), os.path.join(place.path, name))
    os.rmdir(place.temporary)
    return notes


def _is_mount(path: str) -> bool:
    """Also of what was mounted from the same file system, where the system tells."""
    if os.path.ismount(path):
        return True
    try:
        with open(MOUNTS, "rb") as lines:
            points = [line.split(b" ")[4] for line in lines]
    except OSError:
        return False
    return os.fsencode(path) in (_unescape(point) for point in points)


def _unescape(point: bytes) -> bytes:
    """Blanks, tabs, line ends and backslashes are octal there."""
    for code in (b"\\040", b"\\011", b"\\012", b"\\134"):
        point = point.replace(code, bytes((int(code[1:], 8),)))
    return point
