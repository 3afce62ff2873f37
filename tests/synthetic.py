"""A source and a target that are bytes in this process, and small packs: for tests that make hundreds of backups."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from dwebbackup import access, backup, chunking, clock, packing, restore, verify
from dwebbackup.access import Opened
from dwebbackup.errors import DatabaseRefused, TargetNotEmpty
from dwebbackup.keys import Key, OwnerKey
from dwebbackup.manifest import SourceFacts, SourceRecord, StreamSpec
from dwebbackup.ports import Condition, Dump, Quiet, Reader, Restored, Source, Store, StreamReader, TargetOptions

OWNER = OwnerKey(bytes(range(32)))
WRITER = OWNER.writer(1)
ROOT = f"w/{WRITER.id}/"
"""Where the writer's objects are in a store."""

AVERAGE = 1024
SEALED_SIZE = 48 * 1024

Contents = Mapping[str, bytes]
"""What a source holds: the bytes of each stream."""


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no compression makes smaller, the same for the same *seed*."""
    return random.Random(seed).randbytes(size)


@contextmanager
def small_pieces() -> Iterator[pytest.MonkeyPatch]:
    """Chunks of 1 KiB and packs of 48, so that little data makes many of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "AVERAGE", AVERAGE)
        patch.setattr(packing, "SEALED_SIZE", SEALED_SIZE)
        yield patch


# --- out ---


class SyntheticSource:
    """*contents* as a source. It fails where a test says so.

    *breaks*: the stream that raises halfway. *loses_snapshot*: every stream can be read, and then `finish` raises.
    *waits*: a stream that gives nothing until the event is set.
    """

    def __init__(
        self,
        contents: Contents,
        name: str = "synthetic",
        *,
        breaks: str = "",
        loses_snapshot: bool = False,
        waits: tuple[str, threading.Event] | None = None,
        identity: str = "",
    ) -> None:
        self.name = name
        self.identity = identity or f"synthetic:{name}"
        self.contents = dict(contents)
        self.breaks = breaks
        self.loses_snapshot = loses_snapshot
        self.waits = waits

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        yield _Dump(self)

    def condition(self) -> Condition:
        """Its streams are tables, and their lines rows."""
        identity = self.identity
        if not self.contents:
            return Condition("empty", identity)
        state = "full" if any(self.contents.values()) else "rowless"
        return Condition(state, identity, tuple(sorted(self.contents))[:5])


class _Dump:
    def __init__(self, source: SyntheticSource) -> None:
        self._source = source
        self._unread = set(source.contents)
        self._aborted = threading.Event()
        self._opened = clock.now()
        self.specs: Sequence[StreamSpec] = tuple(
            StreamSpec("rows", (name,), ("value",), len(data))
            for name, data in sorted(source.contents.items(), key=lambda item: -len(item[1]))
        )

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        yield _Reader(self, self._source)

    def finish(self) -> SourceFacts:
        assert not self._unread, f"{self._unread} were not read to their ends"
        if self._source.loses_snapshot:
            raise DatabaseRefused("the snapshot was lost")
        return SourceFacts(
            name=self._source.name,
            kind="synthetic",
            identity=self._source.identity,
            database=self._source.name,
            server_version="1",
            client_version="1",
            encoding="UTF8",
            snapshot=clock.iso(self._opened),
            snapshot_seconds=0.0,
        )

    def abort(self) -> None:
        self._aborted.set()

    def wait(self, event: threading.Event) -> None:
        """Until *event*, or the run was aborted."""
        while not event.wait(0.01) and not self._aborted.is_set():
            pass

    def require_running(self) -> None:
        if self._aborted.is_set():
            raise DatabaseRefused("the run was aborted")

    def ended(self, name: str) -> None:
        self._unread.discard(name)


class _Reader:
    def __init__(self, dump: _Dump, source: SyntheticSource) -> None:
        self._dump = dump
        self._source = source

    def open(self, spec: StreamSpec) -> _Stream:
        (name,) = spec.path
        if self._source.waits and self._source.waits[0] == name:
            self._dump.wait(self._source.waits[1])
        return _Stream(self._dump, name, self._source.contents[name], breaks=self._source.breaks == name)


class _Stream:
    """Gives no more than a pipe would at once."""

    rows: int | None = None

    def __init__(self, dump: _Dump, name: str, data: bytes, *, breaks: bool) -> None:
        self._dump = dump
        self._name = name
        self._data = data
        self._at = 0
        self._end = len(data) // 2 if breaks else len(data)
        self._breaks = breaks

    def readinto(self, view: memoryview, /) -> int:
        self._dump.require_running()
        block = self._data[self._at : min(self._end, self._at + min(len(view), 65536))]
        view[: len(block)] = block
        self._at += len(block)
        if not block:
            self._finish()
        return len(block)

    def _finish(self) -> None:
        if self._breaks:
            raise DatabaseRefused(f"the connection was lost in the midst of {self._name}")
        self.rows = self._data.count(b"\n")
        self._dump.ended(self._name)


# --- back ---


class SyntheticTarget:
    """Takes streams in, all or nothing; *contents* is what it holds, None when there is nothing."""

    url = "synthetic:target"

    def __init__(self, contents: Contents | None = None, identity: str = "synthetic:target") -> None:
        self.contents = contents
        self.identity = identity

    def plan(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Sequence[str]:
        self._require_room(options)
        return [f"take in {len(source.streams)} streams"]

    def load(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Restored:
        self._require_room(options)
        with ThreadPoolExecutor(options.jobs) as pool:
            data = list(pool.map(lambda stream: b"".join(read(stream)), source.streams))
        if options.announce:
            options.announce(self.identity)
        self.contents = {stream.path[0]: each for stream, each in zip(source.streams, data, strict=True)}
        return Restored(self.url, len(data), sum(stream.rows or 0 for stream in source.streams))

    def _require_room(self, options: TargetOptions) -> None:
        if self.contents is not None and not options.replace:
            raise TargetNotEmpty("the target holds something")


# --- the verbs, as tests use them ---


def back_up(
    store: Store, *sources: Source | Contents, jobs: int = 1, uploads: int = 1, recipients: tuple[bytes, ...] = ()
) -> backup.Done:
    """One backup of *sources* by the writer, who minds neither shrinking nor others of the same name."""
    wanted = [SyntheticSource(each) if isinstance(each, Mapping) else each for each in sources]
    options = backup.Options(jobs=jobs, uploads=uploads, recipients=recipients, accept=True)
    return backup.back_up(wanted, access.below(store, WRITER.id), WRITER, options)


def opened(store: Store, key: Key = OWNER) -> Opened:
    """The writer as *key* sees it."""
    return access.open_writer(key, WRITER.number, store)


def restored(store: Store, wanted: str = "latest", key: Key = OWNER, source: str | None = None) -> Contents:
    """What a restore of that backup brings back into an empty target."""
    target = SyntheticTarget()
    writer = opened(store, key)
    restore.restore(writer, writer.catalog.find(wanted), target, restore.Options(source=source))
    assert target.contents is not None
    return target.contents


def errors(store: Store) -> list[str]:
    """What `verify` finds wrong with all the writer's backups, every byte of them read."""
    report = verify.verify(opened(store), None, 100, Quiet())
    return [f"{found.what}: {found.message}" for found in report.findings if found.severity == "error"]


def names(store: Store, folder: str = "") -> set[str]:
    """The writer's objects below *folder*, such as `packs/`."""
    return {stored.name.removeprefix(ROOT) for stored in store.list(ROOT + folder)}
