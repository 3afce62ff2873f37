"""`dwebbackup list`: the backups there are, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click

from dwebbackup import assemble
from dwebbackup.access import Opened, open_store
from dwebbackup.catalog import Backup, Newest, sources_of
from dwebbackup.cli.choosing import none_yet, overdue
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.errors import Damaged, Incomplete
from dwebbackup.manifest import ManifestRef
from dwebbackup.report.wording import size, table


@dataclass(frozen=True, slots=True)
class Line:
    """One backup in the list."""

    number: int
    ref: ManifestRef
    note: str
    figures: Figures | None = None
    """None when its manifest cannot be read."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the list says of one backup; no more of a manifest is kept, since there may be thousands."""

    writer_id: str
    started: str
    finished: str
    sources: list[str]
    bytes_read: int | None
    """None where it would take another object to tell: the streams are too many for the manifest."""
    bytes_stored: int
    packs_new: int


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
    status = session.end(doubts)
    return status if all(line.figures for line in lines) else Incomplete.exit_status


def _lines(opened: Opened, doubts: list[str]) -> Iterator[Line]:
    catalog = opened.catalog
    newest = _newest(opened, doubts)
    refs = newest.refs or catalog.refs()
    tips = {tip.ref for tip in newest.tips}
    for ref, read in zip(refs, catalog.read_all(refs), strict=True):
        if isinstance(read, Backup):
            yield Line(opened.number, ref, _note(read, tips), _figures(read))
        else:
            yield Line(opened.number, ref, f"unreadable: {read}")


def _figures(backup: Backup) -> Figures:
    manifest = backup.manifest
    return Figures(
        manifest.writer,
        manifest.started,
        manifest.finished,
        sources_of(manifest),
        None if manifest.spilled else sum(stream.bytes for source in manifest.sources for stream in source.streams),
        manifest.stored + backup.size,
        manifest.packs,
    )


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
    return document | asdict(line.figures) if line.figures else document


def _text(lines: list[Line]) -> str:
    head = ("BACKUP", "FINISHED", "SOURCE", "READ", "STORED", "WRITER", "NOTE")
    return table(head, [_cells(line) for line in lines], right=(3, 4, 5))


def _cells(line: Line) -> tuple[str, ...]:
    figures = line.figures
    if not figures:
        return line.ref.id, "", "", "", "", str(line.number), line.note
    read = "" if figures.bytes_read is None else size(figures.bytes_read)
    stored = size(figures.bytes_stored)
    return line.ref.id, figures.finished, ", ".join(figures.sources), read, stored, str(line.number), line.note
