"""Are the backups whole? Signatures, chain and presence of packs; with data, every pack read and opened as well."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dwebbackup import lineage
from dwebbackup.access import Opened
from dwebbackup.catalog import Backup, Catalog, Newest
from dwebbackup.errors import Damaged, KeyForbids, ObjectMissing, ToolMissing
from dwebbackup.fetching import Layout, PackReader, Span, what_to_do
from dwebbackup.holdings import PAST, Unreadable
from dwebbackup.manifest import ManifestRef, ObjectRef, PackEntry, StreamRecord, Summary
from dwebbackup.needs import counting
from dwebbackup.ports import Progress
from dwebbackup.slim import SlimIndexes
from dwebbackup.stock import Finding, Stock, StoreReport

THREADS = 4
"""Packs read at once."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what was found."""

    findings: tuple[Finding, ...]
    backups: int
    packs: int
    bytes_read: int
    stores: tuple[StoreReport, ...] = ()

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


def verify(opened: Opened, backup: Backup | None, percent: float | None, progress: Progress) -> Report:
    """Check one backup, or all of the writer's. *percent* of the packs are read and opened; None reads none.

    Raises `StoreUnreachable`, and `KeyForbids` when data is to be read with a key that may not. What is
    missing or damaged is a finding, not an exception.
    """
    findings: list[Finding] = []
    listed = Listed((backup.ref,), frozenset([backup.ref])) if backup else _listed(opened, findings)
    backups = [backup] if backup else _read_all(opened.catalog, listed.refs, findings)
    stock = Stock(opened.catalog)
    if not backup and opened.owner_key:
        findings.extend(stock.marks(opened.owner_key))
    indexes = SlimIndexes(opened.catalog)
    packs: dict[str, PackEntry] = {}
    keys: dict[str, bytes] = {}
    count = 0
    for count, each in enumerate(indexes.here_for(backups), 1):  # noqa: B007
        findings.extend(Finding("warning", "catalog", doubt) for doubt in each.doubts)
        findings.extend(_standing(each, listed.told.get(each.ref)))
        entries = _check_backup(opened, each, indexes, stock, findings)
        packs.update((entry.sha256, entry) for entry in entries)
        if each.ref in listed.counting:
            stock.expect(each, entries)
        if percent is not None and entries:
            keys.update(_keys(opened, each, entries, findings))
    read = 0
    if percent is not None:
        readable = [entry for entry in packs.values() if entry.sha256 in keys and stock.copies(entry)]
        read = _read(opened, indexes, stock, _sample(readable, percent), keys, findings, progress)
    findings.extend(stock.findings())
    if not backup:
        findings.extend(_heads(stock, findings))
    return Report(tuple(findings), count, len(packs), read, stock.reports())


@dataclass(frozen=True, slots=True)
class Listed:
    """The manifests there are."""

    refs: Sequence[ManifestRef]
    counting: Collection[ManifestRef]
    """Those that every store should have (`needs.counting`)."""
    told: Mapping[ManifestRef, Summary] = field(default_factory=dict)
    """What the newest say of others."""


def _keys(
    opened: Opened, backup: Backup, entries: Iterable[PackEntry], findings: list[Finding]
) -> Iterable[tuple[str, bytes]]:
    """With which chunk key each pack is to be read."""
    try:
        key = opened.chunk_key(backup.manifest)
    except Damaged as error:
        findings.append(Finding("error", f"backup {backup.ref.id}", str(error)))
        return
    for entry in entries:
        yield entry.sha256, key


def _listed(opened: Opened, findings: list[Finding]) -> Listed:
    """All manifests; the chain as the head and they tell it."""
    catalog = opened.catalog
    try:
        newest = catalog.newest()
    except (Damaged, ToolMissing) as error:
        findings.append(Finding("error", "head", str(error)))
        refs = catalog.refs()
        return Listed(refs, set(refs))
    findings.extend(Finding("warning", "catalog", doubt) for doubt in newest.doubts)
    findings.extend(_chain(newest))
    # The very listing that the head agreed with: another might be shorter.
    return Listed(newest.refs, set(counting(newest)), {each.ref: each for each in newest.history})


def _read_all(catalog: Catalog, refs: Sequence[ManifestRef], findings: list[Finding]) -> Iterator[Backup]:
    """Every manifest that can be read, one by one."""
    for ref, read in zip(refs, catalog.read_all(refs, without=PAST), strict=True):
        if isinstance(read, Backup):
            yield read
        else:
            findings.append(Finding("error", f"manifest {ref.id}", str(read)))


