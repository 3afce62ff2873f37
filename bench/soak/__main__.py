"""`python -m bench.soak`: play the story, judge every backup, print the figures; status 1 where anything was wrong."""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path

from bench.soak.full_disk import full_disk
from bench.soak.oracle import judge
from bench.soak.story import Play, old_and_new_lease
from bench.soak.tally import Tally, say
from bench.soak.watch import left_behind
from daemon.gate import Gate
from dwebbackup.scratch.postgres import ScratchPostgres, find_postgres
from fix_ceph import Ceph
from s3_server import port_of

PATIENCE = 30
"""Seconds for processes whose parent was killed to end."""


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    say(f"seed {options.seed}")
    tallies = {"old and new lease, in a bucket": Tally(), "one lease, in a folder on a disk that fills up": Tally()}
    with tempfile.TemporaryDirectory(prefix="dwebbackup-soak-") as name:
        try:
            _run(Path(name), options, *tallies.values())
        except (Exception, KeyboardInterrupt):  # noqa: BLE001  # the figures so far are of interest all the more
            say(traceback.format_exc())
            tallies["old and new lease, in a bucket"].fault("the soak did not come to its end")
        if options.log and (said := Path(name, "sidecars.log")).exists():
            shutil.copy(said, options.log)
        for process in left_behind(Path(name), PATIENCE):
            tallies["old and new lease, in a bucket"].fault(f"a process is left behind: {process}")
    print(f"seed: {options.seed}")
    for what, tally in tallies.items():
        print(f"\n{what}", *tally.lines(), *(f"FAULT: {each}" for each in tally.faults), sep="\n  ")
    return 1 if any(tally.faults for tally in tallies.values()) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description="backups while everything around goes wrong (Linux)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of a run before, to see it again")
    parser.add_argument("--runs", type=int, default=200, help="scheduled backups, at least (default 200)")
    parser.add_argument("--disk-runs", type=int, default=25, help="of them on a disk that fills up, besides")
    parser.add_argument("--log", help="a file for all that the sidecars said")
    return parser.parse_args()


def _run(folder: Path, options: argparse.Namespace, bucket: Tally, disk: Tally) -> None:
    rng = random.Random(options.seed)
    with ExitStack() as stack:
        laboratory = stack.enter_context(ScratchPostgres(find_postgres()))
        ceph = stack.enter_context(Ceph.running(folder))
        gate = stack.enter_context(Gate(port_of(ceph.http)))
        name = ceph.bucket()
        through, direct = (_place(ceph, name, port) for port in (gate.port, port_of(ceph.http)))
        play = Play(folder, through, gate, rng, stack, bucket)
        try:
            last = old_and_new_lease(play, options.runs)
            full_disk(play, last, disk, laboratory, options.disk_runs)
            judge(folder, direct, play.chronicles, play.emptied, laboratory, bucket)
        finally:
            play.end()


def _place(ceph: Ceph, bucket: str, port: int) -> dict[str, str]:
    return {
        "STORE": f"s3://{bucket}?endpoint=http://127.0.0.1:{port}&region=default&path_style=yes",
        "STORE_S3_ACCESS_KEY_ID": ceph.key.id,
        "STORE_S3_SECRET_ACCESS_KEY": ceph.key.secret,
    }


sys.exit(main())
