"""What is news: trouble is told once, once more each day while it lasts, and its end only to who heard of it."""

from __future__ import annotations

import re

from dwebbackup.report.notices.notice import TROUBLE, Notice

TOLD_AGAIN_AFTER = 24 * 3600.0

MOST_REMEMBERED = 1000
"""Sentences; past that the oldest is forgotten, and would be told again."""

_Key = tuple[str, str, str]

_VARYING = re.compile(r"\b[0-9a-f]{8,}\b|\d[\d.,:]*(?:\s?(?:[KMGTP]?i?B|%|s|min|h|d)(?!\w))?")
"""Names made of a digest, and quantities with their units: a failure with other numbers is the same one."""


class Deduplication:
    """What one channel was told. Times are seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._told: dict[_Key, float] = {}

    def is_news(self, notice: Notice, now: float) -> bool:
        """Whether *notice* is to be told; if so, it counts as told."""
        if notice.event == "recovery":
            return self._end_of_trouble(notice.source)
        key = _key(notice)
        last = self._told.get(key)
        if last is not None and now - last < TOLD_AGAIN_AFTER:
            return False
        self._told.pop(key, None)  # so that the oldest stays first
        self._told[key] = now
        if len(self._told) > MOST_REMEMBERED:
            del self._told[next(iter(self._told))]
        return True

    def forget(self, notice: Notice) -> None:
        """It did not arrive: the next one like it is news."""
        self._told.pop(_key(notice), None)

    def _end_of_trouble(self, source: str) -> bool:
        over = [key for key in self._told if key[0] in TROUBLE and key[1] == source]
        for key in over:
            del self._told[key]
        return bool(over)


def _key(notice: Notice) -> _Key:
    gist = re.sub(r"#(?:\s?#)+", "#", _VARYING.sub("#", notice.sentence))
    return notice.event, notice.source, gist
