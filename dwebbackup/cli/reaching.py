"""Where a command gets its backups from: the configured stores, the networks, a link, or a manifest's file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import click

from dwebbackup import assemble, identifying, locating
from dwebbackup.access import GAP, Opened, open_store
from dwebbackup.catalog import Backup
from dwebbackup.cli.choosing import Wanted, find, is_time
from dwebbackup.cli.edge import STOP
from dwebbackup.config import Config
from dwebbackup.errors import Damaged, DwebbackupError, KeyForbids, NoSuchBackup, StoreUnreachable, WrongConfiguration
from dwebbackup.keys import Key, OwnerKey
from dwebbackup.links import pasted
from dwebbackup.locating import Located
from dwebbackup.networks import networks
from dwebbackup.ports import Store
from dwebbackup.records import LARGEST
from dwebbackup.remembered import Memory, usual_memory
from dwebbackup.report import log

from_networks = click.option(
    "--from-networks",
    is_flag=True,
    help="Do not ask the stores: find and fetch by links, from gateways and portals. So it is where there is no store.",
)
"""An option."""

_KINDS = (StoreUnreachable, Damaged, KeyForbids, WrongConfiguration, DwebbackupError)

_HOW = "with --from-networks, gateways are asked instead"


@dataclass(frozen=True, slots=True)
class Reached:
    """The writers whose backups can be had."""

    key: Key
    writers: Sequence[Opened]
    notes: Sequence[str] = ()
    """What the user should hear of, though nothing is wrong."""
    doubts: Sequence[str] = ()
    lost: Mapping[int, DwebbackupError] = field(default_factory=dict)
    """As `Located.lost`."""
    chosen: tuple[Opened, Backup] | None = None
    """What the user's link or file is."""
    memory: Memory = field(default_factory=lambda: usual_memory(os.environ))

    @staticmethod
    def means(name: str) -> str:
        """A name that leads on is whatever is newest there."""
        return "latest" if pasted.is_pasted(name) else name

    def find(self, wanted: Wanted) -> tuple[Opened, Backup]:
        """The backup that is meant, with its writer. Raises as `choosing.find` does."""
        if self.chosen:
            opened, found = _as_wanted(self.chosen, wanted)
        else:
            if wanted.is_newest:
                self._require_newest()
            opened, found = find(self.writers, wanted)
        return opened, replace(found, doubts=(*found.doubts, *self.doubts))

    def require_as_new_as_seen(self, found: Backup, *, accept_older: bool) -> None:
        """Raises `Damaged` where this machine has seen a newer backup than is there; which can be forgotten."""
        if self.chosen:
            return
        if accept_older:
            self._forget()
        elif older := self.rolled_back({found.manifest.writer: found.ref.sequence}):
            raise Damaged(
                "; ".join(older),
                "ask another store; to take what there is all the same, name the backup, or use --accept-older",
            )
        self.memory.see(found.manifest.writer, found.ref.sequence)

    def _require_newest(self) -> None:
        """What is newest must not silently get older."""
        lost = max(self.lost, default=0)
        if self.writers and lost >= self.writers[-1].number:
            error = self.lost[lost]
            known = self.writers[-1].catalog.refs()[-1]
            raise next(kind for kind in _KINDS if isinstance(error, kind))(
                f"the newest backup of writer {lost} is known, and cannot be had: {error}",
                f"the newest that can be had is {known.id}: name it, if that will do",
            ) from error

    def rolled_back(self, there: Mapping[str, int]) -> list[str]:
        """A sentence for each writer of whom this machine has seen a newer backup. *there*: what is, by writer."""
        numbers = {opened.catalog.writer: opened for opened in self.writers}
        sentences = []
        for writer, number in _writers_of(self.key, self.writers):
            seen = self.memory.highest(writer)
            if there.get(writer, 0) < seen and (newest := _newest(numbers.get(writer))) < seen:
                said = (
                    f"{newest} is the newest backup of writer {number} here"
                    if newest
                    else f"writer {number} has none here"
                )
                sentences.append(f"{said}, and this machine has seen {seen}: rolled back, or another store than before")
        return sentences

    def remember(self, there: Mapping[str, int]) -> None:
        """That these were seen, by writer."""
        for writer, sequence in there.items():
            self.memory.see(writer, sequence)

    def _forget(self) -> None:
        """That there were newer ones."""
        numbers = {opened.catalog.writer: opened for opened in self.writers}
        for writer, _ in _writers_of(self.key, self.writers):
            if self.memory.highest(writer):
                self.memory.set(writer, _newest(numbers.get(writer)))


