"""Are the backups whole? Signatures, chain and presence of packs; with data, every pack read and opened as well."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from dwebbackup.access import Opened
from dwebbackup.catalog import Backup, Newest
from dwebbackup.errors import Damaged, KeyForbids, ToolMissing
from dwebbackup.fetching import Layout, PackReader, Span
from dwebbackup.manifest import ManifestRef, PackEntry, StreamRecord
from dwebbackup.ports import Progress, Stored

THREADS = 4
"""Packs read at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    severity: Literal["error", "warning"]
    what: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what was found."""

    findings: tuple[Finding, ...]
    backups: int
    packs: int
    bytes_read: int

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


def verify(opened: Opened, backup: Backup | None, percent: float | None, progress: Progress) -> Report:
    """Check one backup, or all of the writer's. *percent* of the packs are read and opened; None reads none.

    Raises `StoreUnreachable`, and `KeyForbids` when data is to be read with a key that may not. What is
    missing or damaged is a finding, not an exception.
    """
    catalog = opened.catalog
    findings: list[Finding] = []
    backups = [backup] if backup else _all(opened, findings)
    present = {stored.name: stored for stored in catalog.store.list("packs/")}
    packs: dict[str, PackEntry] = {}
    keys: dict[str, bytes] = {}
    for each in backups:
        entries = _check_backup(opened, each, present, findings)
        packs.update((entry.sha256, entry) for entry in entries)
        if percent is not None and entries:
            keys.update(_keys(opened, each, entries, findings))
    read = 0
    if percent is not None:
        readable = [entry for entry in packs.values() if entry.sha256 in keys]
        read = _read(opened, _sample(readable, percent), keys, findings, progress)
    return Report(tuple(findings), len(backups), len(packs), read)


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


def _all(opened: Opened, findings: list[Finding]) -> list[Backup]:
    """Every manifest that can be read; the chain as the head and the manifests tell it."""
    catalog = opened.catalog
    refs: Sequence[ManifestRef]
    try:
        newest = catalog.newest()
    except (Damaged, ToolMissing) as error:
        findings.append(Finding("error", "head", str(error)))
        refs = catalog.refs()
    else:
        refs = newest.refs  # the very listing that the head agreed with: another might be shorter
        findings.extend(_chain(newest))
    backups = []
    for ref, read in zip(refs, catalog.read_all(refs), strict=True):
        if isinstance(read, Backup):
            backups.append(read)
        else:
            findings.append(Finding("error", f"manifest {ref.id}", str(read)))
    return backups


def _chain(newest: Newest) -> Iterable[Finding]:
    """What is odd about how the manifests follow each other."""
    if len(newest.tips) > 1:
        names = ", ".join(tip.ref.id for tip in newest.tips)
        yield Finding("warning", "chain", f"two machines wrote at once: {names}")
    listed = set(newest.refs)
    for tip in newest.tips:
        for kept in tip.manifest.kept:
            if kept not in listed:
                yield Finding(
                    "warning", f"manifest {kept.id}", "was there at the newest backup, and is pruned or hidden"
                )


def _check_backup(
    opened: Opened, backup: Backup, present: dict[str, Stored], findings: list[Finding]
) -> list[PackEntry]:
    """The packs that the backup uses, each looked up in the store's listing."""
    what = f"backup {backup.ref.id}"
    try:
        manifest = opened.catalog.whole(backup.manifest)
        layout = Layout(opened.catalog.indexes(manifest))
        used: dict[str, PackEntry] = {}
        for source in manifest.sources:
            for stream in source.streams:
                spans = list(layout.spans(stream))
                _check_stream(stream, spans)
                used.update((span.pack.sha256, span.pack) for span in spans)
    except (Damaged, KeyForbids, ToolMissing) as error:
        findings.append(Finding("error", what, str(error)))
        return []
    for entry in used.values():
        findings.extend(_presence(entry, present.get(entry.path), what))
    return list(used.values())


def _check_stream(stream: StreamRecord, spans: Sequence[Span]) -> None:
    chunks = sum(span.count for span in spans)
    size = sum(sum(span.pack.lengths[span.first : span.first + span.count]) for span in spans)
    if chunks != stream.chunks or size != stream.bytes:
        raise Damaged(f"{stream.label} has {size} bytes in {chunks} chunks, not {stream.bytes} in {stream.chunks}")


def _presence(entry: PackEntry, stored: Stored | None, what: str) -> Iterable[Finding]:
    if stored is None:
        yield Finding("error", f"pack {entry.sha256[:12]}…", f"is missing; {what} needs it")
    elif stored.size != entry.size:
        yield Finding(
            "error",
            f"pack {entry.sha256[:12]}…",
            f"has {stored.size} bytes, not {entry.size}; {what} needs it",
        )


def _sample(packs: list[PackEntry], percent: float) -> list[PackEntry]:
    """At random, so that often enough means all."""
    count = min(len(packs), -(-len(packs) * percent // 100))
    return random.sample(packs, int(count))


def _read(
    opened: Opened,
    packs: Sequence[PackEntry],
    keys: dict[str, bytes],
    findings: list[Finding],
    progress: Progress,
) -> int:
    progress.begin("reading packs", sum(entry.size for entry in packs))
    readers = {
        key: PackReader(opened.catalog.store, opened.require_rows(), key, Layout(())) for key in set(keys.values())
    }

    def one(entry: PackEntry) -> int:
        try:
            readers[keys[entry.sha256]].check(entry)
        except (Damaged, KeyForbids) as error:
            findings.append(Finding("error", f"pack {entry.sha256[:12]}…", str(error)))
        progress.advance(entry.size)
        return entry.size

    with ThreadPoolExecutor(THREADS, "verify") as pool:
        read = sum(pool.map(one, packs))
    progress.end()
    return read
