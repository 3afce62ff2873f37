"""The standard error of a program that works in several processes: what each of them says stays together."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
from typing import Self

_CREDENTIALS = struct.Struct("3i")  # struct ucred (unix(7)): process, user, group
_BLOCK = 64 * 1024
_LOOK_EVERY = 100
"""Milliseconds between two looks whether the program still runs: its workers may outlive it."""


class Voices:
    """What to give a child as its standard error. One thread may `listen`.

    A program writes a message in several pieces, and two workers that write at once would mix theirs. On Linux each
    piece comes with the number of its process, and pieces of two are never joined (unix(7), SO_PASSCRED). Elsewhere
    all count as one voice: then the program had better be one process.
    """

    TELLS_APART = hasattr(socket, "SO_PASSCRED")

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        if self.TELLS_APART:
            self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._ours.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self.theirs.close()

    def listen(self, process: subprocess.Popen[bytes]) -> str:
        """All that *process* and its workers say until it ends: what each worker said, then what it said itself."""
        self.theirs.close()
        said: dict[int, bytearray] = {}
        while self._take_all(said):
            ended = process.poll() is not None
            if ended and not self._wait(0):
                break
            if not ended:
                self._wait(_LOOK_EVERY)
        own = said.pop(process.pid, bytearray())
        return "".join(map(_lines, (*said.values(), own)))

    def _take_all(self, said: dict[int, bytearray]) -> bool:
        """Take what is there. False: everybody has hung up."""
        while True:
            try:
                data, ancillary, _, _ = self._ours.recvmsg(_BLOCK, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return True
            if not data:
                return False
            said.setdefault(_speaker(ancillary), bytearray()).extend(data)

    def _wait(self, milliseconds: int) -> bool:
        poll = select.poll()
        poll.register(self._ours, select.POLLIN)
        return bool(poll.poll(milliseconds))


def _speaker(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == getattr(socket, "SCM_CREDENTIALS", -1):
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
    return 0


def _lines(text: bytearray) -> str:
    """Ended properly, so that the next voice begins a line of its own."""
    lines = text.decode(errors="replace")
    return lines if lines.endswith("\n") or not lines else f"{lines}\n"
