"""Measuring: what a shell line costs in time, processor and memory, and how large a folder is."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

# Any program of a line that fails, fails the line. Where there is but one, bash becomes it, and takes no memory.
_SHELL = ("bash", "-eu", "-o", "pipefail", "-c")
_EVERY = 0.05  # seconds between two looks at the memory
_TICKS = os.sysconf("SC_CLK_TCK")


class LineFailed(SystemExit):
    """A shell line that ended with another status than 0; where nobody expects it, the benchmark ends."""

    def __init__(self, line: str, status: int, said: str) -> None:
        super().__init__(f"exit status {status} of: {line}\n{said[-2000:]}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Cost:
    """What a shell line took."""

    seconds: float
    processor: float
    """Seconds that its processes were busy: in sum, so that it may be more than it lasted."""
    memory: float
    """The most bytes that they held at once. Zero where nobody looked: looking costs time.

    PSS, not RSS: a page that several processes share counts once.
    """


def output(line: str, environment: Mapping[str, str]) -> str:
    """What the line prints."""
    done = subprocess.run([*_SHELL, line], env=environment, capture_output=True, text=True, check=False)
    _check(line, done.returncode, done.stderr)
    return done.stdout


def cost(line: str, environment: Mapping[str, str], *, memory: bool = False) -> Cost:
    """Run the line. What others left to be written is written first, so that nobody pays for his predecessor."""
    os.sync()
    busy, started = _busy(), time.perf_counter()
    peaks: list[int] = []
    with _running(line, environment) as process:
        with _looking(process.pid, peaks) if memory else _not_looking():
            process.wait()
        lasted = time.perf_counter() - started
    return Cost(lasted, _busy() - busy, max(peaks, default=0))


def seconds(line: str, environment: Mapping[str, str]) -> float:
    return cost(line, environment).seconds


def processor_of(programs: Collection[str]) -> float:
    """Seconds that those of our descendants that run one of these *programs* have been busy so far."""
    return sum(process.busy for process in _tree(os.getpid()) if process.name in programs)


def processor(pid: int) -> float:
    """Seconds that a process and its descendants have been busy so far."""
    return sum(process.busy for process in _tree(pid))


def memory_of(pid: int) -> int:
    """Bytes that a process and its descendants hold now; 0 when there is none."""
    return sum(_pss(process.pid) for process in _tree(pid))


def stored(folder: Path) -> int:
    """Bytes in the files of a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _running(line: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(
            [*_SHELL, line], env=environment, stdout=log, stderr=subprocess.STDOUT, process_group=0
        ) as process:
            try:
                yield process
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)  # we are to end, so all of the line is
                process.wait()
                raise
        log.seek(0)
        _check(line, process.returncode, log.read().decode(errors="replace"))


def _check(line: str, status: int, said: str) -> None:
    if status:
        raise LineFailed(line, status, said)


def _busy() -> float:
    """Seconds that all children that have ended were busy, and theirs that they waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _looking(pid: int, peaks: list[int]) -> Iterator[None]:
    """Note the memory of a process and its descendants every now and then."""
    done = Event()

    def look() -> None:
        while not done.wait(_EVERY):
            peaks.append(memory_of(pid))

    watcher = Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@contextmanager
def _not_looking() -> Iterator[None]:
    yield


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    name: str
    busy: float


def _tree(root: int) -> Iterator[_Process]:
    """A process and its descendants."""
    known: dict[int, _Process] = {}
    children: dict[int, list[int]] = {}
    for process in _processes():
        known[process.pid] = process
        children.setdefault(process.parent, []).append(process.pid)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in known:
            yield known[pid]
        waiting += children.get(pid, ())


def _processes() -> Iterator[_Process]:
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            begin, _, end = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        fields = end.split()
        busy = (int(fields[11]) + int(fields[12])) / _TICKS
        yield _Process(int(name), int(fields[1]), begin.partition("(")[2], busy)


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
