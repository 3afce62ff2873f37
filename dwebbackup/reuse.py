"""What a run may refer to instead of storing it again: chunks of the last backup and of runs that were cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dwebbackup.catalog import Catalog
from dwebbackup.errors import Damaged, ObjectMissing
from dwebbackup.known import KnownChunks, Numbering
from dwebbackup.manifest import NAME_SIZE, Index, ObjectRef, PackEntry
from dwebbackup.ports import Stored

REUSE_MAX = 90 * 24 * 3600
"""Seconds after which a pack's chunks are written anew, so that nothing rests on one old copy for ever."""


@dataclass(frozen=True, slots=True)
class Reusable:
    """The table of known chunks, and the indexes that their numbers stand for."""

    known: KnownChunks
    numbering: Numbering
    refs: tuple[ObjectRef, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a pack's chunks count as known."""

    present: Mapping[str, Stored]
    """What the store lists below `packs/`, by name."""
    now: float
    """The store's own time."""
    recipients: frozenset[str]
    """Fingerprints of everybody the packs must be readable by today."""

    def allow(self, pack: PackEntry) -> bool:
        """It is there in full, for everybody, and not too old."""
        stored = self.present.get(pack.path)
        return (
            stored is not None
            and stored.size == pack.size
            and self.recipients.issubset(pack.recipients)
            and self.now - stored.modified < REUSE_MAX
        )


def reusable(catalog: Catalog, refs: Iterable[ObjectRef], conditions: Conditions) -> Reusable:
    """Load what the indexes *refs* name. An index that cannot be read makes its chunks unknown, no more."""
    known = KnownChunks()
    numbers: list[int] = []
    usable: list[ObjectRef] = []
    for ref in dict.fromkeys(refs):
        try:
            index = catalog.index(ref)
        except (Damaged, ObjectMissing):
            continue
        _load(known, index, conditions)
        numbers.append(index.rows)
        usable.append(ref)
    return Reusable(known, Numbering(numbers), tuple(usable))


def _load(known: KnownChunks, index: Index, conditions: Conditions) -> None:
    for pack in index.packs:
        known.load(pack.names, NAME_SIZE, known=conditions.allow(pack))
