"""One writer's part of a store, filled by hand: honest packs, indexes, manifests and a head, unless a test says otherwise.

shelf = Shelf()
first = shelf.add()                     # a manifest with a head, and its ManifestRef
shelf.add(parents=(first,))             # the next one
shelf.add(parents=(first,), signer=thief)
shelf.catalog().latest()
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dwebbackup import age, chunking, records
from dwebbackup.access import below
from dwebbackup.catalog import HEAD, Catalog
from dwebbackup.compression import Compressor
from dwebbackup.keys import OwnerKey, WriterKey
from dwebbackup.manifest import (
    Head,
    Index,
    Manifest,
    ManifestRef,
    ObjectRef,
    PackEntry,
    RunWriter,
    SourceFacts,
    SourceRecord,
    StreamRecord,
    index_path,
)
from dwebbackup.manifest import Newest as NewestOf
from dwebbackup.packing import Pack, capacity
from dwebbackup.ports import Store
from dwebbackup.records import Access, Signer
from faulty import MemoryStore

OWNER = OwnerKey(bytes(range(32)))
STRANGER = OwnerKey(bytes(range(32, 64)))

FACTS = SourceFacts(
    name="app",
    kind="bytes",
    identity="bytes:1",
    database="app",
    server_version="1",
    client_version="1",
    encoding="UTF8",
    snapshot="2026-11-20T03:00:00Z",
    snapshot_seconds=0.5,
)


def digest_of(text: str) -> str:
    """Some digest, always the same for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()


def noise(size: int, seed: str = "") -> bytes:
    """Bytes that do not compress, the same in every run."""
    return hashlib.shake_128(seed.encode()).digest(size)


def signer_of(writer: WriterKey, seed: bytes | None = None) -> Signer:
    """Signs as *writer* does; with *seed*, somebody else's hand, for the writer's readers."""
    other = seed or writer.sign_seed
    public = replace(writer, sign_seed=other).verify_key
    return Signer(other, public, (writer.owner_recipient, writer.catalog_recipient))


class Shelf:
    """What one writer keeps in a store that others may use as well."""

    def __init__(self, root: MemoryStore | None = None, owner: OwnerKey = OWNER, number: int = 1) -> None:
        self.root = root or MemoryStore()
        self.owner = owner
        self.writer = owner.writer(number)
        self.store = below(self.root, self.writer.id)
        self.signer = signer_of(self.writer)
        self.recipients = (self.writer.owner_recipient, self.writer.reader_recipient)
        self.access = Access((owner.identity,), self.writer.verify_key)

    def catalog(self, store: Store | None = None) -> Catalog:
        """As its owner reads it; *store*: through this one."""
        return Catalog(store or self.store, self.writer.id, self.writer.number, self.access)

    # --- rows ---

    def pack(self, chunks: Sequence[bytes], recipients: Sequence[bytes] | None = None) -> PackEntry:
        """Store one pack, and say what is in it."""
        frames = Compressor().frames([memoryview(chunk) for chunk in chunks])
        pack = Pack(capacity(len(recipients or self.recipients)))
        for frame in frames:
            assert pack.fits(len(frame))
            pack.add(frame)
        return self.put_pack(pack.plain(full=False), chunks, frames, recipients)

    def put_pack(
        self, plain: bytes, chunks: Sequence[bytes], frames: Sequence[bytes], recipients: Sequence[bytes] | None = None
    ) -> PackEntry:
        """Store a pack with any inside; its entry says that it holds *chunks* in *frames*."""
        sealed = age.seal(plain, recipients or self.recipients)
        entry = PackEntry(
            sha256=records.digest(sealed),
            size=len(sealed),
            plain=len(plain),
            recipients=tuple(sorted(map(age.fingerprint, recipients or self.recipients))),
            names=b"".join(chunking.name(chunk, self.writer.chunk_key) for chunk in chunks),
            lengths=array("I", map(len, chunks)),
            frames=array("I", map(len, frames)),
        )
        self.store.put(entry.path, sealed)
        return entry

    # --- records ---

    def put_index(self, *packs: PackEntry, signer: Signer | None = None) -> ObjectRef:
        return self.put_object(Index(self.writer.id, packs), signer)

    def put_object(self, record: records.Sealable, signer: Signer | None = None) -> ObjectRef:
        """An index, or streams: what a manifest names by digest."""
        sealed = records.seal(record, signer or self.signer)
        ref = ObjectRef(records.digest(sealed), len(sealed))
        self.store.put(index_path(ref.sha256), sealed)
        return ref

    def manifest(self, parents: Sequence[ManifestRef] = (), **changes: object) -> Manifest:
        """An honest manifest after *parents*, with *changes*."""
        sequence = max((parent.sequence for parent in parents), default=0) + 1
        honest = Manifest(
            writer=self.writer.id,
            number=self.writer.number,
            sequence=sequence,
            run=f"{sequence:016x}",
            started=moment(sequence),
            finished=moment(sequence, 1),
            sources=(SourceRecord(replace(FACTS, snapshot=moment(sequence)), ()),),
            indexes=(),
            sealed="",
            parents=tuple(parents),
            newest=(NewestOf(FACTS.name, FACTS.identity, sequence, ""),),
        )
        return replace(honest, **changes)

    def put(self, manifest: Manifest, signer: Signer | None = None) -> ManifestRef:
        """Store a manifest under its proper name."""
        sealed = records.seal(manifest, signer or self.signer)
        ref = ManifestRef(manifest.sequence, records.digest(sealed))
        self.store.put(f"manifests/{ref.name}", sealed)
        return ref

    def add(self, parents: Sequence[ManifestRef] = (), signer: Signer | None = None, **changes: object) -> ManifestRef:
        """Store a manifest, and a head that names it."""
        ref = self.put(self.manifest(parents, **changes), signer)
        self.put_head(ref)
        return ref

    def chain(self, length: int) -> list[ManifestRef]:
        """So many backups, one after the other."""
        refs: list[ManifestRef] = []
        for _ in range(length):
            refs.append(self.add(refs[-1:], kept=tuple(refs)))
        return refs

    def put_head(self, ref: ManifestRef, seed: bytes | None = None) -> None:
        pointer = ObjectRef(ref.sha256, 1000)
        head = Head(self.writer.id, self.writer.number, ref.sequence, moment(ref.sequence, 2), pointer)
        self.store.put(HEAD, records.write_line(head, seed or self.writer.sign_seed))


def moment(sequence: int, seconds: int = 0) -> str:
    """When the backup of that sequence was taken: a day each."""
    return f"2026-11-{sequence:02d}T03:00:{seconds:02d}Z"


def stream_of(chunks: Iterable[tuple[int, int, int]], **changes: object) -> StreamRecord:
    """A stream out of (index, row, length) of its chunks."""
    writer = RunWriter()
    lengths = []
    for index, row, length in chunks:
        writer.add(index, row)
        lengths.append(length)
    honest = StreamRecord("rows", ("public", "t"), ("a",), 1, sum(lengths), len(lengths), 32768, writer.runs)
    return replace(honest, **changes)
