"""Measuring: how long a shell line takes, how much memory its processes hold together, how large a folder is."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Any program of a line that fails, fails the line. Where there is but one, bash becomes it, and takes no memory.
_SHELL = ("bash", "-eu", "-o", "pipefail", "-c")
_EVERY = 0.05  # seconds between two looks at the memory


def output(line: str, environment: Mapping[str, str]) -> str:
    """What the line prints."""
    done = subprocess.run([*_SHELL, line], env=environment, capture_output=True, text=True, check=False)
    _check(line, done.returncode, done.stderr)
    return done.stdout


def seconds(line: str, environment: Mapping[str, str]) -> float:
    """Wall time. What others left to be written is written first, so that nobody pays for his predecessor."""
    os.sync()
    started = time.perf_counter()
    with _running(line, environment) as process:
        process.wait()
    return time.perf_counter() - started


def peak_memory(line: str, environment: Mapping[str, str]) -> float:
    """The most bytes that the line's processes held at once. A run for this alone: looking costs time.

    PSS, not RSS: a page that several processes share counts once.
    """
    peak = 0
    with _running(line, environment) as process:
        while process.poll() is None:
            peak = max(peak, sum(_pss(pid) for pid in _tree(process.pid)))
            time.sleep(_EVERY)
    return peak


def stored(folder: Path) -> int:
    """Bytes in the files of a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _running(line: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen([*_SHELL, line], env=environment, stdout=log, stderr=subprocess.STDOUT) as process:
            yield process
        log.seek(0)
        _check(line, process.returncode, log.read().decode(errors="replace"))


def _check(line: str, status: int, said: str) -> None:
    if status:
        raise SystemExit(f"exit status {status} of: {line}\n{said[-2000:]}")


def _tree(root: int) -> Iterator[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, ())


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
