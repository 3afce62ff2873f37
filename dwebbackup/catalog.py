"""Which backups there are: manifests listed, read, checked against the head, and the newest one found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from dwebbackup import records
from dwebbackup.errors import Damaged, KeyForbids, NoSuchBackup, ObjectMissing, ToolMissing
from dwebbackup.manifest import (
    Head,
    Index,
    Manifest,
    ManifestRef,
    ObjectRef,
    Streams,
    index_path,
)
from dwebbackup.ports import Store
from dwebbackup.records import Access

HEAD = "head.json"
GENESIS = "genesis.json"

PARALLEL = 8
"""Manifests read at once; what counts is the store's latency."""

Record = TypeVar("Record", Manifest, Index, Streams)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Backup:
    """A manifest that was read and whose signature holds."""

    ref: ManifestRef
    manifest: Manifest
    size: int
    """Sealed bytes of the manifest."""


@dataclass(frozen=True, slots=True)
class Newest:
    """What is newest for one writer, and what was odd on the way there."""

    tips: tuple[Backup, ...]
    """Backups that no other names as its parent: one, unless two machines wrote at once."""
    refs: tuple[ManifestRef, ...]
    """All manifests listed, oldest first, good or not."""
    doubts: tuple[str, ...] = ()
    lost: ManifestRef | None = None
    """What the head says is newest, where that cannot be read."""

    @property
    def parents(self) -> tuple[ManifestRef, ...]:
        """What the next manifest follows."""
        return (*(tip.ref for tip in self.tips), *([self.lost] if self.lost else []))


