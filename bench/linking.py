"""The rows about links: what it costs to compute the CIDs and the skylinks of all packs of a backup."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b, sha256
from statistics import median

from bench.arena import Arena
from bench.contenders import OURS
from bench.measure import cost
from bench.row import MB, Row
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import cid_of

_Way = Callable[[bytes], object]

_WAYS: dict[str, tuple[_Way, str, _Way]] = {
    "CID": (cid_of, "SHA-256", lambda data: sha256(data).digest()),
    "skylink": (skylink_of, "BLAKE2b", lambda data: blake2b(data).digest()),
}
"""What computes a link; and the hash that it is made of, over the same bytes at once."""


def links(arena: Arena) -> Iterator[Row]:
    """A CID is made of every pack of every backup; a skylink, where a portal gets it."""
    if not arena.with_ours:
        return
    backups: list[float] = []
    busy: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(1, arena.rounds + 1):
        taken, packs = _backup(arena)
        backups.append(taken)
        for link, (way, peer, hashing) in _WAYS.items():
            busy[link].append(_processor(way, packs))
            busy[peer].append(_processor(hashing, packs))
            print(f"  round {number}: {link}s: {busy[link][-1]:.3f} s", file=sys.stderr)
    megabytes = sum(map(len, packs)) / MB
    for link, (_, peer, _) in _WAYS.items():
        what, note = f"{link}s of all packs: processor", f"{megabytes / median(busy[link]):.0f} MB/s of a core"
        yield Row(what, "the full backup to a folder", "s", busy[link], backups, note=note)
        yield Row(what, f"{peer} of the same bytes", "s", busy[link], busy[peer])


def _backup(arena: Arena) -> tuple[float, Sequence[bytes]]:
    """Seconds that a first backup was busy, and the packs that it stored."""
    with arena.place(OURS) as place:
        taken = place.backup(cost)
        return taken.processor, [path.read_bytes() for path in (place.folder / "stored").glob("w/*/packs/*/*.age")]


def _processor(way: _Way, packs: Sequence[bytes]) -> float:
    """Seconds that it takes of one core; what others do on it meanwhile does not count."""
    before = time.thread_time()
    for pack in packs:
        way(pack)
    return time.thread_time() - before
