"""Which of several stores has which object, as each lists them, and what each lacks or has wrong of what is needed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dwebbackup import records
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable
from dwebbackup.holdings import ahead
from dwebbackup.manifest import digest_in
from dwebbackup.needs import Need
from dwebbackup.ports import Member

ABSENT = -1
"""In place of a size."""

_PASSING = ("checkpoints/", "probes/")
"""Of one run: nobody needs these from another store."""

_SWEPT = ("packs/", "indexes/")
"""What a prune drops where no manifest names it."""

Copy = tuple[str, str]
"""An object in a store, by the names of the store and of the object."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What each of *members* lists below a writer's prefix."""

    members: tuple[Member, ...]
    sizes: Mapping[str, tuple[int, ...]]
    """Of each object: its size in each member, in their order."""
    problems: Mapping[str, StoreUnreachable]
    """Members that did not answer, by name."""

    def sizes_of(self, name: str) -> tuple[int, ...]:
        return self.sizes.get(name, (ABSENT,) * len(self.members))

    def names(self, folder: str) -> list[str]:
        """What any member lists in *folder*."""
        return sorted(name for name in self.sizes if name.startswith(folder))

    def answering(self) -> Iterator[tuple[int, Member]]:
        """The members that answered, each with its place."""
        for at, member in enumerate(self.members):
            if member.store.name not in self.problems:
                yield at, member

    def has(self, at: int, need: Need) -> bool:
        """Whether it is in the member *at* that place with its size; where that keeps no names, whether a link leads
        there.
        """
        traits = self.members[at].store.traits
        if not traits.lists:
            return need.leads_to(traits.scheme)
        return self.sizes_of(need.name)[at] == need.size

    def holders(self, need: Need) -> list[Member]:
        """Who has it, the nearest first."""
        found = [member for at, member in self.answering() if self.has(at, need)]
        return sorted(found, key=lambda member: member.store.traits.distance)


def look(members: Sequence[Member], leave_out: Collection[str] = ()) -> Whereabouts:
    """Ask every member but those to *leave_out*, one after the other. Call it after manifests were listed: otherwise
    what a backup puts that ends in between would seem missing.
    """
    sizes: dict[str, tuple[int, ...]] = {}
    problems: dict[str, StoreUnreachable] = {}
    nowhere = (ABSENT,) * len(members)
    for at, member in enumerate(members):
        if not member.store.traits.lists:
            continue
        try:
            if member.store.name in leave_out:
                raise StoreUnreachable(f"store {member.store.name} is left out")  # noqa: TRY301  # as one that is down
            for stored in member.store.list(""):
                if not stored.name.startswith(_PASSING):
                    before = sizes.get(stored.name, nowhere)
                    sizes[stored.name] = (*before[:at], stored.size, *before[at + 1 :])
        except StoreUnreachable as error:
            problems[member.store.name] = error
    return Whereabouts(tuple(members), sizes, problems)


def gone_since(where: Whereabouts, member: Member, needs: Iterable[Need]) -> int:
    """How many packs and indexes of *needs* the *member* had when it was looked at, and does not list any more.

    Raises `StoreUnreachable`.
    """
    if not member.store.traits.lists:
        return 0
    at = where.members.index(member)
    had = {need.name for need in needs if where.sizes_of(need.name)[at] == need.size}
    gone = {name for name in had if name.startswith(_SWEPT)}
    for folder in _SWEPT:
        gone.difference_update(stored.name for stored in member.store.list(folder))
    return len(gone)


# --- what is in the copies ---


class Readings:
    """Copies read and compared with the digest in their names, and what came of it. Safe for several threads."""

    def __init__(self) -> None:
        self.spoiled: set[Copy] = set()
        self.gone: set[Copy] = set()
        self.problems: dict[str, StoreUnreachable] = {}
        """Members that did not answer, by name; they are not asked again."""

    def read(self, member: Member, need: Need) -> bytes | None:
        """The bytes in that member, if they are what the name says."""
        store, copy = member.store, (member.store.name, need.name)
        if store.name in self.problems:
            return None
        try:
            data = store.get(need.name, need.links)
        except ObjectMissing:
            self.gone.add(copy)
        except Damaged:
            self.spoiled.add(copy)
        except StoreUnreachable as error:
            self.problems.setdefault(store.name, error)
        else:
            if records.digest(data) == digest_in(need.name):
                return data
            self.spoiled.add(copy)
        return None

    def read_all(
        self, where: Whereabouts, needs: Iterable[Need], advance: Callable[[int], None] = lambda _: None
    ) -> None:
        """Every copy that a member should have; of what is there with another size, nothing is read."""

        def one(task: tuple[Member, Need]) -> None:
            self.read(*task)
            advance(task[1].size)

        tasks = ((member, need) for need in needs for member in where.holders(need))
        deque(ahead(one, tasks), maxlen=0)


# --- what is lacking ---


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What one store lacks of what is needed."""

    member: Member
    missing: tuple[Need, ...] = ()
    wrong: tuple[Need, ...] = ()
    """There, with another size or with other bytes."""
    present: Mapping[str, int] = field(default_factory=dict)
    """How many are as they should be, by kind."""
    problem: StoreUnreachable | None = None
    """Why nothing of this is known."""

    @property
    def name(self) -> str:
        """Of the store."""
        return self.member.store.name

    @property
    def lacking(self) -> tuple[Need, ...]:
        """What is to be put there."""
        return (*self.missing, *self.wrong)


def shortfalls(where: Whereabouts, needs: Collection[Need], readings: Readings | None = None) -> list[Shortfall]:
    """Of each member; by their listings, and where copies were read, by these."""
    return [_shortfall(where, at, needs, readings or Readings()) for at in range(len(where.members))]


def _shortfall(where: Whereabouts, at: int, needs: Iterable[Need], readings: Readings) -> Shortfall:
    member = where.members[at]
    name = member.store.name
    if problem := where.problems.get(name) or readings.problems.get(name):
        return Shortfall(member, problem=problem)
    missing, wrong = [], []
    present: Counter[str] = Counter()
    for need in needs:
        copy = (name, need.name)
        if copy in readings.spoiled:
            wrong.append(need)
        elif copy in readings.gone:
            missing.append(need)
        elif where.has(at, need):
            present[need.kind] += 1
        else:
            (missing if where.sizes_of(need.name)[at] == ABSENT else wrong).append(need)
    return Shortfall(member, tuple(missing), tuple(wrong), dict(present))
