"""What the workers of one program say at once is told apart."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dwebbackup.sources.postgres.verdicts import judge
from dwebbackup.sources.voices import Voices

CHATTER = """
import os, sys
for worker in range(4):
    if os.fork() == 0:
        for line in range(300):
            for piece in (f"{worker}: ", "error: ", f"{line}\\n"):
                os.write(2, piece.encode())
        os._exit(0)
for worker in range(4):
    os.wait()
os.write(2, b"the end")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who wrote a piece")
def test_pieces_of_workers_that_write_at_once_are_put_together():
    with Voices() as voices:
        process = subprocess.Popen([sys.executable, "-c", CHATTER], stderr=voices.theirs.fileno())
        said = voices.listen(process)
        process.wait()
    lines = said.splitlines()
    assert lines.pop() == "the end"
    for worker in range(4):
        assert [line for line in lines if line.startswith(f"{worker}: ")] == [
            f"{worker}: error: {number}" for number in range(300)
        ]
    assert len(lines) == 1200


ORPHAN = "import os, time\nif os.fork() == 0: time.sleep(3600)\nelse: os.write(2, f'{os.getpid()}'.encode())"


def test_a_worker_that_outlives_its_program_is_not_waited_for():
    with Voices() as voices:
        process = subprocess.Popen(
            [sys.executable, "-c", ORPHAN], stderr=voices.theirs.fileno(), start_new_session=True
        )
        try:
            assert voices.listen(process) == f"{process.pid}\n"
            process.wait()
        finally:
            subprocess.run(["kill", "--", f"-{process.pid}"], check=True)


def test_complaints_that_cannot_be_understood_stop_a_restore():
    mixed = "pg_restore: pg_restore: error: error: could not execute query\npg_restore: warning: errors ignored on restore: 2"
    assert "cannot be understood" in judge(1, mixed, ()).said
