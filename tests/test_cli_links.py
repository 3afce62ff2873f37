"""Back without a store, as users type it: a real database, a real IPFS node, and the words, a link or a file alone."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from calling import call
from dwebbackup import clock, heads, identifying
from dwebbackup.keys import OwnerKey
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import cid_of
from dwebbackup.stores.ipfs.names import Router
from dwebbackup.stores.ipfs.rpc import Rpc
from dwebbackup.stores.web import Web
from fix_ipfs import IpfsNode
from fix_postgres import Database
from skynet_portal import Portal
from web_server import Answer, WebServer

TABLES = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO customer SELECT n, 'customer ' || n FROM generate_series(1, 3000) AS n;
"""
SUM = "SELECT count(*), sum(hashtext(customer::text)) FROM customer"


@dataclass(frozen=True)
class Shop:
    """A database that is backed up to a folder and to an IPFS node, by an owner of its own: a node keeps one head a key."""

    database: Database
    folder: Path
    node: IpfsNode
    owner: OwnerKey

    @property
    def networks(self) -> dict[str, str]:
        """What somebody has who knows a gateway and the words, and has neither store nor credentials."""
        return {"KEY": self.owner.words, "GATEWAYS": self.node.gateway}

    def back_up(self, expect: int = 0, **changes: object) -> dict:
        stores = f"file://{self.folder} ipfs+http://{self.node.address}/{self.owner.writer(1).id}"
        settings = {"SOURCE": self.database.uri, "STORE": stores, "KEY": self.owner.words}
        return call("backup", "--json", expect=expect, **(settings | changes)).json

    def call(self, *arguments: object, expect: int = 0, **changes: object):
        return call(*arguments, expect=expect, **(self.networks | changes))

    @property
    def manifests(self) -> list[Path]:
        return sorted(self.folder.glob("w/*/manifests/*.age"))

    @property
    def cid(self) -> str:
        """Of the newest manifest."""
        return cid_of(self.manifests[-1].read_bytes()).text


@pytest.fixture
def shop(request: pytest.FixtureRequest, database: Database, tmp_path: Path, ipfs_node: IpfsNode) -> Shop:
    database.psql(TABLES)
    owner = OwnerKey(hashlib.sha256(request.node.name.encode()).digest())
    return Shop(database, tmp_path / "store", ipfs_node, owner)


def test_a_database_comes_back_from_the_words_and_a_gateway(shop: Shop, target_database: Database):
    """The bucket is gone, the folder is gone, the machine is gone, and so are all credentials."""
    made = shop.back_up()
    before = shop.database.psql(SUM)
    shop.database.drop()
    shutil.rmtree(shop.folder)
    ended = shop.call("restore", "latest", "--to", target_database.uri, "--json")
    assert target_database.psql(SUM) == before
    assert (ended.json["backup"], ended.json["rows"]) == (made["backup"], 3000)


def test_a_database_comes_back_from_the_words_and_a_portal(shop: Shop, target_database: Database):
    with Portal() as portal:
        first = shop.back_up(STORE=f"file://{shop.folder} skynet+{portal.url}")
        made = shop.back_up(STORE=f"file://{shop.folder} skynet+{portal.url}")
        before = shop.database.psql(SUM)
        manifest = shop.manifests[-1].read_bytes()
        shutil.rmtree(shop.folder)
        alone = {"GATEWAYS": "off", "PORTALS": portal.url}
        ended = shop.call("restore", "latest", "--to", target_database.uri, "--json", **alone)
        assert target_database.psql(SUM) == before
        assert ended.json["backup"] == made["backup"]
        listed = shop.call("list", "--json", **alone).json["backups"]
        assert [each["backup"] for each in listed] == [first["backup"], made["backup"]]
        resolver = identifying.names_of(shop.owner.writer(1).head_keys)[1]
        link = f"sia://{skylink_of(manifest).text}"
        for seen in (link, resolver, f"{portal.url}/{link.removeprefix('sia://')}"):
            assert shop.call("show", seen, "--json", **alone).json["sequence"] == 2


def test_what_is_there_is_listed_and_shown_without_a_store(shop: Shop):
    made = [shop.back_up(), shop.back_up()]
    listed = shop.call("list", "--json").json["backups"]
    assert [each["backup"] for each in listed] == [each["backup"] for each in made]
    assert shop.call("show", made[0]["backup"], "--json").json["sequence"] == 1
    assert shop.call("show", "latest", "--json", KEY=shop.owner.reader(1).line).json["sequence"] == 2
    assert shop.call("show", "latest", "--json", KEY=shop.owner.writer(1).line).json["sequence"] == 2


