"""From a key and networks to backups: a writer's heads are asked for everywhere, the newest one is followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dwebbackup import records
from dwebbackup.access import GAP, Opened, open_writer
from dwebbackup.catalog import Backup
from dwebbackup.errors import (
    Damaged,
    DwebbackupError,
    KeyForbids,
    NoSuchBackup,
    ObjectMissing,
    StoreUnreachable,
    WrongConfiguration,
)
from dwebbackup.gathered import Gathered, name_of, read_into
from dwebbackup.identifying import keys_of
from dwebbackup.keys import Key, OwnerKey
from dwebbackup.links import ipns
from dwebbackup.manifest import Manifest, ManifestRef
from dwebbackup.ports import Carrier, Finder, HeadKeys, Lead, Store

AT_ONCE = 16
"""Questions under way, at most: those who are asked may take a minute to search their network."""

Answer = Lead | Damaged | StoreUnreachable | None
Answers = Sequence[tuple[str, Answer]]
"""With the names of those who gave them; two may have one name, as what is a gateway and keeps records, too."""


@dataclass(slots=True)
class Located:
    """What networks have of a key's backups."""

    writers: list[Opened] = field(default_factory=list)
    """Those with a backup that could be had, oldest first."""
    notes: list[str] = field(default_factory=list)
    """What is as one would expect of networks, such as somebody who did not answer."""
    doubts: list[str] = field(default_factory=list)
    """What is odd."""
    lost: dict[int, DwebbackupError] = field(default_factory=dict)
    """By the writer's number, why what its head leads to cannot be had; older backups may be there."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Whom to ask."""

    finders: Sequence[Finder]
    carrier: Carrier
    behind: Store
    """What gives objects by their links."""


def locate(key: Key, networks: Networks, numbers: Iterable[int] = ()) -> Located:
    """The writers of *key*, or those of these *numbers*, with the manifests that their heads lead to, and older ones
    that these tell of.

    Raises `NoSuchBackup` only when everybody was asked and knows of none; else `StoreUnreachable` or `Damaged`.
    """
    asked = _ask(key, networks.finders, sorted(numbers)) if numbers else _ask_all(key, networks.finders)
    located = Located()
    gathered = Gathered(networks.behind)
    for number, answers in asked.items():
        leads = _leads(answers, located)
        if leads:
            _follow(open_writer(key, number, gathered), gathered, leads, networks.carrier, located)
    if not located.writers:
        raise _nothing(asked.values(), located)
    return located


def _ask_all(key: Key, finders: Sequence[Finder]) -> Mapping[int, Answers]:
    """Of the words, writers are looked for until several in a row have left no trace."""
    if not isinstance(key, OwnerKey):
        return _ask(key, finders, [key.number])
    asked: dict[int, Answers] = {}
    end = GAP
    while len(asked) < end:
        asked.update(_ask(key, finders, range(len(asked) + 1, end + 1)))
        end = GAP + max((number for number, answers in asked.items() if _has_trace(answers)), default=0)
    return asked


def _has_trace(answers: Answers) -> bool:
    """A good head is one. What anybody could answer to every question is not: liars would keep us asking for ever."""
    return any(isinstance(answer, Lead) for _, answer in answers)


def _ask(key: Key, finders: Sequence[Finder], numbers: Iterable[int]) -> Mapping[int, Answers]:
    """What each says of each writer; all at once."""
    with ThreadPoolExecutor(AT_ONCE, "finder") as pool:
        asked = {
            number: [(finder.name, pool.submit(_answer, finder, keys_of(key, number))) for finder in finders]
            for number in numbers
        }
        return {number: [(name, future.result()) for name, future in each] for number, each in asked.items()}


def _answer(finder: Finder, keys: HeadKeys) -> Answer:
    try:
        return finder.find(keys)
    except (Damaged, StoreUnreachable) as error:
        return error


