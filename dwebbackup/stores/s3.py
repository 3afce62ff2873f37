"""A store in an S3 bucket, AWS's or anybody's: one request an object, and no answer taken on trust."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BytesIO
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session as BotocoreSession
from botocore.session import get_session
from botocore.utils import parse_timestamp

import dwebbackup
from dwebbackup import clock
from dwebbackup.errors import DwebbackupError, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.stores import LOOK_WHO_NEEDS_IT, Refused, TooLarge, check_name, check_prefix, check_size, is_name
from dwebbackup.stores.s3_address import AccessKey, Address
from dwebbackup.stores.s3_errors import Complaint, not_s3, told
from dwebbackup.stores.s3_limits import BLOCK, limit

PATIENCE = 10
"""Timeouts that a whole request may take: a server that gives a byte now and then never times out by itself."""

_CONNECT_TIMEOUT = 10.0
_CONNECTIONS = 16  # more than our threads ever use at once
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')

_ADDRESSING: Mapping[bool | None, Literal["auto", "path", "virtual"]] = {None: "auto", True: "path", False: "virtual"}

_PROOF: Mapping[str, tuple[str, ...]] = {
    "put_object": ("ETag",),
    "get_object": ("LastModified",),
    "head_object": ("LastModified", "ContentLength"),
    "list_objects_v2": ("Name", "IsTruncated"),
    "delete_object": (),
}
"""What S3 always answers, and a web page with status 200 does not."""


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
        self._client = make_client(address, access_key, monotonic)

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return self._address.url

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(deletion=self._address.provider.deletion)

    def prepare(self) -> None:
        """Make sure that the bucket is there and the key opens it. Nothing is made: a bucket is its owner's.

        Asked by listing, since HEAD is refused without a reason. Raises `StoreUnreachable`.
        """
        self._page(f"open bucket {self._address.bucket}", Prefix=self._address.prefix, MaxKeys=1)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        self._keep(name, data)
        return (self._address.link(name),)

    def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
        check_name(name)
        answer = self._ask("get_object", f"read {name}", name, Key=self._key(name))
        with self._telling(f"read {name}"), answer["Body"]:
            return self._read(name, answer)

    def head(self, name: str) -> Stored:
        check_name(name)
        answer = self._ask("head_object", f"look at {name}", name, Key=self._key(name))
        return Stored(name, answer["ContentLength"], _seconds(answer["LastModified"]))

    def list(self, prefix: str) -> Iterator[Stored]:
        check_prefix(prefix)
        return self._list(prefix)

    def delete(self, name: str) -> None:
        check_name(name)
        with suppress(ObjectMissing):
            self._ask("delete_object", f"delete {name}", name, Key=self._key(name))

    # Out

    def _keep(self, name: str, data: bytes) -> Mapping[str, Any]:
        """The server's answer, which some put more into than AWS does."""
        check_name(name)
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        answer = self._ask(
            "put_object",
            f"keep {name}",
            Key=self._key(name),
            Body=data,
            ContentMD5=base64.b64encode(md5).decode(),
            ContentType="application/octet-stream",
        )
        self._check_kept(name, answer, md5.hex())
        return answer

    def _check_kept(self, name: str, answer: Mapping[str, Any], md5: str) -> None:
        """An ETag that looks like an MD5 is that of the object, unless a key of the server's was mixed in."""
        etag = _MD5.fullmatch(answer["ETag"])
        encrypted = answer.get("ServerSideEncryption", "").startswith("aws:") or answer.get("SSECustomerAlgorithm")
        if etag and not encrypted and etag[1] != md5:
            raise StoreUnreachable(
                f"{self._cannot(f'keep {name}')}: it kept other bytes than were sent (MD5 {etag[1]}, not {md5})",
                "something on the way changes what is sent",
            )

    # Back

    def _read(self, name: str, answer: Mapping[str, Any]) -> bytes:
        """The whole body; botocore raises where it is shorter than was said. Raises `TooLarge`."""
        check_size(f"{name} in store {self._name}", answer.get("ContentLength", 0))
        data = BytesIO()  # which hands out its bytes uncopied
        try:
            while block := answer["Body"].read(BLOCK):
                data.write(block)
        except Refused as error:  # there was no end to it: here the answer is the object
            raise TooLarge(str(error), error.hint) from error
        return data.getvalue()

    def _list(self, prefix: str) -> Iterator[Stored]:
        """Page by page. Not by boto3's paginator: it takes a page that cannot be continued for the last."""
        token = ""
        while True:
            more = {"ContinuationToken": token} if token else {}
            answer = self._page(f"list {prefix}*", Prefix=self._key(prefix), **more)
            for entry in answer.get("Contents", ()):
                name = entry["Key"].removeprefix(self._address.prefix)
                if is_name(name):  # what is not, such as a `folder/` that a console made, is not ours
                    yield Stored(name, entry["Size"], _seconds(entry["LastModified"]))
            if not answer["IsTruncated"]:
                return
            before, token = token, answer.get("NextContinuationToken", "")
            if token in ("", before):
                raise not_s3(self._cannot(f"list {prefix}*"), self._address, "a listing that breaks off")

    def _page(self, what: str, **arguments: Any) -> dict[str, Any]:
        answer = self._ask("list_objects_v2", what, **arguments)
        for entry in answer.get("Contents", ()):
            if not {"Key", "Size", "LastModified"} <= entry.keys() or not entry["Key"].startswith(arguments["Prefix"]):
                raise not_s3(self._cannot(what), self._address, "a listing of something else")
        return answer

    # Asking

    def _key(self, name: str) -> str:
        return self._address.prefix + name

    def _cannot(self, what: str) -> str:
        return f"store {self._name} cannot {what}"

    def _ask(self, operation: str, what: str, name: str = "", **arguments: Any) -> dict[str, Any]:
        """The server's answer. *name*: the object that `ObjectMissing` may be raised for."""
        gone = self._address.provider.gone if operation == "delete_object" else ""
        with self._telling(what, name, gone):
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._address.bucket, **arguments)
        if doubt := _doubt(operation, answer):
            raise not_s3(self._cannot(what), self._address, doubt)
        return answer

    @contextmanager
    def _telling(self, what: str, name: str = "", gone: str = "") -> Iterator[None]:
        """Errors of boto3 and of the server as ours. *gone*: what in a message means that the object is not there."""
        try:
            yield
        except DwebbackupError:
            raise
        except ClientError as error:
            raise self._told(Complaint.of(error), what, name, gone) from error
        except Exception as error:
            raise told(error, self._cannot(what), self._address) from error

    def _told(self, complaint: Complaint, what: str, name: str, gone: str) -> DwebbackupError:
        """One without a reason, as HEAD's all are, may be about the bucket or the key: then this is what is raised."""
        if name and complaint.is_vague and not complaint.is_transient:
            self.prepare()
        if name and (complaint.is_missing or (gone and gone in complaint.message)):
            return ObjectMissing(f"store {self._name} has no {name}", LOOK_WHO_NEEDS_IT)
        return complaint.told(self._cannot(what), self._address)


