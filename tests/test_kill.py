"""Real processes that back up into a folder are killed, stopped, or run out of disk: the folder stays good."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import pytest

from dwebbackup import checkpoint
from dwebbackup.errors import DwebbackupError, Interrupted, StoreUnreachable
from dwebbackup.ports import Store
from dwebbackup.stores import Refused
from dwebbackup.stores.local import LocalStore
from faulty import Call, Fault, Faulty
from synthetic import Contents, SyntheticSource, back_up, errors, names, noise, restored, small_pieces

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"
SEED = os.environ.get("DWEBBACKUP_TEST_SEED") or str(random.SystemRandom().randrange(10**6))

KILLS = 200 if WIDE else 25

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["synthetic", "dwebbackup.stores.local"])


@pytest.fixture(autouse=True)
def small() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "backups")
    store.prepare()
    return store


# --- the process ---


def run(root: Path, contents: Contents, calls: Connection, waits: str, limit: int) -> None:
    """The process: one backup, that tells of each call of its store. Its exit status is that of the command.

    *waits*: the stream that never gives anything, so that only a signal ends the run.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def tell(call: Call) -> Fault | None:
        calls.send((call.verb, call.name))
        return None

    source = SyntheticSource(contents, waits=(waits, threading.Event()) if waits else None)
    with small_pieces() as patch:
        patch.setattr(checkpoint, "RENEWED_EVERY", -1)
        try:
            back_up(Faulty(LocalStore(root), tell), source, jobs=2)
        except DwebbackupError as error:
            sys.exit(error.exit_status)
        except KeyboardInterrupt:
            sys.exit(Interrupted.exit_status)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted("asked to stop")


class Running:
    """A backup in a process of its own."""

    def __init__(self, root: Path, contents: Contents, waits: str = "", limit: int = 0) -> None:
        self._calls, theirs = PROCESSES.Pipe(duplex=False)
        self.process = PROCESSES.Process(target=run, args=(root, contents, theirs, waits, limit))
        self.process.start()
        theirs.close()

    def wait_for_calls(self, number: int, of: str = "") -> None:
        """Until so many calls were begun (whose object's name contains *of*), or the process ended."""
        with contextlib.suppress(EOFError):
            while number:
                number -= of in self._calls.recv()[1]

    def end(self, how: signal.Signals | None = None) -> int:
        """Its exit status, after a signal; negative when that is what ended it."""
        if how and self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, how)
        with contextlib.suppress(EOFError):
            while True:
                self._calls.recv()
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode


def contents_of(number: int) -> Contents:
    """Half of it as it was at the number before."""
    return {"same": noise(150_000, 1), "changed": noise(150_000, 100 + number), "log": b"%d\n" % number * 5000}


# --- killed ---


def test_a_killed_process_spoils_nothing_and_the_next_converges(tmp_path, store):
    chance = random.Random(SEED)
    print(f"DWEBBACKUP_TEST_SEED={SEED}")
    good = {back_up(store, contents_of(0)).backup.ref.id: contents_of(0)}
    killed = 0
    for number in range(1, KILLS + 1):
        running = Running(tmp_path / "backups", contents_of(number))
        after = chance.randrange(1, 25)
        running.wait_for_calls(after)
        status = running.end(signal.SIGKILL)
        print(f"killed after call {after}: {status}")
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        assert errors(store) == []
        assert all(restored(store, wanted) == contents for wanted, contents in list(good.items())[-2:])
        if chance.random() < 0.5:
            good[back_up(store, contents_of(number)).backup.ref.id] = contents_of(number)
            assert restored(store) == contents_of(number)
    assert killed > KILLS // 4
    back_up(store, contents_of(-1))
    assert restored(store) == contents_of(-1)
    assert all(restored(store, wanted) == contents for wanted, contents in good.items())


def test_a_killed_process_leaves_what_the_next_need_not_store_again(tmp_path, store):
    """It is killed when it stands still, long after a checkpoint named what it had stored."""
    contents = {"large": noise(500_000, 1), "late": b"late"}
    running = Running(tmp_path / "backups", contents, waits="late")
    running.wait_for_calls(8, of="/packs/")
    running.wait_for_calls(3, of="/checkpoints/")
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    assert names(store, "manifests/") == set()
    assert back_up(store, contents).bytes_stored < 200_000
    assert restored(store) == contents


# --- stopped ---


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_process_that_is_asked_to_stop_leaves_in_good_order(tmp_path, store, how):
    back_up(store, contents_of(0))
    contents = {"large": noise(500_000, 1), "late": b"late"}
    running = Running(tmp_path / "backups", contents, waits="late")
    running.wait_for_calls(6, of="/packs/")
    assert running.end(how) == Interrupted.exit_status
    assert len(names(store, "manifests/")) == 1
    assert restored(store) == contents_of(0)
    assert errors(store) == []
    assert names(store, "checkpoints/")
    assert back_up(store, contents).bytes_stored < 350_000
    assert restored(store) == contents


# --- no room ---


@pytest.mark.parametrize("room", [0, 1, 2, 5])
def test_a_store_that_takes_no_more_spoils_nothing(store, room):
    """*room* more objects, and then none, whatever they are."""
    back_up(store, contents_of(0))
    full: Store = Faulty(store, lambda call: Fault.refuse if call.verb == "put" and call.nth > room else None)
    with pytest.raises(StoreUnreachable) as caught:
        back_up(full, contents_of(1))
    assert isinstance(caught.value, Refused)
    assert caught.value.exit_status == 13
    assert restored(store) == contents_of(0)
    assert errors(store) == []
    back_up(store, contents_of(1))
    assert restored(store) == contents_of(1)


def test_a_limit_that_packs_do_not_fit_ends_the_run_and_spoils_nothing(tmp_path, store):
    """The system's limit of a file's size: the disk is full for packs, and not for small objects."""
    back_up(store, contents_of(0))
    running = Running(tmp_path / "backups", contents_of(1), limit=16_384)
    assert running.end() == StoreUnreachable.exit_status
    assert len(names(store, "manifests/")) == 1
    assert restored(store) == contents_of(0)
    assert errors(store) == []
    back_up(store, contents_of(1))
    assert restored(store) == contents_of(1)


ON_A_SMALL_DISK = """
import os, sys
from synthetic import *
from dwebbackup.errors import StoreUnreachable
from dwebbackup.stores.local import LocalStore

disk = sys.argv[1]
filler = os.path.join(disk, "filler")
with open(filler, "wb") as file:
    file.write(bytes(1_000_000))
store = LocalStore(os.path.join(disk, "backups"))
with small_pieces():
    first, second = {"a": noise(200_000, 1)}, {"a": noise(900_000, 2)}
    back_up(store, first)
    for _ in range(2):
        try:
            back_up(store, second)
        except StoreUnreachable as error:
            assert "no room" in str(error), error
        else:
            sys.exit("there was room")
        assert restored(store) == first
        assert errors(store) == []
    os.unlink(filler)
    back_up(store, second)
    assert restored(store) == second
    assert errors(store) == []
    print("held")
"""


def test_a_full_disk_spoils_nothing_and_is_enough_again_once_there_is_room(tmp_path):
    """A real one of two megabytes where the system lets us mount it; its mount is seen by nobody else."""
    mounted = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f'mount -t tmpfs -o size=2m none "{tmp_path}"'
    if sys.platform != "linux" or subprocess.run([*mounted, mount], capture_output=True, check=False).returncode:
        return  # the two tests above have to do
    command = [*mounted, f'{mount} && exec "$@"', "sh", sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.stdout == "held\n", done.stderr
