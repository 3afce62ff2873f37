"""What one HTTP request may take: a deadline that holds for every byte of it, sent or received, head and body."""

from __future__ import annotations

import http.client
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from socket import socket
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from dwebbackup.errors import Interrupted
from dwebbackup.stores import NO_END, Waiting

CONNECTIONS = 16
"""To one host, kept for the next request; more than our threads ever use at once."""


GLANCE = 1.0
"""Seconds; how often somebody who waits for a server looks whether to stop."""

LAST_WORDS = 5.0
"""Seconds of silence after which a request ends that was begun when we had been asked to stop already."""


class Deadline:
    """Of one request. A socket's timeout begins anew with every byte, and so would never pass for a trickle."""

    def __init__(self, seconds: float, monotonic: Callable[[], float], waiting: Waiting = NO_END) -> None:
        self._monotonic = monotonic
        self._end = monotonic() + seconds
        stopped = waiting.stop is not None and waiting.stop.is_set()
        self._stop = None if stopped else waiting.stop  # what is asked after that is a last note, and goes out
        self._silence = min(waiting.silence, LAST_WORDS if stopped else math.inf)
        self.passed = f"{seconds:g} seconds for everything"
        """What has passed, in words."""

    def left(self) -> float:
        """Seconds. Raises `TimeoutError` when it has passed."""
        left = self._end - self._monotonic()
        if left <= 0:
            raise TimeoutError(f"not done after {self.passed}")
        return left

    def waits(self) -> Iterator[float]:
        """Seconds to wait for the next byte, as often as that was in vain. Raises `TimeoutError` and `Interrupted`."""
        begun = self.left()
        left = begun
        while True:
            if self._stop is not None and self._stop.is_set():
                raise Interrupted("asked to stop while a server did not answer")
            quiet = self._silence - (begun - left)
            if quiet <= 0:
                self.passed, self._end = f"{self._silence:g} seconds without a byte", -math.inf
            else:
                yield min(GLANCE, left, quiet)
            left = self.left()


class _Incoming(RawIOBase):
    """What comes over a socket, each time waited for no longer than there is time."""

    def __init__(self, raw: RawIOBase, sock: socket, deadline: Deadline) -> None:
        self._raw = raw
        self._socket = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any, /) -> int | None:
        """From the socket itself: its file gives nothing any more once it was waited for in vain."""
        for seconds in self._deadline.waits():
            self._socket.settimeout(seconds)
            try:
                read = self._socket.recv_into(view)
            except TimeoutError:
                continue
            self._deadline.left()  # by another clock than the socket's, in tests
            return read
        raise AssertionError  # its waits end by raising

    def close(self) -> None:
        self._raw.close()
        super().close()


_current = threading.local()


@contextmanager
def limited(deadline: Deadline) -> Iterator[None]:
    """Within, what this thread asks through `LimitedAdapter` has to be answered before *deadline*."""
    _current.deadline = deadline
    try:
        yield
    finally:
        del _current.deadline


class _Response(http.client.HTTPResponse):
    """Made of a socket by `http.client`, which tells it no time: that is the asking thread's."""

    fp: Any

    def __init__(self, sock: socket, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp = BufferedReader(_Incoming(self.fp.detach(), sock, _current.deadline))


def _send_some(sock: socket, data: memoryview, deadline: Deadline) -> int:
    """Bytes of it that went out: one at least. What was tried in vain is tried again as it was, as TLS demands."""
    for seconds in deadline.waits():
        sock.settimeout(seconds)
        try:
            return sock.send(data)
        except TimeoutError:
            continue
    raise AssertionError  # its waits end by raising


class _Timed:
    """What a connection does besides; bodies that are read from a file are sent block by block."""

    response_class: Any = _Response
    sock: socket | None

    def connect(self) -> None:
        _current.deadline.left()  # or it is asked once more when it said nothing for too long
        super().connect()  # type: ignore[misc]  # of `http.client.HTTPConnection`

    def send(self, data: Any) -> None:
        if self.sock is None:  # it is about to connect, which has a timeout of its own
            super().send(data)  # type: ignore[misc]  # of `http.client.HTTPConnection`
            return
        rest = memoryview(data)
        while rest:
            rest = rest[_send_some(self.sock, rest, _current.deadline) :]


class _Plain(_Timed, HTTPConnection): ...


class _Secure(_Timed, HTTPSConnection): ...


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


_POOLS = {"http": _PlainPool, "https": _SecurePool}

_ONCE_MORE = urllib3.Retry(
    total=1,
    connect=0,
    read=1,  # a server may hang up on a connection that it kept just when we ask again
    redirect=False,
    status=0,
    other=0,
    allowed_methods={"GET", "HEAD"},
    respect_retry_after_header=False,
)


class LimitedAdapter(HTTPAdapter):
    """How `requests` gets at servers, with the deadline of `limited` and no other notion of trying again."""

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=CONNECTIONS, max_retries=_ONCE_MORE)

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named)
        if not str(proxy).lower().startswith("socks"):  # whose connections are of another kind, and must stay so
            manager.pool_classes_by_scheme = _POOLS
        return manager
