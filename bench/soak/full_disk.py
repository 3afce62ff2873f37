"""The last lease once more, its store a folder on a disk that fills up; there, old packs are swept, too."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.soak.incidents import prune
from bench.soak.lease import Lease, in_background
from bench.soak.oracle import judge
from bench.soak.story import Play, rest_in_health
from bench.soak.tally import MIB, Tally, say
from dwebbackup.scratch.postgres import ScratchPostgres

SIZE = 64 * MIB
AGE = 4 * 86400
"""Seconds: more than the grace time of a prune."""


def full_disk(play: Play, before: Lease, tally: Tally, laboratory: ScratchPostgres, runs: int) -> None:
    with _disk(play.folder / "disk") as disk:
        if disk is None:
            say("no disk can be mounted here (that takes root): the full disk is left out")
            return
        place = {"STORE": f"file://{disk}/store"}
        lease = play.take(Lease(before.server, play.folder / "full", place, tally))
        lease.chronicle = before.chronicle
        lease.write(play.rng)
        lease.start()
        while tally.runs < runs:
            lease.let_run(play.rng.randint(1, 3))
            incident = play.rng.choice([_disk_full, _disk_full_and_sidecar_killed, _packs_swept])
            tally.incident(incident.__name__.strip("_").replace("_", " "))
            incident(lease, disk, play)
        rest_in_health(lease)
        judge(play.folder, place, play.chronicles, play.emptied, laboratory, tally)


@contextmanager
def _disk(folder: Path) -> Iterator[Path | None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "dwebbackup-soak", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _disk_full(lease: Lease, disk: Path, play: Play) -> None:
    ballast = _ballast(play, disk)
    lease.nudge()
    play.pause(4)
    ballast.unlink()


def _disk_full_and_sidecar_killed(lease: Lease, disk: Path, play: Play) -> None:
    ballast = _ballast(play, disk)
    lease.nudge()
    play.pause(3)
    lease.kill()
    lease.start()
    play.pause(3)
    ballast.unlink()


def _ballast(play: Play, disk: Path) -> Path:
    """All of the disk but a few pages."""
    room = os.statvfs(disk)
    free = room.f_bavail * room.f_frsize
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - play.rng.choice([0, 4096, 40_000, 200_000])))
    return ballast


def _packs_swept(lease: Lease, disk: Path, _play: Play) -> None:
    """What is old and unused goes, while the sidecar begins a run that may want it again."""
    lease.stop()
    then = time.time() - AGE
    for folder in ("packs", "indexes", "checkpoints"):
        for path in disk.glob(f"store/w/*/{folder}/**/*.age"):
            os.utime(path, (then, then))
    lease.start()
    wait = in_background(lambda: prune(lease))
    lease.let_run(1)
    wait()
