"""Several carriers as one: each link is asked for where answers came fast before, then everywhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dwebbackup import clock
from dwebbackup.errors import Damaged, DwebbackupError, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.ports import Carrier
from dwebbackup.stores import Busy, Refused

REST = 60.0
"""Seconds for which one that failed is asked last; twice as many each time that it fails again."""

LONGEST_REST = 3600.0

WEIGHT = 0.25
"""Of a new answer in the estimate of how long one takes."""


@dataclass(slots=True)
class _Known:
    """What is known of one carrier by what it did."""

    carrier: Carrier
    place: int
    """In the configuration."""
    seconds: float | None = None
    """That it takes; None before it gave anything."""
    lacked: bool = False
    """Whether it did not have what it was last asked for."""
    failures: int = 0
    """In a row."""
    rested: float = field(default=float("-inf"))
    """When it may be asked like the others again."""

    def rank(self, now: float) -> tuple[bool, bool, float, int]:
        """The lowest is asked first."""
        seconds = 0.0 if self.seconds is None else self.seconds  # those of whom nothing is known are tried
        return self.rested > now, self.lacked, seconds, self.place

    def gave(self, seconds: float) -> None:
        self.seconds = seconds if self.seconds is None else self.seconds + WEIGHT * (seconds - self.seconds)
        self.lacked, self.failures, self.rested = False, 0, float("-inf")

    def failed(self, error: DwebbackupError, now: float) -> None:
        if isinstance(error, ObjectMissing):
            self.lacked = True
            return
        self.failures += 1
        rest = min(LONGEST_REST, REST * 2 ** min(self.failures - 1, 10))
        self.rested = now + max(rest, error.seconds if isinstance(error, Busy) else 0.0)


class Carriers:
    """*carriers* as one `Carrier`. Safe for several threads. *monotonic* is for tests.

    Nobody's "not here" is taken for an absence while another has not been asked. Who gives wrong bytes, or does not
    answer, is asked last for a while.
    """

    def __init__(self, carriers: Sequence[Carrier], *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._known = [_Known(carrier, place) for place, carrier in enumerate(carriers)]
        self._monotonic = monotonic
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return ", ".join(each.carrier.name for each in self._known)

    def carries(self, link: str) -> bool:
        return any(each.carrier.carries(link) for each in self._known)

    def fetch(self, link: str) -> bytes:
        """As the port says."""
        failures: list[tuple[str, DwebbackupError]] = []
        for known in self._in_order(link):
            begun = self._monotonic()
            try:
                data = known.carrier.fetch(link)
            except (Damaged, StoreUnreachable) as error:  # an `ObjectMissing` is `Damaged`, too
                failures.append((known.carrier.name, error))
                with self._lock:
                    known.failed(error, self._monotonic())
            else:
                with self._lock:
                    known.gave(self._monotonic() - begun)
                return data
        raise told(link, failures)

    def _in_order(self, link: str) -> Sequence[_Known]:
        now = self._monotonic()
        with self._lock:
            found = [(known.rank(now), known) for known in self._known if known.carrier.carries(link)]
        return [known for _, known in sorted(found, key=lambda each: each[0])]


def told(link: str, failures: Sequence[tuple[str, DwebbackupError]]) -> DwebbackupError:
    """Why nobody gave what *link* leads to, and who said what."""
    if not failures:
        return WrongConfiguration(
            f"nobody is configured who fetches {link[:100]}", "name a gateway (DWEBBACKUP_GATEWAYS) or a portal"
        )
    if len(failures) == 1:
        return failures[0][1]
    said = "; ".join(f"{name}: {error}" for name, error in failures)
    errors = [error for _, error in failures]
    return _kind(errors)(f"nobody gives {link} now. {said}", next(filter(None, (each.hint for each in errors)), ""))


def _kind(errors: Sequence[DwebbackupError]) -> type[DwebbackupError]:
    """One that may answer yet is worth another try; then wrong bytes count, and only then are they missing."""
    unreachable = [error for error in errors if isinstance(error, StoreUnreachable)]
    if unreachable:
        return Refused if all(isinstance(error, Refused) for error in unreachable) else StoreUnreachable
    return ObjectMissing if all(isinstance(error, ObjectMissing) for error in errors) else Damaged