def _leads(answers: Answers, located: Located) -> list[Lead]:
    """Highest first; whoever tells of an older one, or nothing that holds, is told of."""
    leads = sorted((each for _, each in answers if isinstance(each, Lead)), key=lambda each: -each.sequence)
    for lead in leads:
        if lead.sequence < leads[0].sequence:
            located.notes.append(f"{lead.teller} still tells of backup {lead.sequence}; {leads[0].sequence} is newer")
    for name, answer in answers:
        if isinstance(answer, Damaged):
            _once(located.doubts, f"what {name} told was passed over", answer)
        elif isinstance(answer, StoreUnreachable):
            _once(located.notes, f"{name} could not be asked, and may know of a newer backup", answer)
    return leads


def _once(sentences: list[str], sentence: str, why: object = "") -> None:
    """The same is not said of every writer; each would have a reason of its own."""
    if not any(each.startswith(sentence) for each in sentences):
        sentences.append(f"{sentence}: {why}" if why else sentence)


def _follow(opened: Opened, gathered: Gathered, leads: Sequence[Lead], carrier: Carrier, located: Located) -> None:
    """The manifests of the highest sequence that can be had; two, where two machines wrote at once."""
    found: list[Backup] = []
    for sequence in dict.fromkeys(lead.sequence for lead in leads):
        failures: list[DwebbackupError] = []
        for link in dict.fromkeys(lead.link for lead in leads if lead.sequence == sequence):
            try:
                found.append(_fetched(opened, gathered, sequence, link, carrier))
            except (Damaged, KeyForbids, StoreUnreachable, WrongConfiguration) as error:
                failures.append(error)
                located.doubts.append(f"writer {opened.number}: what leads to backup {sequence} is no good: {error}")
        if found:
            break
        located.lost.setdefault(opened.number, failures[0])
    if found:
        located.writers.append(opened)
        for backup in found:
            _learn_older(opened, gathered, backup.manifest, located)


def _fetched(opened: Opened, gathered: Gathered, sequence: int, link: str, carrier: Carrier) -> Backup:
    sealed = fetched(carrier, link)
    return read_into(opened, gathered, ManifestRef(sequence, records.digest(sealed)), sealed, link)


def fetched(carrier: Carrier, link: str) -> bytes:
    """What *link* leads to. Raises `StoreUnreachable` where nobody has it: somebody may, later."""
    try:
        return carrier.fetch(link)
    except ObjectMissing as error:
        raise StoreUnreachable(str(error), error.hint) from error


def _learn_older(opened: Opened, gathered: Gathered, manifest: Manifest, located: Located) -> None:
    """What the manifest says of those before it: with their links they can be fetched like it."""
    told = {each.ref: each.links for each in manifest.history}
    for ref, links in told.items():
        if links:
            gathered.learn(name_of(opened, ref), links)
    if without := [ref for ref in manifest.kept if not told.get(ref)]:
        _once(
            located.notes,
            f"{len(without)} older backups of writer {opened.number} have no links; a store may have them",
        )


def _nothing(asked: Iterable[Answers], located: Located) -> DwebbackupError:
    """Why no backup was found: never that there is none, while somebody might know of one."""
    if located.lost:
        return located.lost[max(located.lost)]
    told = [each for answers in asked for each in answers]
    names = ", ".join(dict.fromkeys(name for name, _ in told))
    for kind in (StoreUnreachable, Damaged):
        for _, answer in told:
            if isinstance(answer, kind):
                return kind(
                    f"no head of this key's backups was found, and not everybody could tell: {answer}",
                    "set DWEBBACKUP_STORE, if there is a store; else try later, or give a manifest's link or file",
                )
    return NoSuchBackup(
        f"none of {names or 'nobody'} knows of a backup of this key",
        "networks forget what nobody publishes again: name a store, or a link from the recovery sheet",
    )


def told_of(name: str, finders: Sequence[Finder]) -> str:
    """The link to which *name*, `ipns://…` of a key that is none of ours, leads now. Raises as `locate` does."""
    public = ipns.key_of(ipns.parse_name(name.removeprefix("ipns://")))
    with ThreadPoolExecutor(AT_ONCE, "finder") as pool:
        found = list(pool.map(lambda finder: _answer(finder, HeadKeys(public, bytes(32))), finders))
    leads = [each for each in found if isinstance(each, Lead)]
    if not leads:
        names = [finder.name for finder in finders]
        raise _nothing([list(zip(names, found, strict=True))], Located())
    return max(leads, key=lambda lead: lead.sequence).link