def _heads(stock: Stock, findings: Sequence[Finding]) -> Sequence[Finding]:
    """That of a single store was read before: if it was bad then, it has been told."""
    heads = tuple(stock.heads())
    return () if not stock.several and any(finding.what == "head" for finding in findings) else heads


def _chain(newest: Newest) -> Iterable[Finding]:
    """What is odd about how the manifests follow each other."""
    if len(newest.tips) > 1:
        names = ", ".join(tip.ref.id for tip in newest.tips)
        yield Finding("warning", "chain", f"two machines wrote at once: {names}")
    gone = {kept for tip in newest.tips for kept in tip.manifest.kept} - set(newest.refs)
    if gone:
        named = sorted(gone, key=lambda ref: ref.sequence)
        some = ", ".join(ref.id for ref in named[:5]) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
        yield Finding(
            "warning",
            "chain",
            f"there at the newest backup, and since then pruned, which the next will know, or hidden: {some}",
        )


def _standing(backup: Backup, told: Summary | None) -> Iterable[Finding]:
    """What makes it suspect, and whether what is *told* of it is what it says itself."""
    what, own = f"backup {backup.ref.id}", lineage.summary(backup.ref, backup.manifest, told.links if told else ())
    for tally in own.tallies:
        for why in tally.suspect:
            yield Finding("notice", what, f"is suspect as a backup of {tally.source}: {why}")
    if told and told != own:
        yield Finding("warning", what, "a later manifest says of it what it does not say itself")


def _check_backup(
    opened: Opened, backup: Backup, indexes: SlimIndexes, stock: Stock, findings: list[Finding]
) -> list[PackEntry]:
    """The packs that the backup uses, each looked up in the stores' listings."""
    what = f"backup {backup.ref.id}"
    try:
        manifest = opened.catalog.whole(backup.manifest)
        layout = indexes.layout(manifest)
        used: dict[str, PackEntry] = {}
        for source in manifest.sources:
            for stream in source.streams:
                spans = list(layout.spans(stream))
                _check_stream(stream, spans)
                used.update((span.pack.sha256, span.pack) for span in spans)
    except (Damaged, KeyForbids, ToolMissing) as error:
        findings.append(Finding("error", what, str(error)))
        return []
    findings.extend(
        Finding("error", f"pack {entry.sha256[:12]}…", f"{flaw}; {what} needs it")
        for entry in used.values()
        if (flaw := stock.flaw(entry))
    )
    return list(used.values())


def _check_stream(stream: StreamRecord, spans: Sequence[Span]) -> None:
    chunks = sum(span.count for span in spans)
    size = sum(sum(span.pack.lengths[span.first : span.first + span.count]) for span in spans)
    if chunks != stream.chunks or size != stream.bytes:
        raise Damaged(f"{stream.label} has {size} bytes in {chunks} chunks, not {stream.bytes} in {stream.chunks}")


def _sample(packs: list[PackEntry], percent: float) -> list[PackEntry]:
    """At random, so that often enough means all."""
    count = min(len(packs), -(-len(packs) * percent // 100))
    return random.sample(packs, int(count))


def _read(
    opened: Opened,
    indexes: SlimIndexes,
    stock: Stock,
    packs: Sequence[PackEntry],
    keys: dict[str, bytes],
    findings: list[Finding],
    progress: Progress,
) -> int:
    progress.begin("reading packs", sum(entry.size * stock.copies(entry) for entry in packs))

    def spoiled(ref: ObjectRef, error: Unreadable) -> None:
        findings.append(Finding("error", f"index {ref.sha256[:12]}…", str(error)))

    readers = {
        key: PackReader(opened.catalog.store, opened.require_rows(), key, Layout(())) for key in set(keys.values())
    }

    def one(entry: PackEntry) -> int:
        """Its size, if it is good."""
        progress.advance(entry.size * stock.copies(entry))
        sealed = stock.read(entry) if stock.several else None
        try:
            readers[keys[entry.sha256]].check(entry, sealed)
        except (ObjectMissing, Damaged, KeyForbids) as error:
            what = f"pack {entry.sha256[:12]}…"
            told = str(error).removeprefix(f"{what} ")
            mending = f"; {what_to_do(entry)}" if isinstance(error, Damaged) else ""
            findings.append(Finding("error", what, told + mending))
            return 0
        return entry.size

    read = 0
    with ThreadPoolExecutor(THREADS, "verify") as pool:
        for group in indexes.whole(packs, spoiled):
            read += sum(pool.map(one, group))
    if stock.several:
        stock.read_others()
    progress.end()
    return read
