"""What each store has, lacks and has wrong of the backups that are verified, and how its head stands among others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dwebbackup import records
from dwebbackup.catalog import GENESIS, Backup, Catalog
from dwebbackup.errors import Damaged, DwebbackupError, ObjectMissing, StoreUnreachable, ToolMissing
from dwebbackup.manifest import Genesis, Head, PackEntry
from dwebbackup.needs import Need, manifest_and_indexes, pack_need
from dwebbackup.ports import Store, members
from dwebbackup.whereabouts import ABSENT, Readings, Shortfall, look, shortfalls

SINGULAR = {"packs": "pack", "indexes": "index", "manifests": "manifest"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    severity: Literal["error", "warning", "notice"]
    """*notice*: what its writer said of a backup that is whole."""
    what: str
    message: str


@dataclass(frozen=True, slots=True)
class StoreReport:
    """How one store stands; how many of which kind of object."""

    name: str
    required: bool
    present: Mapping[str, int]
    missing: Mapping[str, int]
    wrong: Mapping[str, int]
    head: int | None
    """The sequence that its head names; None where it has none that counts."""
    problem: str = ""
    """Why nothing is known of it."""


class Stock:
    """What stores list of one writer, against what its backups need. Make it after manifests were listed."""

    def __init__(self, catalog: Catalog) -> None:
        """Raises `StoreUnreachable` when no store answers."""
        self._catalog = catalog
        self._where = look(members(catalog.store))
        if len(self._where.problems) == len(self._where.members):
            raise next(iter(self._where.problems.values()))
        self._needs: dict[str, Need] = {}
        self._readings = Readings()
        self._heads: dict[str, Head | DwebbackupError | None] = {}

    @property
    def several(self) -> bool:
        return len(self._where.members) > 1

    def expect(self, backup: Backup, packs: Iterable[PackEntry]) -> None:
        """Every store should have this backup, and of it these *packs*."""
        needs = (*manifest_and_indexes(backup), *map(pack_need, packs))
        self._needs.update((need.name, need) for need in needs)

    def flaw(self, pack: PackEntry) -> str:
        """What is wrong with it where no store has it as it should be; empty where one does."""
        if any(self._where.has(at, pack_need(pack)) for at, _ in self._where.answering()):
            return ""
        size = max(self._where.sizes_of(pack.path))
        if size != ABSENT:
            return f"has {size} bytes, not {pack.size}"
        return "is in no store that answered" if self._where.problems else "is missing"

    def marks(self, owner_key: bytes) -> Iterator[Finding]:
        """Where a mark of the writer's start is not the owner's. A reader's line does not say who that is."""
        for _, member in self._where.answering():
            if member.store.traits.lists and (wrong := self._wrong_with_mark(member.store, owner_key)):
                yield Finding("error", "genesis", wrong + (f" (in store {member.store.name})" if self.several else ""))

    def _wrong_with_mark(self, store: Store, owner_key: bytes) -> str:
        """Empty where all is well, or there is none."""
        try:
            genesis = records.read_line(Genesis, store.get(GENESIS), owner_key)
        except ObjectMissing:
            return ""
        except (Damaged, ToolMissing) as error:
            return str(error)
        return "" if genesis.writer == self._catalog.writer else f"marks the start of another writer, {genesis.writer}"

    # --- the bytes ---

    def copies(self, pack: PackEntry) -> int:
        """How many stores have it, going by their listings."""
        return len(self._where.holders(pack_need(pack)))

    def read(self, pack: PackEntry) -> bytes | None:
        """The first good one of all copies; each of them is read and compared with its name."""
        need = pack_need(pack)
        found = [self._readings.read(member, need) for member in self._where.holders(need)]
        return next(filter(None, found), None)

    def read_others(self) -> None:
        """Every copy of manifests and indexes, likewise."""
        self._readings.read_all(self._where, [need for need in self._needs.values() if need.kind != "packs"])

    # --- how it stands ---

    def reports(self) -> tuple[StoreReport, ...]:
        return tuple(
            StoreReport(
                each.name,
                each.member.required,
                each.present,
                _counted(each.missing),
                _counted(each.wrong),
                _sequence(self._heads.get(each.name)),
                str(each.problem or ""),
            )
            for each in self._shortfalls()
        )

    def _shortfalls(self) -> list[Shortfall]:
        return shortfalls(self._where, self._needs.values(), self._readings)

    def findings(self) -> Iterator[Finding]:
        """What each of several lacks; one that is not required is only warned of.

        With a single one, packs and indexes have been told of with their backups: what is left are manifests that were
        read and are not listed.
        """
        for each in self._shortfalls():
            if self.several:
                for message in _told(each):
                    yield Finding(_severity(each.member.required), f"store {each.name}", message)
            elif hidden := [need for need in each.missing if need.kind == "manifests"]:
                yield Finding("warning", f"store {each.name}", f"does not list {_listed(hidden)}, and has it")

    def heads(self) -> Iterator[Finding]:
        """Heads that cannot be used, and those of stores that are behind, or were rolled back.

        Raises `StoreUnreachable` where a single one cannot be had.
        """
        found = [each for each in self._catalog.heads() if each[0].store.name not in self._where.problems]
        self._heads.update((member.store.name, head) for member, head in found)
        newest = max((head.sequence for _, head in found if isinstance(head, Head)), default=0)
        for member, head in found:
            if isinstance(head, StoreUnreachable) and not self.several:
                raise head
            if message := _of_head(head, newest):
                yield Finding(_severity(member.required), f"store {member.store.name}", message)


def _severity(required: bool) -> Literal["error", "warning"]:
    return "error" if required else "warning"


def _counted(needs: Sequence[Need]) -> Mapping[str, int]:
    return dict(Counter(need.kind for need in needs))


def _sequence(head: Head | DwebbackupError | None) -> int | None:
    return head.sequence if isinstance(head, Head) else None


def _told(each: Shortfall) -> Iterator[str]:
    if each.problem:
        yield f"was not verified: {each.problem}"
        return
    mending = "`dwebbackup repair` copies them from another"
    if each.missing and not each.member.store.traits.lists:
        yield f"{_listed(each.missing)} cannot be found there: it gave no link for them, or not what the link leads to"
    elif each.missing:
        yield f"lacks {_listed(each.missing)}; {mending}"
    if each.wrong:
        yield f"has {_listed(each.wrong)} with other bytes than it should; {mending}"


def _listed(needs: Sequence[Need]) -> str:
    """How many of each kind, and which is the first."""
    counts = _counted(needs)
    told = ", ".join(f"{counts[kind]:,} {kind if counts[kind] > 1 else SINGULAR[kind]}" for kind in counts)
    return f"{told} ({needs[0].name}{', …' if len(needs) > 1 else ''})"


def _of_head(head: Head | DwebbackupError | None, newest: int) -> str:
    if head is None:
        return f"has no head, and another store's names backup {newest}" if newest else ""
    if isinstance(head, DwebbackupError):
        return f"its head cannot be used: {head}"
    if head.sequence < newest:
        return f"its head names backup {head.sequence}, and another store's {newest}: behind, or rolled back"
    return ""
