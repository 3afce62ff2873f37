"""An IPFS node as a store: the contract on a real one, and nodes that lose, refuse, lie, or are something else."""

from __future__ import annotations

import itertools

import pytest

from contracts.store import StoreContract
from dwebbackup.ports import Store
from dwebbackup.stores.ipfs.address import Address
from dwebbackup.stores.ipfs.store import IpfsStore
from fix_ipfs import IpfsNode

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
    def store(self, address: Address) -> Store:
        store = IpfsStore(address)
        store.prepare()
        return store
