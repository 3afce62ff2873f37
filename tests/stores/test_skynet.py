"""A Skynet portal as a store: what it gives is hashed, what it answers is doubted, and nothing is kept under a name."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from contracts.store import BAD_NAMES
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.links import skylink
from dwebbackup.links.skyfile import metadata, skylink_of
from dwebbackup.links.skylink import SECTOR
from dwebbackup.ports import Store
from dwebbackup.stores import Busy, Refused
from dwebbackup.stores.skynet.address import portal_at
from dwebbackup.stores.skynet.carrier import PortalCarrier
from dwebbackup.stores.skynet.portal import ONE_OF, PROBE, SMALL, PortalStore
from links.asking import vectors
from skynet_portal import Portal, sector
from stores.front import front, response
from synthetic import noise

ROOM = SECTOR - 99 - len(metadata(SECTOR))
NAME = "w/1/packs/ab/abc.age"


@pytest.fixture
def portal() -> Iterator[Portal]:
    with Portal() as portal:
        yield portal


def store_at(url: str, token: str = "") -> PortalStore:
    return PortalStore("skynet", f"skynet+{url}", portal_at(f"skynet+{url}", token))


def carrier_at(url: str) -> PortalCarrier:
    return PortalCarrier("skynet", portal_at(url))


def link_of(data: bytes) -> str:
    return f"sia://{skylink_of(data).text}"


def answering(document: object) -> bytes:
    return response(200, json.dumps(document), Content_Type="application/json")


def down(portal: Portal) -> list[str]:
    return [asked for asked in portal.asked if asked.startswith("GET")]


# --- a portal as it should be ---


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, SECTOR - 1024, ROOM])
def test_what_was_put_comes_back_by_its_skylink(portal: Portal, size: int):
    data = noise(size)
    links = store_at(portal.url).put(NAME, data)
    assert links == (link_of(data),)
    assert store_at(portal.url).get(NAME, ("ipfs://bafyother", *links)) == data


def test_a_skylink_depends_on_nothing_but_the_bytes(portal: Portal):
    store = store_at(portal.url)
    assert store.put("w/1/manifests/a", b"same") == store.put("w/2/packs/b.age", b"same") == (link_of(b"same"),)
    assert len(portal.sectors) == 1


def test_small_uploads_are_fetched_again_and_of_larger_ones_the_first_and_one_of_many(portal: Portal):
    store = store_at(portal.url)
    fetched = []
    for number in range(ONE_OF + 1):
        before = len(down(portal))
        store.put(NAME, noise(SMALL + 1, number))
        fetched.append(len(down(portal)) - before)
    assert fetched == [1, *[0] * (ONE_OF - 1), 1]
    for number in range(3):
        store.put(NAME, noise(10, number))
    assert len(down(portal)) == sum(fetched) + 3


def test_whoever_will_write_sees_that_a_file_goes_there_and_comes_back(portal: Portal):
    store_at(portal.url).prepare()
    assert list(portal.sectors) == [skylink_of(PROBE).text]
    assert len(down(portal)) == 1


def test_it_keeps_nothing_under_a_name(portal: Portal):
    store: Store = store_at(portal.url)
    store.put(NAME, b"kept")
    for ask in (store.head, store.list, store.delete):
        with pytest.raises(Refused, match="keeps nothing under a name"):
            ask(NAME)
    for links in ((), ("ipfs://bafyother",)):
        with pytest.raises(ObjectMissing, match="no skylink of"):
            store.get(NAME, links)
    traits = store.traits
    assert (traits.lists, traits.deletes, traits.not_found_is_final, traits.deletion) == (False,) * 3 + ("forgotten",)
    assert traits.scheme == "sia"  # an IPFS link leads nowhere there


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_before_anything_is_asked(portal: Portal, name: str):
    store = store_at(portal.url)
    for ask in (lambda: store.put(name, b"1"), lambda: store.get(name, (link_of(b"1"),))):
        with pytest.raises(Refused):
            ask()
    assert portal.asked == []


def test_what_does_not_fit_into_a_sector_is_refused_before_anything_is_asked(portal: Portal):
    with pytest.raises(Refused, match=rf"{NAME} does not fit into store skynet: .*has room for {ROOM:,}"):
        store_at(portal.url).put(NAME, bytes(ROOM + 1))
    assert portal.asked == []


def test_it_may_stand_below_a_path(portal: Portal):
    with front(behind=portal.url) as proxy, pytest.raises(Refused, match="404 page not found"):
        store_at(f"{proxy.url}/below/").put(NAME, b"1")
    assert proxy.asked == [("POST", "/below/skynet/skyfile")]


def test_the_key_goes_with_every_request():
    with Portal(key="secret key") as portal:
        store = store_at(portal.url, "secret key")
        assert store.get(NAME, store.put(NAME, b"1")) == b"1"
        for token in ("", "wrong secret"):
            with pytest.raises(Refused, match="401") as failed:
                store_at(portal.url, token).put(NAME, b"1")
            assert "secret" not in str(failed.value) + failed.value.hint


# --- portals that write down more about a file ---


def test_a_portal_that_writes_down_more_gets_our_sectors_as_they_are():
    with Portal(writes_more=True) as portal, capture_logs() as lines:
        store = store_at(portal.url)
        for data in (b"one", b"two", noise(100_000)):
            assert store.put(NAME, data) == (link_of(data),)
            assert store.get(NAME, (link_of(data),)) == data
    assert [asked for asked in portal.asked if asked.startswith("POST")] == [
        "POST /skynet/skyfile",
        *["POST /skynet/restore"] * 3,
    ]
    assert [line["event"][:20] for line in lines] == ["the portal's skylink"]


@pytest.mark.parametrize("size", [0, 100, 40_000, SECTOR - 1024])
def test_one_that_takes_no_sectors_gives_files_under_its_own_skylink_that_fit_it(size: int):
    data = noise(size)
    with Portal(writes_more=True, takes_sectors=False) as portal:
        store = store_at(portal.url)
        links = store.put(NAME, data)
        assert links == (f"sia://{next(iter(portal.sectors))}",) != (link_of(data),)
        assert store.get(NAME, links) == data
        before = len(down(portal))
        assert store.put(NAME, data) == links
        assert len(down(portal)) == before + 2, "each is fetched again, as a file and as its sector"
    assert portal.asked.count("POST /skynet/restore") == 1


def test_one_that_gives_no_sectors_either_is_refused():
    with (
        Portal(writes_more=True, takes_sectors=False, gives_sectors=False) as portal,
        pytest.raises(Refused, match="cannot be checked"),
    ):
        store_at(portal.url).put(NAME, b"1")


def test_one_that_takes_a_sector_for_another_is_not_believed():
    other = answering({"skylink": skylink_of(b"other").text})
    with front(other, other, response(404)) as server:
        store = store_at(server.url)
        with pytest.raises(StoreUnreachable, match=f"does not have {skylink_of(b'other').text}"):
            store.put(NAME, b"1")
    assert [path for _, path in server.asked][:2] == ["/skynet/skyfile", "/skynet/restore"]


@pytest.mark.parametrize("vector", vectors("skynet")["files"], ids=lambda vector: vector["name"])
def test_files_with_the_names_and_types_of_others_are_checked_in_their_sectors(portal: Portal, vector: dict[str, str]):
    """The skylinks are those that a real portal answered."""
    data = vector["data"].encode()
    portal.sectors[vector["skylink"]] = sector(data, vector["metadata"].encode())
    assert carrier_at(portal.url).fetch(f"sia://{vector['skylink']}") == data
    assert [asked.rpartition("/")[0] for asked in down(portal)] == ["GET ", "GET /skynet/trustless/basesector"]


# --- bad portals ---


@pytest.mark.parametrize(("habit", "why"), [("loses", "does not have"), ("spoils", "gave other bytes")])
@pytest.mark.parametrize("size", [10, SMALL + 1])
def test_a_portal_that_does_not_give_back_what_it_took_is_found_out_at_once(habit: str, why: str, size: int):
    with Portal(**{habit: True}) as portal, pytest.raises(StoreUnreachable, match=f"does not give it back: .*{why}"):
        store_at(portal.url).put(NAME, noise(size))


def test_other_bytes_than_the_skylinks_are_never_given(portal: Portal):
    [link] = store_at(portal.url).put(NAME, b"right")
    text = link.removeprefix("sia://")
    right = portal.sectors[text]
    for content in (right[:-1] + b"?", right[:-1], sector(b"wrong", metadata(5, "other")), sector(b"", metadata(0))):
        portal.sectors[text] = content
        with pytest.raises(Damaged, match=f"gave other bytes than {text} stands for"):
            store_at(portal.url).get(NAME, (link,))


def test_an_answer_larger_than_a_sector_is_not_read():
    with front(response(200, bytes(SECTOR + 1))) as server, pytest.raises(Refused, match=f"at most {SECTOR} bytes"):
        carrier_at(server.url).fetch(link_of(b"1"))


def test_an_answer_larger_than_a_file_can_be_is_not_the_skylinks():
    with front(response(200, bytes(ROOM + 1)), response(404)) as server, pytest.raises(Damaged, match="other bytes"):
        carrier_at(server.url).fetch(link_of(b"1"))


def test_the_next_link_is_tried_and_a_404_is_the_last_to_be_told(portal: Portal):
    store = store_at(portal.url)
    [good] = store.put(NAME, b"good")
    [bad] = store.put(NAME, b"bad!")
    portal.sectors[bad.removeprefix("sia://")] = sector(b"evil", metadata(4))
    gone = link_of(b"gone")
    assert store.get(NAME, (gone, bad, "sia://typo", good)) == b"good"
    with pytest.raises(ObjectMissing, match="does not have"):
        store.get(NAME, (gone,))
    with pytest.raises(Damaged, match="other bytes"):
        store.get(NAME, (gone, bad))
    with pytest.raises(Damaged, match="has 4 characters"):
        store.get(NAME, ("sia://typo", gone))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"[]",
        b"{}",
        b'{"skylink": 5}',
        b'{"skylink": "AAA"}',
        b'{"skylink": "' + b"!" * 46 + b'"}',
        b"[" * 50_000,
    ],
)
def test_an_answer_that_is_no_skylink_is_refused(body: bytes):
    with (
        front(response(200, body, Content_Type="application/json")) as server,
        pytest.raises(Refused, match="something else than a skylink"),
    ):
        store_at(server.url).put(NAME, b"1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 451])
def test_a_no_is_not_asked_again(status: int):
    with front(response(status, '{"message": "because"}', Content_Type="application/json")) as server:
        with pytest.raises(Refused, match=f"{status}.*because"):
            store_at(server.url).put(NAME, b"1")
        if status != 404:
            with pytest.raises(Refused, match=f"{status}.*because"):
                carrier_at(server.url).fetch(link_of(b"1"))


def test_a_file_that_is_too_large_for_a_portal_is_refused():
    with Portal(largest=1000) as portal, pytest.raises(Refused, match="413"):
        store_at(portal.url).put(NAME, bytes(1000))


def test_a_limit_of_requests_is_waited_for(portal: Portal):
    store = store_at(portal.url)
    with front(response(429, "slow", Retry_After="7"), response(429, "slow"), behind=portal.url) as server:
        store = store_at(server.url)
        with pytest.raises(Busy) as busy:
            store.put(NAME, b"1")
        assert busy.value.seconds == 7
        with pytest.raises(StoreUnreachable, match="429") as failed:
            store.put(NAME, b"1")
        assert not isinstance(failed.value, Refused)
        assert store.put(NAME, b"1") == (link_of(b"1"),)


def test_a_web_page_with_status_200_is_no_file():
    with front(response(200, "<html>hello", Content_Type="text/html")) as server:
        for ask in (
            lambda: store_at(server.url).put(NAME, b"1"),
            lambda: carrier_at(server.url).fetch(link_of(b"<html>hello")),
        ):
            with pytest.raises(Refused, match="web page"):
                ask()


# --- links ---


def test_both_forms_of_a_skylink_lead_to_the_file(portal: Portal):
    store_at(portal.url).put(NAME, b"1")
    carrier = carrier_at(portal.url)
    for text in (skylink_of(b"1").text, skylink_of(b"1").base32, f"{skylink_of(b'1').text}/"):
        assert carrier.fetch(f"sia://{text}") == b"1"
    assert carrier.carries("sia://x")
    assert not carrier.carries("ipfs://x")


def test_a_typo_in_a_link_is_told_before_anything_is_asked(portal: Portal):
    with pytest.raises(WrongConfiguration, match="is no skylink"):
        carrier_at(portal.url).fetch(link_of(b"1")[:-1] + "!")
    assert portal.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "skynet+https://",
        "skynet+https://user@host",
        "skynet+ftp://host",
        "skynet+https://host:0",
        "skynet+https://host:port",
        "skynet+https://host#here",
    ],
)
def test_what_is_no_address_of_a_portal_is_told(url: str):
    with pytest.raises(WrongConfiguration, match="not one of a server"):
        portal_at(url)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "", "1e9", "٣"])
def test_what_is_no_timeout_is_told(timeout: str):
    with pytest.raises(WrongConfiguration, match="not a timeout"):
        portal_at(f"skynet+https://host?timeout={timeout}")


def test_an_authority_that_is_no_file_is_told():
    with pytest.raises(WrongConfiguration, match="/nowhere"):
        portal_at("skynet+https://host?ca=/nowhere&timeout=5")


def test_a_token_that_cannot_be_sent_is_told_without_it():
    with pytest.raises(WrongConfiguration, match="Skynet-Api-Key") as failed:
        portal_at("skynet+https://host", "secret\nkey")
    assert "secret" not in str(failed.value)


def test_the_portal_answers_as_skyd_did(portal: Portal):
    said = portal_at(portal.url).ask("POST", "/skynet/skyfile", files={"file": ("a.txt", b"1", "text/plain")})
    answer = json.loads(said.body)
    link = skylink.parse(answer["skylink"])
    assert answer["merkleroot"] == link.root.hex()
    assert link == skylink_of(b"1", "a.txt", "text/plain")
    about = portal_at(portal.url).ask("GET", f"/skynet/metadata/{link.text}")
    assert about.body == metadata(1, "a.txt", "text/plain")
