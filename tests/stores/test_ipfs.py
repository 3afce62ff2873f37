"""An IPFS node as a store: the contract on a real one, and nodes that lose, refuse, lie, or are something else."""

from __future__ import annotations

import itertools
import json
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from calling import call
from contracts.store import StoreContract, names, noise
from dwebbackup import access, assemble, backup, config, heads, stores
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.links.unixfs import KUBO_V1, V0_2015, V1_2025, cid_of
from dwebbackup.ports import Store, members
from dwebbackup.stores import Refused
from dwebbackup.stores.ipfs import entries
from dwebbackup.stores.ipfs.address import Address
from dwebbackup.stores.ipfs.entries import Entry
from dwebbackup.stores.ipfs.routing import NodeFinder, NodePublisher
from dwebbackup.stores.ipfs.rpc import rpc_at
from dwebbackup.stores.ipfs.store import IpfsStore
from fix_ipfs import IpfsNode
from fix_postgres import Database
from stores.front import Front, front, nobody, response
from synthetic import OWNER, ROOT, WRITER, SyntheticSource, errors, restored, small_pieces
from synthetic import names as object_names

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"
TOKEN = "a-very-secret-token"
DATE = "Sat, 21 Nov 2026 03:00:00 GMT"

ASKS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("w/1/a", b"a"),
    "get": lambda store: store.get("w/1/a"),
    "head": lambda store: store.head("w/1/a"),
    "list": lambda store: list(store.list("w/")),
    "delete": lambda store: store.delete("w/1/a"),
    "prepare": lambda store: store.prepare(),
}

_folders = itertools.count(1)


@pytest.fixture
def address(ipfs_node: IpfsNode) -> Address:
    """A folder where nothing is yet."""
    return Address(ipfs_node.rpc, f"Of many/test-{next(_folders)}")


@pytest.fixture
def store(address: Address) -> IpfsStore:
    store = IpfsStore(address)
    store.prepare()
    return store


class TestContract(StoreContract):
    @pytest.fixture
    def many(self) -> int:
        """In one folder: so many that the node cuts it into several blocks."""
        return 110

    @pytest.fixture
    def store(self, store: IpfsStore) -> Store:
        return store


if WIDE:

    class TestContractOnJsIpfs(TestContract):
        @pytest.fixture
        def store(self, js_ipfs: str) -> Store:
            store = IpfsStore(Address(js_ipfs, f"Of many/test-{next(_folders)}"))
            store.prepare()
            return store


class Meddler(Front):
    """Passes everything on to a node, except where *meddle*, asked with command and headers, gives another answer."""

    meddle: Callable[[str, Mapping[str, str]], bytes | None]

    def next_answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes | None:
        super().next_answer(method, path, headers, body)
        return self.meddle(path.partition("?")[0].removeprefix("/api/v0/"), headers)


@contextmanager
def meddler(node: str, meddle: Callable[[str, Mapping[str, str]], bytes | None]) -> Iterator[Meddler]:
    with Meddler(node, ()) as server:
        server.meddle = meddle
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def instead_of(command: str, answer: bytes) -> Callable[[str, Mapping[str, str]], bytes | None]:
    return lambda asked, _: answer if asked == command else None


def said(message: str, status: int = 500) -> bytes:
    """An error as kubo tells it."""
    body = json.dumps({"Message": message, "Code": 0, "Type": "error"})
    return response(status, body, Content_Type="application/json", Date=DATE)


def entry_names(node: IpfsNode, address: Address, folder: str) -> list[str]:
    return node.names(f"/{address.folder}/{folder}".rstrip("/"))


def by_gateway(node: IpfsNode, link: str) -> bytes:
    with urllib.request.urlopen(f"{node.gateway}/ipfs/{link.removeprefix('ipfs://')}") as answer:
        return bytes(answer.read())


