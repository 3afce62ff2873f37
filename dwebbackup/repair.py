"""What one store lost, copied from another: what each lacks of the backups that count, found and put there again."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dwebbackup.access import Opened
from dwebbackup.catalog import HEAD, Backup, Catalog
from dwebbackup.copying import Copying
from dwebbackup.errors import DwebbackupError, NoSuchBackup, StoreUnreachable, WrongConfiguration
from dwebbackup.heads import IPNS_RECORD
from dwebbackup.manifest import ManifestRef
from dwebbackup.needs import Need, Needs, counting, needs_of
from dwebbackup.ports import Member, Progress, Quiet, Several, members
from dwebbackup.report.wording import count
from dwebbackup.signed import Signed, look_at_signed
from dwebbackup.whereabouts import Readings, Shortfall, Whereabouts, look, shortfalls

PATIENCE = 600.0
"""Seconds for which a backup, before it begins, copies what stores lack that are not required."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user wants of a repair."""

    data: bool = False
    """Every copy is read and compared with its digest, rather than looked up in a listing."""
    into: tuple[str, ...] = ()
    """Names of the stores to repair; none: all."""
    out_of: tuple[str, ...] = ()
    """Names of the stores to copy from; none: all, and what links lead to."""
    ipns_key: bytes | None = None
    """The writer's public one, by which its IPNS record is checked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What each store lacks of one writer's backups; nothing is copied yet."""

    shortfalls: tuple[Shortfall, ...]
    signed: tuple[Signed, ...]
    """What stands under fixed names, and which stores lack the copy that counts."""
    unknown: tuple[str, ...]
    """What cannot be repaired, since nobody can read what names it."""
    notes: tuple[str, ...]
    where: Whereabouts = field(repr=False)
    needs: tuple[Need, ...] = field(repr=False)
    """All that the backups that count need, lacking or not."""
    head: ManifestRef | None
    """What the head that counts says is newest."""
    out_of: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not any(each.lacking for each in self.shortfalls) and not any(each.lacking for each in self.signed)


