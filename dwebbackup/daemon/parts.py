"""What the sidecar works with, put together from its configuration; or all that is wrong with that."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from dwebbackup import assemble, networks
from dwebbackup.access import Opened, below, open_store, open_writer
from dwebbackup.config import Config
from dwebbackup.errors import KeyForbids, NoSuchBackup, WrongConfiguration
from dwebbackup.keys import Key, OwnerKey, ReaderKey, WriterKey, parse_key
from dwebbackup.ports import Publisher, Source, Store, Target
from dwebbackup.schedule import Schedule

WORDS = (
    "the 24 words are on this machine: whoever runs it can read, forge and delete every backup of yours; make a writer "
    "key (`dwebbackup key writer`), and put that here instead"
)
READER = (
    "a reader key is on this machine, and the database is not empty: whoever runs it can read every backup; take "
    "the restore key out again"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A source, and how it is looked after."""

    source: Source
    target: Target
    """The same database, for the day on which it is empty."""
    url: str
    """Without a password."""
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything, ready to be used."""

    config: Config
    store: Store
    """The whole of it, of every writer; patient, for work that would be lost."""
    quick: Store
    """The same, which soon says that it does not answer: for looks."""
    writer: WriterKey
    opened: Opened
    """What that writer sees, at a look."""
    recipients: tuple[bytes, ...]
    uploads: int
    publishers: tuple[Publisher, ...]
    """Networks that are told of each new head."""
    kept: tuple[Kept, ...]
    restore_key: Key | None
    """What opens rows."""
    warnings: tuple[str, ...]

    @property
    def own_store(self) -> Store:
        """The part of the store that is the writer's."""
        return below(self.store, self.writer.id)

    def origins(self) -> list[Opened]:
        """The writers whose rows the restore key opens, newest first. Raises `StoreUnreachable`."""
        if isinstance(self.restore_key, ReaderKey):
            return [open_writer(self.restore_key, self.restore_key.number, self.quick)]
        if isinstance(self.restore_key, OwnerKey):
            try:
                return open_store(self.restore_key, self.quick)[::-1]
            except NoSuchBackup:
                return []
        return []


def put_together(config: Config, stop: threading.Event) -> Parts:
    """Raises `WrongConfiguration`, `KeyForbids`, `StoreUnreachable`, `Damaged`."""
    sources = assemble.sources(config)
    if not config.key:
        raise WrongConfiguration(
            "no key is configured", "set DWEBBACKUP_KEY, or DWEBBACKUP_KEY_FILE, to what `dwebbackup key writer` prints"
        )
    key = _key(config.key, "DWEBBACKUP_KEY")
    if isinstance(key, ReaderKey):
        raise KeyForbids("a reader key restores; it cannot add backups", "use a writer key: `dwebbackup key writer`")
    restore_key = _restore_key(config, key)
    recipients = assemble.recipients(config)
    begun = assemble.has_begun(config)
    quick, store = assemble.quick_and_patient_store(config, stop)
    writer = key if isinstance(key, WriterKey) else key.writer(_current(key, quick))
    kept = tuple(
        Kept(source, target, target.url, source_config.schedule or config.schedule)
        for source, source_config in zip(sources, config.sources, strict=True)
        for target in [assemble.own_target(source_config, config)]
    )
    warnings = (*config.warnings, *([WORDS] if OwnerKey in (type(key), type(restore_key)) else []))
    if not begun:
        warnings += (f"a new store was begun in {store.url}: is its disk mounted?",)
    return Parts(
        config,
        store,
        quick,
        writer,
        open_writer(writer, writer.number, quick),
        recipients,
        assemble.uploads(config),
        networks.publishers(config, stop),
        kept,
        restore_key,
        warnings,
    )


def _restore_key(config: Config, key: Key) -> Key | None:
    if not config.restore_key:
        return key if isinstance(key, OwnerKey) else None
    found = _key(config.restore_key, "DWEBBACKUP_RESTORE_KEY")
    if isinstance(found, WriterKey):
        raise KeyForbids(
            "DWEBBACKUP_RESTORE_KEY is a writer key, which cannot read one row",
            "put the line there that `dwebbackup key reader` prints",
        )
    return found


def _key(text: str, called: str) -> Key:
    try:
        return parse_key(text)
    except WrongConfiguration as error:
        raise WrongConfiguration(f"{called}: {error}", error.hint) from None


def _current(key: OwnerKey, store: Store) -> int:
    """The number of the newest writer that the store has, or the first."""
    try:
        return open_store(key, store)[-1].number
    except NoSuchBackup:
        return 1