def _newest(opened: Opened | None) -> int:
    """The sequence of what can be read: anybody who may write there could add a name with a higher one."""
    tips = opened.catalog.newest_for_writing().tips if opened else ()
    return max((tip.ref.sequence for tip in tips), default=0)


def _writers_of(key: Key, found: Sequence[Opened]) -> list[tuple[str, int]]:
    """Ids and numbers of those that might be there."""
    if not isinstance(key, OwnerKey):
        return [(key.id, key.number)]
    end = max((opened.number for opened in found), default=0) + GAP
    return [(key.writer(number).id, number) for number in range(1, end + 1)]


def _as_wanted(chosen: tuple[Opened, Backup], wanted: Wanted) -> tuple[Opened, Backup]:
    if wanted.as_of:
        raise WrongConfiguration("--as-of goes with `latest` only", "a link or a file is one certain backup")
    ref = chosen[1].ref
    if wanted.at_least is not None and ref.sequence < wanted.at_least:
        raise Damaged(f"this is backup {ref.id}, and older than {wanted.at_least}", "leave out --at-least")
    return chosen


def reach(key: Key, config: Config, name: str = "latest", *, from_networks: bool = False) -> Reached:
    """Whatever has the backup of this *name*. Raises `NoSuchBackup`, `StoreUnreachable`, `Damaged`, and
    `WrongConfiguration` where there is nobody to ask.
    """
    if pasted.is_pasted(name):
        return _by_link(key, config, pasted.parse(name))
    if name != "latest" and not is_time(name) and os.path.isfile(name):
        return _by_file(key, config, name)
    if config.stores and not from_networks:
        return Reached(key, _in_stores(key, config))
    log.logger(__name__).info("asking the networks for backups", gateways=config.gateways, portals=config.portals)
    return _of(key, locating.locate(key, networks(config, stop=STOP)))


def _of(key: Key, located: Located) -> Reached:
    return Reached(key, located.writers, located.notes, located.doubts, located.lost)


def _in_stores(key: Key, config: Config) -> list[Opened]:
    try:
        return open_store(key, assemble.store(config, STOP))
    except (NoSuchBackup, StoreUnreachable) as error:
        if config.gateways or config.portals:
            error.hint = f"{error.hint} ({_HOW})"
        raise


def _by_link(key: Key, config: Config, seen: pasted.Pasted) -> Reached:
    """A name of a writer's own head is followed as one; any other name is just another way to write a link."""
    asked = networks(config, seen, STOP)
    link = seen.link
    if seen.leads_on:
        if number := identifying.writer_called(key, link):
            return _of(key, locating.locate(key, asked, [number]))
        if seen.kind == "ipns":
            link = locating.told_of(link, asked.finders)
    sealed = locating.fetched(asked.carrier, link)
    behind = assemble.store_and_links(config, asked.behind, STOP) if config.stores else asked.behind
    return _chosen(key, sealed, behind, link)


def _by_file(key: Key, config: Config, path: str) -> Reached:
    """A manifest that is at hand need not be in any store."""
    sealed = _content(path)
    if not config.stores:
        return _chosen(key, sealed, networks(config, stop=STOP).behind)
    links = networks(config, stop=STOP).behind if config.gateways or config.portals else None
    return _chosen(key, sealed, assemble.store_and_links(config, links, STOP))


def _chosen(key: Key, sealed: bytes, behind: Store, *links: str) -> Reached:
    chosen = identifying.from_bytes(key, sealed, behind, *links)
    return Reached(key, [chosen[0]], chosen=chosen)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise WrongConfiguration(f"cannot read {path}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise WrongConfiguration(f"{path} is too large to be a manifest")
    return data
