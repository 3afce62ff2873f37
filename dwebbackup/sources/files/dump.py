"""A folder read once: one stream of everything in it, and one of what changed meanwhile and is read again.

A folder has no snapshot. What tar notices to have changed while it was read comes once more in the second stream, and
takes its place in a restore; what changed again, and what could not be read, is named, and the backup is incomplete.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from dwebbackup import clock
from dwebbackup.errors import BackupFailed, DatabaseRefused, DwebbackupError
from dwebbackup.manifest import SourceFacts, StreamSpec
from dwebbackup.ports import ByteStream, Condition, Dump, Finding
from dwebbackup.sources.files import folder
from dwebbackup.sources.files.address import Address
from dwebbackup.sources.files.excluding import for_du
from dwebbackup.sources.files.hearing import Hearing, readable
from dwebbackup.sources.files.tar import EVERYTHING, LISTED, Tar, environment, find
from dwebbackup.sources.process import Child, Children

KIND = "files"
FILES, REREAD = "files", "reread"
"""The kinds of its streams."""


class FilesSource:
    """A folder that can be backed up."""

    kind = KIND

    def __init__(self, url: str, name: str = "") -> None:
        self._address = Address.from_url(url)
        self.name = name or os.path.basename(self._address.path) or KIND

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        """As the port says. Raises `DatabaseRefused`, `ToolMissing`."""
        tar = find()
        _require_readable(self._address)
        with Children() as children:
            yield FilesDump(self.name, self._address, tar, children)

    def check(self) -> Iterator[Finding]:
        """As the port says. Raises `DatabaseRefused`."""
        _require_readable(self._address)
        state = folder.condition(self._address)
        yield Finding("folder", "ok", f"{self._address.path} is there, and {state.state}")
        try:
            tar = find()
        except DwebbackupError as error:
            yield Finding.of("client programs", error)
        else:
            yield Finding("client programs", "ok", f"GNU tar {tar.version}: {tar.program}")
        if os.geteuid():
            told = "what this user may not read will be missing, and the backup then says so"
            yield Finding("rights", "notice", told, "root may read everything; or give this user the right to")

    def condition(self) -> Condition:
        """As the port says. Raises `DatabaseRefused`."""
        return folder.condition(self._address)


def _require_readable(address: Address) -> None:
    with folder.refused(address.path), os.scandir(address.path) as entries:
        next(entries, None)


class FilesDump:
    """A folder being read. Nothing holds it still."""

    def __init__(self, name: str, address: Address, tar: Tar, children: Children) -> None:
        self._name = name
        self._address = address
        self._tar = tar
        self._children = children
        self._identity = folder.identity(address)
        self._began, self._clock = clock.now(), clock.monotonic()
        self._first = self._hearing()
        self._second = self._hearing()
        self._first_is_over = threading.Event()
        self._aborted = False
        self.specs: Sequence[StreamSpec] = (StreamSpec(FILES, estimate=self._size()), StreamSpec(REREAD))

    @contextmanager
    def reader(self) -> Iterator[FilesReader]:
        yield FilesReader(self)

    def open_all(self) -> ByteStream:
        return TarStream(self._start(self._first, *EVERYTHING), self._first, self._first_is_over)

    def open_changed(self) -> ByteStream:
        return LateStream(self._reread)

    def _reread(self) -> ByteStream | None:
        """Waits for the first stream's end. None: nothing changed."""
        self._first_is_over.wait()
        if self._aborted:
            raise BackupFailed("the backup was given up")
        changed = [name for name in self._first.changed if not self._is_folder(name)]
        if not changed:
            return None
        ours, theirs = os.pipe()
        with os.fdopen(theirs, "wb") as names:  # as many as a pipe holds, so nobody has to read them meanwhile
            names.write(b"".join(name + b"\0" for name in changed))
        with os.fdopen(ours, "rb") as listed:
            return TarStream(self._start(self._second, *LISTED, stdin=listed), self._second)

    def _is_folder(self, name: bytes) -> bool:
        """In folders, files come and go; what was there when tar listed them was read."""
        path = os.path.join(os.fsencode(self._address.path), name)
        return os.path.isdir(path) and not os.path.islink(path)

    def _hearing(self) -> Hearing:
        return Hearing(self._tar.program)

    def _start(self, hearing: Hearing, *what: str, stdin: int | IO[bytes] = subprocess.DEVNULL) -> Child:
        command = self._tar.command(self._address, *what)
        with hearing.listening() as ear:
            return self._children.add(Child(command, environment(), stdin=stdin, stderr=ear))

    def _size(self) -> int:
        """Bytes of everything in it, as `du` has it; 0 where there is none. Only for progress and the chunks' size."""
        path = self._address.path
        command = ["du", "--summarize", "--apparent-size", "--block-size=1", "--one-file-system"]
        command += [*for_du(path, self._address.exclude), path]
        try:
            child = self._children.add(Child(command, environment()))
        except OSError:
            return 0
        assert child.process.stdout
        said = child.process.stdout.read().partition(b"\t")[0]
        child.end()
        return int(said) if said.isdigit() else 0

    def abort(self) -> None:
        self._aborted = True
        self._children.kill()
        self._first_is_over.set()

    def finish(self) -> SourceFacts:
        """Raises `DatabaseRefused` where another folder has taken its place."""
        if folder.identity(self._address) != self._identity:
            raise DatabaseRefused(f"{self._address.path} became another folder while it was read", "back it up again")
        return SourceFacts(
            name=self._name,
            kind=KIND,
            identity=self._identity,
            database=self._address.path,
            server_version="",
            client_version=f"GNU tar {self._tar.version}",
            encoding="",
            snapshot=clock.iso(self._began),
            snapshot_seconds=round(clock.monotonic() - self._clock, 3),
            details=tuple(self._details()),
            notes=tuple(self._notes()),
            shortfalls=tuple(self._shortfalls()),
        )

    def _details(self) -> Iterator[tuple[str, str]]:
        if self._address.exclude:
            yield "exclude", ", ".join(self._address.exclude)

    def _notes(self) -> Iterator[str]:
        yield from self._first.skipped.sentences("left out")
        if gone := self._first.gone + self._second.gone:
            yield f"{gone:,} went away while the folder was read"

    def _shortfalls(self) -> Iterator[str]:
        yield from self._first.unread.sentences("could not be read")
        yield from self._second.unread.sentences("could not be read again")
        yield from self._first.unsettled.sentences("changed while it was read")
        for name in self._second.changed:
            self._second.unsettled.add(readable(name))
        yield from self._second.unsettled.sentences("changed while it was read, twice")


