"""Three stores, two of them wiped and every credential forgotten: the words and one network bring the database back."""

from __future__ import annotations

from pathlib import Path

from dwebbackup.scratch.postgres import install_postgres
from fix_ceph import Ceph
from fix_ipfs import IpfsNode
from second_act import Places, ipfs_store, tell
from skynet_portal import Portal


def test_the_words_and_a_gateway_bring_it_back(ceph: Ceph, ipfs_node: IpfsNode, tmp_path: Path):
    said: list[str] = []
    places = Places(ceph.bucket(), ceph, tmp_path / "store", ipfs_store(ipfs_node))
    assert tell(said.append, places, install_postgres(said.append, ""), {"GATEWAYS": ipfs_node.gateway}) == []
    assert "   Compared: all equal" in said
    assert any("ipfs://baf" in line for line in said)


def test_the_words_and_a_portal_bring_it_back(ceph: Ceph, tmp_path: Path):
    said: list[str] = []
    with Portal() as portal:
        places = Places(ceph.bucket(), ceph, tmp_path / "store", f"skynet+{portal.url}?name=portal")
        assert tell(said.append, places, install_postgres(said.append, ""), {"PORTALS": portal.url}) == []
    assert "   Compared: all equal" in said
    assert any("sia://" in line for line in said)
