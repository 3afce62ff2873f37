"""The real image, built once, for the tests that run it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.running import Image, Podman
from s3_server import require

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"

BUILD = Path(__file__).parents[2] / ".ci" / "image"
SUITE = "forky" if WIDE else "trixie"
"""Debian's, of the base that stands for the official one: forky has the same PostgreSQL, 18, and rolls; trixie has 17."""


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """As the Dockerfile says. A missing program is a failure."""
    require(("buildah", "mmdebstrap", "podman", "runc"), "buildah mmdebstrap podman runc")
    built = subprocess.run([BUILD, SUITE], capture_output=True, text=True, check=False, timeout=600)
    assert not built.returncode, built.stderr[-4000:]
    with tempfile.TemporaryDirectory(prefix="dwebbackup-containers-") as folder:
        yield Image(Podman(folder), f"localhost/dwebbackup:{SUITE}")
