"""A repair's checkpoints, one in each of its stores and renewed while it works: nothing is pruned there meanwhile."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Self

from dwebbackup import clock
from dwebbackup.checkpoint import Checkpoints
from dwebbackup.errors import DwebbackupError, Interrupted
from dwebbackup.ports import Progress, Store, members
from dwebbackup.records import Signer

RENEWED_EVERY = 3600
"""Seconds between two checkpoints. They count for days, and one that is away holds up the others when it is tried."""


class Protection:
    """Of the stores that *store* is made of, which begins at the prefix of *writer*; without a *signer*, of none.
    *into*: the names of those that are repaired; none: all.

    A store that takes no checkpoint is no reason to stop: a repair looks again before a manifest comes into it.
    Safe for several threads.
    """

    def __init__(self, store: Store, writer: str, signer: Signer | None, into: Collection[str] = ()) -> None:
        run = secrets.token_hex(8)
        stores = [each.store for each in members(store) if not into or each.store.name in into]
        self._each = [Checkpoints(each, writer, run, signer) for each in stores if signer and each.traits.lists]
        self._lock = threading.Lock()
        self._tried = clock.monotonic()
        self.doubts: tuple[str, ...] = ()
        """What the user should know when it is over."""

    def __enter__(self) -> Self:
        self._put()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.doubts = tuple(doubt for checkpoints in self._each for doubt in checkpoints.clear())

    def renew_if_due(self) -> None:
        """Whoever calls waits for it: a checkpoint is small, and what ran ahead of it would be unprotected."""
        with self._lock:
            if clock.monotonic() - self._tried > RENEWED_EVERY:
                self._put()

    def _put(self) -> None:
        for checkpoints in self._each:
            _try_to_put(checkpoints)
        self._tried = clock.monotonic()

    def during(self, progress: Progress) -> Progress:
        """The same *progress*, which keeps the checkpoints young."""
        return _Renewing(self, progress)


class _Renewing:
    def __init__(self, protection: Protection, progress: Progress) -> None:
        self._protection = protection
        self._progress = progress

    def begin(self, what: str, total: int | None) -> None:
        self._protection.renew_if_due()
        self._progress.begin(what, total)

    def advance(self, size: int) -> None:
        self._progress.advance(size)
        self._protection.renew_if_due()

    def end(self) -> None:
        self._progress.end()


def _try_to_put(checkpoints: Checkpoints) -> None:
    try:
        checkpoints.put()
    except Interrupted:
        raise
    except DwebbackupError:
        return  # it has no room, is away, or its checkpoint lapsed: what is put there meets the same, and tells of it
