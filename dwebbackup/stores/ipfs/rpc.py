"""What an IPFS node is told to do, by the RPC that kubo, js-ipfs and some services have in common; and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from dwebbackup.errors import StoreUnreachable, WrongConfiguration
from dwebbackup.links import cid as cids
from dwebbackup.links.cid import Cid
from dwebbackup.links.unixfs import V1_2025
from dwebbackup.stores import NO_END, Refused, Waiting
from dwebbackup.stores.ipfs.address import Address
from dwebbackup.stores.web import Answer, Web

_LARGEST = 64 * 1024 * 1024
"""Bytes of an answer that is no object, at most: a folder of several hundred thousand names."""

_LARGEST_COMPLAINT = 64 * 1024
"""... of one that says why there is none."""

_FORM = {
    "cid-version": str(V1_2025.version),
    "raw-leaves": "true" if V1_2025.raw_leaves else "false",
    "chunker": f"size-{V1_2025.chunk}",
    "max-file-links": str(V1_2025.width),
    "hash": "sha2-256",
    "trickle": "false",
    "inline": "false",
}
"""All that a file's CID depends on, so that the node's own settings do not count."""

_NO_ROOM = ("no space left on device", "quota exceeded", "storage limit exceeded")
_NOT_RPC = "kubo's RPC is at port 5001, and its gateway, which is something else, at 8080"


class NodeError(StoreUnreachable):
    """The node says that it could not; *said* is what it said."""

    def __init__(self, message: str, said: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.said = said

    @property
    def is_missing(self) -> bool:
        """Whether it says that there is no such file or folder."""
        return self.said.endswith("does not exist")

    @property
    def is_taken(self) -> bool:
        """Whether it says that something has this name already."""
        return "already has entry by that name" in self.said

    @property
    def is_lost(self) -> bool:
        """Whether it says that it does not have the block, and asked nobody else."""
        return "not found locally" in self.said or "could not find" in self.said or self.said.endswith("not found")

    @property
    def is_unknown_record(self) -> bool:
        """Whether it says that nobody has a record of this name."""
        return self.said.endswith("routing: not found")

    @property
    def is_not_pinned(self) -> bool:
        return "not pinned" in self.said


class Rpc:
    """The node behind *web*. Safe for several threads; raises `StoreUnreachable`, `NodeError` among others."""

    def __init__(self, web: Web) -> None:
        self._web = web

    @property
    def host(self) -> str:
        return self._web.host

    def version(self) -> str:
        """Raises `Refused` for what is no IPFS node, or not its RPC."""
        said = self._document(self._ask("version", (), {})).get("Version")
        if not isinstance(said, str):
            raise self._not_rpc("something else than its version")
        return said

    def add(self, data: bytes) -> tuple[Cid, float]:
        """Keep a file with *data*, pinned; gives the CID that the node says it has, and the time by its clock."""
        options = {**_FORM, "pin": "true", "progress": "false", "wrap-with-directory": "false"}
        answer = self._ask("add", (), options, data)
        said = self._last(answer).get("Hash")
        try:
            return cids.parse(str(said)), self._time(answer)
        except WrongConfiguration as error:
            raise self._not_rpc(f"no CID: {error}") from error

    def cat(self, cid: Cid, limit: int) -> bytes:
        """A file's bytes, or less, if the node itself has them. Raises `Endless` for far more than *limit*."""
        limit = max(limit, _LARGEST_COMPLAINT)
        return self._ask("cat", (f"/ipfs/{cid.text}",), {"offline": "true"}, limit=limit).body

    def unpin(self, cid: Cid) -> None:
        """Once or again."""
        try:
            self._ask("pin/rm", (f"/ipfs/{cid.text}",), {"offline": "true"})
        except NodeError as error:
            if not error.is_not_pinned:
                raise

    def names(self, folder: str) -> Sequence[str]:
        """What stands in a folder of MFS; nothing of what these are is looked at."""
        said = self._document(self._ask("files/ls", (folder,), {"long": "false"}))
        try:
            found = [entry["Name"] for entry in said["Entries"] or ()]
        except (TypeError, LookupError) as error:
            raise self._not_rpc("a listing of something else") from error
        if not all(isinstance(name, str) for name in found):
            raise self._not_rpc("a listing of something else")
        return found

    def is_folder(self, path: str) -> bool:
        """Whether what stands at *path* in MFS is a folder. Raises a `NodeError` that says that nothing does."""
        return self._document(self._ask("files/stat", (path,), {})).get("Type") == "directory"

    def make_folder(self, path: str) -> None:
        """Once or again, with those above it."""
        self._ask("files/mkdir", (path,), {"parents": "true"})

    def link(self, cid: Cid, path: str) -> None:
        """Give a file that the node has a name in MFS. Raises a `NodeError` that says that the name is taken."""
        self._ask("files/cp", (f"/ipfs/{cid.text}", path), {"parents": "true", "offline": "true"})

    def unlink(self, path: str) -> None:
        """Take a name away, once or again, whether or not the node still has what it is of."""
        try:
            self._ask("files/rm", (path,), {"force": "true"})
        except NodeError as error:
            if not error.is_missing:
                raise

    def put_record(self, ipns_name: str, record: bytes) -> None:
        options = {"allow-offline": "true"}
        self._ask("routing/put", (f"/ipns/{ipns_name}",), options, record)

    def get_record(self, ipns_name: str) -> Mapping[str, Any]:
        """An event of kubo's; what the record is stands in its `Extra`."""
        return self._last(self._ask("routing/get", (f"/ipns/{ipns_name}",), {}))

    # Asking

    def _ask(
        self,
        command: str,
        args: Sequence[str],
        options: Mapping[str, str],
        data: bytes | None = None,
        limit: int = _LARGEST,
    ) -> Answer:
        params = {"arg": list(args), **options}
        files = None if data is None else {"file": ("object", data, "application/octet-stream")}
        expect = (200, 400, 404, 405, 500, 501)
        answer = self._web.ask("POST", f"/api/v0/{command}", params=params, files=files, limit=limit, expect=expect)
        if answer.status != 200:
            raise self._told(command, answer)
        return answer

    def _told(self, command: str, answer: Answer) -> StoreUnreachable:
        try:
            said = json.loads(answer.body)["Message"]
        except (ValueError, TypeError, LookupError, RecursionError):
            said = None
        if not isinstance(said, str):
            if answer.status >= 500:
                return StoreUnreachable(f"{self.host} answered {command} with HTTP status {answer.status}")
            return self._not_rpc(f"HTTP status {answer.status}")
        text = "".join(each if each.isprintable() else "?" for each in said)[:300]
        message = f"the IPFS node {self.host} cannot {command}: {text}"
        if any(each in said.lower() for each in _NO_ROOM):
            return Refused(
                message, "make room on the node, or raise its quota (kubo: Datastore.StorageMax, `ipfs repo gc`)"
            )
        if answer.status < 500:
            return Refused(message)
        return NodeError(message, said.strip())

    def _document(self, answer: Answer) -> Mapping[str, Any]:
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._not_rpc("something that is no JSON")
        return found

    def _last(self, answer: Answer) -> Mapping[str, Any]:
        """Of several documents, one a line, the one that counts."""
        line = answer.body.strip().rpartition(b"\n")[2]
        return self._document(Answer(answer.status, answer.headers, line))

    def _time(self, answer: Answer) -> float:
        try:
            return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except ValueError as error:
            raise Refused(
                f"{self.host} does not say what time it is, and ages are told by its clock",
                "let what stands before it pass the header Date on",
            ) from error

    def _not_rpc(self, said: str) -> Refused:
        return Refused(f"{self.host} is not the RPC of an IPFS node: it answers {said}", _NOT_RPC)


def rpc_at(address: Address, token: str = "", waiting: Waiting = NO_END) -> Rpc:
    """The node at *address*. *token*: what the server before it wants to see."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Rpc(Web(address.base, timeout=address.timeout, ca=address.ca, headers=headers, waiting=waiting))
