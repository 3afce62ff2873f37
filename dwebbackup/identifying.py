"""Whose is it: which writer of a key made the manifest at hand, and whose head has a name on a network."""

from __future__ import annotations

from dwebbackup import heads, records
from dwebbackup.access import Opened, open_writer
from dwebbackup.catalog import Backup
from dwebbackup.errors import Damaged
from dwebbackup.gathered import Gathered, read_into
from dwebbackup.keys import Key, OwnerKey
from dwebbackup.links import ipns, registry
from dwebbackup.manifest import Manifest, ManifestRef
from dwebbackup.ports import HeadKeys, Store
from dwebbackup.records import Access

FURTHEST = 256
"""The highest number of a writer that is tried where only a manifest says, by its signature, which one it is."""


def from_bytes(key: Key, sealed: bytes, behind: Store, *links: str) -> tuple[Opened, Backup]:
    """The backup whose manifest *sealed* is. Its objects come from *behind*. Raises `Damaged`, `KeyForbids`."""
    gathered = Gathered(behind)
    opened = open_writer(key, _number_of(key, sealed), gathered)
    manifest = records.unseal(Manifest, sealed, access_of(key, opened.number))
    return opened, read_into(opened, gathered, ManifestRef(manifest.sequence, records.digest(sealed)), sealed, *links)


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


def keys_of(key: Key, number: int) -> HeadKeys:
    """Under which networks keep the head of that writer."""
    return key.writer(number).head_keys if isinstance(key, OwnerKey) else key.head_keys
