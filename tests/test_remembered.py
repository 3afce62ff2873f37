"""What this machine has seen of backups: a help against a world that was rolled back, and never a hindrance."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dwebbackup.remembered import Memory, usual_memory
from shelf import OWNER

WRITER = OWNER.writer(1).id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "dwebbackup"


def test_the_highest_backup_seen_is_remembered_by_the_next_run(folder: Path):
    Memory(str(folder)).see(WRITER, 41)
    Memory(str(folder)).see(WRITER, 42)
    Memory(str(folder)).see(WRITER, 7)
    assert Memory(str(folder)).highest(WRITER) == 42
    assert Memory(str(folder)).highest(OWNER.writer(2).id) == 0


def test_it_can_be_told_to_forget(folder: Path):
    memory = Memory(str(folder))
    memory.see(WRITER, 42)
    memory.set(WRITER, 7)
    assert memory.highest(WRITER) == 7
    memory.set(WRITER, 0)
    assert memory.highest(WRITER) == 0


def test_nobody_else_reads_it_and_nothing_is_left_beside_it(folder: Path):
    Memory(str(folder)).see(WRITER, 42)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == [WRITER]


@pytest.mark.parametrize("content", [b"", b"42", b"-1\n", b"4e9\n", b"\xff\n", b"42\n43\n", b"9" * 1000 + b"\n"])
def test_a_file_with_nonsense_knows_nothing_and_is_written_anew(folder: Path, content: bytes):
    folder.mkdir(parents=True)
    (folder / WRITER).write_bytes(content)
    memory = Memory(str(folder))
    assert memory.highest(WRITER) == 0
    memory.see(WRITER, 3)
    assert memory.highest(WRITER) == 3


def test_where_nothing_can_be_written_nothing_is_known_and_nobody_minds(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    for memory in (Memory(""), Memory(str(tmp_path / "file" / "dwebbackup")), Memory("/proc/dwebbackup")):
        memory.see(WRITER, 42)
        assert memory.highest(WRITER) == 0


def test_a_folder_in_the_place_of_the_file_is_no_hindrance(folder: Path):
    (folder / WRITER).mkdir(parents=True)
    memory = Memory(str(folder))
    memory.see(WRITER, 42)
    assert memory.highest(WRITER) == 0


@pytest.mark.parametrize(
    ("environment", "below"),
    [
        ({"XDG_STATE_HOME": "{here}/xdg", "HOME": "{here}"}, "xdg/dwebbackup"),
        ({"HOME": "{here}"}, ".local/state/dwebbackup"),
        ({"XDG_STATE_HOME": "relative", "HOME": "{here}"}, ".local/state/dwebbackup"),
        ({"HOME": "{here}/nobody"}, None),
        ({"HOME": "/"}, None),
        ({"HOME": ""}, None),
        ({}, None),
    ],
)
def test_it_is_kept_where_the_user_keeps_such_things(tmp_path: Path, environment: dict[str, str], below: str | None):
    """In a container whose user has no home, nowhere."""
    usual_memory({name: text.format(here=tmp_path) for name, text in environment.items()}).see(WRITER, 42)
    written = [os.path.relpath(path, tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert written == ([f"{below}/{WRITER}"] if below else [])
