"""Processes that became ours when their parent died; in a process that adopts them, as the first of a container does."""

from __future__ import annotations

import subprocess
import sys

import pytest

ADOPTS = """
import ctypes, os, signal, subprocess, sys, time
from dwebbackup.daemon.orphans import reap
from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.process import Child

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"

def orphan():
    shell = subprocess.run(["sh", "-c", "sleep 600 >&2 & echo $!"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return int(shell.stdout)

def ended(pid):
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: state(pid) == "Z")
    return pid
"""


def adopting(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADOPTS + script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_an_orphan_that_ended_is_buried_at_the_second_look():
    adopting("""
pids = [orphan() for _ in range(3)]
assert reap() == reap() == 0
for pid in pids[:2]:
    ended(pid)
assert reap() == 0
assert [state(pid) for pid in pids[:2]] == ["Z", "Z"]
assert reap() == 2
assert [state(pid) for pid in pids[:2]] == ["gone", "gone"]
assert state(pids[2]) in "SR"
ended(pids[2])
assert (reap(), reap(), reap()) == (0, 1, 0)
""")


@pytest.mark.parametrize("status", [0, 7])
def test_a_child_of_ours_keeps_its_exit_status_for_who_waits_for_it(status: int):
    adopting(f"""
child = Child(["sh", "-c", "exit {status}"], os.environ)
wait_for(lambda: state(child.process.pid) == "Z")
pid = ended(orphan())
assert reap() == 0
assert reap() == 1
assert state(pid) == "gone"
assert state(child.process.pid) == "Z"
assert reap() == 0
try:
    child.finish(DatabaseRefused, "dumping")
    said = 0
except DatabaseRefused as error:
    said = int("exit status 7" in str(error)) * 7
assert said == {status}, said
""")


def test_a_program_that_cannot_be_started_keeps_nobody_from_being_buried():
    adopting("""
try:
    Child(["/nowhere"], os.environ)
except FileNotFoundError as error:
    kept = error
ended(orphan())
assert (reap(), reap()) == (0, 1)
""")
