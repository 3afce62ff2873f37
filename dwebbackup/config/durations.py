"""A length of time as people write it: `90s`, `30m`, `1h30m`, `2d`."""

from __future__ import annotations

import re

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}

_DURATION = re.compile("".join(rf"(?:([0-9]{{1,6}}){unit})?" for unit in _UNITS))


def seconds(text: str) -> int | None:
    """None for what is no such text, and for none at all: `0s`."""
    match = _DURATION.fullmatch(text)
    if not match:
        return None
    counts = (int(count or 0) for count in match.groups())
    return sum(count * unit for count, unit in zip(counts, _UNITS.values(), strict=True)) or None
