"""One run at a time for one writer on this machine: a lock which the system itself frees when its holder dies.

It spares a database and a store two runs at once, such as a sidecar's and one by hand in its container. Nothing rests
on it: two runs of one writer on two machines are told apart by their manifests.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from dwebbackup import clock
from dwebbackup.report import log


@contextmanager
def exclusive(writer: str, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Run while nobody else on this machine does for the writer with that id; wait for whoever does.

    *wait* is called again and again meanwhile: it returns after a moment, or raises to give up. Without one the wait
    is the system's, which in the main thread ends when the handler of a signal raises. Where there can be no lock,
    that is logged, and nobody is waited for: a backup beside another one is better than none.
    """
    with ExitStack() as opened:
        lock, free = None, True
        with _only_logged("whether another run of this writer is under way cannot be told"):
            lock = _open(opened, f"{writer}.lock")
            free = _is_free(lock)
        if lock is not None and not free:
            log.logger(__name__).info("waiting for another run of this writer to end", pid=_holder(lock))
            _wait(lock, wait)
        if lock is not None:
            with _only_logged("others will not be told for whom they wait"):
                _sign(lock)
        yield
        with _only_logged("others on this machine will not see that this run ended"):
            os.utime(_open(opened, f"{writer}.ended"), (clock.now(), clock.now()))


def last_run(writer: str) -> float | None:
    """When the last run for that writer on this machine ended well, in seconds since 1970; None where none is known."""
    try:
        with ExitStack() as opened:
            return os.fstat(_open(opened, f"{writer}.ended", os.O_RDONLY)).st_mtime
    except OSError:
        return None


def _is_free(lock: int) -> bool:
    """Whether it was free; from now on it is ours."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(lock: int, wait: Callable[[], None] | None) -> None:
    if wait is None:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return
    while not _is_free(lock):
        wait()


def _holder(lock: int) -> str:
    """Who wrote himself down there last."""
    return os.pread(lock, 20, 0).decode(errors="replace")


def _sign(lock: int) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _open(opened: ExitStack, name: str, how: int = os.O_RDWR | os.O_CREAT) -> int:
    """A file of that name. Raises OSError.

    Like all that Python opens, it is closed in children: one that outlives us keeps nobody waiting.
    """
    file = os.open(name, how | os.O_NOFOLLOW, 0o600, dir_fd=_folder(opened))
    opened.callback(os.close, file)
    return file


def _folder(opened: ExitStack) -> int:
    """Where the locks are: the same for every session of a user, whether he is logged in or cron is at work; and there
    in a container whose only writable place is /tmp. Raises OSError, also where others could write into it.
    """
    path = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"dwebbackup-{os.geteuid()}")  # noqa: S108  # see below
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    opened.callback(os.close, folder)
    found = os.fstat(folder)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(errno.EPERM, "it is somebody else's, or open to others", path)
    return folder


@contextmanager
def _only_logged(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.logger(__name__).warning(what, reason=str(error))
