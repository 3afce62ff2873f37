"""The rows through S3. The gateway shares the cores with everybody: so processor seconds stand beside the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench.arena import Arena
from bench.contenders import OURS, OURS_S3, RESTIC_S3, Contender, Meter, Place
from bench.gateway import Gateway, gateway
from bench.measure import Cost, cost
from bench.row import Row, alternate
from bench.rows import memory


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one way took: of wall time, and of the processor's, by the client and by the gateway."""

    seconds: float
    client: float
    gateway: float


_Turns = Mapping[Contender, Sequence[_Turn]]


def s3(arena: Arena) -> Iterator[Row]:
    """First backups into an empty bucket, and back; ours also beside a folder."""
    backups: defaultdict[Contender, list[_Turn]] = defaultdict(list)
    restores: defaultdict[Contender, list[_Turn]] = defaultdict(list)

    def there_and_back(contender: Contender) -> float:
        with _place(arena, contender) as (place, served):
            backups[contender].append(_turn(place.backup, served))
            arena.clear_target()
            restores[contender].append(_turn(place.restore, served))
            arena.check_target()
            arena.drop_target()
        return backups[contender][-1].seconds + restores[contender][-1].seconds

    alternate(arena, [OURS, OURS_S3, RESTIC_S3], there_and_back)
    yield from _rows("backup to S3", RESTIC_S3.name, backups)
    yield from _rows("restore from S3", "restic dump | pg_restore", restores)
    with gateway() as behind:
        yield from memory(_with_bucket(arena, behind), OURS_S3, ", S3")


def _turn(run: Callable[[Meter[Cost]], Cost], served: Callable[[], float]) -> _Turn:
    before = served()
    taken = run(cost)
    return _Turn(taken.seconds, taken.processor, served() - before)


def _rows(what: str, peer: str, turns: _Turns) -> Iterator[Row]:
    def row(name: str, against: str, their: Contender, figure: Callable[[_Turn], float]) -> Row:
        ours, theirs = ([figure(turn) for turn in turns.get(it, ())] for it in (OURS_S3, their))
        return Row(what + name, against, "s", ours, theirs)

    yield row("", "the same with a folder", OURS, lambda turn: turn.seconds)
    yield row("", peer, RESTIC_S3, lambda turn: turn.seconds)
    yield row(": processor", "the same with a folder", OURS, lambda turn: turn.client)
    yield row(": processor", peer, RESTIC_S3, lambda turn: turn.client)
    yield row(": the gateway's processor", peer, RESTIC_S3, lambda turn: turn.gateway)


@contextmanager
def _place(arena: Arena, contender: Contender) -> Iterator[tuple[Place, Callable[[], float]]]:
    """Where *contender* works, and how long somebody else's processes were busy for it so far."""
    if contender is OURS:
        with arena.place(contender) as place:
            yield place, lambda: 0.0
        return
    with gateway() as behind, _with_bucket(arena, behind).place(contender) as place:
        yield place, behind.processor


def _with_bucket(arena: Arena, behind: Gateway) -> Arena:
    return replace(arena, environment={**arena.environment, **behind.environment})
