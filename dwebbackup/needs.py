"""What backups need of a store: each object by its name, with its size and the links that lead to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dwebbackup.catalog import Backup, Catalog, Newest
from dwebbackup.holdings import PAST, Unreadable, age
from dwebbackup.manifest import Index, ManifestRef, ObjectRef, PackEntry, index_path


@dataclass(frozen=True, slots=True)
class Need:
    """An object, and how to know it."""

    name: str
    """Below the writer's prefix; it says the digest."""
    size: int
    links: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`packs`, `indexes` or `manifests`."""
        return self.name.partition("/")[0]

    def leads_to(self, scheme: str) -> bool:
        """Whether a link of that *scheme* is known; the empty one stands for any."""
        return any(link.startswith(f"{scheme}://") or not scheme for link in self.links)


@dataclass(frozen=True, slots=True)
class Needs:
    """All that some backups need."""

    objects: Mapping[str, Need]
    """By name."""
    unknown: tuple[str, ...] = ()
    """Which manifests and indexes cannot be read, so that what they name is not known."""


def counting(newest: Newest, also: Iterable[str] = ()) -> list[ManifestRef]:
    """The manifests that count, newest first: the tips, and what these vouch for and was not pruned since.

    One that a tip does not vouch for was pruned before that tip was written, though a store may have kept it. What the
    stores named in *also* list was not, whatever the others say.
    """
    tips = {tip.ref for tip in newest.tips}
    kept = {ref for tip in newest.tips for ref in tip.manifest.kept}
    stands = newest.listing.standing.union(*(newest.listing.by.get(name, frozenset()) for name in also))
    return sorted(tips | (kept & set(newest.refs) & stands), key=age, reverse=True)


def needs_of(catalog: Catalog, refs: Iterable[ManifestRef], known: Iterable[Backup] = ()) -> Needs:
    """What the manifests *refs* need; those that are *known* are not read again. Raises `StoreUnreachable`."""
    found = {backup.ref: backup for backup in known}
    objects: dict[str, Need] = {}
    indexes: dict[ObjectRef, None] = {}
    unknown = []
    for ref, read in _read(catalog, refs, found):
        if not isinstance(read, Backup):
            unknown.append(f"manifest {ref.id} cannot be read: {read}")
            continue
        indexes.update(dict.fromkeys(read.manifest.indexes))
        each = manifest_and_indexes(read)
        objects.update((need.name, need) for need in each)
    for index, content in zip(indexes, catalog.read_indexes(indexes), strict=True):
        if not isinstance(content, Index):
            unknown.append(f"index {index.sha256[:12]}… cannot be read: {content}")
            continue
        objects.update((pack.path, pack_need(pack)) for pack in content.packs)
    return Needs(objects, tuple(unknown))


def _read(
    catalog: Catalog, refs: Iterable[ManifestRef], known: Mapping[ManifestRef, Backup]
) -> Iterator[tuple[ManifestRef, Backup | Unreadable]]:
    wanted = list(refs)
    reading = catalog.read_all([ref for ref in wanted if ref not in known], without=PAST)
    for ref in wanted:
        yield ref, known[ref] if ref in known else next(reading)


def manifest_and_indexes(backup: Backup) -> Iterator[Need]:
    """What of a backup is known without reading its indexes."""
    yield Need(f"manifests/{backup.ref.name}", backup.size, backup.links)
    for ref in (*backup.manifest.indexes, backup.manifest.spilled):
        if ref:
            yield Need(index_path(ref.sha256), ref.size, ref.links)


def pack_need(pack: PackEntry) -> Need:
    return Need(pack.path, pack.size, pack.links)
