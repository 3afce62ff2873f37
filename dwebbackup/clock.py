"""What time it is: the only room that asks."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's monotonic clock stops while the machine sleeps; macOS has no such clock, and no need of one."""


def now() -> float:
    """Seconds since 1970, by this machine's clock (which may be wrong)."""
    return time.time()


def monotonic() -> float:
    """Seconds of a clock that never goes back, not even in sleep; only differences mean something."""
    return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()


def iso(seconds: float) -> str:
    """`2026-11-20T03:00:00Z`: the way times stand in manifests and messages."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: str) -> float:
    """The inverse of `iso`; a time without zone is UTC, a date alone its midnight. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
