"""A retention policy put to one writer's backups: what is known of them becomes candidates, and a plan of what goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from dwebbackup import clock, prune
from dwebbackup.access import Opened
from dwebbackup.errors import DwebbackupError, Interrupted, KeyForbids, StoreUnreachable, WrongConfiguration
from dwebbackup.inventory import Inventory, Outline
from dwebbackup.manifest import ManifestRef, Tally
from dwebbackup.ports import Member, members
from dwebbackup.prune import Plan, Pruned
from dwebbackup.retention import CLOCKS_DIFFER, Candidate, Decision, Policy, decide

Times = Mapping[ManifestRef, Sequence[float]]
"""When each of the stores that are required took a backup in, by its own clock."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A backup, and what becomes of it."""

    ref: ManifestRef
    finished: str
    """As it says itself."""
    sources: tuple[str, ...]
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a policy makes of one writer's backups; nothing is deleted yet."""

    judged: tuple[Judged, ...]
    """Oldest first; those that cannot be read are not among them, and stay."""
    plan: Plan
    undercut: tuple[str, ...] = ()
    """Sources of which the policy alone would keep fewer good backups than its floor."""
    unread: tuple[str, ...] = ()
    """Which manifests cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one writer's backups in one store."""

    member: Member
    number: int
    """Of the writer."""
    selection: Selection | None = None
    pruned: Pruned | None = None
    """None in a dry run."""
    passed_over: str = ""
    """Why nothing had to be done there."""
    problem: DwebbackupError | None = None
    """Why it could not be done."""

    @property
    def name(self) -> str:
        """Of the store."""
        return self.member.store.name


def prune_each(opened: Opened, policy: Policy, *, dry_run: bool = False) -> list[Outcome]:
    """Prune each store by itself: by its own clock and by what it lists. One that fails holds up none of the others.

    Raises, for a store that is the only one, what `select` and `prune.prune` do; else what is wrong with all of them.
    """
    stores = members(opened.catalog.store)
    if len(stores) == 1:
        return [_prune(opened, stores[0], policy, {}, dry_run=dry_run)]
    prune.require_right(opened)
    times = _times(opened)
    return [_prune_unless(opened, member, policy, times, dry_run=dry_run) for member in stores]


def _times(opened: Opened) -> Times:
    found: dict[ManifestRef, list[float]] = {}
    for member in members(opened.catalog.store):
        if member.required and member.store.traits.lists:
            with suppress(StoreUnreachable):  # it is told of when it is its turn
                for ref, stored in opened.within(member.store).catalog.listed().items():
                    found.setdefault(ref, []).append(stored.modified)
    return found


def _prune(opened: Opened, member: Member, policy: Policy, times: Times, *, dry_run: bool) -> Outcome:
    selection = select(opened, policy, times)
    return Outcome(member, opened.number, selection, None if dry_run else prune.prune(opened, selection.plan))


def _prune_unless(opened: Opened, member: Member, policy: Policy, times: Times, *, dry_run: bool) -> Outcome:
    """One of several stores, unless something hinders."""
    if not prune.is_able(member.store):
        return Outcome(member, opened.number, passed_over="it cannot list and delete, so all that it has stays there")
    alone = opened.within(member.store)
    try:
        if not alone.catalog.refs():
            return Outcome(member, opened.number, passed_over="it holds no backup")
        return _prune(alone, member, policy, times, dry_run=dry_run)
    except (Interrupted, KeyForbids, WrongConfiguration):
        raise
    except DwebbackupError as error:
        return Outcome(member, opened.number, problem=error)


