"""Which backup somebody means: the newest good one, the tip of the chain, one by its name or of a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from dwebbackup import lineage, tips
from dwebbackup.errors import Damaged, NoSuchBackup, StoreUnreachable, ToolMissing
from dwebbackup.holdings import GENESIS, HEAD, PAST, Backup, Holdings, age, ahead, snapshot_of, sources_of
from dwebbackup.lineage import Choice
from dwebbackup.manifest import Manifest, ManifestRef
from dwebbackup.tips import Newest, passed_over

__all__ = ["GENESIS", "HEAD", "Backup", "Catalog", "Newest", "ahead", "alike", "snapshot_of", "sources_of"]


class Catalog(Holdings):
    """The manifests of one writer, and which of them is meant."""

    def newest(self) -> Newest:
        """The tips of the chain. Raises as `tips.for_reading` does."""
        return tips.for_reading(self)

    def newest_for_writing(self) -> Newest:
        """The same for who goes on whatever is odd. Raises as `tips.for_writing` does."""
        return tips.for_writing(self)

    def completed(self, newest: Newest) -> Newest:
        """With what no history tells of. Raises as `tips.completed` does."""
        return tips.completed(self, newest)

    def latest(self, source: str | None = None) -> Backup:
        """The newest good backup, of *source* if named, with doubts.

        Raises `NoSuchBackup` when there is none, or several sources and none is named; `Damaged` when there are two.
        """
        newest = self._newest_of_some()
        try:
            return self._latest(newest, source)
        except NoSuchBackup:
            if not newest.untold:
                raise
            return self._latest(self.completed(newest), source)

    def _latest(self, newest: Newest, source: str | None) -> Backup:
        past = newest.history
        names = [source] if source else lineage.sources(past)
        choices = [lineage.newest(past, name) for name in names]
        refs = {choice.entry.ref for choice in choices}
        if len(refs) > 1:
            raise NoSuchBackup(
                f"the newest backups of {', '.join(names)} are not the same one",
                "name the source with --source, where the command has it, or the backup",
            )
        _require_one(newest, refs)
        read = {tip.ref: tip for tip in newest.tips}
        (ref,) = refs
        found = read.get(ref) or self.read(ref, without=PAST)
        _require_agreement(found, choices)
        doubts = (*newest.doubts, *(doubt for choice in choices for doubt in choice.doubts))
        return replace(found, doubts=doubts)

    def tip(self) -> Backup:
        """The end of the chain, good or not, which the next backup follows. Raises as `latest` does."""
        newest = self._newest_of_some()
        _require_one(newest, {tip.ref for tip in newest.tips})
        return replace(newest.tips[0], doubts=newest.doubts)

    def _newest_of_some(self) -> Newest:
        newest = self.newest()
        if not newest.tips:
            raise NoSuchBackup(
                f"there is no backup of writer {self.number} ({self.writer}) in {self.store.url}",
                *([f"{len(newest.refs)} manifests are there, but none can be read"] if newest.refs else []),
            )
        return newest

    def matching(self, name: str) -> list[ManifestRef]:
        """The manifests listed that people call *name* (`ManifestRef.is_called`).

        Raises `StoreUnreachable` where there is none, and one may be where nobody answered.
        """
        listing = self.listing()
        found = [ref for ref in listing.found if ref.is_called(name)]
        if not found and listing.unheard:
            raise StoreUnreachable(f"there is no backup {name} where anybody answers, and {listing.unheard[0]}")
        return found

    def find(self, name: str) -> Backup:
        """The backup that *name* fits alone, or `latest`. Raises `NoSuchBackup`, `Damaged`."""
        if name == "latest":
            return self.latest()
        matches = self.matching(name)
        if len(matches) == 1:
            return self.read(matches[0], without=PAST)  # what is wrong with its past keeps nobody from restoring
        if matches:
            raise NoSuchBackup(f"{name} fits several: " + ", ".join(ref.id for ref in matches), "say more of it")
        raise NoSuchBackup(f"there is no backup {name}", "`dwebbackup list` shows what there is")

    def before(self, moment: str, source: str | None = None) -> Backup:
        """The newest backup, of *source* if named, whose snapshot is not later than *moment* (as `clock.iso` has it).

        What cannot be read, and may be the one that is meant, is a doubt; but where the head or a later manifest
        vouches for it, raises `Damaged`. Raises `NoSuchBackup`.
        """
        listing = self.listing()
        doubts = list(listing.unheard)
        vouched = set(self._named(doubts))
        refs = sorted({*listing.found, *vouched}, key=age, reverse=True)
        unread: list[str] = []
        for ref, read in zip(refs, self.read_all(refs, without=("history",)), strict=True):
            if isinstance(read, Backup):
                vouched.update(_vouched_for(read.manifest))
                if snapshot_of(read.manifest) > moment:
                    unread.clear()
                    continue
                if source and source not in sources_of(read.manifest):
                    continue
                if unread:
                    raise Damaged("; ".join(unread), f"the newest before it is {ref.id}; name it if that will do")
                return replace(read, doubts=tuple(doubts))
            if ref in vouched or isinstance(read, ToolMissing):
                unread.append(f"manifest {ref.id} cannot be read: {read}")
            else:
                doubts.append(passed_over(ref, read))
        if unread:
            raise Damaged("; ".join(unread), "no backup before it can be read")
        raise NoSuchBackup(f"no backup is as old as {moment}", "`dwebbackup list` shows what there is")

    def _named(self, doubts: list[str]) -> list[ManifestRef]:
        """What the head names; a head that cannot be read is a doubt."""
        try:
            head = self.head()
        except Damaged as error:
            doubts.append(f"the head was passed over: {error}")
            return []
        return [ManifestRef(head.sequence, head.manifest.sha256)] if head else []


def _require_agreement(found: Backup, choices: Sequence[Choice]) -> None:
    """Raises `Damaged` where a backup was chosen for what a later manifest says, and says something else itself."""
    own = lineage.tallies(found.manifest)
    for choice in choices:
        if choice.entry.tally not in own:
            raise Damaged(
                f"a later manifest says of backup {found.ref.id} what it does not say itself",
                "run `dwebbackup verify`; or name the backup that you want",
            )


def alike(newest: Newest, chosen: Collection[ManifestRef] = ()) -> list[Backup]:
    """The tips that are *chosen*, or of the same database as another one, so that neither of them is the newer."""
    databases = [{(each.source, each.identity) for each in lineage.tallies(tip.manifest)} for tip in newest.tips]
    return [
        tip
        for tip, own in zip(newest.tips, databases, strict=True)
        if tip.ref in chosen or any(own & other for other in databases if other is not own)
    ]


def _require_one(newest: Newest, chosen: Collection[ManifestRef]) -> None:
    """Raises `Damaged` when two tips are of the same database, so that none is newer than the other."""
    several = alike(newest, chosen)
    if len(several) > 1:
        names = ", ".join(f"{tip.ref.id} ({tip.manifest.finished})" for tip in several)
        raise Damaged(f"two machines wrote at once, so none is the newest: {names}", "name the one you want")


def _vouched_for(manifest: Manifest) -> Iterator[ManifestRef]:
    """What was a backup when *manifest* was written. A higher sequence than its own in `kept` is anybody's junk."""
    yield from manifest.parents
    yield from (ref for ref in manifest.kept if ref.sequence < manifest.sequence)
