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
from dwebbackup import demo
from dwebbackup.keys import OwnerKey, parse_key
from dwebbackup.scratch.postgres import ScratchPostgres
from fix_postgres import new_database


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
    assert out.count(" rows  equal\n") == 17  # "equal" alone may be one of the words
    (folder,) = temporary.iterdir()
    assert isinstance(parse_key((folder / "words").read_text()), OwnerKey)
    listed = call("list", "--json", KEY_FILE=folder / "words", STORE=f"file://{folder}/store").json["backups"]
    assert [each["sequence"] for each in listed] == [1, 2]
    assert listed[1]["bytes_stored"] < listed[0]["bytes_stored"] / 20


def test_what_differs_is_found_and_the_order_of_rows_is_no_difference(
    pg_server: ScratchPostgres, pg_target: ScratchPostgres
):
    tables = "CREATE TABLE a (n int, t text); CREATE TABLE b (n int); CREATE SEQUENCE s; INSERT INTO b VALUES (1)"
    with new_database(pg_server, demo.DATABASE) as one, new_database(pg_target, demo.DATABASE) as two:
        one.psql(f"{tables}; INSERT INTO a VALUES (1, 'x'), (2, NULL)")
        two.psql(f"{tables}; INSERT INTO a VALUES (2, NULL), (1, 'x')")
        before = demo.parts_of(pg_server)
        assert [(part.name, part.rows) for part in before if part.is_table] == [("public.a", 2), ("public.b", 1)]
        assert demo.differing(before, demo.parts_of(pg_target)) == []
        two.psql("UPDATE a SET t = 'y' WHERE n = 1; SELECT nextval('s'), lo_from_bytea(7, 'large')")
        assert demo.differing(before, demo.parts_of(pg_target)) == ["large objects", "public.a", "public.s"]
        one.psql("DROP TABLE b")
        assert "public.b" in demo.differing(demo.parts_of(pg_server), before)


def test_a_demo_that_is_stopped_leaves_nothing(temporary: Path):
    with start(temporary) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("1. A throw-away PostgreSQL")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert list(temporary.iterdir()) == []
