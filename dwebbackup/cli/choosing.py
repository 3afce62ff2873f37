"""What the user means: which writer, and which backup."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dwebbackup import assemble, clock, records
from dwebbackup.access import Opened, open_store
from dwebbackup.catalog import Backup, snapshot_of
from dwebbackup.cli.edge import STOP
from dwebbackup.config import Config
from dwebbackup.errors import Damaged, NoSuchBackup, WrongConfiguration
from dwebbackup.keys import Key
from dwebbackup.manifest import Manifest

HOW = "`dwebbackup list` shows what there is"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A backup as the user calls it."""

    name: str
    """`latest`, an id, a time, or a manifest's file."""
    as_of: str = ""
    """Of those that `latest` means, none later than this time."""
    at_least: int | None = None
    """The newest backup must have this sequence or a higher one."""
    source: str | None = None
    """Of `latest`, and of those of a time, only a backup of this source."""

    @property
    def is_newest(self) -> bool:
        """Whether it is the newest one, whichever that is."""
        return self.name == "latest" and not self.as_of


def writer_numbers(key: Key, config: Config) -> list[int]:
    """The writers of the configured store that *key* opens, oldest first; none where there is no store yet."""
    if not assemble.has_begun(config):
        return []
    try:
        return [opened.number for opened in open_store(key, assemble.store(config, STOP), certain=True)]
    except NoSuchBackup:
        return []


def reachable(number: int | None, key: Key, config: Config) -> int:
    """The writer *number*, or the current one. Raises `WrongConfiguration` for one that the words would not find."""
    newest = max(writer_numbers(key, config), default=0)
    if number is None:
        return max(newest, 1)
    if number > newest + 1:
        known = f"its newest is {newest}" if newest else "it has none yet"
        raise WrongConfiguration(
            f"the 24 words would not find the backups of writer {number} in the configured store: {known}",
            f"take {newest + 1}; or configure the store where those before it are",
        )
    return number


def find(writers: Sequence[Opened], wanted: Wanted) -> tuple[Opened, Backup]:
    """The backup, with its writer. Raises `NoSuchBackup`, `WrongConfiguration`, `Damaged`."""
    moment = _moment(wanted)
    if wanted.at_least is not None:
        _require_sequence(writers, wanted.at_least, wanted.source)
    if moment:
        return _before(writers, moment, wanted.source)
    if wanted.name == "latest":
        return latest(writers, wanted.source)
    return _called(writers, wanted.name)


def latest(writers: Sequence[Opened], source: str | None = None) -> tuple[Opened, Backup]:
    """The newest good backup of the highest writer that has one; of *source*, if named.

    A writer whose manifests cannot be read is an error: what is newest must not silently get older.
    """
    unfit: NoSuchBackup | None = None
    for opened in reversed(writers):
        try:
            return opened, opened.catalog.latest(source)
        except NoSuchBackup as error:
            if source is None and opened.catalog.refs():
                raise
            unfit = unfit or error
    raise (unfit if source and unfit else none_yet(writers))


def none_yet(writers: Sequence[Opened]) -> NoSuchBackup:
    """What to raise where writers began, and no backup of theirs is listed."""
    numbers = ", ".join(str(opened.number) for opened in writers)
    return NoSuchBackup(
        f"writer {numbers} began in this store, which lists no backup of it",
        "none was made yet (`dwebbackup backup` makes one), or they were taken away",
    )


def overdue(manifest: Manifest) -> str:
    """What to say of a newest backup whose successor should be there; empty when all is well."""
    if manifest.next_by and clock.from_iso(manifest.next_by) < clock.now():
        return f"stale: the next backup was due by {manifest.next_by}; stopped, or rolled back"
    return ""


def _moment(wanted: Wanted) -> str:
    """The time meant, as `clock.iso` writes it; empty when none is."""
    if wanted.as_of:
        if wanted.name != "latest":
            raise WrongConfiguration("--as-of goes with `latest` only", "name the backup, or the time")
        return _parse_time(wanted.as_of)
    return _parse_time(wanted.name) if is_time(wanted.name) else ""


def is_time(name: str) -> bool:
    """Whether it is meant to be one."""
    return re.match(r"\d{4}-\d{2}-\d{2}", name) is not None


def _parse_time(text: str) -> str:
    try:
        return clock.iso(clock.from_iso(text))
    except ValueError:
        raise WrongConfiguration(f"{text!r} is not a time", "write 2026-11-20T03:00, in UTC") from None


def _require_sequence(writers: Sequence[Opened], sequence: int, source: str | None) -> None:
    newest = latest(writers, source)[1].ref
    if newest.sequence < sequence:
        raise Damaged(
            f"the newest backup here, {newest.id}, is older than the backup {sequence} that you know of",
            "the store was rolled back, or backups were deleted from it; ask another store",
        )


def _before(writers: Sequence[Opened], moment: str, source: str | None) -> tuple[Opened, Backup]:
    found = []
    for opened in writers:
        try:
            found.append((opened, opened.catalog.before(moment, source)))
        except NoSuchBackup:
            continue
    if not found:
        raise NoSuchBackup(f"no backup{f' of {source}' if source else ''} is as old as {moment}", HOW)
    opened, newest = max(found, key=lambda pair: (snapshot_of(pair[1].manifest), pair[0].number))
    return opened, replace(newest, doubts=tuple(doubt for _, backup in found for doubt in backup.doubts))


def _called(writers: Sequence[Opened], name: str) -> tuple[Opened, Backup]:
    wanted = _digest_of(name) if os.path.isfile(name) else name
    matches = [(opened, ref) for opened in writers for ref in opened.catalog.matching(wanted)]
    if not matches:
        raise NoSuchBackup(f"there is no backup {name}", HOW)
    if len(matches) > 1:
        listed = ", ".join(f"{ref.id} of writer {opened.number}" for opened, ref in matches)
        raise NoSuchBackup(f"{name} fits several: {listed}", "use the longer form")
    opened, ref = matches[0]
    return opened, opened.catalog.read(ref)


def _digest_of(path: str) -> str:
    """A copy of the manifest, whatever it is called: its digest says which one it is."""
    try:
        with open(path, "rb") as file:
            return records.digest(file.read())
    except OSError as error:
        raise WrongConfiguration(f"cannot read {path}: {error.strerror}") from None
