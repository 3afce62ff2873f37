"""Which backups there are: manifests listed, read, checked against the head, and the newest one found."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

INDEXES = 3
"""Indexes fetched at once: they may have 3 MiB each."""

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
    passed: frozenset[ManifestRef] = frozenset()
    """Manifests that were passed over: they cannot be read, or somebody else signed them."""

    @property
    def parents(self) -> tuple[ManifestRef, ...]:
        """What the next manifest follows."""
        return (*(tip.ref for tip in self.tips), *([self.lost] if self.lost else []))

    @property
    def kept(self) -> tuple[ManifestRef, ...]:
        """What the next manifest vouches for: everything listed but what anybody may have put there."""
        return tuple(ref for ref in self.refs if ref not in self.passed or ref == self.lost)


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

    def read_all(self, refs: Iterable[ManifestRef]) -> Iterator[Backup | Unreadable]:
        """Each manifest, or why it can't be had; in the order asked for, and only a few in memory at once."""

        def one(ref: ManifestRef) -> Backup | Unreadable:
            try:
                return self.read(ref)
            except (Damaged, KeyForbids, ToolMissing) as error:
                return error

        return ahead(one, refs)

    def newest(self) -> Newest:
        """The tips of the chain, for a reader.

        A manifest that nobody can read, or that somebody else signed, is passed over and named in `doubts`;
        but when the head vouches for a newer one than can be read, that is an error: what is newest must not
        silently get older. Raises `Damaged`, `StoreUnreachable`, `ToolMissing`.
        """
        newest = self._survey_unless_moving(self.head())
        if newest.lost:
            readable = ", ".join(tip.ref.id for tip in newest.tips)
            raise Damaged(
                "; ".join(newest.doubts),
                f"the newest backup that can be read is {readable}" if readable else "look into the other stores",
            )
        return newest

    def newest_for_writing(self) -> Newest:
        """The same for a writer, whom nothing of this stops: what is lost is a parent, and a doubt.

        Otherwise whoever can spoil one object could stop all backups. What this writer signed with a newer version
        does stop it: nobody builds on what he cannot read. Raises `StoreUnreachable`, `ToolMissing`.
        """
        try:
            head = self.head()
        except Damaged as error:
            newest = self.survey(None)
            return replace(newest, doubts=(*newest.doubts, f"the head was passed over: {error}"))
        return self._survey_unless_moving(head)

    def _survey_unless_moving(self, head: Head | None) -> Newest:
        """A survey again and again, as long as something is odd about it and the head has moved on meanwhile.

        While manifests are listed and read, a backup may end and a prune drop those that it saw.
        """
        while True:
            newest = self.survey(head)
            if not newest.doubts:
                return newest
            before, head = head, self._head_after(head)
            if head == before:
                return newest

    def _head_after(self, head: Head | None) -> Head | None:
        """The head as it is now, if it can be read."""
        try:
            return self.head() or head
        except Damaged:
            return head

    def survey(self, head: Head | None) -> Newest:
        """What there is, against a head that was read before: a backup that ends meanwhile is then in the listing.

        A manifest that the head names is read even if a listing leaves it out.
        """
        listed = self.refs()
        named = ManifestRef(head.sequence, head.manifest.sha256) if head else None
        hidden = [named] if named and named not in listed and named.sequence >= _highest(listed) else []
        passed: dict[ManifestRef, str] = {}
        tips = self._tips([*listed, *hidden], passed)
        doubts = list(passed.values())
        found = {tip.ref for tip in tips}
        if named is None or named.sequence < _highest(found) or named in found:
            seen = [ref for ref in hidden if ref in found]
            doubts += [f"{self.store.name} does not list backup {ref.id}, and has it" for ref in seen]
            return Newest(tuple(tips), (*listed, *seen), tuple(doubts), passed=frozenset(passed))
        absent = f"is not in {self.store.name}{'' if listed else ', which lists none'}"
        why = "cannot be read" if named in listed else absent
        doubts.insert(0, f"the head names backup {named.id}, and its manifest {why}")
        return Newest(tuple(tips), tuple(listed), tuple(doubts), named, frozenset(passed))

    def _tips(self, refs: Sequence[ManifestRef], passed: dict[ManifestRef, str]) -> list[Backup]:
        """What no other names as its parent. What cannot be read is *passed* over, and why.

        A manifest that a later one has in its `kept` is not read: if it was a tip then, it is a parent of that one.
        """
        read = self._read_from_above(refs, passed)
        tips = _unnamed(read)
        if len(tips) > 1:  # one may have been away while its child was written, and that child was not read
            lowest = min(tip.ref.sequence for tip in tips)
            known = {backup.ref for backup in read} | set(passed)
            unread = [ref for ref in refs if ref.sequence > lowest and ref not in known]
            read += [each for each in self.read_all(unread) if isinstance(each, Backup)]
            tips = _unnamed(read)
        return tips

    def _read_from_above(self, refs: Sequence[ManifestRef], passed: dict[ManifestRef, str]) -> list[Backup]:
        read: list[Backup] = []
        kept: set[ManifestRef] = set()
        for ref in reversed(refs):
            if ref in kept:
                continue
            try:
                read.append(self.read(ref))
            except (Damaged, KeyForbids) as error:
                passed[ref] = _passed_over(ref, error)
            else:
                kept.update(read[-1].manifest.kept)
        return read

    def latest(self) -> Backup:
        """The newest backup, with doubts. Raises `NoSuchBackup` when there is none, `Damaged` when there are two."""
        newest = self.newest()
        if not newest.tips:
            raise NoSuchBackup(
                f"there is no backup of writer {self.number} ({self.writer}) in {self.store.url}",
                *([f"{len(newest.refs)} manifests are there, but none can be read"] if newest.refs else []),
            )
        if len(newest.tips) > 1:
            names = ", ".join(f"{tip.ref.id} ({tip.manifest.finished})" for tip in newest.tips)
            raise Damaged(f"two machines wrote at once, so none is the newest: {names}", "name the one you want")
        return replace(newest.tips[0], doubts=newest.doubts)

    def indexes(self, manifest: Manifest) -> list[Index]:
        """The indexes a manifest names, in its order."""
        return list(self.each_index(manifest.indexes))

    def each_index(self, refs: Collection[ObjectRef]) -> Iterator[Index]:
        """These indexes, in the order asked for.

        A few are fetched at once, and one at a time is decoded, which takes six times their sealed size.
        """
        fetched = ahead(lambda ref: self._sealed("index", ref), refs, INDEXES)
        for ref, sealed in zip(refs, fetched, strict=True):
            yield self._unsealed(Index, ref, sealed)

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
        return self._unsealed(record, ref, self._sealed(records.kind_of(record), ref))

    def _sealed(self, kind: str, ref: ObjectRef) -> bytes:
        return records.check(f"{kind} {ref.sha256[:12]}…", self.store.get(index_path(ref.sha256)), ref.sha256)

    def _unsealed(self, record: type[Record], ref: ObjectRef, sealed: bytes) -> Record:
        value = records.unseal(record, sealed, self._access)
        if value.writer != self.writer:
            raise Damaged(f"{records.kind_of(record)} {ref.sha256[:12]}… belongs to another writer")
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

    def before(self, moment: str, source: str | None = None) -> Backup:
        """The newest backup, of *source* if named, whose snapshot is not later than *moment* (as `clock.iso` has it).

        What cannot be read, and may be the one that is meant, is a doubt; but where the head or a later manifest
        vouches for it, raises `Damaged`. Raises `NoSuchBackup`.
        """
        doubts: list[str] = []
        vouched = set(self._named(doubts))
        refs = sorted({*self.refs(), *vouched}, key=_age, reverse=True)
        unread: list[str] = []
        for ref, read in zip(refs, self.read_all(refs), strict=True):
            if isinstance(read, Backup):
                vouched.update(_vouched_for(read.manifest))
                if snapshot_of(read.manifest) > moment:
                    unread.clear()
                    continue
                if source and source not in sources_of(read.manifest):
                    continue
                if unread:
                    raise Damaged("; ".join(unread), f"the newest before it is {ref.id}; name it if that will do")
                return replace(read, doubts=tuple(doubts))
            if ref in vouched or isinstance(read, ToolMissing):
                unread.append(f"manifest {ref.id} cannot be read: {read}")
            else:
                doubts.append(_passed_over(ref, read))
        if unread:
            raise Damaged("; ".join(unread), "no backup before it can be read")
        raise NoSuchBackup(f"no backup is as old as {moment}", "`dwebbackup list` shows what there is")

    def _named(self, doubts: list[str]) -> list[ManifestRef]:
        """What the head names; a head that cannot be read is a doubt."""
        try:
            head = self.head()
        except Damaged as error:
            doubts.append(f"the head was passed over: {error}")
            return []
        return [ManifestRef(head.sequence, head.manifest.sha256)] if head else []


