"""Puts one object into a store, finds it again by every verb, and takes it away: does the store do what it must?"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from dwebbackup import clock
from dwebbackup.access import PROBES
from dwebbackup.errors import Damaged, DwebbackupError, ObjectMissing, StoreUnreachable
from dwebbackup.ports import Finding, Store, Stored
from dwebbackup.report.wording import duration, size

SIZE = 1024 * 1024
SLOW = 128 * 1024
"""Bytes a second below which it is said how long a large backup would take."""

GREETING = b"dwebbackup was here\n"
"""Where nothing can be taken away again: the same for everybody, so that there is only one of it."""

LEFT_OVER = 3600
"""Seconds after which a probe is one that somebody could not take away."""

SKEW_DOUBTFUL = 60
SKEW_WRONG = 300
"""Seconds. S3 refuses a request whose time is 900 off."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Times:
    """Clocks: of this machine, unless a test has others."""

    now: Callable[[], float] = clock.now
    monotonic: Callable[[], float] = clock.monotonic


def probe(store: Store, times: Times | None = None) -> list[Finding]:
    """Try every verb on *store*, which begins at a writer's prefix; an object of 1 MiB comes and goes."""
    name = f"{PROBES}{secrets.token_hex(8)}"
    return [_missing(store, name), *_Probe(store, times or Times(), name).run()]


def probe_by_link(store: Store, times: Times | None = None) -> list[Finding]:
    """The same for one that keeps nothing under a name: a few bytes go there, come back by their link, and stay."""
    monotonic = (times or Times()).monotonic
    began = monotonic()
    step = "put"
    try:
        links = store.put("probe", GREETING)
        step = "get"
        came = store.get("probe", links)
    except DwebbackupError as error:
        return [Finding.of(step, error)]
    if came != GREETING:
        return [_wrong("get", "the store gave back other bytes than were put there")]
    told = f"{store.url} takes a file and gives it back by its link, in {duration(monotonic() - began)}"
    return [Finding("reached", "ok", told)]


def _missing(store: Store, name: str) -> Finding:
    """An object that is not there has to read as just that: `list` and `restore` rely on it."""
    try:
        store.get(name)
    except ObjectMissing:
        return Finding("missing objects", "ok", "the store says of an object that is not there that it is not there")
    except DwebbackupError as error:
        return replace(Finding.of("missing objects", error), sentence=f"asked for an object that is not there: {error}")
    return _wrong("missing objects", "the store gave something for an object that nobody put there")


