"""The rows of the table, a function for each group of them: who is measured against whom, and what is the budget."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.arena import Arena
from bench.contenders import BORG, DIRECTORY, NOWHERE, OURS, PIPELINE, RESTIC, Contender
from bench.measure import peak_memory

_MB, _MIB = 1e6, 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. *ours* and *theirs* hold a figure for each round; none where a side did not take part."""

    what: str
    against: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    budget: float | None = None

    @property
    def ratio(self) -> float | None:
        return median(self.ours) / median(self.theirs) if self.ours and self.theirs else None


def full(arena: Arena) -> Iterator[Row]:
    """First backups, each into an empty folder."""
    budgets = {NOWHERE: 1.0, PIPELINE: 0.75, RESTIC: 0.5, BORG: 0.5}
    sizes: dict[Contender, list[float]] = {}

    def backup(contender: Contender) -> float:
        with arena.place(contender) as place:
            seconds = place.backup()
            sizes.setdefault(contender, []).append(place.stored() / _MB)
            return seconds

    times = _alternate(arena, [OURS, *budgets], backup)
    for peer, budget in budgets.items():
        yield Row("full backup", peer.name, "s", times.get(OURS, []), times[peer], budget)
    for peer in (PIPELINE, RESTIC, BORG):
        yield Row("full backup: stored", peer.name, "MB", sizes.get(OURS, []), sizes[peer])


def restore(arena: Arena) -> Iterator[Row]:
    """Everything back into an empty database, indexes and all."""
    peers = {DIRECTORY: ("pg_restore -j2 from a folder", 1.05), RESTIC: ("restic dump | pg_restore", 0.6)}
    with ExitStack() as stack:
        places = {it: stack.enter_context(arena.place(it)) for it in _present(arena, [OURS, *peers])}
        for place in places.values():
            place.backup()

        def bring_back(contender: Contender) -> float:
            arena.clear_target()
            seconds = places[contender].restore()
            arena.check_target()
            return seconds

        times = _alternate(arena, [OURS, *peers], bring_back)
        arena.drop_target()
    for peer, (line, budget) in peers.items():
        yield Row("restore", line, "s", times.get(OURS, []), times[peer], budget)


def memory(arena: Arena) -> Iterator[Row]:
    """The most that all our processes hold at once; the server's are not ours."""
    backups, restores = [], []
    for _ in range(arena.rounds if arena.with_ours else 0):
        with arena.place(OURS) as place:
            backups.append(place.backup(peak_memory) / _MIB)
            arena.clear_target()
            restores.append(place.restore(peak_memory) / _MIB)
            arena.drop_target()
    allowed = 120
    for what, peaks in (("backup", backups), ("restore", restores)):
        yield Row(f"peak memory of a {what}", f"{allowed} MiB", "MiB", peaks and [max(peaks)], [allowed], 1.0)


def unchanged(arena: Arena) -> Iterator[Row]:
    """What a second backup adds when nothing has changed."""
    firsts, seconds = [], []
    if arena.with_ours:
        with arena.place(OURS) as place:
            place.backup()
            firsts.append(place.stored() / _MB)
            place.backup()
            seconds.append(place.stored() / _MB - firsts[0])
    yield Row("second backup, nothing changed: stored", "the first", "MB", seconds, firsts, 0.002)


def changed(arena: Arena) -> Iterator[Row]:
    """What a second backup adds after 1% new rows, and 0.1% of a table changed at random."""
    with ExitStack() as stack:
        places = {it: stack.enter_context(arena.place(it)) for it in _present(arena, [OURS, RESTIC, BORG])}
        for place in places.values():
            place.backup()
        firsts = {it: place.stored() for it, place in places.items()}
        arena.change()
        for place in places.values():
            place.backup()
        added = {it: [(place.stored() - firsts[it]) / _MB] for it, place in places.items()}
    for peer, budget in ((RESTIC, 0.25), (BORG, None)):
        yield Row("second backup, some changed: stored", peer.name, "MB", added.get(OURS, []), added[peer], budget)


GROUPS = {group.__name__: group for group in (full, restore, memory, unchanged, changed)}
"""In this order. What changes the database comes last, so that the others see the same one."""


def _present(arena: Arena, contenders: Sequence[Contender]) -> list[Contender]:
    return [it for it in contenders if it is not OURS or arena.with_ours]


def _alternate(
    arena: Arena, contenders: Sequence[Contender], run: Callable[[Contender], float]
) -> dict[Contender, list[float]]:
    """Give everybody a turn in every round, there and back, so that a machine that slows down does so for all."""
    turns = _present(arena, contenders)
    figures: dict[Contender, list[float]] = {contender: [] for contender in turns}
    for number in range(1, arena.rounds + 1):
        for contender in turns:
            figures[contender].append(run(contender))
            print(f"  round {number}: {contender.name}: {figures[contender][-1]:.2f} s", file=sys.stderr)
        turns.reverse()
    return figures
