"""What time it is: the only room that asks."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

_AWAKE_IN_SLEEP: int | None = getattr(time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)
"""`time.monotonic` stops while the machine sleeps: Linux's CLOCK_MONOTONIC does, and so does what it asks on macOS,
where the clock that is called CLOCK_MONOTONIC goes on.
"""


def now() -> float:
    """Seconds since 1970, by this machine's clock (which may be wrong)."""
    return time.time()


def monotonic() -> float:
    """Seconds of a clock that never goes back, and goes on in sleep (Linux, macOS); only differences mean something."""
    return time.clock_gettime(_AWAKE_IN_SLEEP) if _AWAKE_IN_SLEEP is not None else time.monotonic()


def zone() -> int:
    """Seconds by which this machine's local time is ahead of UTC now."""
    return time.localtime().tm_gmtoff


def iso(seconds: float) -> str:
    """`2026-11-20T03:00:00Z`: the way times stand in manifests and messages."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: str) -> float:
    """The inverse of `iso`; a time without zone is UTC, a date alone its midnight. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
