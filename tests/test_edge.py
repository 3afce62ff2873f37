"""Where every error ends: a sentence, a hint, an exit status, and never a secret."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import click
import pytest

from calling import PROGRAM, call, environment
from dwebbackup import errors
from dwebbackup.cli.edge import STOP, Stopped, run
from dwebbackup.keys import OwnerKey

WORDS = OwnerKey(bytes(range(32))).words


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    STOP.clear()


def command_that(does: Callable[[], int | None]) -> click.Command:
    @click.command()
    @click.option("--json", is_flag=True)
    @click.option("--debug", is_flag=True)
    def command(json: bool, debug: bool) -> int | None:
        return does()

    return command


def command_that_raises(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return command_that(fail)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.BackupFailed, 1),
        (errors.RestoreFailed, 1),
        (errors.WrongConfiguration, 2),
        (errors.Incomplete, 3),
        (errors.NoSuchBackup, 10),
        (errors.TargetNotEmpty, 11),
        (errors.Damaged, 12),
        (errors.ObjectMissing, 12),
        (errors.StoreUnreachable, 13),
        (errors.DatabaseRefused, 14),
        (errors.ToolMissing, 15),
        (errors.KeyForbids, 16),
        (errors.Interrupted, 130),
    ],
)
def test_each_error_has_its_status(kind: type[errors.DwebbackupError], status: int, capsys: pytest.CaptureFixture[str]):
    command = command_that_raises(kind("it broke", "try again"))
    assert run(command, []) == status
    assert capsys.readouterr() == ("", "error: it broke\nhint: try again\n")
    assert run(command, ["--json"]) == status
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": "it broke", "hint": "try again", "status": status}
    assert captured.err == "error: it broke\nhint: try again\n"


def test_a_status_passes_through(capsys: pytest.CaptureFixture[str]):
    assert run(command_that(lambda: 3), []) == 3
    assert run(command_that(lambda: None), []) == 0
    assert capsys.readouterr() == ("", "")


def test_what_nobody_expected_is_a_sentence_and_a_traceback_only_when_asked_for(
    capsys: pytest.CaptureFixture[str],
):
    command = command_that_raises(KeyError("surprise"))
    assert run(command, []) == 1
    assert "error: unexpected KeyError: 'surprise'" in (short := capsys.readouterr().err)
    assert "Traceback" not in short
    assert run(command, ["--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_no_secret_gets_out(capsys: pytest.CaptureFixture[str]):
    error = errors.WrongConfiguration(f"not {WORDS}", "postgresql://u:hunter2@h/d")
    error.add_note(f"also {WORDS}")
    for each in (error, ValueError(WORDS)):
        run(command_that_raises(each), ["--json", "--debug"])
        captured = capsys.readouterr()
        for secret in ("hunter2", " ".join(WORDS.split()[3:5])):
            assert secret not in captured.out + captured.err


def test_notes_are_told(capsys: pytest.CaptureFixture[str]):
    error = errors.BackupFailed("it broke")
    error.add_note("nor could a checkpoint be written")
    run(command_that_raises(error), [])
    assert capsys.readouterr().err == "error: it broke\nnote: nor could a checkpoint be written\n"


def test_notes_are_told_of_what_was_interrupted(capsys: pytest.CaptureFixture[str]):
    stopped = Stopped("SIGTERM")
    stopped.add_note("backup 7 is complete")
    assert run(command_that_raises(stopped), []) == 130
    assert "note: backup 7 is complete\n" in capsys.readouterr().err


def test_a_child_whose_pipe_broke_is_no_reason_to_be_silent(capfd: pytest.CaptureFixture[str]):
    assert run(command_that_raises(BrokenPipeError("to a child")), []) == 1
    assert "unexpected BrokenPipeError" in capfd.readouterr().err


def test_when_nobody_reads_we_stop_without_a_word():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*PROGRAM, "--help"], env=environment({}), stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_work_in_good_order(number: signal.Signals, capsys: pytest.CaptureFixture[str]):
    cleared = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            cleared.append(STOP.is_set())

    assert run(command_that(work), []) == 130
    assert cleared == [True]
    assert f"error: interrupted by {number.name}" in capsys.readouterr().err
    assert signal.getsignal(number) == signal.SIG_DFL  # so a second one ends us at once


def test_what_fails_because_we_were_stopped_counts_as_interrupted(capsys: pytest.CaptureFixture[str]):
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise errors.DatabaseRefused("psql was killed") from None

    assert run(command_that(work), []) == 130
    assert "interrupted" in capsys.readouterr().err


def test_nothing_that_carries_on_after_failures_carries_on_after_a_signal():
    def work() -> None:
        with suppress(Exception):
            signal.raise_signal(signal.SIGTERM)

    assert run(command_that(work), []) == 130


def test_signals_that_somebody_had_us_ignore_stay_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run(command_that(lambda: signal.raise_signal(signal.SIGHUP)), []) == 0


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["bakcup"], "No such command", "`dwebbackup --help` explains"),
        (["backup", "--jsn"], "No such option", "`dwebbackup backup --help` explains"),
        (["restore"], "Missing argument", "`dwebbackup restore --help` explains"),
        (["key", "writer", "none"], "not a valid integer", "`dwebbackup key writer --help` explains"),
        ([], "Missing command", "`dwebbackup --help` explains"),
    ],
)
def test_usage_errors_are_2(arguments: list[str], said: str, hint: str):
    ended = call(*arguments, "--json", expect=2) if arguments else call(expect=2)
    assert said in ended.err
    assert f"hint: {hint}" in ended.err
    if arguments:
        assert ended.json["status"] == 2


def test_names_that_the_terminal_cannot_show_do_not_break_the_output():
    script = "import sys; from dwebbackup.cli.edge import run; from click import command\n"
    script += "sys.exit(run(command()(lambda: print('na\\udc80me ł')), []))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment({}) | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "na\\udc80me \\u0142\n")


def test_help_and_version_need_no_configuration():
    assert "restore" in call("--help", SORCE="nonsense").out
    assert call("--version").out.startswith("dwebbackup, version ")
