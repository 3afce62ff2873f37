"""What a retention policy is, and how people write it: `last 7, daily 7, within 14d`."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

from dwebbackup.errors import WrongConfiguration

DAY = 24 * 3600

_UNITS = {"h": 3600, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}
_HINT = "write `last 7, hourly 24, daily 7, weekly 4, monthly 12, yearly 3, within 14d, floor 3`, or some of these"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many backups of each history are kept; what is 0 keeps none."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: int = 0
    """Seconds before the newest."""
    floor: int = 3
    """Of each source so many of the newest good ones stay, whatever the rest says."""

    def __str__(self) -> str:
        """`parse` is the inverse."""
        said = {name: getattr(self, name) for name in _RULES}
        return ", ".join(
            f"{name} {length(number) if name == 'within' else number}" for name, number in said.items() if number
        )


_RULES = [rule.name for rule in fields(Policy)]


def parse(text: str) -> Policy:
    """`last 7, daily 7, within 14d`, in any order. Raises `WrongConfiguration`."""
    words = text.lower().replace(",", " ").split()
    said: dict[str, int] = {}
    for name, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if name not in _RULES:
            raise WrongConfiguration(f"a retention policy has no rule {name!r}", _HINT)
        if name in said:
            raise WrongConfiguration(f"the retention policy says {name} twice", _HINT)
        said[name] = _seconds(value) if name == "within" else _number(name, value)
    if not any(number for name, number in said.items() if name != "floor"):
        raise WrongConfiguration("this retention policy keeps nothing", _HINT)
    if said.get("floor") == 0:
        raise WrongConfiguration("the floor of a retention policy is at least 1", _HINT)
    return replace(Policy(), **said)


def length(seconds: int) -> str:
    """Seconds as a policy says them: `14d`, `36h`."""
    unit = "h" if seconds % DAY else "d"
    return f"{seconds // _UNITS[unit]}{unit}"


def _seconds(value: str) -> int:
    match = re.fullmatch(r"([0-9]{1,5})([hdwy])", value)
    if not match:
        raise WrongConfiguration(f"`within {value}` is not a length of time", "write `within 36h`, 14d, 8w or 1y")
    return int(match[1]) * _UNITS[match[2]]


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value):
        raise WrongConfiguration(f"`{name} {value}` does not say how many", _HINT)
    return int(value)
