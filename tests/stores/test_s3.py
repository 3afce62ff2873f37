"""An S3 bucket as a store: the contract on a real Ceph gateway, and servers that refuse, break, lie or say nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import boto3
import pytest

from contracts.store import StoreContract
from dwebbackup.errors import StoreUnreachable
from dwebbackup.ports import Store
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.s3_address import AccessKey, Address
from fix_ceph import Ceph

KEY = AccessKey("id", "secret")
TIME = "Sat, 21 Nov 2026 03:00:00 GMT"

ASKS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("w/1/a", b"a"),
    "get": lambda store: store.get("w/1/a"),
    "head": lambda store: store.head("w/1/a"),
    "list": lambda store: list(store.list("w/")),
    "delete": lambda store: store.delete("w/1/a"),
    "prepare": lambda store: store.prepare(),
}

_prefixes = itertools.count(1)


@pytest.fixture(autouse=True, scope="module")
def _nobodys_settings() -> Iterator[None]:
    """Of AWS on this machine: neither variables nor files nor the metadata of a cloud."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield


@pytest.fixture
def fresh_boto3(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """For those who change AWS's variables, which boto3 reads once."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return monkeypatch


@pytest.fixture(scope="session")
def bucket(ceph: Ceph) -> str:
    """One for all; who wants to be alone in it uses a prefix."""
    return ceph.bucket()


@pytest.fixture
def address(ceph: Ceph, bucket: str) -> Address:
    """A prefix where nothing is yet."""
    return ceph.address(bucket, prefix=f"Of many/test-{next(_prefixes)}/")


@pytest.fixture
def store(ceph: Ceph, address: Address) -> S3Store:
    return S3Store(address, "s3", ceph.key)


def asking(endpoint: str, **changes: object) -> S3Store:
    """A store of which only the answers matter."""
    return S3Store(Address("bucket", **({"endpoint": endpoint} | changes)), "far", KEY)


def said(error: StoreUnreachable) -> str:
    return f"{error} ({error.hint})"


class TestContract(StoreContract):
    """Over HTTP, below a prefix."""

    @pytest.fixture
    def store(self, ceph: Ceph, address: Address) -> S3Store:
        return S3Store(address, "s3", ceph.key)


class TestContractOverTls(StoreContract):
    """A bucket of one's own, without a prefix."""

    @pytest.fixture
    def store(self, ceph: Ceph) -> S3Store:
        return S3Store(ceph.address(ceph.bucket(), endpoint=ceph.https, ca=ceph.ca), "s3", ceph.key)
