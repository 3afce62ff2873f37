"""One backup: intent, streams, packs, index, manifest, head, in this order."""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from dwebbackup import age, chunking, clock, heads, lineage, records, repair
from dwebbackup.catalog import HEAD, Backup, Catalog, Newest
from dwebbackup.checkpoint import Checkpoints, Renewals
from dwebbackup.drafting import Chunks, Drafting, Taken
from dwebbackup.errors import BackupFailed, Damaged, Interrupted, KeyForbids, ObjectMissing, StoreUnreachable
from dwebbackup.keys import WriterKey
from dwebbackup.links.uris import IPFS, SIA, content_links
from dwebbackup.manifest import Head, ManifestRef, ObjectRef, Summary, Tally
from dwebbackup.ports import Progress, Publisher, Quiet, Several, Source, Store
from dwebbackup.reading import read_all
from dwebbackup.records import Access, signer_of
from dwebbackup.report.wording import duration
from dwebbackup.reuse import Conditions, Reusable, reusable
from dwebbackup.sparse import Spans, spans_of
from dwebbackup.storing import Storing, Worker


@dataclass(frozen=True, slots=True)
class Options:
    """How a backup runs."""

    jobs: int = 2
    """Streams read at once."""
    uploads: int = 1
    """Packs put at once."""
    recipients: tuple[bytes, ...] = ()
    """Extra age recipients, who will be able to read every row."""
    next_by: str = ""
    """By when the schedule promises the next backup."""
    max_snapshot: float | None = None
    """Seconds for which a source's snapshot may be open; None: as long as it takes."""
    suspect_below: float = 0.5
    """A backup that holds less than this share of the last good one's rows or tables is suspect."""
    accept: bool = False
    """The user's word that these are the databases that are meant: whatever would be suspect is good."""
    publishers: tuple[Publisher, ...] = ()
    """Networks that are told of the new head."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set: the run ends as soon as it can, with a checkpoint, and raises `Interrupted`."""
    progress: Progress = field(default_factory=Quiet)


@dataclass(frozen=True, slots=True)
class Done:
    """A backup that is complete."""

    backup: Backup
    links: tuple[str, ...]
    """Of the manifest, as the stores answered."""
    bytes_read: int
    bytes_stored: int
    seconds: float
    doubts: tuple[str, ...]
    """What is suspect, and what was odd on the way."""

    @property
    def suspect(self) -> tuple[str, ...]:
        """Why it does not count as good."""
        return tuple(why for tally in self.backup.manifest.tallies for why in tally.suspect)


def back_up(sources: Sequence[Source], store: Store, key: WriterKey, options: Options) -> Done:
    """Back up *sources* into *store*, which begins at the writer's prefix.

    Raises `DatabaseRefused`, `StoreUnreachable`, `BackupFailed`, `Damaged`; what was restorable before still is, and
    what was stored is found again by the next run. There is no manifest then, unless its own put was what failed
    without an answer, or what comes after it did, which a note on the error says: such a backup is whole.
    """
    return _Run(store, key, options).run(sources)


