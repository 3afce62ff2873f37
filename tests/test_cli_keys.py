"""`dwebbackup key`: what it prints are keys that hold, and secrets go only where they were asked for."""

from __future__ import annotations

import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from calling import PROGRAM, call, environment
from dwebbackup.cli.sheet import write_sheet
from dwebbackup.errors import WrongConfiguration
from dwebbackup.keys import OwnerKey, ReaderKey, WriterKey, parse_key
from dwebbackup.primitives import to_bech32
from dwebbackup.stores.local import MARKER

OWNER = OwnerKey(bytes(range(32)))


def recipient(owner: OwnerKey) -> str:
    return to_bech32("age", owner.recipient)


def test_new_words_differ_each_time_and_come_with_what_they_lead_to():
    ended = call("key", "new", "--json")
    owner = OwnerKey.from_words(ended.json["words"])
    assert len(ended.json["words"].split()) == 24
    assert ended.json["recipient"] == recipient(owner)
    assert parse_key(ended.json["writer"]) == owner.writer(1)
    assert ended.json["writer_id"] == owner.writer(1).id
    assert ended.err.count("nothing comes back") == 1
    assert call("key", "new", "--json").json["words"] != ended.json["words"]


def test_new_words_are_numbered_for_people():
    ended = call("key", "new")
    owner = parse_key(ended.out.partition("\n\n")[0])  # as they would be copied from the terminal
    assert isinstance(owner, OwnerKey)
    assert recipient(owner) in ended.out
    assert owner.writer(1).id in ended.out
    assert "dwbw1" not in ended.out


def test_the_recovery_sheet_is_for_its_owner_alone(tmp_path: Path):
    sheet = tmp_path / "sheet.txt"
    words = call("key", "new", "--json", "--sheet", sheet, STORE="file:///backups/mine").json["words"]
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    text = sheet.read_text()
    assert all(word in text for word in words.split())
    assert "file:///backups/mine" in text
    again = call("key", "new", "--sheet", sheet, expect=2)
    assert "is there already" in again.err
    assert again.out == ""
    assert sheet.read_text() == text


