"""What one writer has in a store, object by object: each is fetched, checked and opened, or it says why not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

from dwebbackup import records
from dwebbackup.errors import Damaged, DwebbackupError, KeyForbids, ObjectMissing, StoreUnreachable, ToolMissing
from dwebbackup.links.uris import ipfs_link
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
from dwebbackup.ports import Member, Store, Stored, members
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
    links: tuple[str, ...] = ()
    """Under which networks have the manifest."""
    doubts: tuple[str, ...] = ()
    """What was odd where it was chosen; whoever restores it should be told."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The manifests that stores list."""

    found: Mapping[ManifestRef, Stored]
    """Oldest first."""
    unheard: tuple[str, ...] = ()
    """Why what is newest may not be among them: no store that must have everything could tell."""
    standing: frozenset[ManifestRef] = frozenset()
    """Those that were not pruned: what is listed by stores that must have everything, and of which something can be
    deleted, as far as these have anything; another may be behind, or never lose anything.
    """
    by: Mapping[str, frozenset[ManifestRef]] = field(default_factory=dict)
    """What each store lists that answered, by its name."""

    @property
    def bare(self) -> tuple[str, ...]:
        """Names of the stores that list nothing, where others do."""
        return tuple(name for name, refs in self.by.items() if not refs) if self.found else ()


