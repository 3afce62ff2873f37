"""What the sidecar is doing and did, as it goes along; asked from other threads how everything is."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import dwebbackup
from dwebbackup import clock
from dwebbackup.daemon.status import Kind, Moving, Problem, Run, SourceStatus, Status, StoreStatus
from dwebbackup.errors import (
    DatabaseRefused,
    DwebbackupError,
    KeyForbids,
    StoreUnreachable,
    ToolMissing,
    WrongConfiguration,
)
from dwebbackup.report import log

RUNS = 100
"""How many are remembered."""

_KINDS: dict[type[DwebbackupError], Kind] = {
    WrongConfiguration: "configuration",
    KeyForbids: "key",
    StoreUnreachable: "store",
    DatabaseRefused: "database",
    ToolMissing: "configuration",
}


def problem(error: Exception, kind: Kind, since: float | None = None) -> Problem:
    """What is wrong; *kind* where the error does not say better."""
    found = next((each for known, each in _KINDS.items() if isinstance(error, known)), kind)
    if not isinstance(error, DwebbackupError):
        return Problem("internal", f"unexpected {type(error).__name__}: {error}", "", since or clock.now())
    return Problem(found, str(error), error.hint, since or clock.now())


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is not of one source."""

    writer: int | None = None
    writer_id: str = ""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


class Journal:
    """Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = clock.now()
        self._whole = _Whole()
        self._sources: dict[str, SourceStatus] = {}
        self._stores: dict[str, StoreStatus] = {}
        self._runs: deque[Run] = deque(maxlen=RUNS)
        self._failures: Counter[Kind] = Counter()

    def status(self) -> Status:
        with self._lock:
            return Status(
                now=clock.now(),
                started=self._started,
                version=dwebbackup.__version__,
                writer=self._whole.writer,
                writer_id=self._whole.writer_id,
                sources=tuple(self._sources.values()),
                stores=tuple(self._stores.values()),
                problems=self._whole.problems,
                warnings=self._whole.warnings,
                runs=tuple(self._runs),
                failures=tuple(sorted(self._failures.items())),
            )

    # --- the sidecar as a whole ---

    def configured(self, writer: int, writer_id: str, warnings: Sequence[str]) -> None:
        """Everything is understood; *warnings* stay on the page."""
        with self._lock:
            self._whole = _Whole(writer, writer_id, (), tuple(warnings))

    def warn(self, sentence: str) -> None:
        """Of something that is not wrong yet; once is enough."""
        with self._lock:
            if sentence in self._whole.warnings:
                return
            self._whole = replace(self._whole, warnings=(*self._whole.warnings, sentence))
        log.logger(__name__).warning(sentence)

    def calm(self, sentence: str) -> None:
        """The inverse of `warn`."""
        with self._lock:
            left = tuple(each for each in self._whole.warnings if each != sentence)
            self._whole = replace(self._whole, warnings=left)

    def trouble(self, problems: Sequence[Problem]) -> None:
        """Nothing can be done before these are mended. One that was there before keeps its time."""
        with self._lock:
            before = {(each.kind, each.sentence): each for each in self._whole.problems}
            kept = tuple(before.get((each.kind, each.sentence), each) for each in problems)
            self._failures.update(each.kind for each in kept if each not in self._whole.problems)
            self._whole = replace(self._whole, problems=kept)

    def stores(self, stores: Sequence[StoreStatus]) -> None:
        with self._lock:
            self._stores = {store.name: store for store in stores}

    def store(self, name: str, change: Callable[[StoreStatus], StoreStatus]) -> None:
        with self._lock:
            self._stores[name] = change(self._stores[name])

    # --- one source ---

    def sources(self, sources: Sequence[SourceStatus]) -> None:
        """These are all; what was known of one of the same name and database stays."""
        with self._lock:
            before = self._sources
            self._sources = {
                each.name: replace(before[each.name], schedule=each.schedule)
                if each.name in before and before[each.name].url == each.url
                else each
                for each in sources
            }

    def source(self, name: str) -> SourceStatus:
        with self._lock:
            return self._sources[name]

    def note(self, name: str, **changes: object) -> None:
        """Fields of `SourceStatus`. A problem that was there before keeps its time."""
        with self._lock:
            before = self._sources[name]
            found = changes.get("problem")
            if isinstance(found, Problem):
                if before.problem and (before.problem.kind, before.problem.sentence) == (found.kind, found.sentence):
                    changes["problem"] = before.problem
                else:
                    self._failures[found.kind] += 1
            self._sources[name] = replace(before, **changes)  # type: ignore[arg-type]

    def ran(self, run: Run) -> None:
        with self._lock:
            self._runs.append(run)


STEP = 1024 * 1024
"""Bytes after which the page shows more."""


class Watched:
    """A `Progress` that the page shows."""

    def __init__(self, journal: Journal, source: str) -> None:
        self._journal = journal
        self._source = source
        self._lock = threading.Lock()
        self._moving: Moving | None = None
        self._done = 0

    def begin(self, what: str, total: int | None) -> None:
        self._show(Moving(what, clock.now(), 0, total or None))

    def advance(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._moving and self._done >= self._moving.done + STEP:
                self._moving = replace(self._moving, done=self._done)
                self._journal.note(self._source, moving=self._moving)

    def end(self) -> None:
        self._show(None)

    def _show(self, moving: Moving | None) -> None:
        with self._lock:
            self._moving, self._done = moving, 0
            self._journal.note(self._source, moving=moving)
