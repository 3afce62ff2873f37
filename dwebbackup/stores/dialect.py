"""What one S3 server does that another does not: tried out for `doctor`, since nothing of ours depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dwebbackup.ports import Finding
from dwebbackup.stores.s3 import make_client
from dwebbackup.stores.s3_address import AccessKey, Address
from dwebbackup.stores.s3_errors import Complaint

_THERE_ALREADY = 412


def dialect(address: Address, key: AccessKey | None, name: str) -> list[Finding]:
    """Findings of no harm, by an object called *name* that comes and goes."""
    server = _Server(make_client(address, key), address.bucket, address.prefix + name)
    return list(server.findings())


@dataclass(frozen=True, slots=True)
class _Server:
    client: Any
    bucket: str
    key: str
    """Of an object that is not there yet, and is not there afterwards."""

    def findings(self) -> Iterator[Finding]:
        for name, ask in (
            ("errors", self._errors),
            ("conditional puts", self._conditional_puts),
            ("versions", self._versions),
        ):
            try:
                yield Finding(f"dialect, {name}", "notice", ask())
            except BotoCoreError as error:
                yield Finding(f"dialect, {name}", "notice", f"cannot be told: {error}")

    def _errors(self) -> str:
        complaint = self._complaint("get_object", Key=self.key)
        if complaint is None:
            return "there are none: it has an object that nobody put there"
        if complaint.is_vague:
            return f"an object that is not there is HTTP status {complaint.status}, without a reason in the body"
        message = "with" if complaint.message else "without"
        return f"an object that is not there is {complaint.code}, {message} a message"

    def _conditional_puts(self) -> str:
        """Honoured, a second put of the same name with `If-None-Match: *` does nothing, and says so."""
        put = {"Key": self.key, "Body": b"probe", "IfNoneMatch": "*"}
        try:
            complaints = [self._complaint("put_object", **put) for _ in range(2)]
        finally:
            with suppress(ClientError):  # who may not delete has been told so already
                self.client.delete_object(Bucket=self.bucket, Key=self.key)
        if complaints == [None, None]:
            return "are ignored: the second put replaces the first"
        refused = next(complaint for complaint in complaints if complaint)
        return "are honoured" if refused.status == _THERE_ALREADY else f"are refused: {refused}"

    def _versions(self) -> str:
        try:
            status = self.client.get_bucket_versioning(Bucket=self.bucket).get("Status")
        except ClientError as error:
            return f"it does not say whether the bucket keeps old ones: {Complaint.of(error)}"
        if status == "Enabled":
            return "are kept: what is deleted takes room until the bucket's own rules remove it"
        return "are not kept: what is deleted is gone"

    def _complaint(self, operation: str, **arguments: Any) -> Complaint | None:
        try:
            getattr(self.client, operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            return Complaint.of(error)
        return None
