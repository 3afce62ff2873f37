"""While a snapshot is open: what a store may hold up, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from dwebbackup import access, backup, checkpoint, clock
from dwebbackup.errors import BackupFailed
from dwebbackup.manifest import SourceFacts, StreamSpec
from dwebbackup.ports import ByteStream, Dump, Reader
from faulty import MemoryStore
from synthetic import WRITER, SyntheticSource, names, noise, restored, small_pieces

PATIENCE = 60
"""Seconds after which something that should have happened counts as not happening."""


@pytest.fixture(autouse=True)
def small() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


class Hours:
    """The clock of a test, which goes when the test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = clock.monotonic()
        patch.setattr(clock, "monotonic", lambda: self.now)

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hours(small: pytest.MonkeyPatch) -> Hours:
    return Hours(small)


class Watched(SyntheticSource):
    """Says when its snapshot is over. *together*: each of so many workers takes a stream before any is read."""

    def __init__(self, contents: dict[str, bytes], *, together: int = 1, **more: object) -> None:
        super().__init__(contents, **more)
        self.over = threading.Event()
        self.barrier = threading.Barrier(together)

    @contextmanager
    def dump(self) -> Iterator[Dump]:
        with super().dump() as dump:
            finish, abort, reader = dump.finish, dump.abort, dump.reader

            def finish_watched() -> SourceFacts:
                self.over.set()
                return finish()

            def abort_watched() -> None:
                self.over.set()
                abort()

            @contextmanager
            def meeting() -> Iterator[Meeting]:
                with reader() as each:
                    yield Meeting(each, self.barrier)

            dump.finish, dump.abort, dump.reader = finish_watched, abort_watched, meeting
            yield dump


class Meeting:
    """A reader that waits for the others before it opens a stream."""

    def __init__(self, reader: Reader, barrier: threading.Barrier) -> None:
        self._reader = reader
        self._barrier = barrier

    def open(self, spec: StreamSpec) -> ByteStream:
        self._barrier.wait(PATIENCE)
        return self._reader.open(spec)


class Held(MemoryStore):
    """A store that answers no put of what *which* picks until *until* is set; *first* is called before it waits."""

    def __init__(self, which: str, until: threading.Event, first: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.which = which
        self.until = until
        self.first = first
        self.waited: list[str] = []

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        if self.which in name:
            self.first()
            self.waited.append(name)
            assert self.until.wait(PATIENCE), "the snapshot waits for the store"
        return super().put(name, data)


def back_up(store: MemoryStore, source: SyntheticSource, **options: object) -> backup.Done:
    return backup.back_up([source], access.below(store, WRITER.id), WRITER, backup.Options(**options))


def test_no_snapshot_waits_for_the_packs_that_are_full_when_all_is_read():
    """Three workers hold one pack each, and only two packs fit behind a store that is slow."""
    source = Watched({name: noise(20_000, seed) for seed, name in enumerate("abc")}, together=3)
    store = Held("/packs/", source.over)
    done = back_up(store, source, jobs=3)
    assert done.backup.manifest.packs == len(store.waited) == 3
    assert restored(store) == source.contents


def test_no_snapshot_waits_for_a_checkpoint(hours: Hours):
    begun = threading.Event()
    source = Watched({"early": noise(200_000, 1), "late": noise(2000, 2)}, waits=("late", begun))
    store = Held("-1.age", source.over, begun.set)

    class Progress(backup.Quiet):
        def advance(self, size: int) -> None:
            hours.pass_(checkpoint.RENEWED_EVERY + 1)

    back_up(store, source, progress=Progress())
    assert len(store.waited) == 1
    assert restored(store) == source.contents


def test_a_snapshot_that_is_open_for_too_long_is_given_up(hours: Hours):
    source = Watched({"large": noise(400_000)})
    store = Held("/packs/", source.over, lambda: hours.pass_(3700))
    with pytest.raises(BackupFailed, match="longer than 1 h 0 min") as caught:
        back_up(store, source, max_snapshot=3600)
    assert "--jobs" in caught.value.hint
    assert names(store, "manifests/") == set()
    assert names(store, "packs/")
    assert back_up(store, source).bytes_stored < 400_000
    assert restored(store) == source.contents


def test_a_snapshot_may_be_open_for_as_long_as_was_said(hours: Hours):
    source = SyntheticSource({"large": noise(400_000)})
    at_once = threading.Event()
    at_once.set()
    store = Held("/packs/", at_once, lambda: hours.pass_(100))
    back_up(store, source, max_snapshot=3600)
    assert len(store.waited) > 3


def test_what_is_stored_after_the_snapshot_counts_no_more(hours: Hours):
    """The last pack takes hours, and by then nobody is waiting."""
    source = Watched({"small": noise(2000)})
    store = Held("/packs/", source.over, lambda: hours.pass_(7200))
    back_up(store, source, max_snapshot=3600)
    assert restored(store) == source.contents
