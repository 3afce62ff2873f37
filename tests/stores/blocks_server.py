"""A gateway written plainly, which gives the blocks it was given, or lies in the way that a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from links.trees import Blocks, car_of

CAR, RAW = "application/vnd.ipld.car", "application/vnd.ipld.raw"

Said = tuple[int, Mapping[str, str], bytes]
"""Status, headers, body."""

Answer = Callable[["BlocksServer", str, str], Said | None]
"""What to say to somebody who asks for a CID in a format; None: what an honest gateway would."""


def honest(server: BlocksServer, cid: str, form: str) -> Said | None:
    """Nobody lies."""
    return None


def without_cars(server: BlocksServer, cid: str, form: str) -> Said | None:
    return (406, {"Content-Type": "text/plain"}, b"raw only") if form == "car" else None


class BlocksServer(ThreadingHTTPServer):
    """Of *files*, by the CIDs of their roots, and every block in them by its own. *answer* speaks first."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, files: Mapping[str, Blocks], answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = files
        self.blocks = {cid.text: block for blocks in files.values() for cid, block in blocks.items()}
        self.answer = answer
        self.asked: list[tuple[str, str]] = []
        """CIDs and formats."""
        self.accepted: list[str] = []

    def honestly(self, cid: str, form: str) -> Said:
        if form == "car" and cid in self.files:
            return 200, {"Content-Type": f"{CAR}; version=1; order=dfs; dups=y"}, car_of(self.files[cid])
        if form == "raw" and cid in self.blocks:
            return 200, {"Content-Type": RAW}, self.blocks[cid]
        return 404, {"Content-Type": "text/plain"}, f"block {cid} not found".encode()

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BlocksServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        cid, form = parts.path.removeprefix("/ipfs/"), parse_qs(parts.query).get("format", [""])[0]
        self.server.asked.append((cid, form))
        self.server.accepted.append(self.headers["Accept"])
        status, headers, body = self.server.answer(self.server, cid, form) or self.server.honestly(cid, form)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def blocks_server(files: Mapping[str, Blocks], answer: Answer = honest) -> Iterator[BlocksServer]:
    with BlocksServer(files, answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
