"""Networks forget names that nobody publishes again, that of IPFS after two days: so the sidecar does, once a day."""

from __future__ import annotations

from dataclasses import dataclass

from dwebbackup import clock, heads
from dwebbackup.daemon.journal import Journal
from dwebbackup.daemon.parts import Parts
from dwebbackup.errors import Damaged, DwebbackupError
from dwebbackup.report import log

DAY = 24 * 3600.0

UNTOLD = "not all networks could be told again where the newest backup is; without the store it may not be found there"
"""On the page; the log says which, and why."""


@dataclass(slots=True)
class Telling:
    """By the monotonic clock. Nothing else waits for it; a failure is a warning until the next day's went well."""

    _next: float = 0.0

    def tell_daily(self, parts: Parts | None, journal: Journal) -> None:
        if not parts or not parts.publishers or clock.monotonic() < self._next:
            return
        self._next = clock.monotonic() + DAY
        try:
            failures = _tell(parts)
        except Exception as error:  # noqa: BLE001  # whatever it is: the sidecar stays, and says so
            failures = (str(error),)
            if not isinstance(error, DwebbackupError):
                log.logger(__name__).exception("this is a fault of dwebbackup")
        if failures:
            log.logger(__name__).warning("networks were not told", failures=failures)
            journal.warn(UNTOLD)
        else:
            journal.calm(UNTOLD)


def _tell(parts: Parts) -> tuple[str, ...]:
    """With the record that the last backup left in the store; gives a sentence for each that could not be told."""
    catalog = parts.opened.catalog
    head = catalog.head()
    if head is None:
        return ()
    damage: Damaged | None = None
    for record in catalog.copies(heads.IPNS_RECORD):
        try:
            announcement = heads.announced_before(parts.writer, record, head.manifest.links)
        except Damaged as error:
            damage = error
            continue
        if announcement.sequence == head.sequence:
            return heads.publish(announcement, parts.publishers)
    if damage:
        raise damage
    return ()  # a backup ended between the two, or is just about to tell them itself; or it was of a version without
