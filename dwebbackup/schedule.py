"""When the next backup is due: `every 6 hours`, `daily at 03:00`, cron lines. Pure: it never asks what time it is.

A schedule either counts from when the last run began (`every …`), or has nominal times: what a clock on the wall of its
time zone shows. A run that began at a nominal time or later was the run of that time, whoever asked for it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import blake2b

from dwebbackup.errors import WrongConfiguration

_CORRECTION = 300
"""A clock that went back by at most so many seconds was corrected; by more, what it said before tells nothing."""

_LONGEST_INTERVAL = 366 * 86400
_LEAST_SLACK, _MOST_SLACK = 600, 6 * 3600

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_WEEKDAYS = "sunday monday tuesday wednesday thursday friday saturday".split()

_EVERY = re.compile("every (?:(?P<count>[0-9]+) ?)?(?P<unit>seconds?|s|minutes?|min|m|hours?|h|days?|d|weeks?|w)")
_AT = "(?: at (?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9]))?"
_ON_WEEKDAY = rf"(?P<weekday>{'|'.join(f'{day[:3]}(?:{day[3:]})?' for day in _WEEKDAYS)})"
_ON_DAY = "(?P<day>0?[1-9]|1[0-9]|2[0-8]|last)"
_IN_WORDS = [
    re.compile(pattern)
    for pattern in (
        "(?:hourly|every hour)(?: at :?(?P<minute>[0-5][0-9]))?",
        f"(?:daily|every day){_AT}",
        f"(?:weekly|every week)(?: on {_ON_WEEKDAY})?{_AT}",
        f"every {_ON_WEEKDAY}{_AT}",
        f"(?:monthly|every month)(?: on {_ON_DAY})?{_AT}",
    )
]
_EXAMPLES = (
    "write `every 6 hours`, `hourly at :17`, `daily at 03:00`, `weekly on sunday at 04:30`, `monthly on 1 at 05:00`"
    " or a cron line: `0 */6 * * *`"
)
_UNSAID = {"minute": "0", "hour": "0", "day": "1", "weekday": "sunday"}
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to run. There is none that cannot be understood: making one raises WrongConfiguration."""

    text: str
    zone: str = "UTC"
    jitter: int = 0
    """Seconds by which a run may begin later than its time, so that not everybody comes at once. It never takes more
    than half of the time to the next run.
    """

    def __post_init__(self) -> None:
        _rhythm(self.text)
        _zone(self.zone)
        if self.jitter < 0:
            raise WrongConfiguration(f"a jitter of {self.jitter} seconds is none", "runs begin later, never earlier")


def parse(text: str, zone: str = "UTC", jitter: int = 0) -> Schedule:
    """Case and spaces do not matter. Raises WrongConfiguration."""
    return Schedule(" ".join(text.split()), zone.strip(), jitter)


def describe(schedule: Schedule) -> str:
    """For people: `daily at 03:00 (Europe/Berlin)`. What counts hours from the last run needs no zone."""
    zone = "" if isinstance(_rhythm(schedule.text), _Elapsed) else f" ({schedule.zone})"
    late = f", up to {schedule.jitter} seconds later" if schedule.jitter else ""
    return f"{schedule.text}{zone}{late}"


def next_run(schedule: Schedule, last: float | None, now: float, seed: str = "") -> float:
    """When the next run is due, after one that began at *last*; *now*, if that has passed or there was none.

    Asked again with the same *last* and *seed* (what tells this source from others), it answers the same, up to the
    moment when the run is due. However many times were missed, one run makes up for them. A *last* in the future, more
    than a clock is corrected by, tells nothing: a run now puts it right.
    """
    if last is None or last > now + _CORRECTION:
        return now
    return max(now, _start(schedule, _nominal(schedule, last), seed))


def good_until(schedule: Schedule, began: float, seed: str = "") -> float:
    """By when a backup has to be complete after one that began at *began*: the next start, and half an interval."""
    nominal = _nominal(schedule, began)
    interval = _nominal(schedule, nominal) - nominal
    return _start(schedule, nominal, seed) + min(max(interval / 2, _LEAST_SLACK), _MOST_SLACK)


def _nominal(schedule: Schedule, after: float) -> float:
    """The first nominal time later than *after*."""
    rhythm = _rhythm(schedule.text)
    if isinstance(rhythm, _Elapsed):
        return after + rhythm.seconds
    return _on_the_wall(rhythm, schedule.zone, math.floor(after))  # these are whole seconds, so flooring loses none


def _start(schedule: Schedule, nominal: float, seed: str) -> float:
    """The same for the same run, also after a restart; and so early that the next run stays another one."""
    if not schedule.jitter:
        return nominal
    most = min(schedule.jitter, (_nominal(schedule, nominal) - nominal) / 2)
    drawn = blake2b(f"{seed} {int(nominal)}".encode(errors="backslashreplace"), digest_size=8).digest()
    return nominal + int.from_bytes(drawn) % (int(most) + 1)


@dataclass(frozen=True, slots=True)
class _Elapsed:
    """Counts from the last run, whatever clocks on walls do."""

    seconds: int


