"""Servers in front of a real one that do what Filebase, s3d and renterd do in their own way, by their docs and sources."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from contracts.store import StoreContract
from dwebbackup.links.unixfs import V0_2015, cid_of
from stores.front import Front, response


class PresetContract(StoreContract):
    """What every store promises, but for what is S3's own, asks no server, and is tested with it."""

    test_refuses_what_is_no_name = None
    test_refuses_what_is_no_prefix = None

    @pytest.fixture
    def many(self) -> int:
        """Fewer than a page of a listing."""
        return 100


def as_kubo(data: bytes) -> str:
    """The CID that Filebase gives by its RPC API (IPIP-0499)."""
    return cid_of(data, V0_2015).text


class Filebase(Front):
    """Its IPFS tier. *cid*: what it calls some bytes; None: it says nothing of them. *told_by*: methods that tell it."""

    def __init__(
        self,
        behind: str,
        answers: tuple[bytes, ...] = (),
        cid: Callable[[bytes], str | None] = as_kubo,
        told_by: tuple[str, ...] = ("PUT", "HEAD"),
    ) -> None:
        super().__init__(behind, answers)
        self._cid = cid
        self._told_by = told_by
        self._cids: dict[str, str | None] = {}

    def added(self, method: str, path: str, status: int, body: bytes) -> Mapping[str, str]:
        if method == "PUT" and status == 200:
            self._cids[path] = self._cid(body)
        cid = self._cids.get(path) if method in self._told_by else None
        return {"x-amz-meta-cid": cid} if cid is not None else {}


class Renterd(Front):
    """What is not there cannot be deleted (renterd 2.9.3, `worker/s3/backend.go`), and lists have no delimiter but `/`."""

    _GONE = (
        "<Error><Code>InternalError</Code><Message>object not found: key: /{}</Message>"
        "<RequestID>1</RequestID><HostID>1</HostID></Error>"
    )
    _DELIMITER = "<Error><Code>NotImplemented</Code><Message>delimiter must be '/' but was {}</Message></Error>"

    def __init__(self, behind: str, answers: tuple[bytes, ...] = ()) -> None:
        super().__init__(behind, answers)
        self._there: set[str] = set()

    def next_answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes | None:
        if "delimiter=" in path and "delimiter=%2F" not in path:
            return response(501, self._DELIMITER.format("something else"))
        if method == "DELETE" and path not in self._there:
            return response(500, self._GONE.format(path), Content_Type="application/xml")
        self._there.discard(path) if method == "DELETE" else None
        return super().next_answer(method, path, headers, body)

    def added(self, method: str, path: str, status: int, body: bytes) -> Mapping[str, str]:
        if method == "PUT" and status == 200:
            self._there.add(path)
        return {}


class S3d(Front):
    """Takes objects on its own disk, and has *uploads* bring them to Sia when told to (s3d 0.1.2, `sia/upload.go`)."""

    def __init__(self, behind: str, uploads: Uploads) -> None:
        super().__init__(behind, ())
        self._uploads = uploads

    def added(self, method: str, path: str, status: int, body: bytes) -> Mapping[str, str]:
        if method == "PUT" and status == 200:
            self._uploads.take(path)
        return {}


class Uploads(ThreadingHTTPServer):
    """s3d's admin API (0.1.2, `s3/admin.go`, `openapi.yml`): its password, what is pending, and "flush".

    *asked*: method and path of every request, and, as `("PUT", …)`, what was taken, in their order. *short*: so many
    flushes end well and leave everything pending, as for want of room. *failing*: so many end with an error.
    """

    daemon_threads = True

    def __init__(self, password: str = "change-me", *, short: int = 0, failing: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Admin)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.password = password
        self.asked: list[tuple[str, str]] = []
        self.pending: list[str] = []
        self.unpinned: list[str] = []
        self.on_sia: list[str] = []
        self.may_flush = threading.Event()
        """Cleared, a flush takes until it is set."""
        self.may_flush.set()
        self.flushing = threading.Event()
        self._short, self._failing = short, failing
        self._lock = threading.Lock()

    def take(self, path: str) -> None:
        with self._lock:
            self.asked.append(("PUT", path))
            self.pending.append(path)

    def note(self, method: str, path: str) -> None:
        with self._lock:
            self.asked.append((method, path))

    def stats(self) -> dict[str, int]:
        with self._lock:
            numbers = {"pendingObjects": len(self.pending), "pendingSize": 0, "uploadedObjects": len(self.on_sia)}
            return numbers | {"unpinnedObjects": len(self.unpinned), "failedUploads": 0, "orphanedObjects": 0}

    def flush(self) -> tuple[int, str]:
        self.flushing.set()
        assert self.may_flush.wait(60)
        with self._lock:
            if self._failing:
                self._failing -= 1
                return 500, "failed to flush objects: failed to upload objects: not enough hosts"
            if self._short:
                self._short -= 1
                return 200, ""
            self.on_sia += self.pending + self.unpinned
            self.pending, self.unpinned = [], []
            return 200, ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Admin(BaseHTTPRequestHandler):
    server: Uploads

    def do_GET(self) -> None:
        self.server.note("GET", self.path)
        known = self.path == "/stats/uploads"
        self._answer(200 if known else 404, json.dumps(self.server.stats()) if known else "404 page not found")

    def do_POST(self) -> None:
        self.server.note("POST", self.path)
        self._answer(*(self.server.flush() if self.path == "/objects/flush" else (404, "404 page not found")))

    def parse_request(self) -> bool:
        """Who has not the password gets no further."""
        if not super().parse_request():
            return False
        token = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic "))
        if token.partition(b":")[2] == self.server.password.encode():
            return True
        self._answer(401, "Unauthorized")
        return False

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def uploads(**behaviour: Any) -> Iterator[Uploads]:
    """Its admin API listens on a port of 127.0.0.1."""
    with Uploads(**behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.may_flush.set()
            server.shutdown()
            thread.join()
