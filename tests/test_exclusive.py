"""One run at a time for one writer on this machine; with real processes, of which some are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from calling import PROGRAM, call, environment
from dwebbackup import clock
from dwebbackup.errors import Interrupted
from dwebbackup.exclusive import exclusive, last_run
from dwebbackup.keys import OwnerKey
from dwebbackup.stores.local import LocalStore
from synthetic import back_up

OWNER = OwnerKey(bytes(range(32)))
WRITER = OWNER.writer(1)

RUN = """
import os, sys
from dwebbackup.exclusive import exclusive
from dwebbackup.report import log
log.set_up(sys.stderr)
with exclusive(sys.argv[1]):
    print("began", flush=True)
    sys.stdin.readline()
    print("ends", flush=True)
"""
"""A run: it says when it has begun, and ends when it is told to."""

STOPS = """
import signal
class Stopped(KeyboardInterrupt): pass
def stop(number, frame): raise Stopped
signal.signal(signal.SIGTERM, stop)
"""

PATIENCE = 120
"""Seconds, on a machine that has other things to do."""

Process = subprocess.Popen[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the locks of this test are, and of the processes that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / f"dwebbackup-{os.geteuid()}"


@contextmanager
def process(*command: str, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Ended by force if the test ends before it does, or waits in vain."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env) as started:
        patience = threading.Timer(PATIENCE, started.kill)
        patience.start()
        try:
            yield started
        finally:
            patience.cancel()
            started.kill()


def run(writer: str = WRITER.id, first: str = "") -> object:
    return process(sys.executable, "-c", first + RUN, writer)


def line(process: Process) -> str:
    """What it says next; nothing if it ends first."""
    assert process.stdout
    return process.stdout.readline().strip()


def complaint(process: Process) -> str:
    assert process.stderr
    return process.stderr.readline()


def end(process: Process) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.close()
    assert line(process) == "ends"
    assert process.wait() == 0


def is_held(writer: str = WRITER.id) -> bool:
    """Whether a run would have to wait now."""

    def give_up() -> None:
        raise Interrupted("it is held")

    try:
        with exclusive(writer, give_up):
            return False
    except Interrupted:
        return True


# --- waiting ---


def test_a_second_run_waits_for_the_first_and_says_for_which(folder: Path):
    with run() as first:
        assert line(first) == "began"
        with run() as second:
            said = complaint(second)
            assert "waiting for another run of this writer to end" in said
            assert f'"pid": "{first.pid}"' in said
            end(first)
            assert line(second) == "began"
            assert is_held()
            end(second)
            assert complaint(second) == ""  # it said so once
    assert not is_held()


def test_runs_of_different_writers_do_not_wait_for_each_other(folder: Path):
    with run("a" * 20) as first, run("b" * 20) as second:
        assert line(first) == line(second) == "began"
        assert (is_held("a" * 20), is_held("b" * 20), is_held("c" * 20)) == (True, True, False)


def test_a_killed_run_keeps_nobody_waiting_even_if_its_children_live_on(folder: Path):
    began = 'print("began", flush=True)'
    child = "import subprocess; subprocess.Popen(['cat'], close_fds=False)\n    "  # which reads on when we are gone
    with process(sys.executable, "-c", RUN.replace(began, child + began), WRITER.id) as first:
        assert line(first) == "began"
        with run() as second:
            assert "waiting" in complaint(second)
            first.send_signal(signal.SIGKILL)
            assert line(second) == "began"
            end(second)


def test_who_waits_can_be_stopped_by_a_signal(folder: Path):
    with run() as first:
        assert line(first) == "began"
        with run(first=STOPS) as second:
            assert "waiting" in complaint(second)
            second.terminate()
            assert second.wait() != 0
            assert "Stopped" in second.communicate()[1]
        assert is_held()


def test_who_asks_again_and_again_goes_on_as_soon_as_it_is_free(folder: Path):
    with ExitStack() as other:
        other.enter_context(exclusive(WRITER.id))
        assert is_held()
        with exclusive(WRITER.id, other.close):
            assert is_held()
    assert not is_held()


def test_a_run_that_fails_lets_go(folder: Path):
    with pytest.raises(Interrupted), exclusive(WRITER.id):
        raise Interrupted("by its user")
    assert not is_held()


# --- where the locks are ---


def test_only_its_user_sees_the_locks(folder: Path):
    before = os.umask(0)
    try:
        with exclusive(WRITER.id):
            modes = [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())]
    finally:
        os.umask(before)
    assert modes == [0o700, 0o600]


def a_file(folder: Path) -> None:
    folder.write_text("mine")


def a_link_to_a_folder(folder: Path) -> None:
    folder.with_name("elsewhere").mkdir(0o700)
    folder.symlink_to(folder.with_name("elsewhere"))


def a_folder_for_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def a_link_for_the_lock(folder: Path) -> None:
    folder.mkdir(0o700)
    folder.with_name("precious").write_text("mine")
    for name in ("lock", "ended"):
        (folder / f"{WRITER.id}.{name}").symlink_to(folder.with_name("precious"))


def no_temporary_folder(folder: Path) -> None:
    folder.parent.rmdir()


@pytest.mark.parametrize(
    "prepare",
    [a_file, a_link_to_a_folder, a_folder_for_all, a_link_for_the_lock, no_temporary_folder],
    ids=lambda each: each.__name__,
)
def test_where_there_can_be_no_lock_a_run_goes_on_with_a_warning(folder: Path, prepare):
    prepare(folder)
    with capture_logs() as lines:
        for _ in range(2):
            with exclusive(WRITER.id):
                pass
    assert [(each["log_level"], each["event"]) for each in lines[:1]] == [
        ("warning", "whether another run of this writer is under way cannot be told")
    ]
    assert last_run(WRITER.id) is None
    for kept in (folder, folder.with_name("precious")):
        assert not kept.is_file() or kept.read_text() == "mine"
    assert not folder.with_name("elsewhere").is_dir() or not list(folder.with_name("elsewhere").iterdir())


# --- when the last one ended ---


def test_others_see_when_the_last_run_ended_well(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert last_run(WRITER.id) is None
    monkeypatch.setattr(clock, "now", lambda: 1_900_000_000.25)
    with exclusive(WRITER.id):
        assert last_run(WRITER.id) is None
    assert last_run(WRITER.id) == 1_900_000_000.25
    monkeypatch.setattr(clock, "now", lambda: 1_900_000_777.0)
    with pytest.raises(Interrupted), exclusive(WRITER.id):
        raise Interrupted("by its user")
    assert last_run(WRITER.id) == 1_900_000_000.25
    with exclusive(WRITER.id):
        pass
    assert last_run(WRITER.id) == 1_900_000_777.0
    assert last_run("another") is None


# --- the command ---


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """For a backup that gets as far as asking the database, which is not there."""
    store, source = f"file://{tmp_path}/store", f"postgresql://user@/shop?host={tmp_path}"
    settings = {"KEY": OWNER.words, "STORE": store, "SOURCE": source}
    call("init", **settings)
    return settings


def test_the_command_waits_for_a_run_on_the_same_machine(folder: Path, settings: dict[str, str]):
    there = {**environment(settings), "TMPDIR": str(folder.parent)}
    with run() as first:
        assert line(first) == "began"
        with process(*PROGRAM, "backup", env=there) as second:
            assert "waiting for another run of this writer to end" in complaint(second)
            end(first)
            assert "error: cannot connect" in second.communicate()[1]
            assert second.returncode == 14


def test_the_command_can_be_stopped_while_it_waits(folder: Path, settings: dict[str, str]):
    there = {**environment(settings), "TMPDIR": str(folder.parent)}
    with run() as first:
        assert line(first) == "began"
        with process(*PROGRAM, "backup", env=there) as second:
            assert "waiting for another run of this writer to end" in complaint(second)
            second.terminate()
            assert "error: interrupted by SIGTERM" in second.communicate()[1]
            assert second.returncode == 130


def test_a_repair_waits_as_well_and_a_dry_run_does_not(folder: Path, tmp_path: Path):
    store = LocalStore(tmp_path / "store")
    store.prepare()
    back_up(store, {"rows": b"1"})
    settings = {"KEY": WRITER.line, "STORE": f"file://{tmp_path}/store", "GATEWAYS": "off", "ROUTERS": "off"}
    there = {**environment(settings), "TMPDIR": str(folder.parent)}
    with run() as first:
        assert line(first) == "began"
        call("repair", "--dry-run", **settings)
        with process(*PROGRAM, "repair", env=there) as second:
            assert "waiting for another run of this writer to end" in complaint(second)
            end(first)
            assert "has everything" in second.communicate()[0]
            assert second.returncode == 0
