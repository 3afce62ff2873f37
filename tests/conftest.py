"""What all tests share: the fixtures of the `fix_…` modules, how hypothesis searches, programs that must be there."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from hypothesis import HealthCheck, settings

from shelf import Shelf

pytest_plugins = [
    "fix_postgres",
    "fix_age",
    "fix_ceph",
    "fix_s3",
    "fix_majors",
    "fix_tls",
    "fix_standby",
    "fix_pgbouncer",
    "fix_german",
    "fix_notices",
    "fix_ipfs",
    "fix_js_ipfs",
    "fix_mysql",
]

# Started in the background by a shell, or by nohup, we ignore these, and what we start would, too.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

# What one test has seen of backups, the next one has not: nothing is remembered, where a test does not say so.
os.environ["XDG_STATE_HOME"] = "/dev/null/nothing"

# No test is timed: neither an example (deadline) nor the drawing of examples (too_slow).
settings.register_profile(
    "dwebbackup",
    deadline=None,
    max_examples=1000 if os.environ.get("DWEBBACKUP_TEST_WIDE") else 50,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("dwebbackup")


@pytest.fixture
def shelf() -> Shelf:
    """An empty store with room for one writer's objects."""
    return Shelf()


@pytest.fixture(scope="session")
def zstd_program() -> str:
    """Without it nothing shows that other programs read our frames: so its absence is a failure."""
    return shutil.which("zstd") or pytest.fail("the program `zstd` is missing: apt-get install zstd")
