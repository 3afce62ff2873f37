"""A thread that notices when the newest good backup has become too old, whatever the main thread is busy with."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dwebbackup import clock
from dwebbackup.daemon.journal import Journal
from dwebbackup.daemon.status import SourceStatus
from dwebbackup.report import log
from dwebbackup.report.notices import Notice

EVERY = 30.0
"""Seconds."""


class Watch:
    """Runs until it is stopped."""

    def __init__(self, journal: Journal, tell: Callable[[Notice], None]) -> None:
        self._journal = journal
        self._tell = tell
        self._stale: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            try:
                self.look()
            except Exception:  # noqa: BLE001  # a fault of ours: the next look may go well
                log.logger(__name__).exception("this is a fault of dwebbackup")

    def look(self) -> None:
        """Tell of each source once when it becomes stale."""
        status = self._journal.status()
        for source in status.sources:
            stale = source.good_until is not None and status.now > source.good_until
            if stale and source.name not in self._stale:
                self._stale.add(source.name)
                self._say(source)
            elif not stale:
                self._stale.discard(source.name)

    def _say(self, source: SourceStatus) -> None:
        assert source.good_until is not None
        sentence = f"a backup of {source.name} was due by {clock.iso(source.good_until)}, and there is none"
        why = source.problem.sentence if source.problem else ""
        log.logger(__name__).warning(sentence, source=source.name, problem=why)
        self._tell(Notice("stale", source.name, f"{sentence}{why and f': {why}'}", time=clock.now()))
