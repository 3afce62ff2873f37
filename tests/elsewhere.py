"""Networks in this process: places with records and files, given as they are; whatever is believed, our code believes.

world = World(store)                       # knows every object of the store by its CID, and nothing by name
teller = Teller("ipfs.io", records_of(store))
found = locate(OWNER, world.asking(teller))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dwebbackup import clock, heads
from dwebbackup.errors import ObjectMissing, StoreUnreachable
from dwebbackup.keys import OwnerKey
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import PROFILES, cid_of
from dwebbackup.locating import Networks
from dwebbackup.ports import Finder, HeadKeys, Lead
from dwebbackup.stores.linked import Linked
from faulty import MemoryStore
from synthetic import OWNER


class World:
    """Every file of *stores* by its links: a `Carrier`."""

    name = "the world"

    def __init__(self, *stores: MemoryStore) -> None:
        self.files: dict[str, bytes] = {}
        for store in stores:
            self.take(store.objects.values())

    def take(self, files: Iterable[bytes]) -> None:
        for data in files:
            self.files |= {f"ipfs://{cid_of(data, profile).text}": data for profile in PROFILES}
            self.files[f"sia://{skylink_of(data).text}"] = data

    def carries(self, link: str) -> bool:
        return link.startswith(("ipfs://", "sia://"))

    def fetch(self, link: str) -> bytes:
        if link not in self.files:
            raise ObjectMissing(f"the world does not have {link} now")
        return self.files[link]

    def asking(self, *finders: Finder) -> Networks:
        return Networks(finders, self, Linked(self))


class Teller:
    """Keeps records by the key under which they are asked for, whatever is in them."""

    def __init__(self, name: str, records: Mapping[bytes, bytes], now: float | None = None) -> None:
        self.name = name
        self.records = records
        self.now = now

    def find(self, keys: HeadKeys) -> Lead | None:
        record = self.records.get(keys.ipns)
        return heads.told_by_record(record, keys, self.now or clock.now(), self.name) if record else None


class Silent:
    """Does not answer."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find(self, keys: HeadKeys) -> Lead | None:
        raise StoreUnreachable(f"{self.name} does not answer")


def records_of(store: MemoryStore, owner: OwnerKey = OWNER) -> dict[bytes, bytes]:
    """The IPNS records that backups left in *store*, as a network has them."""
    writers = [owner.writer(number) for number in range(1, 10)]
    named = {writer.head_keys.ipns: f"w/{writer.id}/{heads.IPNS_RECORD}" for writer in writers}
    return {key: store.objects[name] for key, name in named.items() if name in store.objects}
