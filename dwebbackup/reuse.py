"""What a run may refer to instead of storing it again: chunks of the last backup and of runs that were cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dwebbackup.catalog import Catalog
from dwebbackup.errors import Damaged
from dwebbackup.known import KnownChunks, Numbering
from dwebbackup.manifest import NAME_SIZE, Index, ObjectRef, PackEntry
from dwebbackup.ports import Store, Stored, members
from dwebbackup.sparse import Spans, Use, is_wasteful, sparse, together, uses

REUSE_MAX = 90 * 24 * 3600
"""Seconds after which a pack's chunks are written anew, so that nothing rests on one old copy for ever."""


@dataclass(frozen=True, slots=True)
class Reusable:
    """The table of known chunks, and the indexes that their numbers stand for."""

    known: KnownChunks
    numbering: Numbering
    refs: tuple[ObjectRef, ...]
    wasteful: bool = False
    """Whether these indexes name too many packs of which the last backup used nothing."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a pack's chunks count as known."""

    times: Mapping[str, float]
    """Each store's own time, by its name."""
    recipients: frozenset[str]
    """Fingerprints of everybody the packs must be readable by today."""

    def allow(self, pack: _Loaded, stored: Stored, now: float) -> bool:
        """It is there in full, for everybody, and not too old."""
        return (
            stored.size == pack.size and self.recipients.issubset(pack.recipients) and now - stored.modified < REUSE_MAX
        )


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A pack of an index whose chunks have their numbers."""

    path: str
    size: int
    recipients: tuple[str, ...]
    links: tuple[str, ...]
    first: int
    count: int


def reusable(
    catalog: Catalog, refs: Iterable[ObjectRef], conditions: Conditions, spans: Spans | None = None
) -> Reusable:
    """Load what the indexes *refs* name. An index that cannot be read makes its chunks unknown, no more.

    *spans*: what the last backups use. Packs of which that is little do not count, so that they fall out of use.
    """
    known = KnownChunks()
    found: list[Use] = []
    numbers: list[int] = []
    usable: list[ObjectRef] = []
    packs: dict[str, list[_Loaded]] = {}
    wanted = list(dict.fromkeys(refs))
    for ref, index in zip(wanted, catalog.read_indexes(wanted), strict=True):
        if isinstance(index, Damaged):
            continue
        if not isinstance(index, Index):
            raise index
        for pack in index.packs:
            packs.setdefault(pack.path, []).append(_load(known, pack))
        if spans and ref in spans:
            found += uses(index, spans[ref])
        numbers.append(index.rows)
        usable.append(ref)
    found = together(found)
    for path in sparse(found):
        del packs[path]
    live = {use.path: use.live for use in found}
    # A chunk that is in two packs is taken from the one that is in use: else one that is sparse would come back for it.
    for loaded in sorted(
        _everywhere(packs, catalog.store, conditions), key=lambda pack: (-live.get(pack.path, 0), pack.first)
    ):
        known.trust(loaded.first, loaded.count)
    return Reusable(known, Numbering(numbers), tuple(usable), is_wasteful(found))


def _load(known: KnownChunks, pack: PackEntry) -> _Loaded:
    return _Loaded(pack.path, pack.size, pack.recipients, pack.links, known.load(pack.names, NAME_SIZE), len(pack))


def _everywhere(packs: Mapping[str, Sequence[_Loaded]], store: Store, conditions: Conditions) -> Iterable[_Loaded]:
    """Those packs that every required store has; one that lists nothing, where it gave a link.

    Of all that the stores list, which may be the packs of years, nothing is kept here.
    """
    left = {pack.first: pack for each in packs.values() for pack in each if pack.count}
    for member in members(store):
        if member.required and left:
            left = {pack.first: pack for pack in _there(packs, member.store, conditions) if pack.first in left}
    return left.values()


def _there(packs: Mapping[str, Sequence[_Loaded]], store: Store, conditions: Conditions) -> Iterator[_Loaded]:
    if not store.traits.lists:
        scheme = f"{store.traits.scheme}://"
        all_packs = (pack for each in packs.values() for pack in each)
        yield from (pack for pack in all_packs if any(link.startswith(scheme) for link in pack.links))
        return
    now = conditions.times[store.name]
    for stored in store.list("packs/"):
        yield from (pack for pack in packs.get(stored.name, ()) if conditions.allow(pack, stored, now))
