"""A Skynet portal on this machine, written from the protocol: what skyd, and the web server before it, took and refused."""

from __future__ import annotations

import base64
import json
import re
import struct
import threading
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from dwebbackup.links import registry, signing, skylink
from dwebbackup.links.registry import Entry
from dwebbackup.links.skyfile import merkle_root
from dwebbackup.links.skylink import SECTOR, Skylink, fetch_size

JSON = {"Content-Type": "application/json; charset=utf-8"}
OCTETS = {"Content-Type": "application/octet-stream"}
LAYOUT = struct.Struct("<BQQQBB8s64s")
BACKUP = b"\x0f\0\0\0\0\0\0\0Skyfile Backup\n\x07\0\0\0\0\0\0\0v1.5.5\n\x2e\0\0\0\0\0\0\0"


@dataclass
class Habits:
    """In what portals differed."""

    key: str = ""
    """Without it in `Skynet-Api-Key`, nothing is taken."""
    writes_more: bool = False
    """What some wrote down of every file from the end of 2022."""
    takes_sectors: bool = True
    gives_sectors: bool = True
    loses: bool = False
    """What it took is gone at once."""
    spoils: bool = False
    """What it gives has another last byte."""
    largest: int = 1 << 30


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class No(Exception):
    """As skyd says it: a status, and a sentence as JSON."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Portal:
    """Keeps the content of sectors by skylink, and entries by public key and data key, with their signatures.

    *asked*: method and path of every request. What stands in *sectors* and *entries* a test may change.
    """

    def __init__(self, **habits: Any) -> None:
        self.habits = Habits(**habits)
        self.sectors: dict[str, bytes] = {}
        self.entries: dict[tuple[bytes, bytes], tuple[Entry, bytes]] = {}
        self.asked: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> Answer:
        path = urlsplit(url).path
        with self._lock:
            self.asked.append(f"{method} {path}")
            try:
                self._require_key(headers)
                return self._routed(method, path, parse_qs(urlsplit(url).query), headers, body)
            except No as no:
                return Answer(no.status, json.dumps({"message": str(no)}).encode(), JSON)

    def _routed(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: bytes) -> Answer:
        match method, path:
            case "POST", "/skynet/skyfile":
                return self._skyfile(headers["Content-Type"], body)
            case "POST", "/skynet/restore":
                return self._restore(body)
            case "POST", "/skynet/registry":
                return self._set_entry(json.loads(body))
            case "GET", "/skynet/registry":
                return self._get_entry({name: value for name, (value,) in query.items()})
        if method == "GET" and (
            found := re.fullmatch(r"(/skynet/metadata|/skynet/trustless/basesector)?/(.{46})", path)
        ):
            return self._download(found[1], found[2])
        raise No(404, "404 page not found")

    def _require_key(self, headers: Any) -> None:
        if self.habits.key and headers.get("Skynet-Api-Key") != self.habits.key:
            raise No(401, "Unauthorized")

    def _skyfile(self, content_type: str, body: bytes) -> Answer:
        if len(body) > self.habits.largest:
            return Answer(413, b"<html>413 Request Entity Too Large</html>", {"Content-Type": "text/html"})
        name, kind, data = part(content_type, body)
        return self._kept(sector(data, metadata(name, kind, len(data), more=self.habits.writes_more)))

    def _restore(self, body: bytes) -> Answer:
        if not self.habits.takes_sectors:
            raise No(404, "404 page not found")
        header, content = body[:92], body[92:]
        if header[:46] != BACKUP or len(content) != SECTOR:
            raise No(400, "unable to restore skyfile: wrong header")
        answer = self._kept(content)
        if json.loads(answer.body)["skylink"] != header[46:].decode():  # skyd believed it
            raise No(400, "unable to restore skyfile: another skylink")
        return answer

    def _kept(self, content: bytes) -> Answer:
        _, size, about, *_ = LAYOUT.unpack(content[: LAYOUT.size])
        content = content[: LAYOUT.size + about + size]
        root = merkle_root(content)
        link = Skylink(1, root, fetch=fetch_size(len(content)))
        if not self.habits.loses:
            self.sectors[link.text] = content[:-1] + b"?" if self.habits.spoils else content
        bits = int.from_bytes(link.binary[:2], "little")
        said = {"skylink": link.text, "merkleroot": root.hex(), "bitfield": bits}
        return Answer(200, json.dumps(said).encode(), JSON | {"Skynet-Skylink": link.text})

    def _download(self, what: str | None, asked: str) -> Answer:
        link, proof = self._resolved(skylink.parse(asked))
        content = self.sectors.get(link.text)
        if content is None:
            raise No(404, "failed to fetch skylink: root not found")
        headers = {"Skynet-Skylink": link.text, "Skynet-Portal-Api": self.url, "ETag": f'"{link.text}"'}
        headers |= {"Skynet-Proof": json.dumps(proof)} if proof else {}
        _, size, length, *_ = LAYOUT.unpack(content[: LAYOUT.size])
        about = content[LAYOUT.size :][:length]
        if what == "/skynet/metadata":
            return Answer(200, about, JSON | headers)
        if what:
            if not self.habits.gives_sectors:
                raise No(404, "404 page not found")
            return Answer(200, content.ljust(link.fetch, b"\0") + behind(link.fetch), OCTETS | headers)
        [file] = json.loads(about)["subfiles"].values()
        return Answer(200, content[LAYOUT.size + length :][:size], {"Content-Type": file["contenttype"]} | headers)

    def _resolved(self, link: Skylink) -> tuple[Skylink, list[Any]]:
        proof = []
        while link.version == 2:
            ids = [ids for ids in self.entries if registry.resolver(*ids) == link]
            if not ids:
                raise No(404, "registry entry not found")
            proof.append(document(*ids[0], *self.entries[ids[0]]))
            link = self.entries[ids[0]][0].skylink
        return link, proof

    def _get_entry(self, query: dict[str, str]) -> Answer:
        algorithm, _, public = query["publickey"].partition(":")
        ids = bytes.fromhex(public), bytes.fromhex(query["datakey"])
        if algorithm != "ed25519" or not 1 <= int(query["timeout"]) <= 300:
            raise No(400, "Unable to parse publickey or timeout param")
        if ids not in self.entries:
            raise No(404, "unable to read from the registry: registry entry not found")
        return Answer(200, json.dumps(document(*ids, *self.entries[ids])).encode(), JSON)

    def _set_entry(self, said: dict[str, Any]) -> Answer:
        """Of two entries with one revision, that with the smaller hash stays: it has more work in it."""
        public, data, signature = (octets(each) for each in (said["publickey"]["key"], said["data"], said["signature"]))
        key = bytes.fromhex(said["datakey"])
        if len(data) > registry.ROOM:
            raise No(400, f"Registry data is too big: {len(data)} > {registry.ROOM}")
        entry = Entry(data, said["revision"])
        if not signing.verifies(public, entry.digest(key), signature):
            raise No(500, "Unable to update the registry: failed to verify signature of entry: invalid signature")
        old, _ = self.entries.get((public, key), (entry, b""))
        if old.revision > entry.revision:
            raise No(400, "Unable to update the registry: provided revision number is invalid")
        if old.revision == entry.revision and old.digest(key) < entry.digest(key):
            raise No(400, "Unable to update the registry: entry doesn't have enough pow to replace existing entry")
        self.entries[public, key] = entry, signature
        return Answer(204)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        portal = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer goes out as one

            def answer(self) -> None:
                answer = portal.answer(self.command, self.path, self.headers, read_body(self))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None: ...

        return Handler


def read_body(request: BaseHTTPRequestHandler) -> bytes:
    """In pieces, each after its length, where that of the whole is not told."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    pieces = []
    while size := int(request.rfile.readline(), 16):
        pieces.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(pieces)


