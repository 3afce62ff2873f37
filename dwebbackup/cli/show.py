"""`dwebbackup show`: one manifest, readable."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from dwebbackup.catalog import Backup
from dwebbackup.cli.choosing import Wanted, overdue
from dwebbackup.cli.reaching import from_networks, reach
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.documents import encode
from dwebbackup.lineage import tallies
from dwebbackup.manifest import Manifest, SourceRecord, Tally
from dwebbackup.report.wording import count, size, table


@click.command()
@click.argument("backup")
@from_networks
@with_session
def command(session: Session, backup: str, from_networks: bool) -> int | None:
    """Show what is in one backup.

    BACKUP is `latest`, an id from `dwebbackup list`, a time (2026-11-20T03:00, UTC: the newest backup not later
    than that), a copy of its manifest, or a link to it, as with `dwebbackup restore`.
    """
    config = session.config()
    reached = reach(key_of(config), config, backup, from_networks=from_networks)
    opened, found = reached.find(Wanted(reached.means(backup)))
    session.warn(reached.notes)
    manifest = opened.catalog.whole(found.manifest)
    session.show(json.loads(encode("manifest", manifest)), "\n".join(_lines(found, manifest)))
    return session.end(found.doubts)


def _lines(backup: Backup, manifest: Manifest) -> Iterator[str]:
    yield f"backup     {backup.ref.id}"
    yield f"manifest   {backup.ref.sha256}, {size(backup.size)}"
    yield f"writer     {manifest.number} ({manifest.writer})"
    yield f"made       {manifest.started} to {manifest.finished}, by {manifest.program}"
    yield f"stored     {size(manifest.stored)} in {count(manifest.packs, 'new pack')}"
    for parent in manifest.parents:
        yield f"after      {parent.id}"
    if manifest.next_by:
        yield f"next by    {manifest.next_by} {overdue(manifest) and '(stale)'}".rstrip()
    for note in manifest.stores:
        yield f"store      {note.name}, {note.url}"
    for index in manifest.indexes:
        yield f"index      {index.sha256}, {size(index.size)}"
        yield from (f"           {link}" for link in index.links)
    for source, tally in zip(manifest.sources, tallies(manifest), strict=True):
        yield ""
        yield from _source(source, tally)


def _source(source: SourceRecord, tally: Tally) -> Iterator[str]:
    facts = source.facts
    yield f"source     {facts.name}"
    what = f"{facts.kind} {facts.server_version}".rstrip()
    yield f"database   {', '.join(filter(None, (facts.database, what, facts.encoding)))}"
    yield f"identity   {facts.identity}"
    if tally.follows:
        yield f"follows    {tally.follows}, whose history goes on here"
    for why in tally.suspect:
        yield f"suspect    {why}"
    yield f"snapshot   {facts.snapshot}, open for {facts.snapshot_seconds:.1f} s"
    yield f"client     {facts.client_version}"
    for key, value in facts.details:
        yield f"{key.replace('_', ' '):<10} {value}"
    if facts.extensions:
        yield "extensions " + ", ".join(f"{each.name} {each.version}" for each in facts.extensions)
    for why in facts.shortfalls:
        yield f"incomplete {why}"
    for note in facts.notes:
        yield f"note       {note}"
    yield ""
    rows = [
        (
            stream.kind,
            ".".join(stream.path) + (f" part {stream.part + 1}" if stream.part else ""),
            "" if stream.rows is None else f"{stream.rows:,}",
            size(stream.bytes),
            f"{stream.chunks:,}",
        )
        for stream in source.streams
    ]
    yield table(("STREAM", "OF", "ROWS", "SIZE", "CHUNKS"), rows, right=(2, 3, 4))
