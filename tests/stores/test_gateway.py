"""Gateways that do as they should, those that do less, and those that lie; and a real one, made of Helia's parts."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from dwebbackup import stores
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.links import car
from dwebbackup.links.cid import Codec, parse
from dwebbackup.links.unixfs import KUBO_V1, PROFILES, V0_2015, V1_2025, Profile, cid_of
from dwebbackup.ports import Carrier
from dwebbackup.stores import Busy, Refused, TooLarge
from dwebbackup.stores.ipfs.gateway import USUAL, Gateway
from fix_ceph import make_certificates
from fix_ipfs import IpfsNode
from links.trees import Blocks, car_of, inline, keep, tree
from stores.blocks_server import CAR, RAW, Answer, BlocksServer, Said, blocks_server, honest, without_cars
from stores.front import front, nobody, read_request, response, talker

PACK = Random(5).randbytes(4_193_280)
SMALL = b"not much"
CARS = Path(__file__).parents[1] / "vectors" / "cars"


def link(data: bytes, profile: Profile = V1_2025) -> str:
    return f"ipfs://{cid_of(data, profile).text}"


def files(*contents: bytes, profile: Profile = V1_2025) -> dict[str, Blocks]:
    return {root.text: blocks for root, blocks in (tree(data, profile) for data in contents)}


class TestFetches:
    @pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
    @pytest.mark.parametrize("data", [b"", SMALL, PACK], ids=["nothing", "little", "a pack"])
    def test_files_of_every_profile_and_size(self, data: bytes, profile: Profile):
        with blocks_server(files(data, profile=profile)) as server:
            assert Gateway(server.url).fetch(link(data, profile)) == data
            assert len(server.asked) == 1

    def test_a_tree_in_one_request_that_says_what_is_wanted(self):
        with blocks_server(files(PACK)) as server:
            gateway: Carrier = Gateway(f"{server.url}/ipfs/")
            assert gateway.fetch(link(PACK)) == PACK
            assert server.asked == [(cid_of(PACK).text, "car")]
            assert server.accepted == [f"{CAR}; version=1; order=dfs; dups=y"]

    def test_a_block_by_itself(self):
        with blocks_server(files(SMALL)) as server:
            assert Gateway(server.url).fetch(link(SMALL)) == SMALL
            assert (server.asked, server.accepted) == ([(cid_of(SMALL).text, "raw")], [RAW])

    def test_what_stands_in_its_link_without_asking(self):
        with nobody() as url:
            assert Gateway(url).fetch(f"ipfs://{inline(SMALL, Codec.RAW).text}") == SMALL

    def test_several_at_once(self):
        contents = [Random(number).randbytes(2_000_000) for number in range(8)]
        with blocks_server(files(*contents)) as server, ThreadPoolExecutor(8) as pool:
            gateway = Gateway(server.url)
            assert list(pool.map(lambda data: gateway.fetch(link(data)), contents)) == contents

    def test_an_object_that_is_larger_than_usual(self):
        data = Random(1).randbytes(USUAL + 100_000)
        with blocks_server(files(data)) as server:
            assert Gateway(server.url).fetch(link(data)) == data

    def test_links_to_ipfs_and_no_others(self):
        gateway = Gateway("https://gateway.example:8443/ipfs")
        assert gateway.name == "gateway.example:8443"
        assert gateway.carries(link(SMALL))
        for other in ("sia://AAC", "ipns://k51", "file:///a", "https://gateway.example/ipfs/x"):
            assert not gateway.carries(other)
            with pytest.raises(WrongConfiguration):
                gateway.fetch(other)

    @pytest.mark.parametrize(
        "typo", ["ipfs://", "ipfs://bafy", link(SMALL)[:-1], link(SMALL) + "/a", link(SMALL).upper()]
    )
    def test_nothing_by_a_link_that_is_none(self, typo: str):
        with nobody() as url, pytest.raises(WrongConfiguration):
            Gateway(url).fetch(typo)

    def test_nothing_by_the_name_of_a_key(self):
        with nobody() as url, pytest.raises(WrongConfiguration, match="name of a key"):
            Gateway(url).fetch("ipfs://k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f")


class TestDoesLess:
    @pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
    def test_one_that_makes_no_cars_is_asked_for_blocks_and_never_again_for_a_car(self, profile: Profile):
        with blocks_server(files(PACK, profile=profile), without_cars) as server:
            gateway = Gateway(server.url)
            for _ in range(2):
                assert gateway.fetch(link(PACK, profile)) == PACK
            assert [form for _, form in server.asked].count("car") == 1

    @pytest.mark.parametrize("status", [400, 415, 501])
    def test_and_says_so_in_other_words(self, status: int):
        def answer(server: BlocksServer, cid: str, form: str) -> Said | None:
            return (status, {}, b"what?") if form == "car" else None

        with blocks_server(files(PACK), answer) as server:
            assert Gateway(server.url).fetch(link(PACK)) == PACK

    @pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
    def test_one_that_gives_the_file_whatever_the_format_is_believed_by_its_cid(self, profile: Profile):
        """As js-ipfs does."""

        def answer(server: BlocksServer, cid: str, form: str) -> Said:
            return 200, {"Content-Type": "application/octet-stream"}, PACK

        with blocks_server({}, answer) as server:
            assert Gateway(server.url).fetch(link(PACK, profile)) == PACK
            with pytest.raises(Damaged, match="other bytes than those of"):
                Gateway(server.url).fetch(link(PACK + b"!", profile))

    @pytest.mark.parametrize("kept", range(1, 5))
    def test_a_car_without_all_blocks_is_completed(self, kept: int):
        def answer(server: BlocksServer, cid: str, form: str) -> Said | None:
            blocks = dict(list(server.files[cid].items())[:kept]) if form == "car" else {}
            return (200, {"Content-Type": CAR}, car_of(blocks)) if form == "car" else None

        with blocks_server(files(PACK), answer) as server:
            assert Gateway(server.url).fetch(link(PACK)) == PACK
            assert [form for _, form in server.asked] == ["car"] + ["raw"] * (5 - kept)

    @pytest.mark.parametrize("end", [20, 100, 2_000_000, -1])
    def test_a_car_that_breaks_off_is_completed(self, end: int):
        def answer(server: BlocksServer, cid: str, form: str) -> Said | None:
            return (200, {"Content-Type": CAR}, car_of(server.files[cid])[:end]) if form == "car" else None

        with blocks_server(files(PACK), answer) as server:
            assert Gateway(server.url).fetch(link(PACK)) == PACK

    def test_a_file_of_which_a_block_is_nowhere_is_missing(self):
        """The middle one of three, in a CAR of the suite of IPFS."""
        whole = (CARS / "file-3k-and-3-blocks-missing-block.car").read_bytes()
        blocks = car.read(whole).blocks
        root = next(parse_v0(hash_) for hash_, block in blocks.items() if len(block) == 145)

        def answer(server: BlocksServer, cid: str, form: str) -> Said | None:
            return (200, {"Content-Type": CAR}, whole) if form == "car" else None

        with blocks_server({}, answer) as server, pytest.raises(ObjectMissing, match="does not have Qm"):
            Gateway(server.url).fetch(f"ipfs://{root}")


def parse_v0(hash_: bytes) -> str:
    from dwebbackup.links.cid import Cid

    return Cid(0, Codec.DAG_PB, hash_).text


class TestHasNot:
    @pytest.mark.parametrize("status", [404, 410, 451, 504])
    @pytest.mark.parametrize("data", [SMALL, PACK], ids=["block", "tree"])
    def test_it_here_or_now(self, data: bytes, status: int):
        with (
            front(response(status, b"<html>", Content_Type="text/html")) as server,
            pytest.raises(ObjectMissing, match=f"does not have {cid_of(data).text} now"),
        ):
            Gateway(server.url).fetch(link(data))

    @pytest.mark.parametrize("status", [429, 500, 502, 503])
    def test_said_a_word_about_it(self, status: int):
        with front(response(status, Retry_After="7")) as server, pytest.raises(StoreUnreachable) as caught:
            Gateway(server.url).fetch(link(PACK))
        assert isinstance(caught.value, Busy) == (status in (429, 503))
        assert not isinstance(caught.value, Refused)

    @pytest.mark.parametrize("status", [401, 403, 405])
    def test_leave_to_give_it(self, status: int):
        with front(response(status)) as server, pytest.raises(Refused):
            Gateway(server.url).fetch(link(PACK))

    def test_any_answer_at_all(self):
        with nobody() as url, pytest.raises(StoreUnreachable, match="Connection refused"):
            Gateway(url).fetch(link(PACK))


def flipped(block: bytes) -> bytes:
    return block[:-1] + bytes([block[-1] ^ 1])


def says(status: int, kind: str, body: bytes, **headers: str) -> Answer:
    return lambda server, cid, form: (status, {"Content-Type": kind, **headers}, body)


OTHER_ROOT, OTHER_BLOCKS = tree(PACK[::-1], V1_2025)
FOLDER: Blocks = {}
keep(bytes.fromhex("0a020801"), FOLDER)


class TestLies:
    """What it gives is never taken for what was asked for."""

    @pytest.mark.parametrize("which", range(5))
    def test_with_one_block_of_a_car_changed(self, which: int):
        def answer(server: BlocksServer, cid: str, form: str) -> Said | None:
            blocks = dict(server.files[cid])
            changed = list(blocks)[which]
            return 200, {"Content-Type": CAR}, car_of(blocks | {changed: flipped(blocks[changed])})

        with (
            blocks_server(files(PACK), answer) as server,
            pytest.raises(Damaged, match="not what its CID says") as caught,
        ):
            Gateway(server.url).fetch(link(PACK))
        assert not isinstance(caught.value, ObjectMissing)
        assert f"gateway 127.0.0.1:{server.server_port}" in str(caught.value)

    @pytest.mark.parametrize("data", [SMALL, PACK], ids=["block", "tree"])
    def test_with_a_changed_block_by_itself(self, data: bytes):
        def answer(server: BlocksServer, cid: str, form: str) -> Said | None:
            if form == "car":
                return without_cars(server, cid, form)
            return 200, {"Content-Type": RAW}, flipped(server.blocks[cid])

        with blocks_server(files(data), answer) as server, pytest.raises(Damaged, match="other bytes"):
            Gateway(server.url).fetch(link(data))

    def test_with_another_files_car(self):
        """Whole, and of no use: the blocks that are wanted are asked for one by one."""
        with blocks_server(
            files(PACK),
            lambda server, cid, form: (200, {"Content-Type": CAR}, car_of(OTHER_BLOCKS)) if form == "car" else None,
        ) as server:
            assert Gateway(server.url).fetch(link(PACK)) == PACK
            assert len(server.asked) == 6

    @pytest.mark.parametrize("body", [b"", b"\0" * 1000, b"<html>", SMALL])
    @pytest.mark.parametrize("kind", [CAR, RAW, "application/octet-stream", ""])
    def test_with_something_else_altogether(self, body: bytes, kind: str):
        with blocks_server({}, says(200, kind, body)) as server, pytest.raises(Damaged):
            Gateway(server.url).fetch(link(PACK))

    def test_with_a_folder_of_that_name(self):
        folder = next(iter(FOLDER))
        with blocks_server({folder.text: FOLDER}) as server, pytest.raises(Damaged, match="it is a folder"):
            Gateway(server.url).fetch(f"ipfs://{folder.text}")

    @pytest.mark.parametrize("data", [SMALL, PACK], ids=["block", "tree"])
    def test_with_a_web_page(self, data: bytes):
        with (
            blocks_server({}, says(200, "text/html; charset=utf-8", b"<html>")) as server,
            pytest.raises(Refused, match="a web page"),
        ):
            Gateway(server.url).fetch(link(data))

    @pytest.mark.parametrize("data", [SMALL, PACK], ids=["block", "tree"])
    def test_by_leading_elsewhere(self, data: bytes):
        """As subdomain gateways do."""
        with (
            blocks_server(files(data)) as other,
            blocks_server(
                {}, says(301, "", b"", Location=f"{other.url}/ipfs/{cid_of(data).text}?format=raw")
            ) as server,
        ):
            with pytest.raises(Refused, match="redirects to"):
                Gateway(server.url).fetch(link(data))
            assert other.asked == []

    @pytest.mark.parametrize("data", [SMALL, PACK], ids=["block", "tree"])
    def test_with_five_gigabytes(self, data: bytes):
        with (
            blocks_server({}, says(200, CAR, b"x" * 1000, **{"Content-Length": str(5 << 30)})) as server,
            pytest.raises(TooLarge, match="at most"),
        ):
            Gateway(server.url).fetch(link(data))

    @pytest.mark.parametrize("chunked", [False, True])
    def test_with_an_answer_that_never_ends(self, chunked: bool, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(stores, "LARGEST", 8 << 20)

        def talk(connection: socket.socket) -> None:
            read_request(connection)
            more = b"Transfer-Encoding: chunked\r\n" if chunked else b""
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ipld.car\r\n" + more + b"\r\n")
            while True:
                connection.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n" if chunked else bytes(1 << 16))

        with talker(talk) as url, pytest.raises(TooLarge, match="sends more"):
            Gateway(url).fetch(link(PACK))

    def test_with_an_answer_that_grows_when_it_is_unpacked(self):
        bomb = says(200, CAR, gzip.compress(bytes(50 << 20)), **{"Content-Encoding": "gzip"})
        with blocks_server({}, bomb) as server, pytest.raises(Refused, match="compressed"):
            Gateway(server.url).fetch(link(PACK))

    def test_with_an_expired_certificate(self, tmp_path: Path):
        from stores.test_web import secure

        make_certificates(tmp_path, days=-0.5)
        with secure(tmp_path) as server, pytest.raises(Refused, match="expired"):
            Gateway(server.url, ca=server.ca).fetch(link(PACK))

    def test_with_a_file_that_is_larger_than_any_of_ours(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(stores, "LARGEST", 1 << 20)
        with blocks_server(files(PACK)) as server, pytest.raises(Damaged, match="4193280 bytes, and 1048576"):
            Gateway(server.url).fetch(link(PACK))


class TestRealGateway:
    """Helia's; nothing of ours is in it."""

    @pytest.fixture
    def gateway(self, ipfs_node: IpfsNode) -> Iterator[Gateway]:
        return Gateway(ipfs_node.gateway)

    @pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1, 1 << 20, (1 << 20) + 1, 4_193_280])
    def test_gives_what_was_added_by_every_profile(self, ipfs_node: IpfsNode, gateway: Gateway, size: int):
        data = Random(size).randbytes(size)
        by_profile = {
            V1_2025: {"cid_version": "1", "chunker": "size-1048576", "max_file_links": "1024"},
            V0_2015: {},
            KUBO_V1: {"cid_version": "1"},
        }
        for profile, options in by_profile.items():
            assert ipfs_node.add(data, **options) == cid_of(data, profile).text
            assert gateway.fetch(link(data, profile)) == data

    def test_gives_a_file_of_many_chunks_and_two_levels(self, ipfs_node: IpfsNode, gateway: Gateway):
        data = Random(9).randbytes(3_000_000)
        assert gateway.fetch(f"ipfs://{ipfs_node.add(data, chunker='size-4096')}") == data

    def test_that_lost_a_block_has_not_the_file(self, ipfs_node: IpfsNode, gateway: Gateway):
        data = Random(10).randbytes(1_000_000)
        root = parse(ipfs_node.add(data, cid_version="1"))
        lost = cid_of(data[1 << 18 : 2 << 18]).text
        ipfs_node.forget(lost)
        with pytest.raises(ObjectMissing, match=f"does not have {lost} now"):  # though its CAR breaks off
            gateway.fetch(f"ipfs://{root.text}")

    @pytest.mark.parametrize("data", [b"never added", bytes(3_000_000)], ids=["block", "tree"])
    def test_has_not_what_nobody_added(self, gateway: Gateway, data: bytes):
        with pytest.raises(ObjectMissing):
            gateway.fetch(link(data + b"?"))


def test_the_plain_gateway_of_these_tests_gives_what_the_real_one_gives(ipfs_node: IpfsNode):
    """So that what is shown with the one is shown."""
    from dwebbackup.stores.web import Web

    data = Random(11).randbytes(700_000)
    cid = ipfs_node.add(data, cid_version="1")
    with blocks_server(files(data, profile=KUBO_V1), honest) as server:
        for params in ({"format": "car", "dag-scope": "all"}, {"format": "raw"}):
            ours, theirs = (
                Web(url).ask(
                    "GET", f"/ipfs/{cid}", params=params, headers={"Accept": CAR if "dag-scope" in params else RAW}
                )
                for url in (server.url, ipfs_node.gateway)
            )
            assert ours.content_type == theirs.content_type
            if "dag-scope" in params:
                assert car.read(ours.body).blocks == car.read(theirs.body).blocks
            else:
                assert ours.body == theirs.body
