"""What a status comes to: is all well, what is wrong, and the one line about it that anybody may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dwebbackup.daemon.status import Kind, Phase, Problem, SourceStatus, Status
from dwebbackup.report.wording import count

NO_BACKUP = "no backup yet"
STALE = "the newest good backup is older than its schedule allows"
WAITING = "waiting"
RESTORING = "restoring"
ALARM = "alarm: see the status page"

_MISSING = "The first good backup of a database is still to come."

PATIENCE = 900
"""Seconds for which a store or a database may be away before somebody should look, although it is tried on and on."""

_COMES_BACK: frozenset[Kind] = frozenset({"store", "database"})
"""Kinds of problems that often end by themselves."""

Mood = Literal["good", "busy", "care", "bad"]


@dataclass(frozen=True, slots=True)
class Headline:
    """The state of everything in a few words."""

    mood: Mood
    title: str
    sentence: str


def wrong(status: Status) -> list[tuple[str, Problem]]:
    """All that is wrong now, each with the place that it concerns (empty: the sidecar as a whole)."""
    found = [("", problem) for problem in status.problems]
    found += [(source.name, source.problem) for source in status.sources if source.problem]
    return found + [(store.name, store.problem) for store in status.stores if store.problem]


def phase(source: SourceStatus, now: float) -> Phase:
    """Its phase, as people should see it: who has waited for long needs help."""
    waits_long = source.phase == "waiting" and source.problem and now - source.problem.since > PATIENCE
    return "alarm" if waits_long else source.phase


def why_unhealthy(status: Status) -> str:
    """Empty while all sources' backups are fresh, else a reason that names nothing: strangers read it."""
    if status.is_fresh:
        return ""
    reason = _held_up(status)
    if reason:
        return reason
    return NO_BACKUP if any(source.good is None for source in status.sources) else STALE


def headline(status: Status) -> Headline:
    """What a glance at the page should tell."""
    held_up = _held_up(status)
    if held_up == WAITING and wrong(status):
        return Headline("care", "Waiting", "Until what is wrong is mended; dwebbackup tries again by itself.")
    if held_up:
        return _HELD_UP[held_up]
    if status.sources and all(source.good for source in status.sources) and not status.is_fresh:
        return Headline("bad", "Backups are overdue", f"{_behind(status)} without a backup as new as it should be.")
    return _running(status)


def _held_up(status: Status) -> str:
    """Why the schedule does not go on, if it does not."""
    phases = {phase(source, status.now) for source in status.sources}
    if "alarm" in phases or any(not _may_come_back(problem, status.now) for problem in status.problems):
        return ALARM
    if status.problems:
        return WAITING
    if "restoring" in phases:
        return RESTORING
    return WAITING if "waiting" in phases or not phases else ""


def _may_come_back(problem: Problem, now: float) -> bool:
    return problem.kind in _COMES_BACK and now - problem.since <= PATIENCE


_HELD_UP = {
    ALARM: Headline("bad", "Your help is needed", "When what stands below is mended or decided, it goes on by itself."),
    RESTORING: Headline("busy", "Restoring", "A database comes back from its newest good backup."),
    WAITING: Headline("busy", "Waiting", "For a database or a store, as at every start."),
}


def _running(status: Status) -> Headline:
    number = len(wrong(status))
    if number:
        mood: Mood
        mood, young = ("care", "Every newest good backup is young enough.") if status.is_fresh else ("bad", _MISSING)
        return Headline(mood, f"{count(number, 'thing')} to look at", young)
    if not status.is_fresh:
        return Headline("care", "No backup yet", _MISSING)
    if any(is_newest_suspect(source) for source in status.sources):
        return Headline("care", "A backup is suspect", "It is kept, and does not count; the good ones before it stay.")
    return Headline("good", "All is well", "Every database has a good backup, as new as its schedule wants.")


def is_token_unusable(status: Status) -> bool:
    """Whether there is a page token in the configuration, and something wrong with it."""
    return any("page_token" in problem.sentence.lower() for problem in status.problems)


def is_newest_suspect(source: SourceStatus) -> bool:
    """Whether the newest backup of *source* does not count as good."""
    return bool(source.history and source.history[-1].suspect)


def _behind(status: Status) -> str:
    behind = sum(not source.is_fresh(status.now) for source in status.sources)
    return f"{count(behind, 'database')} {'is' if behind == 1 else 'are'}"
