"""The demo tells the truth, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from calling import PROGRAM, call, environment
from dwebbackup.keys import OwnerKey, parse_key


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the demo puts its folders: a short path, since a server's socket has to fit."""
    with tempfile.TemporaryDirectory(prefix="dwb-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def start(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    settings = environment({}) | {"TMPDIR": str(temporary)}
    return subprocess.Popen(
        [*PROGRAM, "demo", *arguments], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_everything_is_back_and_the_backups_are_kept_for_who_asks(temporary: Path):
    with start(temporary, "--keep") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert "DIFFERS" not in out
    assert out.count(" equal") == 17
    (folder,) = temporary.iterdir()
    assert isinstance(parse_key((folder / "words").read_text()), OwnerKey)
    listed = call("list", "--json", KEY_FILE=folder / "words", STORE=f"file://{folder}/store").json["backups"]
    assert [each["sequence"] for each in listed] == [1, 2]
    assert listed[1]["bytes_stored"] < listed[0]["bytes_stored"] / 20


def test_a_demo_that_is_stopped_leaves_nothing(temporary: Path):
    with start(temporary) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("1. A throw-away PostgreSQL")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert list(temporary.iterdir()) == []
