"""An IPFS gateway that nobody need trust: a file's blocks, in one answer or one by one, each hashed."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from dwebbackup import stores
from dwebbackup.errors import Damaged, ObjectMissing, WrongConfiguration
from dwebbackup.links import car, cid, dag
from dwebbackup.links.cid import Cid, Codec
from dwebbackup.links.unixfs import profiles_of
from dwebbackup.links.uris import IPFS
from dwebbackup.stores.web import Answer, BrokenOff, Endless, Web

USUAL = 5 * 1024 * 1024
"""Bytes of an answer that any number of threads may read at once: a pack has 4 MiB."""

OVERHEAD = 1024 * 1024
"""Bytes of nodes and CIDs beside those of the largest object, at most."""

_NOT_HERE = {404, 410, 451, 504}
"""Not by this one, not now. 504: it asked the network, and nobody had answered it after a while."""

_NOT_SO = {400, 406, 415, 501}
"""What those answer that do not know the format."""

_CAR = "application/vnd.ipld.car"
_RAW = "application/vnd.ipld.raw"
_IN_ONE = {"format": "car", "dag-scope": "all", "car-version": "1", "car-order": "dfs", "car-dups": "y"}


class Gateway:
    """The gateway at *base* as a `Carrier` of `ipfs://` links.

    A CAR that is too short is completed block by block; where the gateway makes none, all blocks come like that. One
    that heeds no format and gives the file itself will do, too, if the file was cut in a way that we know.
    """

    def __init__(
        self, base: str, *, timeout: float = 60.0, ca: str = "", waiting: stores.Waiting = stores.NO_END
    ) -> None:
        self._web = Web(re.sub(r"/ipfs/?$", "", base), timeout=timeout, ca=ca, waiting=waiting)
        self._makes_cars = True
        self._one_large = threading.Lock()

    @property
    def name(self) -> str:
        return self._web.host

    def carries(self, link: str) -> bool:
        return link.startswith(IPFS)

    def fetch(self, link: str) -> bytes:
        """As the port says. An object larger than any of ours is `TooLarge`."""
        root = _cid_in(link)
        with self._telling():
            is_node = root.codec is Codec.DAG_PB and root.inline is None
            found = self._in_one(root) if is_node and self._makes_cars else {}
            if isinstance(found, bytes):
                return found

            def block_of(wanted: Cid) -> dag.Block:
                block = found.get(wanted.hash)
                return self._block(wanted) if block is None else block

            return dag.file_of(root, block_of, stores.LARGEST)

    def _in_one(self, root: Cid) -> bytes | Mapping[bytes, memoryview]:
        """The blocks below *root*, as far as they come in one answer; or the file itself."""
        try:
            answer = self._ask(root, _IN_ONE, f"{_CAR}; version=1; order=dfs; dups=y", _NOT_SO)
        except BrokenOff as error:  # as it does where the gateway lacks a block: which one, the others will tell
            answer = error.answer
        if answer.status in _NOT_SO:
            self._makes_cars = False
            return {}
        if answer.content_type == _CAR:
            return car.read(answer.body).blocks
        return answer.body if profiles_of(answer.body, root) else {}

    def _block(self, wanted: Cid) -> bytes:
        block = self._ask(wanted, {"format": "raw"}, _RAW).body
        if not wanted.fits(block):
            raise Damaged(f"it gives other bytes than those of {wanted.text}")
        return block

    def _ask(self, wanted: Cid, params: Mapping[str, str], accept: str, also: Collection[int] = ()) -> Answer:
        """Raises `ObjectMissing`, `StoreUnreachable`, `TooLarge`."""
        path, headers, expect = f"/ipfs/{wanted.text}", {"Accept": accept}, {200, *_NOT_HERE, *also}
        try:
            answer = self._web.ask("GET", path, params=params, headers=headers, limit=USUAL, expect=expect)
        except Endless:
            with self._one_large:  # so that several at once do not fill the memory
                limit = stores.LARGEST + OVERHEAD
                answer = self._web.ask("GET", path, params=params, headers=headers, limit=limit, expect=expect)
        if answer.status in _NOT_HERE:
            raise ObjectMissing(f"{self.name} does not have {wanted.text} now", "another gateway may have it")
        return answer

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What is wrong with its blocks, with its name; and what it goes on sending for ever is damaged, too."""
        try:
            yield
        except ObjectMissing:
            raise
        except Damaged as error:
            raise Damaged(f"gateway {self.name}: {error}", "another gateway may have it as it was") from error
        except Endless as error:
            raise stores.TooLarge(str(error), "another gateway may have it as it was") from error


def _cid_in(link: str) -> Cid:
    if not link.startswith(IPFS):
        raise WrongConfiguration(f"{link[:100]!r} is no link to IPFS", f"it begins with {IPFS}")
    root = cid.parse(link.removeprefix(IPFS))
    if root.codec not in (Codec.RAW, Codec.DAG_PB):
        raise WrongConfiguration(f"{link} is the name of a key, not of a file", "ipns:// stands before such a name")
    return root
