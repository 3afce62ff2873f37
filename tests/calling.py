"""Calls the program as users do: a process of its own, with a clean environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROGRAM = [sys.executable, "-m", "dwebbackup"]


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
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert ended.status == expect, ended
    assert "Traceback" not in ended.err, ended
    return ended


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Ours, without what would configure the program or lead libpq elsewhere."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DWEBBACKUP_", "PG"))}
    return clean | {f"DWEBBACKUP_{name}": str(value) for name, value in settings.items()}