@dataclass(frozen=True, slots=True)
class Mended:
    """What was put into one store."""

    name: str
    required: bool
    objects: int
    bytes: int
    problem: DwebbackupError | None
    """Why it may still lack something."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """How a repair went."""

    stores: tuple[Mended, ...]
    lost: tuple[str, ...]
    """What was lacking and could not be had from anywhere, and why."""
    doubts: tuple[str, ...]
    """What came of telling the networks of the head again."""


def plan(opened: Opened, choice: Choice, progress: Progress | None = None) -> Plan:
    """Find out what each store lacks of the backups that count; nothing is changed, and no row is opened.

    A store that does not answer is told of in its shortfall. Raises `NoSuchBackup` where no backup can be read,
    `StoreUnreachable` where that cannot be told, `WrongConfiguration` for a name that no store has.
    """
    catalog = opened.catalog
    stores = members(catalog.store)
    _require_names(stores, (*choice.into, *choice.out_of))
    newest = catalog.newest_for_writing()
    if not newest.tips:
        raise NoSuchBackup(f"no backup of writer {catalog.number} can be read in {catalog.store.url}")
    where = look(stores)
    needs = needs_of(catalog, counting(newest, choice.out_of), newest.tips)
    readings = Readings()
    if choice.data:
        _read(readings, where, needs, progress or Quiet())
    signed = look_at_signed(opened, where, choice.ipns_key, thoroughly=choice.data)
    readings.problems.update(signed.problems)
    lost = [f"backup {newest.lost.id}, which the head names, cannot be read"] if newest.lost else []
    return Plan(
        tuple(_wanted(each, choice) for each in shortfalls(where, needs.objects.values(), readings)),
        tuple(_wanted_of_signed(each, choice) for each in signed.objects),
        (*needs.unknown, *lost),
        tuple(_notes(where, needs, choice)),
        where,
        tuple(needs.objects.values()),
        signed.head,
        choice.out_of,
    )


def _require_names(stores: Sequence[Member], names: Sequence[str]) -> None:
    known = [member.store.name for member in stores]
    for name in names:
        if name not in known:
            raise WrongConfiguration(f"no store is called {name}", f"there is: {', '.join(known)}")


def _read(readings: Readings, where: Whereabouts, needs: Needs, progress: Progress) -> None:
    wanted = list(needs.objects.values())
    progress.begin("reading copies", sum(need.size * len(where.holders(need)) for need in wanted))
    readings.read_all(where, wanted, progress.advance)
    progress.end()


def _wanted(shortfall: Shortfall, choice: Choice) -> Shortfall:
    """Nothing of a store that is not to be repaired. Where no names are kept, what has no link there cannot be found
    there, whoever puts it there: it is not missing.
    """
    if choice.into and shortfall.name not in choice.into:
        return Shortfall(shortfall.member, present=shortfall.present)
    traits = shortfall.member.store.traits
    if traits.lists:
        return shortfall
    return replace(shortfall, missing=tuple(need for need in shortfall.missing if need.leads_to(traits.scheme)))


def _wanted_of_signed(signed: Signed, choice: Choice) -> Signed:
    if not choice.into:
        return signed
    return replace(signed, lacking={name: why for name, why in signed.lacking.items() if name in choice.into})


def _notes(where: Whereabouts, needs: Needs, choice: Choice) -> Iterator[str]:
    for _, member in where.answering():
        name, traits = member.store.name, member.store.traits
        if traits.lists or (choice.into and name not in choice.into):
            continue
        if not choice.data:
            yield f"{name} keeps no names: whether it has what the links lead to is only found out with --data"
        without = sum(not need.leads_to(traits.scheme) for need in needs.objects.values())
        if without:
            yield f"{name} did not take {count(without, 'object')}: no link leads there, and none can be added"


# --- copying ---


def carry_out(
    opened: Opened,
    planned: Plan,
    *,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    publish: Callable[[], Sequence[str]] = tuple,
) -> Repaired:
    """Copy what is lacking: packs, indexes, manifests, then what stands under fixed names; then *publish* the head.

    Only bytes that fit their names are put. Wherever it is stopped, no store has a manifest more whose packs are not
    in it, and the next repair goes on. Where a prune came between the plan and this, the manifests are kept back.
    Raises `Interrupted` when *stop* is set.
    """
    stop = stop or threading.Event()
    copying = Copying(opened.catalog.store, planned.where, planned.needs, stop, planned.out_of)
    progress = progress or Quiet()
    progress.begin("repairing", sum(need.size for each in planned.shortfalls for need in each.lacking))
    copying.copy(_targets(planned.shortfalls), progress.advance)
    progress.end()
    for each in planned.signed:
        copying.put_signed(each, planned.head if each.name in (IPNS_RECORD, HEAD) else None)
    return Repaired(
        tuple(_mended(each, copying) for each in planned.shortfalls),
        (*copying.lost.values(), *planned.unknown),
        tuple(publish()),
    )


def _targets(shortfalls: Sequence[Shortfall]) -> dict[Need, list[Member]]:
    """Where each object is to be put, so that it is fetched once."""
    found: dict[Need, list[Member]] = {}
    for shortfall in shortfalls:
        for need in shortfall.lacking:
            found.setdefault(need, []).append(shortfall.member)
    return found


def _mended(shortfall: Shortfall, copying: Copying) -> Mended:
    name = shortfall.name
    problem = shortfall.problem or copying.problems.get(name)
    return Mended(name, shortfall.member.required, copying.objects[name], copying.bytes[name], problem)


def catch_up(
    catalog: Catalog,
    backups: Sequence[Backup],
    stop: threading.Event,
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Before a run: copy into each of several stores what it lacks of these *backups*; gives what could not be.

    What is required takes as long as it takes, and what is not, `PATIENCE`: no backup waits longer for a copy that it
    does not need. *meanwhile* is called again and again. A store that has missed something in this run already is
    left alone, and told of by whoever saw that. Raises `Interrupted` when *stop* is set, and what *meanwhile* does.
    """
    stores = members(catalog.store)
    if len(stores) < 2 or not backups:
        return ()
    missed = catalog.store.missed() if isinstance(catalog.store, Several) else {}
    try:
        needs = needs_of(catalog, [backup.ref for backup in backups], backups)
    except StoreUnreachable as error:
        return (f"whether every store has the last backups could not be told: {error}",)
    where = look(stores, leave_out=missed)
    wanted = list(needs.objects.values())
    found = [_wanted(each, Choice()) for each in shortfalls(where, wanted)]
    copying = Copying(catalog.store, where, wanted, stop)
    for required, seconds in ((True, math.inf), (False, PATIENCE)):
        some = [each for each in found if each.member.required == required]
        copying.copy(_targets(some), meanwhile=meanwhile, seconds=seconds)
    problems = {**where.problems, **copying.problems}
    return tuple(
        f"store {name} may lack parts of the last backups: {error}"
        for name, error in problems.items()
        if name not in missed
    )
