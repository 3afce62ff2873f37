"""Sizes, times and tables, worded for people."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """`0 B`, `12.3 MiB`: three digits or so."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.{1 if unit and value < 99.95 else 0}f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 4 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int, thing: str) -> str:
    """`1 table`, `1,204 tables`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def contents(tables: int, rows: int, unit: str = "row") -> str:
    """`12 tables, 1,204 rows`; `1,204 files` of what has no tables."""
    return f"{count(tables, 'table')}, {count(rows, 'row')}" if unit == "row" else count(rows, unit)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns as wide as what stands in them; those numbered in *right* are aligned to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]

    def cell(at: int, text: str) -> str:
        return text.rjust(widths[at]) if at in right else text.ljust(widths[at])

    return "\n".join("  ".join(cell(at, text) for at, text in enumerate(line)).rstrip() for line in lines)


def columns(cells: Sequence[str], number: int) -> str:
    """*cells* in so many columns, read line by line."""
    width = max(map(len, cells)) + 2
    rows = [cells[at : at + number] for at in range(0, len(cells), number)]
    return "\n".join("".join(cell.ljust(width) for cell in row).rstrip() for row in rows)
