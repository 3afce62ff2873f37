"""Packs on the way back: fetched ahead by a few threads, checked, opened, and their chunks given out in order."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from array import array
from bisect import bisect_right
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Self

from dwebbackup import age, chunking, records
from dwebbackup.compression import Decompressor
from dwebbackup.errors import Damaged, ObjectMissing
from dwebbackup.manifest import Index, PackEntry, StreamRecord, expand
from dwebbackup.packing import frame
from dwebbackup.ports import Store

AHEAD = 2
"""Packs fetched before they are needed, for each stream that is being read, at least."""

NEAR, FAR = 3, 8
"""Packs fetched at once: from this machine or the network round it; and from far away, where the way there takes longer
than the work. So many are held by all streams together, unless each needs its `AHEAD`: from far away that takes 8 MiB
more than from near (measured).
"""

AHEAD_SPANS = 256
"""Spans looked at for that, at most: a stream may go to and fro between two packs many thousand times."""

OPENED = 32 * 1024 * 1024
"""Bytes of opened packs kept, beyond those in use: eight full packs, or many small ones."""

ON_DISK = 2 * 1024**3
"""Bytes of sealed packs kept on disk, at most, and a quarter of what is free there."""


def at_once(store: Store) -> int:
    """How many packs of *store* to fetch at once."""
    return FAR if store.traits.distance > 1 else NEAR


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive chunks of one pack."""

    pack: PackEntry
    first: int
    count: int


def what_to_do(pack: PackEntry) -> str:
    """About one that is damaged: as long as it is there with its size, new backups go on referring to it."""
    return f"if it stays so, delete {pack.path} in the writer's folder; the next backup stores its chunks again"


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
        deque(expand(stream.runs, self.rows), maxlen=0)  # before anything is fetched
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


