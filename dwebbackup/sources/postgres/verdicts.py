"""What pg_restore complained of: what stops a restore, what comes short of it, and what does not matter."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from dwebbackup.errors import DatabaseRefused, RestoreFailed
from dwebbackup.sources.postgres.connection import Connection, execute
from dwebbackup.sources.postgres.refusals import ServerRefused

Notes = tuple[str, ...]

_REFUSED = re.compile(r"error: could not execute query: (?P<why>.*?)\nCommand was: (?P<command>.*)", re.DOTALL)
"""Told by the command, not by the server's words: those may be in any language."""

_NEEDLESS = "SET transaction_timeout = 0;"
"""pg_restore sends it since 17, and servers before 17 do not know it."""

_FAILED = re.compile(r"^pg_restore: from TOC entry (\d+);", re.MULTILINE)
_CLOSING = re.compile(r"^pg_restore: warning: errors ignored on restore: \d+\Z", re.MULTILINE)
"""Its count leaves out what parallel workers met when they began."""

_SYSTEM_RIGHTS = re.compile(r"((GRANT|REVOKE) [^\n]+ ON [A-Z]+ pg_catalog\.[^\n]+;\n*)+")
"""The system's own functions and columns come and go between major versions; the rights that somebody gave on one
that is gone are not missed."""

_SUBSCRIPTION = re.compile(r'(CREATE|ALTER|COMMENT ON) SUBSCRIPTION (?P<name>"([^"]|"")+"|[^\s;]+)')
"""A restored one is off until somebody turns it on, so it can as well be made by hand."""

_EXTENSION = re.compile(r"(CREATE EXTENSION IF NOT EXISTS|COMMENT ON EXTENSION) (?P<name>[^\s;]+)")

_RIGHTS = re.compile(r"(GRANT|REVOKE) [^\n]+? ON [A-Z]+ (?P<name>[^\s.;]+)")

_SPARED = re.compile(
    r"REFRESH MATERIALIZED VIEW |CREATE (UNIQUE )?INDEX |ALTER TABLE (ONLY )?.+?\n\s+ADD CONSTRAINT .+? FOREIGN KEY \("
    r"|ALTER INDEX .+? ATTACH PARTITION |ALTER TABLE .+? CLUSTER ON |COMMENT ON (INDEX|CONSTRAINT) ",
    re.DOTALL,
)
"""Without these all rows are there all the same, and nobody may do more than before; unlike without a policy, say.
A server refuses them for what was wrong in the source already: functions that count on a search_path, rows that broke
a foreign key while that was off, a foreign server that is away."""

_UNGRANTED = re.compile(r"^WARNING:  ((?:no|not all) privileges were granted for .+)$", re.MULTILINE)
"""What a server says, in English at least, to who may not give rights on what belongs to somebody else."""

_NO_ANSWER = ("08", "53", "57", "58", "XX")
"""SQLSTATEs of a server that could not: connection, room, shutdown, system, its own faults. It did not refuse."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of pg_restore went."""

    said: str
    """Empty when it got to its end."""
    notes: Notes
    spared: tuple[str, ...]
    """Statements that failed, and that a restore can do without."""
    fatal: tuple[str, ...]
    failed: frozenset[int]
    """Entries of the archive that it complained about."""


def judge(status: int, said: str, left_out: Collection[str]) -> Outcome:
    """By pg_restore's exit status and its standard error; *left_out* are extensions, with their schemas."""
    notes: list[str] = []
    spared: list[str] = []
    fatal: list[str] = []
    subscriptions: dict[str, str] = {}
    errors = list(_errors(said))
    for error in errors:
        refused = _REFUSED.fullmatch(error)
        command = refused["command"] if refused else ""
        if refused and _SYSTEM_RIGHTS.fullmatch(command):
            notes.append(f"not restored: {command}: {refused['why']}")
        elif refused and (asleep := _SUBSCRIPTION.match(command)):
            subscriptions.setdefault(asleep["name"], refused["why"])  # once it was not made, the rest fails, too
        elif _SPARED.match(command):
            spared.append(command)
        elif command != _NEEDLESS and not _is_of(command, left_out):
            fatal.append(error)
    notes += [f"not restored: subscription {name}: {why}" for name, why in subscriptions.items()]
    notes += [f"the server warned: {warning}" for warning in dict.fromkeys(_UNGRANTED.findall(said))]
    # One that was killed has complained less than it should: only its closing line says that it got to the end.
    closing = _CLOSING.search(said)
    ended = status == 0 or (status == 1 and closing is not None)
    told = "" if ended else said or f"exit status {status}"
    if closing and not errors:  # its count cannot be compared: with several workers it counts some twice
        told = f"it complained of something that cannot be understood: {said}"
    return Outcome(told, tuple(notes), tuple(spared), tuple(fatal), frozenset(map(int, _FAILED.findall(said))))


def ask_again(connection: Connection, spared: Sequence[str]) -> Iterator[str]:
    """Run what failed once more, alone and by ourselves, since pg_restore tells no SQLSTATE; what is refused again.

    Raises `RestoreFailed` where the server could not, rather than would not: with more room, all would be well.
    """
    for command in dict.fromkeys(spared):
        try:
            execute(connection, command)
        except DatabaseRefused as error:
            state = error.sqlstate if isinstance(error, ServerRefused) else ""
            if connection.closed or not state or state.startswith(_NO_ANSWER):
                raise RestoreFailed(f"the indexes and keys could not all be made: {error}", error.hint) from error
            yield f"not restored: {' '.join(command.split())}: {str(error).partition('): ')[2]}"


def _errors(text: str) -> list[str]:
    """Each complaint with its continuation lines; warnings and the closing count are left out."""
    entries = re.split(r"^pg_restore: ", text, flags=re.MULTILINE)
    return [entry.strip() for entry in entries if entry.startswith("error: ")]


def _is_of(command: str, left_out: Collection[str]) -> bool:
    """Whether *command* makes an extension that is left out, or gives rights in its schema."""
    found = _EXTENSION.match(command) or _RIGHTS.match(command)
    return found is not None and found["name"] in left_out
