"""What the store knows of a source: for the decision at the start, for the schedule, and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dwebbackup import clock, lineage, records
from dwebbackup.access import Opened
from dwebbackup.catalog import GENESIS, Backup
from dwebbackup.daemon.decision import Holdings
from dwebbackup.daemon.status import Made
from dwebbackup.errors import Damaged, NoSuchBackup, ObjectMissing
from dwebbackup.manifest import Genesis, Summary, Tally

MOST = 1000
"""Backups that the page shows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A backup to restore, and who has it."""

    opened: Opened
    backup: Backup


def holdings(own: Opened, origins: Sequence[Opened], source: str) -> tuple[Holdings, Origin | None]:
    """What there is of *source*, by this writer or, where it has none yet, by those before it.

    The origin is what a key at hand can restore. Raises `StoreUnreachable`, `Damaged`: a failed look is never "none".
    """
    found = _newest(own, source)
    if found is None:
        for opened in origins:
            found = found or (_newest(opened, source) if opened.catalog.writer != own.catalog.writer else None)
    if found is None:
        return Holdings(begun=_begun(own)), None
    if isinstance(found, str):
        return Holdings(doubt=found), None
    opened, backup = found
    rows = sum(tally.rows for tally in lineage.tallies(backup.manifest) if tally.source == source)
    able = [each for each in origins if each.catalog.writer == opened.catalog.writer]
    origin = Origin(able[0], backup) if able else None
    return Holdings(backup.ref.id, rows, begun=True), origin


def _newest(opened: Opened, source: str) -> tuple[Opened, Backup] | str | None:
    """The newest good backup; why there is no such one although there are backups; None: there are none."""
    newest = opened.catalog.newest()
    known = source in lineage.sources(newest.history)
    if not known and not newest.tips:
        return f"{len(newest.refs)} manifests are there, and none can be read" if newest.refs else None
    if not known:
        return None
    try:
        return opened, opened.catalog.latest(source)
    except (NoSuchBackup, Damaged) as error:
        return str(error)


def _begun(own: Opened) -> bool:
    """Whether the owner signed that this writer begins here. Raises `Damaged` for somebody else's word."""
    if own.owner_key is None:
        return False
    try:
        genesis = records.read_line(Genesis, own.catalog.store.get(GENESIS), own.owner_key)
    except ObjectMissing:
        return False
    if genesis.writer != own.catalog.writer:
        raise Damaged(f"the mark of a beginning in the store is that of another writer, {genesis.writer}")
    return True


@dataclass(frozen=True, slots=True)
class Past:
    """The backups of one source, oldest first."""

    made: tuple[Made, ...] = ()
    began: float | None = None
    """When the last one of the database at hand did, good or not."""
    good: Made | None = None
    """The newest good one of that database, or of those whose history goes on in it; else of any."""
    good_began: float | None = None


def past(history: Sequence[Summary], source: str, identity: str) -> Past:
    """*identity*: of the database at hand; others under the same name have histories of their own."""
    every = list(_of(history, source))
    own = [each for each in every if each.made.identity == identity]
    good = [each for each in every if not each.made.suspect]
    line = _line(every, identity)
    chosen = [each for each in good if each.made.identity in line] or good
    return Past(
        tuple(each.made for each in every)[-MOST:],
        own[-1].began if own else None,
        chosen[-1].made if chosen else None,
        chosen[-1].began if chosen else None,
    )


@dataclass(frozen=True, slots=True)
class _Each:
    made: Made
    began: float
    follows: str


def _line(every: Sequence[_Each], identity: str) -> set[str]:
    """The database of that *identity*, and those whose history goes on in it."""
    follows = {each.made.identity: each.follows for each in every}
    line: set[str] = set()
    while identity and identity not in line:
        line.add(identity)
        identity = follows.get(identity, "")
    return line


def _of(history: Sequence[Summary], source: str) -> Iterator[_Each]:
    for summary in history:
        for tally in summary.tallies:
            if tally.source == source:
                yield _each(summary, tally)


def _each(summary: Summary, tally: Tally) -> _Each:
    began, finished = clock.from_iso(summary.started), clock.from_iso(summary.finished)
    made = Made(
        summary.ref.id,
        summary.sequence,
        tally.source,
        tally.identity,
        finished,
        max(0.0, finished - began),
        tally.bytes,
        summary.stored,
        tally.rows,
        tally.suspect,
    )
    return _Each(made, began, tally.follows)
