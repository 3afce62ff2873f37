"""A server that stands in front of a real one, or of nothing, and answers in its place where a test says so."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Front(ThreadingHTTPServer):
    """Gives *answers*, raw bytes, one a request, and closes the connection after each; passes the rest on.

    Where nothing is behind it, the last answer is given for good. *asked*: method and path of every request.
    """

    daemon_threads = True

    def __init__(self, behind: str, answers: tuple[bytes, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.behind = behind.rpartition("/")[2]
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def next_answer(self, method: str, path: str) -> bytes | None:
        with self._lock:
            self.asked.append((method, path))
            if not self.behind and len(self.answers) == 1:
                return self.answers[0]
            return self.answers.pop(0) if self.answers else None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.next_answer(self.command, self.path)
        self.close_connection = True
        self.wfile.write(self._passed_on(body) if answer is None else answer)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = answer

    def _passed_on(self, body: bytes) -> bytes:
        """The signature covers the headers, Host too: they stay as they are."""
        behind = http.client.HTTPConnection(self.server.behind)
        try:
            behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                behind.putheader(name, value)
            behind.endheaders(body)
            answer = behind.getresponse()
            content = answer.read()
            size = answer.headers["Content-Length"] if self.command == "HEAD" else len(content)
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOPS}
            return response(answer.status, content, **(kept | {"Content-Length": str(size)}))
        finally:
            behind.close()

    def log_message(self, *_: Any) -> None: ...


_HOPS = {"connection", "transfer-encoding", "content-length"}


def response(status: int, body: bytes | str = b"", **headers: str) -> bytes:
    """A whole answer; `_` in a header's name stands for `-`."""
    content = body.encode() if isinstance(body, str) else body
    lines = {"Content-Length": str(len(content)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + content


@contextmanager
def front(*answers: bytes, behind: str = "") -> Iterator[Front]:
    """It listens on a port of 127.0.0.1."""
    with Front(behind, answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silence() -> Iterator[str]:
    """The URL of a server that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def nobody() -> Iterator[str]:
    """The URL of a port on which nobody listens, and which nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
