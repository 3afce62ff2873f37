"""Which backups a retention policy keeps, and why: pure, from what is known of them; nothing is deleted here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from dwebbackup import clock
from dwebbackup.manifest import ManifestRef
from dwebbackup.policy import DAY, Policy, length, parse

__all__ = ["Candidate", "Decision", "Policy", "decide", "parse"]

CLOCKS_DIFFER = DAY
"""Seconds by which the lease's clock and the store's may differ before nobody knows which of them is right."""

SUSPECT_WITHIN = 14 * DAY
"""Seconds for which a backup that does not count as good is kept at least: so long somebody may look into it."""

_LATEST = 253_370_764_800.0  # the year 9999, behind which Python knows no date


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a backup says of one of its sources; a backup of several sources is several candidates."""

    ref: ManifestRef
    source: str
    identity: str
    """Of the database: two of them under one name are two histories."""
    finished: float
    """By the clock of the machine that made it, and signed there; seconds since 1970."""
    modified: float | None
    """When the store took it in, by the store's clock; None where it does not say."""
    good: bool
    """It is not suspect, and all that it needs is there."""
    proved: bool = False
    """Somebody restored it, and it was as it should be."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one backup."""

    ref: ManifestRef
    keep: bool
    reasons: tuple[str, ...]
    undercut: bool = False
    """It is kept for the floor's sake only: the policy alone would keep fewer good ones of the source than that."""


@dataclass(frozen=True, slots=True)
class _Ruling:
    """What one rule says of one candidate."""

    keeps: bool
    words: str
    undercut: bool = False


_Rulings = Iterator[tuple[Candidate, _Ruling]]


def decide(policy: Policy, candidates: Iterable[Candidate], now: float) -> tuple[Decision, ...]:
    """Of each backup whether it stays, and why; oldest first. *now*: by the store's clock.

    A backup whose times are not beyond doubt stays, and counts for nothing: it takes no other's place.
    """
    every = sorted(set(candidates), key=_order)
    said: dict[ManifestRef, list[tuple[Candidate, _Ruling]]] = {each.ref: [] for each in every}
    for source in _grouped(every, lambda each: each.source):
        for each, ruling in _of_source(policy, source, now):
            said[each.ref].append((each, ruling))
    return tuple(_decision(ref, rulings) for ref, rulings in said.items())


def _of_source(policy: Policy, source: Sequence[Candidate], now: float) -> _Rulings:
    counted: list[Candidate] = []
    kept: set[Candidate] = set()
    for history in _grouped(source, lambda each: each.identity):
        timely, rulings = _of_times(history, now)
        counted += timely
        for each, ruling in (*rulings, *_of_history(policy, timely, now)):
            kept |= {each} if ruling.keeps and each.good else set()
            yield each, ruling
    most = max(getattr(policy, rule) for rule in _CALENDAR)  # a rule of so many days may not have seen them yet
    undercut = len(kept) < policy.floor and most < policy.floor
    for each, words in _of_floor(policy.floor, source, counted):
        yield each, _Ruling(True, words, undercut)


def _decision(ref: ManifestRef, rulings: Sequence[tuple[Candidate, _Ruling]]) -> Decision:
    keep = any(ruling.keeps for _, ruling in rulings)
    decisive = [(each, ruling) for each, ruling in rulings if ruling.keeps == keep]
    several = len({each.source for each, _ in rulings}) > 1
    reasons = (f"{each.source}: {ruling.words}" if several else ruling.words for each, ruling in decisive)
    return Decision(ref, keep, tuple(dict.fromkeys(reasons)), keep and all(ruling.undercut for _, ruling in decisive))


# --- whose times are not beyond doubt ---


def _of_times(history: Sequence[Candidate], now: float) -> tuple[list[Candidate], list[tuple[Candidate, _Ruling]]]:
    """Those that count for the rules, and what keeps others."""
    doubts = _implausible(history, now)
    late, before = _disordered([each for each in history if each not in doubts])
    said = [*doubts.items(), *late.items(), *before.items()]
    timely = [each for each in history if each not in doubts and each not in late]
    return timely, [(each, _Ruling(True, f"times disagree: {why}")) for each, why in said]


def _implausible(history: Iterable[Candidate], now: float) -> dict[Candidate, str]:
    """Those that say another time than their store, or a time that is still to come; and why."""
    why = {}
    for each in history:
        if each.modified is None:
            why[each] = "the store does not say when it came"
        elif abs(each.finished - each.modified) > CLOCKS_DIFFER:
            why[each] = f"it says {_iso(each.finished)}, and the store {_iso(each.modified)}"
        elif each.modified > now + CLOCKS_DIFFER:
            why[each] = f"the store says {_iso(each.modified)}, and that it is {_iso(now)} now"
    return why


