"""The manifest of a run whose chunks are all stored: what it took, where it stands, and what came before it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import dwebbackup
from dwebbackup import age, compression, lineage, records
from dwebbackup.catalog import Catalog, Newest
from dwebbackup.documents import encode
from dwebbackup.errors import BackupFailed
from dwebbackup.indexing import drop_unused, merge, put_index, put_sealed, runs_of, too_many
from dwebbackup.keys import WriterKey
from dwebbackup.known import Numbering
from dwebbackup.manifest import (
    Index,
    Manifest,
    ObjectRef,
    Runs,
    SourceFacts,
    SourceRecord,
    StoreNote,
    StreamRecord,
    Streams,
    Summary,
    Tally,
)
from dwebbackup.manifest import Newest as NewestOf
from dwebbackup.ports import Several, members
from dwebbackup.records import Signer
from dwebbackup.storing import INDEX_ROWS, StoredStream

SPILL = 1024 * 1024
"""Bytes of JSON from which the streams stand in an object of their own."""

Judge = Callable[[Tally, Sequence[Summary]], Tally]
"""Says what is suspect about a source, given what came before."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A source's snapshot, all its chunks stored."""

    facts: SourceFacts
    streams: tuple[StoredStream, ...]


@dataclass(frozen=True, slots=True)
class Chunks:
    """Where the chunks are that streams refer to by number."""

    numbering: Numbering
    indexes: tuple[ObjectRef, ...]
    wasteful: bool = False
    """Whether the indexes name too many packs that nothing uses, and are to be made anew."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest that lacks the times and figures of its run."""

    manifest: Manifest
    bytes_stored: int
    """Of objects that it made necessary."""


class Drafting:
    """Makes one manifest."""

    def __init__(
        self, run: str, catalog: Catalog, key: WriterKey, signer: Signer, readers: Sequence[bytes], chunks: Chunks
    ) -> None:
        self._run = run
        self._catalog = catalog
        self._store = catalog.store
        self._key = key
        self._signer = signer
        self._readers = readers
        self._chunks = chunks
        self._bytes_stored = 0

    def draft(self, taken: Sequence[Taken], newest: Newest, judge: Judge) -> Draft:
        """Raises `StoreUnreachable`, `BackupFailed`."""
        sources, indexes = self._sources(taken)
        history = newest.history
        tallies = tuple(judge(lineage.tally(source), history) for source in sources)
        sequence = max((parent.sequence for parent in newest.parents), default=0) + 1
        sources, spilled = self._spill(sources)
        manifest = Manifest(
            writer=self._key.id,
            number=self._key.number,
            sequence=sequence,
            run=self._run,
            started="",
            finished="",
            sources=sources,
            indexes=tuple(indexes),
            sealed=self._for_readers(),
            parents=newest.parents,
            kept=newest.kept,
            history=history,
            tallies=tallies,
            newest=_newest(taken, newest, sequence),
            stores=self._notes(),
            spilled=spilled,
            program=f"dwebbackup {dwebbackup.__version__}",
            retired=self._key.retired.to_bytes().hex() if self._key.retired else "",
        )
        return Draft(manifest, self._bytes_stored)

    def _sources(self, taken: Sequence[Taken]) -> tuple[tuple[SourceRecord, ...], list[ObjectRef]]:
        numbering = self._chunks.numbering
        try:
            runs = [runs_of(stream.numbers, numbering) for source in taken for stream in source.streams]
        except LookupError as error:
            raise BackupFailed(f"chunk {error} was never stored; this is a fault of dwebbackup") from error
        runs, refs = drop_unused(runs, self._chunks.indexes)
        if too_many(refs) or self._chunks.wasteful:
            runs, refs = merge(runs, refs, self._catalog.index, self._put_index, INDEX_ROWS)
            self._bytes_stored += sum(ref.size for ref in refs)
        lookup = iter(runs)
        records_ = [
            SourceRecord(source.facts, tuple(_record(stream, next(lookup)) for stream in source.streams))
            for source in taken
        ]
        return tuple(records_), refs

    def _put_index(self, index: Index) -> ObjectRef:
        return put_index(self._store, self._signer, index)

    def _spill(self, sources: tuple[SourceRecord, ...]) -> tuple[tuple[SourceRecord, ...], ObjectRef | None]:
        streams = Streams(self._key.id, self._run, tuple(source.streams for source in sources))
        if len(encode("streams", streams)) <= SPILL:
            return sources, None
        ref = put_sealed(self._store, records.seal(streams, self._signer))
        self._bytes_stored += ref.size
        return tuple(replace(source, streams=()) for source in sources), ref

    def _notes(self) -> tuple[StoreNote, ...]:
        missed = self._store.missed() if isinstance(self._store, Several) else {}
        return tuple(
            StoreNote(each.store.name, each.store.url, each.required, each.store.name not in missed)
            for each in members(self._store)
        )

    def _for_readers(self) -> str:
        """What a writer key must not open again: only readers verify chunk names."""
        document = json.dumps({"chunk_key": self._key.chunk_key.hex()}).encode()
        return base64.b64encode(age.seal(compression.compress(document), self._readers)).decode()


def _record(stream: StoredStream, runs: Runs) -> StreamRecord:
    spec = stream.spec
    return StreamRecord(
        spec.kind,
        spec.path,
        spec.columns,
        stream.rows,
        stream.bytes,
        len(stream.numbers),
        stream.average,
        runs,
        spec.part,
    )


def _newest(taken: Iterable[Taken], newest: Newest, sequence: int) -> tuple[NewestOf, ...]:
    """The newest backup of every source: these by this manifest, others as the tips knew them."""
    entries: dict[str, NewestOf] = {}
    for tip in newest.tips:
        for entry in tip.manifest.newest:
            known = replace(entry, sha256=entry.sha256 or tip.ref.sha256)
            if entry.source not in entries or entries[entry.source].sequence < known.sequence:
                entries[entry.source] = known
    for source in taken:
        entries[source.facts.name] = NewestOf(source.facts.name, source.facts.identity, sequence, "")
    return tuple(entries[name] for name in sorted(entries))
