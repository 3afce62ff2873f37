"""An IPFS node as a store: the contract on a real one, and nodes that lose, refuse, lie, or are something else."""

from __future__ import annotations

import itertools
import os

import pytest

from contracts.store import StoreContract
from dwebbackup.ports import Store
from dwebbackup.stores.ipfs.address import Address
from dwebbackup.stores.ipfs.store import IpfsStore
from fix_ipfs import IpfsNode

WIDE = bool(os.environ.get("DWEBBACKUP_TEST_WIDE"))

_folders = itertools.count(1)


@pytest.fixture
def address(ipfs_node: IpfsNode) -> Address:
    """A folder where nothing is yet."""
    return Address(ipfs_node.rpc, f"Of many/test-{next(_folders)}")


@pytest.fixture
def store(address: Address) -> IpfsStore:
    return IpfsStore(address)


class TestContract(StoreContract):
    @pytest.fixture
    def many(self) -> int:
        """Where there is time for it, a folder so large that the node has to cut it into several blocks."""
        return 2500 if WIDE else 150

    @pytest.fixture
    def store(self, address: Address) -> Store:
        store = IpfsStore(address)
        store.prepare()
        return store