class TestWhatLiesOnTheNode:
    @pytest.mark.parametrize("size", [0, 5, V1_2025.chunk, V1_2025.chunk + 1, 4 * V1_2025.chunk - 1024])
    def test_a_link_is_the_cid_that_we_compute_and_any_gateway_gives_the_bytes_by_it(
        self, store: IpfsStore, ipfs_node: IpfsNode, size: int
    ):
        assert store.put("w/1/a", noise(size)) == (f"ipfs://{cid_of(noise(size)).text}",)
        assert by_gateway(ipfs_node, f"ipfs://{cid_of(noise(size)).text}") == noise(size)

    def test_a_name_in_mfs_says_time_size_and_cid(self, store: IpfsStore, ipfs_node: IpfsNode, address: Address):
        store.put("w/1/head.json", b"12345")
        (text,) = entry_names(ipfs_node, address, "w/1")
        seconds = int(store.head("w/1/head.json").modified)
        assert text == f"head.json@{seconds}.0.5.{cid_of(b'12345').text}"

    def test_is_pinned_and_survives_a_garbage_collection(self, store: IpfsStore, ipfs_node: IpfsNode):
        (link,) = store.put("w/1/a", noise(3_000_000))
        assert link.removeprefix("ipfs://") in ipfs_node.pinned()
        ipfs_node.collect_garbage()
        assert store.get("w/1/a") == noise(3_000_000)

    def test_what_is_deleted_or_replaced_is_unpinned_and_goes_with_the_next_garbage_collection(
        self, store: IpfsStore, ipfs_node: IpfsNode
    ):
        old, gone, kept = noise(1_500_000, 1), noise(1_500_000, 2), noise(1_500_000, 3)
        store.put("w/1/a", old)
        store.put("w/1/a", kept)
        store.put("w/1/b", gone)
        store.delete("w/1/b")
        ipfs_node.collect_garbage()
        assert [ipfs_node.has(cid_of(data).text) for data in (old, gone, kept)] == [False, False, True]
        assert not {cid_of(old).text, cid_of(gone).text} & ipfs_node.pinned()
        assert store.traits.deletion == "unpinned"

    def test_two_objects_with_the_same_bytes_do_not_take_them_from_each_other(
        self, store: IpfsStore, ipfs_node: IpfsNode
    ):
        store.put("w/1/a", b"the same")
        store.put("w/1/b", b"the same")
        store.delete("w/1/a")
        ipfs_node.collect_garbage()
        assert store.get("w/1/b") == b"the same"
        store.delete("w/1/b")
        ipfs_node.collect_garbage()
        assert not ipfs_node.has(cid_of(b"the same").text)

    def test_what_is_put_again_stays_pinned(self, store: IpfsStore, ipfs_node: IpfsNode):
        for _ in range(2):
            store.put("w/1/a", b"once and again")
        assert cid_of(b"once and again").text in ipfs_node.pinned()

    def test_a_store_is_found_again_by_its_url(self, store: IpfsStore):
        store.put("w/1/head.json", b"1")
        again = IpfsStore(Address.from_url(store.url), "again")
        assert again.url == store.url
        assert again.get("w/1/head.json") == b"1"

    def test_several_stores_share_a_node_and_one_may_lie_in_another(self, store: IpfsStore, address: Address):
        inner = IpfsStore(Address(address.base, f"{address.folder}/inner"), "inner")
        inner.put("w/1/a", b"inner")
        store.put("w/1/a", b"outer")
        assert (inner.get("w/1/a"), store.get("w/1/a")) == (b"inner", b"outer")
        assert names(inner.list("")) == ["w/1/a"]

    def test_strangers_files_are_neither_listed_nor_in_the_way(
        self, store: IpfsStore, ipfs_node: IpfsNode, address: Address
    ):
        cid = ipfs_node.add(b"somebody's")
        strange = [
            "a",
            "w/a",
            "w/1/a",
            "w/1/a@1.0.5.nonsense",
            "w/1/a@99999999999",
            "w/1/Photo (1) & ä+b%41.jpg",
            "w/1/@",
        ]
        for path in strange:
            ipfs_node.ask("files/cp", f"/ipfs/{cid}", f"/{address.folder}/{path}", parents="true")
        assert list(store.list("")) == list(store.list("w/1/a")) == []
        with pytest.raises(ObjectMissing):
            store.get("w/1/a")
        store.put("w/1/a", b"ours")
        assert names(store.list("")) == names(store.list("w/1/")) == ["w/1/a"]
        assert store.get("w/1/a") == b"ours"
        store.delete("w/1/a")
        kept = [name for folder in ("", "w", "w/1") for name in entry_names(ipfs_node, address, folder)]
        assert sorted(kept) == sorted([path.rpartition("/")[2] for path in strange] + ["w", "1"])


