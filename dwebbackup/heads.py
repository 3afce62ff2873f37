"""A writer's head as networks keep it: signed, under a name that the key tells, and leading to a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dwebbackup.errors import Damaged, DwebbackupError, WrongConfiguration
from dwebbackup.keys import WriterKey
from dwebbackup.links import cid as cids
from dwebbackup.links import ipns, registry
from dwebbackup.links import skylink as skylinks
from dwebbackup.links.ipns import SECOND, Record
from dwebbackup.links.registry import Entry
from dwebbackup.links.uris import IPFS, SIA
from dwebbackup.ports import Announcement, HeadKeys, Lead, Publisher

IPNS_RECORD = "head.ipns"
"""The object, below the writer's prefix, that is its IPNS record: whoever has these bytes can publish them again."""

VALIDITY = 3652 * 24 * 3600
"""Seconds for which a record counts: ten years. Who comes back late must find it, though nobody renewed it."""

TTL = 5 * 60
"""Seconds for which whoever passes a record on need not ask for a newer one."""

REGISTRY_KEY = registry.data_key("dwebbackup/head/1")
"""Under which a writer's entry stands in Skynet's registry."""


def announcement(key: WriterKey, sequence: int, cid: str, skylink: str | None, now: float) -> Announcement:
    """What tells the networks that the writer's newest manifest is the one of that *sequence*, under these links.

    *cid* and *skylink* may be bare, or links. *now*: seconds since 1970. Raises `WrongConfiguration` for what is none.
    """
    bare = cids.parse(cid.removeprefix(IPFS)).text
    public = key.head_keys
    record = ipns.record(key.ipns_seed, f"/ipfs/{bare}", sequence, int(now + VALIDITY) * SECOND, TTL * SECOND)
    return Announcement(
        sequence=sequence,
        cid=bare,
        ipns_name=ipns.name_of(public.ipns).text,
        ipns_record=record,
        registry_key=public.registry,
        registry_entry=_entry(key, sequence, skylink) if skylink else None,
    )


def _entry(key: WriterKey, sequence: int, skylink: str) -> tuple[Entry, bytes]:
    entry = Entry.leading_to(skylinks.parse(skylink.removeprefix(SIA)), sequence)
    return entry, registry.sign(key.registry_seed, REGISTRY_KEY, entry)


def announced_before(key: WriterKey, record: bytes, links: Sequence[str]) -> Announcement:
    """What was announced with *record*, to be published again as it is. *links*: of the manifest to which it leads.

    Raises `Damaged` for a record that is not this writer's.
    """
    public = key.head_keys
    name = ipns.name_of(public.ipns)
    read = ipns.read_record(record, name)
    skylink = next((link for link in links if link.startswith(SIA)), None)
    return Announcement(
        sequence=read.sequence,
        cid=read.value.removeprefix("/ipfs/"),
        ipns_name=name.text,
        ipns_record=record,
        registry_key=public.registry,
        registry_entry=_entry(key, read.sequence, skylink) if skylink else None,
    )


def publish(announcement: Announcement, publishers: Sequence[Publisher]) -> tuple[str, ...]:
    """Tell all of them at once; gives a sentence for each that could not be told."""
    if not publishers:
        return ()
    with ThreadPoolExecutor(len(publishers), "publish") as pool:
        told = [(each, pool.submit(each.publish, announcement)) for each in publishers]
    return tuple(_unless_told(each, done.exception()) for each, done in told if done.exception())


def _unless_told(publisher: Publisher, failure: BaseException | None) -> str:
    if not isinstance(failure, DwebbackupError) and failure is not None:
        raise failure
    return f"{publisher.name} was not told of the new head: {failure}"


def told_by_record(record: bytes, keys: HeadKeys, now: float, teller: str) -> Lead:
    """Where an IPNS record leads that *teller* gave. Raises `Damaged` for one that is not this writer's, or expired."""
    read = _read(record, keys, teller)
    if not read.is_valid_at(now):
        raise Damaged(f"{teller} has an IPNS record for this writer that has expired")
    return Lead(teller, _link_of(read.value, teller), read.sequence)


def _read(record: bytes, keys: HeadKeys, teller: str) -> Record:
    try:
        return ipns.read_record(record, ipns.name_of(keys.ipns))
    except Damaged as error:
        raise Damaged(f"{teller}: {error}") from error


def _link_of(value: str, teller: str) -> str:
    kind, _, rest = value.removeprefix("/").partition("/")
    try:
        if kind == "ipfs":
            return IPFS + cids.parse(rest.removesuffix("/")).text
    except WrongConfiguration as error:
        raise Damaged(f"{teller}: the IPNS record leads nowhere: {error}") from error
    raise Damaged(f"{teller}: the IPNS record leads to {value[:100]!r}, and a manifest is at /ipfs/…")


def told_by_entry(entry: Entry, signature: bytes, keys: HeadKeys, teller: str) -> Lead:
    """Where an entry of Skynet's registry leads that *teller* gave. Raises `Damaged` for one of somebody else."""
    try:
        registry.verify(keys.registry, REGISTRY_KEY, entry, signature)
        return Lead(teller, SIA + entry.skylink.text, entry.revision)
    except Damaged as error:
        raise Damaged(f"{teller}: {error}") from error