def part(content_type: str, body: bytes) -> tuple[str, str, bytes]:
    """Name, type and bytes of the one file in a form."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    _, one, end = body.split(b"--" + boundary)
    head, _, data = one.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    said = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    disposition = said["Content-Disposition"]
    if end.strip() != b"--" or 'name="file"' not in disposition or not data.endswith(b"\r\n"):
        raise No(400, "failed parsing multipart request")
    [name] = re.findall(r'filename="([^"]*)"', disposition)
    return name, said.get("Content-Type", ""), data[:-2]


def metadata(name: str, kind: str, size: int, *, more: bool) -> bytes:
    """Of one file, in the order of the fields in skyd; what is empty is left out."""
    file = {"filename": name, "contenttype": kind, "len": size}
    about: dict[str, Any] = {"filename": name, "length": size}
    about["subfiles"] = {name: {field: value for field, value in file.items() if value}}
    about |= {"tryfiles": ["index.html"]} if more else {}
    return json.dumps(about, separators=(",", ":")).encode()


def sector(data: bytes, about: bytes) -> bytes:
    return LAYOUT.pack(1, len(data), len(about), 0, 0, 0, bytes(7) + b"\1", bytes(64)) + about + data


def behind(size: int) -> bytes:
    """The proof that comes after the first *size* bytes of a sector: the roots of the zeros behind, up the tree."""
    leaves, proof, zeros = size // 64, b"", blake2b(b"\0" + bytes(64), digest_size=32).digest()
    for level in range(16):
        if leaves >> level & 1:
            proof += zeros
            leaves += 1 << level
        zeros = blake2b(b"\1" + zeros * 2, digest_size=32).digest()
    return proof


def document(public: bytes, key: bytes, entry: Entry, signature: bytes) -> dict[str, Any]:
    """An entry as portals answer with it."""
    return {
        "data": entry.data.hex(),
        "revision": entry.revision,
        "datakey": key.hex(),
        "publickey": {"algorithm": "ed25519", "key": base64.b64encode(public).decode()},
        "signature": signature.hex(),
        "type": 1,
    }


def octets(said: str | list[int]) -> bytes:
    """Go reads both."""
    return base64.b64decode(said) if isinstance(said, str) else bytes(said)
