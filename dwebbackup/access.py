"""What a key opens in a store: each writer's catalog, and the identities that open its rows."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dwebbackup import age, compression
from dwebbackup.catalog import GENESIS, HEAD, Catalog, ahead
from dwebbackup.errors import Damaged, KeyForbids, NoSuchBackup, ObjectMissing, StoreUnreachable
from dwebbackup.fetching import Layout, PackReader, at_once
from dwebbackup.keys import Key, OwnerKey, ReaderKey, WriterKey
from dwebbackup.manifest import Manifest
from dwebbackup.ports import Member, Several, Store, Stored, StoreTraits, members
from dwebbackup.records import Access

LARGEST_SECRET = 64 * 1024
"""Bytes of JSON in a manifest's part for readers, at most."""

CHUNK_KEY_SIZE = 32

PROBES = "probes/"
"""Below this a writer puts objects that tell something of the store, and are deleted at once: nobody reads them."""

GAP = 3
"""Writer numbers without a trace that an owner looks past before concluding that there are no more."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One writer of a store, as a key sees it."""

    number: int
    catalog: Catalog
    identities: tuple[bytes, ...]
    """For packs. Empty: this key may not read a row."""
    owner_key: bytes | None = None
    """By which the owner's words are known; None where only a reader's line is at hand, which does not say."""

    def packs(self, manifest: Manifest) -> PackReader:
        """What reads the streams of a whole manifest. Raises `KeyForbids` for a key that may not read rows."""
        layout = Layout(self.catalog.indexes(manifest))
        store = self.catalog.store
        return PackReader(store, self.require_rows(), self.chunk_key(manifest), layout, at_once(store))

    def chunk_key(self, manifest: Manifest) -> bytes:
        """The key of the chunk names, from the part of the manifest that only readers open.

        Raises `Damaged`, `KeyForbids`.
        """
        identities = self.require_rows()
        try:
            sealed = base64.b64decode(manifest.sealed, validate=True)
            document = json.loads(compression.decompress(age.unseal(sealed, identities), LARGEST_SECRET))
            key = bytes.fromhex(document["chunk_key"])
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"the manifest's part for readers cannot be read: {error}") from None
        if len(key) != CHUNK_KEY_SIZE:
            raise Damaged(f"the manifest's chunk key is not of {CHUNK_KEY_SIZE} bytes")
        return key

    def within(self, store: Store) -> Opened:
        """The same writer in one of several stores; *store* begins at the writer's prefix."""
        return replace(self, catalog=self.catalog.within(store))

    def require_rows(self) -> tuple[bytes, ...]:
        """Raises `KeyForbids` for a writer key."""
        if not self.identities:
            raise KeyForbids(
                "a writer key adds backups; it cannot read one row of them",
                "use the 24 words, or the writer's reader key (`dwebbackup key reader`)",
            )
        return self.identities


