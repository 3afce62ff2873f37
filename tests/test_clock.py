"""The clock by which time is measured: one that goes on while the machine sleeps, wherever there is one."""

from __future__ import annotations

import runpy
import sys
import time

import pytest

from dwebbackup import clock

BOOTTIME, MONOTONIC = 7, 6


@pytest.mark.parametrize(
    ("platform", "has", "asked"),
    [("linux", True, BOOTTIME), ("darwin", False, MONOTONIC), ("freebsd14", False, -1)],
)
def test_sleep_counts(platform: str, has: bool, asked: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(time, "CLOCK_MONOTONIC", MONOTONIC)
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    if has:
        monkeypatch.setattr(time, "CLOCK_BOOTTIME", BOOTTIME, raising=False)
    monkeypatch.setattr(time, "clock_gettime", lambda which: which)
    monkeypatch.setattr(time, "monotonic", lambda: -1)
    assert runpy.run_path(clock.__file__)["monotonic"]() == asked
