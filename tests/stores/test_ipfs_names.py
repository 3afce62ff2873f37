"""Heads by gateway and by delegated routing: a real node keeps them, servers that lie are not believed."""

from __future__ import annotations

import pytest

from dwebbackup import clock, heads
from dwebbackup.errors import Damaged, StoreUnreachable
from dwebbackup.keys import OwnerKey
from dwebbackup.links.unixfs import cid_of
from dwebbackup.ports import Announcement, Finder
from dwebbackup.stores import Refused
from dwebbackup.stores.ipfs.names import RECORD, GatewayFinder, Router
from dwebbackup.stores.web import Web
from fix_ipfs import IpfsNode
from web_server import Answer, WebServer

CID = cid_of(b"a manifest").text
OURS = OwnerKey(bytes(range(32))).writer(1)
THEIRS = OwnerKey(bytes(range(32, 64))).writer(1)
AS_RECORD = {"Content-Type": RECORD}


def announced(seed: int, sequence: int = 1) -> tuple[OwnerKey, Announcement]:
    owner = OwnerKey(bytes([seed]) * 32)
    return owner, heads.announcement(owner.writer(1), sequence, CID, None, clock.now())


def both(base: str) -> list[Finder]:
    return [GatewayFinder(Web(base)), Router(Web(base))]


# --- a real node ---


def test_what_is_published_by_delegated_routing_is_found_there_and_at_the_gateway(ipfs_node: IpfsNode):
    owner, announcement = announced(1, sequence=42)
    Router(Web(ipfs_node.gateway)).publish(announcement)
    for finder in both(ipfs_node.gateway):
        lead = finder.find(owner.reader(1).head_keys)
        assert lead
        assert (lead.link, lead.sequence) == (f"ipfs://{CID}", 42)
        assert lead.teller == finder.name == ipfs_node.gateway.removeprefix("http://")


def test_a_head_may_be_published_again_and_a_newer_one_takes_its_place(ipfs_node: IpfsNode):
    owner, first = announced(2, sequence=1)
    _, second = announced(2, sequence=2)
    router = Router(Web(ipfs_node.gateway))
    for announcement in (first, first, second):
        router.publish(announcement)
    leads = [finder.find(owner.writer(1).head_keys) for finder in both(ipfs_node.gateway)]
    assert [lead and lead.sequence for lead in leads] == [2, 2]


def test_who_has_no_head_of_a_writer_says_so(ipfs_node: IpfsNode):
    owner, _ = announced(3)
    assert [finder.find(owner.writer(1).head_keys) for finder in both(ipfs_node.gateway)] == [None, None]


def test_a_record_that_is_none_is_refused_by_the_node(ipfs_node: IpfsNode):
    _, announcement = announced(4)
    bad = Announcement(1, CID, announcement.ipns_name, announcement.ipns_record[:-1], b"", None)
    with pytest.raises(Refused):
        Router(Web(ipfs_node.gateway)).publish(bad)


# --- servers that answer otherwise ---


def record_of(writer=OURS, now: float | None = None) -> bytes:
    return heads.announcement(writer, 7, CID, None, now or clock.now()).ipns_record


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (record_of(THEIRS), "signature does not hold"),
        (record_of(now=clock.now() - heads.VALIDITY - 3600), "expired"),
        (record_of()[:-3], "not good"),
        (b"", "no signature of version 2"),
        (b"\xff" * 100, "not good"),
    ],
    ids=["somebody else's", "expired", "cut", "empty", "noise"],
)
def test_a_record_that_is_not_good_is_damage(body: bytes, why: str):
    with WebServer(Answer(headers=AS_RECORD, body=body)) as server:
        for finder in both(f"http://{server.place}"):
            with pytest.raises(Damaged, match=why):
                finder.find(OURS.head_keys)


@pytest.mark.parametrize("status", [404, 410])
def test_not_found_is_an_answer(status: int):
    with WebServer(Answer(status)) as server:
        assert [finder.find(OURS.head_keys) for finder in both(f"http://{server.place}")] == [None, None]


@pytest.mark.parametrize("status", [500, 502, 504, 429, 401, 400])
def test_what_is_no_answer_is_never_an_absence(status: int):
    with WebServer(Answer(status)) as server:
        for finder in both(f"http://{server.place}"):
            with pytest.raises(StoreUnreachable):
                finder.find(OURS.head_keys)


def test_more_than_a_record_can_have_is_not_read():
    with WebServer(Answer(headers=AS_RECORD, body=bytes(5_000_000))) as server:
        for finder in both(f"http://{server.place}"):
            with pytest.raises(StoreUnreachable, match="at most 10240 bytes"):
                finder.find(OURS.head_keys)


def test_another_type_than_a_records_is_none_by_the_rule_of_delegated_routing_and_no_gateway_s_answer():
    with WebServer(
        Answer(headers={"Content-Type": "text/plain"}, body=b"delegate error: routing: not found")
    ) as server:
        gateway, router = both(f"http://{server.place}")
        assert router.find(OURS.head_keys) is None
        with pytest.raises(Refused, match="gives no IPNS records"):
            gateway.find(OURS.head_keys)


def test_a_web_page_is_no_answer_at_all():
    with WebServer(Answer(headers={"Content-Type": "text/html"}, body=b"<h1>Welcome")) as server:
        for finder in both(f"http://{server.place}"):
            with pytest.raises(Refused, match="web page"):
                finder.find(OURS.head_keys)


def test_both_say_what_they_ask_for():
    with WebServer(Answer(headers=AS_RECORD, body=record_of())) as server:
        for finder in both(f"http://{server.place}"):
            assert finder.find(OURS.head_keys)
        name = heads.announcement(OURS, 1, CID, None, 0).ipns_name
        by_gateway, by_router = server.next(), server.next()
        assert by_gateway.path == f"/ipns/{name}?format=ipns-record"
        assert by_router.path == f"/routing/v1/ipns/{name}"
        assert {by_gateway.headers["Accept"], by_router.headers["Accept"]} == {RECORD}
