"""A second reader, made from docs/format.md alone: it shares no code with the package, and leaves what it can to
the programs `age` and `zstd`. Small, strict, and in no hurry; tests compare it with the first.

    store = SecondReader(folder, words, number=1)
    for digest, manifest in store.manifests().items():
        for source in manifest["sources"]: ...
            for stream in source["streams"]: store.read(manifest, stream)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import subprocess
import tempfile
from itertools import accumulate
from pathlib import Path

from bech32 import bech32_encode, convertbits
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from mnemonic import Mnemonic

SIGNATURE_FRAME = bytes.fromhex("502a4d1860000000")


class Refused(Exception):
    """Bytes are not what the page says they must be."""


def require(condition: object, what: str) -> None:
    if not condition:
        raise Refused(what)


# --- part 2: keys ---


def derived(entropy: bytes, label: str) -> bytes:
    """HKDF-SHA256 of one block (RFC 5869)."""
    extracted = hmac.digest(b"dwebbackup/1", entropy, "sha256")
    return hmac.digest(extracted, label.encode() + b"\1", "sha256")


def verify_key(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def writer_id(key: bytes) -> str:
    return hashlib.sha256(b"dwebbackup/writer/1\0" + key).hexdigest()[:20]


def age_identity(secret: bytes) -> str:
    """As `age -i` takes it."""
    return bech32_encode("age-secret-key-", convertbits(secret, 8, 5)).upper()


# --- parts 4 and 5: age files, frames, signatures, JSON ---


def run(*command: str, given: bytes) -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    require(done.returncode == 0, f"{command[0]}: {done.stderr.decode().strip()}")
    return done.stdout


def decompressed(frames: bytes) -> bytes:
    return run("zstd", "-dc", given=frames)


def verify(key: bytes, kind: str, signed: bytes, signature: bytes) -> None:
    """Raises InvalidSignature."""
    Ed25519PublicKey.from_public_bytes(key).verify(signature, b"dwebbackup/" + kind.encode() + b"/1\0" + signed)


def parsed(kind: str, document: bytes) -> dict:
    """Part 5, JSON; the field's types are left to the first reader."""

    def unique(pairs):
        require(len(dict(pairs)) == len(pairs), "a key stands twice")
        return dict(pairs)

    record = json.loads(document.decode(), object_pairs_hook=unique)
    require((record["format"], record["kind"]) == (1, kind), "another format or kind")
    require(not record.get("critical"), "a critical field")
    return record


