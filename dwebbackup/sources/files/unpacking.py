"""Members of a stream made into files again, never outside of one folder, whatever the stream says.

Every name is opened from the folder that it is in, one name at a time and never through a symbolic link; a file is made
only where nothing is. So no name, link or order of members leads out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

from dwebbackup.errors import Damaged, RestoreFailed
from dwebbackup.sources.files.dressing import Dressing, called
from dwebbackup.sources.files.hearing import Named, readable
from dwebbackup.sources.files.members import Kind, Member, Members, link_names

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
"""Flushes one file system; `os.sync` waits for all of them, and for a server that is away."""


class _Open(NamedTuple):
    """A folder that is being filled."""

    names: tuple[bytes, ...]
    descriptor: int
    member: Member | None
    """What it is to look like in the end; None where that was seen to already."""


class Unpacking:
    """Fills one folder, which is empty at the start, and nobody else's meanwhile."""

    def __init__(self, path: str) -> None:
        self.files = 0
        """Made; folders are not counted."""
        self._path = path
        self._open = [_Open((), os.open(path, _FOLDER), None)]
        self._closed_to_us: list[Member] = []
        self._top: Member | None = None
        self._dressing = Dressing()
        self._left_out = Named()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._open:
            os.close(each.descriptor)
        self._open.clear()

    def unpack(self, chunks: Iterable[bytes]) -> None:
        """Raises `RestoreFailed` for what the system refuses; `Damaged` for what no folder could have held."""
        members = Members(chunks)
        for member in members:
            with _told(member):
                self._make(member, members.content)
            self.files += member.kind is not Kind.FOLDER

    def put_again(self, chunks: Iterable[bytes]) -> None:
        """Newer contents of files that are there, in their places, so that other links to them have these, too."""
        members = Members(chunks)
        for member in members:
            if member.kind is not Kind.FILE:
                raise Damaged(f"what changed while it was read can only be a file, and {called(member)} is none")
            with _told(member):
                self._overwrite(member, members.content)

    def finish(self) -> None:
        """Folders get their times and rights, which would change, or be in the way, before."""
        while len(self._open) > 1:
            self._leave()
        for member in self._closed_to_us:  # what is inside of another one was left first
            with _told(member), self._away(member.names) as descriptor:
                self._dressing.dress(descriptor, member)

    def dress_top(self, path: str) -> None:
        """Give *path* what the backup says of the folder itself, unless it is somebody else's, such as a volume."""
        if self._top:
            descriptor = os.open(path, _FOLDER)
            try:
                self._dressing.dress(descriptor, self._top)
            except PermissionError:
                self._left_out.add("rights and times of the folder itself, which belongs to somebody else")
            finally:
                os.close(descriptor)

    def flush(self) -> None:
        """Wait until the disk has it all: a file of which it had only the name would come out empty."""
        with _told(self._top):
            if _syncfs and _syncfs(self._open[0].descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            if not _syncfs:
                os.sync()

    def shortfalls(self) -> Iterator[str]:
        yield from self._dressing.shortfalls()
        yield from self._left_out.sentences("left out")

    def notes(self) -> Iterator[str]:
        yield from self._dressing.notes()

    # --- one member ---

    def _make(self, member: Member, content: Callable[[], Iterator[memoryview]]) -> None:
        if not member.names:
            self._be_top(member)
            return
        at, name = self._enter(member.names[:-1]), member.names[-1]
        match member.kind:
            case Kind.FILE:
                self._fill(os.open(name, _NEW, 0o600, dir_fd=at), member, content())
            case Kind.FOLDER:
                os.mkdir(name, 0o700, dir_fd=at)
                self._open.append(_Open(member.names, os.open(name, _FOLDER, dir_fd=at), member))
            case Kind.SYMLINK:
                os.symlink(member.link, name, dir_fd=at)
                self._dressing.dress_link(at, name, member)
            case Kind.HARD_LINK:
                self._link(member, at, name)
            case Kind.FIFO:
                os.mkfifo(name, 0o600, dir_fd=at)
                self._dressing.dress_fifo(at, name, member)
            case Kind.CHARACTER_DEVICE | Kind.BLOCK_DEVICE:
                self._left_out.add(f"{called(member)}, a device")

    def _be_top(self, member: Member) -> None:
        if member.kind is not Kind.FOLDER or self._top:
            raise Damaged("the backup has something else in the place of the folder")
        self._top = member

    def _fill(self, descriptor: int, member: Member, content: Iterable[memoryview]) -> None:
        try:
            if member.sparse:
                _write_pieces(descriptor, member.sparse[0], member.sparse[1], content)
            else:
                for piece in content:
                    _write(descriptor, piece)
            self._dressing.dress(descriptor, member)
        finally:
            os.close(descriptor)

    def _overwrite(self, member: Member, content: Callable[[], Iterator[memoryview]]) -> None:
        at, name = self._enter(member.names[:-1]), member.names[-1]
        if not stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            raise Damaged(f"{called(member)} changed while it was read, and is not a file")
        os.chmod(name, 0o600, dir_fd=at)
        self._fill(os.open(name, _AGAIN, dir_fd=at), member, content())

    def _link(self, member: Member, at: int, name: bytes) -> None:
        *above, first = link_names(member)
        with self._away(tuple(above)) as there:
            try:
                os.link(first, name, src_dir_fd=there, dst_dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:  # a link to what was left out
                self._left_out.add(f"{called(member)}, a link to {readable(member.link)}, which is not there")

    # --- folders ---

    def _enter(self, names: tuple[bytes, ...]) -> int:
        """The folder of these names, open; those that were left for it get what they are to have."""
        while self._open[-1].names != names[: len(self._open[-1].names)]:
            self._leave()
        while (depth := len(self._open[-1].names)) < len(names):
            descriptor = os.open(names[depth], _FOLDER, dir_fd=self._open[-1].descriptor)
            self._open.append(_Open(names[: depth + 1], descriptor, None))
        return self._open[-1].descriptor

    def _leave(self) -> None:
        left = self._open.pop()
        try:
            if left.member and left.member.mode & stat.S_IRWXU != stat.S_IRWXU:
                self._closed_to_us.append(left.member)
            elif left.member:
                with _told(left.member):
                    self._dressing.dress(left.descriptor, left.member)
        finally:
            os.close(left.descriptor)

    @contextmanager
    def _away(self, names: tuple[bytes, ...]) -> Iterator[int]:
        """Another folder, without leaving the one that is being filled."""
        descriptor = os.dup(self._open[0].descriptor)
        try:
            for name in names:
                above, descriptor = descriptor, os.open(name, _FOLDER, dir_fd=descriptor)
                os.close(above)
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _told(member: Member | None) -> Iterator[None]:
    """What the system refuses is told of the member that it was about."""
    try:
        yield
    except FileExistsError:
        raise Damaged(f"the backup has {called(member)} twice, or the disk takes two names for one") from None
    except OSError as error:
        hint = "make room, or restore to another disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise RestoreFailed(f"{called(member)} could not be written: {error.strerror}", hint) from error


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _write_pieces(descriptor: int, size: int, pairs: Sequence[int], content: Iterable[memoryview]) -> None:
    """What is not a hole, each piece at its offset."""
    os.ftruncate(descriptor, size)
    pieces = iter(content)
    piece = memoryview(b"")
    for offset, length in zip(pairs[::2], pairs[1::2], strict=True):
        os.lseek(descriptor, offset, os.SEEK_SET)
        left = length
        while left:
            piece = piece or next(pieces)
            _write(descriptor, piece[:left])
            piece, left = piece[left:], left - len(piece[:left])
    for _ in pieces:  # none; but only now is it known to be all
        raise Damaged("a sparse file's pieces are not what its map says")