class TestKilledBetweenTwoRequests:
    """For the node a client that was killed, and one whose next request failed, are the same."""

    def test_before_a_new_object_has_its_name_it_is_not_there(self, store: IpfsStore, ipfs_node: IpfsNode, address):
        with meddler(ipfs_node.rpc, instead_of("files/cp", b"")) as server, pytest.raises(StoreUnreachable):
            IpfsStore(Address(server.url, address.folder)).put("w/1/a", b"added, and not named")
        assert list(store.list("")) == []
        store.put("w/1/a", b"added, and not named")
        assert store.get("w/1/a") == b"added, and not named"

    @pytest.mark.parametrize("command", ["files/cp", "files/ls", "pin/rm", "files/rm"])
    def test_an_object_is_the_old_one_or_the_new_one_and_the_next_put_clears_up(
        self, store: IpfsStore, ipfs_node: IpfsNode, address: Address, command: str
    ):
        store.put("w/1/head.json", b"old")
        with meddler(ipfs_node.rpc, instead_of(command, b"")) as server, pytest.raises(StoreUnreachable):
            IpfsStore(Address(server.url, address.folder)).put("w/1/head.json", b"the new one")
        expected = b"the new one" if command in ("pin/rm", "files/rm") else b"old"
        assert store.get("w/1/head.json") == expected
        assert [(found.name, found.size) for found in store.list("")] == [("w/1/head.json", len(expected))]
        store.put("w/1/head.json", b"the newest")
        assert store.get("w/1/head.json") == b"the newest"
        (_,) = entry_names(ipfs_node, address, "w/1")
        ipfs_node.collect_garbage()
        assert not ipfs_node.has(cid_of(b"old").text)

    def test_of_two_entries_the_older_one_never_comes_back(self, store: IpfsStore, ipfs_node, address: Address):
        store.put("w/1/a", b"old")
        with meddler(ipfs_node.rpc, instead_of("files/rm", b"")) as server, pytest.raises(StoreUnreachable):
            IpfsStore(Address(server.url, address.folder)).put("w/1/a", b"new")
        asked = itertools.count()

        def second(command: str, _: Mapping[str, str]) -> bytes | None:
            return b"" if command == "files/rm" and next(asked) == 1 else None

        with meddler(ipfs_node.rpc, second) as server, pytest.raises(StoreUnreachable):
            IpfsStore(Address(server.url, address.folder)).delete("w/1/a")
        assert store.get("w/1/a") == b"new"

    @pytest.mark.parametrize("command", ["pin/rm", "files/rm"])
    def test_a_deletion_can_be_finished(self, store: IpfsStore, ipfs_node: IpfsNode, address: Address, command: str):
        data = f"half deleted before {command}".encode()
        store.put("w/1/a", data)
        with meddler(ipfs_node.rpc, instead_of(command, b"")) as server, pytest.raises(StoreUnreachable):
            IpfsStore(Address(server.url, address.folder)).delete("w/1/a")
        ipfs_node.collect_garbage()
        assert store.get("w/1/a") == data
        store.delete("w/1/a")
        ipfs_node.collect_garbage()
        assert not ipfs_node.has(cid_of(data).text)


class TestPutAtOnce:
    def test_one_whose_entry_somebody_else_made_first_takes_the_next_turn(self, store: IpfsStore, ipfs_node, address):
        """Two that put the same bytes in the same second."""
        taken = "cp: cannot put node in path /of/somebody: directory already has entry by that name"
        asked = itertools.count()

        def first(command: str, _: Mapping[str, str]) -> bytes | None:
            return said(taken) if command == "files/cp" and next(asked) == 0 else None

        with meddler(ipfs_node.rpc, first) as server:
            IpfsStore(Address(server.url, address.folder)).put("w/1/a", b"a")
        assert store.get("w/1/a") == b"a"

    def test_two_names_of_different_bytes_are_one_object_and_the_next_put_leaves_one(
        self, store: IpfsStore, ipfs_node: IpfsNode, address: Address
    ):
        store.put("w/1/a", b"first")
        (entry,) = entry_names(ipfs_node, address, "w/1")
        seconds = entry.partition("@")[2].partition(".")[0]
        cid = ipfs_node.add(b"second", cid_version="1", chunker=f"size-{V1_2025.chunk}")
        ipfs_node.ask("files/cp", f"/ipfs/{cid}", f"/{address.folder}/w/1/a@{seconds}.0.6.{cid}")
        (found,) = store.list("")
        assert store.get("w/1/a") == (b"first" if found.size == 5 else b"second")
        store.put("w/1/a", b"third")
        assert len(entry_names(ipfs_node, address, "w/1")) == 1


