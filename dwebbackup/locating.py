"""From a key and networks to backups: a writer's heads are asked for everywhere, the newest one is followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dwebbackup import heads, records
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
from dwebbackup.keys import Key, OwnerKey
from dwebbackup.links import ipns, registry
from dwebbackup.manifest import Manifest, ManifestRef
from dwebbackup.ports import Carrier, Finder, HeadKeys, Lead, Store, Stored, StoreTraits
from dwebbackup.records import Access

FURTHEST = 256
"""The highest number of a writer that is tried where only a manifest says, by its signature, which one it is."""

AT_ONCE = 16
"""Questions under way, at most: those who are asked may take a minute to search their network."""

Answer = Lead | Damaged | StoreUnreachable | None


class Gathered:
    """Manifests that were fetched by their links, as a store that is only read: they have names here, and all else in
    *behind* has links.
    """

    def __init__(self, behind: Store) -> None:
        self._behind = behind
        self._held: dict[str, bytes] = {}
        self._links: dict[str, tuple[str, ...]] = {}

    @property
    def name(self) -> str:
        return self._behind.name

    @property
    def url(self) -> str:
        return self._behind.url

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(deletes=False, not_found_is_final=False, distance=self._behind.traits.distance)

    def hold(self, name: str, data: bytes) -> None:
        """*data* is what has that name."""
        self._held[name] = data

    def drop(self, name: str) -> None:
        """It is not, after all."""
        del self._held[name]

    def learn(self, name: str, links: Sequence[str]) -> None:
        """Under which links *behind* has it."""
        self._links[name] = tuple(links)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:  # noqa: ARG002
        raise _only_read(name)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        if name in self._held:
            return self._held[name]
        return self._behind.get(name, tuple(dict.fromkeys((*links, *self._links.get(name, ())))))

    def head(self, name: str) -> Stored:
        for stored in self.list(name):
            if stored.name == name:
                return stored
        raise ObjectMissing(f"{name} was not looked for: networks keep no names, only links")

    def list(self, prefix: str) -> Iterator[Stored]:
        """The manifests; of those that are known by their links only, the size is not."""
        for name in {**self._links, **self._held}:
            if name.startswith(prefix):
                yield Stored(name, len(self._held.get(name, b"")), 0.0)

    def delete(self, name: str) -> None:
        raise _only_read(name)


def _only_read(name: str) -> StoreUnreachable:
    return StoreUnreachable(f"networks are only read here, so {name} cannot be changed", "configure a store")


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
        raise _nothing(asked, located)
    return located


def _ask_all(key: Key, finders: Sequence[Finder]) -> Mapping[int, Mapping[str, Answer]]:
    """Of the words, writers are looked for until several in a row have left no trace."""
    if not isinstance(key, OwnerKey):
        return _ask(key, finders, [key.number])
    asked: dict[int, Mapping[str, Answer]] = {}
    end = GAP
    while len(asked) < end:
        asked.update(_ask(key, finders, range(len(asked) + 1, end + 1)))
        end = GAP + max(
            (number for number, answers in asked.items() if any(map(_is_trace, answers.values()))), default=0
        )
    return asked


def _is_trace(answer: Answer) -> bool:
    """A good head is; what anybody could answer to every question is not, or who lies would keep us asking for ever."""
    return isinstance(answer, Lead)


def _ask(key: Key, finders: Sequence[Finder], numbers: Iterable[int]) -> Mapping[int, Mapping[str, Answer]]:
    """What each says of each writer; all at once."""
    with ThreadPoolExecutor(AT_ONCE, "finder") as pool:
        asked = {
            number: {finder.name: pool.submit(_answer, finder, keys_of(key, number)) for finder in finders}
            for number in numbers
        }
        return {
            number: {name: future.result() for name, future in futures.items()} for number, futures in asked.items()
        }


def keys_of(key: Key, number: int) -> HeadKeys:
    """Under which networks keep the head of that writer."""
    return key.writer(number).head_keys if isinstance(key, OwnerKey) else key.head_keys


def _answer(finder: Finder, keys: HeadKeys) -> Answer:
    try:
        return finder.find(keys)
    except (Damaged, StoreUnreachable) as error:
        return error


def _leads(answers: Mapping[str, Answer], located: Located) -> list[Lead]:
    """Highest first; whoever tells of an older one, or nothing that holds, is told of."""
    leads = sorted((each for each in answers.values() if isinstance(each, Lead)), key=lambda each: -each.sequence)
    for lead in leads:
        if lead.sequence < leads[0].sequence:
            located.notes.append(f"{lead.teller} still tells of backup {lead.sequence}; {leads[0].sequence} is newer")
    for name, answer in answers.items():
        if isinstance(answer, Damaged):
            _once(located.doubts, f"what {name} told was passed over: {answer}")
        elif isinstance(answer, StoreUnreachable):
            _once(located.notes, f"{name} could not be asked, and may know of a newer backup: {answer}")
    return leads


def _once(sentences: list[str], sentence: str) -> None:
    if sentence not in sentences:
        sentences.append(sentence)


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
    return _read(opened, gathered, ManifestRef(sequence, records.digest(sealed)), sealed, link)


def fetched(carrier: Carrier, link: str) -> bytes:
    """What *link* leads to. Raises `StoreUnreachable` where nobody has it: somebody may, later."""
    try:
        return carrier.fetch(link)
    except ObjectMissing as error:
        raise StoreUnreachable(str(error), error.hint) from error


def _read(opened: Opened, gathered: Gathered, ref: ManifestRef, sealed: bytes, *links: str) -> Backup:
    """A manifest that is at hand, checked like one in a store."""
    name = _name(opened, ref)
    gathered.hold(name, sealed)
    try:
        opened.catalog.learn(ref, links)
        return opened.catalog.read(ref)
    except DwebbackupError:
        gathered.drop(name)
        raise


def _name(opened: Opened, ref: ManifestRef) -> str:
    return f"w/{opened.catalog.writer}/manifests/{ref.name}"


def _learn_older(opened: Opened, gathered: Gathered, manifest: Manifest, located: Located) -> None:
    """What the manifest says of those before it: with their links they can be fetched like it."""
    told = {each.ref: each.links for each in manifest.history}
    for ref, links in told.items():
        if links:
            gathered.learn(_name(opened, ref), links)
    if without := [ref for ref in manifest.kept if not told.get(ref)]:
        _once(
            located.notes,
            f"{len(without)} older backups of writer {opened.number} have no links; a store may have them",
        )


def _nothing(asked: Mapping[int, Mapping[str, Answer]], located: Located) -> DwebbackupError:
    """Why no backup was found: never that there is none, while somebody might know of one."""
    if located.lost:
        return located.lost[max(located.lost)]
    answers = [answer for each in asked.values() for answer in each.values()]
    names = ", ".join(dict.fromkeys(name for each in asked.values() for name in each))
    for kind in (StoreUnreachable, Damaged):
        for answer in answers:
            if isinstance(answer, kind):
                return kind(
                    f"no head of this key's backups was found, and not everybody could tell: {answer}",
                    "try again later, or name other gateways; a store or a manifest's link will do, too",
                )
    return NoSuchBackup(
        f"none of {names or 'nobody'} knows of a backup of this key",
        "networks forget what nobody publishes again: name a store, or a link from the recovery sheet",
    )


# --- a manifest that is at hand, and names that its user has ---


def from_bytes(key: Key, sealed: bytes, behind: Store, *links: str) -> tuple[Opened, Backup]:
    """The backup whose manifest *sealed* is. Its objects come from *behind*. Raises `Damaged`, `KeyForbids`."""
    gathered = Gathered(behind)
    opened = open_writer(key, _number_of(key, sealed), gathered)
    manifest = records.unseal(Manifest, sealed, access_of(key, opened.number))
    return opened, _read(opened, gathered, ManifestRef(manifest.sequence, records.digest(sealed)), sealed, *links)


def access_of(key: Key, number: int) -> Access:
    """What opens the manifests of that writer."""
    if isinstance(key, OwnerKey):
        return Access((key.identity,), key.writer(number).verify_key)
    return Access((key.catalog_identity,), key.verify_key)


def _number_of(key: Key, sealed: bytes) -> int:
    """Of the writer who signed a manifest."""
    if not isinstance(key, OwnerKey):
        return key.number
    signer = records.signer_in(sealed, (key.identity,))
    for number in range(1, FURTHEST + 1):
        if key.writer(number).verify_key == signer:
            return number
    raise Damaged("this manifest was signed by none of the writers of these words", "whoever gave it to you made it up")


def writer_called(key: Key, name: str) -> int | None:
    """The number of the writer whose head has this *name*, `ipns://…` or `sia://…`; None for somebody else's."""
    numbers = range(1, FURTHEST + 1) if isinstance(key, OwnerKey) else [key.number]
    return next((number for number in numbers if name in names_of(keys_of(key, number))), None)


def names_of(keys: HeadKeys) -> tuple[str, str]:
    """Under which a writer's head is found on IPFS and on Skynet, whatever it leads to; they are no secrets."""
    resolver = registry.resolver(keys.registry, heads.REGISTRY_KEY)
    return f"ipns://{ipns.name_of(keys.ipns).text}", f"sia://{resolver.text}"


def told_of(name: str, finders: Sequence[Finder]) -> str:
    """The link to which *name*, `ipns://…` of a key that is none of ours, leads now. Raises as `locate` does."""
    public = ipns.key_of(ipns.parse_name(name.removeprefix("ipns://")))
    with ThreadPoolExecutor(AT_ONCE, "finder") as pool:
        found = list(pool.map(lambda finder: _answer(finder, HeadKeys(public, bytes(32))), finders))
    leads = [each for each in found if isinstance(each, Lead)]
    if not leads:
        asked = {0: dict(zip((finder.name for finder in finders), found, strict=True))}
        raise _nothing(asked, Located())
    return max(leads, key=lambda lead: lead.sequence).link
