"""The S3 servers that tests run against: the system's Ceph always, newer ones and Swift in the wide run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from fix_ceph import Ceph
from fix_swift import PROGRAMS, Swift
from s3_server import S3Server, require

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"

CEPHS = ("ceph", "ceph-trixie", "ceph-sid") if WIDE else ("ceph",)
SERVERS = (*CEPHS, "swift") if WIDE else CEPHS

FETCH = Path(__file__).parents[1] / ".ci" / "ceph-newer"
CACHE = Path(__file__).parents[1] / ".cache" / "ceph"
"""Where the script puts what it fetched."""


class Servers:
    """A server of each kind, from when it is first asked for."""

    def __init__(self, stack: ExitStack, folder: Path, ceph: Ceph) -> None:
        self._stack = stack
        self._folder = folder
        self._running: dict[str, S3Server] = {"ceph": ceph}

    def server(self, name: str) -> S3Server:
        if name not in self._running:
            self._running[name] = self._stack.enter_context(self._start(name))
        return self._running[name]

    def _start(self, name: str) -> AbstractContextManager[S3Server]:
        if name == "swift":
            require(PROGRAMS, "swift-proxy swift-account swift-container swift-object memcached")
            return Swift.running(self._folder)
        suite = name.partition("-")[2]
        done = subprocess.run([FETCH, suite], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"{FETCH} {suite} failed: {done.stdout}{done.stderr}")
        return Ceph.running(self._folder, CACHE / suite)


@pytest.fixture(scope="session")
def servers(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, tmp_path_factory.getbasetemp(), ceph)


@pytest.fixture(params=SERVERS)
def server(servers: Servers, request: pytest.FixtureRequest) -> S3Server:
    """Each of them."""
    return servers.server(request.param)


@pytest.fixture(params=CEPHS)
def any_ceph(servers: Servers, request: pytest.FixtureRequest) -> Ceph:
    """Each of those that are Ceph."""
    gateway = servers.server(request.param)
    assert isinstance(gateway, Ceph)
    return gateway
