"""A real Chromium that visits pages: driven by playwright-core, audited by axe-core, both fetched by npm into .cache."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dwebbackup.daemon.page import Page
from dwebbackup.daemon.server import Server
from dwebbackup.daemon.status import Status

TOKEN = "a long random word"

PACKAGES = {
    "playwright-core-1.60.0": "9bW6zvX/m0lEbgTKJ6YppOKx8H3VOPBMOCFh2irXFOT4BbHgrx5hPjwJYLT40Lu+4qtD36qKc/Hn56StUW57IA==",
    "axe-core-4.14.1": "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
}
"""With the SHA-512 that the registry states (`npm view NAME@VERSION dist.integrity`). Later ones ask for more than Node 18."""

CACHE = Path(__file__).parents[2] / ".cache"


@dataclass(frozen=True)
class Visit:
    """What to look at, and how; a picture of it goes to *picture*."""

    url: str
    width: int = 1100
    height: int = 800
    scheme: str = "light"
    token: str = TOKEN
    click: str = ""
    picture: str = ""
    audited: bool = False


@dataclass(frozen=True)
class Seen:
    """What a browser saw."""

    title: str
    text: str
    address: str
    wide: int
    """Pixels, of what can be scrolled to."""
    background: str
    fills: list[str]
    """Of the charts' rectangles."""
    heard: list[str]
    """Titles in the charts."""
    complaints: list[str]
    """On the console, and dialogs."""
    requests: list[str]
    violations: list[str]
    """Of what axe-core checks: contrast, names, landmarks, language…"""
    cookies: list[dict[str, Any]]


def browse(visits: Sequence[Visit]) -> list[Seen]:
    """Visits them all, one after the other, in one browser."""
    command = [
        _program("node"),
        str(Path(__file__).with_name("browse.mjs")),
        str(_package("playwright-core-1.60.0") / "index.js"),
        str(_package("axe-core-4.14.1") / "axe.min.js"),
        _program("chromium"),
    ]
    asked = json.dumps([vars(visit) for visit in visits])
    ran = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    return [Seen(**seen) for seen in json.loads(ran.stdout)]


@contextmanager
def served(statuses: dict[str, Status]) -> Iterator[dict[str, str]]:
    """A page for each of these, each on a port of its own: their addresses."""
    with ExitStack() as stack:
        addresses = {}
        for name, status in statuses.items():
            server = Server(Page(lambda status=status: status, TOKEN), "127.0.0.1:0")
            server.start()
            stack.callback(server.stop)
            addresses[name] = f"http://127.0.0.1:{server.port}/"
        yield addresses


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"the program `{name}` is missing: .ci/system-packages test"
    return found


def _package(name: str) -> Path:
    """Its folder; fetched when it is not there."""
    place = CACHE / "npm" / name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            _fetch(name, Path(folder))
            try:
                os.rename(Path(folder, "package"), place)  # whole or not at all: other test processes look for it, too
            except OSError:
                assert place.exists()  # one of these was faster
    return place


def _fetch(name: str, folder: Path) -> None:
    package, _, version = name.rpartition("-")
    command = [_program("npm"), "pack", "--silent", f"{package}@{version}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    archive = folder / f"{name}.tgz"
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert digest == PACKAGES[name], f"{name} is not what it was when these tests were written"
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
