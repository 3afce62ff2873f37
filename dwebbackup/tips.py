"""What is newest: the tips of a writer's chain of manifests, checked against the head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap

from dwebbackup import lineage
from dwebbackup.errors import Damaged, KeyForbids
from dwebbackup.holdings import PAST, Backup, Holdings, Listing, age
from dwebbackup.manifest import Head, ManifestRef, Summary


@dataclass(frozen=True, slots=True)
class Newest:
    """What is newest for one writer, and what was odd on the way there."""

    tips: tuple[Backup, ...]
    """Backups that no other names as its parent: one, unless two machines wrote at once."""
    refs: tuple[ManifestRef, ...]
    """All manifests listed, oldest first, good or not."""
    doubts: tuple[str, ...] = ()
    lost: ManifestRef | None = None
    """What the head says is newest, where that cannot be read."""
    passed: Mapping[ManifestRef, str] = field(default_factory=dict)
    """Manifests that were passed over, and why: they cannot be read, or somebody else signed them."""
    sizes: Mapping[ManifestRef, int] = field(default_factory=dict)
    """Sealed bytes of each, as listed."""
    told: tuple[Summary, ...] = ()
    """What manifests say of themselves that no history tells of."""
    listing: Listing = field(default_factory=lambda: Listing({}))
    """Of several stores, which of them lists what."""

    @property
    def parents(self) -> tuple[ManifestRef, ...]:
        """What the next manifest follows."""
        return (*(tip.ref for tip in self.tips), *([self.lost] if self.lost else []))

    @property
    def history(self) -> tuple[Summary, ...]:
        """What the tips say of themselves and of those before them that are still listed, oldest first."""
        listed = set(self.refs)
        past = lineage.history(((tip.ref, tip.manifest, tip.links) for tip in self.tips), self.told)
        return tuple(each for each in past if each.ref in listed)

    @property
    def untold(self) -> tuple[ManifestRef, ...]:
        """What no history tells of, as manifests were written once, or beside those of another machine."""
        known = {each.ref for each in self.history}
        return tuple(ref for ref in self.refs if ref not in known and ref not in self.passed)

    @property
    def kept(self) -> tuple[ManifestRef, ...]:
        """What the next manifest vouches for: everything that stands, but what anybody may have put there."""
        stands = {*self.listing.standing, *(tip.ref for tip in self.tips)} if self.listing.found else set(self.refs)
        return tuple(ref for ref in self.refs if ref == self.lost or (ref in stands and ref not in self.passed))


def for_reading(holdings: Holdings) -> Newest:
    """The tips of the chain, for a reader.

    A manifest that nobody can read, or that somebody else signed, is passed over and named in `doubts`;
    but when the head vouches for a newer one than can be read, that is an error: what is newest must not
    silently get older. Raises `Damaged`, `StoreUnreachable`, `ToolMissing`.
    """
    newest = _survey_unless_moving(holdings, holdings.head())
    if newest.lost:
        readable = ", ".join(tip.ref.id for tip in newest.tips)
        raise Damaged(
            "; ".join(newest.doubts),
            f"the newest backup that can be read is {readable}" if readable else "look into the other stores",
        )
    return newest


def for_writing(holdings: Holdings) -> Newest:
    """The same for a writer, whom nothing of this stops: what is lost is a parent, and a doubt.

    Otherwise whoever can spoil one object could stop all backups. What this writer signed with a newer version
    does stop it: nobody builds on what he cannot read. Raises `StoreUnreachable`, `ToolMissing`.
    """
    try:
        head = holdings.head()
    except Damaged as error:
        newest = survey(holdings, None)
        return replace(newest, doubts=(*newest.doubts, f"the head was passed over: {error}"))
    return _survey_unless_moving(holdings, head)


def completed(holdings: Holdings, newest: Newest) -> Newest:
    """With what no history tells of: these manifests are read, one by one. Raises `StoreUnreachable`."""
    told, passed = [], {}
    untold = newest.untold
    for ref, read in zip(untold, holdings.read_all(untold, without=PAST), strict=True):
        if isinstance(read, Backup):
            told.append(lineage.summary(ref, read.manifest, read.links))
        else:
            passed[ref] = str(read)
    return replace(
        newest,
        told=(*newest.told, *told),
        passed={**newest.passed, **passed},
        doubts=(*newest.doubts, *starmap(passed_over, passed.items())),
    )


def _survey_unless_moving(holdings: Holdings, head: Head | None) -> Newest:
    """A survey again and again, as long as something is odd about it and the head has moved on meanwhile.

    While manifests are listed and read, a backup may end and a prune drop those that it saw.
    """
    while True:
        newest = survey(holdings, head)
        if not newest.doubts:
            return newest
        before, head = head, _head_after(holdings, head)
        if head == before:
            return newest


def _head_after(holdings: Holdings, head: Head | None) -> Head | None:
    """The head as it is now, if it can be read."""
    try:
        return holdings.head() or head
    except Damaged:
        return head


def survey(holdings: Holdings, head: Head | None) -> Newest:
    """What there is, against a head that was read before: a backup that ends meanwhile is then in the listing.

    A manifest that the head names is read even if a listing leaves it out.
    """
    listing, store = holdings.listing(), holdings.store
    sizes = {ref: each.size for ref, each in listing.found.items()}
    listed = tuple(sizes)
    named = ManifestRef(head.sequence, head.manifest.sha256) if head else None
    hidden = [named] if named and named not in listed and named.sequence >= _highest(listed) else []
    passed: dict[ManifestRef, str] = {}
    tips = tuple(_tips(holdings, [*listed, *hidden], passed))
    doubts = [*listing.unheard, *starmap(passed_over, passed.items())]
    found = {tip.ref for tip in tips}
    if named is None or named.sequence < _highest(found) or named in found:
        seen = [ref for ref in hidden if ref in found]
        doubts += [f"{store.name} does not list backup {ref.id}, and has it" for ref in seen]
        return Newest(tips, (*listed, *seen), tuple(doubts), passed=passed, sizes=sizes, listing=listing)
    absent = f"is not in {store.name}{'' if listed else ', which lists none'}"
    why = "cannot be read" if named in listed else absent
    doubts.insert(0, f"the head names backup {named.id}, and its manifest {why}")
    return Newest(tips, listed, tuple(doubts), named, passed, sizes, listing=listing)


def _tips(holdings: Holdings, refs: Sequence[ManifestRef], passed: dict[ManifestRef, str]) -> list[Backup]:
    """What no other names as its parent. What cannot be read is *passed* over, and why.

    A manifest that a later one has in its `kept` is not read: if it was a tip then, it is a parent of that one.
    """
    read = _read_from_above(holdings, refs, passed)
    tips = _unnamed(read)
    if len(tips) > 1:  # one may have been away while its child was written, and that child was not read
        lowest = min(tip.ref.sequence for tip in tips)
        known = {backup.ref for backup in read} | set(passed)
        unread = [ref for ref in refs if ref.sequence > lowest and ref not in known]
        read += [each for each in holdings.read_all(unread) if isinstance(each, Backup)]
        tips = _unnamed(read)
    if len(tips) > 1:  # what leads from one to the other may not be listed yet
        named = {parent.sha256 for each in _unlisted_before(holdings, tips) for parent in each.manifest.parents}
        tips = [tip for tip in tips if tip.ref.sha256 not in named]
    return tips


def _unlisted_before(holdings: Holdings, tips: Sequence[Backup]) -> Iterator[Backup]:
    """The ancestors of the *tips*, as far as they can be read, down to the lowest of these."""
    lowest = min(tip.ref.sequence for tip in tips)
    seen = {tip.ref for tip in tips}
    todo = list(tips)
    while todo:
        refs = {parent for each in todo for parent in each.manifest.parents if parent.sequence > lowest} - seen
        seen |= refs
        todo = [each for each in holdings.read_all(sorted(refs, key=age), without=PAST) if isinstance(each, Backup)]
        yield from todo


def _read_from_above(holdings: Holdings, refs: Sequence[ManifestRef], passed: dict[ManifestRef, str]) -> list[Backup]:
    read: list[Backup] = []
    kept: set[ManifestRef] = set()
    for ref in reversed(refs):
        if ref in kept:
            continue
        try:
            read.append(holdings.read(ref))
        except (Damaged, KeyForbids) as error:
            passed[ref] = str(error)
        else:
            kept.update(read[-1].manifest.kept)
    return read


def _unnamed(backups: Sequence[Backup]) -> list[Backup]:
    """Those that no other names as its parent."""
    named = {parent.sha256 for backup in backups for parent in backup.manifest.parents}
    return [backup for backup in backups if backup.ref.sha256 not in named]


def passed_over(ref: ManifestRef, why: object) -> str:
    return f"manifest {ref.id} was passed over: {why}"


def _highest(refs: Iterable[ManifestRef]) -> int:
    return max((ref.sequence for ref in refs), default=0)
