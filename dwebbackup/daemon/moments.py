"""Moments in words, as the status page says them: in UTC, and from now: `3 h ago`, `in 2 d 4 h`."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def utc(moment: float) -> str:
    """`2026-11-20 03:00 UTC`."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%d %H:%M UTC")


def from_now(now: float, moment: float) -> str:
    """`3 h ago`, `in 5 min`, `now`."""
    if abs(moment - now) < 1:
        return "now"
    return f"in {about(moment - now)}" if moment > now else f"{about(now - moment)} ago"


def about(seconds: float) -> str:
    """`12 s`, `3 h`, `2 d 4 h`: two units only where the first says little."""
    whole = max(0, round(seconds))
    for at, (length, unit) in enumerate(_UNITS[:-1]):
        if whole >= length:
            many, rest = divmod(whole, length)
            smaller, name = _UNITS[at + 1]
            return f"{many} {unit}" + (f" {rest // smaller} {name}" if many < 3 and rest >= smaller else "")
    return f"{whole} s"
