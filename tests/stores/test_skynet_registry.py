"""A writer's head in Skynet's registry: signed, newest wins, and nobody else's is taken for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from dwebbackup import heads
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable
from dwebbackup.keys import OwnerKey
from dwebbackup.links import registry, skylink
from dwebbackup.links.registry import Entry
from dwebbackup.links.signing import public_key
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import cid_of
from dwebbackup.ports import Announcement, Lead
from dwebbackup.stores import Refused
from dwebbackup.stores.skynet.address import portal_at
from dwebbackup.stores.skynet.carrier import PortalCarrier
from dwebbackup.stores.skynet.portal import PortalStore
from dwebbackup.stores.skynet.registry import PortalFinder, PortalPublisher, followed
from links.asking import vectors
from skynet_portal import Portal, document
from stores.front import front, response

WRITER = OwnerKey(bytes(range(32))).writer(1)
KEYS = WRITER.head_keys
IDS = (KEYS.registry, heads.REGISTRY_KEY)
NOW = 1_795_000_000.0


@pytest.fixture
def portal() -> Iterator[Portal]:
    with Portal() as portal:
        yield portal


def head(sequence: int, manifest: bytes = b"manifest") -> Announcement:
    return heads.announcement(WRITER, sequence, cid_of(manifest).text, skylink_of(manifest).text, NOW)


def finder(url: str) -> PortalFinder:
    return PortalFinder("skynet", portal_at(url))


def publisher(url: str) -> PortalPublisher:
    return PortalPublisher("skynet", portal_at(url))


def lead(sequence: int, manifest: bytes = b"manifest") -> Lead:
    return Lead("skynet", f"sia://{skylink_of(manifest).text}", sequence)


# --- heads ---


def test_a_head_that_was_published_is_found(portal: Portal):
    assert finder(portal.url).find(KEYS) is None
    for sequence in (1, 2, 2, 7):
        publisher(portal.url).publish(head(sequence))
        assert finder(portal.url).find(KEYS) == lead(sequence)
    assert finder(portal.url).find(OwnerKey(bytes(32)).writer(1).head_keys) is None


def test_the_largest_sequence_is_told_exactly(portal: Portal):
    publisher(portal.url).publish(head((1 << 64) - 1))
    assert finder(portal.url).find(KEYS) == lead((1 << 64) - 1)


def test_a_manifest_without_a_skylink_is_not_told(portal: Portal):
    publisher(portal.url).publish(heads.announcement(WRITER, 1, cid_of(b"manifest").text, None, NOW))
    assert portal.asked == []


def test_the_head_leads_to_the_manifest_and_so_does_its_lasting_skylink(portal: Portal):
    web = portal_at(portal.url)
    store, carrier = PortalStore("skynet", portal.url, web), PortalCarrier("skynet", web)
    lasting = f"sia://{registry.resolver(*IDS).text}"
    with pytest.raises(ObjectMissing):
        carrier.fetch(lasting)
    for sequence, manifest in enumerate((b"first", b"second")):
        store.put("w/1/manifests/a", manifest)
        publisher(portal.url).publish(head(sequence, manifest))
        found = finder(portal.url).find(KEYS)
        assert found
        assert carrier.fetch(found.link) == carrier.fetch(lasting) == manifest


def test_a_head_that_is_older_than_the_portals_changes_nothing_and_is_noted(portal: Portal):
    publisher(portal.url).publish(head(5, b"newer"))
    with capture_logs() as lines:
        publisher(portal.url).publish(head(4, b"older"))
    assert [(line["sequence"], line["kept"]) for line in lines] == [(4, 5)]
    assert finder(portal.url).find(KEYS) == lead(5, b"newer")


def test_of_two_heads_with_one_sequence_all_see_the_same_and_the_other_is_noted(portal: Portal):
    """It is the one whose hash is smaller, whichever came first."""
    with capture_logs() as lines:
        for manifest in (b"one", b"two", b"one", b"two"):
            publisher(portal.url).publish(head(5, manifest))
    found = finder(portal.url).find(KEYS)
    assert found in (lead(5, b"one"), lead(5, b"two"))
    assert {(line["sequence"], line["kept"]) for line in lines} == {(5, 5)}


def test_a_head_that_is_refused_for_any_other_reason_is_not_published(portal: Portal):
    publisher(portal.url).publish(head(1))
    no = response(400, '{"message": "because of the weather"}', Content_Type="application/json")
    with front(no, behind=portal.url) as server, pytest.raises(Refused, match="because of the weather"):
        publisher(server.url).publish(head(2))
    with front(no, response(404)) as server, pytest.raises(Refused, match="because of the weather"):
        publisher(server.url).publish(head(2))
    with front(response(400, b"nonsense"), response(404)) as server, pytest.raises(Refused, match="nonsense"):
        publisher(server.url).publish(head(2))


def test_a_portal_that_refuses_what_it_has_already_says_nothing_new(portal: Portal):
    publisher(portal.url).publish(head(1))
    with front(response(400, "known"), behind=portal.url) as server, capture_logs() as lines:
        publisher(server.url).publish(head(1))
    assert lines == []


def test_a_newer_head_that_nobody_signed_is_no_reason_to_refuse_ours():
    forged = answering(json.dumps(good() | {"revision": 9}).encode())
    with front(response(400, "newer"), forged) as server, pytest.raises(Damaged, match="not signed"):
        publisher(server.url).publish(head(4))


@pytest.mark.parametrize("status", [408, 429, 500, 502])
def test_what_may_pass_is_told_as_that(status: int):
    with front(response(status, "later")) as server:
        for ask in (lambda: publisher(server.url).publish(head(1)), lambda: finder(server.url).find(KEYS)):
            with pytest.raises(StoreUnreachable, match=str(status)) as failed:
                ask()
            assert not isinstance(failed.value, Refused)


def test_a_signature_of_somebody_else_is_refused_by_the_portal(portal: Portal):
    ours = head(1)
    assert ours.registry_entry
    forged = Announcement(1, ours.cid, ours.ipns_name, b"", public_key(bytes(32)), ours.registry_entry)
    with pytest.raises(StoreUnreachable, match="invalid signature"):
        publisher(portal.url).publish(forged)
    assert portal.entries == {}


# --- portals that lie ---


def good() -> dict[str, Any]:
    entry = head(3).registry_entry
    assert entry
    return document(*IDS, *entry)


def key_in(data: bytes) -> dict[str, str]:
    return {"algorithm": "ed25519", "key": document(data, b"", Entry(b"", 0), b"")["publickey"]["key"]}


def answering(body: bytes) -> bytes:
    return response(200, body, Content_Type="application/json")


def found_in(body: bytes) -> Lead | None:
    with front(answering(body)) as server:
        return finder(server.url).find(KEYS)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"signature": "00" * 64}, "not signed with the key that was asked for"),
        ({"signature": "00"}, "not signed with the key that was asked for"),
        ({"revision": 4}, "not signed with the key that was asked for"),
        ({"data": skylink_of(b"evil").binary.hex()}, "not signed with the key that was asked for"),
        ({"publickey": key_in(bytes(32))}, "somebody else's"),
        ({"datakey": registry.data_key("other").hex()}, "somebody else's"),
        ({"type": 2}, "of a type that is not known"),
        ({"publickey": key_in(KEYS.registry) | {"algorithm": "rsa"}}, "of a type that is not known"),
        ({"revision": "3"}, "not written as one"),
        ({"revision": 3.0}, "of a type that is not known"),
        ({"revision": 1 << 64}, "no revision"),
        ({"revision": -1}, "no revision"),
        ({"revision": None}, "not written as one"),
        ({"data": "00" * 114}, "room for 113 bytes"),
        ({"data": "no hex"}, "not written as one"),
        ({"data": 5}, "not written as one"),
        ({"publickey": "ed25519"}, "not written as one"),
        ({"publickey": {}}, "not written as one"),
        ({"publickey": {"algorithm": "ed25519", "key": "!"}}, "not written as one"),
    ],
)
def test_an_answer_that_is_not_the_writers_entry_is_no_head(change: dict[str, Any], why: str):
    assert found_in(json.dumps(good()).encode()) == lead(3)
    with pytest.raises(Damaged, match=f"skynet.*{why}"):
        found_in(json.dumps(good() | change).encode())


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b"5", b"null", b"{}", b"[" * 60_000, b"\xff"])
def test_an_answer_that_is_no_entry_at_all_is_no_head(body: bytes):
    with pytest.raises(Damaged, match="no entry of the registry"):
        found_in(body)


def test_an_endless_answer_is_not_read():
    with pytest.raises(Refused, match="at most"):
        found_in(b" " * 100_000)


def test_an_entry_that_its_writer_signed_and_that_leads_nowhere_is_no_head():
    for data in (b"", b"nowhere", bytes([3]) + bytes(33)):
        entry = Entry(data, 3)
        signed = document(*IDS, entry, registry.sign(WRITER.registry_seed, IDS[1], entry))
        with pytest.raises(Damaged, match=r"skynet: (a skylink has 34 bytes|its first bytes)"):
            found_in(json.dumps(signed).encode())


# --- resolver skylinks ---


def test_a_real_portals_proof_leads_from_one_skylink_to_the_other():
    vector = vectors("skynet")["proof"]
    entry = Entry(bytes.fromhex(vector["data"]), vector["revision"])
    ids = bytes.fromhex(vector["public"]), bytes.fromhex(vector["data_key"])
    proof = [document(*ids, entry, bytes.fromhex(vector["signature"]))]
    assert followed(skylink.parse(vector["resolver"]), json.dumps(proof), "skynet").text == vector["leads_to"]


SEEDS = [bytes([number]) * 32 for number in range(12)]
KEY = registry.data_key("chain")


def chain(length: int) -> list[dict[str, Any]]:
    """Entries that lead from the first seed's to the next one's, and at last to a file."""
    links = [registry.resolver(public_key(seed), KEY) for seed in SEEDS[:length]] + [skylink_of(b"end")]
    entries = [Entry.leading_to(link, 1) for link in links[1:]]
    return [
        document(public_key(seed), KEY, entry, registry.sign(seed, KEY, entry))
        for seed, entry in zip(SEEDS, entries, strict=False)
    ]


START = registry.resolver(public_key(SEEDS[0]), KEY)


@pytest.mark.parametrize("length", [1, 2, 8])
def test_skylinks_may_lead_to_one_another(length: int):
    assert followed(START, json.dumps(chain(length)), "skynet") == skylink_of(b"end")


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        ("", "does not show"),
        ("[]", "does not show"),
        (json.dumps(chain(2)[:1]), "does not show"),
        (json.dumps(chain(9)), "does not show"),
        (json.dumps(chain(2)[1:]), "not the one that was asked for"),
        (json.dumps(chain(1) * 2), "not the one that was asked for"),
        (json.dumps([chain(1)[0] | {"signature": "00" * 64}]), "not signed"),
        (json.dumps([chain(1)[0] | {"revision": 2}]), "not signed"),
        (json.dumps([{}]), "not written as one"),
        ("{}", "cannot show"),
        ("5", "cannot show"),
        ("nonsense", "cannot show"),
        ("[" * 60_000, "cannot show"),
    ],
)
def test_a_proof_that_proves_nothing_leads_nowhere(proof: str, why: str):
    with pytest.raises(Damaged, match=why):
        followed(START, proof, "skynet")
