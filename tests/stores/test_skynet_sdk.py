"""Skynet's own SDK and we, at the same portal: each reads what the other wrote. So it is not we alone who understand it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dwebbackup import heads
from dwebbackup.keys import OwnerKey
from dwebbackup.links import registry, skylink
from dwebbackup.links.registry import Entry
from dwebbackup.links.skyfile import metadata, skylink_of
from dwebbackup.links.unixfs import cid_of
from dwebbackup.ports import HeadKeys, Lead
from dwebbackup.stores.skynet.address import portal_at
from dwebbackup.stores.skynet.carrier import PortalCarrier
from dwebbackup.stores.skynet.portal import PortalStore
from dwebbackup.stores.skynet.registry import PortalFinder, PortalPublisher
from links.asking import vectors
from skynet_portal import Portal
from synthetic import noise

ROOT = Path(__file__).parents[2]
WRITER = OwnerKey(bytes(range(32))).writer(1)
PHRASE = "somebody else's"
KEY = heads.REGISTRY_KEY.hex()


@pytest.fixture
def portal() -> Iterator[Portal]:
    with Portal(key="a key") as portal:
        yield portal


@cache
def folder() -> Path:
    done = subprocess.run([ROOT / ".ci" / "npm-folder", "skynet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def sdk(portal: Portal, *todo: dict[str, Any], key: str = "a key") -> list[Any]:
    """What each order gave; where it threw an error, a text that begins with "threw"."""
    node = shutil.which("node") or pytest.fail("the program `node` is missing: .ci/system-packages test")
    asked = json.dumps({"portal": portal.url, "key": key, "todo": todo})
    done = subprocess.run([node, folder() / "drive.mjs"], input=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [each["answer"] if "answer" in each else f"threw {each['error']}" for each in json.loads(done.stdout)]


def test_each_gets_the_files_that_the_other_put(portal: Portal):
    web = portal_at(portal.url, "a key")
    ours, theirs = noise(70_000), noise(50_000, 1)
    [link] = PortalStore("skynet", portal.url, web).put("w/1/a", ours)
    skylink_of_ours = link.removeprefix("sia://")
    uploaded, named, downloaded, about = sdk(
        portal,
        {"order": "upload", "data": theirs.hex(), "name": "data"},
        {"order": "upload", "data": theirs.hex(), "name": "pack.txt"},
        {"order": "download", "skylink": skylink_of_ours},
        {"order": "metadata", "skylink": skylink_of_ours},
    )
    assert uploaded == skylink_of(theirs).text
    assert named == skylink_of(theirs, "pack.txt", "text/plain").text
    assert [PortalCarrier("skynet", web).fetch(f"sia://{each}") for each in (uploaded, named)] == [theirs] * 2
    assert bytes.fromhex(downloaded) == ours
    assert about == json.loads(metadata(len(ours)))


def test_each_finds_the_head_that_the_other_published(portal: Portal):
    web = portal_at(portal.url, "a key")
    manifest = b"the manifest"
    PortalStore("skynet", portal.url, web).put("w/1/manifests/a", manifest)
    links = cid_of(manifest).text, skylink_of(manifest).text
    PortalPublisher("skynet", web).publish(heads.announcement(WRITER, (1 << 52) + 1, *links, 0.0))
    public = WRITER.head_keys.registry
    target = skylink_of(manifest)
    entry, lasting, resolved, other, _, refused, gone = sdk(
        portal,
        {"order": "getEntry", "publicKey": public.hex(), "key": KEY},
        {"order": "entryLink", "publicKey": public.hex(), "key": KEY},
        {"order": "resolve", "skylink": registry.resolver(public, heads.REGISTRY_KEY).text},
        {"order": "publicKey", "phrase": PHRASE},
        {"order": "setEntry", "phrase": PHRASE, "key": KEY, "data": target.binary.hex(), "revision": 12},
        {"order": "setEntry", "phrase": PHRASE, "key": KEY, "data": "00", "revision": 11},
        {"order": "getEntry", "publicKey": "00" * 32, "key": KEY},
    )
    assert entry == {"data": target.binary.hex(), "revision": f"{(1 << 52) + 1}"}
    assert lasting == registry.resolver(public, heads.REGISTRY_KEY).text
    assert resolved == {"data": manifest.hex(), "skylink": target.text}
    found = PortalFinder("skynet", web).find(HeadKeys(b"", bytes.fromhex(other)))
    assert found == Lead("skynet", f"sia://{target.text}", 12)
    assert "provided revision number is invalid" in refused
    assert gone is None


def test_the_sdk_trusts_our_portal_no_more_than_a_real_one(portal: Portal):
    """Or the tests above would show nothing."""
    public = WRITER.head_keys.registry
    signature = registry.sign(WRITER.registry_seed, heads.REGISTRY_KEY, Entry(b"right", 1))
    portal.entries[public, heads.REGISTRY_KEY] = (Entry(b"wrong", 1), signature)
    [answer] = sdk(portal, {"order": "getEntry", "publicKey": public.hex(), "key": KEY})
    assert "Could not verify signature" in answer
    [answer] = sdk(portal, {"order": "upload", "data": "00", "name": "data"}, key="another key")
    assert "401" in answer


def test_a_database_of_the_sdks_own_works_at_our_portal_and_has_the_skylinks_of_a_real_one(portal: Portal):
    value = {"message": "hi there"}
    link, read = sdk(
        portal,
        {"order": "setJSON", "phrase": PHRASE, "name": "dataKey1.json", "value": value},
        {"order": "getJSON", "phrase": PHRASE, "name": "dataKey1.json"},
    )
    assert read == value
    assert skylink.parse(link).text in portal.sectors
    web = portal_at(portal.url, "a key")
    for vector in vectors("skynet")["files"]:
        file = (vector["name"], vector["data"].encode(), "application/json")
        answer = web.ask("POST", "/skynet/skyfile", files={"file": file})
        assert json.loads(answer.body)["skylink"] == vector["skylink"]
