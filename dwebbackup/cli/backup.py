"""`dwebbackup backup`: one backup now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from dwebbackup import assemble, networks
from dwebbackup.access import below
from dwebbackup.backup import Done, Options, back_up
from dwebbackup.cli.choosing import writer_numbers
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.memory import give_back_large_buffers
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.config import Config
from dwebbackup.errors import KeyForbids
from dwebbackup.exclusive import exclusive
from dwebbackup.keys import OwnerKey, ReaderKey, WriterKey
from dwebbackup.remembered import usual_memory
from dwebbackup.report.wording import count, duration, size


@click.command()
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME",
    help="Only this source: a configured one's name, or a URL. [DWEBBACKUP_SOURCE]",
)
@click.option("--jobs", type=int, metavar="N", help="Tables read at once. [DWEBBACKUP_JOBS]")
@click.option(
    "--max-snapshot",
    default="",
    metavar="DURATION",
    help="Fail rather than hold the snapshot open for longer: 30m, 2h. [DWEBBACKUP_MAX_SNAPSHOT]",
)
@click.option("--rate", default="", metavar="RATE", help="Put no more bytes a second: 800K, 5M. [DWEBBACKUP_RATE]")
@click.option(
    "--accept",
    is_flag=True,
    help="These are the databases that are meant: count the backup as good, though it would be suspect.",
)
@with_session
def command(
    session: Session, sources: tuple[str, ...], jobs: int | None, max_snapshot: str, rate: str, accept: bool
) -> int | None:
    """Make one backup now.

    With the 24 words it is made as the current writer; a rented machine should have a writer key instead, which
    cannot read what it wrote. A backup that says it is done can be restored. It waits for another one of the same
    writer on this machine.

    One of another database than the last under this name, or of one that has lost most of its rows or tables, is
    stored and marked as suspect: it never takes the place of a good one. Exit status 3.
    """
    config = session.config(sources=sources, jobs=jobs, max_snapshot=max_snapshot, rate=rate)
    if assemble.uploads(config) > 1:
        give_back_large_buffers()
    key = key_of(config)
    if isinstance(key, ReaderKey):
        raise KeyForbids("a reader key restores; it cannot add backups", "use a writer key, or the 24 words")
    parts = assemble.sources(config)
    recipients = assemble.recipients(config)
    begun = assemble.has_begun(config)
    store = assemble.prepared_store(config, STOP)
    notes = [] if begun else [f"a new store was begun in {store.url}: is its disk mounted?"]
    writer = _writer(key, config)
    with exclusive(writer.id), session.progress() as progress:
        options = Options(
            config.jobs,
            assemble.uploads(config),
            recipients,
            max_snapshot=config.max_snapshot,
            accept=accept,
            suspect_below=config.suspect_below,
            publishers=networks.publishers(config, STOP),
            progress=progress,
        )
        done = back_up(parts, below(store, writer.id), writer, options)
    usual_memory(os.environ).see(writer.id, done.backup.ref.sequence)
    session.report(document(done, notes), text(done, notes), good=not done.doubts)
    return session.end(done.doubts)


def document(done: Done, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The backup, for programs."""
    ref, manifest = done.backup.ref, done.backup.manifest
    return {
        "backup": ref.id,
        "sequence": ref.sequence,
        "number": manifest.number,
        "writer_id": manifest.writer,
        "manifest": {"sha256": ref.sha256, "size": done.backup.size, "links": done.links},
        "bytes_read": done.bytes_read,
        "bytes_stored": done.bytes_stored,
        "packs_new": manifest.packs,
        "seconds": round(done.seconds, 3),
        "notes": [*notes, *_notes(done)],
        "suspect": done.suspect,
        "doubts": done.doubts,
    }


def text(done: Done, notes: Sequence[str] = ()) -> str:
    """The backup, for people."""
    manifest = done.backup.manifest
    names = ", ".join(source.facts.name for source in manifest.sources)
    figures = f"{size(done.bytes_read)} read, {size(done.bytes_stored)} stored in {count(manifest.packs, 'new pack')}"
    first = f"backup {done.backup.ref.id} of {names}: {figures}, {duration(done.seconds)}"
    return "\n".join([first, *done.links, *(f"note: {note}" for note in (*notes, *_notes(done)))])


def _notes(done: Done) -> list[str]:
    return [note for source in done.backup.manifest.sources for note in source.facts.notes]


def _writer(key: WriterKey | OwnerKey, config: Config) -> WriterKey:
    if isinstance(key, WriterKey):
        return key
    return key.writer(max(writer_numbers(key, config), default=1))
