"""The command line as somebody on a laptop meets it: completion, Ctrl-C, pipes, proxies, quick starts, paper and pen."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import boto3
import pytest

from calling import PROGRAM, call, environment
from dwebbackup.cli.commands import SUMMARIES
from dwebbackup.keys import OwnerKey
from dwebbackup.stores.local import LocalStore
from fix_ceph import Ceph, make_certificates
from fix_postgres import Database
from shelf import Shelf

OWNER = OwnerKey(bytes(range(32)))

PATIENCE = 60
"""Seconds for what takes less than one, so that what never comes fails a test."""

# Gives its child a terminal, and passes on what the child shows and what we type.
TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


# --- completion ---


def completions(folder: Path, *words: str) -> list[str]:
    """What a real bash offers when Tab is pressed behind these words."""
    program = folder / "dwebbackup"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dwebbackup "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(dwebbackup completion bash)"
        how=$(complete -p dwebbackup)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        compopt() { echo "[files]"; }
        $(sed -E 's/.* -F ([^ ]+) .*/\\1/' <<<"$how") dwebbackup
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        [shutil.which("bash") or "bash", "--norc", "-c", script, "bash", *words],
        env=environment({}) | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["dwebbackup", "re"], ["restore", "repair"]),
        (["dwebbackup", ""], list(SUMMARIES)),
        (["dwebbackup", "key", "w"], ["writer"]),
        (["dwebbackup", "restore", "latest", "--re"], ["--replace"]),
        (["dwebbackup", "doctor", "--key-file", ""], ["[files]"]),
        (["dwebbackup", "completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes_commands_options_and_files(tmp_path: Path, words: list[str], offered: list[str]):
    assert completions(tmp_path, *words) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell: str):
    assert "_DWEBBACKUP_COMPLETE" in call("completion", shell).out
    assert "not one of" in call("completion", "cmd", expect=2).err


# --- a quick start ---


@pytest.mark.parametrize("command", ["list", "show", "verify", "key"])
def test_what_a_command_does_not_need_is_not_imported(command: str, tmp_path: Path):
    """Each of these costs 30 to 300 ms of every call."""
    slow = {"boto3", "psycopg", "structlog", "tqdm", "yaml"}
    script = f"""
import sys
from dwebbackup.cli import commands
from dwebbackup.cli.edge import run
status = run(commands, {[command, *(["show"] if command == "key" else ["1"] if command == "show" else [])]!r})
print(status, *({slow!r} & set(sys.modules)))
"""
    settings = {"STORE": f"file://{tmp_path}", "KEY": OWNER.words}
    (tmp_path / "dwebbackup-store").touch()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == ("0" if command == "key" else "10"), done


# --- stopped ---

EVERY = [
    ["key", "show"],
    ["key", "new", "--sheet", "s"],
    ["key", "writer"],
    ["key", "reader"],
    ["init"],
    ["backup"],
    ["list"],
    ["show", "latest"],
    ["restore", "latest"],
    ["verify"],
    ["prune"],
    ["repair"],
    ["doctor"],
    ["links", "dwebbackup.yaml"],
    ["demo"],
]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_ctrl_c_ends_every_command_in_good_order(words: list[str], tmp_path: Path):
    assert {each[0] for each in EVERY} == SUMMARIES.keys() - {"completion", "daemon"}, "one is missing here"
    os.mkfifo(tmp_path / "dwebbackup.yaml")  # which it waits for
    with subprocess.Popen(
        [*PROGRAM, *words],
        env=environment({}),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        writing = opened_by(process, tmp_path / "dwebbackup.yaml")
        process.send_signal(signal.SIGINT)
        os.close(writing)  # so that it goes on even if the signal came right before it began to wait
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.startswith("error: interrupted by SIGINT\nhint: ")
    assert "Traceback" not in err


def test_ctrl_c_while_it_starts_ends_it_without_a_word(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "click.py").write_text(f"open({str(tmp_path / 'fifo')!r}).read()")  # imported early on
    with subprocess.Popen(
        [*PROGRAM, "list"],
        env=environment({}) | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        writing = opened_by(process, tmp_path / "fifo")
        process.send_signal(signal.SIGINT)
        os.close(writing)
        ended = process.communicate()
    assert (process.returncode, *ended) == (-signal.SIGINT, "", ""), "which a shell calls 130"


def opened_by(process: subprocess.Popen[str], fifo: Path) -> int:
    """The writing end of *fifo*, as soon as *process* waits for what is written."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):  # which it is as long as nobody reads
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    pytest.fail("it did not read its configuration")