def test_a_part_of_a_recovery_sheet_is_not_left_behind(tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(WrongConfiguration, match="cannot write"):
            write_sheet(str(tmp_path / "sheet"), "abandon " * 24)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_new_key_does_not_need_the_one_that_is_configured():
    call("key", "new", KEY_FILE="/nowhere/yet")


def test_the_owner_sees_recipient_and_writers():
    ended = call("key", "show", KEY=OWNER.words)
    assert recipient(OWNER) in ended.out
    assert OWNER.writer(1).id in ended.out
    assert "AGE-SECRET-KEY" not in ended.out
    assert OWNER.words.split()[3] not in ended.out.split()


def test_the_identity_is_shown_to_who_asks_for_it():
    identity = call("key", "show", "--identity", KEY=OWNER.words).out.strip()
    assert identity == to_bech32("age-secret-key-", OWNER.identity).upper()
    assert call("key", "show", "--identity", "--json", KEY=OWNER.words).json["identity"] == identity
    call("key", "show", "--identity", KEY=OWNER.writer(1).line, expect=16)


def test_the_identity_is_shown_without_asking_a_store_that_may_be_down(tmp_path: Path):
    (tmp_path / "w").symlink_to(tmp_path)
    settings = {"KEY": OWNER.words, "STORE": f"file://{tmp_path}"}
    call("key", "show", expect=13, **settings)
    assert call("key", "show", "--identity", **settings).out.startswith("AGE-SECRET-KEY-1")


@pytest.mark.parametrize(("key", "kind"), [(OWNER.writer(3), "writer"), (OWNER.reader(3), "reader")])
def test_a_key_line_shows_what_it_is(key: WriterKey | ReaderKey, kind: str):
    ended = call("key", "show", KEY=key.line)
    assert ended.out == f"{kind} key of writer 3, {key.id}\n"


def test_a_writer_key_is_one_line_and_nothing_else():
    ended = call("key", "writer", KEY=OWNER.words)
    assert ended.out == OWNER.writer(1).line + "\n"
    assert ended.err == ""
    first = call("key", "writer", "1", "--json", KEY=OWNER.words).json
    assert (first["writer"], first["number"]) == (OWNER.writer(1).line, 1)


def test_no_writer_is_made_that_the_words_would_not_find(tmp_path: Path):
    settings = {"KEY": OWNER.words, "STORE": f"file://{tmp_path}/store"}
    for command in (["key", "writer", "2"], ["init", "--writer", "2"]):
        ended = call(*command, "--json", expect=2, **settings)
        assert "would not find the backups of writer 2" in ended.json["error"]
        assert "take 1" in ended.json["hint"]
    call("init", "--writer", "1", **settings)
    for command in (["key", "writer", "3"], ["init", "--writer", "3"]):
        assert "its newest is 1" in call(*command, expect=2, **settings).err
    assert call("key", "writer", "2", **settings).out == OWNER.writer(2).line + "\n"
    call("init", "--writer", "2", **settings)
    assert call("key", "writer", "1", **settings).out == OWNER.writer(1).line + "\n"
    (tmp_path / "store" / MARKER).unlink()  # a copy may have lost it
    assert call("key", "writer", **settings).out == OWNER.writer(2).line + "\n"


def test_a_reader_key_is_one_line_and_nothing_else():
    assert call("key", "reader", KEY=OWNER.words).out == OWNER.reader(1).line + "\n"
    second = call("key", "reader", "2", "--json", KEY=OWNER.words).json
    assert (second["reader"], second["number"]) == (OWNER.reader(2).line, 2)


def test_a_store_that_nobody_wrote_to_yet_has_no_writers(tmp_path: Path):
    store = f"file://{tmp_path}/store"
    assert call("key", "writer", "--json", KEY=OWNER.words, STORE=store).json["number"] == 1
    assert not (tmp_path / "store").exists()
    call("key", "writer", "--next", KEY=OWNER.words, STORE=store, expect=13)
    call("key", "writer", "--next", KEY=OWNER.words, expect=2)


@pytest.mark.parametrize("name", ["writer", "reader"])
@pytest.mark.parametrize("key", [OWNER.writer(1), OWNER.reader(1)])
def test_only_the_words_make_keys(name: str, key: WriterKey | ReaderKey):
    assert "only the 24 words" in call("key", name, KEY=key.line, expect=16).err


def test_a_key_cannot_stand_on_the_command_line():
    ended = call("list", "--key", OWNER.words, expect=2)
    assert "No such option" in ended.err
    assert OWNER.words not in ended.err


def test_a_wrong_key_is_not_shown():
    ended = call("key", "show", KEY=OWNER.words.replace("abandon", "abandom", 1), expect=2)
    assert OWNER.words.split()[5] not in ended.err.split()


def test_a_key_file_serves_and_everybody_may_not_read_it(tmp_path: Path):
    path = tmp_path / "words"
    path.write_text(OWNER.words)
    path.chmod(0o644)
    ended = call("key", "writer", "--key-file", path)
    assert ended.out == OWNER.writer(1).line + "\n"
    assert "warning: everybody on this machine can read" in ended.err
    path.chmod(0o600)
    assert call("key", "writer", KEY_FILE=path).err == ""


def test_without_a_key_and_without_a_terminal_it_says_what_to_do():
    assert "DWEBBACKUP_KEY_FILE" in call("key", "show", expect=2).err


# Gives its child a terminal, and passes on what the child shows and what we type.
TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_on_a_terminal_the_words_are_asked_for_and_not_echoed():
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL, *PROGRAM, "key", "show"],
        env=environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        shown = b""
        while b"not shown): " not in shown:
            shown += process.stdout.read1()
        process.stdin.write(OWNER.words.encode() + b"\n")
        process.stdin.flush()
        shown += process.stdout.read()
    assert process.returncode == 0
    assert recipient(OWNER).encode() in shown
    assert OWNER.words.split()[5].encode() not in shown.split()
