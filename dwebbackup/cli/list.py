"""`dwebbackup list`: the backups there are, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from dwebbackup import assemble
from dwebbackup.access import Opened, open_store
from dwebbackup.catalog import Backup, Newest
from dwebbackup.cli.choosing import none_yet, overdue
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.errors import Damaged, Incomplete
from dwebbackup.manifest import ManifestRef
from dwebbackup.report.wording import size, table


@dataclass(frozen=True, slots=True)
class Line:
    """One backup in the list; *backup* is None when its manifest cannot be read."""

    number: int
    ref: ManifestRef
    backup: Backup | None
    bytes_read: int
    note: str


@click.command()
@with_session
def command(session: Session) -> int | None:
    """List the backups there are.

    Oldest first, of all writers that the key opens.
    """
    config = session.config()
    writers = open_store(key_of(config), assemble.store(config, STOP))
    doubts: list[str] = []
    lines = [line for opened in writers for line in _lines(opened, doubts)]
    if not lines:
        raise none_yet(writers)
    documents = [_document(line) for line in lines]
    session.show({"backups": documents, "doubts": doubts}, _text(lines))
    session.warn(doubts)
    return Incomplete.exit_status if doubts or not all(line.backup for line in lines) else None


def _lines(opened: Opened, doubts: list[str]) -> Iterator[Line]:
    catalog = opened.catalog
    newest = _newest(opened, doubts)
    refs = newest.refs or catalog.refs()
    tips = {tip.ref for tip in newest.tips}
    for ref, read in zip(refs, catalog.read_all(refs), strict=True):
        if not isinstance(read, Backup):
            yield Line(opened.number, ref, None, 0, f"unreadable: {read}")
            continue
        try:
            sources = catalog.whole(read.manifest).sources
        except Damaged as error:
            yield Line(opened.number, ref, None, 0, f"unreadable: {error}")
            continue
        total = sum(stream.bytes for source in sources for stream in source.streams)
        yield Line(opened.number, ref, read, total, _note(read, tips))


def _newest(opened: Opened, doubts: list[str]) -> Newest:
    """What is newest; a head that promises more than there is, is a doubt here, unless there is nothing at all."""
    try:
        newest = opened.catalog.newest()
    except Damaged as error:
        if not opened.catalog.refs():
            raise
        doubts.append(str(error))
        return Newest((), ())
    doubts += newest.doubts
    return newest


def _note(backup: Backup, tips: set[ManifestRef]) -> str:
    if backup.ref not in tips:
        return ""
    name = "newest" if len(tips) == 1 else "newest of one of two machines that wrote at once"
    return f"{name}; {late}" if (late := overdue(backup.manifest)) else name


def _document(line: Line) -> dict[str, Any]:
    document = {
        "backup": line.ref.id,
        "sequence": line.ref.sequence,
        "sha256": line.ref.sha256,
        "number": line.number,
        "note": line.note,
    }
    if line.backup:
        manifest = line.backup.manifest
        document |= {
            "writer_id": manifest.writer,
            "started": manifest.started,
            "finished": manifest.finished,
            "sources": [source.facts.name for source in manifest.sources],
            "bytes_read": line.bytes_read,
            "bytes_stored": manifest.stored + line.backup.size,
            "packs_new": manifest.packs,
        }
    return document


def _text(lines: list[Line]) -> str:
    head = ("BACKUP", "FINISHED", "SOURCE", "READ", "STORED", "WRITER", "NOTE")
    return table(head, [_cells(line) for line in lines], right=(3, 4, 5))


def _cells(line: Line) -> tuple[str, ...]:
    if not line.backup:
        return line.ref.id, "", "", "", "", str(line.number), line.note
    manifest = line.backup.manifest
    names = ", ".join(source.facts.name for source in manifest.sources)
    stored = size(manifest.stored + line.backup.size)
    return line.ref.id, manifest.finished, names, size(line.bytes_read), stored, str(line.number), line.note
