"""Packs on the way back: fetched ahead by a few threads, checked, opened, and their chunks given out in order."""

from __future__ import annotations

import itertools
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from dwebbackup import age, chunking, records
from dwebbackup.compression import Decompressor
from dwebbackup.errors import Damaged, ObjectMissing
from dwebbackup.manifest import Index, PackEntry, StreamRecord, expand
from dwebbackup.packing import frame
from dwebbackup.ports import Store

AHEAD = 2
"""Packs fetched before they are needed, for each stream that is being read."""

KEPT = 3
"""Opened packs kept, beyond those in use: a stream goes back and forth between an old pack and newer ones."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive chunks of one pack."""

    pack: PackEntry
    first: int
    count: int


class Layout:
    """Which pack and row each index row stands in."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self.rows = [index.rows for index in indexes]
        self._packs = [index.packs for index in indexes]
        self._starts = [
            array("I", itertools.accumulate((len(pack) for pack in index.packs), initial=0)) for index in indexes
        ]

    def spans(self, stream: StreamRecord) -> Iterator[Span]:
        """The stream's chunks in order. Raises `Damaged` where its runs point outside the indexes."""
        for index, first, count in expand(stream.runs, self.rows):
            yield from self._split(index, first, count)

    def _split(self, index: int, first: int, count: int) -> Iterator[Span]:
        starts = self._starts[index]
        while count:
            number = bisect_right(starts, first) - 1
            pack = self._packs[index][number]
            inside = first - starts[number]
            taken = min(count, len(pack) - inside)
            if taken <= 0:  # an empty pack shares its start with the next; bisect takes the last of them
                raise Damaged("an index has a pack without chunks")
            yield Span(pack, inside, taken)
            first += taken
            count -= taken


class PackReader:
    """Opens packs of one store with one set of identities, and keeps the last few open. Safe for several threads."""

    def __init__(
        self, store: Store, identities: Sequence[bytes], chunk_key: bytes, layout: Layout, threads: int = 3
    ) -> None:
        self._store = store
        self._identities = tuple(identities)
        self._chunk_key = chunk_key
        self._layout = layout
        self._pool = ThreadPoolExecutor(threads, "fetch")
        self._opened: OrderedDict[str, Future[memoryview]] = OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def stream(self, stream: StreamRecord) -> Iterator[bytes]:
        """The stream's chunks. Each is released after its pack's digest and tag, its frame, length and keyed
        name hold; the end is reached only if number and length are the manifest's. Raises `Damaged`.
        """
        chunks = size = 0
        decompressor = Decompressor()
        for span, plain in self._ahead(self._layout.spans(stream)):
            for chunk in self._chunks(span, plain, decompressor):
                chunks += 1
                size += len(chunk)
                yield chunk
        if chunks != stream.chunks or size != stream.bytes:
            raise Damaged(f"{stream.label} is {size} bytes in {chunks} chunks, not {stream.bytes} in {stream.chunks}")

    def _ahead(self, spans: Iterator[Span]) -> Iterator[tuple[Span, memoryview]]:
        """Each span with its pack's plain inside, the next `AHEAD` packs already on their way."""
        window: list[tuple[Span, Future[memoryview]]] = []
        for span in spans:
            window.append((span, self._open(span.pack)))
            if len(window) > AHEAD:
                yield window[0][0], window.pop(0)[1].result()
        for span, future in window:
            yield span, future.result()

    def _open(self, pack: PackEntry) -> Future[memoryview]:
        with self._lock:
            future = self._opened.get(pack.sha256)
            if future is None:
                future = self._opened[pack.sha256] = self._pool.submit(self.fetch, pack)
            self._opened.move_to_end(pack.sha256)
            while len(self._opened) > KEPT:
                self._opened.popitem(last=False)
            return future

    def fetch(self, pack: PackEntry) -> memoryview:
        """The pack's plain inside, authenticated. Raises `ObjectMissing`, `Damaged`, `StoreUnreachable`."""
        try:
            sealed = self._store.get(pack.path)
        except ObjectMissing as missing:
            raise ObjectMissing(
                f"pack {pack.sha256[:12]}… is missing from {self._store.name}",
                "run `dwebbackup verify` to see which backups need it",
            ) from missing
        records.check(f"pack {pack.sha256[:12]}…", sealed, pack.sha256)
        plain = age.unseal(sealed, self._identities)
        if len(plain) != pack.plain:
            raise Damaged(f"pack {pack.sha256[:12]}… holds {len(plain)} bytes, not {pack.plain}")
        return memoryview(plain)

    def _chunks(self, span: Span, plain: memoryview, decompressor: Decompressor) -> Iterator[bytes]:
        pack = span.pack
        offset = sum(pack.frames[: span.first])
        for row in range(span.first, span.first + span.count):
            size = pack.frames[row]
            chunk = decompressor.chunk(frame(plain, offset, size), pack.lengths[row])
            if chunking.name(chunk, self._chunk_key) != pack.name(row):
                raise Damaged(f"chunk {row} of pack {pack.sha256[:12]}… is not what its name says")
            offset += size
            yield chunk

    def check(self, pack: PackEntry) -> int:
        """Fetch and authenticate a whole pack; how many plain bytes its chunks have."""
        plain = self.fetch(pack)
        return sum(map(len, self._chunks(Span(pack, 0, len(pack)), plain, Decompressor())))