class Holdings:
    """The objects of one writer, in a store that begins at the writer's prefix."""

    def __init__(self, store: Store, writer: str, number: int, access: Access) -> None:
        self.store = store
        self.writer = writer
        self.number = number
        self._access = access
        self._links: dict[ManifestRef, tuple[str, ...]] = {}

    @property
    def verify_key(self) -> bytes:
        """By which the writer's signatures are checked."""
        return self._access.verify_key

    def within(self, store: Store) -> Self:
        """What the same writer has in another store, such as one of several."""
        return type(self)(store, self.writer, self.number, self._access)

    def refs(self) -> list[ManifestRef]:
        """All manifests listed, oldest first. Raises `StoreUnreachable`: a failed listing is never "none"."""
        return list(self.listed())

    def listed(self) -> Mapping[ManifestRef, Stored]:
        """The same, and what the listing tells of each."""
        return self.listing().found

    def listing(self) -> Listing:
        """The same from all stores that answer; one that must have everything is enough to know of everything.

        Raises `StoreUnreachable` where nothing was found, and not all could be asked.
        """
        found: dict[ManifestRef, Stored] = {}
        heard: list[tuple[Member, frozenset[ManifestRef]]] = []
        failures = []
        for member, outcome in ahead(self._listed_by, self._listing_members()):
            if isinstance(outcome, StoreUnreachable):
                failures.append(outcome)
                continue
            named = {ManifestRef.parse_name(each.name.rpartition("/")[2]): each for each in outcome}
            listed = {ref: each for ref, each in named.items() if ref}
            found = {**listed, **found}
            heard.append((member, frozenset(listed)))
        if failures and not found:
            raise failures[0]
        return Listing(
            {ref: found[ref] for ref in sorted(found, key=age)},
            tuple(_unheard(heard, failures)),
            _standing(heard),
            {member.store.name: refs for member, refs in heard},
        )

    def _listing_members(self) -> list[Member]:
        return [each for each in members(self.store) if each.store.traits.lists]

    def _listed_by(self, member: Member) -> tuple[Member, Sequence[Stored] | StoreUnreachable]:
        try:
            return member, tuple(member.store.list("manifests/"))
        except StoreUnreachable as error:
            return member, error

    def head(self) -> Head | None:
        """The writer's own word on what is newest: of several stores, the newest word.

        Raises `Damaged`; `ToolMissing` where one of them has the word of a newer version.
        """
        heads = [head for _, head in self.heads()]
        for head in heads:
            if isinstance(head, ToolMissing):
                raise head
        found = [head for head in heads if isinstance(head, Head)]
        for head in found:
            self.learn(ManifestRef(head.sequence, head.manifest.sha256), head.manifest.links)
        if found:
            return max(found, key=lambda head: (head.sequence, head.manifest.sha256))
        failures = [head for head in heads if isinstance(head, DwebbackupError)]
        for failure in sorted(failures, key=lambda each: isinstance(each, StoreUnreachable)):
            raise failure
        return None

    def heads(self) -> list[tuple[Member, Head | Damaged | StoreUnreachable | ToolMissing | None]]:
        """The head in each store, or why it cannot be had."""
        return list(ahead(self._head_in, self._listing_members()))

    def _head_in(self, member: Member) -> tuple[Member, Head | Damaged | StoreUnreachable | ToolMissing | None]:
        try:
            return member, records.read_line(Head, member.store.get(HEAD), self._access.verify_key)
        except ObjectMissing:
            return member, None
        except (Damaged, StoreUnreachable, ToolMissing) as error:
            return member, error

    def learn(self, ref: ManifestRef, links: Sequence[str]) -> None:
        """Where else a manifest is."""
        self._links[ref] = tuple(dict.fromkeys((*self._links.get(ref, ()), *links)))

    def read(self, ref: ManifestRef, without: Collection[str] = ()) -> Backup:
        """One manifest; fields named in *without* (`PAST`) are empty in it. Raises `Damaged`, `ObjectMissing`,
        `ToolMissing`.
        """
        sealed = self.store.get(f"manifests/{ref.name}", self._links.get(ref, ()))
        records.check(f"manifest {ref.id}", sealed, ref.sha256)
        manifest = records.unseal(Manifest, sealed, self._access, without)
        if manifest.writer != self.writer or manifest.sequence != ref.sequence:
            raise Damaged(f"manifest {ref.id} says that it is {manifest.writer} {manifest.sequence}")
        expected = max((parent.sequence for parent in manifest.parents), default=0) + 1
        if manifest.sequence != expected:
            raise Damaged(f"manifest {ref.id} does not follow its parents (it would be {expected})")
        for each in manifest.history:
            self.learn(each.ref, each.links)
        self.learn(ref, [ipfs_link(sealed)])
        return Backup(ref, manifest, len(sealed), self._links[ref])

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
        name, failure = restoration_path(identity), None
        for sealed in self.copies(name):
            try:
                return self.opened_restoration(name, sealed)
            except (Damaged, KeyForbids) as error:
                failure = error
        if failure:
            raise failure
        return None

    def copies(self, name: str) -> Iterator[bytes]:
        """What has that name in each of several stores: who looks for more than its digest takes the one that is good.

        Raises `StoreUnreachable` behind all that there are, where a store did not answer and none had it.
        """
        failure, found = None, False
        for member in self._listing_members():
            try:
                data = member.store.get(name)
            except ObjectMissing:
                continue
            except StoreUnreachable as error:
                failure = error
                continue
            found = True
            yield data
        if failure and not found:
            raise failure

    def opened_restoration(self, name: str, sealed: bytes) -> Restoration:
        """The one that belongs under this *name*. Raises `Damaged`, `KeyForbids`, `ToolMissing`."""
        restoration = records.unseal(Restoration, sealed, self._access)
        if restoration.writer != self.writer or restoration_path(restoration.identity) != name:
            raise Damaged(f"the restoration of {restoration.identity} is of another database or writer")
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
        sealed = self.store.get(index_path(ref.sha256), ref.links)
        return records.check(f"{kind} {ref.sha256[:12]}…", sealed, ref.sha256)

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


def _unheard(heard: Sequence[tuple[Member, frozenset[ManifestRef]]], failures: Sequence[object]) -> Iterator[str]:
    """Why it is not certain that nothing newer is anywhere: nothing, where one that must have everything tells."""
    if any(member.required and refs for member, refs in heard) or not any(refs for _, refs in heard):
        return
    yield from (f"there may be newer backups: {failure}" for failure in failures)
    for member, _ in heard:
        if member.required:
            yield f"store {member.store.name}, which must have everything, has no backup, and another store has some"


def _standing(heard: Sequence[tuple[Member, frozenset[ManifestRef]]]) -> frozenset[ManifestRef]:
    telling = [(member, refs) for member, refs in heard if refs]
    required = [(member, refs) for member, refs in telling if member.required]
    deleting = [(member, refs) for member, refs in required if member.store.traits.deletes]
    return frozenset(ref for _, refs in deleting or required or telling for ref in refs)
