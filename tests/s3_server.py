"""What the tests want of any S3 server that they start: its addresses, somebody with a key, buckets of one's own."""

from __future__ import annotations

import functools
import itertools
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from botocore.config import Config

from dwebbackup.stores.s3_address import AccessKey, Address

PATIENCE = 120
"""Seconds for a start, which takes a few."""

_numbers = itertools.count(1)


class S3Server:
    """A running server, and its one user who may do everything with buckets of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http = f"http://127.0.0.1:{free_port()}"
        self.https = f"https://127.0.0.1:{free_port()}"
        self.ca = str(folder / "ca.pem")
        self.key = AccessKey("", "")
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Raises AssertionError with the last words of what did not start."""
        raise NotImplementedError

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGKILL)  # they keep nothing
        for daemon in self._daemons:
            daemon.wait()

    @functools.cached_property
    def common_bucket(self) -> str:
        """One for all; who wants to be alone in it uses a prefix."""
        return self.bucket()

    def user(self, name: str) -> AccessKey:
        """Another one, whom nobody allowed anything."""
        raise NotImplementedError

    def bucket(self, key: AccessKey | None = None) -> str:
        """A new and empty one."""
        name = f"bucket-{next(_numbers)}"
        self.client(key).create_bucket(Bucket=name)
        return name

    def client(self, key: AccessKey | None = None) -> Any:
        """What the tests do themselves, without the code under test."""
        key = key or self.key
        return boto3.client(
            "s3",
            endpoint_url=self.http,
            region_name="us-east-1",
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            config=Config(request_checksum_calculation="when_required"),
        )

    def address(self, bucket: str, **changes: Any) -> Address:
        return Address(bucket, **({"endpoint": self.http} | changes))

    def launch(self, name: str, *command: str) -> None:
        """It ends when this process does, however that ends."""
        with (self.folder / f"{name}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def await_listeners(self, *ports: int) -> None:
        deadline = time.monotonic() + PATIENCE
        for port in ports:
            while not _listens(port):
                ended = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
                assert not ended, f"{ended} ended\n{self._last_words()}"
                assert time.monotonic() < deadline, f"nobody listens on {port}\n{self._last_words()}"
                time.sleep(0.01)

    def _last_words(self) -> str:
        outputs = sorted(self.folder.glob("*.out"))
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1000:]}" for path in outputs)

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *arguments: Any) -> Iterator[Self]:
        """It leaves nothing in *folder*. Tried again where somebody else may have taken one of its ports meanwhile."""
        for last in (False, False, True):
            with ExitStack() as stack:
                own = stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-", dir=folder))
                server = cls(Path(own), *arguments)
                stack.callback(server.stop)
                try:
                    server.start()
                except AssertionError:
                    if last:
                        raise
                    continue
                yield server
                return


def require(programs: Sequence[str], packages: str) -> None:
    """A missing program fails the test."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.fail(f"{', '.join(missing)} is missing: apt-get install {packages}")


def run(*command: str) -> str:
    """What it prints; it has to succeed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{command} failed: {done.stderr[-2000:]}"
    return done.stdout


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def free_port() -> int:
    """A port that is free now, below the range from which systems give ports to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(10240, 32768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