def select(opened: Opened, policy: Policy, times: Times | None = None) -> Selection:
    """Decide which of the writer's backups go. Raises what `prune.plan` does.

    *times*: when other stores took them in. They count for copies that came here long after they were made.

    Each backup is asked itself, and none is believed what it says of others: whoever stole a writer key could call
    old ones suspect, and have them dropped.
    """
    prune.require_right(opened)
    catalog = opened.catalog
    now = prune.time_of(catalog.store)
    listed, inventory = catalog.listed(), Inventory(catalog)
    known: dict[ManifestRef, _Known] = {}
    unread = []
    for ref, outline in inventory.outlines(listed):
        if isinstance(outline, Outline):
            known[ref] = _known(outline, [listed[ref].modified, *(times or {}).get(ref, ())])
        else:
            unread.append(f"manifest {ref.id} stays, since it cannot be read: {outline}")
    candidates = _checked(inventory, list(_candidates(known)), policy.floor)
    decisions = decide(policy, candidates, now)
    plan = prune.plan(opened, [each.ref for each in decisions if not each.keep], inventory)
    undercut = {name for each in decisions if each.undercut for name in known[each.ref].sources}
    spared = dict(plan.spared)
    judged = tuple(_judged(each, known[each.ref], spared.get(each.ref, "")) for each in decisions)
    return Selection(judged, plan, tuple(sorted(undercut)), tuple(unread))


@dataclass(frozen=True, slots=True)
class _Known:
    """What one manifest says, and when the store took it in."""

    finished: str
    modified: float
    tallies: tuple[Tally, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(tally.source for tally in self.tallies)

    @property
    def seconds(self) -> float:
        """1970 where it is no time: then it agrees with no store's."""
        try:
            return clock.from_iso(self.finished)
        except ValueError:
            return 0.0


def _known(outline: Outline, taken: Sequence[float]) -> _Known:
    """With the first of these times that agrees with what the backup says itself, or else the very first."""
    said = _Known(outline.finished, taken[0], outline.tallies)
    agreed = (each for each in taken if abs(each - said.seconds) <= CLOCKS_DIFFER)
    return replace(said, modified=next(agreed, taken[0]))


def _judged(decision: Decision, known: _Known, spared: str) -> Judged:
    keep, reasons = (True, (f"spared: {spared}",)) if spared else (decision.keep, decision.reasons)
    return Judged(decision.ref, known.finished, known.sources, keep, reasons)


def _candidates(known: dict[ManifestRef, _Known]) -> Iterator[Candidate]:
    origins = _origins(known.values())
    for ref, each in known.items():
        for tally in each.tallies:
            identity = _first(tally.identity, origins)
            yield Candidate(ref, tally.source, identity, each.seconds, each.modified, not tally.suspect)


def _origins(known: Iterable[_Known]) -> dict[str, str]:
    """Which database each one continues: as its first good backup says, since later ones may be anybody's."""
    origins: dict[str, str] = {}
    for each in sorted(known, key=lambda each: each.modified):
        for tally in each.tallies:
            if not tally.suspect:
                origins.setdefault(tally.identity, tally.follows)
    return origins


def _first(identity: str, origins: dict[str, str]) -> str:
    """Under what identity the history began that this database continues."""
    seen: set[str] = set()
    while identity not in seen and origins.get(identity):
        seen.add(identity)
        identity = origins[identity]
    return min(seen) if identity in seen else identity


def _checked(inventory: Inventory, candidates: Sequence[Candidate], floor: int) -> list[Candidate]:
    """The same; so many of each source as the floor demands are looked at, and what lost something is not good."""
    checked = list(candidates)
    settled: set[ManifestRef] = set()
    while todo := {each.ref for each in _newest_good(checked, floor)} - settled:
        lost = todo - inventory.whole(todo)
        checked = [replace(each, good=False) if each.ref in lost else each for each in checked]
        settled |= todo
    return checked


def _newest_good(candidates: Sequence[Candidate], floor: int) -> Iterator[Candidate]:
    for source in {each.source for each in candidates}:
        good = [each for each in candidates if each.source == source and each.good]
        yield from sorted(good, key=lambda each: each.ref.sequence)[-floor:]
