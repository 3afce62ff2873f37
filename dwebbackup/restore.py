"""One restore: manifest, indexes, packs from the store, every chunk checked, into the target, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dwebbackup import clock
from dwebbackup.access import Opened
from dwebbackup.catalog import Backup, sources_of
from dwebbackup.errors import NoSuchBackup
from dwebbackup.manifest import Manifest, SourceRecord, StreamRecord
from dwebbackup.ports import Progress, Quiet, Restored, Target, TargetOptions


@dataclass(frozen=True, slots=True)
class Options:
    """How a restore runs."""

    replace: bool = False
    jobs: int = 2
    source: str | None = None
    """Which of the backup's sources; not needed when there is only one."""
    tables: tuple[str, ...] = ()
    """Only these tables, with what belongs to them; everything, if none is named."""
    progress: Progress = field(default_factory=Quiet)
    announce: Callable[[str], None] | None = None
    """Called with the target's identity when all is in it, before it takes its place; what it raises undoes it all."""


@dataclass(frozen=True, slots=True)
class Done:
    """A database that is in its place."""

    backup: Backup
    restored: Restored
    seconds: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why this may not be all that was wanted: doubts about the choice, and what was left out."""
        return (*self.backup.doubts, *self.restored.shortfalls)


def restore(opened: Opened, backup: Backup, target: Target, options: Options) -> Done:
    """Bring *backup* back to *target*.

    Raises `KeyForbids` without a key for rows, `TargetNotEmpty`, `Damaged`, `ObjectMissing`,
    `StoreUnreachable`, `DatabaseRefused`, `ToolMissing`, `RestoreFailed`; then the target is as it was.
    """
    began = clock.monotonic()
    manifest = opened.catalog.whole(backup.manifest)
    source = choose(manifest, options.source)
    with opened.packs(manifest) as packs:
        options.progress.begin(f"restoring {source.facts.name}", sum(stream.bytes for stream in source.streams))

        def read(stream: StreamRecord) -> Iterator[bytes]:
            for chunk in packs.stream(stream):
                options.progress.advance(len(chunk))
                yield chunk

        wanted = TargetOptions(options.replace, options.jobs, options.tables, options.announce)
        restored = target.load(source, read, wanted)
        options.progress.end()
    return Done(backup, restored, clock.monotonic() - began)


def plan(opened: Opened, backup: Backup, target: Target, options: Options) -> list[str]:
    """What `restore` would do, a sentence each; raises what it would raise before touching anything."""
    manifest = opened.catalog.whole(backup.manifest)
    source = choose(manifest, options.source)
    with opened.packs(manifest) as packs:
        return list(target.plan(source, packs.stream, TargetOptions(options.replace, options.jobs, options.tables)))


def choose(manifest: Manifest, name: str | None) -> SourceRecord:
    """The source called *name*, or the only one. Raises `NoSuchBackup`."""
    names = sources_of(manifest)
    if name is None and len(names) == 1:
        return manifest.sources[0]
    for source in manifest.sources:
        if source.facts.name == name:
            return source
    raise NoSuchBackup(
        f"this backup has the sources {', '.join(names)}" + (f", not {name}" if name else ""),
        "name one with --source",
    )
