"""An IPFS node for tests, of Helia's parts (.ci/ipfs-node): kubo's RPC on one port, a trustless gateway on another."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import pytest

from dwebbackup.links import cid as cids
from dwebbackup.links.alphabets import BASE32
from dwebbackup.links.cid import Cid, Codec

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class IpfsNode:
    """One that runs. It has no peers: what it does not have, nobody has."""

    rpc: str
    """Where it takes kubo's commands: `http://127.0.0.1:PORT`."""
    gateway: str
    """Where it gives blocks and records to anybody."""
    folder: Path
    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *, rpc_port: int = 0, gateway_port: int = 0) -> Iterator[Self]:
        """With what *folder* has from before, on ports that are free, or these. Everything it keeps is in there."""
        node = shutil.which("node") or pytest.fail("the program `node` is missing: .ci/system-packages test")
        program = [node, _program() / "node.mjs", folder, f"--port={rpc_port}", f"--gateway-port={gateway_port}"]
        pipe = subprocess.PIPE
        with subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                said = process.stdout.readline() if process.stdout else ""
                assert said, "the IPFS node did not start"
                urls = json.loads(said)
                yield cls(urls["rpc"], urls["gateway"], folder, process)
            finally:
                process.kill()  # it ends by itself, too, when nobody holds its stdin

    @property
    def address(self) -> str:
        """Host and port of the RPC, as a store's URL has it."""
        return urlsplit(self.rpc).netloc

    @property
    def blocks_dir(self) -> Path:
        """One file a block."""
        return self.folder / "blocks"

    def ask(self, command: str, *args: str, **options: str) -> bytes:
        """What a command of kubo's without a file answers; `_` in an option's name stands for `-`."""
        query = [("arg", arg) for arg in args] + [(name.replace("_", "-"), value) for name, value in options.items()]
        url = f"{self.rpc}/api/v0/{command}?{urlencode(query)}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
            return bytes(answer.read())

    def add(self, data: bytes, **options: str) -> str:
        """Somebody else adds a file; gives its CID, by kubo's defaults where no option says otherwise."""
        url = f"{self.rpc}/api/v0/add?{urlencode({k.replace('_', '-'): v for k, v in options.items()})}"
        boundary = secrets.token_hex(16)  # node looks for it without what has to stand before it
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(url, head + data + f"\r\n--{boundary}--\r\n".encode(), headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            return str(json.loads(answer.read())["Hash"])

    def cids(self) -> set[str]:
        """Of all its blocks, each as if it were a raw one: the files do not say what they are."""
        return {Cid(1, Codec.RAW, _hash(path)).text for path in self.blocks_dir.rglob("*.data")}

    def has(self, cid: str) -> bool:
        """Whether it has this very block, of whatever kind."""
        return bool(self._files(cid))

    def forget(self, cid: str) -> None:
        """It loses this very block, as a broken disk does; what needs it stays, and so do pins."""
        lost = self._files(cid)
        assert lost, f"the node has no block {cid}"
        for path in lost:
            path.unlink()

    def _files(self, cid: str) -> list[Path]:
        wanted = cids.parse(cid).hash
        return [path for path in self.blocks_dir.rglob("*.data") if _hash(path) == wanted]

    def pinned(self) -> set[str]:
        return set(json.loads(self.ask("pin/ls"))["Keys"])

    def names(self, folder: str = "/") -> list[str]:
        """What stands in a folder of its MFS, sorted."""
        entries: list[dict[str, Any]] = json.loads(self.ask("files/ls", folder))["Entries"] or []
        return sorted(entry["Name"] for entry in entries)

    def collect_garbage(self) -> None:
        """Removes what no pin and nothing in MFS needs."""
        self.ask("repo/gc")

    def wipe(self) -> None:
        """It loses everything but IPNS records: names, pins, and then the blocks."""
        for name in self.names():
            self.ask("files/rm", f"/{name}", force="true")
        for cid in self.pinned():
            self.ask("pin/rm", cid)
        self.collect_garbage()


def _hash(path: Path) -> bytes:
    """A block's file is called after its hash, whatever kind of block it is: B, and base32."""
    return BASE32.decode(path.stem[1:].lower())


@cache
def _program() -> Path:
    done = subprocess.run([ROOT / ".ci" / "npm-folder", "ipfs-node"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def ipfs_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpfsNode]:
    """One for all tests of a worker: what they put there, they put under names of their own."""
    with IpfsNode.running(tmp_path_factory.mktemp("ipfs-node")) as node:
        yield node
