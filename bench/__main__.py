"""`python -m bench`: run the rounds and print the table. Nothing passes or fails here: a budget met or missed is news."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median

from bench import rows
from bench.arena import SETTINGS, Arena, arena
from bench.catalog import catalog
from bench.contenders import VERSIONS
from bench.files import files
from bench.linking import links
from bench.mariadb import mariadb
from bench.measure import output
from bench.row import Row
from bench.small_machine import small
from bench.through_gateway import through_gateway
from bench.through_networks import networks
from bench.through_s3 import s3

USUAL = [group.__name__ for group in (rows.full, rows.restore, rows.memory, rows.unchanged, rows.changed)]
FAR = (s3, networks, links, through_gateway)
GROUPS = {
    group.__name__: group
    for group in (
        rows.full,
        rows.restore,
        rows.memory,
        rows.unchanged,
        mariadb,
        files,
        *FAR,
        catalog,
        rows.changed,
        small,
    )
}
"""In this order. What changes the database comes last, so that the others see the same one."""


def main() -> None:
    options = _options()
    # The budget is for two cores; the server and every contender inherit this.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    _tell("filling the database")
    with arena(options.scale, options.rounds, with_ours=not options.peers) as ready:
        conditions = _conditions(ready)
        table = list(_rows(ready, options.only))
    if options.json:
        figures = [asdict(row) | {"ratio": row.ratio} for row in table]
        print(json.dumps({"conditions": conditions, "rows": figures}))
    else:
        print(*(f"{name}: {value}" for name, value in conditions.items()), "", *_table(table), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="dwebbackup beside other tools (Linux only)")
    parser.add_argument("--rounds", type=int, default=3, help="figures are medians of so many (default 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="1 is 0.9 GB of rows; below 0.3, mostly start-up is measured"
    )
    parser.add_argument("--only", type=_groups, default=USUAL, help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--cores", type=int, default=2, help="of this machine, for everybody (default 2)")
    parser.add_argument("--peers", action="store_true", help="leave dwebbackup out")
    parser.add_argument("--json", action="store_true", help="every round's figures, for programs")
    return parser.parse_args()


def _groups(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(GROUPS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there are {', '.join(GROUPS)}")
    return [name for name in GROUPS if name in chosen]


def _conditions(ready: Arena) -> dict[str, str]:
    settings = ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
    programs = [line for line in VERSIONS if ready.with_ours or not line.startswith("dwebbackup")]
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "rounds": str(ready.rounds),
        "scale": f"{ready.scale}: {ready.size() / 1e9:.1f} GB on disk",
        "server": f"PostgreSQL {'.'.join(map(str, ready.server.binaries.version))}; {settings}",
        "programs": ", ".join(_version(line, ready) for line in programs),
    }


def _version(line: str, ready: Arena) -> str:
    number = re.search(r"\d+(\.\d+)+", output(line, ready.environment))
    return f"{line.partition(' ')[0]} {number[0] if number else 'unknown'}"


def _rows(ready: Arena, groups: Sequence[str]) -> Iterator[Row]:
    for name in groups:
        _tell(name)
        yield from GROUPS[name](ready)


def _table(table: Sequence[Row]) -> Iterator[str]:
    cells = [("what", "against", "ours", "theirs", "ratio", "budget", "")] + [_cells(row) for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for what, against, *figures in cells:
        words = f"{what:<{widths[0]}}  {against:<{widths[1]}}"
        columns = (f"{text:>{width}}" for text, width in zip(figures[:-1], widths[2:-1], strict=True))
        yield "  ".join([words, *columns, figures[-1]]).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    nothing = "–"
    sides = [f"{median(side):.2f} {row.unit}" if side else nothing for side in (row.ours, row.theirs)]
    ratio, budget = (nothing if it is None else _ratio(it) for it in (row.ratio, row.budget))
    return (row.what, row.against, *sides, ratio, budget, _verdict(row))


def _ratio(number: float) -> str:
    return f"{number:.2f}" if number >= 0.01 else f"{number:.4f}"


def _verdict(row: Row) -> str:
    if row.ratio is None or row.budget is None:
        return row.note
    return "ok" if row.ratio <= row.budget else "missed"


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


main()