class TestTheNodesClock:
    def put_at(self, node: IpfsNode, address: Address, data: bytes, date: str) -> None:
        """*data* as `w/1/a`, when the node's clock says *date*."""
        answer = json.dumps({"Name": "object", "Hash": cid_of(data).text, "Size": "1"})
        node.add(data, cid_version="1", chunker=f"size-{V1_2025.chunk}")
        with meddler(node.rpc, instead_of("add", response(200, answer, Date=date))) as server:
            IpfsStore(Address(server.url, address.folder)).put("w/1/a", data)

    def test_ages_are_its_own(self, store: IpfsStore, ipfs_node: IpfsNode, address: Address):
        self.put_at(ipfs_node, address, b"a", "Thu, 01 Jan 1970 00:01:40 GMT")
        assert store.head("w/1/a").modified == 100

    def test_when_it_goes_back_the_last_put_still_counts(self, store, ipfs_node: IpfsNode, address: Address):
        self.put_at(ipfs_node, address, b"before", "Fri, 01 Jan 2100 00:00:00 GMT")
        self.put_at(ipfs_node, address, b"after", "Fri, 01 Jan 2027 00:00:00 GMT")
        assert store.get("w/1/a") == b"after"
        assert store.head("w/1/a").modified == 4102444800

    def test_one_that_says_no_time_is_refused(self, ipfs_node: IpfsNode, address: Address):
        with pytest.raises(Refused, match="does not say what time it is"):
            self.put_at(ipfs_node, address, b"a", "")


class TestEntries:
    CID = cid_of(b"a")

    def test_are_read_as_they_are_written(self):
        entry = Entry("0000000042-ab.age", 1_795_000_000, 3, 4_193_280, self.CID)
        assert entries.parse(entry.text) == entry

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a",
            "a@",
            f"@1.0.1.{CID.text}",
            f"A@1.0.1.{CID.text}",
            f"a@1.0.{CID.text}",
            f"a@-1.0.1.{CID.text}",
            f"a@1.0.1.{CID.text}.x",
            f"a@1.0.1.{CID.text[:-1]}",
            f"a@²1.0.1.{CID.text}",
            f"a@1.0.1.{CID.text}\n",
        ],
    )
    def test_what_others_wrote_is_none(self, text: str):
        assert entries.parse(text) is None

    def test_of_two_of_one_name_the_newer_counts_and_in_one_second_the_later(self):
        texts = [Entry("a", *when, 1, self.CID).text for when in [(5, 0), (7, 9), (7, 10), (6, 99)]]
        assert [(entry.seconds, entry.turn) for entry in entries.newest(texts)] == [(7, 10)]
        found = entries.of_name("a", [*texts, Entry("ab", 9, 0, 1, self.CID).text])
        assert [(entry.seconds, entry.turn) for entry in found] == [(7, 10), (7, 9), (6, 99), (5, 0)]

    def test_of_two_that_were_put_at_once_everybody_takes_the_same(self):
        texts = [Entry("a", 5, 0, 1, cid_of(data)).text for data in (b"one", b"another")]
        for order in (texts, texts[::-1]):
            assert [*entries.newest(order)] == entries.of_name("a", order)[:1] == entries.of_name("a", texts)[:1]


class TestWhatTheNodeLost:
    def test_a_lost_block_is_told_and_no_wrong_byte_is_given(self, store: IpfsStore, ipfs_node: IpfsNode):
        data = noise(3_000_000, seed=77)
        store.put("w/1/a", data)
        ipfs_node.forget(cid_of(data[V1_2025.chunk : 2 * V1_2025.chunk]).text)
        with pytest.raises((Damaged, StoreUnreachable)):
            store.get("w/1/a")

    def test_lost_bytes_are_missing_and_hold_up_no_listing(self, store: IpfsStore, ipfs_node: IpfsNode):
        store.put("w/1/a", b"lost by its node")
        store.put("w/1/b", b"b")
        ipfs_node.forget(cid_of(b"lost by its node").text)
        with pytest.raises(ObjectMissing, match="no bytes of w/1/a"):
            store.get("w/1/a")
        assert names(store.list("")) == ["w/1/a", "w/1/b"]
        assert store.head("w/1/a").size == 16

    def test_what_is_lost_comes_back_with_the_next_put(self, store: IpfsStore, ipfs_node: IpfsNode):
        data = noise(2_000_000, seed=78)
        store.put("w/1/a", data)
        ipfs_node.forget(cid_of(data).text)
        store.put("w/1/a", data)
        assert store.get("w/1/a") == data

    def test_what_is_lost_can_be_deleted(self, store: IpfsStore, ipfs_node: IpfsNode):
        store.put("w/1/a", b"lost, then deleted")
        ipfs_node.forget(cid_of(b"lost, then deleted").text)
        store.delete("w/1/a")
        assert list(store.list("")) == []

    @pytest.mark.parametrize("ask", ["get", "head", "list", "delete"])
    def test_a_node_without_the_folder_is_not_an_empty_store(self, ipfs_node: IpfsNode, ask: str):
        with pytest.raises(Refused, match="has no folder /of/nobody"):
            ASKS[ask](IpfsStore(Address(ipfs_node.rpc, "of/nobody")))

    def test_nobody_makes_a_new_store_in_place_of_one_that_is_gone(
        self, store: IpfsStore, ipfs_node: IpfsNode, address: Address
    ):
        store.put("w/1/a", b"a")
        ipfs_node.ask("files/rm", f"/{address.folder}", force="true")
        with pytest.raises(Refused, match="has no folder"):
            store.put("w/1/b", b"b")
        assert address.folder.rpartition("/")[2] not in ipfs_node.names("/Of many")

    @pytest.mark.parametrize("cut", [0, 1, 69_999])
    def test_an_answer_that_is_too_short_or_changed_is_no_object(
        self, store: IpfsStore, ipfs_node: IpfsNode, address: Address, cut: int
    ):
        store.put("w/1/a", noise(70_000))
        for data in (noise(70_000)[:cut], noise(69_999) + b"x"):
            with meddler(ipfs_node.rpc, instead_of("cat", response(200, data))) as server, pytest.raises(Damaged):
                IpfsStore(Address(server.url, address.folder)).get("w/1/a")

    def test_an_answer_without_an_end_is_not_read_to_it(self, store: IpfsStore, ipfs_node: IpfsNode, address: Address):
        store.put("w/1/a", noise(1000))
        with meddler(ipfs_node.rpc, instead_of("cat", response(200, noise(1001)))) as server, pytest.raises(Damaged):
            IpfsStore(Address(server.url, address.folder)).get("w/1/a")


