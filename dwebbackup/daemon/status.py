"""How the sidecar is at one moment: what its page and its metrics are made of. Times are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "configuration", "key", "store", "database", "restore", "backup", "suspect", "prune", "stale", "internal"
]
"""What is wrong, by who can do something about it."""

Phase = Literal["waiting", "alarm", "restoring", "idle", "backing up", "pruning"]
"""*waiting*: for the database or the store, as at every start. *alarm*: for somebody to decide or to mend something."""


What = Literal["backup", "restore", "prune", "drill"]
Outcome = Literal["ok", "suspect", "incomplete", "failed", "interrupted"]


CORRECTION = 300
"""Seconds by which clocks may differ."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong now."""

    kind: Kind
    sentence: str
    """May name databases and stores, never a secret."""
    hint: str
    since: float


@dataclass(frozen=True, slots=True)
class Moving:
    """Work under way."""

    what: str
    """`backing up app`"""
    began: float
    done: int
    """bytes"""
    total: int | None
    """bytes; an estimate. None: unknown"""

    def left(self, now: float) -> float | None:
        """Seconds to its end at the pace so far; None while that cannot be told."""
        if not self.total or self.done <= 0 or now <= self.began:
            return None
        return max(0.0, (self.total - self.done) * (now - self.began) / self.done)


@dataclass(frozen=True, slots=True)
class Made:
    """A backup in the catalog."""

    id: str
    """`42-1a2b3c4d`"""
    sequence: int
    source: str
    identity: str
    """Of the database: two of them under one name are two histories."""
    finished: float
    seconds: float
    bytes_read: int
    bytes_stored: int
    rows: int
    suspect: tuple[str, ...] = ()
    """Why it does not count as good."""
    follows: str = ""
    """The identity of the database whose history goes on in this one."""


@dataclass(frozen=True, slots=True)
class Run:
    """Something that the sidecar did since it started."""

    what: What
    source: str
    began: float
    seconds: float
    outcome: Outcome
    sentence: str
    """What came of it, or why it failed."""
    hint: str = ""
    bytes_read: int = 0
    bytes_stored: int = 0


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One database."""

    name: str
    url: str
    """Without a password."""
    phase: Phase
    schedule: str
    """As it was configured, with its time zone."""
    next_run: float | None
    good: Made | None
    """The newest good backup."""
    good_until: float | None
    """By when the next one has to be there; None while there is none."""
    history: tuple[Made, ...] = ()
    """Oldest first, the last thousand at most."""
    problem: Problem | None = None
    moving: Moving | None = None

    def is_fresh(self, now: float) -> bool:
        """Whether the newest good backup is younger than its schedule allows; one from the future tells nothing."""
        if self.good is None or self.good_until is None:
            return False
        return self.good.finished <= now + CORRECTION and now <= self.good_until


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """One store."""

    name: str
    url: str
    answered: float | None
    """When it last did."""
    packs: int | None = None
    bytes: int | None = None
    """Of all packs of this writer in it."""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything."""

    now: float
    started: float
    version: str
    writer: int | None = None
    """Its number; None while no key can be read."""
    writer_id: str = ""
    sources: tuple[SourceStatus, ...] = ()
    stores: tuple[StoreStatus, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Of the sidecar as a whole, such as its configuration."""
    warnings: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    """Newest last, the last hundred at most."""
    failures: tuple[tuple[Kind, int], ...] = ()
    """How often since the start."""

    @property
    def is_fresh(self) -> bool:
        """Whether every source's newest good backup is younger than its schedule allows."""
        return bool(self.sources) and all(source.is_fresh(self.now) for source in self.sources)
