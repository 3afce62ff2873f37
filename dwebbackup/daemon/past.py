"""What the store knows of a source: for the decision at the start, for the schedule, and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dwebbackup import clock, lineage, records
from dwebbackup.access import Opened
from dwebbackup.catalog import GENESIS, Backup
from dwebbackup.daemon.decision import Holdings
from dwebbackup.daemon.status import Made
from dwebbackup.errors import Damaged, NoSuchBackup, ObjectMissing
from dwebbackup.keys import WriterKey
from dwebbackup.manifest import Genesis, Summary, Tally

BY_HAND = (
    "`dwebbackup restore BACKUP --to …` brings back the one that you name; then `dwebbackup backup --accept` says that "
    "its history goes on here"
)

MOST = 1000
"""Backups that the page shows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A backup to restore, and who has it."""

    opened: Opened
    backup: Backup


def holdings(writer: WriterKey, own: Opened, origins: Sequence[Opened], source: str) -> tuple[Holdings, Origin | None]:
    """What there is of *source*, by this writer or, where it has none yet, by those before it.

    The origin is what a key at hand can restore. Raises `StoreUnreachable`, `Damaged`: a failed look is never "none".
    """
    found = _newest(own, source)
    if writer.retired and all(opened.number < writer.retired.number for opened in origins):
        origins = ()  # the one right before this writer may have newer ones than all that can be opened
    for opened in origins:
        if found is None and opened.catalog.writer != own.catalog.writer:
            found = _newest(opened, source)
    if found is None:
        return _without_backups(writer, own, source), None
    if isinstance(found, str):
        return Holdings(doubt=found, hint=BY_HAND), None
    opened, backup = found
    tallies = [tally for tally in lineage.tallies(backup.manifest) if tally.source == source]
    tables, rows = sum(tally.tables for tally in tallies), sum(tally.rows for tally in tallies)
    able = [each for each in origins if each.catalog.writer == opened.catalog.writer]
    origin = Origin(able[0], backup) if able else None
    return Holdings(backup.ref.id, tables, rows, backup.manifest.number), origin


def _newest(opened: Opened, source: str) -> tuple[Opened, Backup] | str | None:
    """The newest good backup; why there is no such one although there may be backups; None: there are none."""
    catalog = opened.catalog
    newest = catalog.completed(catalog.newest())
    if source in lineage.sources(newest.history):
        try:
            return opened, catalog.latest(source)
        except (NoSuchBackup, Damaged) as error:
            return str(error)
    if newest.doubts:
        return f"it may be in what cannot be read: {'; '.join(newest.doubts)}"
    return None


def _without_backups(writer: WriterKey, own: Opened, source: str) -> Holdings:
    """Whether that is because nothing was ever backed up. A mark of the owner's alone does not say so."""
    store = own.catalog.store
    if writer.retired:
        before = writer.retired.number
        return Holdings(
            doubt=f"it has no backup by writer {writer.number}, which comes after writer {before}",
            hint=f"hand in the reader key of that one: `dwebbackup key reader {before}` prints it, and it belongs into "
            "DWEBBACKUP_RESTORE_KEY",
        )
    if known := lineage.sources(own.catalog.newest().history):
        return Holdings(
            doubt=f"there are backups of {', '.join(known)} here, and none of {source}",
            hint="is its name spelt as before? If it is a new database: `dwebbackup backup --source NAME`, once",
        )
    for folder in ("manifests/", "packs/", "indexes/", "restorations/"):
        if next(iter(store.list(folder)), None):
            return Holdings(
                doubt="this writer has packs in the store, and no backup: the first was never completed, or they were "
                "taken away",
                hint="look into the store; to begin all the same: `dwebbackup backup`, once",
            )
    return Holdings(begun=_begun(own))


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
    """The newest good one of that database, or of those whose history goes on in it; while it has none, of any."""
    good_began: float | None = None


def past(history: Sequence[Summary], source: str, identity: str) -> Past:
    """*identity*: of the database at hand; others under the same name have histories of their own."""
    every = list(_of(history, source))
    own = [each for each in every if each.made.identity == identity]
    good = [each for each in every if not each.made.suspect]
    line = _line(every, identity)
    chosen = [each for each in good if each.made.identity in line] or ([] if own else good)
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
                with suppress(ValueError):  # of a time that is none: nobody's work may rest on it
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
        tally.follows,
    )
    return _Each(made, began, tally.follows)
