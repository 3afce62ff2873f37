"""The backups under one name as histories: a database that was restored goes on with that of the one before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dwebbackup.daemon.status import Made, SourceStatus


@dataclass(frozen=True, slots=True)
class History:
    """One line of databases, each of which was restored from a backup of the one before; mostly there is one only."""

    identity: str
    """Of the last of them."""
    is_current: bool
    """Whether the newest good backup is in it, or the newest one where none is good."""
    made: Sequence[Made]
    """Oldest first."""
    changes: Sequence[Made]
    """The first backup of each of them but the first: there another database goes on."""


def histories(source: SourceStatus) -> list[History]:
    """The current one first, then those that wrote last."""
    newest = source.good or (source.history[-1] if source.history else None)
    found = [
        _history(line, is_current=newest is not None and any(newest.identity == made[0].identity for made in line))
        for line in _lines(source.history)
    ]
    return sorted(found, key=lambda history: (not history.is_current, -history.made[-1].finished))


def _history(line: Sequence[Sequence[Made]], *, is_current: bool) -> History:
    made = [each for database in line for each in database]
    return History(made[-1].identity, is_current, made, [database[0] for database in line[1:]])


def _lines(made: Sequence[Made]) -> Iterator[list[list[Made]]]:
    """The backups of each database, those that go on with one another's history together.

    Of two that were restored from the same, the later one does: what the first wrote since then stands apart.
    """
    databases: dict[str, list[Made]] = {}
    for each in made:
        databases.setdefault(each.identity, []).append(each)
    left = sorted(databases.values(), key=lambda database: database[0].finished)
    while left:
        line = [left.pop()]
        while before := _before(line[0], left):
            left.remove(before)
            line.insert(0, before)
        yield line


def _before(database: Sequence[Made], others: Sequence[list[Made]]) -> list[Made] | None:
    """Of the *others* the one that *database* was restored from, if it was backed up no more since then."""
    origins = {made.follows for made in database}
    for other in others:
        if other[0].identity in origins and other[-1].finished <= database[0].finished:
            return other
    return None
