"""Calls the program as users do: the whole of it, in a clean environment; in this process, since that is quicker."""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import structlog

from dwebbackup.cli import commands
from dwebbackup.cli.edge import run

PROGRAM = [sys.executable, "-m", "dwebbackup"]
"""For those who need a process: to end it, or to give it a terminal."""

OTHERS = ("DWEBBACKUP_", "PG", "POSTGRES_")
"""Variables that begin so would configure the program, or lead libpq elsewhere."""

NETWORKS = ("GATEWAYS", "PORTALS", "ROUTERS")
"""Settings that name public servers, unless a test gives its own: no test asks the world."""

_TEMPORARY = tempfile.TemporaryDirectory(prefix="dwb")
atexit.register(_TEMPORARY.cleanup)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ended:
    """A call that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        return json.loads(self.out)


def call(*arguments: object, expect: int = 0, **settings: object) -> Ended:
    """Run `dwebbackup` with *settings* as DWEBBACKUP_ variables; its exit status has to be *expect*."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with ExitStack() as stack:
        stack.enter_context(_surroundings(environment(settings)))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        status = run(commands, list(map(str, arguments)))
    ended = Ended(status, _written(out), _written(err))
    assert ended.status == expect, ended
    require_no_secret(ended.err, settings)
    return ended


SECRETS = re.compile(r"(RESTORE_)?KEY|PAGE_TOKEN|STORE_\w+_(SECRET_ACCESS_KEY|SESSION_TOKEN|TOKEN)")

_PASSWORD = re.compile(r"://[^/@:]*:([^/@]{6,})@")


def require_no_secret(said: str, settings: Mapping[str, object]) -> None:
    """Whatever any test lets the program say: no secret that it was given is in it, nor words of a phrase in a row."""
    for name, value in settings.items():
        text = str(value)
        secrets = list(_PASSWORD.findall(text))
        if SECRETS.fullmatch(name):
            words = text.split()
            rows = [" ".join(words[at : at + 4]) for at in range(max(1, len(words) - 3))]
            secrets += [row for row in rows if len(row) >= 12]
        for secret in secrets:
            assert secret not in said, f"DWEBBACKUP_{name} was shown"


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Ours, without what would configure the program or lead libpq elsewhere.

    Temporary files are in a folder of this process: there, others' backups with the same key are waited for.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    usual = {"TMPDIR": _TEMPORARY.name} | {f"DWEBBACKUP_{name}": "off" for name in NETWORKS}
    return clean | usual | {f"DWEBBACKUP_{name}": str(value) for name, value in settings.items()}


@contextmanager
def _surroundings(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, nothing on stdin; afterwards all is as it was, signal handlers and logging too."""
    before, stdin = dict(os.environ), sys.stdin
    handlers = [signal.getsignal(number) for number in SIGNALS]
    os.environ.clear()
    os.environ.update(variables)
    try:
        with open(os.devnull) as sys.stdin:
            yield
    finally:
        sys.stdin = stdin
        os.environ.clear()
        os.environ.update(before)
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
        structlog.reset_defaults()


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
