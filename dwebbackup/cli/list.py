"""`dwebbackup list`: the backups there are, oldest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from dwebbackup.access import Opened
from dwebbackup.catalog import Newest
from dwebbackup.cli.choosing import none_yet, overdue
from dwebbackup.cli.reaching import from_networks, reach
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.errors import Damaged, Incomplete
from dwebbackup.lineage import identities
from dwebbackup.manifest import ManifestRef, Summary, Tally
from dwebbackup.report.wording import size, table
from dwebbackup.standing import standings


@dataclass(frozen=True, slots=True)
class Line:
    """One backup in the list."""

    number: int
    writer_id: str
    ref: ManifestRef
    note: str
    summary: Summary | None = None
    """None when its manifest cannot be read, and no other tells of it."""
    size: int = 0
    """Sealed bytes of the manifest."""

    @property
    def tallies(self) -> tuple[Tally, ...]:
        return self.summary.tallies if self.summary else ()

    @property
    def is_counted(self) -> bool:
        """Not of those manifests from before there were tallies whose streams were too many to stand in them."""
        return all(tally.tables or tally.bytes for tally in self.tallies)


@click.command()
@from_networks
@with_session
def command(session: Session, from_networks: bool) -> int | None:
    """List the backups there are.

    Oldest first, of all writers that the key opens. What the newest manifest says of the others is taken from there;
    `dwebbackup verify` reads all of them. The note says which is the newest good one, which are suspect and why, and
    where the next one is overdue.
    """
    config = session.config()
    reached = reach(key_of(config), config, from_networks=from_networks)
    writers = reached.writers
    doubts = [*reached.doubts]
    lines = [line for opened in writers for line in _lines(opened, doubts)]
    if not lines:
        raise none_yet(writers)
    there = {line.writer_id: line.ref.sequence for line in lines if line.summary}  # the last of each is its newest
    doubts += reached.rolled_back(there)
    reached.remember(there)
    session.warn(reached.notes)
    session.show({"backups": [_document(line) for line in lines], "doubts": doubts}, _text(lines))
    status = session.end(doubts)
    return status if all(line.summary for line in lines) else Incomplete.exit_status


def _lines(opened: Opened, doubts: list[str]) -> Iterator[Line]:
    """A line for each manifest that is listed, whatever others tell of it; and for no other."""
    catalog = opened.catalog
    newest = catalog.completed(_newest(opened))
    doubts += newest.doubts
    past = {each.ref: each for each in newest.history}
    sizes = {tip.ref: tip.size for tip in newest.tips} | dict(newest.sizes)
    notes = _notes(newest)
    for ref in newest.refs:
        note = "; ".join(notes.get(ref, ()))
        yield Line(opened.number, catalog.writer, ref, note, past.get(ref), sizes.get(ref, 0))


def _newest(opened: Opened) -> Newest:
    """What is newest; a head that promises more than there is, is a doubt here, unless there is nothing at all."""
    try:
        return opened.catalog.newest()
    except Damaged:
        newest = opened.catalog.newest_for_writing()
        if not newest.refs:
            raise
        return newest


def _notes(newest: Newest) -> dict[ManifestRef, list[str]]:
    notes = {ref: list(words) for ref, words in standings(newest).items()}
    for tip in newest.tips:
        if late := overdue(tip.manifest):
            notes.setdefault(tip.ref, []).append(late)
    for ref, why in newest.passed.items():
        notes.setdefault(ref, []).append(f"unreadable: {why}")
    return notes


def _document(line: Line) -> dict[str, Any]:
    document = {
        "backup": line.ref.id,
        "sequence": line.ref.sequence,
        "sha256": line.ref.sha256,
        "number": line.number,
        "writer_id": line.writer_id,
        "note": line.note,
    }
    return document | _figures(line, line.summary) if line.summary else document


def _figures(line: Line, summary: Summary) -> dict[str, Any]:
    return {
        "started": summary.started,
        "finished": summary.finished,
        "sources": [tally.source for tally in summary.tallies],
        "tallies": [asdict(tally) for tally in summary.tallies],
        "rows": sum(tally.rows for tally in summary.tallies) if line.is_counted else None,
        "bytes_read": sum(tally.bytes for tally in summary.tallies) if line.is_counted else None,
        "bytes_stored": summary.stored + line.size,
        "packs_new": summary.packs,
    }


def _text(lines: Sequence[Line]) -> str:
    """With a column of databases where a source's name alone does not tell them apart."""
    past = [line.summary for line in lines if line.summary]
    apart = any(len(each) > 1 for each in identities(past).values())
    head = ("BACKUP", "FINISHED", "SOURCE", "DATABASE", "ROWS", "READ", "STORED", "WRITER", "NOTE")
    rows = [head, *map(_cells, lines)]
    if not apart:
        rows = [(*row[:3], *row[4:]) for row in rows]
    at = 4 if apart else 3
    return table(rows[0], rows[1:], right=range(at, at + 4))


def _cells(line: Line) -> tuple[str, ...]:
    if not line.summary:
        return line.ref.id, "", "", "", "", "", "", str(line.number), line.note
    figures = _figures(line, line.summary)
    return (
        line.ref.id,
        line.summary.finished,
        ", ".join(figures["sources"]),
        ", ".join(f"{tally.database} ({tally.identity})" for tally in line.tallies),
        f"{figures['rows']:,}" if line.is_counted else "",
        size(figures["bytes_read"]) if line.is_counted else "",
        size(figures["bytes_stored"]),
        str(line.number),
        line.note,
    )
