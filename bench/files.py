"""A folder of 100,000 small files and a few large ones, backed up twice: beside restic and Borg, which were made for it."""

from __future__ import annotations

import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import contenders
from bench.arena import Arena
from bench.contenders import BORG, OURS, RESTIC, Contender
from bench.measure import cost
from bench.row import MB, MIB, Row, alternate

SMALL, LARGE = 100_000, 3
"""Files at scale 1."""

OURS_FILES = replace(OURS, environment={**OURS.environment, "DWEBBACKUP_SOURCE": "files://$TREE"})
RESTIC_FILES = replace(RESTIC, name="restic", backup="restic backup --quiet $TREE")
BORG_FILES = replace(BORG, name="borg", backup="borg create ::{utcnow:%H.%M.%S.%f} $TREE")

_FIRST, _SECOND = "files, first backup", "files, second backup, nothing changed"


def files(arena: Arena) -> Iterator[Row]:
    """Each round: a first backup, and a second one of the same folder."""
    peers = (RESTIC_FILES, BORG_FILES)
    found: dict[tuple[str, str, Contender], list[float]] = defaultdict(list)
    with _tree(arena.scale) as tree:

        def twice(contender: Contender) -> float:
            with contenders.place(contender, {**arena.environment, "TREE": str(tree)}) as place:
                for what in (_FIRST, _SECOND):
                    taken = place.backup(cost)
                    found[what, "s", contender].append(taken.seconds)
                    found[what, "s of processor", contender].append(taken.processor)
                    found[what, "MB stored", contender].append(place.stored() / MB)
                return found[_FIRST, "s", contender][-1] + found[_SECOND, "s", contender][-1]

        alternate(arena, [OURS_FILES, *peers], twice)
    for what in (_FIRST, _SECOND):
        for unit, budget in (("s", 1.2), ("s of processor", None), ("MB stored", None)):
            for peer in peers:
                ours, theirs = found[what, unit, OURS_FILES], found[what, unit, peer]
                yield Row(what, peer.name, unit, ours, theirs, budget)


@contextmanager
def _tree(scale: float) -> Iterator[Path]:
    """Text and what does not compress, a few KiB each; and large files of 64 MiB. The same in every run."""
    print("  filling the folder", file=sys.stderr)
    chance = random.Random(20261121)
    words = [chance.randbytes(6).hex() for _ in range(3000)]
    with tempfile.TemporaryDirectory(prefix="dwebbackup-bench-") as name:
        top = Path(name) / "tree"
        for number in range(int(SMALL * scale)):
            folder = top / f"{number % 50:02}" / f"{number // 50 % 40:02}"
            folder.mkdir(parents=True, exist_ok=True)
            size = int(chance.lognormvariate(7.8, 1.2))
            text = " ".join(chance.choices(words, k=size // 13 + 1))[:size].encode()
            (folder / f"{number:06}.dat").write_bytes(text if number % 3 else chance.randbytes(size))
        for number in range(LARGE):
            with open(top / f"large-{number}", "wb") as file:
                file.writelines(chance.randbytes(MIB) for _ in range(int(64 * scale)))
        yield top