def make_client(address: Address, key: AccessKey | None, monotonic: Callable[[], float] = clock.monotonic) -> Any:
    """Retries are off: `Retrying` has a budget, and tells of them. Checksums too: many servers know none."""
    config = Config(
        connect_timeout=min(_CONNECT_TIMEOUT, address.timeout),
        read_timeout=address.timeout,
        max_pool_connections=_CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3={"addressing_style": _ADDRESSING[address.path_style]},
        signature_version="s3v4",
        tcp_keepalive=True,
        user_agent_extra=f"dwebbackup/{dwebbackup.__version__}",
    )
    try:
        if address.ca:
            ssl.create_default_context(cafile=address.ca)
        client = boto3.Session(botocore_session=_session()).client(
            "s3",
            endpoint_url=address.endpoint or None,
            region_name=address.region or None,
            verify=address.ca or None,
            aws_access_key_id=key.id if key else None,
            aws_secret_access_key=key.secret if key else None,
            aws_session_token=(key.token or None) if key else None,
            config=config,
        )
    except (BotoCoreError, OSError, ValueError) as error:
        what = f"the certificates in {address.ca}" if isinstance(error, OSError) else "the settings of the store"
        hint = "check its URL, and AWS's variables and files"
        raise WrongConfiguration(f"{what} cannot be used: {error}", hint) from error
    client.meta.events.register_first("needs-retry.s3", _end_with_errors)
    limit(client, PATIENCE * address.timeout, monotonic)
    return client


def _session() -> BotocoreSession:
    session = get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return session


def _moment(text: Any) -> datetime:
    """As botocore has it, which for a listing's times takes longer than for all the rest of the listing."""
    with suppress(ValueError, TypeError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo:
            return moment
    return parse_timestamp(text)


def _end_with_errors(response: tuple[Any, Any] | None, operation: Any, **_: object) -> None:
    """Before botocore's own handler, which asks every other region, endlessly where a server always redirects."""
    if response is not None and response[0].status_code >= 300:
        raise ClientError(response[1], operation.name)


def _doubt(operation: str, answer: Mapping[str, Any]) -> str:
    """Why this is not what S3 answers; empty when it is."""
    status, headers = answer["ResponseMetadata"]["HTTPStatusCode"], answer["ResponseMetadata"]["HTTPHeaders"]
    if "html" in headers.get("content-type", "") and headers.get("content-length") != "0":  # Swift says so of nothing
        return "a web page"
    if status not in (200, 204):
        return f"HTTP status {status}"
    if operation == "delete_object" and status == 200 and headers.get("content-length") != "0":
        return "a body where none should be"
    return next((f"no {field}" for field in _PROOF[operation] if field not in answer), "")


def _seconds(when: datetime) -> float:
    """Whole ones: some servers give more in a listing than in an object's own headers."""
    return float(int(when.timestamp()))