def _disordered(history: Sequence[Candidate]) -> tuple[dict[Candidate, str], dict[Candidate, str]]:
    """Those that are earlier than one that came before them; and those before them, by which this is known.

    The latter have to stay as well: else the next decision would see nothing odd any more.
    """
    late: dict[Candidate, str] = {}
    before: dict[Candidate, str] = {}
    for time in (_signed, _stored):
        latest: Candidate | None = None
        for _, level in groupby(history, key=lambda each: each.ref.sequence):
            same = list(level)
            for each in same:
                if latest and time(each) < time(latest):
                    late.setdefault(each, f"it came after {latest.ref.id}, and is earlier")
                    before.setdefault(latest, f"{each.ref.id} came after it, and is earlier")
            latest = max([*filter(None, [latest]), *same], key=time)
    return late, before


# --- what the rules say ---


def _of_history(policy: Policy, timely: Iterable[Candidate], now: float) -> _Rulings:
    """Time ends with the newest: a store whose clock is ahead makes none of them old."""
    ordered = sorted(timely, key=lambda each: (each.ref.sequence, _stored(each), each.ref.sha256))
    end = min([now, *map(_stored, ordered[-1:])])
    good = [each for each in ordered if each.good]
    if policy.last:
        yield from _last(policy.last, good)
    for rule, label in _CALENDAR.items():
        if number := getattr(policy, rule):
            yield from _calendar(rule, number, label, good)
    if policy.within:
        within = length(policy.within)
        for each in good:
            young = _stored(each) >= end - policy.within
            yield each, _Ruling(young, f"within {within}" if young else f"older than {within}")
    yield from _suspect(max(policy.within, SUSPECT_WITHIN), end, [each for each in ordered if not each.good])


def _last(number: int, good: Sequence[Candidate]) -> _Rulings:
    for at, each in enumerate(reversed(good)):
        yield each, _Ruling(at < number, f"last {number}" if at < number else f"not of the last {number}")


def _calendar(rule: str, number: int, label: Callable[[datetime], str], good: Sequence[Candidate]) -> _Rulings:
    """Of each of the newest *number* hours, days, … that have any, the last one."""
    last = {label(datetime.fromtimestamp(_stored(each), UTC)): each for each in good}
    newest = set(list(last)[-number:])
    for each in good:
        name = label(datetime.fromtimestamp(_stored(each), UTC))
        if name not in newest:
            yield each, _Ruling(False, f"before the {rule} {number}")
        elif last[name] != each:
            yield each, _Ruling(False, f"{rule} {name} is {last[name].ref.id}")
        else:
            yield each, _Ruling(True, f"{rule} {name}")


def _suspect(within: int, end: float, suspect: Iterable[Candidate]) -> _Rulings:
    for each in suspect:
        young = _stored(each) >= end - within
        words = "not good, and kept for" if young else "not good, and older than"
        yield each, _Ruling(young, f"{words} {length(within)}")


def _of_floor(floor: int, source: Sequence[Candidate], counted: Iterable[Candidate]) -> Iterator[tuple[Candidate, str]]:
    """What stays whatever the policy says, and why. *source*: all there is of it, oldest first."""
    name = source[0].source
    newest = [each for each in source if each.good][-1:]
    for each in sorted((each for each in counted if each.good), key=_order)[-floor:]:
        if each not in newest:
            yield each, f"floor: {f'one of the {floor}' if floor > 1 else 'the'} newest good of {name}"
    for each in newest:
        yield each, f"newest good of {name}"
    for each in [each for each in source if each.proved][-1:]:
        yield each, f"newest proved of {name}"


_CALENDAR: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda time: time.isoformat()[:13],
    "daily": lambda time: time.isoformat()[:10],
    "weekly": lambda time: "{}-W{:02}".format(*time.isocalendar()),
    "monthly": lambda time: time.isoformat()[:7],
    "yearly": lambda time: time.isoformat()[:4],
}
"""What the hour, day, … of a time is called, in UTC."""


# --- times and words ---


def _signed(each: Candidate) -> float:
    return each.finished


def _stored(each: Candidate) -> float:
    assert each.modified is not None, "whose time is not known is not counted"
    return each.modified


def _order(each: Candidate) -> tuple[object, ...]:
    return each.ref.sequence, each.ref.sha256, each.source, each.identity


def _grouped(candidates: Iterable[Candidate], key: Callable[[Candidate], str]) -> Iterable[list[Candidate]]:
    groups: defaultdict[str, list[Candidate]] = defaultdict(list)
    for each in candidates:
        groups[key(each)].append(each)
    return groups.values()


def _iso(seconds: float) -> str:
    """Also of what is no time that anybody could mean."""
    return clock.iso(min(max(seconds, 0.0), _LATEST))
