"""An IPFS gateway that nobody need trust: a file's blocks, in one answer or one by one, each hashed."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from dwebbackup import stores
from dwebbackup.errors import Damaged, ObjectMissing, WrongConfiguration
from dwebbackup.links import car, cid, dag
from dwebbackup.links.cid import Cid, Codec
from dwebbackup.links.unixfs import profiles_of
from dwebbackup.links.uris import IPFS
from dwebbackup.stores.web import Answer, Endless, Web

USUAL = 5 * 1024 * 1024
"""Bytes of an answer that any number of threads may read at once: a pack has 4 MiB."""

OVERHEAD = 1024 * 1024
"""Bytes of nodes and CIDs round the largest object, at most."""

_NOT_HERE = {404, 410, 451, 504}
"""Not by this one, not now. 504: it asked the network, and nobody answered it in time."""

_NOT_SO = {400, 406, 415, 501}
"""What those answer that do not know the format."""

_CAR = "application/vnd.ipld.car"
_RAW = "application/vnd.ipld.raw"
_IN_ONE = {"format": "car", "dag-scope": "all", "car-order": "dfs", "car-dups": "y"}


class Gateway:
    """The gateway at *base* as a `Carrier` of `ipfs://` links. *ca*: as for `Web`."""

    def __init__(self, base: str, *, timeout: float = 60.0, ca: str = "", web: Web | None = None) -> None:
        self._web = web or Web(re.sub(r"/ipfs/?$", "", base), timeout=timeout, ca=ca)
        self._knows_car = True
        self._one_large = threading.Lock()

    @property
    def name(self) -> str:
        return self._web.host

    def carries(self, link: str) -> bool:
        return link.startswith(IPFS)

    def fetch(self, link: str) -> bytes:
        """As the port says."""
        root = _cid_in(link)
        file = _Fetch(self, root)
        return file.whole()

    def block(self, wanted: Cid) -> bytes:
        """As it came; whoever asks looks whether it fits. Raises `ObjectMissing`, `StoreUnreachable`, `TooLarge`."""
        return self._ask(wanted, {"format": "raw"}, _RAW, ()).body

    def car(self, wanted: Cid) -> Answer | None:
        """What the gateway gives for all blocks in one; None where it does not do that. Raises as `block` does."""
        if not self._knows_car:
            return None
        answer = self._ask(wanted, _IN_ONE, f"{_CAR}; version=1; order=dfs; dups=y", _NOT_SO)
        self._knows_car = answer.status == 200 and answer.content_type == _CAR
        return answer if answer.status == 200 else None

    def _ask(self, wanted: Cid, params: Mapping[str, str], accept: str, expect: Collection[int]) -> Answer:
        path, headers, expected = f"/ipfs/{wanted.text}", {"Accept": accept}, {200, *_NOT_HERE, *expect}
        try:
            answer = self._web.ask("GET", path, params=params, headers=headers, limit=USUAL, expect=expected)
        except Endless:
            answer = self._large(path, params, headers, expected)
        if answer.status in _NOT_HERE:
            raise ObjectMissing(f"{self.name} does not have {wanted.text} now", "another gateway may have it")
        return answer
