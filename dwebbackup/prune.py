"""Old backups out of a store: their manifests first, then what no manifest names and no run can want any more."""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dwebbackup import clock
from dwebbackup.access import PROBES, Opened, has
from dwebbackup.catalog import Catalog, Newest, ahead
from dwebbackup.checkpoint import GRACE, RENEWED_EVERY, over, under_way
from dwebbackup.errors import Incomplete, KeyForbids, NoSuchBackup, ObjectMissing, WrongConfiguration
from dwebbackup.inventory import Inventory, Outline
from dwebbackup.manifest import Head, ManifestRef
from dwebbackup.ports import Store, Stored, members

KEEP_WITHIN = 14 * 24 * 3600
"""Seconds for which a writer key drops no manifest: whoever steals it from a rented machine must not take along the
backups of the last days.
"""

_SWEPT = re.compile(r"(packs/([0-9a-f]{2})/(?=\2)|indexes/)[0-9a-f]{64}\.age")
"""What may be deleted once nothing names it; whatever else lies there is not ours."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which manifests go, and which stay; oldest first."""

    drop: tuple[ManifestRef, ...]
    keep: tuple[ManifestRef, ...]
    spared: tuple[tuple[ManifestRef, str], ...] = ()
    """Those that were chosen and stay all the same, and why."""
    outlines: Mapping[ManifestRef, Outline] = field(default_factory=dict, compare=False, repr=False)
    """What was read of manifests when this was planned."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What is gone."""

    manifests: tuple[ManifestRef, ...]
    objects: int = 0
    """Packs and indexes."""
    bytes: int = 0
    waits: str = ""
    """Why packs and indexes had to stay this time; a later prune deletes them."""


def plan(opened: Opened, chosen: Collection[ManifestRef], inventory: Inventory | None = None) -> Plan:
    """Decide which of *chosen* may go; nothing is deleted. What is gone already is left out.

    *inventory*: what whoever chose has read already.

    What a head names, the tips, and each source's newest good backup stay whatever anybody chooses; with a writer key,
    what is young as well. Raises `KeyForbids` for a reader key, `Damaged` when what is newest cannot be read,
    `NoSuchBackup` when there is nothing, `WrongConfiguration` for a store that cannot delete, `StoreUnreachable`.
    """
    require_right(opened)
    catalog = opened.catalog
    head = catalog.head()
    newest = catalog.newest()
    if not newest.tips:
        raise NoSuchBackup(f"{catalog.store.url} has no backup that can be read, so nothing is pruned")
    stay = _named_as_newest(head, newest)
    among = set(chosen)
    wanted = [ref for ref in newest.refs if ref in among]
    inventory = inventory or Inventory(catalog)
    if wanted:
        stay |= _newest_good(inventory, newest.refs)
    if not opened.identities:
        stay |= _young(catalog, wanted)
    drop = {ref: None for ref in wanted if ref not in stay}
    return Plan(
        tuple(drop),
        keep=tuple(ref for ref in newest.refs if ref not in drop),
        spared=tuple((ref, stay[ref]) for ref in wanted if ref in stay),
        outlines=inventory.known,
    )


def prune(opened: Opened, planned: Plan) -> Pruned:
    """Carry *planned* out. Wherever it is stopped, all that stays restores, and the next prune goes on.

    Raises `Damaged` when a manifest or an index that stays cannot be read, `Incomplete` when the store's listings do
    not show what it has, `StoreUnreachable`: then manifests are gone, and no pack or index.
    """
    store = opened.catalog.store
    _delete(store, (f"manifests/{ref.name}" for ref in planned.drop))
    now = time_of(store)
    if waits := _waits(store, now):
        return Pruned(planned.drop, waits=waits)
    named = _named(opened.catalog, planned)
    _delete(store, (stored.name for stored in over(store, now)))
    unused = [stored for stored in _old(store, now) if stored.name not in named]
    _delete(store, (stored.name for stored in unused))
    return Pruned(planned.drop, len(unused), sum(stored.size for stored in unused))


# --- what may be dropped ---


def require_right(opened: Opened) -> None:
    """Raises `KeyForbids` for a reader key, `WrongConfiguration` where no store can delete."""
    if opened.identities and opened.owner_key is None:
        raise KeyForbids("a reader key restores; it deletes nothing", "use the 24 words, or the writer's key")
    if not any(is_able(member.store) for member in members(opened.catalog.store)):
        raise WrongConfiguration(
            f"nothing can be pruned in {opened.catalog.store.url}: it does not list and delete",
            "prune where that is allowed: with the words or the writer key, and without deletes=no",
        )


def is_able(store: Store) -> bool:
    """Whether anything can be pruned there."""
    traits = store.traits
    return traits.deletes and traits.lists and traits.not_found_is_final


def _young(catalog: Catalog, refs: Collection[ManifestRef]) -> dict[ManifestRef, str]:
    """One that is not listed, though it is there, may be young."""
    now = time_of(catalog.store)
    why = f"with a writer key nothing of the last {KEEP_WITHIN // 86400} days is dropped"
    listed = catalog.listed()
    return {ref: why for ref in refs if ref not in listed or now - listed[ref].modified < KEEP_WITHIN}