class SecondReader:
    """One writer's part of a store that is a folder, read with the owner's words."""

    def __init__(self, folder: Path, words: str, number: int) -> None:
        entropy = bytes(Mnemonic("english").to_entropy(words))
        self.verify_key = verify_key(derived(entropy, f"writer/{number}/sign"))
        self.owner_key = verify_key(derived(entropy, "owner/sign"))
        self.writer = writer_id(self.verify_key)
        self.identity = age_identity(derived(entropy, "owner/age"))
        self.folder = folder / "w" / self.writer

    # --- one object ---

    def fetch(self, name: str, digest: str) -> bytes:
        sealed = (self.folder / name).read_bytes()
        require(hashlib.sha256(sealed).hexdigest() == digest, f"{name} is not what its name says")
        return sealed

    def unsealed(self, sealed: bytes) -> bytes:
        """`age` writes nothing to a pipe before its first chunk holds; we use nothing before all do."""
        with tempfile.NamedTemporaryFile() as key:
            key.write(self.identity.encode())
            key.flush()
            return run("age", "-d", "-i", key.name, given=sealed)

    def record(self, kind: str, name: str, digest: str) -> dict:
        plain = self.unsealed(self.fetch(name, digest))
        require(plain[:8] == SIGNATURE_FRAME, "no signature")
        require(plain[8:40] == self.verify_key, "signed by another")
        verify(self.verify_key, kind, plain[104:], plain[40:104])
        record = parsed(kind, decompressed(plain[104:]))
        require(record["writer"] == self.writer, "of another writer")
        return record

    def line(self, kind: str, key: bytes) -> dict:
        """Part 9: head and genesis."""
        line, signature, end = (self.folder / f"{kind}.json").read_bytes().split(b"\n")
        require(end == b"" and re.fullmatch(rb"[0-9a-f]{128}", signature), "not two lines")
        verify(key, kind, line, bytes.fromhex(signature.decode()))
        return parsed(kind, line)

    # --- the whole ---

    def head(self) -> dict:
        return self.line("head", self.verify_key)

    def genesis(self) -> dict:
        return self.line("genesis", self.owner_key)

    def manifests(self) -> dict[str, dict]:
        """By digest, oldest first."""
        found = {}
        for path in sorted(self.folder.glob("manifests/*")):
            name = re.fullmatch(r"([0-9]{10})-([0-9a-f]{64})\.age", path.name)
            if not name:
                continue
            manifest = self.record("manifest", f"manifests/{path.name}", name[2])
            parents = [parent["sequence"] for parent in manifest.get("parents", [])]
            require(manifest["sequence"] == int(name[1]) == max(parents, default=0) + 1, "out of sequence")
            found[name[2]] = self.whole(manifest)
        return found

    def whole(self, manifest: dict) -> dict:
        """With its streams, wherever they stand."""
        spilled = manifest.get("spilled")
        if spilled:
            streams = self.record("streams", f"indexes/{spilled['sha256']}.age", spilled["sha256"])
            require(streams["run"] == manifest["run"], "streams of another manifest")
            for source, listed in zip(manifest["sources"], streams["sources"], strict=True):
                source["streams"] = listed
        return manifest

    def read(self, manifest: dict, stream: dict) -> bytes:
        """One stream."""
        key = bytes.fromhex(json.loads(decompressed(self.unsealed(base64.b64decode(manifest["sealed"]))))["chunk_key"])
        rows = []
        for ref in manifest["indexes"]:
            index = self.record("index", f"indexes/{ref['sha256']}.age", ref["sha256"])
            rows.append([(pack, row) for pack in index["packs"] for row in range(len(pack["lengths"]))])
        chunks = [self.chunk(*rows[index][row], key) for index, row in self.places(stream["runs"], rows)]
        data = b"".join(chunks)
        require((len(chunks), len(data)) == (stream["chunks"], stream["bytes"]), "another length")
        return data

    @staticmethod
    def places(runs: list[int], rows: list[list]) -> list[tuple[int, int]]:
        """Part 8: (index, row) of each chunk."""
        behind: dict[int, int] = {}
        places = []
        for index, skip, count in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
            first = behind.get(index, 0) + skip
            require(count >= 1 and first >= 0 and first + count <= len(rows[index]), "a run leaves its index")
            places += [(index, row) for row in range(first, first + count)]
            behind[index] = first + count
        return places

    def chunk(self, pack: dict, row: int, key: bytes) -> bytes:
        """Part 7."""
        digest = pack["sha256"]
        plain = self.opened(digest, pack["plain"])
        start = [0, *accumulate(pack["frames"])][row]
        chunk = decompressed(plain[start : start + pack["frames"][row]])
        require(len(chunk) == pack["lengths"][row], "a chunk of another length")
        name = base64.b64decode(pack["names"])[32 * row : 32 * row + 32]
        require(blake3(chunk, key=key).digest() == name, "a chunk of another name")
        return chunk

    def opened(self, digest: str, length: int) -> bytes:
        """A pack's plain inside; the last one is remembered."""
        if getattr(self, "_last", None) != digest:
            self._plain = self.unsealed(self.fetch(f"packs/{digest[:2]}/{digest}.age", digest))
            self._last = digest
        require(len(self._plain) == length, "a pack of another length")
        return self._plain
