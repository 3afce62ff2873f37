"""What one store lost, copied from another: what each lacks of the backups that count, found and put there again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dwebbackup import records
from dwebbackup.access import Opened
from dwebbackup.catalog import HEAD, Backup, Catalog
from dwebbackup.errors import (
    Damaged,
    DwebbackupError,
    Interrupted,
    NoSuchBackup,
    ObjectMissing,
    StoreUnreachable,
    WrongConfiguration,
)
from dwebbackup.holdings import ahead
from dwebbackup.manifest import ManifestRef, digest_in
from dwebbackup.needs import Need, Needs, counting, needs_of
from dwebbackup.ports import Member, Progress, Quiet, Several, Store, members
from dwebbackup.signed import Look, Signed, look_at_signed
from dwebbackup.whereabouts import Readings, Shortfall, Whereabouts, look, shortfalls

ORDER = ("packs", "indexes", "manifests")
"""A manifest comes into a store only when all that it names is there."""


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
    """What each store of one writer lacks."""

    shortfalls: tuple[Shortfall, ...]
    signed: tuple[Signed, ...]
    """What stands under fixed names, and where it does so as it should not."""
    unknown: tuple[str, ...]
    """What cannot be repaired, since nobody can read what names it."""
    notes: tuple[str, ...]
    where: Whereabouts = field(repr=False)
    head: ManifestRef | None = None
    out_of: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(each.missing or each.wrong for each in self.shortfalls) and not any(
            each.lacking for each in self.signed
        )


@dataclass(frozen=True, slots=True)
class Mended:
    """What was put into one store."""

    name: str
    required: bool
    objects: int
    bytes: int
    problem: StoreUnreachable | None = None
    """Why it is not whole, where it did not answer or did not take something."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """How a repair went."""

    stores: tuple[Mended, ...]
    lost: tuple[str, ...]
    """What could not be had from anywhere, and why."""
    doubts: tuple[str, ...] = ()
    """What publishing the head again came to."""


def plan(opened: Opened, choice: Choice | None = None, progress: Progress | None = None) -> Plan:
    """Find out what each store lacks of the backups that count; nothing is changed. No row is opened.

    A store that does not answer is told of in its shortfall. Raises `NoSuchBackup` where no backup can be read,
    `StoreUnreachable` where that cannot be told, `WrongConfiguration` for a name that no store has.
    """
    choice, catalog = choice or Choice(), opened.catalog
    stores = members(catalog.store)
    _require_names(stores, (*choice.into, *choice.out_of))
    newest = catalog.newest_for_writing()
    if not newest.tips:
        raise NoSuchBackup(f"no backup of writer {catalog.number} can be read in {catalog.store.url}")
    where = look(stores)
    needs = needs_of(catalog, counting(newest), newest.tips)
    readings = _read(where, needs, progress or Quiet()) if choice.data else Readings()
    signed = look_at_signed(opened, where, choice.ipns_key, thoroughly=choice.data)
    lost = [f"backup {newest.lost.id}, which the head names, cannot be read"] if newest.lost else []
    return Plan(
        tuple(_chosen(_with_problem(each, signed), choice) for each in shortfalls(where, needs.objects.values(), readings)),
        signed.objects,
        (*needs.unknown, *lost),
        tuple(_notes(where, needs, choice)),
        where,
        signed.head,
        choice.out_of,
    )