def _named_as_newest(head: Head | None, newest: Newest) -> dict[ManifestRef, str]:
    """What the next backup follows, and what readers would miss."""
    stay = {}
    for tip in newest.tips:
        for entry in tip.manifest.newest:
            stay[ManifestRef(entry.sequence, entry.sha256 or tip.ref.sha256)] = f"it is the newest of {entry.source}"
    stay |= {tip.ref: "the next backup follows it" for tip in newest.tips}
    if head:
        stay[ManifestRef(head.sequence, head.manifest.sha256)] = "the head names it"
    return stay


def _newest_good(inventory: Inventory, refs: Collection[ManifestRef]) -> dict[ManifestRef, str]:
    """Of each source the newest backup that is not suspect and whose packs are all there: others stand for nothing."""
    stay: dict[ManifestRef, str] = {}
    settled: set[str] = set()
    for ref, outline in inventory.outlines(sorted(refs, key=lambda ref: ref.sequence, reverse=True)):
        if isinstance(outline, Outline):
            names = {tally.source for tally in outline.tallies if not tally.suspect} - settled
            if names and inventory.whole([ref]):
                settled |= names
                stay[ref] = f"it is the newest good one of {', '.join(sorted(names))}"
    return stay


# --- what nobody needs any more ---


def time_of(store: Store) -> float:
    """The store's own time, from an object just written; raises `Incomplete` when it does not list that yet."""
    name = f"{PROBES}{secrets.token_hex(8)}"
    store.put(name, b"")
    now = store.head(name).modified
    listed = list(store.list(PROBES))
    _delete(store, {name, *(stored.name for stored in listed if now - stored.modified >= GRACE)})
    if all(stored.name != name for stored in listed):
        raise Incomplete(
            f"the listings of {store.name} are behind, so nothing is deleted that another run may need", "try it later"
        )
    return now


def _waits(store: Store, now: float) -> str:
    """Why nothing may be deleted now but manifests; empty: it may.

    Asked before manifests are listed again: a run drops its checkpoint after it has stored its manifest.
    """
    began = clock.monotonic()
    fresh = under_way(store, now)
    if clock.monotonic() - began > RENEWED_EVERY:
        return f"{store.name} took so long to list checkpoints that it may not have shown those of a run under way"
    if not fresh:
        return ""
    return (
        f"a backup is under way, or a repair, or one was cut off less than {GRACE // 3600} hours ago ({len(fresh)}"
        " checkpoints): what it may refer to stays"
    )


def _named(catalog: Catalog, planned: Plan) -> set[str]:
    """Every pack and index that a manifest names which is listed now: others may have written meanwhile.

    What was read for planning is not read again: a manifest's name is the digest of its bytes, so it names the same
    still. What was dropped and is listed all the same is read, to see whether it is there.
    """
    newest = catalog.newest()
    _require_all_listed(catalog.store, newest, planned)
    dropped = set(planned.drop)
    inventory = Inventory(catalog, {ref: each for ref, each in planned.outlines.items() if ref not in dropped})
    names: set[str] = set()
    indexes = {}
    for ref, outline in inventory.outlines(newest.refs):
        if not isinstance(outline, Outline):
            if ref in dropped and isinstance(outline, ObjectMissing):
                continue  # deleted above, and still listed
            raise outline
        indexes.update(dict.fromkeys(outline.indexes))
        names.update(outline.paths)
    for index in catalog.each_index(indexes):
        names.update(pack.path for pack in index.packs)
    return names


def _require_all_listed(store: Store, newest: Newest, planned: Plan) -> None:
    """A manifest that is named as kept, and is not listed, was pruned by somebody; or the listing lacks something."""
    known = {*newest.refs, *planned.drop}
    kept = {ref for tip in newest.tips for ref in (*tip.manifest.parents, *tip.manifest.kept)}
    missing = sorted({*planned.keep, *kept} - known, key=lambda ref: ref.sequence)
    for ref, is_there in zip(missing, ahead(lambda ref: has(store, f"manifests/{ref.name}"), missing), strict=True):
        if is_there:
            raise Incomplete(
                f"{store.name} does not list backup {ref.id}, and has it, so no pack is deleted",
                "try it later; if it stays so, run `dwebbackup verify`",
            )
    if not newest.tips:
        raise Incomplete(f"{store.name} lists no backup that can be read any more, so no pack is deleted")


def _old(store: Store, now: float) -> Iterator[Stored]:
    """Indexes, then packs, but for those so young that a run may be about to name them."""
    for folder in ("indexes/", "packs/"):
        for stored in store.list(folder):
            if _SWEPT.fullmatch(stored.name) and now - stored.modified >= GRACE:
                yield stored


def _delete(store: Store, names: Iterable[str]) -> None:
    deque(ahead(store.delete, names), maxlen=0)