@dataclass(frozen=True, slots=True)
class _Wall:
    """Looks at the clock on the wall."""

    line: str
    """A cron line of five fields."""

    @property
    def names_hours(self) -> bool:
        return self.line.split()[1] != "*"


@lru_cache(maxsize=256)
def _on_the_wall(wall: _Wall, zone: str, after: int) -> float:
    """The first time later than *after*.

    When daylight saving begins or ends, what names hours runs once for each: right after the jump for those that were
    jumped over, at the first for those that come twice. What runs in every hour just goes on, through as many hours as
    there are.
    """
    from cronsim import CronSim  # noqa: PLC0415  # brings calendar and locale, which most commands and schedules need not

    place = _zone(zone)
    clock = datetime.fromtimestamp(after, place)
    if wall.names_hours:
        # cronsim sees no zone here: in one, it loses `0 */6 * * *` on days with a shift of half an hour, and keeps to
        # Debian's cron, which skips `0 */2 * * *` in the spring and doubles it in the autumn.
        moments = (_shows(shown, place) for shown in CronSim(wall.line, clock.replace(tzinfo=None)))
    else:
        moments = (shown.timestamp() for shown in CronSim(wall.line, clock))
    return next(moment for moment in moments if moment > after)


def _shows(wall: datetime, zone: tzinfo) -> float:
    """When a clock in *zone* first shows *wall*; if it jumps over it, the moment after the jump."""
    while True:
        moment = wall.replace(tzinfo=zone).timestamp()
        if datetime.fromtimestamp(moment, zone).replace(tzinfo=None) == wall:
            return moment
        wall += timedelta(minutes=1)


@lru_cache(maxsize=64)
def _rhythm(text: str) -> _Elapsed | _Wall:
    """What a text means. Raises WrongConfiguration."""
    plain = " ".join(text.lower().split())
    if not plain or len(plain) > 200:
        raise WrongConfiguration(
            "a schedule is empty" if not plain else "a schedule is too long to be right", _EXAMPLES
        )
    if match := _EVERY.fullmatch(plain):
        return _elapsed(text, match)
    for pattern in _IN_WORDS:
        if match := pattern.fullmatch(plain):
            return _Wall(_line(match.groupdict()))
    if plain in _NICKNAMES:
        return _Wall(_NICKNAMES[plain])
    if plain[0] in "0123456789*":
        return _Wall(_checked(text, plain))
    raise WrongConfiguration(f"the schedule {text!r} is not understood", _hint(plain))


def _elapsed(text: str, match: re.Match[str]) -> _Elapsed:
    seconds = int(match["count"] or 1) * _SECONDS[match["unit"][0]]
    if not 0 < seconds <= _LONGEST_INTERVAL:
        raise WrongConfiguration(f"the schedule {text!r} is not from a second to a year", _EXAMPLES)
    return _Elapsed(seconds)


def _line(said: dict[str, str | None]) -> str:
    """The cron line for words; of what they cannot say (`daily` has no weekday), any will do."""
    field = {name: (said[name] or unsaid) if name in said else "*" for name, unsaid in _UNSAID.items()}
    day = field["day"].replace("last", "l")
    return f"{field['minute']} {field['hour']} {day} * {field['weekday'][:3]}"


def _checked(text: str, line: str) -> str:
    """The cron line, with `*` for hours that are all hours."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  # as above

    example = "a cron line has minute, hour, day of month, month and day of week: `30 3 * * mon-fri`"
    fields = line.split()
    if len(fields) != 5:
        raise WrongConfiguration(f"the schedule {text!r} has {len(fields)} fields, not 5", example)
    try:
        simulated = CronSim(line, datetime(2000, 1, 1))  # noqa: DTZ001  # any day of any zone will do
    except CronSimError as error:
        what = str(error).replace("Bad ", "").replace("-", " ")
        raise WrongConfiguration(f"the schedule {text!r} has an impossible {what}", example) from None
    if len(simulated.hours) == 24:
        fields[1] = "*"
    if next(simulated, None) is None:
        raise WrongConfiguration(f"the schedule {text!r} never comes", example)
    return " ".join(fields)


def _hint(plain: str) -> str:
    """What would have been right instead of *plain*, as near to it as can be told."""
    if re.match(r"(monthly|every month) on (29|30|31)", plain):
        return "not every month has that day: write `monthly on last`, or one up to 28"
    if re.search(r"[0-9] ?[ap]m\b", plain):
        return "hours go from 00 to 23: `daily at 15:00`"
    if re.search(r",| and ", plain):
        return "several times stand in a cron line: `0 3,15 * * *`"
    if plain.startswith("every ") and " at " in plain:
        return "what counts from the last run has no time of day: write `daily at 03:00`, or a cron line: `0 3 */2 * *`"
    return _EXAMPLES


def _zone(name: str) -> tzinfo:
    """Raises WrongConfiguration."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415  # as above

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such file, no such name, a folder
        near = [known for known in available_timezones() if known.lower() == name.lower().replace(" ", "_")]
        hint = f"write `{near[0]}`" if near else "write one such as `Europe/Berlin`, `America/New_York` or `UTC`"
        raise WrongConfiguration(f"there is no time zone {name!r}", hint) from None
