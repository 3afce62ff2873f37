"""A server that stands in front of a real one, or of nothing, and answers in its place where a test says so."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

F = TypeVar("F", bound="Front")


class Front(ThreadingHTTPServer):
    """Gives *answers*, raw bytes, one a request, and closes the connection after each; passes the rest on.

    Where nothing is behind it, the last answer is given for good. *asked*: method and path of every request;
    *headers* and *bodies*: those that came with each.
    """

    daemon_threads = True

    def __init__(self, behind: str, answers: tuple[bytes, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.behind = behind.rpartition("/")[2]
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()

    def next_answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes | None:
        with self._lock:
            self.asked.append((method, path))
            self.headers.append(dict(headers))
            self.bodies.append(body)
            if not self.behind and len(self.answers) == 1:
                return self.answers[0]
            return self.answers.pop(0) if self.answers else None

    def added(self, _method: str, _path: str, _status: int, _body: bytes) -> Mapping[str, str]:
        """Headers of an answer that is passed on, besides its own; *body* is the request's."""
        return {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.next_answer(self.command, self.path, dict(self.headers.items()), body)
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
            kept |= self.server.added(self.command, self.path, answer.status, body)
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
    with serving(Front(behind, answers)) as server:
        yield server


@contextmanager
def serving(server: F) -> Iterator[F]:
    """The same, where it is of some kind of its own."""
    with server:
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


@contextmanager
def talker(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that lets *talk* do what it likes with each connection, and then closes it.

    It takes little at a time, so that nobody is rid of a large body before it is read.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread = threading.Thread(target=_talk, args=(server, talk))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _talk(server: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # it is shut down
            return
        with connection, suppress(OSError):  # a client that went away is no news
            talk(connection)


def read_request(connection: socket.socket) -> None:
    """Up to its body."""
    got = b""
    while b"\r\n\r\n" not in got:
        block = connection.recv(4096)
        if not block:
            raise ConnectionError("the client went away")
        got += block


def dripping(answer: bytes) -> Callable[[socket.socket], None]:
    """Talk: the beginning of an answer, then bit by bit more than anybody should have the patience to read."""

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_request(connection)
        connection.sendall(answer)
        for _ in range(100_000):
            connection.sendall(bytes(100))

    return talk


def resetting(answer: bytes = b"") -> Callable[[socket.socket], None]:
    """Talk: the beginning of an answer, and the connection is torn down."""

    def talk(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(answer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return talk
