"""Three stores, two of them wiped and every credential forgotten: the words and a gateway bring the database back."""

from __future__ import annotations

from pathlib import Path

from dwebbackup.scratch.postgres import install_postgres
from fix_ceph import Ceph
from fix_ipfs import IpfsNode
from second_act import Places, tell


def test_the_words_and_a_gateway_bring_it_back(ceph: Ceph, ipfs_node: IpfsNode, tmp_path: Path):
    said: list[str] = []
    places = Places(ceph.bucket(), ceph, ipfs_node, tmp_path / "store")
    different = tell(said.append, places, install_postgres(said.append, ""), {"GATEWAYS": ipfs_node.gateway})
    assert different == []
    assert "   Compared: all equal" in said
