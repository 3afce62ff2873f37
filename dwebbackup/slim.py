"""The indexes of many backups, each fetched once; of their chunks only the lengths are kept."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from dwebbackup.catalog import Backup, Catalog
from dwebbackup.documents import encode
from dwebbackup.errors import Damaged
from dwebbackup.fetching import Layout
from dwebbackup.holdings import PARALLEL, ROOM, Unreadable, ahead, weight
from dwebbackup.manifest import Index, Manifest, ObjectRef, PackEntry


class SlimIndexes:
    """What is needed to count chunks by, since all backups together have many of them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._slim: dict[ObjectRef, Index] = {}
        self._unreadable: dict[ObjectRef, Unreadable] = {}

    def here_for(self, backups: Iterable[Backup]) -> Iterator[Backup]:
        """Each of them when its indexes are here; those of the next few are under way meanwhile."""
        for step, sealed in ahead(self._fetched, _steps(backups), ROOM, _weight):
            if isinstance(step, Backup):
                yield step
            else:
                self._note(step, self._catalog.opened(step, sealed))

    def _fetched(self, step: Backup | ObjectRef) -> tuple[Backup | ObjectRef, bytes | Damaged]:
        return step, b"" if isinstance(step, Backup) else self._catalog.fetched(step)

    def _note(self, ref: ObjectRef, read: Index | Unreadable) -> None:
        if isinstance(read, Index):
            self._slim[ref] = _slim(read)
        else:
            self._unreadable[ref] = read

    def layout(self, manifest: Manifest) -> Layout:
        """Where the chunks of a backup stand whose indexes are here. Raises `Damaged`, `KeyForbids`, `ToolMissing`."""
        for ref in manifest.indexes:
            if ref in self._unreadable:
                raise self._unreadable[ref].with_traceback(None)  # which would grow with each backup that uses it
        return Layout([self._slim[ref] for ref in manifest.indexes])

    def whole(
        self, packs: Iterable[PackEntry], spoiled: Callable[[ObjectRef, Unreadable], None]
    ) -> Iterator[list[PackEntry]]:
        """The same *packs* with the names of their chunks, an index at a time, or why it is *spoiled* meanwhile.

        A pack that stands in several indexes comes once, unless they differ in what they say of it.
        """
        wanted = {pack.sha256 for pack in packs}
        refs = [ref for ref, slim in self._slim.items() if not wanted.isdisjoint(pack.sha256 for pack in slim.packs)]
        seen: set[bytes] = set()
        for ref, index in zip(refs, self._catalog.read_indexes(refs), strict=True):
            if not isinstance(index, Index):
                spoiled(ref, index)
                continue
            new = {_description(pack): pack for pack in index.packs if pack.sha256 in wanted}
            yield [pack for description, pack in new.items() if description not in seen]
            seen.update(new)


def _steps(backups: Iterable[Backup]) -> Iterator[Backup | ObjectRef]:
    """The backups, each behind those of its indexes that no other before it has."""
    known: set[ObjectRef] = set()
    for backup in backups:
        for ref in backup.manifest.indexes:
            if ref not in known:
                known.add(ref)
                yield ref
        yield backup


def _weight(step: Backup | ObjectRef) -> int:
    return ROOM // PARALLEL if isinstance(step, Backup) else weight(step)


def _slim(index: Index) -> Index:
    packs = (replace(pack, names=b"", frames=array("I"), recipients=(), links=()) for pack in index.packs)
    return replace(index, packs=tuple(packs))


def _description(pack: PackEntry) -> bytes:
    """A digest of all that an index says of the pack."""
    return hashlib.sha256(encode("pack", pack)).digest()