class FilesReader:
    """Opens streams one after the other."""

    def __init__(self, dump: FilesDump) -> None:
        self._dump = dump

    def open(self, spec: StreamSpec) -> ByteStream:
        return self._dump.open_all() if spec.kind == FILES else self._dump.open_changed()


class TarStream:
    """What one tar writes; its end is one only when tar came to the end, too."""

    def __init__(self, child: Child, hearing: Hearing, over: threading.Event | None = None) -> None:
        self._child = child
        self._hearing = hearing
        self._over = over
        assert child.process.stdout
        self._output = child.process.stdout

    @property
    def rows(self) -> int | None:
        return self._hearing.files

    def readinto(self, view: memoryview, /) -> int:
        if self._output.closed:
            return 0
        count = self._output.readinto(view)  # type: ignore[attr-defined]  # unbuffered, so a raw FileIO
        if not count:
            self._end()
        return int(count)

    def _end(self) -> None:
        status = self._child.process.wait()
        self._child.end()
        self._hearing.end(status)
        if self._over:
            self._over.set()


class LateStream:
    """A stream that begins when another one is over."""

    rows = None  # each of its files is one that was counted

    def __init__(self, begin: Callable[[], ByteStream | None]) -> None:
        self._begin = begin
        self._begun: ByteStream | None = None

    def readinto(self, view: memoryview, /) -> int:
        if self._begun is None:
            self._begun = self._begin()
        return self._begun.readinto(view) if self._begun else 0
