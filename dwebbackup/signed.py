"""What stands in stores under fixed names, and is known by its signature: which of several stores' copies counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from dwebbackup import records
from dwebbackup.access import Opened
from dwebbackup.catalog import GENESIS, HEAD
from dwebbackup.errors import Damaged, KeyForbids, ObjectMissing, StoreUnreachable, ToolMissing
from dwebbackup.heads import IPNS_RECORD
from dwebbackup.holdings import ahead
from dwebbackup.links import ipns
from dwebbackup.manifest import Genesis, Head, ManifestRef
from dwebbackup.ports import Member
from dwebbackup.whereabouts import Whereabouts

RESTORATIONS = "restorations/"

Rank = tuple[int | str, ...]
"""The copy with the highest one counts."""

Reader = Callable[[bytes], Rank]
"""Raises `Damaged`, `KeyForbids` or `ToolMissing` for what is not the writer's."""


@dataclass(frozen=True, slots=True)
class Signed:
    """An object under a fixed name: the copy that counts, and the stores that have an older one, a bad one or none."""

    name: str
    data: bytes
    lacking: Mapping[str, str]
    """Why, by the store's name: `missing`, `older` or `spoiled`."""
    rank: Rank = field(repr=False)
    """Of the copy that counts."""
    reader: Reader = field(repr=False, compare=False)

    def is_lacking_now(self, member: Member) -> bool:
        """Whether that store still has no copy that is as good: a backup may have ended there since it was looked at.

        Raises `StoreUnreachable` when that cannot be told.
        """
        data = _fetched(member, self.name)
        if isinstance(data, StoreUnreachable):
            raise data
        if data is None:
            return True
        try:
            return self.reader(data) < self.rank
        except ToolMissing:
            return False  # of a newer version: left as it is
        except (Damaged, KeyForbids):
            return True


@dataclass(frozen=True, slots=True)
class Look:
    """All that stands under fixed names."""

    objects: tuple[Signed, ...]
    problems: Mapping[str, StoreUnreachable]
    """Members that did not answer, by name."""
    head: ManifestRef | None = None
    """What the head that counts says is newest."""


def look_at_signed(opened: Opened, where: Whereabouts, ipns_key: bytes | None, *, thoroughly: bool) -> Look:
    """What each member that keeps names has under fixed ones.

    *ipns_key*: the writer's public one; without it its IPNS record is left as it is, as the owner's mark is where
    the owner is not known. Restorations are only read where one is missing somewhere, or *thoroughly*.
    """
    members = [member for _, member in where.answering() if member.store.traits.lists]
    problems: dict[str, StoreUnreachable] = {}
    objects = []
    for name, reader in _readers(opened, where, ipns_key, thoroughly=thoroughly):
        found = _compared(name, reader, members, problems)
        if found:
            objects.append(found)
    return Look(tuple(objects), problems, _named(opened, objects))


def _named(opened: Opened, objects: Sequence[Signed]) -> ManifestRef | None:
    for each in objects:
        if each.name == HEAD:
            head = records.read_line(Head, each.data, opened.catalog.verify_key)
            return ManifestRef(head.sequence, head.manifest.sha256)
    return None


def _readers(
    opened: Opened, where: Whereabouts, ipns_key: bytes | None, *, thoroughly: bool
) -> Iterator[tuple[str, Reader]]:
    """The head comes last: what it leads to should be there before it."""
    if opened.owner_key:
        yield GENESIS, partial(_genesis, opened, opened.owner_key)
    for name in where.names(RESTORATIONS):
        if thoroughly or len(set(where.sizes_of(name))) > 1:
            yield name, partial(_restoration, opened, name)
    if ipns_key:
        yield IPNS_RECORD, partial(_ipns, ipns_key)
    yield HEAD, partial(_head, opened)


def _genesis(opened: Opened, owner_key: bytes, data: bytes) -> Rank:
    if records.read_line(Genesis, data, owner_key).writer != opened.catalog.writer:
        raise Damaged("it marks the start of another writer")
    return ()


def _restoration(opened: Opened, name: str, data: bytes) -> Rank:
    return (opened.catalog.opened_restoration(name, data).time,)


def _ipns(key: bytes, data: bytes) -> Rank:
    record = ipns.read_record(data, ipns.name_of(key))
    return (record.sequence, record.validity)


def _head(opened: Opened, data: bytes) -> Rank:
    head = records.read_line(Head, data, opened.catalog.verify_key)
    return (head.sequence, head.manifest.sha256)


def _compared(
    name: str, reader: Reader, members: Sequence[Member], problems: dict[str, StoreUnreachable]
) -> Signed | None:
    """None where no member has a good one, so that nothing can be done."""
    ranks: dict[str, tuple[Rank, bytes]] = {}
    lacking: dict[str, str] = {}
    for member, data in ahead(lambda member: (member, _fetched(member, name)), members):
        store = member.store.name
        if isinstance(data, StoreUnreachable):
            problems[store] = data
        elif data is None:
            lacking[store] = "missing"
        else:
            try:
                ranks[store] = (reader(data), data)
            except ToolMissing:
                continue  # of a newer version: left as it is
            except (Damaged, KeyForbids):
                lacking[store] = "spoiled"
    if not ranks:
        return None
    best, data = max(ranks.values())
    lacking.update((store, "older") for store, (rank, _) in ranks.items() if rank < best)
    return Signed(name, data, lacking, best, reader)


def _fetched(member: Member, name: str) -> bytes | StoreUnreachable | None:
    try:
        return member.store.get(name)
    except ObjectMissing:
        return None
    except Damaged:  # too large to be ours
        return b""
    except StoreUnreachable as error:
        return error
