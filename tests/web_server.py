"""A web server on this machine that writes down what it is sent, and answers as it is told to: well, badly, or not yet."""

from __future__ import annotations

import queue
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

PATIENCE = 60.0
"""Seconds for what is certain to come."""


@dataclass(frozen=True)
class Heard:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"OK"


class WebServer:
    """Gives *answers* one after the other, and the last one for ever. While `held` is set, it answers nobody."""

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answers = list(answers) or [Answer()]
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def hold(self) -> None:
        """From now on, hear and do not answer."""
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def next(self) -> Heard:
        """What it was sent, in order; waits for it."""
        return self._heard.get(timeout=PATIENCE)

    def rest(self) -> list[Heard]:
        """What came that nobody asked for; to be called when no more can come."""
        return [self._heard.get() for _ in range(self._heard.qsize())]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = server._answers.pop(0) if len(server._answers) > 1 else server._answers[0]
                server._heard.put(Heard(self.path, dict(self.headers), body))
                server._may_answer.wait()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests want."""
