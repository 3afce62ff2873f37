"""Which gateways, portals and routers are asked: the usual ones, others, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from configuring import configured, refusal
from dwebbackup import heads, networks
from dwebbackup.config import networks as usual
from dwebbackup.errors import WrongConfiguration
from dwebbackup.keys import OwnerKey
from dwebbackup.links import pasted
from dwebbackup.links.unixfs import cid_of
from web_server import Answer, WebServer

HEX = "ab" * 32


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_unless_set_there_are_public_ones_with_tls():
    config = configured()
    assert config.gateways == usual.GATEWAYS
    assert config.routers == usual.ROUTERS
    assert config.portals == ()
    assert all(url.startswith("https://") for url in (*config.gateways, *config.routers))


def test_others_take_their_place():
    config = configured(
        GATEWAYS="http://127.0.0.1:8080/ https://ipfs.io https://ipfs.io/", PORTALS="https://portal.example"
    )
    assert config.gateways == ("http://127.0.0.1:8080", "https://ipfs.io")
    assert config.portals == ("https://portal.example",)


def test_a_file_may_have_a_list_of_them():
    config = configured("gateways:\n- https://ipfs.io\n- https://dweb.link\nrouters: off\n")
    assert (config.gateways, config.routers) == (("https://ipfs.io", "https://dweb.link"), ())


@pytest.mark.parametrize("name", ["GATEWAYS", "PORTALS", "ROUTERS"])
@pytest.mark.parametrize(
    "text", ["ipfs.io", "ftp://ipfs.io", "https://", "https://ipfs.io?x=1", "https://h:x/", "off on"]
)
def test_what_is_no_address_is_told_by_the_name_of_its_setting(name: str, text: str):
    said = refusal(**{name: text})
    assert f"DWEBBACKUP_{name}: one of the {name.lower()} is no plain address" in said


def test_a_password_in_an_address_is_refused_and_not_shown():
    assert "hunter2" not in refusal(GATEWAYS="https://me:hunter2@ipfs.io")


def names(finders) -> list[str]:
    return [finder.name for finder in finders]


def test_everybody_is_asked_who_is_configured():
    config = configured(
        GATEWAYS="https://a.example",
        ROUTERS="https://b.example",
        PORTALS="https://c.example",
        STORE="file:///x ipfs+http://127.0.0.1:5001/x?name=node skynet+https://d.example?name=sky",
    )
    asked = networks.networks(config)
    assert names(asked.finders) == ["a.example", "b.example", "node", "sky", "c.example"]
    assert [asked.carrier.carries(link) for link in ("ipfs://x", "sia://x", "file:///x")] == [True, True, False]
    assert names(networks.publishers(config)) == ["b.example", "node", "sky"]


def test_where_a_link_was_seen_is_asked_first_and_once():
    config = configured(GATEWAYS="https://a.example https://b.example", ROUTERS="off")
    seen = pasted.parse("https://b.example/ipfs/bafkqaaa")
    assert names(networks.networks(config, seen).finders) == ["b.example", "a.example"]
    elsewhere = pasted.parse("https://c.example/ipfs/bafkqaaa")
    assert names(networks.networks(config, elsewhere).finders) == ["c.example", "a.example", "b.example"]
    nobody = configured(GATEWAYS="off", ROUTERS="off")
    assert names(networks.networks(nobody, elsewhere).finders) == ["c.example"]


def test_where_there_is_nobody_to_ask_that_is_said():
    with pytest.raises(WrongConfiguration, match="no store is configured, nor a gateway"):
        networks.networks(configured(GATEWAYS="off", ROUTERS="off"))


@pytest.mark.parametrize("store", ["file:///x", "s3://bucket/x?endpoint=https://s3.example"])
def test_of_backups_in_a_folder_or_a_bucket_nobody_is_told(store: str):
    assert networks.publishers(configured(STORE=store)) == ()


def test_a_name_at_filebase_is_changed_with_the_stores_key():
    settings = {"STORE": "filebase://bucket/x?names=my-backups", "ROUTERS": "off"}
    with pytest.raises(WrongConfiguration, match="no access key that could change it") as refused:
        networks.publishers(configured(**settings))
    assert "DWEBBACKUP_STORE_FILEBASE_ACCESS_KEY_ID" in refused.value.hint
    keys = {"STORE_FILEBASE_ACCESS_KEY_ID": "id", "STORE_FILEBASE_SECRET_ACCESS_KEY": HEX}
    assert names(networks.publishers(configured(**settings, **keys))) == ["Filebase's name my-backups"]


def test_a_public_server_that_nobody_named_spoils_no_backup_and_a_named_one_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
):
    told = heads.announcement(OwnerKey(bytes(32)).writer(1), 1, cid_of(b"x").text, None, 0.0)
    with WebServer(Answer(405)) as server:
        address = f"http://{server.place}"
        settings = {"STORE": "filebase://bucket/x"}
        (failure,) = heads.publish(told, networks.publishers(configured(**settings, ROUTERS=address)))
        assert server.place in failure
        monkeypatch.setattr(networks, "USUAL_ROUTERS", (address,))
        assert heads.publish(told, networks.publishers(configured(**settings, ROUTERS=address))) == ()
