"""Streams on the way out: cut, named, told from what is known, compressed and packed; one run, several workers."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dwebbackup import chunking
from dwebbackup.compression import Compressor
from dwebbackup.errors import Interrupted
from dwebbackup.indexing import put_index
from dwebbackup.known import KnownChunks, Numbering
from dwebbackup.manifest import Index, ObjectRef, PackEntry, StreamSpec
from dwebbackup.packing import Pack, capacity
from dwebbackup.ports import ByteStream, Store
from dwebbackup.records import Signer
from dwebbackup.uploading import Filled, Uploader

INDEX_ROWS = 65536
"""Chunks of an index at most: about 3 MiB sealed, so that it is no larger than a pack."""

PACK_ROWS = INDEX_ROWS // 4
"""Chunks of a pack at most. Only frames of chunks that are all alike are so small that this many would fit."""


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream whose chunks are all known or on their way."""

    spec: StreamSpec
    rows: int | None
    bytes: int
    numbers: array[int]
    average: int


class Storing:
    """What the workers of one run share: the table of known chunks, the uploads, and the new indexes."""

    def __init__(
        self,
        store: Store,
        writer: str,
        signer: Signer,
        chunk_key: bytes,
        recipients: Sequence[bytes],
        known: KnownChunks,
        numbering: Numbering,
        uploads: int = 1,
    ) -> None:
        self.chunk_key = chunk_key
        self.known = known
        self.capacity = capacity(len(recipients))
        self.uploader = Uploader(store, recipients, self._stored, uploads)
        self.new_indexes: list[ObjectRef] = []
        self.bytes_stored = 0
        self.packs = 0
        self.stop = threading.Event()
        self._store = store
        self._writer = writer
        self._signer = signer
        self._numbering = numbering
        self._entries: list[PackEntry] = []
        self._rows = 0
        self._lock = threading.RLock()

    def _stored(self, entry: PackEntry, numbers: array[int]) -> None:
        """A pack was acknowledged: its chunks get their rows."""
        with self._lock:
            if self._rows + len(entry) > INDEX_ROWS:
                self.write_index()
            self._numbering.place(numbers)
            self._entries.append(entry)
            self._rows += len(entry)
            self.bytes_stored += entry.size
            self.packs += 1

    def write_index(self) -> None:
        """Put an index of the packs acknowledged since the last one."""
        with self._lock:
            if not self._entries:
                return
            ref = put_index(self._store, self._signer, Index(self._writer, tuple(self._entries)))
            self.bytes_stored += ref.size
            self.new_indexes.append(ref)
            self._numbering.add_index(self._rows)
            self._entries = []
            self._rows = 0


class Worker:
    """Stores one stream after the other, filling a pack of its own; used by one thread."""

    def __init__(self, storing: Storing) -> None:
        self._storing = storing
        self._compressor = Compressor()
        self._begin_pack()

    def _begin_pack(self) -> None:
        self._pack = Pack(self._storing.capacity)
        self._numbers = array("I")
        self._names = bytearray()
        self._lengths = array("I")
        self._frames = array("I")

    def store(self, spec: StreamSpec, stream: ByteStream, average: int, advance: Callable[[int], None]) -> StoredStream:
        """Read *stream* to its end. Raises what it, or an earlier upload, failed with."""
        numbers = array("I")
        size = 0
        for batch in chunking.cut(stream.readinto, average):
            if self._storing.stop.is_set():
                raise Interrupted("the run was stopped")
            self._store_batch(batch, numbers)
            length = sum(map(len, batch))
            size += length
            advance(length)
        return StoredStream(spec, stream.rows, size, numbers, average)

    def _store_batch(self, batch: Sequence[memoryview], numbers: array[int]) -> None:
        key = self._storing.chunk_key
        number_of = self._storing.known.number
        fresh: list[memoryview] = []
        labels: list[tuple[int, bytes]] = []
        for chunk in batch:
            name = chunking.name(chunk, key)
            number, new = number_of(name)
            numbers.append(number)
            if new:
                fresh.append(chunk)
                labels.append((number, name))
        frames = self._compressor.frames(fresh)
        for chunk, frame, (number, name) in zip(fresh, frames, labels, strict=True):
            self._add(number, name, len(chunk), frame)

    def _add(self, number: int, name: bytes, length: int, frame: bytes) -> None:
        if not self._pack.fits(len(frame)):
            self._hand_over(full=True)
        elif len(self._pack) == PACK_ROWS:
            self._hand_over(full=False)
        self._pack.add(frame)
        self._numbers.append(number)
        self._names += name
        self._lengths.append(length)
        self._frames.append(len(frame))

    def _hand_over(self, *, full: bool) -> None:
        filled = Filled(self._pack, full, self._numbers, bytes(self._names), self._lengths, self._frames)
        self._begin_pack()
        self._storing.uploader.submit(filled)

    def close(self) -> None:
        """Hand over the last pack."""
        if len(self._pack):
            self._hand_over(full=False)
