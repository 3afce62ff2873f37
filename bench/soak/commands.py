"""`dwebbackup` as a process, called by somebody beside the sidecar."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from calling import PROGRAM, environment

INCOMPLETE = 3
"""The exit status of what is done, and has something to tell."""


class CommandFailed(AssertionError):
    """It ended with another status than anybody expected."""


def dwebbackup(folder: Path, *words: str, **settings: str) -> dict[str, Any]:
    """Its one JSON object. *folder*: for temporary files and locks."""
    variables = environment(settings) | {"TMPDIR": str(folder)}
    done = subprocess.run([*PROGRAM, *words, "--json"], env=variables, capture_output=True, text=True, check=False)
    if done.returncode not in (0, INCOMPLETE):
        raise CommandFailed(f"dwebbackup {' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout) | {"status": done.returncode}