class TestByLink:
    @pytest.mark.parametrize("profile", [V1_2025, V0_2015, KUBO_V1])
    def test_what_has_no_name_here_comes_by_its_cid(self, store: IpfsStore, ipfs_node: IpfsNode, profile):
        data = noise(1_200_000, seed=5)
        kubos = {"cid_version": str(profile.version), "chunker": f"size-{profile.chunk}"}
        assert ipfs_node.add(data, **kubos) == cid_of(data, profile).text
        links = ("sia://nonsense", "ipfs://nonsense", f"ipfs://{cid_of(b'nobody has it').text}")
        assert store.get("w/1/a", (*links, f"ipfs://{cid_of(data, profile).text}")) == data

    def test_one_request_is_enough_where_the_link_is_known(self, store: IpfsStore, ipfs_node, address: Address):
        (link,) = store.put("w/1/a", noise(70_000))
        with meddler(ipfs_node.rpc, lambda *_: None) as server:
            assert IpfsStore(Address(server.url, address.folder)).get("w/1/a", (link,)) == noise(70_000)
            assert [path.partition("?")[0] for _, path in server.asked] == ["/api/v0/cat"]

    def test_where_the_link_leads_nowhere_or_to_other_bytes_the_name_still_does(self, store, ipfs_node, address):
        store.put("w/1/a", b"a")
        nowhere = f"ipfs://{cid_of(b'nobody has it').text}"
        assert store.get("w/1/a", (nowhere,)) == b"a"
        asked = itertools.count()

        def first(command: str, _: Mapping[str, str]) -> bytes | None:
            return response(200, b"other bytes") if command == "cat" and next(asked) == 0 else None

        with meddler(ipfs_node.rpc, first) as server:
            assert IpfsStore(Address(server.url, address.folder)).get("w/1/a", (nowhere,)) == b"a"

    def test_what_has_neither_name_nor_bytes_here_is_missing(self, store: IpfsStore):
        with pytest.raises(ObjectMissing):
            store.get("w/1/a", (f"ipfs://{cid_of(b'nobody has it').text}", "s3://bucket/a"))

    def test_other_bytes_than_the_links_are_none(self, ipfs_node: IpfsNode, store: IpfsStore, address: Address):
        with meddler(ipfs_node.rpc, instead_of("cat", response(200, b"other bytes"))) as server:
            lied = IpfsStore(Address(server.url, address.folder))
            with pytest.raises(ObjectMissing):
                lied.get("w/1/a", (f"ipfs://{cid_of(b'the bytes').text}",))

    def test_a_file_that_is_too_large_to_be_ours_is_not_read(
        self, store: IpfsStore, ipfs_node: IpfsNode, monkeypatch: pytest.MonkeyPatch
    ):
        ipfs_node.add(noise(100_001), cid_version="1", chunker=f"size-{V1_2025.chunk}")
        monkeypatch.setattr(stores, "LARGEST", 100_000)
        with pytest.raises(Damaged, match="larger than any object of ours"):
            store.get("w/1/a", (f"ipfs://{cid_of(noise(100_001)).text}",))


