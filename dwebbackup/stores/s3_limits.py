"""What one request to an S3 server may take: time for its body, out and back, and bytes of its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

import urllib3.exceptions
from botocore.exceptions import BotoCoreError, ResponseStreamingError

from dwebbackup.stores import Refused, check_size

BLOCK = 256 * 1024
"""Bytes read at once."""


class TooSlow(BotoCoreError):
    """Bytes came or went, but not fast enough to end in time."""

    fmt = "not done after {seconds:g} seconds"


class Raw(Protocol):
    """What urllib3 gives back."""

    def read1(self, amt: int) -> bytes: ...

    def close(self) -> None: ...


class Deadline:
    """Of one request. A socket's timeout begins anew with every byte, and so would never pass for a trickle."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._end = monotonic() + seconds

    def check(self) -> None:
        """Raises `TooSlow` when it has passed."""
        if self._monotonic() > self._end:
            raise TooSlow(seconds=self._seconds)


class Outgoing:
    """The body of a request, which is sent block by block, as long as there is time."""

    def __init__(self, body: IO[bytes], deadline: Deadline) -> None:
        self._body = body
        self._deadline = deadline

    def read(self, size: int = -1) -> bytes:
        self._deadline.check()
        return self._body.read(size)


class Incoming:
    """The body of an answer, as botocore reads it; one that is larger than any object of ours is `Refused`."""

    def __init__(self, raw: Raw, deadline: Deadline) -> None:
        self._raw = raw
        self._deadline = deadline
        self._size = 0

    def read(self, size: int | None = None) -> bytes:
        """What has come, at most *size* bytes; never waits for more than one."""
        try:
            block = self._raw.read1(size or BLOCK)
            self._deadline.check()
            self._size += len(block)
            check_size("the answer of the store", self._size, Refused)
        except BaseException as error:
            self.close()  # nobody else knows of the connection any more
            if isinstance(error, urllib3.exceptions.HTTPError):
                raise ResponseStreamingError(error=error) from error
            raise
        return block

    def stream(self) -> Iterator[bytes]:
        while block := self.read():
            yield block

    def close(self) -> None:
        self._raw.close()


def limit(client: Any, seconds: float, monotonic: Callable[[], float]) -> None:
    """From now on, no request of this boto3 client takes longer than *seconds*, but for connecting and headers."""
    session = client._endpoint.http_session  # noqa: SLF001  # with its proxies and certificates; none is given out

    def send(request: Any, **_: object) -> Any:
        deadline = Deadline(seconds, monotonic)
        if hasattr(request.body, "read"):
            request.body = Outgoing(request.body, deadline)
        request.stream_output = True  # or all of it is read before we see any
        answer = session.send(request)
        answer.raw = Incoming(answer.raw, deadline)
        return answer

    client.meta.events.register("before-send.s3", send)
