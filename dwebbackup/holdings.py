"""What one writer has in a store, object by object: each is fetched, checked and opened, or it says why not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from dwebbackup import records
from dwebbackup.errors import Damaged, KeyForbids, ObjectMissing, ToolMissing
from dwebbackup.manifest import (
    Head,
    Index,
    Manifest,
    ManifestRef,
    ObjectRef,
    Restoration,
    Streams,
    index_path,
    restoration_path,
)
from dwebbackup.ports import Store, Stored
from dwebbackup.records import Access, Signer

HEAD = "head.json"
GENESIS = "genesis.json"

PARALLEL = 8
"""Manifests read at once; what counts is the store's latency."""

ROOM = 9 * 1024 * 1024
"""Bytes of indexes fetched and not yet decoded, at most: one may have 3 MiB."""

PAST = ("kept", "history")
"""What a manifest says of those before it. After a thousand backups that is nearly all of it, and takes ten times as
long to decode as the rest: whoever reads them all and asks each about itself reads them without.
"""

Record = TypeVar("Record", Manifest, Index, Streams)
Item = TypeVar("Item")
Result = TypeVar("Result")

Unreadable = Damaged | KeyForbids | ToolMissing
"""Why a manifest can't be had."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A manifest that was read and whose signature holds."""

    ref: ManifestRef
    manifest: Manifest
    size: int
    """Sealed bytes of the manifest."""
    doubts: tuple[str, ...] = ()
    """What was odd where it was chosen; whoever restores it should be told."""