class TestWhatTheNodeSays:
    def test_another_cid_than_ours_is_refused_and_both_are_named(self, ipfs_node: IpfsNode, address: Address):
        theirs = cid_of(b"a", V0_2015).text
        answer = response(200, json.dumps({"Name": "x", "Hash": theirs, "Size": "9"}), Date=DATE)
        with meddler(ipfs_node.rpc, instead_of("add", answer)) as server, pytest.raises(Refused) as refused:
            IpfsStore(Address(server.url, address.folder)).put("w/1/a", b"a")
        assert theirs in str(refused.value)
        assert cid_of(b"a").text in str(refused.value)
        assert "w" not in entry_names(ipfs_node, address, "")

    @pytest.mark.parametrize(
        "message",
        [
            "write /data/ipfs/blocks/3Y/put-123: no space left on device",
            "maximum storage limit exceeded. Try to unpin some files",
        ],
    )
    def test_one_without_room_says_so_and_what_to_do(self, ipfs_node: IpfsNode, address: Address, message: str):
        with (
            meddler(ipfs_node.rpc, instead_of("add", said(message))) as server,
            pytest.raises(Refused, match=message.rpartition("/")[2]) as refused,
        ):
            IpfsStore(Address(server.url, address.folder)).put("w/1/a", b"a")
        assert "make room on the node" in refused.value.hint

    def test_a_listing_of_which_one_folder_fails_is_no_listing(self, store: IpfsStore, ipfs_node, address: Address):
        for number in range(5):
            store.put(f"w/1/packs/a{number}/x", b"x")
        asked = itertools.count()

        def fifth(command: str, _: Mapping[str, str]) -> bytes | None:
            return said("context deadline exceeded") if command == "files/ls" and next(asked) == 5 else None

        with (
            meddler(ipfs_node.rpc, fifth) as server,
            pytest.raises(StoreUnreachable, match="context deadline exceeded"),
        ):
            list(IpfsStore(Address(server.url, address.folder)).list(""))

    @pytest.mark.parametrize("ask", ASKS)
    def test_an_error_that_it_does_not_explain_is_worth_another_try(self, ask: str):
        with front(response(500, "")) as server, pytest.raises(StoreUnreachable) as failed:
            ASKS[ask](IpfsStore(Address(server.url, "folder")))
        assert not isinstance(failed.value, Refused)

    @pytest.mark.parametrize("ask", ASKS)
    def test_one_that_is_down_is_worth_another_try(self, ask: str):
        with nobody() as url, pytest.raises(StoreUnreachable) as failed:
            ASKS[ask](IpfsStore(Address(url, "folder")))
        assert not isinstance(failed.value, Refused)

    def test_what_it_says_is_told_in_few_and_printable_words(self):
        with front(said("bad\x1b[31m" + "x" * 10_000)) as server, pytest.raises(StoreUnreachable) as failed:
            IpfsStore(Address(server.url, "folder")).prepare()
        assert "\x1b" not in str(failed.value)
        assert len(str(failed.value)) < 500


NOT_A_NODE = {
    "a web page": response(200, "<html>Welcome</html>", Content_Type="text/html"),
    "a web page about an error": response(404, "<html>Not found</html>", Content_Type="text/html"),
    "S3": response(405, "<?xml version='1.0'?><Error><Code>MethodNotAllowed</Code></Error>", Content_Type="text/xml"),
    "JSON of something else": response(200, '{"version": "4"}', Content_Type="application/json"),
    "a list": response(200, "[]", Content_Type="application/json"),
    "nothing": response(200, ""),
    "nonsense": response(200, b"\xff\xfe\0"),
    "brackets": response(200, "[" * 100_000),
}


class TestWhatIsNoNode:
    @pytest.mark.parametrize("kind", NOT_A_NODE)
    @pytest.mark.parametrize("ask", ASKS)
    def test_is_neither_success_nor_emptiness_nor_a_missing_object(self, ask: str, kind: str):
        with front(NOT_A_NODE[kind]) as server, pytest.raises(Refused):
            ASKS[ask](IpfsStore(Address(server.url, "folder")))

    @pytest.mark.parametrize("kind", [kind for kind in NOT_A_NODE if kind != "a web page"])
    def test_is_said_to_be_none(self, kind: str):
        with (
            front(NOT_A_NODE[kind]) as server,
            pytest.raises(Refused, match="is not the RPC of an IPFS node") as refused,
        ):
            IpfsStore(Address(server.url, "folder")).prepare()
        assert "5001" in refused.value.hint

    def test_a_gateway_is_said_to_be_something_else(self, ipfs_node: IpfsNode):
        with pytest.raises(Refused, match="is not the RPC") as refused:
            IpfsStore(Address(ipfs_node.gateway, "folder")).prepare()
        assert "its gateway, which is something else, at 8080" in refused.value.hint