# --- nobody listens ---


@pytest.mark.parametrize(
    ("words", "status"), [("list", 1), ("list --json", 1), ("doctor", 1), ("key show", 1), ("show 7 --json", 10)]
)
def test_when_nobody_reads_the_result_there_is_no_traceback(words: str, status: int, tmp_path: Path):
    store = make_store(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        done = subprocess.run(
            [*PROGRAM, *words.split()],
            env=environment(store),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == status
    assert re.fullmatch(r"" if status == 1 else r"error: .*\nhint: .*\n", done.stderr)


def test_a_result_that_cannot_be_written_is_no_fault_of_what_is_done(tmp_path: Path):
    store = make_store(tmp_path)
    for words in ("list", "list --json"):
        with open("/dev/full", "w") as full:
            command = [*PROGRAM, *words.split()]
            done = subprocess.run(
                command, env=environment(store), stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        told = r"error: done, but the result could not be written: No space left on device\nhint: .*\n"
        assert re.fullmatch(told, done.stderr), done.stderr


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("list >&-", 0),
        ("verify 2>&-", 0),
        ("verify >&- 2>&-", 0),
        ("show 7 2>&-", 10),
        ("show 7 >&- 2>&-", 10),
        ("show 7 --json 2>/dev/full", 10),
    ],
)
def test_streams_that_are_closed_or_full_change_no_status(words: str, status: int, tmp_path: Path):
    command = ["bash", "-c", f"{sys.executable} -m dwebbackup {words}"]
    done = subprocess.run(command, env=environment(make_store(tmp_path)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, ""), done.stdout


def test_when_nobody_reads_the_error_the_status_still_tells(tmp_path: Path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as err:
        done = subprocess.run(
            [*PROGRAM, "show", "7"],
            env=environment(make_store(tmp_path)),
            stdout=subprocess.PIPE,
            stderr=err,
            check=False,
        )
    assert (done.returncode, done.stdout) == (10, b"")


def test_head_gets_its_lines_and_that_is_all(tmp_path: Path):
    store = make_store(tmp_path)
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m dwebbackup list | head -n 1"],
        env=environment(store),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("BACKUP")
    assert done.stderr == ""


def make_store(folder: Path, backups: int = 3) -> dict[str, str]:
    """A folder with the catalog of some backups, and what is configured for it."""
    shelf = Shelf()
    shelf.chain(backups)
    store = LocalStore(folder / "store")
    for name, data in shelf.root.objects.items():
        store.put(name, data)
    return {"STORE": store.url, "KEY": OWNER.words}


# --- silence ---


def test_quiet_is_silent_while_all_is_well(tmp_path: Path, database: Database, target_database: Database):
    settings = {"SOURCE": database.uri, "STORE": f"file://{tmp_path}/store", "KEY": OWNER.words}
    words = ["init"], ["backup"], ["verify"], ["verify", "--data"], ["doctor"], ["restore", "latest"]
    for each in words:
        ended = call(*each, "--quiet", TARGET=target_database.uri, **settings)
        assert (ended.out, ended.err) == ("", ""), each
    assert call("verify", "--quiet", "--json", **settings).json["ok"], "what programs asked for, they get"
    assert call("list", "--quiet", **settings).out.startswith("BACKUP"), "and what was asked for is no report"
    next((tmp_path / "store").glob("w/*/packs/*/*.age")).unlink()
    assert "NOT WHOLE" in call("verify", "--quiet", expect=12, **settings).out
    assert "is missing" in call("doctor", "--quiet", expect=12, **settings).out


# --- on a terminal ---


class Typist:
    """Somebody at a terminal, where the program runs: reads what it shows, types what it asks for."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TERMINAL, *PROGRAM, *words],
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read_until(self, pattern: str) -> re.Match[str]:
        """What is shown from now on, up to *pattern*; all of it is in `shown` as well."""
        new = ""
        assert self._process.stdout
        while not (match := re.search(pattern, new)):
            descriptor = self._process.stdout.fileno()
            assert select.select([descriptor], [], [], PATIENCE)[0], f"it waits, and showed: {self.shown}"
            block = os.read(descriptor, 65536).decode(errors="replace")
            assert block, f"it ended, and showed: {self.shown}"
            new += block
            self.shown += block
        return match

    def type(self, text: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def end(self) -> int:
        self.shown += self._process.communicate(timeout=PATIENCE)[0].decode(errors="replace")
        return self._process.returncode


ASKED = r"word (\d+): $"


def words_in(text: str) -> dict[int, str]:
    return {int(number): word for number, word in re.findall(r"(\d+)\. ([a-z]+)", text)}


def test_new_words_are_asked_back_until_they_are_right():
    with Typist("key", "new") as typist:
        first = int(typist.read_until(ASKED)[1])
        words = words_in(typist.shown)
        typist.type("zebra-crossing\n")
        assert int(typist.read_until(ASKED)[1]) == first
        assert f"That is not word {first}" in typist.shown
        typist.type(f" {words[first].upper()} \n")
        second = int(typist.read_until(ASKED)[1])
        assert second > first
        typist.type(f"{words[second]}\n")
        assert typist.end() == 0
    assert len(words) == 24
    assert typist.shown.count("nothing comes back") == 1


def test_who_cannot_say_the_words_is_told_what_to_do():
    with Typist("key", "new") as typist:
        number = typist.read_until(ASKED)[1]
        for _ in range(2):
            typist.type("no\n")
            assert typist.read_until(ASKED)[1] == number
        typist.type("no\n")
        assert typist.end() == 3
    assert f"error: word {number} is another one than was typed" in typist.shown
    assert "make new words" in typist.shown


def test_ctrl_c_and_the_end_of_the_input_end_the_asking():
    for key, status in (("\x03", 130), ("\x04", 3)):
        with Typist("key", "new") as typist:
            typist.read_until(ASKED)
            typist.type(key)
            assert typist.end() == status
        assert "Traceback" not in typist.shown


@pytest.mark.parametrize("option", ["--no-confirm", "--json"])
def test_who_does_not_want_to_be_asked_is_not(option: str):
    with Typist("key", "new", option) as typist:
        assert typist.end() == 0
    assert not re.search(r"word \d+:", typist.shown)


# --- the way to a bucket ---


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that speaks CONNECT alone: its URL, and where it was asked to connect to."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server, asked), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)


def serve(server: socket.socket, asked: list[str]) -> None:
    with suppress(OSError):  # the end of the test
        while True:
            client, _ = server.accept()
            threading.Thread(target=tunnel, args=(client, asked), daemon=True).start()


def tunnel(client: socket.socket, asked: list[str]) -> None:
    with client, client.makefile("rb", buffering=0) as reader:
        request = reader.readline().split()
        while reader.readline().strip():
            pass
        assert request[0] == b"CONNECT"
        asked.append(request[1].decode())
        host, _, port = asked[-1].partition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pour, args=(server, client), daemon=True)
            back.start()
            pour(client, server)
            back.join()


def pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # either side may go first
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


CERTIFICATES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture
def bucket(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is configured for a new bucket that is reached over TLS; nothing of this machine's proxies and authorities."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("AWS_") or name in CERTIFICATES:
            monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return {
        "STORE": f"s3://{ceph.bucket()}?endpoint={ceph.https}",
        "STORE_S3_ACCESS_KEY_ID": ceph.key.id,
        "STORE_S3_SECRET_ACCESS_KEY": ceph.key.secret,
        "KEY": OWNER.words,
    }


def test_a_bucket_behind_a_proxy(ceph: Ceph, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", ceph.ca)
    with proxy() as (url, asked):
        monkeypatch.setenv("HTTPS_PROXY", url)
        call("init", **bucket)
        assert set(asked) == {ceph.https.removeprefix("https://")}
        asked.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        call("list", expect=10, **bucket)
        assert asked == []


def test_a_proxy_that_is_not_there_is_told(ceph: Ceph, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", ceph.ca)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    found = call("doctor", "--json", expect=13, **bucket).json["findings"]
    (reached,) = [finding for finding in found if finding["name"] == "store s3: reached"]
    assert "proxy" in reached["sentence"]


@pytest.mark.parametrize("variable", CERTIFICATES)
def test_an_authority_of_ones_own_is_named_as_everywhere(
    variable: str, ceph: Ceph, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    found = call("doctor", "--json", expect=13, **bucket).json["findings"]
    assert any("not one that this machine trusts" in finding["sentence"] for finding in found)
    monkeypatch.setenv(variable, ceph.ca)
    call("init", **bucket)


def test_of_two_authorities_the_more_special_one_counts(
    ceph: Ceph, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", ceph.ca)
    call("init", **bucket)
