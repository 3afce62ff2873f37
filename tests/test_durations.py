"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from dwebbackup.config.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("2d1h1m1s", 176461), ("0h5m", 300)],
)
def test_a_length_of_time_is_understood(text: str, expected: int):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "m", "30 m", "-5m", "1.5h", "5m1h", "0s", "2H", "1h!", "٣m", "9999999s"])
def test_what_is_none_is_not_guessed_at(text: str):
    assert seconds(text) is None