class Holdings:
    """The objects of one writer, in a store that begins at the writer's prefix."""

    def __init__(self, store: Store, writer: str, number: int, access: Access) -> None:
        self.store = store
        self.writer = writer
        self.number = number
        self._access = access

    def refs(self) -> list[ManifestRef]:
        """All manifests listed, oldest first. Raises `StoreUnreachable`: a failed listing is never "none"."""
        return list(self.listed())

    def listed(self) -> dict[ManifestRef, Stored]:
        """The same, and what the listing tells of each."""
        found = {ManifestRef.parse_name(each.name.rpartition("/")[2]): each for each in self.store.list("manifests/")}
        return {ref: found[ref] for ref in sorted(filter(None, found), key=age)}

    def sizes(self) -> dict[ManifestRef, int]:
        """The same, and how many bytes each has."""
        return {ref: each.size for ref, each in self.listed().items()}

    def head(self) -> Head | None:
        """The writer's own word on what is newest. Raises `Damaged`."""
        try:
            data = self.store.get(HEAD)
        except ObjectMissing:
            return None
        return records.read_line(Head, data, self._access.verify_key)

    def read(self, ref: ManifestRef, without: Collection[str] = ()) -> Backup:
        """One manifest; fields named in *without* (`PAST`) are empty in it. Raises `Damaged`, `ObjectMissing`,
        `ToolMissing`.
        """
        sealed = self.store.get(f"manifests/{ref.name}")
        records.check(f"manifest {ref.id}", sealed, ref.sha256)
        manifest = records.unseal(Manifest, sealed, self._access, without)
        if manifest.writer != self.writer or manifest.sequence != ref.sequence:
            raise Damaged(f"manifest {ref.id} says that it is {manifest.writer} {manifest.sequence}")
        expected = max((parent.sequence for parent in manifest.parents), default=0) + 1
        if manifest.sequence != expected:
            raise Damaged(f"manifest {ref.id} does not follow its parents (it would be {expected})")
        return Backup(ref, manifest, len(sealed))

    def read_all(self, refs: Iterable[ManifestRef], without: Collection[str] = ()) -> Iterator[Backup | Unreadable]:
        """Each manifest, or why it can't be had; in the order asked for, and only a few in memory at once."""

        def one(ref: ManifestRef) -> Backup | Unreadable:
            try:
                return self.read(ref, without)
            except (Damaged, KeyForbids, ToolMissing) as error:
                return error

        return ahead(one, refs)

    def put_restoration(self, restoration: Restoration, signer: Signer) -> None:
        """Let the history of a database go on in the one that was filled from its backup."""
        self.store.put(restoration_path(restoration.identity), records.seal(restoration, signer))

    def restoration(self, identity: str) -> Restoration | None:
        """The word that the database of this *identity* was filled from a backup. Raises `Damaged`."""
        try:
            sealed = self.store.get(restoration_path(identity))
        except ObjectMissing:
            return None
        restoration = records.unseal(Restoration, sealed, self._access)
        if restoration.writer != self.writer or restoration.identity != identity:
            raise Damaged(f"the restoration of {identity} is of another database or writer")
        return restoration

    def indexes(self, manifest: Manifest) -> list[Index]:
        """The indexes a manifest names, in its order."""
        return list(self.each_index(manifest.indexes))

    def each_index(self, refs: Iterable[ObjectRef]) -> Iterator[Index]:
        """These indexes, in the order asked for. Raises why the first that can't be had can't."""
        for read in self.read_indexes(refs):
            if not isinstance(read, Index):
                raise read
            yield read

    def read_indexes(self, refs: Iterable[ObjectRef]) -> Iterator[Index | Unreadable]:
        """Each of these indexes, or why it can't be had; in the order asked for.

        A few are fetched at once, and one at a time is decoded, which takes six times its sealed size.
        """
        for ref, sealed in ahead(lambda ref: (ref, self.fetched(ref)), refs, ROOM, weight):
            yield self.opened(ref, sealed)

    def fetched(self, ref: ObjectRef) -> bytes | Damaged:
        """An index as it is stored, or why it can't be had; `opened` opens it."""
        try:
            return self._sealed("index", ref)
        except Damaged as error:
            return error

    def opened(self, ref: ObjectRef, sealed: bytes | Damaged) -> Index | Unreadable:
        """The index, or why it can't be had."""
        if not isinstance(sealed, bytes):
            return sealed
        try:
            return self._unsealed(Index, ref, sealed)
        except (Damaged, KeyForbids, ToolMissing) as error:
            return error

    def index(self, ref: ObjectRef) -> Index:
        return self._object(Index, ref)

    def whole(self, manifest: Manifest) -> Manifest:
        """The manifest with its streams, wherever they stand."""
        if not manifest.spilled:
            return manifest
        spilled = self.streams(manifest.spilled, manifest.run, len(manifest.sources))
        sources = zip(manifest.sources, spilled.sources, strict=True)
        return replace(
            manifest,
            sources=tuple(replace(source, streams=streams) for source, streams in sources),
            spilled=None,
        )

    def streams(self, ref: ObjectRef, run: str, sources: int) -> Streams:
        """Those of a manifest that stand in an object of their own. Raises `Damaged` where they are another's."""
        spilled = self._object(Streams, ref)
        if spilled.run != run or len(spilled.sources) != sources:
            raise Damaged("the streams of this manifest belong to another")
        return spilled

    def _object(self, record: type[Record], ref: ObjectRef) -> Record:
        return self._unsealed(record, ref, self._sealed(records.kind_of(record), ref))

    def _sealed(self, kind: str, ref: ObjectRef) -> bytes:
        return records.check(f"{kind} {ref.sha256[:12]}…", self.store.get(index_path(ref.sha256)), ref.sha256)

    def _unsealed(self, record: type[Record], ref: ObjectRef, sealed: bytes) -> Record:
        value = records.unseal(record, sealed, self._access)
        if value.writer != self.writer:
            raise Damaged(f"{records.kind_of(record)} {ref.sha256[:12]}… belongs to another writer")
        return value


def snapshot_of(manifest: Manifest) -> str:
    """The state a restore brings back is of this moment."""
    return max((source.facts.snapshot for source in manifest.sources), default=manifest.started)


def sources_of(manifest: Manifest) -> list[str]:
    """The names of what it is a backup of."""
    return [source.facts.name for source in manifest.sources]


def ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    most: int = PARALLEL,
    weight: Callable[[Item], int] = lambda _: 1,
) -> Iterator[Result]:
    """Every item's result, in order. As many as weigh *most* together, and one more, are worked on before they are
    asked for, and no more are held.
    """
    with ThreadPoolExecutor(PARALLEL, "catalog") as pool:
        waiting: deque[tuple[int, Future[Result]]] = deque()
        held = 0
        try:
            for item in items:
                waiting.append((weight(item), pool.submit(work, item)))
                held += waiting[-1][0]
                while held > most:
                    weighs, future = waiting.popleft()
                    held -= weighs
                    yield future.result()
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            for _, future in waiting:
                future.cancel()


def weight(ref: ObjectRef) -> int:
    """What an index takes of `ROOM`; small ones as much as if no more than `PARALLEL` had room."""
    return max(ref.size, ROOM // PARALLEL)


def age(ref: ManifestRef) -> tuple[int, str]:
    """To sort by, oldest first."""
    return ref.sequence, ref.sha256
