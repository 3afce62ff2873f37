"""Runs under way: each leaves checkpoints, so that a killed run's packs are found again and never pruned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dwebbackup import clock, records
from dwebbackup.errors import BackupFailed, Damaged, KeyForbids, StoreUnreachable, ToolMissing
from dwebbackup.manifest import Checkpoint, ObjectRef
from dwebbackup.ports import Store, Stored
from dwebbackup.records import Access, Signer

GRACE = 72 * 3600
"""Seconds for which a checkpoint keeps everything in its store from being pruned."""

RENEWED_EVERY = 240
"""Seconds between two checkpoints of one run."""


@dataclass(frozen=True, slots=True)
class Found:
    """Other runs' fresh checkpoints, the newest of each run, and the store's own time when they were listed."""

    checkpoints: tuple[Checkpoint, ...]
    now: float


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
        self._renewed = clock.monotonic()

    @property
    def due(self) -> bool:
        return clock.monotonic() - self._renewed > RENEWED_EVERY

    def put(self, indexes: Sequence[ObjectRef] = ()) -> None:
        """Say that the run is under way and has stored these indexes' packs; the ones before are dropped."""
        number = self._count
        self._count += 1
        record = Checkpoint(self._writer, self._run, number, self._started, clock.iso(clock.now()), tuple(indexes))
        name = f"checkpoints/{self._run}-{number}.age"
        self._names.append(name)  # first: a put that raises may have happened
        self._store.put(name, records.seal(record, self._signer))
        self._renewed = clock.monotonic()
        self._drop(self._names[:-1])

    def require_fresh(self) -> None:
        """Raises `BackupFailed` when no checkpoint was renewed for so long that a prune may have begun."""
        if clock.monotonic() - self._renewed > GRACE / 2:
            raise BackupFailed(
                "no checkpoint could be written for 36 hours, so packs of this run may have been pruned",
                "run the backup again; what is still there will not be uploaded twice",
            )

    def clear(self) -> tuple[str, ...]:
        """The run is over, and nothing depends on its checkpoints any more; what the user should know.

        One that cannot be deleted is no failure: it holds up a prune until it is old.
        """
        return self._drop(self._names[:])

    def _drop(self, names: Sequence[str]) -> tuple[str, ...]:
        doubts = []
        for name in names:
            try:
                self._store.delete(name)
            except StoreUnreachable as error:
                doubts.append(f"a checkpoint was left behind, and holds up pruning for a while: {error}")
            else:
                self._names.remove(name)
        return tuple(doubts)

    def others(self, access: Access) -> Found:
        """Fresh checkpoints of other runs. Call after the first `put`, whose age tells the store's own time.

        One that cannot be opened is no reason to stop: what it names is merely stored again.
        """
        now = self._store.head(self._names[-1]).modified
        newest: dict[str, Checkpoint] = {}
        for stored in self._store.list("checkpoints/"):
            if stored.name not in self._names and now - stored.modified < GRACE:
                checkpoint = self._read(stored, access)
                if checkpoint and checkpoint.count >= newest.get(checkpoint.run, checkpoint).count:
                    newest[checkpoint.run] = checkpoint
        return Found(tuple(newest.values()), now)

    def _read(self, stored: Stored, access: Access) -> Checkpoint | None:
        try:
            checkpoint = records.unseal(Checkpoint, self._store.get(stored.name), access)
        except (Damaged, KeyForbids, ToolMissing):
            return None
        return checkpoint if checkpoint.writer == self._writer else None
