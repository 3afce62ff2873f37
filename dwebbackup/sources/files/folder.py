"""A folder before it is read or filled: who it is, and whether it is absent, empty, without a file, or full."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import nsmallest

from dwebbackup.errors import DatabaseRefused
from dwebbackup.ports import Condition
from dwebbackup.sources.files.address import Address
from dwebbackup.sources.files.excluding import is_left_out

OF_THE_DISK = "lost+found"
"""What mkfs puts into an empty file system."""

NAMED = 5
"""How many of a folder's names are told."""


@contextmanager
def refused(path: str) -> Iterator[None]:
    """What the system refuses there is an error for the user."""
    try:
        yield
    except FileNotFoundError:
        hint = "is its disk mounted, and is it spelt like this?"
        raise DatabaseRefused(f"there is no folder {path}", hint) from None
    except NotADirectoryError:
        raise DatabaseRefused(f"{path} is not a folder") from None
    except OSError as error:
        hint = "whoever runs this must be allowed to read it"
        raise DatabaseRefused(f"{path} cannot be read: {error.strerror}", hint) from error


def identity(address: Address) -> str:
    """Of the folder that is there now: its file system's own number and its number in that. Raises `DatabaseRefused`.

    A restored one is another one, as a restored database is; a path would be the same on every machine. The number
    of the device would do for a running system only.
    """
    if address.identity:
        return f"files:{address.identity}"
    with refused(address.path):
        return f"files:{os.statvfs(address.path).f_fsid:x}:{os.stat(address.path).st_ino}"


def condition(address: Address) -> Condition:
    """What `Source.condition` promises; what is left out of backups does not count."""
    path = address.path
    with refused(os.path.dirname(path)):
        os.stat(os.path.dirname(path))
        if not os.path.lexists(path):
            return Condition("absent", what="folder")
    objects = first_named(path, address.exclude)
    who = identity(address)
    if not objects:
        return Condition("empty", who, what="folder")
    return Condition("full" if _has_files(address) else "rowless", who, objects, "folder")


def contents(path: str, exclude: Sequence[str] = ()) -> Iterator[str]:
    """The names in a folder that are somebody's, of which there may be a million. Raises OSError."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name != OF_THE_DISK and not is_left_out(entry.name, exclude):
                yield entry.name


def first_named(path: str, exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """A few of them, sorted. Raises `DatabaseRefused`."""
    with refused(path):
        return tuple(nsmallest(NAMED, contents(path, exclude)))


def _has_files(address: Address) -> bool:
    """Raises `DatabaseRefused` where none was found, and some folder may not be read."""
    unseen: OSError | None = None
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(os.path.join(address.path, below)) as entries:
                for entry in entries:
                    name = os.path.join(below, entry.name)
                    if name == OF_THE_DISK or is_left_out(name, address.exclude):
                        continue
                    if not entry.is_dir(follow_symlinks=False):
                        return True
                    waiting.append(name)
        except FileNotFoundError:
            continue  # gone since it was listed
        except OSError as error:
            unseen = unseen or error
    if unseen:
        with refused(str(unseen.filename)):
            raise unseen
    return False
