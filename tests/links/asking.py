"""What IPFS's own libraries say, asked through .ci/ipfs/ask.mjs; and the published vectors of others."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def ask(*questions: dict[str, Any]) -> list[Any]:
    """Their answers, all in one call; where they throw an error, a text that begins with "threw"."""
    node = shutil.which("node") or pytest.fail("the program `node` is missing: .ci/system-packages test")
    done = subprocess.run([node, _folder() / "ask.mjs"], input=json.dumps(questions), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [each["answer"] if "answer" in each else f"threw {each['error']}" for each in json.loads(done.stdout)]


@cache
def _folder() -> Path:
    done = subprocess.run([ROOT / ".ci" / "npm-folder", "ipfs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def vectors(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "tests" / "vectors" / f"links-{name}.json").read_text())
