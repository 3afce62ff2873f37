"""The errors a user can meet, named by what they can do about them, each with a hint and an exit status."""

from __future__ import annotations


class DwebbackupError(Exception):
    """Something failed and was understood; *hint* is the next thing to try."""

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BackupFailed(DwebbackupError):
    """The run ended without a manifest; what was restorable before still is."""


class RestoreFailed(DwebbackupError):
    """The target was not filled; it is as it was before."""


class WrongConfiguration(DwebbackupError):
    """An option, a variable, a file or a key line cannot be used as it stands."""

    exit_status = 2


class Incomplete(DwebbackupError):
    """Done, but something is suspect or missing."""

    exit_status = 3


class NoSuchBackup(DwebbackupError):
    """The store answered, and what was asked for is not in it."""

    exit_status = 10


class TargetNotEmpty(DwebbackupError):
    """The target holds objects, and nobody said that they may be replaced."""

    exit_status = 11


class Damaged(DwebbackupError):
    """Bytes are not what their digest, tag, signature or length says."""

    exit_status = 12


class ObjectMissing(Damaged):
    """A store says that it does not have an object that somebody refers to."""


class StoreUnreachable(DwebbackupError):
    """A store did not answer, refused, or has no room; it may be worth another try."""

    exit_status = 13


class DatabaseRefused(DwebbackupError):
    """A database is unreachable, or refused what was asked of it."""

    exit_status = 14


class ToolMissing(DwebbackupError):
    """A client program is missing or too old."""

    exit_status = 15


class KeyForbids(DwebbackupError):
    """The key at hand may not do that."""

    exit_status = 16


class Interrupted(DwebbackupError):
    """The user or the system asked the run to stop."""

    exit_status = 130
