"""The row about reading through an IPFS gateway that is far away: packs fetched several at once, and one by one."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from bench.arena import Arena
from bench.row import Row
from dwebbackup import clock
from dwebbackup.fetching import FAR, Layout, PackReader
from dwebbackup.links.unixfs import V1_2025, cid_of
from dwebbackup.manifest import Index, StreamRecord
from dwebbackup.packing import capacity
from dwebbackup.stores.carriers import Carriers
from dwebbackup.stores.ipfs.gateway import Gateway
from dwebbackup.stores.linked import Linked

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # their modules find each other as pytest has it

from links.trees import car_of, tree
from shelf import OWNER, Shelf, noise, stream_of

ROUND_TRIP = 0.1
"""Seconds from the question to the beginning of the answer; bandwidth has no limit."""

PACKS = 48
CHUNK = 32 * 1024
ALLOWED = 1 / 6


def through_gateway(arena: Arena) -> Iterator[Row]:
    """What no restore can be faster than: all packs fetched, opened and checked, and nothing done with their rows.

    Full ones, as of a first backup, where the work counts as well; and small ones, as of many small changes.
    """
    if not arena.with_ours:
        return
    for name, chunks in (("full", capacity(len(Shelf().recipients)) // (CHUNK + 64)), ("small", 4)):
        index, stream, cars = _packs(chunks)
        turns: dict[int, list[float]] = {FAR: [], 1: []}
        with _gateway(cars) as url:
            for number in range(1, arena.rounds + 1):
                for threads, taken in turns.items():
                    taken.append(_seconds(url, index, stream, threads))
                    print(f"  round {number}: {name}, {threads} at once: {taken[-1]:.2f} s", file=sys.stderr)
        what = f"{PACKS} {name} packs through a gateway {ROUND_TRIP * 1000:.0f} ms away, {FAR} at once"
        yield Row(what, "one by one", "s", turns[FAR], turns[1], ALLOWED)


def _packs(each: int) -> tuple[Index, StreamRecord, Mapping[str, bytes]]:
    """As many as wanted, of *each* so many chunks that do not compress, and the CAR of each."""
    shelf = Shelf()
    cars, entries = {}, []
    for number in range(PACKS):
        entry = shelf.pack([noise(CHUNK, f"{number} {row}") for row in range(each)])
        sealed = shelf.store.get(entry.path)
        root, blocks = tree(sealed, V1_2025)
        assert root == cid_of(sealed)
        cars[root.text] = car_of(blocks) if len(blocks) > 1 else sealed
        entries.append(replace(entry, links=(f"ipfs://{root.text}",)))
    rows = [(0, row, CHUNK) for row in range(PACKS * each)]
    return Index(shelf.writer.id, tuple(entries)), stream_of(rows), cars


def _seconds(url: str, index: Index, stream: StreamRecord, threads: int) -> float:
    began = clock.monotonic()
    key = OWNER.writer(1).chunk_key
    store = Linked(Carriers([Gateway(url)]))
    with PackReader(store, [OWNER.identity], key, Layout([index]), threads) as reader:
        assert sum(map(len, reader.stream(stream))) == stream.bytes
    return clock.monotonic() - began


@contextmanager
def _gateway(cars: Mapping[str, bytes]) -> Iterator[str]:
    """In a process of its own, which gets *cars* without a copy."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(cars, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def _serve(cars: Mapping[str, bytes], tell: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it just ends, when told to

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(ROUND_TRIP)
            car = cars[urlsplit(self.path).path.removeprefix("/ipfs/")]
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.ipld.car")
            self.send_header("Content-Length", str(len(car)))
            self.end_headers()
            self.wfile.write(car)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tell.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()
