"""The usual rows of the table, a function for each group: who is measured against whom, and what is the budget."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from bench.arena import Arena
from bench.contenders import BORG, DIRECTORY, NOWHERE, OURS, PIPELINE, RESTIC, Contender, Meter
from bench.measure import Cost, cost, seconds
from bench.row import MB, MIB, Row, alternate, present


def full(arena: Arena) -> Iterator[Row]:
    """First backups, each into an empty folder."""
    budgets = {NOWHERE: 1.0, PIPELINE: 0.75, RESTIC: 0.5, BORG: 0.5}
    sizes: dict[Contender, list[float]] = {}

    def backup(contender: Contender) -> float:
        with arena.place(contender) as place:
            taken = place.backup(seconds)
            sizes.setdefault(contender, []).append(place.stored() / MB)
            return taken

    times = alternate(arena, [OURS, *budgets], backup)
    for peer, budget in budgets.items():
        yield Row("full backup", peer.name, "s", times.get(OURS, []), times[peer], budget)
    for peer in (PIPELINE, RESTIC, BORG):
        yield Row("full backup: stored", peer.name, "MB", sizes.get(OURS, []), sizes[peer])


def restore(arena: Arena) -> Iterator[Row]:
    """Everything back into an empty database, indexes and all."""
    peers = {DIRECTORY: ("pg_restore -j2 from a folder", 1.05), RESTIC: ("restic dump | pg_restore", 0.6)}
    with ExitStack() as stack:
        places = {it: stack.enter_context(arena.place(it)) for it in present(arena, [OURS, *peers])}
        for place in places.values():
            place.backup(seconds)

        def bring_back(contender: Contender) -> float:
            arena.clear_target()
            taken = places[contender].restore(seconds)
            arena.check_target()
            return taken

        times = alternate(arena, [OURS, *peers], bring_back)
        arena.drop_target()
    for peer, (line, budget) in peers.items():
        yield Row("restore", line, "s", times.get(OURS, []), times[peer], budget)


def memory(arena: Arena, contender: Contender = OURS, where: str = "") -> Iterator[Row]:
    """The most that all our processes hold at once; the server's are not ours."""
    peaks: dict[str, list[float]] = {f"backup{where}": [], f"restore{where}": []}

    def look(what: str, run: Callable[[Meter[Cost]], Cost]) -> None:
        taken = run(lambda line, environment: cost(line, environment, memory=True))
        peaks[what + where].append(taken.memory / MIB)
        print(f"  {what}{where}: {taken.memory / MIB:.0f} MiB, {taken.seconds:.2f} s", file=sys.stderr)

    for _ in range(arena.rounds if arena.with_ours else 0):
        with arena.place(contender) as place:
            look("backup", place.backup)
            arena.clear_target()
            look("restore", place.restore)
            arena.drop_target()
    allowed = 120
    for what, found in peaks.items():
        yield Row(f"peak memory of a {what}", f"{allowed} MiB", "MiB", found and [max(found)], [allowed], 1.0)


def unchanged(arena: Arena) -> Iterator[Row]:
    """What a second backup adds when nothing has changed."""
    firsts, added = [], []
    if arena.with_ours:
        with arena.place(OURS) as place:
            place.backup(seconds)
            firsts.append(place.stored() / MB)
            place.backup(seconds)
            added.append(place.stored() / MB - firsts[0])
    yield Row("second backup, nothing changed: stored", "the first", "MB", added, firsts, 0.002)


def changed(arena: Arena) -> Iterator[Row]:
    """What a second backup adds after 1% new rows, and 0.1% of a table changed at random."""
    with ExitStack() as stack:
        places = {it: stack.enter_context(arena.place(it)) for it in present(arena, [OURS, RESTIC, BORG])}
        for place in places.values():
            place.backup(seconds)
        firsts = {it: place.stored() for it, place in places.items()}
        arena.change()
        for place in places.values():
            place.backup(seconds)
        added = {it: [(place.stored() - firsts[it]) / MB] for it, place in places.items()}
    for peer, budget in ((RESTIC, 0.25), (BORG, None)):
        yield Row("second backup, some changed: stored", peer.name, "MB", added.get(OURS, []), added[peer], budget)
