"""A snapshot's streams read by several workers at once: all of them to their ends, or none counts."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from dwebbackup.ports import Dump
from dwebbackup.storing import StoredStream, Worker

TICK = 1
"""Seconds between two calls of *meanwhile*."""


def read_all(
    dump: Dump,
    workers: Sequence[Worker],
    stop: threading.Event,
    average: int,
    advance: Callable[[int], None],
    meanwhile: Callable[[], None],
) -> tuple[StoredStream, ...]:
    """Every stream, by all *workers*, who keep their last packs; *meanwhile* is called every second.

    The first failure, a worker's or one of *meanwhile*, stops all of them, and lets go of the source at once: whoever
    waits for a store may wait for long.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(dump.specs)):
        todo.put(number)
    stored: dict[int, StoredStream] = {}

    def work(worker: Worker) -> None:
        with dump.reader() as reader:
            while not stop.is_set():
                try:
                    number = todo.get_nowait()
                except queue.Empty:
                    break
                spec = dump.specs[number]
                stored[number] = worker.store(spec, reader.open(spec), average, advance)

    with ThreadPoolExecutor(len(workers), "stream") as pool:
        futures = {pool.submit(work, worker) for worker in workers}
        try:
            _wait(futures, meanwhile)
        except BaseException:
            stop.set()
            dump.abort()
            raise
    return tuple(stored[number] for number in range(len(dump.specs)))


def _wait(pending: set[Future[None]], meanwhile: Callable[[], None]) -> None:
    """Until all are done. Raises the first failure."""
    while pending:
        done, pending = wait(pending, timeout=TICK, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        meanwhile()