class Below:
    """A store seen from a prefix: `Below(store, "w/1a2b/")` has the writer's objects at its top."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def traits(self) -> StoreTraits:
        return self._store.traits

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        return self._store.put(self._prefix + name, data)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        return self._store.get(self._prefix + name, links)

    def head(self, name: str) -> Stored:
        return self._stripped(self._store.head(self._prefix + name))

    def list(self, prefix: str) -> Iterator[Stored]:
        return map(self._stripped, self._store.list(self._prefix + prefix))

    def delete(self, name: str) -> None:
        self._store.delete(self._prefix + name)

    @property
    def members(self) -> Sequence[Member]:
        return [Member(Below(each.store, self._prefix), each.required) for each in members(self._store)]

    def begin_run(self) -> None:
        if isinstance(self._store, Several):
            self._store.begin_run()

    def absent(self, name: str) -> tuple[str, ...]:
        return self._store.absent(self._prefix + name) if isinstance(self._store, Several) else ()

    def missed(self) -> Mapping[str, str]:
        return self._store.missed() if isinstance(self._store, Several) else {}

    def _stripped(self, stored: Stored) -> Stored:
        return replace(stored, name=stored.name.removeprefix(self._prefix))


def below(store: Store, writer: str) -> Store:
    """The part of *store* that belongs to a writer."""
    return Below(store, f"w/{writer}/")


def open_writer(key: Key, number: int, store: Store) -> Opened:
    """The writer *number* of *store*, whether or not it has backups."""
    if isinstance(key, OwnerKey):
        writer = key.writer(number)
        access = Access((key.identity,), writer.verify_key)
        catalog = Catalog(below(store, writer.id), writer.id, number, access)
        return Opened(number, catalog, (key.identity,), key.verify_key)
    rows = (key.identity,) if isinstance(key, ReaderKey) else ()
    access = Access((key.catalog_identity,), key.verify_key)
    owner = key.owner_verify_key if isinstance(key, WriterKey) else None
    return Opened(number, Catalog(below(store, key.id), key.id, number, access), rows, owner)


def open_store(key: Key, store: Store, *, certain: bool = False) -> list[Opened]:
    """Every writer of *store* that *key* opens, oldest first. *certain*: it must be certain that there is no other.

    Raises `NoSuchBackup` when there is none, and says whether the store is empty or holds other people's
    backups; `StoreUnreachable` when that cannot be told.
    """
    found, failures = _looked_for(key, store)
    if failures and (certain or not found or len(members(store)) == 1):
        raise failures[0]
    if found:
        return found
    if has_begun(key, store):
        raise NoSuchBackup(
            f"in {store.url} a first backup was begun, and none is complete yet",
            "wait until it ends, or run it again: what it stored will not be stored twice",
        )
    if holds_anything(store):
        raise NoSuchBackup(
            f"{store.url} holds backups, but this key opens none of them",
            "they belong to other words: check that these are the right ones",
        )
    raise NoSuchBackup(
        f"{store.url} is empty: it holds nobody's backups",
        "check the store's address; or make a backup first",
    )


def _looked_for(key: Key, store: Store) -> tuple[list[Opened], list[StoreUnreachable]]:
    """The writers that ever wrote here, and why that cannot be told of others.

    Looked at a few at once, and no further than one after the other would.
    """
    found: list[Opened] = []
    failures: list[StoreUnreachable] = []
    looked, end = (0, GAP) if isinstance(key, OwnerKey) else (key.number - 1, key.number)
    while looked < end:
        opened = [open_writer(key, number, store) for number in range(looked + 1, end + 1)]
        for writer, outcome in zip(opened, ahead(_has_something, opened), strict=True):
            if isinstance(outcome, StoreUnreachable):
                failures.append(outcome)
            elif outcome:
                found.append(writer)
        looked = end
        if isinstance(key, OwnerKey) and found:
            end = found[-1].number + GAP
    return found, failures


def _has_something(opened: Opened) -> bool | StoreUnreachable:
    """Whether the writer ever wrote here. Of several stores one that must have everything is enough to know it."""
    failures, certain = [], False
    for member in members(opened.catalog.store):
        if member.store.traits.lists:
            try:
                if _is_in(member.store):
                    return True
                certain = certain or member.required
            except StoreUnreachable as error:
                failures.append(error)
    return failures[0] if failures and not certain else False


def _is_in(store: Store) -> bool:
    """Whether a writer's part of a store has a head, a manifest or a genesis."""
    return has(store, HEAD) or any(True for _ in store.list("manifests/")) or has(store, GENESIS)


def holds_anything(store: Store) -> bool:
    """Whether anybody's objects are in *store*."""
    return any(f"/{PROBES}" not in stored.name for stored in store.list("w/"))


def has_begun(key: Key, store: Store) -> bool:
    """Whether anything at all stands where the key's first writers write."""
    numbers = range(1, 1 + GAP) if isinstance(key, OwnerKey) else (key.number,)
    parts = (open_writer(key, number, store).catalog.store for number in numbers)
    return any(not stored.name.startswith(PROBES) for part in parts for stored in part.list(""))


def has(store: Store, name: str) -> bool:
    try:
        store.head(name)
    except ObjectMissing:
        return False
    return True
