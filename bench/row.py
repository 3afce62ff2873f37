"""One line of the table, and giving every contender its turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.arena import Arena
from bench.contenders import Contender

MB, MIB = 1e6, 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. *ours* and *theirs* hold a figure for each round; none where a side did not take part."""

    what: str
    against: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    budget: float | None = None
    note: str = ""
    """What the figures do not say."""

    @property
    def ratio(self) -> float | None:
        return median(self.ours) / median(self.theirs) if self.ours and self.theirs else None


def present(arena: Arena, contenders: Sequence[Contender]) -> list[Contender]:
    """Those that take part in this run."""
    return [it for it in contenders if arena.with_ours or not it.is_ours]


def alternate(
    arena: Arena, contenders: Sequence[Contender], run: Callable[[Contender], float]
) -> dict[Contender, list[float]]:
    """Give everybody a turn in every round, there and back, so that a machine that slows down does so for all.

    *run* gives the seconds that its contender took.
    """
    turns = present(arena, contenders)
    figures: dict[Contender, list[float]] = {contender: [] for contender in turns}
    for number in range(1, arena.rounds + 1):
        for contender in turns:
            figures[contender].append(run(contender))
            print(f"  round {number}: {contender.name}: {figures[contender][-1]:.2f} s", file=sys.stderr)
        turns.reverse()
    return figures
