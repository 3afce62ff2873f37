"""Cuts a byte stream into content-defined chunks (FastCDC 2020), and names them with a key (BLAKE3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from blake3 import blake3
from pyfastcdc import FastCDC

AVERAGE = 32 * 1024
"""Bytes of an average chunk: the smaller, the less a changed row costs (`docs/decisions.md` has the figures)."""

LARGEST_AVERAGE = 512 * 1024
"""Bounds the largest chunk to 2 MiB, so that it fits a pack."""

CHUNKS_WANTED = 1 << 20
"""Above so many chunks the average doubles: what the writer remembers of each must fit its memory budget."""

LEAST = 4096
"""Bytes of room that a read is given at least: what a stream holds back at its end must fit."""

BLOCK = 256 * 1024
"""Bytes read at a time; larger blocks measured slower, they fall out of the processor's cache."""


def average_for(size: int, before: int | None = None) -> int:
    """The chunk average for a source of about *size* bytes; *before* is the last backup's.

    A change of average renews every chunk, so the old one stays unless it is off by a factor of 4.
    """
    fitting = AVERAGE
    while size // fitting > CHUNKS_WANTED and fitting < LARGEST_AVERAGE:
        fitting *= 2
    if before and fitting // 4 < before < fitting * 4 and before <= LARGEST_AVERAGE:
        return before
    return fitting


def cut(readinto: Callable[[memoryview], int], average: int) -> Iterator[list[memoryview]]:
    """Cut what *readinto* delivers into chunks of `average / 2` to `average * 4` bytes, a batch at a time.

    The bounds depend on the stream's bytes alone, not on how they arrive. The views are valid until the next
    batch is asked for. Joining all of them gives the stream.
    """
    chunker = FastCDC(average, min_size=average // 2, max_size=average * 4)
    buffer = bytearray(BLOCK + 4 * average)
    view = memoryview(buffer)
    filled = 0
    ended = False
    while not ended:
        while len(buffer) - filled >= min(LEAST, BLOCK):
            count = readinto(view[filled:])
            if not count:
                ended = True
                break
            filled += count
        batch = [chunk.data for chunk in chunker.cut_buf(view[:filled])]
        # The last one ends where the buffer does; only the stream's end makes that a bound.
        tail = 0 if ended or not batch else len(batch.pop())
        if batch:
            yield batch
        buffer[:tail] = bytes(view[filled - tail : filled])
        filled = tail


def name(chunk: bytes | memoryview, key: bytes) -> bytes:
    """32 bytes: keyed BLAKE3 of the plain chunk, so that nobody without the key can confirm a guess."""
    return blake3(chunk, key=key).digest()