class TestTheToken:
    @pytest.fixture
    def guarded(self, ipfs_node: IpfsNode) -> Iterator[str]:
        """The node behind a server that wants a token."""

        def guard(_: str, headers: Mapping[str, str]) -> bytes | None:
            right = headers.get("Authorization") == f"Bearer {TOKEN}"
            return None if right else response(403, f"403 - Forbidden: {headers.get('Authorization')}")

        with meddler(ipfs_node.rpc, guard) as server:
            yield server.url

    def test_opens_the_node(self, guarded: str, address: Address):
        store = IpfsStore(Address(guarded, address.folder), token=TOKEN)
        store.put("w/1/a", b"a")
        assert store.get("w/1/a") == b"a"

    @pytest.mark.parametrize("token", ["", "another-secret-token"])
    @pytest.mark.parametrize("ask", ASKS)
    def test_a_wrong_one_is_refused_with_what_to_do_and_does_not_show(self, guarded: str, ask: str, token: str):
        with pytest.raises(Refused) as refused:
            ASKS[ask](IpfsStore(Address(guarded, "folder"), token=token))
        assert "token" in refused.value.hint
        assert "another-secret" not in f"{refused.value} {refused.value.hint}"

    def test_stands_in_a_variable(self, guarded: str, address: Address):
        store = f"ipfs+{guarded}/{address.folder.replace(' ', '%20')}?name=far"
        settings = {"KEY": OWNER.words, "STORE": store}
        assert TOKEN not in call("list", STORE_FAR_TOKEN="wrong-" + TOKEN, expect=13, **settings).err
        IpfsStore(Address(guarded, address.folder), token=TOKEN).prepare()
        assert "nobody's backups" in call("list", STORE_FAR_TOKEN=TOKEN, expect=10, **settings).err


class TestItsUrl:
    @pytest.mark.parametrize(
        ("url", "base", "folder"),
        [
            ("ipfs+http://127.0.0.1:5001/dwebbackup", "http://127.0.0.1:5001", "dwebbackup"),
            ("ipfs+http://127.0.0.1", "http://127.0.0.1:5001", "dwebbackup"),
            ("ipfs+http://[::1]/a/b/", "http://[::1]:5001", "a/b"),
            ("ipfs+https://rpc.example.com/my%20app", "https://rpc.example.com", "my app"),
            ("ipfs+https://rpc.example.com:8443", "https://rpc.example.com:8443", "dwebbackup"),
        ],
    )
    def test_says_where_the_node_is_and_in_which_folder(self, url: str, base: str, folder: str):
        address = Address.from_url(url)
        assert (address.base, address.folder) == (base, folder)
        assert Address.from_url(address.url) == address

    def test_is_written_without_what_concerns_this_machine_only(self):
        address = Address.from_url("ipfs+https://rpc.example.com/a?timeout=7.5&ca=%2Fetc%2Fours.pem")
        assert (address.timeout, address.ca) == (7.5, "/etc/ours.pem")
        assert address.url == "ipfs+https://rpc.example.com/a"

    @pytest.mark.parametrize(
        "url",
        [
            "ipfs+http:///folder",
            "ipfs+http://h:0/",
            "ipfs+http://h:port/",
            "ipfs+http://user:secret@h/",
            "ipfs+http://h/a#secret",
            "ipfs+http://h/a//b",
            "ipfs+http://h/../b",
            "ipfs+http://h/a%0Ab",
            "ipfs+ftp://h/",
            "ipfs+http://h/?timeout=0",
            "ipfs+http://h/?timeout=-1",
            "ipfs+http://h/?timeout=soon",
        ],
    )
    def test_is_refused_where_it_makes_no_sense_and_passwords_do_not_show(self, url: str):
        with pytest.raises(WrongConfiguration) as refused:
            Address.from_url(url)
        assert "secret" not in f"{refused.value} {refused.value.hint}"

    @pytest.mark.parametrize(
        ("host", "distance"),
        [
            ("127.0.0.1", 1),
            ("[::1]", 1),
            ("10.1.2.3", 1),
            ("localhost", 1),
            ("ipfs", 1),
            ("1.1.1.1", 2),
            ("rpc.example.com", 2),
        ],
    )
    def test_tells_how_far_away_it_is(self, host: str, distance: int):
        assert IpfsStore(Address.from_url(f"ipfs+http://{host}")).traits.distance == distance

    @pytest.mark.parametrize("kind", ["ipfs+http", "ipfs+https"])
    def test_makes_a_store_of_its_kind(self, kind: str):
        loaded = config.load(environment={"DWEBBACKUP_STORE": f"{kind}://node.example.com/ours"})
        (made,) = (member.store for member in members(assemble.store(loaded)))
        assert (made.name, made.url.partition(":")[0], made.traits.deletion) == ("ipfs", kind, "unpinned")


