"""The highest backup of each writer that this machine has ever seen: a world that was rolled back does not have it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from dwebbackup.report import log

_HOME = "~/.local/state"

_CONTENT = re.compile(rb"([1-9][0-9]{0,9})\n")


class Memory:
    """One small file for each writer, in a folder of the user's; without the folder nothing is known.

    It is no more than a help: where it cannot be read or written, a log line says so, and all goes on.
    """

    def __init__(self, folder: str) -> None:
        """*folder*: empty for a memory that keeps nothing."""
        self._folder = folder

    def highest(self, writer: str) -> int:
        """The highest sequence seen of that writer; 0 where none is known."""
        if not self._folder:
            return 0
        try:
            with open(self._path(writer), "rb") as file:
                match = _CONTENT.fullmatch(file.read(64))
        except FileNotFoundError:
            return 0
        except OSError as error:
            _tell(error)
            return 0
        return int(match[1]) if match else 0

    def see(self, writer: str, sequence: int) -> None:
        """Note that this backup was seen; a lower one than before changes nothing."""
        if sequence > self.highest(writer):
            self.set(writer, sequence)

    def set(self, writer: str, sequence: int) -> None:
        """From now on this is the highest, whatever was seen before."""
        if not self._folder:
            return
        path = self._path(writer)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(f"{path}.{os.getpid()}", "w") as file:
                file.write(f"{sequence}\n")
            os.replace(file.name, path)
        except OSError as error:
            _tell(error)

    def _path(self, writer: str) -> str:
        return os.path.join(self._folder, writer)


def usual_memory(environment: Mapping[str, str]) -> Memory:
    """Below `$XDG_STATE_HOME`, else in the home of whoever has one."""
    home = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(home):  # says the XDG Base Directory Specification
        own = environment.get("HOME", "")
        home = os.path.join(own, _HOME.removeprefix("~/")) if own.strip("/") and os.path.isdir(own) else ""
    return Memory(os.path.join(home, "dwebbackup") if home else "")


def _tell(error: OSError) -> None:
    log.logger(__name__).debug("what was seen of backups cannot be remembered", error=str(error))
