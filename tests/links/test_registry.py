"""The registry of Skynet: the vectors of its own libraries, and signatures that hold for nothing else."""

from __future__ import annotations

from hashlib import pbkdf2_hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links import registry, skylink
from dwebbackup.links.registry import Entry
from dwebbackup.links.signing import public_key
from links.asking import vectors

VECTORS = vectors("skynet")
SEED = bytes(range(32))
KEY = registry.data_key("head")

ENTRIES = st.builds(Entry, st.binary(max_size=registry.ROOM), st.integers(0, (1 << 64) - 1))


@pytest.mark.parametrize(("name", "key"), VECTORS["data_keys"].items())
def test_data_keys_are_those_of_skynet_js(name: str, key: str):
    assert registry.data_key(name).hex() == key


@pytest.mark.parametrize("vector", VECTORS["digests"], ids=lambda vector: vector["name"])
def test_what_is_signed_is_what_siad_signs(vector: dict):
    entry = Entry(vector["data"].encode(), vector["revision"])
    assert entry.digest(registry.data_key(vector["name"])).hex() == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["resolvers"], ids=lambda vector: vector["skylink"])
def test_resolver_skylinks_are_those_of_skynet_js(vector: dict[str, str]):
    key = registry.data_key(vector["name"]) if "name" in vector else bytes.fromhex(vector["data_key"])
    link = registry.resolver(bytes.fromhex(vector["public"]), key)
    assert link.text == vector["skylink"]
    assert skylink.parse(link.text) == link
    assert link.version == 2


def test_a_signature_is_that_of_skynet_js():
    vector = VECTORS["signed"]
    seed = pbkdf2_hmac("sha256", vector["phrase"].encode(), b"", 1000, 32)
    entry = Entry(bytes.fromhex(vector["data"]), vector["revision"])
    assert registry.sign(seed, registry.data_key(vector["name"]), entry).hex() == vector["signature"]


def test_a_real_answer_of_a_portal_leads_on_to_a_file():
    vector = VECTORS["proof"]
    public, key = bytes.fromhex(vector["public"]), bytes.fromhex(vector["data_key"])
    assert registry.resolver(public, key).text == vector["resolver"]
    entry = Entry(bytes.fromhex(vector["data"]), vector["revision"])
    assert registry.verify(public, key, entry, bytes.fromhex(vector["signature"])).skylink.text == vector["leads_to"]


@given(ENTRIES)
def test_what_is_signed_verifies(entry: Entry):
    assert registry.verify(public_key(SEED), KEY, entry, registry.sign(SEED, KEY, entry)) == entry


@given(ENTRIES, ENTRIES)
def test_a_signature_holds_for_no_other_entry_key_or_owner(entry: Entry, other: Entry):
    signature, public = registry.sign(SEED, KEY, entry), public_key(SEED)
    wrong = [(public_key(bytes(32)), KEY, entry, signature), (public, registry.data_key("tail"), entry, signature)]
    wrong += [(public, KEY, entry, signature[:-1]), (b"", KEY, entry, signature)]
    if other != entry:
        wrong.append((public, KEY, other, signature))
    for each in wrong:
        with pytest.raises(Damaged, match="not signed with the key"):
            registry.verify(*each)


def test_an_entry_leads_to_a_skylink():
    link = skylink.parse(VECTORS["forms"]["text"])
    assert Entry.leading_to(link, 4).skylink == link
    with pytest.raises(Damaged, match="34 bytes, and this is 3"):
        _ = Entry(b"abc", 4).skylink


@pytest.mark.parametrize(
    ("data", "revision", "why"),
    [
        (bytes(114), 0, "room for 113 bytes, and not for 114"),
        (b"", -1, "-1 is no revision"),
        (b"", 1 << 64, "is no revision"),
    ],
)
def test_an_entry_that_no_host_would_take_is_refused(data: bytes, revision: int, why: str):
    with pytest.raises(WrongConfiguration, match=why):
        Entry(data, revision)
