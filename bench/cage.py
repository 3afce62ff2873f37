"""A small machine: a part of the cores and of the memory, for one shell line and whatever it starts (control groups)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds: the kernel's own default


@dataclass(frozen=True, slots=True)
class Cage:
    """Groups with limits; the kernel kills what would take more memory."""

    folders: tuple[Path, ...]

    def inside(self, line: str) -> str:
        """The same line for a shell that enters the groups first, and is limited from then on."""
        return "".join(f"echo $$ >{folder}/cgroup.procs\n" for folder in self.folders) + line

    def killed(self) -> int:
        """How many processes were killed for memory."""
        counts = (folder / name for folder in self.folders for name in ("memory.oom_control", "memory.events"))
        lines = [line.split() for path in counts if path.exists() for line in path.read_text().splitlines()]
        return sum(int(count) for name, count in lines if name == "oom_kill")


@contextmanager
def cage(cores: float, memory: int) -> Iterator[Cage]:
    """*memory*: bytes, the cache of files included. The groups are gone afterwards."""
    own = dict(_own_groups())
    with ExitStack() as stack:
        try:
            make = _version_1 if {"cpu", "memory"} <= own.keys() else _version_2
            folders = make(stack, own, cores, memory)
        except OSError as error:
            raise SystemExit(
                f"cannot limit processes here ({error}): it takes root, and control groups of its own"
            ) from error
        yield Cage(folders)


def _own_groups() -> Iterator[tuple[str, str]]:
    """By controller, the group that we are in; by the empty name, that of version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path.lstrip("/")


def _version_1(stack: ExitStack, own: Mapping[str, str], cores: float, memory: int) -> tuple[Path, ...]:
    """Below our own groups, so that their limits hold as well."""
    cpu = {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(round(cores * _PERIOD))}
    return (
        _group(stack, _ROOT / "cpu" / own["cpu"], cpu),
        _group(stack, _ROOT / "memory" / own["memory"], {"memory.limit_in_bytes": str(memory)}),
    )


def _version_2(stack: ExitStack, own: Mapping[str, str], cores: float, memory: int) -> tuple[Path, ...]:
    """Beside our own group: one with processes in it cannot have limited ones below."""
    parent = (_ROOT / own[""]).parent if own.get("") else _ROOT
    _write(parent / "cgroup.subtree_control", "+cpu +memory")
    limits = {"cpu.max": f"{round(cores * _PERIOD)} {_PERIOD}", "memory.max": str(memory), "memory.swap.max": "0"}
    return (_group(stack, parent, limits),)


def _group(stack: ExitStack, parent: Path, limits: Mapping[str, str]) -> Path:
    folder = parent / f"dwebbackup-bench-{os.getpid()}"
    folder.mkdir()
    stack.callback(folder.rmdir)
    for name, value in limits.items():
        _write(folder / name, value)
    return folder


def _write(path: Path, value: str) -> None:
    """Never makes a file: one that is not there is a limit that would not hold."""
    with path.open("r+") as file:
        file.write(value)
