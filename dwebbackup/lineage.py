"""Whether a backup is of the database that its line of backups came from; and which one is the newest good one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dwebbackup.errors import Damaged, NoSuchBackup
from dwebbackup.manifest import Manifest, ManifestRef, Restoration, SourceRecord, StreamRecord, Summary, Tally

ROWS = "rows"
"""The kind of the streams that are tables, whatever the kind of the source."""

_COUNTED = (ROWS, "files")
"""The kinds of the streams whose rows are counted: of a folder, these are its files."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A source in a backup."""

    ref: ManifestRef
    tally: Tally

    @property
    def is_good(self) -> bool:
        return not self.tally.suspect


def tally(source: SourceRecord) -> Tally:
    """The figures of a source whose streams are at hand; nothing is judged yet."""
    facts, rows = source.facts, [stream for stream in source.streams if stream.kind == ROWS]
    counted = [stream for stream in source.streams if stream.kind in _COUNTED]
    return Tally(
        facts.name,
        facts.identity,
        facts.database,
        facts.snapshot,
        len({stream.path for stream in rows}),
        sum(stream.rows or 0 for stream in counted),
        sum(stream.bytes for stream in source.streams),
        fingerprint(rows),
    )


def fingerprint(tables: Iterable[StreamRecord]) -> str:
    """16 hex digits that change with the names of tables and of their columns, and with nothing else."""
    named = sorted({(stream.path, stream.columns) for stream in tables})
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]


def summary(ref: ManifestRef, manifest: Manifest, links: tuple[str, ...] = ()) -> Summary:
    """What later manifests say of this one, which can be had under *links*."""
    return Summary(
        ref.sequence,
        ref.sha256,
        manifest.started,
        manifest.finished,
        manifest.stored,
        manifest.packs,
        tallies(manifest),
        links,
    )


def tallies(manifest: Manifest) -> tuple[Tally, ...]:
    return manifest.tallies or tuple(map(tally, manifest.sources))


def history(
    backups: Iterable[tuple[ManifestRef, Manifest, tuple[str, ...]]], others: Iterable[Summary] = ()
) -> tuple[Summary, ...]:
    """All that these, with their links, say of themselves and of those before them, and *others*, oldest first."""
    found = {each.ref: each for each in others}
    for ref, manifest, links in backups:
        found.update((each.ref, each) for each in manifest.history)
        found[ref] = summary(ref, manifest, links)
    return tuple(sorted(found.values(), key=lambda each: (each.sequence, each.sha256)))


def entries(past: Iterable[Summary]) -> Iterator[Entry]:
    return (Entry(each.ref, tally) for each in past for tally in each.tallies)


# --- is this the one that was meant? ---


def judge(found: Tally, past: Sequence[Summary], restoration: Restoration | None, share: float) -> Tally:
    """*found* with what is suspect about it, against the good ones of the *past*.

    A database that was never backed up before is suspect where another one was, unless a *restoration* tells that it
    was filled from there. One that holds less than *share* (0 to 1) of the rows or of the tables is suspect, too.
    """
    good = [entry for entry in entries(past) if entry.tally.source == found.source and entry.is_good]
    own = [entry for entry in good if entry.tally.identity == found.identity]
    if own:
        return replace(found, follows=own[-1].tally.follows, suspect=tuple(_shrunk(found, own[-1], share)))
    if restoration and (restoration.source, restoration.identity) == (found.source, found.identity):
        origin = [entry for entry in good if entry.ref == restoration.backup]
        suspect = tuple(_shrunk(found, origin[-1], share)) if origin else ()
        return replace(found, follows=restoration.follows, suspect=suspect)
    if good:
        return replace(found, suspect=(_other(found, good[-1]), *_shrunk(found, good[-1], share)))
    return found


def accept(found: Tally, past: Sequence[Summary]) -> Tally:
    """The user's word that *found* is the one that was meant: it continues what was backed up before."""
    good = [entry.tally for entry in entries(past) if entry.tally.source == found.source and entry.is_good]
    own = [tally for tally in good if tally.identity == found.identity]
    if own and good[-1].identity == found.identity:
        return replace(found, suspect=(), follows=own[-1].follows)
    return replace(found, suspect=(), follows=good[-1].identity if good else "")


