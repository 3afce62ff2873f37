"""A store in an S3 bucket, AWS's or anybody's: one request an object, and no answer taken on trust."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress

from dwebbackup import clock
from dwebbackup.errors import ObjectMissing
from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.stores import check_name, check_prefix
from dwebbackup.stores.s3_address import AccessKey, Address

LARGEST = 64 * 1024 * 1024
"""Bytes of an object at most: nothing of ours is larger, so whatever is belongs to somebody else."""

_CONNECT_TIMEOUT = 10.0
_CONNECTIONS = 16  # more than our threads ever use at once
_BLOCK = 256 * 1024
_PATIENCE = 10
"""Timeouts that a whole body may take: a server that gives a byte now and then never times out by itself."""

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_READING = {"get_object", "head_object", "delete_object"}


class S3Store:
    """Objects of a bucket, below a prefix, as a `Store`.

    A bucket that is not there, a page of some gateway, a listing without its end: each is an error, never an
    empty store. *access_key*: without one, boto3 looks where AWS's own tools do. *monotonic* is for tests.
    """

    def __init__(
        self,
        address: Address,
        name: str = "s3",
        access_key: AccessKey | None = None,
        *,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._address = address
        self._name = name
        self._monotonic = monotonic
        self._client = _client(address, access_key)

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return self._address.url

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits()

    def prepare(self) -> None:
        """Make sure that the bucket is there and the key opens it. Nothing is made: a bucket is its owner's.

        By listing and not by HEAD, whose errors have no body, and so no reason. Raises `StoreUnreachable`.
        """
        with self._telling(f"open bucket {self._address.bucket}", reading=False) as what:
            self._page(what, self._address.prefix, MaxKeys=1)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        check_name(name)
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        with self._telling(f"keep {name}", reading=False) as what:
            answer = self._ask(
                "put_object",
                Key=self._address.prefix + name,
                Body=data,
                ContentMD5=base64.b64encode(md5).decode(),
                ContentType="application/octet-stream",
            )
            self._check_kept(what, answer, md5.hex())
        return (self._address.link(name),)

    def get(self, name: str) -> bytes:
        check_name(name)
        with self._telling(f"read {name}") as what:
            answer = self._ask("get_object", Key=self._address.prefix + name)
            with answer["Body"]:
                self._require(what, answer, "LastModified")
                return self._read(what, answer)

    def head(self, name: str) -> Stored:
        check_name(name)
        with self._telling(f"look at {name}") as what:
            answer = self._ask("head_object", Key=self._address.prefix + name)
            self._require(what, answer, "LastModified", "ContentLength")
            return Stored(name, answer["ContentLength"], _seconds(answer["LastModified"]))

    def list(self, prefix: str) -> Iterator[Stored]:
        check_prefix(prefix)
        return self._list(self._address.prefix + prefix)

    def delete(self, name: str) -> None:
        check_name(name)
        with suppress(ObjectMissing), self._telling(f"delete {name}"):
            self._ask("delete_object", Key=self._address.prefix + name)