def snapshot_of(manifest: Manifest) -> str:
    """The state a restore brings back is of this moment."""
    return max((source.facts.snapshot for source in manifest.sources), default=manifest.started)


def sources_of(manifest: Manifest) -> list[str]:
    """The names of what it is a backup of."""
    return [source.facts.name for source in manifest.sources]


def ahead(work: Callable[[Item], Result], items: Iterable[Item], most: int = PARALLEL) -> Iterator[Result]:
    """Every item's result, in order; *most* are worked on before they are asked for, and no more are held."""
    with ThreadPoolExecutor(most, "catalog") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _unnamed(backups: Sequence[Backup]) -> list[Backup]:
    """Those that no other names as its parent."""
    named = {parent.sha256 for backup in backups for parent in backup.manifest.parents}
    return [backup for backup in backups if backup.ref.sha256 not in named]


def _vouched_for(manifest: Manifest) -> Iterator[ManifestRef]:
    """What was a backup when *manifest* was written. A higher sequence than its own in `kept` is anybody's junk."""
    yield from manifest.parents
    yield from (ref for ref in manifest.kept if ref.sequence < manifest.sequence)


def _passed_over(ref: ManifestRef, error: Exception) -> str:
    return f"manifest {ref.id} was passed over: {error}"


def _age(ref: ManifestRef) -> tuple[int, str]:
    return ref.sequence, ref.sha256


def _highest(refs: Iterable[ManifestRef]) -> int:
    return max((ref.sequence for ref in refs), default=0)