def _other(found: Tally, last: Entry) -> str:
    before = last.tally
    tables = ", with the same tables" if found.fingerprint == before.fingerprint else ", with other tables"
    kind, about = ("folder", "") if _is_folder(found) else ("database", tables)
    return (
        f"it is of another {kind} ({found.database}, {found.identity}{about}) than backup {last.ref.id} "
        f"({before.database}, {before.identity}), and was not restored from it by a sidecar"
    )


def _is_folder(found: Tally) -> bool:
    """By its identity, which says what kind of source it is of."""
    return found.identity.startswith("files:")


def _shrunk(found: Tally, last: Entry, share: float) -> Iterator[str]:
    for what, now, before in (
        ("files" if _is_folder(found) else "rows", found.rows, last.tally.rows),
        ("tables", found.tables, last.tally.tables),
    ):
        if now < share * before:
            yield f"it has {now:,} {what}, and backup {last.ref.id} had {before:,}"


# --- which is the newest good one? ---


@dataclass(frozen=True, slots=True)
class Choice:
    """The newest good backup of a source, and what its user should know."""

    entry: Entry
    doubts: tuple[str, ...] = ()


def sources(past: Sequence[Summary]) -> list[str]:
    """The names of all that was ever backed up."""
    return sorted({entry.tally.source for entry in entries(past)})


def newest(past: Sequence[Summary], source: str) -> Choice:
    """The newest good backup of *source*.

    Where a database was restored from another one's backup, its history goes on in the new one. Raises
    `NoSuchBackup` where none is good; `Damaged` where two databases are backed up under one name and nothing says
    which is meant, or two machines wrote at once.
    """
    known = [entry for entry in entries(past) if entry.tally.source == source]
    good = [entry for entry in known if entry.is_good]
    if not good:
        why = f": {known[-1].ref.id} is suspect, {known[-1].tally.suspect[0]}" if known else ""
        raise NoSuchBackup(
            f"there is no good backup of {source}{why}",
            f"there are backups of {', '.join(sources(past)) or 'nothing'}",
        )
    chosen, *late = _ends(good)
    if late:
        raise Damaged(f"two databases are backed up as {source}: {_told([chosen, *late])}", "name the one you want")
    return Choice(chosen, tuple(_doubts(chosen, known)))


def identities(past: Iterable[Summary]) -> dict[str, set[str]]:
    """Of each source, the databases that were backed up under its name."""
    found: dict[str, set[str]] = {}
    for entry in entries(past):
        found.setdefault(entry.tally.source, set()).add(entry.tally.identity)
    return found


def ends(past: Sequence[Summary], source: str) -> list[Entry]:
    """The newest good backup of *source*; where `newest` would not choose, those that it would have to choose from."""
    good = [entry for entry in entries(past) if entry.tally.source == source and entry.is_good]
    return _ends(good) if good else []


def _ends(good: Sequence[Entry]) -> list[Entry]:
    last = {entry.tally.identity: entry for entry in good}  # the later one of each
    followed = {entry.tally.follows for entry in last.values()}
    heirs = [entry for identity, entry in last.items() if identity not in followed] or [good[-1]]
    chosen = max(heirs, key=lambda entry: entry.ref.sequence)
    others = [entry for entry in last.values() if entry is not chosen]
    return [chosen, *(entry for entry in others if entry.ref.sequence >= chosen.ref.sequence or entry in heirs)]


def _doubts(chosen: Entry, known: Sequence[Entry]) -> Iterator[str]:
    later = [entry for entry in known if entry.ref.sequence > chosen.ref.sequence and not entry.is_good]
    if later:
        reasons = "; ".join(later[-1].tally.suspect)
        yield f"a newer backup, {later[-1].ref.id}, is suspect, and was passed over: {reasons}"


def _told(found: Iterable[Entry]) -> str:
    return ", ".join(
        f"{entry.ref.id} (snapshot {entry.tally.snapshot}) of {entry.tally.database}, {entry.tally.identity}"
        for entry in found
    )