def test_every_way_to_write_a_link_brings_the_same_backup_back(shop: Shop, target_database: Database):
    shop.back_up()
    made = shop.back_up()
    name = identifying.names_of(shop.owner.writer(1).head_keys)[0]
    gateway = shop.node.gateway
    for link in (f"ipfs://{shop.cid}", f"/ipfs/{shop.cid}", name, f"{gateway}/ipfs/{shop.cid}"):
        assert shop.call("show", link, "--json").json["sequence"] == 2, link
    # A name that is not the writer's own, such as a provider keeps, is one more way to write a link.
    provider = OwnerKey(hashlib.sha256(b"a provider").digest()).writer(1)
    theirs = heads.announcement(provider, 7, shop.cid, None, clock.now())
    Router(Web(gateway)).publish(theirs)
    assert shop.call("show", f"ipns://{theirs.ipns_name}", "--json").json["sequence"] == 2
    # A gateway that stands in the link need not be configured.
    alone = {"KEY": shop.owner.words}
    for link in (f"{gateway}/ipfs/{shop.cid}?format=raw", f"{gateway}/ipns/{name.removeprefix('ipns://')}/"):
        ended = call("restore", link, "--to", target_database.uri, "--dry-run", "--json", **alone)
        assert ended.json["backup"] == made["backup"]


def test_a_copy_of_a_manifest_that_is_in_no_store_is_enough(shop: Shop, target_database: Database, tmp_path: Path):
    first = shop.back_up()
    shop.back_up()
    copy = tmp_path / "on-a-stick"
    shutil.copy(shop.manifests[0], copy)
    shutil.rmtree(shop.folder)
    before = shop.database.psql(SUM)
    ended = shop.call("restore", copy, "--to", target_database.uri, "--json", KEY=shop.owner.reader(1).line)
    assert ended.json["backup"] == first["backup"]
    assert target_database.psql(SUM) == before
    # So it is where a store is configured that has none of it.
    (tmp_path / "empty").mkdir()
    empty = {"STORE": f"file://{tmp_path}/empty"}
    assert shop.call("restore", copy, "--to", target_database.uri, "--dry-run", "--replace", "--json", **empty).json


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzd0", "character 59, '0', is none of base32"),
        ("ipfs://QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbd", "has 45 characters"),
        ("sia://AABntGRUfXKMG-aP2caot_k-Ud3E9UJAUZdeMuj-0k97i", "45 characters, and a skylink has 46 or 55"),
        ("https://ipfs.io/ipfs/nonsense", "no CID"),
        ("ipfs://bafkqaaa/folder", "a manifest is no folder"),
        ("ftp://host/file", "ftp:// leads to no manifest"),
        ("https://ipfs.io/", "no backup on it is named"),
        ("https://ipfs.io/robots.txt", "10 characters, and a skylink"),
        ("ipns://example.org", "no CID"),
    ],
)
def test_a_typo_in_a_link_is_told_with_its_place_before_anybody_is_asked(link: str, why: str):
    ended = call("show", link, "--json", expect=2, KEY=OwnerKey(bytes(32)).words)
    assert why in ended.json["error"]


def test_a_link_to_something_else_is_no_backup(shop: Shop):
    cid, _ = Rpc(Web(shop.node.rpc)).add(b"somebody's holiday")
    assert "age" in shop.call("show", f"ipfs://{cid.text}", "--json", expect=12).json["error"]


def test_a_link_that_nobody_has_now_may_be_had_later(shop: Shop):
    link = f"ipfs://{cid_of(b'nobody ever added this').text}"
    assert "does not have" in shop.call("show", link, "--json", expect=13).json["error"]


def test_other_peoples_manifest_does_not_open_with_my_words(shop: Shop):
    shop.back_up()
    shop.call("show", f"ipfs://{shop.cid}", expect=16, KEY=OwnerKey(bytes(32)).words)


def test_somebody_elses_head_for_my_name_brings_nothing_back(shop: Shop):
    """The gateway has no head of these words at all, and says so: that is an answer."""
    ended = shop.call("restore", "latest", "--to", "postgresql://nobody@localhost/none", "--json", expect=10)
    assert "knows of a backup of this key" in ended.json["error"]


def test_a_gateway_that_does_not_answer_is_never_an_absence(shop: Shop):
    gone = {"GATEWAYS": f"{shop.node.gateway} http://127.0.0.1:9"}
    assert shop.call("list", "--json", expect=13, **gone).json["status"] == 13


def test_without_a_store_and_without_networks_nothing_can_be_found():
    ended = call("list", "--json", expect=2, KEY=OwnerKey(bytes(32)).words)
    assert "no store is configured, nor a gateway" in ended.json["error"]


def test_a_store_that_is_empty_or_gone_leads_to_the_networks_by_a_hint(shop: Shop, tmp_path: Path):
    shop.back_up()
    empty = {"STORE": f"file://{tmp_path}/empty"}
    ended = shop.call("list", "--json", expect=13, **empty)
    assert "--from-networks" in ended.json["hint"]
    listed = shop.call("list", "--from-networks", "--json", **empty).json
    assert [each["sequence"] for each in listed["backups"]] == [1]


