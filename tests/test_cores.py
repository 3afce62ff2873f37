"""How many cores are left for us, as cgroups of both versions say it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dwebbackup import cores
from dwebbackup.config import Config


@pytest.fixture(autouse=True)
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine has, and the affinity leaves."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


def machine(root: Path, groups: str, **files: str) -> Path:
    """A folder that looks like `/`; in the names of *files*, `__` stands for `/`."""
    written = {"proc/self/cgroup": groups} | {
        f"sys/fs/cgroup/{name.replace('__', '/')}": text for name, text in files.items()
    }
    for name, text in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


V1 = "9:name=systemd:/pod\n4:cpu,cpuacct:/pod/us\n3:cpuset:/\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/", {"cpu.max": "max 100000"}, 16),
        ("0::/", {}, 16),
        ("0::/", {"cpu.max": "9900000 100000"}, 16),
        ("0::/pod/us", {"pod__us__cpu.max": "max 100000", "pod__cpu.max": "150000 100000"}, 1.5),
        ("0::/pod/us", {"pod__us__cpu.max": "100000 100000", "pod__cpu.max": "300000 100000"}, 1),
        ("0::/pod/us", {"other__cpu.max": "100000 100000"}, 16),
        ("0::/../elsewhere", {"cpu.max": "200000 100000"}, 2),
        (V1, {"cpu__pod__us__cpu.cfs_quota_us": "25000", "cpu__pod__us__cpu.cfs_period_us": "50000"}, 0.5),
        (V1, {"cpu,cpuacct__cpu.cfs_quota_us": "300000", "cpu,cpuacct__cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu__pod__us__cpu.cfs_quota_us": "-1", "cpu__pod__us__cpu.cfs_period_us": "100000"}, 16),
        (V1, {"cpuset__cpu.cfs_quota_us": "100000", "cpuset__cpu.cfs_period_us": "100000"}, 16),
        (f"{V1}0::/pod", {"unified__pod__cpu.max": "400000 100000"}, 4),
    ],
    ids=[
        "half a core",
        "no limit",
        "nothing said",
        "more than there are",
        "the limit of the group above",
        "the smaller of two",
        "the limit of others",
        "a group outside of what we see",
        "version 1",
        "version 1, seen from within a container",
        "version 1, no limit",
        "version 1, not the limit of another controller",
        "both versions at once",
    ],
)
def test_the_cores_that_are_left_for_us(tmp_path: Path, groups: str, files: dict[str, str], expected: float):
    assert cores.cores(machine(tmp_path, groups, **files)) == expected


def test_a_machine_without_cgroups_has_the_cores_of_its_affinity(tmp_path: Path):
    assert cores.cores(tmp_path) == 16


@pytest.mark.parametrize(("left", "jobs"), [(0.1, 1), (0.5, 1), (1, 1), (1.5, 2), (2, 2), (3.9, 4), (4, 4), (64, 4)])
def test_one_job_a_core_that_has_begun_and_four_at_most(monkeypatch: pytest.MonkeyPatch, left: float, jobs: int):
    monkeypatch.setattr(cores, "cores", lambda: left)
    assert cores.usual_jobs() == jobs
    assert Config().jobs == jobs
