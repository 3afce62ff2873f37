"""Runs under way: each leaves checkpoints, so that a killed run's packs are found again and never pruned."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from dwebbackup import clock, records
from dwebbackup.errors import BackupFailed, Damaged, KeyForbids, ObjectMissing, StoreUnreachable, ToolMissing
from dwebbackup.manifest import Checkpoint, ObjectRef
from dwebbackup.ports import Store, Stored, members
from dwebbackup.records import Access, Signer

GRACE = 72 * 3600
"""Seconds for which a checkpoint keeps everything in its store from being pruned."""

RENEWED_EVERY = 240
"""Seconds between two checkpoints of one run."""


@dataclass(frozen=True, slots=True)
class Found:
    """Other runs' fresh checkpoints, the newest of each run, and each store's own time when they were listed."""

    checkpoints: tuple[Checkpoint, ...]
    times: Mapping[str, float]
    """By the store's name."""


class Checkpoints:
    """One run's own checkpoints in a store that begins at the writer's prefix."""

    def __init__(self, store: Store, writer: str, run: str, signer: Signer) -> None:
        self._store = store
        self._writer = writer
        self._run = run
        self._signer = signer
        self._started = clock.iso(clock.now())
        self._count = 0
        self._names: list[str] = []
        self._shown = ""
        self._renewed = self._stored = clock.monotonic()
        self._lapsed = False

    @property
    def due(self) -> bool:
        """Counted from the end of the last put: two that come and go within a moment, after a slow one, might both
        be missing from a listing.
        """
        return clock.monotonic() - self._stored > RENEWED_EVERY

    def put(self, indexes: Sequence[ObjectRef] = ()) -> None:
        """Say that the run is under way and has stored these indexes' packs.

        All before but the last are dropped: a listing that is being made while one takes the other's place would
        show neither. Raises `BackupFailed` as `require_fresh` does: what may be gone must not be told of to others.
        """
        self.require_fresh()
        began = clock.monotonic()
        number = self._count
        self._count += 1
        record = Checkpoint(self._writer, self._run, number, self._started, clock.iso(clock.now()), tuple(indexes))
        name = f"checkpoints/{self._run}-{number}.age"
        self._names.append(name)  # first: a put that raises may have happened
        self._store.put(name, records.seal(record, self._signer))
        self._lapsed = self._lapsed or self._stale
        self._renewed = began  # not now: who stored it may have been slow to say so
        self._stored = clock.monotonic()
        self._drop([each for each in self._names if each not in (self._shown, name)])
        self._shown = name

    @property
    def _stale(self) -> bool:
        return clock.monotonic() - self._renewed > GRACE / 2

    def require_fresh(self) -> None:
        """Raises `BackupFailed` when there ever was a time so long without a checkpoint that a prune may have begun.

        One that came after it is of no use: what this run counts on may be gone.
        """
        if self._lapsed or self._stale:
            raise BackupFailed(
                "no checkpoint could be written for 36 hours, so packs of this run may have been pruned",
                "run the backup again; what is still there will not be uploaded twice",
            )

    def clear(self) -> tuple[str, ...]:
        """The run is over, and nothing depends on its checkpoints any more; what the user should know.

        One that cannot be dropped is no failure: it holds up a prune until it is old.
        """
        return self._drop(self._names[:])

    def _drop(self, names: Sequence[str]) -> tuple[str, ...]:
        doubts = []
        for name in names:
            try:
                self._forget(name)
            except StoreUnreachable as error:
                doubts.append(f"a checkpoint was left behind, and holds up pruning for a while: {error}")
            else:
                self._names.remove(name)
        return tuple(doubts)

    def _forget(self, name: str) -> None:
        """Where nothing may be deleted an empty object stays, which says as little, and which a prune clears away."""
        for member in members(self._store):
            if not member.store.traits.lists:
                continue
            with contextlib.ExitStack() as lenient:
                if not member.required:
                    lenient.enter_context(contextlib.suppress(StoreUnreachable))
                if member.store.traits.deletes:
                    member.store.delete(name)
                else:
                    member.store.put(name, b"")

    def others(self, access: Access) -> Found:
        """Fresh checkpoints of other runs. Call after the first `put`, whose age tells each store's own time.

        One that cannot be opened is no reason to stop: what it names is merely stored again. Nor is a store that is
        not required.
        """
        newest: dict[str, Checkpoint] = {}
        times: dict[str, float] = {}
        for member in members(self._store):
            if not member.store.traits.lists:
                continue
            with contextlib.ExitStack() as lenient:
                if not member.required:
                    lenient.enter_context(contextlib.suppress(StoreUnreachable, ObjectMissing))
                times[member.store.name] = now = self._time_of(member.store)
                for checkpoint in self._others_in(member.store, now, access):
                    if checkpoint.count >= newest.get(checkpoint.run, checkpoint).count:
                        newest[checkpoint.run] = checkpoint
        return Found(tuple(newest.values()), times)

    def _time_of(self, store: Store) -> float:
        try:
            return store.head(self._names[-1]).modified
        except ObjectMissing:
            self.require_fresh()  # after days of sleep, a prune has cleared it away
            raise

    def _others_in(self, store: Store, now: float, access: Access) -> Iterator[Checkpoint]:
        for stored in store.list("checkpoints/"):
            if stored.name not in self._names and _is_fresh(stored, now):
                checkpoint = self._read(store, stored, access)
                if checkpoint:
                    yield checkpoint

    def _read(self, store: Store, stored: Stored, access: Access) -> Checkpoint | None:
        try:
            checkpoint = records.unseal(Checkpoint, store.get(stored.name), access)
        except (Damaged, KeyForbids, ToolMissing):
            return None
        return checkpoint if checkpoint.writer == self._writer else None


class Renewals:
    """Renews a run's checkpoint in a thread of its own, so that a slow store holds up nothing else.

    A store that is away for a while stops nothing: `require_fresh` has the last word.
    """

    def __init__(self, checkpoints: Checkpoints, renew: Callable[[], None]) -> None:
        self._checkpoints = checkpoints
        self._renew = renew
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for one that is under way. Raises what it failed with, where nothing else did."""
        self._pool.shutdown(wait=True)
        if kind is None:
            self._raise_failure()

    def renew_if_due(self) -> None:
        """Begin to, unless the last one is still under way. Raises what that failed with."""
        if self._running is None or self._running.done():
            self._raise_failure()
            self._running = self._pool.submit(self._renew) if self._checkpoints.due else None

    def _raise_failure(self) -> None:
        if self._running is not None:
            with contextlib.suppress(StoreUnreachable):
                self._running.result()


def under_way(store: Store, now: float) -> list[Stored]:
    """The checkpoints of *store*, whosever, that are fresh at its time *now*: what they may name must stay."""
    return [stored for stored in store.list("checkpoints/") if _is_fresh(stored, now)]


def over(store: Store, now: float) -> list[Stored]:
    """All the others: nobody needs them any more."""
    return [stored for stored in store.list("checkpoints/") if not _is_fresh(stored, now)]


def _is_fresh(stored: Stored, now: float) -> bool:
    """An empty one was forgotten, by somebody who must not delete."""
    return stored.size > 0 and now - stored.modified < GRACE
