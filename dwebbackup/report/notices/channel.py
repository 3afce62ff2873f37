"""The plug of telling: somewhere that a notice can be sent to."""

from __future__ import annotations

from typing import Literal, Protocol

from dwebbackup.errors import DwebbackupError
from dwebbackup.report.notices.notice import Event, Notice

Audience = Literal["people", "monitor"]
"""*people* hear of what they should look at, once. A *monitor* hears of every run, and raises the alarm itself; a
recovery is no run."""

HEARS: dict[Audience, frozenset[Event]] = {
    "people": frozenset({"failure", "recovery", "stale", "suspect", "floor", "alarm"}),
    "monitor": frozenset({"start", "success", "failure"}),
}


class NotDelivered(DwebbackupError):
    """A channel did not take a notice. *again*: another try may help, not before *pause* seconds are over."""

    def __init__(self, message: str, hint: str = "", *, again: bool, pause: float = 0.0) -> None:
        super().__init__(message, hint)
        self.again = again
        self.pause = pause


class Channel(Protocol):
    """Its address is a secret: neither what it is called nor any error shows more than the host."""

    @property
    def called(self) -> str:
        """`slack at hooks.slack.com`"""

    @property
    def audience(self) -> Audience: ...

    def send(self, notice: Notice) -> None:
        """Once, with a time limit on every wait for the network. Raises `NotDelivered`."""
