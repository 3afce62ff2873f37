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


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run *command*, and say what went wrong; gives the exit status."""
    _obey_signals()
    sys.setswitchinterval(SWITCH_INTERVAL)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names have any characters
    try:
        status = _invoke(command, arguments)
        sys.stdout.flush()
    except (Exception, Stopped) as error:  # noqa: BLE001  # this is where every error ends
        return _tell(_understood(error), arguments)
    return status


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
    """Errors of click, and of being stopped, in our own terms."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "dwebbackup"
        return WrongConfiguration(error.format_message(), f"`{path} --help` explains")
    if isinstance(error, Stopped) or STOP.is_set():  # children get the signal, too, and may fail first
        return Interrupted(
            f"interrupted by {error}" if isinstance(error, Stopped) else "interrupted",
            "what was restorable still is; the same command, run again, goes on from what is stored",
        )
    return error


def _tell(error: BaseException, arguments: Sequence[str]) -> int:
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
        return 1
    status, hint = 1, "this is a fault of dwebbackup; --debug shows where"
    message = f"unexpected {type(error).__name__}: {error}"
    if isinstance(error, DwebbackupError):
        status, hint, message = error.exit_status, error.hint, str(error)
    message, hint = redact(message), redact(hint)
    if "--debug" in arguments:
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    lines = [f"error: {message}", *(f"note: {redact(note)}" for note in getattr(error, "__notes__", ()))]
    print("\n".join([*lines, f"hint: {hint}"] if hint else lines), file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": message, "hint": hint, "status": status}, ensure_ascii=False), flush=True)
    return status


def _nobody_reads() -> bool:
    """Whether it was our own output that broke, as under `| head`, and not the pipe to some child."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
