"""What the age tests need from outside: the `age` program, and the published test vectors of the format."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

VECTORS = "cctv-age@0.2.0"
VECTORS_SHA512 = "1fiGAaWr+snqgu8+uCC7qPeApAuueOESET2npKe0FVLY+Huf+Kkia89Rybx/uoGNCml31SgAjiQIeFOY4K3New=="
"""As the registry states it (`npm view cctv-age@0.2.0 dist.integrity`)."""

CACHE = Path(__file__).parent.parent / ".cache"


@pytest.fixture(scope="session")
def age_program() -> str:
    """Without it nothing shows that other programs open what we seal: so its absence is a failure."""
    return shutil.which("age") or pytest.fail("the program `age` is missing: apt-get install age")


@pytest.fixture(scope="session")
def age_vectors() -> dict[str, bytes]:
    """The C2SP/CCTV vectors for age, by name: a textual header, an empty line, an age file."""
    package = CACHE / "cctv-age-0.2.0.tgz"
    if not (package.exists() and _is_whole(package)):
        _fetch_vectors(package)
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/index.js")
        assert member is not None
        script = member.read().decode()
    found = re.findall(r'^var (\w+)_default = __toBinary\("([A-Za-z0-9+/=]*)"\);$', script, re.MULTILINE)
    return {name: base64.b64decode(text) for name, text in found}


def _fetch_vectors(package: Path) -> None:
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        npm = shutil.which("npm") or pytest.fail("the program `npm` is missing: it fetches the age vectors")
        subprocess.run([npm, "pack", "--silent", VECTORS], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        fetched = Path(folder, package.name)
        assert _is_whole(fetched), f"{VECTORS} is not what it was when these tests were written"
        os.replace(fetched, package)  # whole or not at all: other test processes look for it, too


def _is_whole(package: Path) -> bool:
    return base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() == VECTORS_SHA512