# --- what is newest must not get older in silence ---


def test_two_machines_that_wrote_at_once_are_both_listed_and_none_is_the_newest(shop: Shop, tmp_path: Path):
    """Each tells another node of its head, and each node has both manifests' bytes at best by half."""
    with IpfsNode.running(tmp_path / "other") as other:
        shop.back_up(ROUTERS=other.gateway)
        twin = tmp_path / "twin"
        shutil.copytree(shop.folder, twin)
        shop.back_up()
        second = shop.back_up(STORE=f"file://{twin} ipfs+http://{other.address}/twin", expect=3)
        assert [doubt for doubt in second["doubts"] if "had no backup, though others have" in doubt]
        both = {"GATEWAYS": f"{shop.node.gateway} {other.gateway}"}
        ended = shop.call("show", "latest", "--json", expect=12, **both)
        assert "two machines wrote at once" in ended.json["error"]
        listed = shop.call("list", "--json", **both).json["backups"]
        assert [each["sequence"] for each in listed] == [1, 2, 2]
        assert shop.call("show", listed[2]["backup"], "--json", **both).json["sequence"] == 2


def test_a_gateway_that_lies_is_told_of_and_another_one_believed(shop: Shop):
    made = shop.back_up()
    with WebServer(Answer(headers={"Content-Type": "application/vnd.ipfs.ipns-record"}, body=b"junk")) as liar:
        both = {"GATEWAYS": f"http://{liar.place} {shop.node.gateway}"}
        ended = shop.call("show", "latest", "--json", expect=3, **both)
    assert (ended.json["sequence"], made["sequence"]) == (1, 1)
    assert f"what {liar.place} told was passed over" in ended.err


def test_a_newest_manifest_that_cannot_be_had_is_an_error_that_names_the_one_before(shop: Shop, tmp_path: Path):
    """One node has stayed behind; the other has lost the newest manifest, of which its head tells."""
    with IpfsNode.running(tmp_path / "behind") as behind:
        first = shop.back_up(ROUTERS=behind.gateway)
        shop.back_up()
        shop.node.forget(shop.cid)
        assert shop.call("show", "latest", "--json", expect=13).json["status"] == 13
        both = {"GATEWAYS": f"{shop.node.gateway} {behind.gateway}"}
        ended = shop.call("show", "latest", "--json", expect=13, **both)
        assert "the newest backup of writer 1 is known, and cannot be had" in ended.json["error"]
        assert first["backup"] in ended.json["hint"]
        ended = shop.call("show", first["backup"], "--json", expect=3, **both)
        assert ended.json["sequence"] == 1


def test_a_world_that_was_rolled_back_is_an_error_where_this_machine_saw_more(
    shop: Shop, target_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    first = shop.back_up()
    kept = tmp_path / "kept"
    shutil.copytree(shop.folder, kept)
    second = shop.back_up()
    older = {"STORE": f"file://{kept}", "GATEWAYS": "off"}
    to = ("--to", target_database.uri, "--dry-run", "--json")
    ended = shop.call("restore", "latest", *to, expect=12, **older)
    assert "1 is the newest backup of writer 1 here, and this machine has seen 2" in ended.json["error"]
    assert "--accept-older" in ended.json["hint"]
    # Nor does it help to add a name with a higher number, which nobody signed; and a list does not take it for seen.
    junk = next(kept.glob("w/*/manifests")) / f"{9:010d}-{'0' * 64}.age"
    junk.write_bytes(b"junk")
    assert "has seen 2" in shop.call("restore", "latest", *to, expect=12, **older).json["error"]
    shop.call("list", expect=3, **older)
    junk.unlink()
    # Nobody is locked out: by its name, by saying so, and where it is listed.
    assert shop.call("restore", first["backup"], *to, **older).json["backup"] == first["backup"]
    doubts = shop.call("list", "--json", expect=3, **older).json["doubts"]
    assert ["this machine has seen 2" in doubt for doubt in doubts] == [True]
    assert shop.call("restore", "latest", *to).json["backup"] == second["backup"]
    shop.call("restore", "latest", "--accept-older", *to, **older)
    shop.call("restore", "latest", *to, **older)


def test_a_writers_head_is_in_every_store_so_that_anybody_can_publish_it_again(shop: Shop):
    shop.back_up()
    writer = shop.owner.writer(1)
    record = (shop.folder / "w" / writer.id / heads.IPNS_RECORD).read_bytes()
    lead = heads.told_by_record(record, writer.head_keys, 0.0, "the folder")
    assert (lead.sequence, lead.link) == (1, f"ipfs://{shop.cid}")
