"""Every question that can be put to an S3 store, and a store of which only the answers matter."""

from __future__ import annotations

from collections.abc import Callable

from dwebbackup.ports import Store
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.s3_address import AccessKey, Address

KEY = AccessKey("id", "secret")
TIME = "Sat, 21 Nov 2026 03:00:00 GMT"
"""For `Last-Modified`."""

ASKS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("w/1/a", b"a"),
    "get": lambda store: store.get("w/1/a"),
    "head": lambda store: store.head("w/1/a"),
    "list": lambda store: list(store.list("w/")),
    "delete": lambda store: store.delete("w/1/a"),
    "prepare": lambda store: store.prepare(),
}


def asking(endpoint: str, **changes: object) -> S3Store:
    """By the clock of this store no time passes, so that no deadline does."""
    return S3Store(Address("bucket", **({"endpoint": endpoint} | changes)), "far", KEY, monotonic=lambda: 0.0)
