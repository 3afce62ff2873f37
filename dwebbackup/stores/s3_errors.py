"""What an S3 server, or the way to it, says went wrong, in our own terms: missing, refused, or worth another try."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from dwebbackup import clock
from dwebbackup.errors import StoreUnreachable
from dwebbackup.stores import Busy, Refused
from dwebbackup.stores.s3_address import Address
from dwebbackup.stores.s3_limits import TooSlow

_MISSING = 404
_TRANSIENT_STATUS = {408, 409, 425, 429}
_FINAL_STATUS = {501, 505, 507}  # of those from 500: "not implemented", "no such HTTP", "no room"
_TRANSIENT = {
    "BadDigest",
    "BandwidthLimitExceeded",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}

_WHICH_KEY = (
    "set DWEBBACKUP_STORE_<NAME>_ACCESS_KEY_ID and …_SECRET_ACCESS_KEY, or AWS's own variables; "
    "a store without ?name= is called s3"
)
_KEY = "check the access key: its id, its secret, and that it is one of this server's"
_TOKEN = "get a new session: its token has expired or is not valid"  # noqa: S105  # says so, and is none
_RIGHTS = "the access key has to be allowed GetObject, PutObject, DeleteObject and ListBucket here"
_ROOM = "raise the quota, or make room"
_ENDPOINT = "check the store's endpoint, and that it is the address of its S3 interface"
_HINTS = {
    "NoSuchBucket": "make the bucket, or check its name, the endpoint and the region",
    "InvalidAccessKeyId": _KEY,
    "SignatureDoesNotMatch": _KEY,
    "ExpiredToken": _TOKEN,
    "InvalidToken": _TOKEN,
    "TokenRefreshRequired": _TOKEN,
    "AccessDenied": _RIGHTS,
    "AccountProblem": "ask the provider what is wrong with the account",
    "UserSuspended": "ask the provider what is wrong with the account",
    "InvalidObjectState": "it was moved to an archive: bring it back there, and keep backups out of archive classes",
    "QuotaExceeded": _ROOM,
    "InsufficientCapacity": _ROOM,
    "XMinioStorageFull": _ROOM,
}
_STATUS_HINTS = {401: _KEY, 403: _RIGHTS, 404: _ENDPOINT, 405: _ENDPOINT, 507: _ROOM}
_WRONG_CLOCK = {"RequestTimeTooSkewed", "RequestExpired"}
_WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}

_NO_KEY = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
_NO_ANSWER = (
    exceptions.HTTPClientError,  # timeouts and broken connections, too
    exceptions.ConnectionError,
    exceptions.IncompleteReadError,
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A server's error, whatever is missing in it: Ceph gives no message, HEAD has no code, gateways give a page."""

    status: int
    code: str
    message: str
    region: str
    """Where the bucket really is, if it says so."""
    pause: float
    """Seconds after which it wants to be asked again; 0 where it does not say."""

    @classmethod
    def of(cls, error: ClientError) -> Self:
        response: Any = error.response
        metadata = response.get("ResponseMetadata", {})
        said = response.get("Error", {})
        headers = metadata.get("HTTPHeaders", {})
        region = said.get("Region") or headers.get("x-amz-bucket-region")
        status = int(metadata.get("HTTPStatusCode") or 0)
        code, message = str(said.get("Code") or ""), str(said.get("Message") or "")
        return cls(status, code, message, str(region or ""), _pause(headers))

    @property
    def is_vague(self) -> bool:
        """Whether it is an HTTP status and nothing else."""
        return not self.code or self.code == str(self.status)

    @property
    def is_transient(self) -> bool:
        """Whether it may be gone by itself. Status 0: the error came with a good answer's status."""
        if self.code in _TRANSIENT or self.status in _TRANSIENT_STATUS:
            return True
        return not 300 <= self.status < 500 and self.status not in _FINAL_STATUS

    @property
    def is_missing(self) -> bool:
        """Whether it says that there is no such object; a vague one may also mean the bucket, or no S3 at all."""
        return self.code == "NoSuchKey" or (self.status == _MISSING and self.is_vague)

    @property
    def hint(self) -> str:
        """What to do about it."""
        if self.code in _WRONG_CLOCK:
            return f"set this machine's clock: it says {clock.iso(clock.now())}"
        if self.code in _WRONG_REGION or self.status in (301, 307):
            known = f"region={self.region}" if self.region else "region=… of the bucket"
            return f"write {known} into the store's URL, and check its endpoint"
        return _HINTS.get(self.code) or _STATUS_HINTS.get(self.status, "")

    def __str__(self) -> str:
        status = f"HTTP status {self.status}"
        code = status if self.is_vague else f"{self.code} ({status})"
        return f"{code}: {self.message}" if self.message else code

    def told(self, what: str, address: Address) -> StoreUnreachable:
        """*what* failed, as our own error."""
        if self.code == "NoSuchBucket":
            return Refused(f"{what}: there is no bucket {address.bucket}", self.hint)
        if not self.is_transient:
            return Refused(f"{what}: {self}", self.hint)
        if self.pause:
            return Busy(f"{what}: {self}", self.hint, self.pause)
        return StoreUnreachable(f"{what}: {self}", self.hint)


