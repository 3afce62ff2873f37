"""Bytes a second as people write them: `800K`, `5M`, `1.5G`; as everywhere here, a K is 1024."""

from __future__ import annotations

import re

LEAST = 1024
"""With less, a single pack would take more than an hour."""

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)([KMG]?)", re.ASCII)


def bytes_a_second(text: str) -> int | None:
    """None for what is no such text, and for less than `LEAST`."""
    match = _RATE.fullmatch(text)
    if not match:
        return None
    rate = int(float(match[1]) * _UNITS[match[2]])
    return rate if rate >= LEAST else None
