"""A repair's checkpoints, one in each of its stores and renewed while it works: nothing is pruned there meanwhile."""

from __future__ import annotations

import secrets
import threading
from types import TracebackType
from typing import Self

from dwebbackup.checkpoint import Checkpoints
from dwebbackup.errors import DwebbackupError, Interrupted
from dwebbackup.ports import Progress, Store, members
from dwebbackup.records import Signer


class Protection:
    """Of the stores that *store* is made of, which begins at the prefix of *writer*; without a *signer*, of none.

    A store that takes no checkpoint is no reason to stop: a repair looks again before a manifest comes into it.
    Safe for several threads.
    """

    def __init__(self, store: Store, writer: str, signer: Signer | None) -> None:
        run = secrets.token_hex(8)
        stores = [each.store for each in members(store) if signer and each.store.traits.lists]
        self._each = [Checkpoints(each, writer, run, signer) for each in stores if signer]
        self._lock = threading.Lock()
        self.doubts: tuple[str, ...] = ()
        """What the user should know when it is over."""

    def __enter__(self) -> Self:
        for checkpoints in self._each:
            _try_to_put(checkpoints)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.doubts = tuple(doubt for checkpoints in self._each for doubt in checkpoints.clear())

    def renew_if_due(self) -> None:
        """Whoever calls waits for it: a checkpoint is small, and work that runs ahead of it would be unprotected."""
        with self._lock:
            for checkpoints in self._each:
                if checkpoints.due:
                    _try_to_put(checkpoints)

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
