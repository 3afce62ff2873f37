"""What people paste for a backup: every form leads to the same thing, and a mistake is told with its place."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import WrongConfiguration
from dwebbackup.links import ipns, registry
from dwebbackup.links.alphabets import BASE32, BASE58
from dwebbackup.links.pasted import Pasted, is_pasted, parse
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import V0_2015, cid_of

CID = cid_of(b"a manifest")
OLD = cid_of(b"a manifest", V0_2015).text
NAME = ipns.name_of(bytes(range(32)))
SKYLINK = skylink_of(b"a manifest")
RESOLVER = registry.resolver(bytes(32), bytes(32)).text


@pytest.mark.parametrize(
    "text",
    [
        f"ipfs://{CID.text}",
        f"IPFS://{CID.text}",
        f" ipfs://{CID.text}/\n",
        f"ipfs://{CID.text_in(BASE58)}",
        f"/ipfs/{CID.text}",
        f"ipfs://{CID.text}?filename=manifest.age#top",
    ],
)
def test_a_file_on_ipfs(text: str):
    assert is_pasted(text.strip())
    assert parse(text) == Pasted("ipfs", CID.text)
    assert parse(text).link == f"ipfs://{CID.text}"
    assert not parse(text).leads_on


def test_a_cid_of_version_0_stays_what_it_is():
    assert parse(f"ipfs://{OLD}").text == OLD


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (f"https://ipfs.io/ipfs/{CID.text}", "https://ipfs.io"),
        (f"https://ipfs.io/ipfs/{CID.text}/?format=raw", "https://ipfs.io"),
        (f"HTTPS://IPFS.io/ipfs/{CID.text}", "https://ipfs.io"),
        (f"http://127.0.0.1:8080/ipfs/{CID.text}", "http://127.0.0.1:8080"),
        (f"http://[::1]:8080/ipfs/{CID.text}", "http://[::1]:8080"),
        (f"https://example.org/a/gateway/ipfs/{CID.text}", "https://example.org/a/gateway"),
        (f"https://{CID.text}.ipfs.dweb.link/", "https://dweb.link"),
        (f"https://{CID.text}.ipfs.dweb.link:8443", "https://dweb.link:8443"),
        (f"http://{CID.text}.ipfs.localhost:8080/?download=true", "http://localhost:8080"),
    ],
)
def test_a_file_at_a_gateway(text: str, base: str):
    assert parse(text) == Pasted("ipfs", CID.text, base)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (f"ipns://{NAME.text}", ""),
        (f"ipns://{ipns.peer_text(NAME)}", ""),
        (f"ipns://{NAME.text_in(BASE32)}", ""),
        (f"/ipns/{NAME.text}", ""),
        (f"https://ipfs.io/ipns/{NAME.text}", "https://ipfs.io"),
        (f"https://{NAME.text}.ipns.dweb.link", "https://dweb.link"),
    ],
)
def test_a_name_on_ipfs(text: str, base: str):
    assert parse(text) == Pasted("ipns", NAME.text, base)
    assert parse(text).leads_on


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (f"sia://{SKYLINK.text}", ""),
        (f"sia://{SKYLINK.base32}", ""),
        (f"https://siasky.net/{SKYLINK.text}", "https://siasky.net"),
        (f"https://siasky.net/{SKYLINK.text}?attachment=true", "https://siasky.net"),
        (f"https://example.org/portal/{SKYLINK.text}/", "https://example.org/portal"),
        (f"https://{SKYLINK.base32}.siasky.net/", "https://siasky.net"),
    ],
)
def test_a_file_on_skynet(text: str, base: str):
    assert parse(text) == Pasted("sia", SKYLINK.text, base)
    assert not parse(text).leads_on


def test_a_resolver_skylink_leads_on():
    assert parse(f"sia://{RESOLVER}").leads_on


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"ipfs://{CID.text[:-1]}", "is no CID"),
        (f"ipfs://{CID.text[:20]}1{CID.text[21:]}", "character 21, '1', is none of base32"),
        (f"ipfs://{CID.text}/manifests/1", "/manifests/1, and a manifest is no folder"),
        (f"ipfs://{NAME.text}", "is the name of a key"),
        (f"ipns://{CID.text}", "not the name of an Ed25519 key"),
        ("ipns://docs.ipfs.tech", "is no CID"),
        (f"sia://{SKYLINK.text[:-2]}", "44 characters, and a skylink has 46 or 55"),
        (f"sia://{SKYLINK.text}/index.html", "a manifest is no folder"),
        ("s3://bucket/prefix", "s3:// leads to no manifest"),
        ("https://ipfs.io/ipfs/", "no CID|skylink"),
        ("https://ipfs.io", "ipfs.io is a server"),
        ("https:///ipfs/x", "is no CID"),
        ("https://[::1/ipfs/x", "no address of a web server"),
        ("ipfs://", "is no CID"),
        ("://", "leads to no manifest"),
        ("/ipfs/", "is no CID"),
    ],
)
def test_a_mistake_is_told(text: str, why: str):
    assert is_pasted(text)
    with pytest.raises(WrongConfiguration, match=why):
        parse(text)


@pytest.mark.parametrize("text", ["latest", "42", "42-1a2b3c4d", "2026-11-20T03:00", "./manifest.age", "ipfs"])
def test_other_names_of_a_backup_are_none(text: str):
    assert not is_pasted(text)


@given(
    st.text(max_size=100), st.sampled_from(["", "ipfs://", "https://", "sia://", f"https://ipfs.io/ipfs/{CID.text}"])
)
def test_whatever_is_pasted_is_a_link_or_a_mistake(text: str, before: str):
    with suppress(WrongConfiguration):
        found = parse(before + text)
        assert parse(found.link) == Pasted(found.kind, found.text)


def test_a_typo_in_a_cid_is_told_by_its_place():
    for at in range(1, len(CID.text)):
        with pytest.raises(WrongConfiguration, match=f"character {at + 1}, '0'"):
            parse(f"ipfs://{CID.text[:at]}0{CID.text[at + 1 :]}")