def _pause(headers: Mapping[str, str]) -> float:
    """What `Retry-After` says, in seconds or as a time, which is told by the server's clock; 0 for nonsense."""
    after = headers.get("retry-after", "")
    if after.isdecimal():
        return float(after[:9])
    try:
        then = parsedate_to_datetime(after)
        return max(0.0, (then - parsedate_to_datetime(headers.get("date", ""))).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def told(error: Exception, what: str, address: Address) -> StoreUnreachable:
    """*what* failed before there was a proper answer. botocore fails in any way on what is not S3."""
    where = address.endpoint or "AWS"
    if isinstance(_within(error), TooSlow):
        return StoreUnreachable(f"{what}: {_within(error)}", "the store, or the line to it, is too slow")
    if isinstance(error, _NO_KEY):
        return Refused(f"{what}: no access key is configured", _WHICH_KEY)
    if isinstance(error, exceptions.SSLError):
        return _told_of_tls(error, what, where)
    if isinstance(error, _NO_ANSWER):
        return StoreUnreachable(f"{what}: {where} does not answer: {error}", "is it up, and reachable from here?")
    if isinstance(error, BotoCoreError):
        return Refused(f"{what}: {error}", "check the store's URL and the AWS settings of this machine")
    return not_s3(what, address, f"{type(error).__name__}: {error}")


def _within(error: Exception) -> object:
    """The error itself, or the one that botocore found while it sent a body."""
    return error.kwargs.get("error") if type(error) is exceptions.HTTPClientError else error


def not_s3(what: str, address: Address, why: str) -> StoreUnreachable:
    """Somebody answered that is not the server: a portal that wants a login, a balancer whose server is down."""
    return StoreUnreachable(f"{what}: the answer of {address.endpoint or 'AWS'} is not S3's ({why})", _ENDPOINT)


def _told_of_tls(error: Exception, what: str, where: str) -> StoreUnreachable:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Refused(
            f"{what}: the certificate of {where} is not one that this machine trusts: {error}",
            "write ca=FILE into the store's URL, with the authority that signed it; and is the clock right?",
        )
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST", str(error)):
        return Refused(f"{what}: {where} does not speak TLS: {error}", "write endpoint=http://…, if that is meant")
    if re.search(r"HANDSHAKE_FAILURE|PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_SHARED_CIPHER|TOO_SMALL", str(error)):
        return Refused(f"{what}: {where} has no TLS in common with this machine: {error}", "one of the two is too old")
    return StoreUnreachable(f"{what}: {where} broke off TLS: {error}", "is it up, and reachable from here?")