class SealedPacks:
    """Sealed packs kept on disk, in one file without a name that is filled round and round, over the oldest.

    What it gives back has the digest that was asked for, whatever happened to the file. With no room on disk it keeps
    nothing. Safe for several threads.
    """

    def __init__(self, limit: int = ON_DISK) -> None:
        self._limit = limit
        self._file: IO[bytes] | None = None
        self._places: OrderedDict[str, tuple[int, int]] = OrderedDict()  # offset and size, the oldest first
        self._end = 0
        self._lock = threading.Lock()

    def put(self, sha256: str, sealed: bytes) -> None:
        with self._lock:
            try:
                self._put(sha256, sealed)
            except OSError:  # the disk is full: make do with what there is
                self._limit = self._end

    def _put(self, sha256: str, sealed: bytes) -> None:
        if self._file is None and self._limit:
            self._open()
        if self._file is None or len(sealed) > self._limit:
            return
        self._places.pop(sha256, None)
        start = self._make_room(len(sealed))
        _write(self._file.fileno(), sealed, start)
        self._places[sha256] = start, len(sealed)
        self._end = start + len(sealed)

    def _open(self) -> None:
        """Not in `/tmp`, which is memory on some machines."""
        folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108  # the file never has a name there
        try:
            self._limit = min(self._limit, shutil.disk_usage(folder).free // 4)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # it stays open
        except OSError:
            self._limit = 0

    def _make_room(self, size: int) -> int:
        """Where the next *size* bytes go; forgets what is there. The oldest packs begin at the end of the newest."""
        if self._end + size > self._limit:
            self._forget(self._end, self._limit)
            self._end = 0
        self._forget(self._end, self._end + size)
        return self._end

    def _forget(self, start: int, end: int) -> None:
        while self._places and start <= next(iter(self._places.values()))[0] < end:
            self._places.popitem(last=False)

    def get(self, sha256: str) -> bytes | None:
        """The pack, if it is still there."""
        with self._lock:
            if self._file is None or sha256 not in self._places:
                return None
            offset, size = self._places[sha256]
            file = self._file.fileno()
        try:
            sealed = os.pread(file, size, offset)
        except OSError:
            return None
        return sealed if records.digest(sealed) == sha256 else None

    def close(self) -> None:
        if self._file:
            self._file.close()


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


class _Window:
    """The next spans of a stream, and their packs on the way."""

    def __init__(self, open_: Callable[[Span], Future[memoryview]], is_crowded: Callable[[], bool]) -> None:
        self._open = open_
        self._is_crowded = is_crowded
        self._spans: deque[Span] = deque()
        self._packs: dict[str, Future[memoryview]] = {}
        self._needed: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def packs(self) -> int:
        return len(self._packs)

    @property
    def full(self) -> bool:
        return (len(self._packs) > AHEAD and self._is_crowded()) or len(self._spans) > AHEAD_SPANS

    def add(self, span: Span) -> None:
        sha256 = span.pack.sha256
        if sha256 not in self._packs:
            self._packs[sha256] = self._open(span)
        self._needed[sha256] += 1
        self._spans.append(span)

    def next(self) -> tuple[Span, memoryview]:
        """The first span, as soon as its pack is open."""
        span = self._spans.popleft()
        sha256 = span.pack.sha256
        self._needed[sha256] -= 1
        pack = self._packs[sha256] if self._needed[sha256] else self._packs.pop(sha256)
        return span, pack.result()


class PackReader:
    """Opens packs of one store with one set of identities. Safe for several threads.

    After many backups a stream goes to and fro between many packs, more than memory holds. So the last few stay open,
    and those of which only a part was asked for, as far as there is room, stay on disk, sealed.
    """

    def __init__(
        self,
        store: Store,
        identities: Sequence[bytes],
        chunk_key: bytes,
        layout: Layout,
        threads: int = NEAR,
        on_disk: int = ON_DISK,
    ) -> None:
        self._store = store
        self._identities = tuple(identities)
        self._chunk_key = chunk_key
        self._layout = layout
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "fetch")
        self._windows: list[_Window] = []
        self._opened: OrderedDict[str, tuple[int, Future[memoryview]]] = OrderedDict()
        self._on_disk = SealedPacks(on_disk)
        self._lock = threading.RLock()  # a stream that nobody reads to its end may be let go in the middle of another's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._on_disk.close()

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
        """Each span with its pack's plain inside, the next other packs already on their way."""
        window = _Window(self._open, self._is_crowded)
        with self._lock:
            self._windows.append(window)
        try:
            for span in spans:
                window.add(span)
                while window.full:
                    yield window.next()
            while window:
                yield window.next()
        finally:
            with self._lock:
                self._windows.remove(window)

    def _is_crowded(self) -> bool:
        """Whether all streams together have as many packs as can be fetched at once."""
        with self._lock:
            return sum(window.packs for window in self._windows) >= self._threads

    def _open(self, span: Span) -> Future[memoryview]:
        pack = span.pack
        with self._lock:
            if pack.sha256 not in self._opened:
                again = span.count < len(pack)
                self._opened[pack.sha256] = pack.plain, self._pool.submit(self._fetch_or_find, pack, keep=again)
            self._opened.move_to_end(pack.sha256)
            future = self._opened[pack.sha256][1]
            self._let_go()
            return future

    def _let_go(self) -> None:
        """The oldest ones, down to `OPENED` bytes. Not those still under way: they would be fetched twice."""
        held = sum(size for size, _ in self._opened.values())
        for sha256, (size, future) in list(self._opened.items())[:-1]:
            if held > OPENED and future.done():
                del self._opened[sha256]
                held -= size

    def _fetch_or_find(self, pack: PackEntry, *, keep: bool) -> memoryview:
        sealed = self._on_disk.get(pack.sha256)
        if sealed is None:
            sealed = self._sealed(pack)
            if keep:
                self._on_disk.put(pack.sha256, sealed)
        return self._unseal(pack, sealed)

    def fetch(self, pack: PackEntry) -> memoryview:
        """The pack's plain inside, authenticated. Raises `ObjectMissing`, `Damaged`, `StoreUnreachable`."""
        return self._unseal(pack, self._sealed(pack))

    def _sealed(self, pack: PackEntry) -> bytes:
        try:
            sealed = self._store.get(pack.path, pack.links)
        except ObjectMissing as missing:
            raise ObjectMissing(
                f"pack {pack.sha256[:12]}… is missing from {self._store.name}",
                "run `dwebbackup verify` to see which backups need it",
            ) from missing
        try:
            return records.check(f"pack {pack.sha256[:12]}…", sealed, pack.sha256)
        except Damaged as damaged:
            raise Damaged(str(damaged), what_to_do(pack)) from None

    def _unseal(self, pack: PackEntry, sealed: bytes) -> memoryview:
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

    def check(self, pack: PackEntry, sealed: bytes | None = None) -> int:
        """Authenticate a whole pack, *sealed* as it was fetched, or fetched now; how many plain bytes are in it."""
        plain = self.fetch(pack) if sealed is None else self._unseal(pack, sealed)
        return sum(map(len, self._chunks(Span(pack, 0, len(pack)), plain, Decompressor())))
