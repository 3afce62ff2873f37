"""Networks in this process: places with records and files, given as they are; whatever is believed, our code believes.

world = World(store)                       # knows every object of the store by its CID, and nothing by name
teller = Teller("ipfs.io", records_of(store))
found = locate(OWNER, world.asking(teller))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dwebbackup import clock, heads
from dwebbackup.errors import ObjectMissing, StoreUnreachable
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import PROFILES, cid_of
from dwebbackup.locating import Networks
from dwebbackup.ports import Finder, HeadKeys, Lead
from dwebbackup.stores.linked import Linked
from faulty import MemoryStore


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
    """Has a record of a writer, or another one than it should, or none."""

    def __init__(self, name: str, *records: bytes, now: float | None = None) -> None:
        self.name = name
        self.records = records
        self.now = now
        self.asked: list[HeadKeys] = []

    def find(self, keys: HeadKeys) -> Lead | None:
        """Of several records, the first that is good; where none is, what is wrong with the last."""
        self.asked.append(keys)
        wrong: Exception | None = None
        for record in self.records:
            try:
                return heads.told_by_record(record, keys, self.now or clock.now(), self.name)
            except Exception as error:  # noqa: BLE001  # told at the end
                wrong = error
        if wrong and len(self.records) == 1:
            raise wrong
        return None


class Silent:
    """Does not answer."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find(self, keys: HeadKeys) -> Lead | None:
        raise StoreUnreachable(f"{self.name} does not answer")


def records_of(*stores: MemoryStore) -> Sequence[bytes]:
    """The IPNS records that backups left in *stores*."""
    found = []
    for store in stores:
        found += [data for name, data in store.objects.items() if name.endswith(f"/{heads.IPNS_RECORD}")]
    return found
