"""The rows of a small machine: backups that get half a core and 256 MiB, while the database answers queries."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import quantiles

from bench.arena import Arena
from bench.cage import Cage, cage
from bench.contenders import CUSTOM, IDLE, OURS, Contender, Place
from bench.measure import LineFailed, cost
from bench.queries import RATE, Queries, queries
from bench.row import MIB, Row, alternate

CORES, MEMORY = 0.5, 256 * 2**20
_PERCENTILES = {"median": 50, "95%": 95, "99%": 99}


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of one contender, a figure for each round."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    latencies: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)


def small(arena: Arena) -> Iterator[Row]:
    """Whether a backup gets done, what it holds, and what it does to an app's queries."""
    seen: defaultdict[Contender, _Seen] = defaultdict(_Seen)

    def backup(contender: Contender) -> float:
        with arena.place(contender) as place, queries(arena) as load, cage(CORES, MEMORY) as limits:
            return _backup(place, load, limits, seen[contender])

    alternate(arena, [IDLE, OURS, CUSTOM], backup)
    yield from _rows(seen[OURS], seen[CUSTOM], seen[IDLE])


def _backup(place: Place, load: Queries, limits: Cage, seen: _Seen) -> float:
    os.sync()  # before the time in question
    name, began = place.contender.name, time.time()
    try:
        taken = place.backup(lambda line, environment: cost(limits.inside(line), environment, memory=True))
    except LineFailed as failed:
        print(failed, file=sys.stderr)
        seen.notes.append(f"{name} failed: exit status {failed.status}, {limits.killed()} processes killed for memory")
    else:
        seen.seconds.append(taken.seconds)
        seen.memory.append(taken.memory / MIB)
    ended = time.time()
    latencies = load.latencies(began, ended)
    due = RATE * max(0.0, ended - began - 1)  # the last ones may not be in the log yet
    if len(latencies) < 0.9 * due:
        seen.notes.append(f"{name}: {len(latencies)} of {due:.0f} queries were answered")
    if len(latencies) >= 100:  # of fewer there is no such thing as the slowest hundredth
        cuts = quantiles(latencies, n=100)
        for which, percent in _PERCENTILES.items():
            seen.latencies[which].append(cuts[percent - 1])
    return ended - began


def _rows(ours: _Seen, theirs: _Seen, idle: _Seen) -> Iterator[Row]:
    limits = f"{CORES} cores, {MEMORY // 2**20} MiB"
    note = "; ".join(ours.notes + theirs.notes + idle.notes)
    yield Row(f"backup with {limits}", CUSTOM.name, "s", ours.seconds, theirs.seconds, note=note)
    yield Row(f"peak memory with {limits}", CUSTOM.name, "MiB", ours.memory, theirs.memory)
    for name in _PERCENTILES:
        for peer, side in ((IDLE, idle), (CUSTOM, theirs)):
            yield Row(f"a query meanwhile, {name}", peer.name, "ms", ours.latencies[name], side.latencies[name])
