"""What networks have, as a store: read by links, compared with the name, and nothing else."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import pytest

from dwebbackup.errors import Damaged, DwebbackupError, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.fetching import FAR, Layout, PackReader, at_once
from dwebbackup.links.unixfs import V1_2025
from dwebbackup.manifest import Index
from dwebbackup.ports import Store
from dwebbackup.stores import Refused
from dwebbackup.stores.carriers import Carriers
from dwebbackup.stores.ipfs.gateway import Gateway
from dwebbackup.stores.linked import Linked
from links.trees import tree
from shelf import OWNER, Shelf, stream_of
from stores.blocks_server import BlocksServer, blocks_server

DATA = b"a pack"
SHA256 = hashlib.sha256(DATA).hexdigest()
PACK = f"w/1/packs/{SHA256[:2]}/{SHA256}.age"


class Links:
    """A carrier of what it was given; an error is raised."""

    name = "gateways"

    def __init__(self, **links: bytes | DwebbackupError) -> None:
        self.links = {f"ipfs://{name}": held for name, held in links.items()}
        self.asked: list[str] = []

    def carries(self, link: str) -> bool:
        return link.startswith("ipfs://")

    def fetch(self, link: str) -> bytes:
        self.asked.append(link)
        held = self.links[link]
        if isinstance(held, DwebbackupError):
            raise held
        return held


def test_it_reads_by_links():
    store: Store = Linked(Links(a=DATA))
    assert store.get(PACK, ["ipfs://a"]) == DATA


def test_the_next_link_is_followed_where_one_leads_nowhere_or_elsewhere():
    carrier = Links(a=ObjectMissing("none"), b=StoreUnreachable("silent"), c=b"another pack", d=DATA)
    assert Linked(carrier).get(PACK, ["sia://x", *carrier.links]) == DATA
    assert carrier.asked == list(carrier.links)


def test_whole_bytes_that_are_not_the_objects_are_damaged():
    with pytest.raises(Damaged, match=f"not {PACK}: 12 other bytes") as caught:
        Linked(Links(a=b"another pack")).get(PACK, ["ipfs://a"])
    assert not isinstance(caught.value, ObjectMissing)


def test_of_a_name_without_a_digest_nothing_is_asked_but_the_link():
    assert Linked(Links(a=b"any")).get("w/1/head.json", ["ipfs://a"]) == b"any"


@pytest.mark.parametrize("links", [[], ["sia://x"], ["https://a/b"]])
def test_without_a_link_that_is_carried_there_is_nothing(links: list[str]):
    carrier = Links()
    with pytest.raises(ObjectMissing, match="networks keep no names"):
        Linked(carrier).get(PACK, links)
    assert carrier.asked == []


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (ObjectMissing("none"), ObjectMissing("none"), ObjectMissing),
        (ObjectMissing("none"), b"other", Damaged),
        (b"other", StoreUnreachable("silent"), StoreUnreachable),
        (WrongConfiguration("typo"), StoreUnreachable("silent"), StoreUnreachable),
    ],
)
def test_the_worst_that_may_pass_is_told(
    first: bytes | DwebbackupError, second: bytes | DwebbackupError, kind: type[DwebbackupError]
):
    for carrier in (Links(a=first, b=second), Links(a=second, b=first)):
        with pytest.raises(DwebbackupError) as caught:
            Linked(carrier).get(PACK, ["ipfs://a", "ipfs://b"])
        assert type(caught.value) is kind


def test_eight_packs_are_on_their_way_through_a_gateway_at_once():
    """It gives none before so many are asked for: fetched one by one, none would ever come."""
    shelf, files = Shelf(), {}
    chunks = [f"{at:02}".encode() for at in range(3 * FAR)]
    packs = [shelf.pack([chunk]) for chunk in chunks]
    for at, pack in enumerate(packs):
        root, blocks = tree(shelf.store.get(pack.path), V1_2025)
        files[root.text] = blocks
        packs[at] = replace(pack, links=(f"ipfs://{root.text}",))
    meeting = threading.Barrier(FAR)

    def answer(server: BlocksServer, cid: str, form: str) -> None:
        meeting.wait(60)

    index, stream = Index(shelf.writer.id, tuple(packs)), stream_of([(0, at, 2) for at in range(len(chunks))])
    with blocks_server(files, answer) as server:
        store = Linked(Carriers([Gateway(server.url)]))
        key = shelf.writer.chunk_key
        with PackReader(store, [OWNER.identity], key, Layout([index]), at_once(store)) as reader:
            assert list(reader.stream(stream)) == chunks


def test_nothing_can_be_written_listed_or_deleted():
    store = Linked(Links(a=DATA), "far")
    assert (store.name, store.url) == ("far", "gateways")
    assert (store.traits.lists, store.traits.deletes, store.traits.not_found_is_final) == (False, False, False)
    assert store.traits.distance == 3
    for ask in (
        lambda: store.put(PACK, DATA),
        lambda: store.list("w/"),
        lambda: store.delete(PACK),
        store.prepare,
    ):
        with pytest.raises(Refused, match="far"):
            ask()
    with pytest.raises(ObjectMissing):
        store.head(PACK)
