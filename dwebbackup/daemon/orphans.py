"""Processes that lost their parent, and became ours because we are the first one in a container: buried when they end.

Such are the workers of a pg_restore that was killed. Those that we started ourselves are waited for by whoever did,
since the exit status of a dump decides whether it is a backup: it must be taken by nobody else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from dwebbackup.sources.process import owned

_STAT = re.compile(rb"\) Z (\d+) (?:\S+ ){17}(\d+) ", re.DOTALL)
"""Of `/proc/PID/stat`, behind a name that may hold anything: that it has ended, its parent, and when it began."""

Zombie = tuple[int, bytes]
"""A process that has ended, and when it began: numbers come again."""

_seen: set[Zombie] = set()


def reap() -> int:
    """Bury those that had ended at the last call, too; how many. Call it every few seconds or more rarely.

    So what the standard library starts and waits for at once, such as by `subprocess.run`, is left alone as well.
    Nothing happens where the system has no /proc.
    """
    ours = owned()
    if ours is None:
        return 0
    zombies = {zombie for zombie in _zombies() if zombie[0] not in ours}
    lasting = zombies & _seen
    _seen.clear()
    _seen.update(zombies - lasting)
    for pid, _ in lasting:
        with suppress(ChildProcessError):  # somebody did wait for it
            os.waitpid(pid, os.WNOHANG)
    return len(lasting)


def _zombies() -> Iterator[Zombie]:
    """Our children that have ended, and that nobody has waited for."""
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it is gone
            with open(f"/proc/{pid}/stat", "rb") as stat:
                line = stat.read()
            found = _STAT.match(line, line.rindex(b")"))
            if found and int(found[1]) == os.getpid():
                yield int(pid), found[2]
