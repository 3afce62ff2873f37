"""How the C library treats large buffers: they go back to the system when they are freed."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc
LARGE = 1024 * 1024
"""Bytes. Packs and blocks of rows are larger, and come and go; all else is smaller."""


def give_back_large_buffers() -> None:
    """By itself glibc keeps what was freed once it has seen a few large buffers come and go, each thread its own:
    26 MiB in a restore, 15 to 50 in a backup to stores that are far away (measured). One to a folder keeps none, and
    would take 7% more of the processor. Other C libraries have no such setting.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(_M_MMAP_THRESHOLD, LARGE)
