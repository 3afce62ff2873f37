"""Where objects are kept: one module a kind of store, wrappers round any of them, and what all agree on."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from typing import Protocol

from dwebbackup.errors import Damaged, DwebbackupError, StoreUnreachable
from dwebbackup.ports import Store

LARGEST = 64 * 1024 * 1024
"""Bytes of an object at most: nothing of ours is larger, so what is belongs to somebody else."""

LOOK_WHO_NEEDS_IT = "run `dwebbackup verify` to see what is missing, and which backups need it"
"""What to do about an object that is not there."""

_SEGMENT = re.compile(r"(?!.*\.\.)[a-z0-9_-][a-z0-9._-]{0,254}")
_LONGEST_NAME = 1024  # of an S3 key; a segment's 255 are those of a file name


class Refused(StoreUnreachable):
    """The store answered, and the answer is no: trying again is no use, the user must change something."""


class TooLarge(Damaged):
    """What stands under a name of ours is larger than anything of ours: somebody else's, and passed over as junk is."""


class Busy(StoreUnreachable):
    """The store answered that it has too much to do, and in how many *seconds* it wants to be asked again."""

    def __init__(self, message: str, hint: str, seconds: float) -> None:
        super().__init__(message, hint)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """For a server: what ends it before the time for the whole request is over."""

    silence: float = math.inf
    """Seconds in which not one byte came or went."""
    stop: threading.Event | None = None
    """Somebody asks us to stop: the request then raises `Interrupted`."""


NO_END = Waiting()
"""Nothing but that time."""


class Place(Store, Protocol):
    """A store that is one, and no wrapper round others: it can say whether it is there."""

    def prepare(self) -> None:
        """For those who will write, before they do: see that they can. Raises `StoreUnreachable`."""


def is_segment(text: str) -> bool:
    """Whether *text* may stand between two `/` of an object's name.

    Lower case only, so that two names never meet on a disk that does not tell case apart; no dot in front,
    so that hidden files are never objects; no `..` anywhere.
    """
    return _SEGMENT.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether *text* may name an object."""
    return len(text) <= _LONGEST_NAME and all(map(is_segment, text.split("/")))


def check_name(name: str) -> None:
    """Every store calls this before it touches anything. Raises `Refused` for what cannot name an object."""
    if not is_name(name):
        raise Refused(f"{name!r} cannot be the name of an object")


def check_prefix(prefix: str) -> None:
    """Raises `Refused` unless some name may begin with *prefix*; the empty one is a prefix, too."""
    check_name(prefix + "x")


def check_size(name: str, size: int, error: type[DwebbackupError] = TooLarge) -> None:
    """Before anything is read: memory is not a stranger's to fill. Raises *error*."""
    if size > LARGEST:
        raise error(
            f"{name} is larger than any object of ours: {size} bytes or more",
            "somebody else put it there: ask another store, and keep others out of this one",
        )
