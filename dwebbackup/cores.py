"""How many processor cores this process may keep busy: what its cgroups and its affinity leave of the machine's."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_JOBS = 4
"""More readers gain little, and are a load on the database that nobody asked for."""


def usual_jobs() -> int:
    """How many streams are read or filled at once where nobody said: as many as there are cores, up to 4."""
    return max(1, min(MOST_JOBS, math.ceil(cores())))


def cores(root: Path = Path("/")) -> float:
    """Such as 0.5 in a container with half a core. *root*: where `proc` and `sys` are."""
    here = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min([float(here), *_quotas(root)])


def _quotas(root: Path) -> Iterator[float]:
    """What each cgroup that we are in allows, of both versions; a container may see some of them, or all."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from (quota for folder in _upwards(root / mount, path) for quota in _version_2(folder))
        elif "cpu" in controllers.split(","):
            for mount in dict.fromkeys((controllers, "cpu")):
                folders = _upwards(root / "sys/fs/cgroup" / mount, path)
                yield from (quota for folder in folders for quota in _version_1(folder))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The cgroup's folder and those it lies in; one that the container cannot see is not there, and says nothing."""
    folder = mount / path.lstrip("/")
    yield folder
    yield from (above for above in folder.parents if above.is_relative_to(mount))


def _version_2(folder: Path) -> Iterator[float]:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if quota.isdecimal():  # not "max"
        yield int(quota) / int(period)


def _version_1(folder: Path) -> Iterator[float]:
    quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota.isdecimal():  # not -1
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    """Empty where there is no such file: then nothing is limited there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
