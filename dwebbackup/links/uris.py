"""Links as they are written down: `ipfs://<cid>` and `sia://<skylink>`, which lead everybody to the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from dwebbackup.errors import WrongConfiguration
from dwebbackup.links import cid as cids
from dwebbackup.links.cid import Cid
from dwebbackup.links.unixfs import Bytes, cid_of

IPFS, SIA = "ipfs://", "sia://"


def ipfs_link(data: Bytes) -> str:
    """Of a file that holds *data*."""
    return IPFS + cid_of(data).text


def content_links(data: Bytes, answered: Iterable[str]) -> tuple[str, ...]:
    """What is written down of *data*: its CID as we compute it, and what else stores *answered* that names no place."""
    found = (link for link in answered if link.startswith((IPFS, SIA)))
    return tuple(dict.fromkeys((ipfs_link(data), *found)))


def cids_in(links: Iterable[str]) -> Sequence[Cid]:
    """Those of the links that lead to IPFS. What is no CID was written down by somebody else, and is passed over."""
    found: list[Cid] = []
    for link in links:
        if link.startswith(IPFS):
            with suppress(WrongConfiguration):
                found.append(cids.parse(link.removeprefix(IPFS)))
    return found