class _Probe:
    def __init__(self, store: Store, times: Times, name: str) -> None:
        self._store = store
        self._times = times
        self._name = name
        self._data = secrets.token_bytes(SIZE)  # nothing on the way may compress it

    def run(self) -> list[Finding]:
        try:
            findings = [self._put()]
        except BaseException as error:
            with suppress(DwebbackupError):  # it may have come through all the same; if not, the put's failure is told
                self._store.delete(self._name)
            if isinstance(error, StoreUnreachable):
                return [Finding.of("put", error)]
            raise
        try:
            for name, step in (("head", self._head), ("get", self._get), ("list", self._list)):
                try:
                    findings += step()
                except DwebbackupError as error:
                    findings.append(Finding.of(name, error))
        finally:
            findings.append(self._delete())
        return findings

    def _put(self) -> Finding:
        self._before = self._times.now()
        seconds, _ = self._timed(lambda: self._store.put(self._name, self._data))
        self._after = self._times.now()
        return self._pace("put", seconds)

    def _head(self) -> list[Finding]:
        seconds, stored = self._timed(lambda: self._store.head(self._name))
        if stored.size != SIZE:
            return [_wrong("head", f"the store says that the object has {stored.size} bytes, and it has {SIZE}")]
        told = f"size and time of an object are told in {duration(seconds)}"
        return [Finding("head", "ok", told), self._skew(stored)]

    def _get(self) -> list[Finding]:
        seconds, data = self._timed(lambda: self._store.get(self._name))
        if data != self._data:
            return [_wrong("get", "the store gave back other bytes than were put there")]
        return [self._pace("get", seconds)]

    def _list(self) -> list[Finding]:
        seconds, listed = self._timed(lambda: list(self._store.list(PROBES)))
        mine = [stored for stored in listed if stored.name == self._name]
        if not mine:
            return [
                Finding(
                    "list",
                    "warning",
                    "a listing does not have an object that was put right before it",
                    "a backup soon after another may store again what it does not see yet; nothing is lost by that",
                )
            ]
        found = [Finding("list", "ok", f"an object is listed right after it was put, in {duration(seconds)}")]
        return found + self._clear_away(listed, mine[0].modified)

    def _clear_away(self, listed: list[Stored], now: float) -> list[Finding]:
        """Probes that somebody who was killed has left; by the store's clock, so that nobody's at work are."""
        if not self._store.traits.deletes:
            return []
        old = [stored.name for stored in listed if now - stored.modified > LEFT_OVER]
        for name in old:
            self._store.delete(name)
        return [Finding("left over", "notice", f"{len(old)} probes of earlier runs were removed")] if old else []

    def _delete(self) -> Finding:
        if not self._store.traits.deletes:
            return self._empty()
        try:
            seconds, _ = self._timed(lambda: self._store.delete(self._name))
        except StoreUnreachable as error:
            return replace(Finding.of("delete", error), sentence=f"the probe {self._name} is left there: {error}")
        try:
            self._store.head(self._name)
        except ObjectMissing:
            return Finding("delete", "ok", f"an object is gone after it was deleted, in {duration(seconds)}")
        except StoreUnreachable as error:
            return Finding.of("delete", error)
        return Finding("delete", "warning", f"{self._name} is still there right after it was deleted")

    def _empty(self) -> Finding:
        """A megabyte must not stay where nothing may be deleted."""
        try:
            self._store.put(self._name, b"")
        except StoreUnreachable as error:
            return replace(Finding.of("delete", error), sentence=f"the probe {self._name} is left there: {error}")
        return Finding(
            "delete",
            "notice",
            "nothing is deleted here, as the store's URL says (deletes=no); an empty probe stays",
            "`dwebbackup prune`, where deleting is allowed, clears it away",
        )

    def _timed(self, work: Callable[[], T]) -> tuple[float, T]:
        began = self._times.monotonic()
        result = work()
        return self._times.monotonic() - began, result

    def _pace(self, verb: str, seconds: float) -> Finding:
        rate = SIZE / max(seconds, 0.001)
        told = f"{size(SIZE)} in {duration(seconds)}: {size(rate)} a second"
        if rate >= SLOW:
            return Finding(verb, "ok", told)
        return Finding(verb, "notice", told, f"one object at a time, 1 GiB would take {duration(2**30 / rate)}")

    def _skew(self, stored: Stored) -> Finding:
        """By whole seconds, which is all that some stores tell."""
        late, early = stored.modified - self._after, stored.modified - int(self._before)
        skew = late if late > 0 else early if early < 0 else 0.0
        if abs(skew) <= SKEW_DOUBTFUL:
            return Finding("clock", "ok", "this machine's clock and the store's agree")
        told = f"this machine's clock is {duration(abs(skew))} {'behind' if skew > 0 else 'ahead of'} the store's"
        hint = "set it, or find out which of them is wrong; S3 refuses whoever is 15 minutes off"
        if abs(skew) <= SKEW_WRONG:
            return Finding("clock", "warning", told, hint)
        return Finding("clock", "failure", told, hint, StoreUnreachable.exit_status)


def _wrong(name: str, sentence: str) -> Finding:
    hint = "something between here and the store answers in its place, or it is no store to trust"
    return Finding(name, "failure", sentence, hint, Damaged.exit_status)
