"""The rows about stores that are networks: the same backup to an IPFS node and to a portal, beside plain S3.

All servers are the tests', on this machine, and share its cores: so their processor seconds stand beside the time. The
node is made of JavaScript libraries, and the portal is Python; kubo's and skyd's own costs are not known here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.arena import Arena
from bench.contenders import OURS, OURS_S3, Contender, Place
from bench.gateway import gateway
from bench.measure import cost, processor
from bench.portal import portal
from bench.row import Row, alternate
from fix_ipfs import IpfsNode

OURS_IPFS = replace(
    OURS,
    name="dwebbackup to an IPFS node",
    environment={**OURS.environment, "DWEBBACKUP_STORE": "ipfs+http://$NODE/bench"},
)
# A portal keeps no names, so it goes beside a store that does; and so does its peer.
OURS_S3_BESIDE, OURS_PORTAL = (
    replace(
        contender,
        name=f"{contender.name} and a folder",
        environment={**contender.environment, "DWEBBACKUP_STORE": f"file://$FOLDER/stored {store}"},
    )
    for contender, store in (
        (OURS_S3, OURS_S3.environment["DWEBBACKUP_STORE"]),
        (replace(OURS, name="dwebbackup to a portal"), "skynet+$PORTAL"),
    )
)


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one backup took: of wall time, and of the processor's, by us and by the server."""

    seconds: float
    ours: float
    server: float


def networks(arena: Arena) -> Iterator[Row]:
    """First backups, each into an empty store of its kind."""
    if not arena.with_ours:
        return
    turns: defaultdict[Contender, list[_Turn]] = defaultdict(list)

    def backup(contender: Contender) -> float:
        with _place(arena, contender) as (place, served):
            before = served()
            taken = place.backup(cost)
            turns[contender].append(_Turn(taken.seconds, taken.processor, served() - before))
        return taken.seconds

    alternate(arena, [OURS_S3, OURS_IPFS, OURS_S3_BESIDE, OURS_PORTAL], backup)
    yield from _rows("backup to an IPFS node", "the same to S3", turns[OURS_IPFS], turns[OURS_S3])
    yield from _rows("backup to a portal and a folder", "to S3 and a folder", turns[OURS_PORTAL], turns[OURS_S3_BESIDE])


def _rows(what: str, against: str, ours: Sequence[_Turn], theirs: Sequence[_Turn]) -> Iterator[Row]:
    figures: Mapping[str, Callable[[_Turn], float]] = {
        "": lambda turn: turn.seconds,
        ": processor": lambda turn: turn.ours,
        ": the server's processor": lambda turn: turn.server,
    }
    for name, figure in figures.items():
        yield Row(what + name, against, "s", list(map(figure, ours)), list(map(figure, theirs)))


@contextmanager
def _place(arena: Arena, contender: Contender) -> Iterator[tuple[Place, Callable[[], float]]]:
    """Where *contender* works, and how long the server there was busy so far."""
    with _SERVERS[contender]() as (settings, served):
        knows = replace(arena, environment={**arena.environment, **settings})
        with knows.place(contender) as place:
            yield place, served


_Served = tuple[Mapping[str, str], Callable[[], float]]
"""What the contender's own variables need, and the seconds that the server was busy."""


@contextmanager
def _s3() -> Iterator[_Served]:
    with gateway() as behind:
        yield behind.environment, behind.processor


@contextmanager
def _node() -> Iterator[_Served]:
    with TemporaryDirectory(prefix="dwebbackup-bench-") as folder, IpfsNode.running(Path(folder)) as node:
        yield {"NODE": node.address}, lambda: processor(node.process.pid)


@contextmanager
def _portal() -> Iterator[_Served]:
    with portal() as (url, pid):
        yield {"PORTAL": url}, lambda: processor(pid)


_SERVERS = {OURS_S3: _s3, OURS_S3_BESIDE: _s3, OURS_IPFS: _node, OURS_PORTAL: _portal}
