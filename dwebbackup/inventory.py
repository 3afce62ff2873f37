"""What a prune knows of a writer's backups: each manifest read once, in outline; and whether what it names is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from dwebbackup import lineage
from dwebbackup.catalog import Backup, Catalog
from dwebbackup.errors import Damaged
from dwebbackup.holdings import PAST, Unreadable
from dwebbackup.manifest import Index, Manifest, ManifestRef, ObjectRef, Tally, index_path


@dataclass(frozen=True, slots=True)
class Outline:
    """What one manifest says, without its streams and without its past: there may be thousands."""

    run: str
    finished: str
    """As it says itself."""
    sources: int
    tallies: tuple[Tally, ...]
    indexes: tuple[ObjectRef, ...]
    spilled: ObjectRef | None

    @classmethod
    def of(cls, manifest: Manifest) -> Outline:
        return cls(
            manifest.run,
            manifest.finished,
            len(manifest.sources),
            lineage.tallies(manifest),
            manifest.indexes,
            manifest.spilled,
        )

    @property
    def paths(self) -> Iterator[str]:
        """Of the objects that it names itself; its indexes name the packs."""
        return (index_path(each.sha256) for each in [*self.indexes, self.spilled] if each)


class Inventory:
    """A writer's manifests, as far as anybody asked for them.

    What was read of one stays true: its name is the digest of its bytes. What could not be read is tried again.
    """

    def __init__(self, catalog: Catalog, outlines: Mapping[ManifestRef, Outline] | None = None) -> None:
        self._catalog = catalog
        self._outlines = dict(outlines or {})
        self._refs: dict[ObjectRef, ObjectRef] = {}  # manifests name mostly the same indexes: each is held once
        self._packs: dict[ObjectRef, list[tuple[str, int]]] = {}
        self._whole: dict[ManifestRef, bool] = {}

    @property
    def known(self) -> Mapping[ManifestRef, Outline]:
        """What was read so far."""
        return dict(self._outlines)

    def outlines(self, refs: Collection[ManifestRef]) -> Iterator[tuple[ManifestRef, Outline | Unreadable]]:
        """Each of these, or why it can't be had; in the order asked for. Raises `StoreUnreachable`."""
        unknown = {ref: None for ref in refs if ref not in self._outlines}
        reading = self._catalog.read_all(unknown, without=PAST)
        for ref in refs:
            if ref in unknown:
                read = next(reading)
                if not isinstance(read, Backup):
                    yield ref, read
                    continue
                self._outlines[ref] = self._slim(Outline.of(read.manifest))
            yield ref, self._outlines[ref]

    def _slim(self, outline: Outline) -> Outline:
        return replace(outline, indexes=tuple(self._refs.setdefault(ref, ref) for ref in outline.indexes))

    def whole(self, refs: Collection[ManifestRef]) -> set[ManifestRef]:
        """Those of which all that they name is in the store, as long as it should be. Each is looked at once."""
        if new := [ref for ref in refs if ref not in self._whole]:
            found = {ref: each for ref, each in self.outlines(new) if isinstance(each, Outline)}
            self._read_indexes(found.values())
            told = {ref: each.indexes for ref, each in found.items() if self._is_told(each)}
            lacking = self._lacking({index for indexes in told.values() for index in indexes})
            self._whole.update((ref, ref in told and lacking.isdisjoint(told[ref])) for ref in new)
        return {ref for ref in refs if self._whole[ref]}

    def _read_indexes(self, outlines: Iterable[Outline]) -> None:
        """What cannot be read stays unknown."""
        new = {ref: None for each in outlines for ref in each.indexes if ref not in self._packs}
        for ref, read in zip(new, self._catalog.read_indexes(new), strict=True):
            if isinstance(read, Index):
                self._packs[ref] = [(pack.path, pack.size) for pack in read.packs]
            elif not isinstance(read, Damaged):
                raise read

    def _is_told(self, outline: Outline) -> bool:
        """Whether its indexes are known, and its streams are there."""
        if not all(ref in self._packs for ref in outline.indexes):
            return False
        try:
            if outline.spilled:
                self._catalog.streams(outline.spilled, outline.run, outline.sources)
        except Damaged:
            return False
        return True

    def _lacking(self, indexes: Collection[ObjectRef]) -> set[ObjectRef]:
        """Those that name a pack which is not listed, or not with that size."""
        wanted = {pack for index in indexes for pack in self._packs[index]}
        for stored in self._catalog.store.list("packs/") if wanted else ():
            wanted.discard((stored.name, stored.size))
        return {index for index in indexes if not wanted.isdisjoint(self._packs[index])}
