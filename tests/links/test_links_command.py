"""`dwebbackup links`: what it prints for people and programs, of files of any size, without configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from calling import PROGRAM, call, environment
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import KUBO_V1, V0_2015, V1_2025, cid_of

HELLO = b"hello world"
HELLO_CID = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
HELLO_SKYLINK = "AAAn23msuCLlN7B2_dweWuSQiHjgrw86rNJYsT_eGtC39Q"
"""This program's own answer, so that it does not change from version to version unnoticed."""


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    file = tmp_path / "hello"
    file.write_bytes(HELLO)
    return file


def test_people_get_the_cid_with_its_profile_and_the_skylink(hello: Path):
    assert call("links", hello).out.splitlines() == [
        f"{hello}  11 bytes",
        f"  cid      {HELLO_CID}  unixfs-v1-2025",
        f"  skylink  {HELLO_SKYLINK}",
    ]


def test_programs_get_one_object(hello: Path):
    assert call("links", hello, "--json").json == {
        "file": str(hello),
        "size": 11,
        "cid": HELLO_CID,
        "profile": "unixfs-v1-2025",
        "cids": {"unixfs-v1-2025": HELLO_CID},
        "skylink": HELLO_SKYLINK,
    }


def test_all_profiles_are_given_on_request(tmp_path: Path):
    data = os.urandom(3_000_000)
    (tmp_path / "pack").write_bytes(data)
    said = call("links", tmp_path / "pack", "--all", "--json").json
    assert said["cids"] == {each.name: cid_of(data, each).text for each in (V1_2025, V0_2015, KUBO_V1)}
    assert said["skylink"] == skylink_of(data).text


def test_several_files_are_a_list(hello: Path, tmp_path: Path):
    (tmp_path / "empty").touch()
    said = call("links", hello, tmp_path / "empty", "--json").json
    assert [each["size"] for each in said["files"]] == [11, 0]
    assert call("links", hello, tmp_path / "empty").out.count("  cid  ") == 2


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((1 << 22) - 200, "it has 4,194,104 bytes, and a skyfile of one sector has room for 4,194,074"),
        (1 << 22, "it has 4,194,304 bytes, and a skyfile of one sector has room for 4,194,074"),
        ((1 << 22) + 1, "it is larger than a sector of Skynet"),
        (50_000_000, "it is larger than a sector of Skynet"),
    ],
)
def test_what_does_not_fit_into_a_sector_has_no_skylink_and_the_reason_is_told(tmp_path: Path, size: int, reason: str):
    (tmp_path / "large").write_bytes(bytes(size))
    assert call("links", tmp_path / "large", "--json").json["skylink"] is None
    assert call("links", tmp_path / "large").out.splitlines()[-1] == f"  skylink  none: {reason}"


def test_a_pipe_is_read_too():
    done = subprocess.run(
        [*PROGRAM, "links", "/dev/stdin"], env=environment({}), input=HELLO, capture_output=True, check=True
    )
    assert HELLO_CID in done.stdout.decode()


def test_a_file_of_a_gigabyte_takes_no_more_memory_than_a_small_one(hello: Path, tmp_path: Path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1_000_000_000)
    few, many = peak("links", hello), peak("links", tmp_path / "large", "--all")
    assert many < few + 24 * 1024, "in KiB: there are a block, three chunks and the beginning"


def peak(*words: object) -> int:
    """Kilobytes that a call of the program needed at most."""
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    command = [sys.executable, "-c", script, *PROGRAM, *map(str, words)]
    return int(subprocess.run(command, env=environment({}), capture_output=True, check=True).stdout)


@pytest.mark.parametrize("name", ["absent", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    why = {"absent": "No such file or directory", "folder": "Is a directory"}[name]
    ended = call("links", tmp_path / name, "--json", expect=2)
    assert ended.json["error"] == f"{tmp_path / name} cannot be read: {why}"


def test_no_file_is_a_mistake():
    assert "Missing" in call("links", expect=2).err


def test_it_needs_no_configuration_and_minds_none(hello: Path, tmp_path: Path):
    done = subprocess.run(
        [*PROGRAM, "links", str(hello)],
        env=environment({"NONSENSE": "is an error elsewhere", "KEY": "wrong"}),
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert (done.stdout.count(b"\n"), done.stderr) == (3, b"")


def test_it_starts_without_what_it_does_not_need(hello: Path):
    slow = {"boto3", "psycopg", "structlog", "tqdm", "yaml", "cryptography", "mnemonic", "dwebbackup.config"}
    script = f"""
import sys
from dwebbackup.cli import commands
from dwebbackup.cli.edge import run
status = run(commands, ["links", {str(hello)!r}])
print(status, *({slow!r} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment({}), capture_output=True, check=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "0"
