"""The one edge: signals become an error, errors become a sentence, a hint and an exit status."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import TextIO

import click

from dwebbackup.errors import DwebbackupError, Interrupted, WrongConfiguration
from dwebbackup.report.redaction import redact

SWITCH_INTERVAL = 0.0005
"""Seconds: threads that come back from C wait this long for a thread that runs Python (5% of a backup, measured)."""

STOP = threading.Event()
"""Set when we are asked to stop: ends the waits of threads that no exception reaches."""


class Stopped(KeyboardInterrupt):
    """A signal asked us to stop.

    A `KeyboardInterrupt`, since nobody takes that for a failure to carry on from, and psycopg ends its query. Of
    a kind of its own, since Python ends itself by SIGINT, whatever our exit status, once it has seen a plain one.
    """


class Unwritten(DwebbackupError):
    """What was asked for is done, and whoever asked will not see how it went."""


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run *command*, and say what went wrong; gives the exit status."""
    _obey_signals()
    sys.setswitchinterval(SWITCH_INTERVAL)
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names have any characters
    try:
        status = _invoke(command, arguments)
        write("")
    except (Exception, Stopped) as error:  # noqa: BLE001  # this is where every error ends
        return _tell(_understood(error), arguments)
    return status


def write(text: str) -> None:
    """On stdout, at once. Raises `Unwritten`; `BrokenPipeError` where nobody reads any more."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _to_nowhere(sys.stdout)
        raise Unwritten(
            f"done, but the result could not be written: {error.strerror}",
            "`dwebbackup list` shows which backups there are",
        ) from error


def _replace_closed_streams() -> None:
    """Python has None for one that was closed when it began: what goes there goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # as long as we run


def _to_nowhere(stream: TextIO) -> None:
    """What is still to be flushed would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _invoke(command: click.Command, arguments: Sequence[str]) -> int:
    """Not `command.main`, which takes the broken pipe of any child for one of ours, and says nothing."""
    try:
        with command.make_context("dwebbackup", list(arguments)) as context:
            return command.invoke(context) or 0
    except click.exceptions.Exit as end:
        return end.exit_code


def _obey_signals() -> None:
    STOP.clear()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, and shells for background work, say so
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    """Raised in the main thread, wherever it is, so that everything is cleared away; a second one ends us."""
    STOP.set()
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(signal.Signals(number).name)


def _understood(error: BaseException) -> BaseException:
    """Errors of click, and of being stopped, in our own terms; with their notes."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "dwebbackup"
        return WrongConfiguration(error.format_message(), f"`{path} --help` explains")
    if isinstance(error, Stopped) or STOP.is_set():  # children get the signal, too, and may fail first
        interrupted = Interrupted(
            f"interrupted by {error}" if isinstance(error, Stopped) else "interrupted",
            "what was restorable still is; the same command, run again, goes on from what is stored",
        )
        for note in getattr(error, "__notes__", ()):
            interrupted.add_note(note)
        return interrupted
    return error


def _tell(error: BaseException, arguments: Sequence[str]) -> int:
    if isinstance(error, BrokenPipeError) and _let_go():
        return 1
    status, hint = 1, "this is a fault of dwebbackup; --debug shows where"
    message = f"unexpected {type(error).__name__}: {error}"
    if isinstance(error, DwebbackupError):
        status, hint, message = error.exit_status, error.hint, str(error)
    message, hint = redact(message), redact(hint)
    lines = [f"error: {message}", *(f"note: {redact(note)}" for note in getattr(error, "__notes__", ()))]
    lines += [f"hint: {hint}"] if hint else []
    if "--debug" in arguments:
        lines.insert(0, redact("".join(traceback.format_exception(error))).rstrip())
    document = {"error": message, "hint": hint, "status": status}
    try_to_tell(sys.stderr, "\n".join(lines))
    if "--json" in arguments:
        try_to_tell(sys.stdout, json.dumps(document, ensure_ascii=False))
    return status


def try_to_tell(stream: TextIO, text: str) -> None:
    """A line on *stream*; one that cannot be written does not spoil what is done, and the status says it all."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        _to_nowhere(stream)


def _let_go() -> bool:
    """Whether it was our own output that broke, as under `| head`, and not the pipe to some child.

    What is still to be flushed then goes nowhere.
    """
    broken = [stream for stream in (sys.stdout, sys.stderr) if _is_broken(stream.fileno())]
    for stream in broken:
        _to_nowhere(stream)
    return bool(broken)


def _is_broken(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
