"""A Skynet portal beside a folder, and then alone: whoever has the words, and it, gets the database back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calling import Ended, call
from dwebbackup import heads
from dwebbackup.checking import ConfiguredStore, check_store
from dwebbackup.keys import OwnerKey
from dwebbackup.links import registry
from dwebbackup.probe import Times
from dwebbackup.stores.skynet.address import portal_at
from dwebbackup.stores.skynet.portal import PortalStore
from fix_postgres import Database
from skynet_portal import Portal

OWNER = OwnerKey(bytes(range(32)))
ROWS = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
ALONE = {"KEY": OWNER.words, "GATEWAYS": "off", "ROUTERS": "off"}


class Backed:
    """A database with rows, backed up into a folder and a portal."""

    def __init__(self, portal: Portal, database: Database, folder: Path) -> None:
        self.portal = portal
        self.database = database
        self.folder = folder
        self.told = {
            "SOURCE": database.uri,
            "STORE": f"file://{folder} skynet+{portal.url}",
            "STORE_SKYNET_TOKEN": portal.habits.key,
            "KEY": OWNER.words,
        }
        database.psql("CREATE TABLE t AS SELECT id, md5(id::text) AS x FROM generate_series(1, 5000) AS id")
        self.rows = database.psql(ROWS)
        self.made = self.back_up()

    def back_up(self) -> dict[str, Any]:
        return call("backup", "--json", **self.told).json

    def restore(self, what: str, expect: int = 0, **told: str) -> Ended:
        """With the words and the portal, and nothing else."""
        alone = ALONE | {"PORTALS": self.portal.url} | told
        return call("restore", what, "--to", self.database.uri, "--replace", expect=expect, **alone)


@pytest.fixture
def backed(database: Database, tmp_path: Path) -> Iterator[Backed]:
    with Portal() as portal:
        yield Backed(portal, database, tmp_path / "store")


def test_the_words_and_a_portal_bring_the_database_back(backed: Backed):
    first = backed.rows
    backed.database.psql("UPDATE t SET x = 'newer' WHERE id = 7")
    newest = backed.database.psql(ROWS)
    backed.back_up()
    backed.database.psql("DROP TABLE t")
    shutil.rmtree(backed.folder)
    backed.restore("latest")
    assert backed.database.psql(ROWS) == newest != first


def test_a_skylink_of_a_manifest_is_enough_beside_the_words(backed: Backed):
    [link] = [link for link in backed.made["manifest"]["links"] if link.startswith("sia://")]
    lasting = f"sia://{registry.resolver(OWNER.writer(1).head_keys.registry, heads.REGISTRY_KEY).text}"
    backed.database.psql("DROP TABLE t")
    shutil.rmtree(backed.folder)
    for each in (link, lasting):
        backed.restore(each)
        assert backed.database.psql(ROWS) == backed.rows


@pytest.mark.parametrize(
    ("manifest", "spoiled", "status"),
    [(True, True, 12), (False, True, 12), (True, False, 13), (False, False, 12)],
    ids=["manifest spoiled", "all else spoiled", "manifest gone", "all else gone"],
)
def test_a_portal_without_what_the_backup_needs_changes_nothing(
    backed: Backed, manifest: bool, spoiled: bool, status: int
):
    shutil.rmtree(backed.folder)
    links = backed.made["manifest"]["links"]
    for text, content in list(backed.portal.sectors.items()):
        if (f"sia://{text}" in links) == manifest:
            del backed.portal.sectors[text]
            if spoiled:
                backed.portal.sectors[text] = content[:-1] + bytes([content[-1] ^ 1])
    backed.restore("latest", expect=status)
    assert backed.database.psql(ROWS) == backed.rows


def test_a_backup_counts_without_a_portal_that_is_not_required(database: Database, tmp_path: Path):
    folder = f"file://{tmp_path}/store"
    with Portal(key="what opens it") as portal:
        told = {"SOURCE": database.uri, "STORE": f"{folder} skynet+{portal.url}", "KEY": OWNER.words}
        database.psql("CREATE TABLE t AS SELECT 1 AS id")
        assert "401" in call("backup", expect=13, **told).err
        call("backup", expect=3, **(told | {"STORE": f"{folder} skynet+{portal.url}?required=no"}))
        assert portal.sectors == {}
        call("backup", **(told | {"STORE_SKYNET_TOKEN": "what opens it"}))
        assert portal.sectors
    call("restore", "latest", "--to", database.uri, "--replace", KEY=OWNER.words, STORE=folder)


@pytest.mark.parametrize(
    ("habits", "token", "level", "said"),
    [
        ({}, "", "ok", "takes a file and gives it back by its link"),
        ({"key": "a key"}, "a key", "ok", "takes a file and gives it back by its link"),
        ({"key": "a key"}, "another", "failure", "401"),
        ({"loses": True}, "", "failure", "does not give it back"),
        ({"spoils": True}, "", "failure", "gave other bytes"),
    ],
)
def test_doctor_tries_a_portal_out(habits: dict[str, Any], token: str, level: str, said: str):
    with Portal(**habits) as portal:
        store = PortalStore("skynet", portal.url, portal_at(portal.url, token))
        [finding] = check_store(ConfiguredStore(store), None, Times()).findings
        assert (finding.level, said in finding.sentence) == (level, True)
        if level == "ok":
            store.prepare()
            assert len(portal.sectors) == 1, "both leave the same file there"