class _Run:
    def __init__(self, store: Store, key: WriterKey, options: Options) -> None:
        self._store = store
        self._key = key
        self._options = options
        self._id = secrets.token_hex(8)
        self._began = clock.now()
        self._clock = clock.monotonic()
        self._readers = (key.owner_recipient, key.reader_recipient, *options.recipients)
        self._signer = signer_of(key, options.recipients)
        self._access = Access((key.catalog_identity,), key.verify_key)
        self._catalog = Catalog(store, key.id, key.number, self._access)
        self._checkpoints = Checkpoints(store, key.id, self._id, self._signer)
        self._behind: tuple[str, ...] = ()
        self._complete: ManifestRef | None = None  # from when on its manifest is stored

    def run(self, sources: Sequence[Source]) -> Done:
        if isinstance(self._store, Several):
            self._store.begin_run()
        self._checkpoints.put()
        try:
            newest = self._catalog.newest_for_writing()
            before = self._last_of(sources, newest)
            with Renewals(self._checkpoints, self._checkpoints.put) as renewals:
                stop = self._options.stop
                self._behind = repair.catch_up(self._catalog, before, stop, renewals.renew_if_due)
            reuse = self._reusable(before)
        except BaseException:
            with contextlib.suppress(StoreUnreachable):  # nothing was stored that it could keep from being pruned
                self._checkpoints.clear()
            raise
        storing = Storing(
            self._store,
            self._key.id,
            self._signer,
            self._key.chunk_key,
            self._readers,
            reuse.known,
            reuse.numbering,
            self._options.uploads,
        )
        try:
            taken = [self._take(source, storing, reuse, before) for source in sources]
            storing.uploader.close()
            storing.write_index()
            return self._publish(taken, storing, reuse, newest)
        except BaseException as error:
            storing.stop.set()
            if self._complete:
                self._end_complete(self._complete, error)
            else:
                self._leave_behind(storing, reuse)
            raise

    def _last_of(self, sources: Sequence[Source], newest: Newest) -> list[Backup]:
        """The newest backups of these sources: what is in them is probably there again."""
        names = {source.name for source in sources}
        refs = {
            ManifestRef(entry.sequence, entry.sha256 or tip.ref.sha256): tip
            for tip in newest.tips
            for entry in tip.manifest.newest
            if entry.source in names
        }
        found = []
        for ref, tip in refs.items():
            try:
                found.append(tip if ref == tip.ref else self._catalog.read(ref))
            except (ObjectMissing, Damaged):
                continue  # pruned or spoiled: then its chunks are stored again
        return found

    def _reusable(self, before: Sequence[Backup]) -> Reusable:
        others = self._checkpoints.others(self._access)
        refs = [ref for backup in before for ref in backup.manifest.indexes]
        refs += [ref for checkpoint in others.checkpoints for ref in checkpoint.indexes]
        recipients = frozenset(map(age.fingerprint, self._readers))
        return reusable(self._catalog, refs, Conditions(others.times, recipients), self._in_use(before))

    def _in_use(self, before: Sequence[Backup]) -> Spans | None:
        """Which chunks the last backups use; None where one of them is spoiled."""
        try:
            return spans_of(self._catalog.whole(backup.manifest) for backup in before)
        except Damaged:
            return None

    def _take(self, source: Source, storing: Storing, reuse: Reusable, before: Sequence[Backup]) -> Taken:
        workers = [Worker(storing) for _ in range(self._options.jobs)]
        average_before = _average_before(source, before, self._catalog)
        with Renewals(self._checkpoints, lambda: self._checkpoint(storing, reuse)) as renewals:
            with source.dump() as dump:
                opened = clock.monotonic()

                def meanwhile() -> None:
                    if self._options.stop.is_set():
                        raise Interrupted("the backup was asked to stop")
                    self._require_time(opened)
                    renewals.renew_if_due()

                size = sum(spec.estimate for spec in dump.specs)
                self._options.progress.begin(f"backing up {source.name}", size)
                average = chunking.average_for(size, average_before)
                advance = self._options.progress.advance
                streams = read_all(dump, workers, storing.stop, average, advance, meanwhile)
                facts = dump.finish()
            # Nobody's locks and no snapshot wait for the store any more.
            for worker in workers:
                worker.close()
        self._options.progress.end()
        return Taken(facts, streams)

    def _require_time(self, opened: float) -> None:
        """Raises `BackupFailed` once the snapshot is open for too long: it keeps the database from clearing away."""
        limit = self._options.max_snapshot
        if limit and clock.monotonic() - opened > limit:
            raise BackupFailed(
                f"the snapshot was open for longer than {duration(limit)}, the most that --max-snapshot allows",
                "allow more, give more --jobs or a faster store, or back up a standby; what is stored already is not "
                "stored again by the next run",
            )

    def _checkpoint(self, storing: Storing, reuse: Reusable) -> None:
        storing.write_index()
        self._checkpoints.put((*reuse.refs, *storing.new_indexes))

    def _leave_behind(self, storing: Storing, reuse: Reusable) -> None:
        """Note what was stored, so that the next run need not store it again; nothing was: leave nothing, since a
        checkpoint keeps everything from being pruned.
        """
        storing.uploader.abandon()
        if not storing.packs:
            self._checkpoints.clear()
            return
        try:
            self._checkpoint(storing, reuse)
        except Exception as error:  # noqa: BLE001  # the run's own failure is being raised; this one is its shadow
            sys.exception().add_note(f"nor could a checkpoint be written: {error}")  # type: ignore[union-attr]

    def _end_complete(self, ref: ManifestRef, failure: BaseException) -> None:
        """What failed came after the manifest: the user must know what there is, and no prune has to wait for this."""
        failure.add_note(f"backup {ref.id} is complete and can be restored; what failed came after it")
        try:
            doubts = self._checkpoints.clear()
        except Exception as error:  # noqa: BLE001  # the shadow of the failure that is being raised
            doubts = (str(error),)
        for doubt in doubts:
            failure.add_note(doubt)

    def _publish(self, taken: Sequence[Taken], storing: Storing, reuse: Reusable, newest: Newest) -> Done:
        """Everything is acknowledged: manifest, then head, then the checkpoints are dropped."""
        chunks = Chunks(reuse.numbering, (*reuse.refs, *storing.new_indexes), reuse.wasteful)
        drafting = Drafting(self._id, self._catalog, self._key, self._signer, self._readers, chunks)
        draft = drafting.draft(taken, newest, self._judge)
        manifest = replace(
            draft.manifest,
            started=clock.iso(self._began),
            finished=clock.iso(clock.now()),
            next_by=self._options.next_by,
            stored=storing.bytes_stored + draft.bytes_stored,
            packs=storing.packs,
        )
        self._checkpoints.require_fresh()
        sealed = records.seal(manifest, self._signer)
        ref = ManifestRef(manifest.sequence, records.digest(sealed))
        answered = self._store.put(f"manifests/{ref.name}", sealed)
        self._complete = ref
        links = content_links(sealed, answered)
        pointer = ObjectRef(ref.sha256, len(sealed), links)
        head = Head(self._key.id, self._key.number, ref.sequence, manifest.finished, pointer, self._options.next_by)
        line = records.write_line(head, self._key.sign_seed)
        self._store.put(HEAD, line)
        unheard = self._announce(ref, links, answered)
        suspect = tuple(f"suspect: {tally.source}: {why}" for tally in manifest.tallies for why in tally.suspect)
        short = tuple(f"{it.facts.name} is incomplete: {why}" for it in taken for why in it.facts.shortfalls)
        doubts = (*suspect, *short, *newest.doubts, *_bare(newest), *self._behind, *unheard)
        doubts += (*self._checkpoints.clear(), *self._missed())
        return Done(
            Backup(ref, manifest, len(sealed), links),
            answered,
            sum(stream.bytes for source in taken for stream in source.streams),
            manifest.stored + len(sealed) + len(line),
            clock.monotonic() - self._clock,
            doubts,
        )

    def _announce(self, ref: ManifestRef, links: Sequence[str], answered: Sequence[str]) -> tuple[str, ...]:
        """Tell the networks; what failed is a doubt, since the stores have it all.

        Of its CIDs the one is told under which a store has it, which may be none that we would compute.
        """
        skylink = next((link for link in links if link.startswith(SIA)), None)
        told = [link for link in answered if link.startswith(IPFS)]
        cid = links[0] if links[0] in told or not told else told[0]
        announcement = heads.announcement(self._key, ref.sequence, cid, skylink, clock.now())
        self._store.put(heads.IPNS_RECORD, announcement.ipns_record)
        return heads.publish(announcement, self._options.publishers)

    def _missed(self) -> Iterator[str]:
        """Which stores that are not required lack something of this run."""
        missed = self._store.missed() if isinstance(self._store, Several) else {}
        for store, why in missed.items():
            yield f"store {store} lacks some of this backup, until the next one or `dwebbackup repair` mends it: {why}"

    def _judge(self, found: Tally, past: Sequence[Summary]) -> Tally:
        """Whether it is of the database that was meant."""
        if self._options.accept:
            return lineage.accept(found, past)
        known = any(entry.tally.identity == found.identity for entry in lineage.entries(past))
        restoration = None
        if past and not known:
            with contextlib.suppress(Damaged, KeyForbids):  # then it is suspect; nobody may stop backups by spoiling it
                restoration = self._catalog.restoration(found.identity)
        return lineage.judge(found, past, restoration, self._options.suspect_below)


def _average_before(source: Source, before: Sequence[Backup], catalog: Catalog) -> int | None:
    for backup in before:
        try:
            sources = catalog.whole(backup.manifest).sources
        except Damaged:
            continue  # spoiled: that must not spoil this one, too
        for record in sources:
            if record.facts.name == source.name and record.streams:
                return record.streams[0].average
    return None


def _bare(newest: Newest) -> Iterator[str]:
    """Which of several stores had nothing when this began: a disk that is not mounted looks like that, too."""
    for name in newest.listing.bare:
        yield f"store {name} had no backup, though others have: it is new, or was wiped, or its disk is not mounted"
