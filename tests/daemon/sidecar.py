"""A sidecar as a process of its own, watched by what it logs and by its page."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import requests

from calling import PROGRAM, environment, require_no_secret
from dwebbackup.keys import OwnerKey

PATIENCE = 120
"""Seconds, on a machine that has other things to do."""

TOKEN = "a token for the page"

OWNER = OwnerKey(bytes(range(1, 33)))
WRITER = OWNER.writer(1)

Event = dict[str, Any]


class Sidecar:
    """`dwebbackup daemon` with *settings* as DWEBBACKUP_ variables, and *variables* as they are."""

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        **settings: object,
    ) -> None:
        self._command = [*PROGRAM, "daemon", *arguments]
        usual = {
            "STORE": f"file://{folder}/store",
            "KEY": WRITER.line,
            "LISTEN": "127.0.0.1:0",
            "PAGE_TOKEN": TOKEN.replace(" ", "-"),
            "SCHEDULE": "every 1 hour",
        }
        self._settings = usual | settings
        self._environment = environment(self._settings) | {"TMPDIR": str(folder)} | dict(variables or {})
        self.events: list[Event] = []
        self.raw: list[str] = []
        self._changed = threading.Condition()
        self._over = False

    @contextmanager
    def started(self, output: int) -> Iterator[subprocess.Popen[bytes]]:
        """With what it says going to *output*, unseen."""
        process = subprocess.Popen(self._command, env=self._environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        require_no_secret("".join(self.raw), self._settings)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._changed:
                self.raw.append(line)
                if line.startswith("{"):
                    self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wait_for(self, what: str | Callable[[Event], bool], after: int = 0) -> Event:
        """The first line, from the *after*-th on, whose event has this text, or that fits."""
        fits = what if callable(what) else lambda event: what in event["event"]
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                found = [event for event in self.events[after:] if fits(event)]
                if found:
                    return found[0]
                left = deadline - time.monotonic()
                if self._over or left < 0:
                    raise AssertionError(f"never logged: {what}\n" + "".join(self.raw[-40:]))
                self._changed.wait(left)

    def count(self, what: str) -> int:
        with self._changed:
            return sum(what in event["event"] for event in self.events)

    # --- its page ---

    def get(self, path: str = "/", token: bool = True) -> requests.Response:
        port = self.wait_for("the page can be asked")["port"]
        headers = {"Authorization": f"Bearer {TOKEN.replace(' ', '-')}"} if token else {}
        return requests.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=PATIENCE)

    def wait_until_healthy(self) -> None:
        self.wait_until(lambda: self.get("/healthz").status_code == 200)

    def wait_until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            if time.monotonic() > deadline or self._over:
                raise AssertionError("it never happened\n" + "".join(self.raw[-40:]))
            with self._changed:
                self._changed.wait(0.1)

    # --- its end ---

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """As an orchestrator stops it; its exit status."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        if self.process.stdout:
            self.process.stdout.close()


def memory(pid: int) -> int:
    """Bytes: what of the process is in memory, what it shares with others counted in part."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