class Catalog:
    """The manifests of one writer, in a store that begins at the writer's prefix."""

    def __init__(self, store: Store, writer: str, number: int, access: Access) -> None:
        self.store = store
        self.writer = writer
        self.number = number
        self._access = access

    def refs(self) -> list[ManifestRef]:
        """All manifests listed, oldest first. Raises `StoreUnreachable`: a failed listing is never "none"."""
        names = (stored.name.rpartition("/")[2] for stored in self.store.list("manifests/"))
        return sorted((ref for ref in map(ManifestRef.parse_name, names) if ref), key=_age)

    def head(self) -> Head | None:
        """The writer's own word on what is newest. Raises `Damaged`."""
        try:
            data = self.store.get(HEAD)
        except ObjectMissing:
            return None
        return records.read_line(Head, data, self._access.verify_key)

    def read(self, ref: ManifestRef) -> Backup:
        """One manifest. Raises `Damaged`, `ObjectMissing`, `ToolMissing`."""
        sealed = self.store.get(f"manifests/{ref.name}")
        records.check(f"manifest {ref.id}", sealed, ref.sha256)
        manifest = records.unseal(Manifest, sealed, self._access)
        if manifest.writer != self.writer or manifest.sequence != ref.sequence:
            raise Damaged(f"manifest {ref.id} says that it is {manifest.writer} {manifest.sequence}")
        expected = max((parent.sequence for parent in manifest.parents), default=0) + 1
        if manifest.sequence != expected:
            raise Damaged(f"manifest {ref.id} does not follow its parents (it would be {expected})")
        return Backup(ref, manifest, len(sealed))

    def read_all(self, refs: Iterable[ManifestRef]) -> list[Backup | Exception]:
        """Each manifest, or why it can't be had (`Damaged`, `KeyForbids`, `ToolMissing`); in the order asked for."""

        def one(ref: ManifestRef) -> Backup | Exception:
            try:
                return self.read(ref)
            except (Damaged, KeyForbids, ToolMissing) as error:
                return error

        return parallel(one, refs)

    def newest(self) -> Newest:
        """The tips of the chain, for a reader.

        A manifest that nobody can read, or that somebody else signed, is passed over and named in `doubts`;
        but when the head vouches for a newer one than can be read, that is an error: what is newest must not
        silently get older. Raises `Damaged`, `StoreUnreachable`.
        """
        newest = self.survey(self.head())
        if newest.lost:
            readable = ", ".join(tip.ref.id for tip in newest.tips)
            raise Damaged(
                "; ".join(newest.doubts),
                f"the newest backup that can be read is {readable}" if readable else "look into the other stores",
            )
        return newest

    def newest_for_writing(self) -> Newest:
        """The same for a writer, whom nothing of this stops: what is lost is a parent, and a doubt.

        Otherwise whoever can spoil one object could stop all backups. Raises `StoreUnreachable`.
        """
        try:
            head = self.head()
        except Damaged as error:
            newest = self.survey(None)
            return replace(newest, doubts=(*newest.doubts, f"the head was passed over: {error}"))
        return self.survey(head)

    def survey(self, head: Head | None) -> Newest:
        """What there is, against a head that was read before: a backup that ends meanwhile is then in the listing."""
        refs = self.refs()
        doubts: list[str] = []
        tips = self._tips(refs, doubts)
        reached = max((tip.ref.sequence for tip in tips), default=0)
        if head is None or head.sequence < reached or any(tip.ref.sha256 == head.manifest.sha256 for tip in tips):
            return Newest(tuple(tips), tuple(refs), tuple(doubts))
        lost = ManifestRef(head.sequence, head.manifest.sha256)
        absent = f"is not in {self.store.name}{'' if refs else ', which lists none'}"
        why = "cannot be read" if lost in refs else absent
        doubts.insert(0, f"the head names backup {lost.id}, and its manifest {why}")
        return Newest(tuple(tips), tuple(refs), tuple(doubts), lost)

    def _tips(self, refs: Sequence[ManifestRef], doubts: list[str]) -> list[Backup]:
        """Read down from the highest sequence until one stands alone and everything above it was read."""
        read: list[Backup] = []
        forked = _first_fork(refs)
        for ref in reversed(refs):
            if read and (forked is None or ref.sequence < forked):
                break
            try:
                read.append(self.read(ref))
            except (Damaged, KeyForbids) as error:
                doubts.append(f"manifest {ref.id} was passed over: {error}")
        named = {parent.sha256 for backup in read for parent in backup.manifest.parents}
        return [backup for backup in read if backup.ref.sha256 not in named]

    def latest(self) -> Backup:
        """The newest backup. Raises `NoSuchBackup` when there is none, `Damaged` when there are two."""
        newest = self.newest()
        if not newest.tips:
            raise NoSuchBackup(
                f"there is no backup of writer {self.number} ({self.writer}) in {self.store.url}",
                *([f"{len(newest.refs)} manifests are there, but none can be read"] if newest.refs else []),
            )
        if len(newest.tips) > 1:
            names = ", ".join(f"{tip.ref.id} ({tip.manifest.finished})" for tip in newest.tips)
            raise Damaged(f"two machines wrote at once, so none is the newest: {names}", "name the one you want")
        return newest.tips[0]

    def indexes(self, manifest: Manifest) -> list[Index]:
        """The indexes a manifest names, in its order."""
        return parallel(lambda ref: self._object(Index, ref), manifest.indexes)

    def index(self, ref: ObjectRef) -> Index:
        return self._object(Index, ref)

    def whole(self, manifest: Manifest) -> Manifest:
        """The manifest with its streams, wherever they stand."""
        if not manifest.spilled:
            return manifest
        spilled = self._object(Streams, manifest.spilled)
        if spilled.run != manifest.run or len(spilled.sources) != len(manifest.sources):
            raise Damaged("the streams of this manifest belong to another")
        sources = zip(manifest.sources, spilled.sources, strict=True)
        return replace(
            manifest,
            sources=tuple(replace(source, streams=streams) for source, streams in sources),
            spilled=None,
        )

    def _object(self, record: type[Record], ref: ObjectRef) -> Record:
        kind = records.kind_of(record)
        sealed = records.check(f"{kind} {ref.sha256[:12]}…", self.store.get(index_path(ref.sha256)), ref.sha256)
        value = records.unseal(record, sealed, self._access)
        if value.writer != self.writer:
            raise Damaged(f"{kind} {ref.sha256[:12]}… belongs to another writer")
        return value

    def matching(self, name: str) -> list[ManifestRef]:
        """The manifests listed that people call *name* (`ManifestRef.is_called`)."""
        return [ref for ref in self.refs() if ref.is_called(name)]

    def find(self, name: str) -> Backup:
        """The backup that *name* fits alone, or `latest`. Raises `NoSuchBackup`, `Damaged`."""
        if name == "latest":
            return self.latest()
        matches = self.matching(name)
        if len(matches) == 1:
            return self.read(matches[0])
        if matches:
            raise NoSuchBackup(f"{name} fits several: " + ", ".join(ref.id for ref in matches), "say more of it")
        raise NoSuchBackup(f"there is no backup {name}", "`dwebbackup list` shows what there is")

    def before(self, moment: str) -> Backup:
        """The newest backup whose snapshot is not later than *moment* (as `clock.iso` writes it).

        Raises `NoSuchBackup`, and `Damaged` when one that cannot be read may be the one that is meant.
        """
        unread: list[str] = []
        refs = self.refs()
        for ref, read in reversed(list(zip(refs, self.read_all(refs), strict=True))):
            if not isinstance(read, Backup):
                unread.append(f"manifest {ref.id} cannot be read: {read}")
            elif snapshot_of(read.manifest) > moment:
                unread.clear()
            elif unread:
                raise Damaged("; ".join(unread), f"the newest before it is {read.ref.id}; name it if that will do")
            else:
                return read
        raise NoSuchBackup(f"no backup is as old as {moment}", "`dwebbackup list` shows what there is")


def snapshot_of(manifest: Manifest) -> str:
    """The state a restore brings back is of this moment."""
    return max((source.facts.snapshot for source in manifest.sources), default=manifest.started)


def parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Every item's result, in order; a few at a time."""
    with ThreadPoolExecutor(PARALLEL, "catalog") as pool:
        return list(pool.map(work, items))


def _age(ref: ManifestRef) -> tuple[int, str]:
    return ref.sequence, ref.sha256


def _first_fork(refs: Sequence[ManifestRef]) -> int | None:
    """The lowest sequence that two manifests share."""
    return next((one.sequence for one, two in itertools.pairwise(refs) if one.sequence == two.sequence), None)
