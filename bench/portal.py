"""A Skynet portal for the contenders: the one of the tests, in a process of its own."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # their modules find each other as pytest has it

from skynet_portal import Portal


@contextmanager
def portal() -> Iterator[tuple[str, int]]:
    """The URL of an empty one, and its process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv(), process.pid or 0
    finally:
        here.send("end")
        process.join()


def _serve(other: Connection) -> None:
    with Portal() as running:
        other.send(running.url)
        other.recv()