class TestHeads:
    KEYS = WRITER.head_keys
    CID = cid_of(b"a manifest").text
    NOW = 1_795_000_000.0

    def test_what_is_published_is_found_and_the_higher_sequence_counts(self, ipfs_node: IpfsNode):
        rpc = rpc_at(Address(ipfs_node.rpc, "ignored"))
        finder = NodeFinder("node", rpc, lambda: self.NOW)
        assert NodeFinder("node", rpc).find(OWNER.writer(7).head_keys) is None
        for sequence in (41, 42, 40):
            NodePublisher("node", rpc).publish(heads.announcement(WRITER, sequence, self.CID, None, self.NOW))
        lead = finder.find(self.KEYS)
        assert lead is not None
        assert (lead.teller, lead.link, lead.sequence) == ("node", f"ipfs://{self.CID}", 42)

    def test_a_record_with_a_wrong_signature_is_refused_by_the_node_and_by_us(self, ipfs_node: IpfsNode):
        rpc = rpc_at(Address(ipfs_node.rpc, "ignored"))
        good = heads.announcement(WRITER, 42, self.CID, None, self.NOW).ipns_record
        name = heads.announcement(OWNER.writer(8), 1, self.CID, None, self.NOW).ipns_name
        with pytest.raises(StoreUnreachable, match="routing/put"):
            rpc.put_record(name, good)
        for extra in ("bm9uc2Vuc2U=", "no base64!", 7):
            with front(response(200, json.dumps({"Extra": extra, "Type": 5}))) as server, pytest.raises(Damaged):
                NodeFinder("node", rpc_at(Address(server.url, "ignored"))).find(self.KEYS)


class TestBegun:
    def test_a_store_has_begun_once_it_was_prepared(self, ipfs_node: IpfsNode, address: Address):
        store = IpfsStore(address)
        assert not store.has_begun()
        store.prepare()
        assert store.has_begun()

    @pytest.mark.parametrize("answer", [said("context deadline exceeded"), response(403), response(200, "<html>")])
    def test_where_that_cannot_be_told_it_is_not_called_new(self, answer: bytes):
        with front(answer) as server:
            assert IpfsStore(Address(server.url, "folder")).has_begun()

    def test_on_a_new_node_there_are_nobodys_backups_and_a_key_is_made_without_a_store(self, ipfs_node: IpfsNode):
        settings = {"KEY": OWNER.words, "STORE": f"ipfs+{ipfs_node.rpc}/not-yet"}
        assert call("key", "reader", "--json", **settings).json["number"] == 1
        assert "there is no store in" in call("doctor", expect=3, **settings).out
        assert "not-yet" not in ipfs_node.names()


CONTENTS = {"large": noise(700_000), "rows": b"1\n2\n3\n", "empty": b""}


class TestAsAWhole:
    def test_a_backup_goes_out_by_several_threads_and_comes_back(self, store: IpfsStore):
        with small_pieces():
            options = backup.Options(jobs=2, uploads=4)
            part = access.below(store, WRITER.id)
            done = backup.back_up([SyntheticSource(CONTENTS)], part, WRITER, options)
            again = backup.back_up([SyntheticSource(CONTENTS)], part, WRITER, options)
        assert restored(store) == restored(store, done.backup.ref.id) == CONTENTS
        assert errors(store) == []
        assert again.backup.manifest.packs == 0
        assert len(object_names(store, "packs/")) == done.backup.manifest.packs > 10
        manifest = store.get(f"{ROOT}manifests/{done.backup.ref.name}")
        assert done.links == (f"ipfs://{cid_of(manifest).text}",)

    def test_a_database_goes_to_a_node_and_comes_back_from_the_command_line_after_the_node_was_started_anew(
        self, database: Database, target_database: Database, tmp_path: Path
    ):
        database.psql("CREATE TABLE t AS SELECT n, 'row ' || n AS text FROM generate_series(1, 5000) AS n")
        settings = {"SOURCE": database.uri, "KEY": OWNER.words}
        with IpfsNode.running(tmp_path) as node:
            made = call("backup", "--json", STORE=f"ipfs+{node.rpc}", **settings)
        assert made.json["manifest"]["links"][0].startswith("ipfs://baf")
        with IpfsNode.running(tmp_path) as node:
            call("restore", "latest", "--to", target_database.uri, STORE=f"ipfs+{node.rpc}", **settings)
        assert target_database.psql("SELECT count(*), max(text) FROM t") == "5000|row 999"
