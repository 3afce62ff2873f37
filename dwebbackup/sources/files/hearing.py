"""What tar says while it reads: how many files it packed, and which ones changed, were gone, or could not be read."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dwebbackup.errors import BackupFailed, DwebbackupError

MOST_NAMED = 20
"""Files that are told by name; of others it is told how many there are."""

MOST_CHANGED = 60_000
"""Bytes of names that are remembered to be read again: a pipe holds as many."""

_BLOCK = 64 * 1024
_ENDED = "Exiting with failure status due to previous errors"
"""Its last words when it went on to the end all the same."""

_CHANGED = re.compile(r"(.*): (?:file changed as we read it|File shrank by \d+ bytes?; padding with zeros)", re.DOTALL)
_GONE = re.compile(r".*: (?:File removed before we read it|.*: No such file or directory)", re.DOTALL)
_SKIPPED = re.compile(r"(.*): (socket ignored|door ignored|file is on a different filesystem; not dumped)", re.DOTALL)


class Named:
    """Things told by name, as many as anybody would read."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._count = 0

    def add(self, name: str) -> None:
        self._count += 1
        if self._count <= MOST_NAMED:
            self._names.append(name)

    def sentences(self, what: str) -> Iterator[str]:
        yield from (f"{what}: {name}" for name in self._names)
        if self._count > MOST_NAMED:
            yield f"{what}: {self._count - MOST_NAMED:,} more"


class Hearing:
    """Listens in a thread of its own, so that tar never waits for us. The thread ends with tar."""

    def __init__(self, program: str) -> None:
        """*program*: as it calls itself."""
        self.files = 0
        """Packed; folders are not counted."""
        self.gone = 0
        self.unread = Named()
        self.skipped = Named()
        self.changed: list[bytes] = []
        """By their names, to be read again."""
        self.unsettled = Named()
        """Those of them that are too many for that."""
        self._prefix = f"{program}: ".encode()
        self._ended_properly = False
        self._last = ""
        self._remembered = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def listening(self) -> Iterator[int]:
        """What to give tar as its standard error, while it is started."""
        ours, theirs = os.pipe()
        self._thread = threading.Thread(target=self._listen, args=(ours,), name="tar", daemon=True)
        self._thread.start()
        try:
            yield theirs
        finally:
            os.close(theirs)

    def end(self, status: int) -> None:
        """Call when tar has ended. Raises `BackupFailed` unless it came to the end of the folder."""
        assert self._thread
        self._thread.join()
        if status not in (0, 1) and not (status == 2 and self._ended_properly):
            raise self._failure(status)

    def _failure(self, status: int) -> DwebbackupError:
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return BackupFailed(f"tar failed ({how}): {self._last or 'it said nothing'}")

    def _listen(self, ours: int) -> None:
        rest = b""
        with os.fdopen(ours, "rb", 0) as pipe:
            while block := pipe.read(_BLOCK):
                whole, end, rest = (rest + block).rpartition(b"\n")
                self._hear(whole + end)
        self._hear(rest)

    def _hear(self, lines: bytes) -> None:
        """A line is a member's name, which begins with `./` and, of a folder, ends with `/`; or a complaint."""
        complaints = 0
        if self._prefix in lines:
            for line in lines.split(b"\n"):
                if line.startswith(self._prefix):
                    complaints += not line.endswith(b"/")
                    self._complaint(line.removeprefix(self._prefix).decode("ascii", "replace"))
        self.files += lines.count(b"\n") - lines.count(b"/\n") - complaints

    def _complaint(self, said: str) -> None:
        self._last = said
        if said == _ENDED:
            self._ended_properly = True
        elif match := _CHANGED.fullmatch(said):
            self._remember(unescape(match[1]))
        elif _GONE.fullmatch(said):
            self.gone += 1
        elif match := _SKIPPED.fullmatch(said):
            self.skipped.add(f"{readable(unescape(match[1]))} ({match[2]})")
        else:
            self.unread.add(readable(unescape(said)))

    def _remember(self, name: bytes) -> None:
        self._remembered += len(name) + 1
        if self._remembered <= MOST_CHANGED:
            self.changed.append(name)
        else:
            self.unsettled.add(readable(name))


_ESCAPED = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unescape(text: str) -> bytes:
    """The bytes of a name that tar wrote with `--quoting-style=escape`."""

    def one(match: re.Match[bytes]) -> bytes:
        said = match[1]
        return bytes((int(said, 8) & 255,)) if len(said) == 3 else _LETTERS.get(said, said)

    return _ESCAPED.sub(one, text.encode("ascii", "replace"))


def readable(name: bytes) -> str:
    """A file's name on one line, whatever is in it."""
    text = name.removeprefix(b"./").decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
