"""A folder as a target: what a restore would do there, and the restore, all or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from dwebbackup.errors import Damaged, ToolMissing, WrongConfiguration
from dwebbackup.manifest import SourceRecord, StreamRecord
from dwebbackup.ports import Restored, StreamReader, TargetOptions
from dwebbackup.report.wording import count, size
from dwebbackup.sources.files import folder, place
from dwebbackup.sources.files.address import Address
from dwebbackup.sources.files.dump import FILES, KIND, REREAD
from dwebbackup.sources.files.place import Place, State
from dwebbackup.sources.files.unpacking import Unpacking


class FilesTarget:
    """A folder that a backup can be brought back to."""

    def __init__(self, url: str) -> None:
        self._address = Address.from_url(url)

    @property
    def url(self) -> str:
        return self._address.url

    def plan(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Sequence[str]:  # noqa: ARG002
        """Raises `TargetNotEmpty`, `DatabaseRefused`, `ToolMissing`."""
        found = self._look(source, options)
        files, _ = _streams(source)
        free = os.statvfs(os.path.dirname(found.temporary))
        room = size(free.f_bavail * free.f_frsize)
        many = count(files.rows or 0, "file")
        steps = [f"unpack {many} into {found.temporary}: {size(files.bytes)}, where {room} are free"]
        if found.inside:
            steps += [f"keep what is in {found.path} in a folder inside of it"] if found.state is State.FULL else []
            return [*steps, f"move all of it up into {found.path}, which stays: it is a mount point, or not ours"]
        steps += [f"keep {found.path} under another name"] if found.state is State.FULL else []
        return [*steps, f"rename it to {found.path}"]

    def load(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Restored:
        """Raises `TargetNotEmpty`, `DatabaseRefused`, `RestoreFailed`, and what *read* raises."""
        found = self._look(source, options)
        files, changed = _streams(source)
        with place.temporary_folder(found) as path, Unpacking(path) as unpacking:
            unpacking.unpack(read(files))
            if unpacking.files != files.rows:
                raise Damaged(f"the folder's stream has {unpacking.files} files, and the backup counted {files.rows}")
            for stream in changed:
                unpacking.put_again(read(stream))
            unpacking.finish()
            if not found.inside:
                unpacking.dress_top(path)
            unpacking.flush()
            if options.announce:
                options.announce(folder.identity(self._identified(found)))
            notes = place.take_place(found)
            if found.inside:
                unpacking.dress_top(found.path)
            told = (*source.facts.notes, *unpacking.notes(), *notes)
            short = (*source.facts.shortfalls, *unpacking.shortfalls())
        return Restored(self.url, 0, unpacking.files, told, short, unit="file")

    def _look(self, source: SourceRecord, options: TargetOptions) -> Place:
        if source.facts.kind != KIND:
            raise WrongConfiguration(f"this backup is of {source.facts.kind}, and {self.url} is a folder")
        if options.tables:
            hint = "restore all of it to another folder, and take from there what you need"
            raise WrongConfiguration("a folder has no tables: --table is for databases", hint)
        found = place.look(self._address.path)
        place.require_room(found, replace=options.replace)
        return found

    def _identified(self, found: Place) -> Address:
        """The folder whose identity stays: the one that will be renamed, or the one that stays."""
        path = found.path if found.inside else found.temporary
        return Address(path, identity=self._address.identity)


def _streams(source: SourceRecord) -> tuple[StreamRecord, Iterator[StreamRecord]]:
    """That of everything, and those of what changed meanwhile. Raises `ToolMissing`, `Damaged`."""
    unknown = sorted({stream.kind for stream in source.streams} - {FILES, REREAD})
    if unknown:
        raise ToolMissing(
            f"the backup holds {', '.join(unknown)}, which this version cannot put back",
            "install the newest version: pip install --upgrade dwebbackup",
        )
    files = [stream for stream in source.streams if stream.kind == FILES]
    if len(files) != 1:
        raise Damaged(f"the backup has {len(files)} streams of a folder's files")
    return files[0], (stream for stream in source.streams if stream.kind == REREAD and stream.bytes)
