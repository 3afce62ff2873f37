"""When the next backup is due, against a fake clock, over years, and against a clock that is walked minute by minute."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwebbackup.clock import from_iso, iso
from dwebbackup.errors import WrongConfiguration
from dwebbackup.schedule import Schedule, describe, good_until, next_run, parse

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # its summer is half an hour ahead
    "Asia/Kathmandu",  # a quarter of an hour beside the others
    "Africa/Casablanca",  # its winter is the month of Ramadan
    "America/Havana",  # changes at midnight
    "UTC",
]
HOUR, DAY = 3600, 86400


def at(text: str) -> float:
    return from_iso(text)


def following(schedule: Schedule, after: float, count: int) -> list[str]:
    times = []
    for _ in range(count):
        after = next_run(schedule, after, after)
        times.append(iso(after))
    return times


def runs(
    schedule: Schedule,
    start: float,
    end: float,
    *,
    seed: str = "",
    asleep: tuple[tuple[float, float], ...] = (),
    lasting: float = 0,
) -> list[float]:
    """When a machine, which is asleep at times, would begin the runs from *start* to *end*."""
    began: list[float] = []
    now, last = start, None
    while True:
        now = next_run(schedule, last, now, seed)
        for begin, awake in sorted(asleep):
            now = awake if begin <= now < awake else now
        if now >= end:
            return began
        began.append(now)
        last, now = now, now + lasting


# What the texts mean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every 6 hours", ["2026-01-14T16:20:30Z", "2026-01-14T22:20:30Z"]),
        ("every 15 minutes", ["2026-01-14T10:35:30Z", "2026-01-14T10:50:30Z"]),
        ("every 2 days", ["2026-01-16T10:20:30Z", "2026-01-18T10:20:30Z"]),
        ("every hour", ["2026-01-14T11:20:30Z", "2026-01-14T12:20:30Z"]),
        ("every 90m", ["2026-01-14T11:50:30Z", "2026-01-14T13:20:30Z"]),
        ("hourly", ["2026-01-14T11:00:00Z", "2026-01-14T12:00:00Z"]),
        ("hourly at :17", ["2026-01-14T11:17:00Z", "2026-01-14T12:17:00Z"]),
        ("hourly at :21", ["2026-01-14T10:21:00Z", "2026-01-14T11:21:00Z"]),
        ("daily", ["2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z"]),
        ("daily at 03:00", ["2026-01-15T03:00:00Z", "2026-01-16T03:00:00Z"]),
        ("  Daily AT  3:00 ", ["2026-01-15T03:00:00Z", "2026-01-16T03:00:00Z"]),
        ("every day at 22:05", ["2026-01-14T22:05:00Z", "2026-01-15T22:05:00Z"]),
        ("weekly on sunday at 04:30", ["2026-01-18T04:30:00Z", "2026-01-25T04:30:00Z"]),
        ("weekly on Wed at 10:20", ["2026-01-21T10:20:00Z", "2026-01-28T10:20:00Z"]),
        ("weekly", ["2026-01-18T00:00:00Z", "2026-01-25T00:00:00Z"]),
        ("every monday", ["2026-01-19T00:00:00Z", "2026-01-26T00:00:00Z"]),
        ("monthly on 1 at 05:00", ["2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z"]),
        ("monthly on last at 05:00", ["2026-01-31T05:00:00Z", "2026-02-28T05:00:00Z"]),
        ("monthly", ["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]),
        ("0 */6 * * *", ["2026-01-14T12:00:00Z", "2026-01-14T18:00:00Z"]),
        ("30 3 * FEB mon-Fri", ["2026-02-02T03:30:00Z", "2026-02-03T03:30:00Z"]),
        ("0 0 13 * 5", ["2026-01-16T00:00:00Z", "2026-01-23T00:00:00Z"]),  # the 13th or a friday, as cron has it
        ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("@hourly", ["2026-01-14T11:00:00Z", "2026-01-14T12:00:00Z"]),
        ("@daily", ["2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z"]),
        ("@weekly", ["2026-01-18T00:00:00Z", "2026-01-25T00:00:00Z"]),
        ("@monthly", ["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]),
        ("@yearly", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
    ],
)
def test_a_text_means_these_times(text: str, expected: list[str]):
    assert following(parse(text), at("2026-01-14T10:20:30Z"), 2) == expected  # a wednesday


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("", "empty", "`every 6 hours`"),
        (" ", "empty", "`every 6 hours`"),
        ("9" * 5000, "too long", "`every 6 hours`"),
        ("sometimes", "'sometimes' is not understood", "`every 6 hours`"),
        ("every 0 hours", "not from a second to a year", "`every 6 hours`"),
        ("every 99999 days", "not from a second to a year", "`every 6 hours`"),
        ("every 2 days at 03:00", "is not understood", "`0 3 */2 * *`"),
        ("daily at 24:00", "is not understood", "`daily at 03:00`"),
        ("daily at 3pm", "is not understood", "`daily at 15:00`"),
        ("daily at 03:00, 15:00", "is not understood", "`0 3,15 * * *`"),
        ("weekly on sonntag", "is not understood", "`weekly on sunday at 04:30`"),
        ("monthly on 31 at 05:00", "is not understood", "`monthly on last`"),
        ("daily at ٠٣:00", "is not understood", "`daily at 03:00`"),
        ("@reboot", "is not understood", "`every 6 hours`"),
        ("61 * * * *", "'61 * * * *' has an impossible minute", "minute, hour, day of month"),
        ("0 3 * * someday", "an impossible day of week", "`30 3 * * mon-fri`"),
        ("0 0 30 2 *", "an impossible day of month", "minute, hour, day of month"),
        ("0 0 */40 * 1#2", "never comes", "minute, hour, day of month"),
        ("0 3 * *", "has 4 fields, not 5", "minute, hour, day of month"),
        ("0 0 3 * * *", "has 6 fields, not 5", "minute, hour, day of month"),
    ],
)
def test_a_text_that_is_no_schedule_is_told_with_what_would_be_right(text: str, complaint: str, hint: str):
    with pytest.raises(WrongConfiguration) as caught:
        parse(text)
    assert complaint in str(caught.value)
    assert hint in caught.value.hint


@given(text=st.one_of(st.text(max_size=40), st.text("0123456789*/,-#LW@ aehjnorsuvy:", max_size=40)))
@settings(max_examples=8 * settings.default.max_examples)
def test_any_text_is_a_schedule_that_goes_on_or_is_refused(text: str):
    now = at("2026-01-14T10:20:30Z")
    try:
        schedule = parse(text)
    except WrongConfiguration as refused:
        right = bool(refused.hint)
    else:
        right = next_run(schedule, now, now) > now
    assert right


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "", "../UTC", "/etc/passwd", "Zürich"])
def test_a_zone_that_there_is_not_is_refused(zone: str):
    with pytest.raises(WrongConfiguration) as caught:
        parse("daily", zone)
    assert repr(zone) in str(caught.value)
    assert "`Europe/Berlin`" in caught.value.hint


def test_a_zone_in_the_wrong_case_is_told_in_the_right_one():
    with pytest.raises(WrongConfiguration) as caught:
        parse("daily", "america/new york")
    assert "`America/New_York`" in caught.value.hint


def test_a_jitter_cannot_be_negative():
    with pytest.raises(WrongConfiguration, match="-1 seconds"):
        parse("daily", jitter=-1)


def test_no_schedule_can_be_made_that_is_not_understood():
    with pytest.raises(WrongConfiguration, match="whenever"):
        Schedule("whenever")


def test_a_schedule_is_described_with_its_zone_where_that_matters():
    assert describe(parse(" daily  at 03:00", "Europe/Berlin")) == "daily at 03:00 (Europe/Berlin)"
    assert describe(parse("0 */6 * * *")) == "0 */6 * * * (UTC)"
    assert describe(parse("every 6 hours", "Europe/Berlin")) == "every 6 hours"
    assert describe(parse("daily", jitter=600)) == "daily (UTC), up to 600 seconds later"


# Daylight saving, known by hand


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        # Berlin: 01:00Z is 02:00, and 03:00 at once
        ("daily at 02:30", "Europe/Berlin", "2026-03-28T02:00Z", "03-29T01:00 03-30T00:30 03-31T00:30"),
        ("daily at 03:00", "Europe/Berlin", "2026-03-28T02:00Z", "03-29T01:00 03-30T01:00 03-31T01:00"),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-28T02:00Z", "03-29T01:00 03-30T00:00 03-30T00:30"),
        ("0 */2 * * *", "Europe/Berlin", "2026-03-28T23:30Z", "03-29T01:00 03-29T02:00 03-29T04:00"),
        ("hourly at :17", "Europe/Berlin", "2026-03-28T23:30Z", "03-29T00:17 03-29T01:17 03-29T02:17"),
        ("every 6 hours", "Europe/Berlin", "2026-03-28T23:30Z", "03-29T05:30 03-29T11:30 03-29T17:30"),
        # 01:00Z is 03:00, and 02:00 at once
        ("daily at 02:30", "Europe/Berlin", "2026-10-24T02:00Z", "10-25T00:30 10-26T01:30 10-27T01:30"),
        ("daily at 03:00", "Europe/Berlin", "2026-10-24T02:00Z", "10-25T02:00 10-26T02:00 10-27T02:00"),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-24T22:30Z", "10-25T00:00 10-25T03:00 10-25T05:00"),
        ("hourly at :17", "Europe/Berlin", "2026-10-24T23:30Z", "10-25T00:17 10-25T01:17 10-25T02:17"),
        ("17 0-23 * * *", "Europe/Berlin", "2026-10-24T23:30Z", "10-25T00:17 10-25T01:17 10-25T02:17"),
        ("every 6 hours", "Europe/Berlin", "2026-10-24T23:30Z", "10-25T05:30 10-25T11:30 10-25T17:30"),
        # from within the hour that comes a second time
        ("daily at 02:30", "Europe/Berlin", "2026-10-25T01:15Z", "10-26T01:30 10-27T01:30 10-28T01:30"),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-25T00:45Z", "10-25T03:00 10-25T05:00 10-25T07:00"),
        ("daily at 02:30", "America/New_York", "2026-03-07T12:00Z", "03-08T07:00 03-09T06:30 03-10T06:30"),
        ("daily at 01:30", "America/New_York", "2026-10-31T12:00Z", "11-01T05:30 11-02T06:30 11-03T06:30"),
        ("daily at 02:15", "Australia/Lord_Howe", "2026-10-03T12:00Z", "10-03T15:30 10-04T15:15 10-05T15:15"),
        ("daily at 01:45", "Australia/Lord_Howe", "2026-04-04T12:00Z", "04-04T14:45 04-05T15:15 04-06T15:15"),
        ("0 */6 * * *", "Australia/Lord_Howe", "2026-04-04T12:00Z", "04-04T13:00 04-04T19:30 04-05T01:30"),
        ("0 */6 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", "10-03T13:30 10-03T19:00 10-04T01:00"),
        ("daily", "America/Havana", "2026-03-07T12:00Z", "03-08T05:00 03-09T04:00 03-10T04:00"),
        ("daily", "America/Havana", "2026-10-31T12:00Z", "11-01T04:00 11-02T05:00 11-03T05:00"),
        ("daily at 02:30", "Africa/Casablanca", "2026-02-14T12:00Z", "02-15T01:30 02-16T02:30 02-17T02:30"),
        ("daily at 02:30", "Africa/Casablanca", "2026-03-21T12:00Z", "03-22T02:00 03-23T01:30 03-24T01:30"),
        ("daily at 03:00", "Asia/Kathmandu", "2026-03-07T12:00Z", "03-07T21:15 03-08T21:15 03-09T21:15"),
        # Samoa left out a whole day
        ("daily at 12:00", "Pacific/Apia", "2011-12-29T21:00Z", "12-29T22:00 12-30T10:00 12-30T22:00"),
    ],
)
def test_when_daylight_saving_begins_and_ends(text: str, zone: str, after: str, expected: str):
    year = after[:4]
    times = following(parse(text, zone), at(after), 3)
    assert times == [f"{year}-{time}:00Z" for time in expected.split()]


# Against a plain reading of cron lines, minute by minute

NAMES = "sun mon tue wed thu fri sat jan feb mar apr may jun jul aug sep oct nov dec".split()
LINES = (
    st.tuples(
        st.sampled_from(["0", "17", "*", "*/15", "59", "5,35", "10-12", "3-50/7"]),
        st.sampled_from(["*", "0", "23", "*/6", "*/2", "1-3", "2", "0,12", "0-23", "9-17/4"]),
        st.sampled_from(["*", "*", "1", "31", "13-15", "*/2", "28,29,30"]),
        st.sampled_from(["*", "*", "feb", "3-11/4", "OCT,nov"]),
        st.sampled_from(["*", "*", "0", "7", "mon-fri", "5", "*/3", "Sun,wed"]),
    )
    .filter(lambda fields: fields[2:4] != ("31", "feb"))
    .map(" ".join)
)


def numbers(field: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{lowest}-{highest}" if span == "*" else span).partition("-")
        low, high = (NAMES.index(n) % 7 if n in NAMES[:7] else NAMES.index(n) - 6 if n in NAMES else int(n)
                     for n in (first, last or first))  # fmt: skip
        found.update(range(low, high + 1, int(step or 1)))
    return found


class Line:
    def __init__(self, line: str) -> None:
        minute, hour, day, month, weekday = line.split()
        self.minutes, self.hours = numbers(minute, 0, 59), numbers(hour, 0, 23)
        self.days, self.months = numbers(day, 1, 31), numbers(month, 1, 12)
        self.weekdays = {number % 7 for number in numbers(weekday, 0, 6)}
        self.both = day[0] == "*" or weekday[0] == "*"

    def matches(self, shown: datetime) -> bool:
        if shown.minute not in self.minutes or shown.hour not in self.hours or shown.month not in self.months:
            return False
        fits = shown.day in self.days, shown.isoweekday() % 7 in self.weekdays
        return all(fits) if self.both else any(fits)


def walk(line: str, zone: str, after: float, end: float) -> Iterator[float]:
    """Every time at which the line is due: when the clock on the wall reaches, for the first time, what it names."""
    plain, place, minute = Line(line), ZoneInfo(zone), timedelta(minutes=1)
    every_hour = len(plain.hours) == 24
    furthest = datetime.fromtimestamp(after // 60 * 60 - 2 * DAY, place).replace(tzinfo=None)
    for moment in range(int(after // 60 * 60) - 2 * DAY, int(end), 60):
        shown = datetime.fromtimestamp(moment, place).replace(tzinfo=None)
        due = every_hour and plain.matches(shown)
        while furthest < shown:
            furthest += minute
            due = due or (not every_hour and plain.matches(furthest))
        if due and moment > after:
            yield float(moment)


@given(line=LINES, after=st.integers(0, int(at("2100-12-31"))))
def test_a_cron_line_is_due_when_a_plain_reading_of_it_is(line: str, after: int):
    schedule, end = parse(line), after + 12 * DAY
    first = next_run(schedule, after, after)
    assert first == next(walk(line, "UTC", after, end), first)
    assert first > after
    if first >= end:
        assert not list(walk(line, "UTC", after, end))


@cache
def changes(zone: str, year: int) -> list[int]:
    """The hours in which the zone's clocks are changed."""
    place, start = ZoneInfo(zone), int(at(f"{year}-01-01"))
    hours = range(start, start + 366 * DAY, HOUR)
    offsets = [datetime.fromtimestamp(hour, place).utcoffset() for hour in hours]
    return [hour for hour, before, then in zip(hours, offsets, offsets[1:], strict=False) if before != then]


@pytest.mark.parametrize("zone", ZONES[:-1])
@given(line=LINES, year=st.integers(2020, 2100), early=st.integers(0, 30 * HOUR), draw=st.data())
def test_a_cron_line_is_due_when_the_clock_on_the_wall_first_reaches_it(
    zone: str, line: str, year: int, early: int, draw: st.DataObject
):
    after = float(draw.draw(st.sampled_from(changes(zone, year) or [int(at(f"{year}-06-01"))])) - early)
    expected = list(walk(line, zone, after, after + 2 * DAY))
    schedule, found = parse(line, zone), [after]
    while len(found) <= len(expected):
        found.append(next_run(schedule, found[-1], found[-1]))
    assert found[1:] == expected[: len(found)]
    assert next_run(schedule, found[-1], found[-1]) >= after + 2 * DAY


# Over years


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", ["00:00", "02:15", "03:00"])
def test_what_is_daily_runs_once_on_every_day_of_three_years(zone: str, time: str):
    start, end = at("2025-01-01T20:00Z"), at("2028-01-02T20:00Z")
    began = runs(parse(f"daily at {time}", zone), start, end)[1:]  # the first is that of the start
    shown = [datetime.fromtimestamp(moment, ZoneInfo(zone)) for moment in began]
    days = {moment.date() for moment in shown}
    assert len(days) == len(shown) == (max(days) - min(days)).days + 1 >= 3 * 365
    assert sum(f"{moment:%H:%M}" != time for moment in shown) <= 3  # what a clock jumped over, once a year
    assert all(0.9 * DAY < later - sooner < 1.1 * DAY for sooner, later in pairwise(began))


@pytest.mark.parametrize("zone", ZONES)
def test_what_is_hourly_runs_in_every_hour_of_a_year(zone: str):
    began = runs(parse("hourly at :17", zone), at("2026-01-01"), at("2027-01-01"))
    apart = {later - sooner for sooner, later in pairwise(began[1:])}
    assert apart == ({HOUR, 1.5 * HOUR} if zone == "Australia/Lord_Howe" else {HOUR})


@pytest.mark.parametrize("zone", ZONES)
def test_what_counts_hours_does_not_look_at_the_clock_on_the_wall(zone: str):
    began = runs(parse("every 6 hours", zone), at("2026-01-01"), at("2028-01-01"))
    assert began == [at("2026-01-01") + 6 * HOUR * count for count in range(2 * 365 * 4)]


# Machines that are asleep, manual backups, runs that last

SLEEPS = st.lists(st.tuples(st.integers(0, 5 * DAY), st.integers(1, 2 * DAY)), max_size=4)


def asleep_from(start: float, sleeps: list[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
    """Without two that touch: waking up for no time at all is no waking up."""
    periods: list[tuple[float, float]] = []
    for begin, length in sorted(sleeps):
        if not periods or start + begin > periods[-1][1]:
            periods.append((start + begin, start + begin + length))
    return tuple(periods)


@given(line=LINES, zone=st.sampled_from(ZONES), day=st.integers(0, 25000), sleeps=SLEEPS)
def test_each_time_has_one_run_unless_the_machine_slept_till_the_next(
    line: str, zone: str, day: int, sleeps: list[tuple[int, int]]
):
    start = float(day * DAY)
    times = list(walk(line, zone, start, start + 6 * DAY))
    asleep = asleep_from(start, sleeps)
    made = runs(parse(line, zone), start, start + 6 * DAY, asleep=asleep)
    made_for = Counter(bisect_right(times, moment) for moment in made)
    for number, (time, next_time) in enumerate(pairwise(times), 1):
        missed = any(begin <= time and next_time <= awake for begin, awake in asleep)
        assert made_for[number] == (0 if missed else 1), iso(time)


@given(minutes=st.integers(1, 5000), sleeps=SLEEPS)
def test_what_counts_from_the_last_run_makes_up_for_sleep_once(minutes: int, sleeps: list[tuple[int, int]]):
    start = at("2026-03-25")
    asleep = asleep_from(start, sleeps)
    began = runs(parse(f"every {minutes} minutes"), start, start + 6 * DAY, asleep=asleep)
    awakenings = {awake for _, awake in asleep}
    for sooner, later in pairwise(began):
        assert later == sooner + 60 * minutes or (later in awakenings and later > sooner + 60 * minutes)


def test_a_run_that_lasts_longer_than_its_interval_is_followed_by_one_and_not_by_many():
    began = runs(parse("hourly"), at("2026-01-01"), at("2026-01-02"), lasting=2.5 * HOUR)
    assert began == [at("2026-01-01") + 2.5 * HOUR * count for count in range(10)]


def test_a_backup_by_hand_before_the_time_does_not_replace_the_run_and_one_after_it_does():
    daily = parse("daily at 03:00", jitter=HOUR)
    due = next_run(daily, at("2026-01-14T02:58Z"), at("2026-01-14T02:59Z"))
    assert at("2026-01-14T03:00Z") <= due <= at("2026-01-14T04:00Z")
    assert next_run(daily, at("2026-01-14T03:01Z"), at("2026-01-14T03:02Z")) >= at("2026-01-15T03:00Z")


def test_a_run_in_the_very_second_of_its_time_was_the_run_of_that_time():
    daily = parse("daily at 03:00")
    for began in (at("2026-01-14T03:00:00Z"), at("2026-01-14T03:00:00Z") + 0.4):
        assert next_run(daily, began, began) == at("2026-01-15T03:00Z")
    just_before = at("2026-01-14T03:00:00Z") - 1e-6
    assert next_run(daily, just_before, just_before) == at("2026-01-14T03:00Z")


# Jitter

TEXTS = st.sampled_from(
    ["every 6 hours", "every 15 minutes", "hourly", "daily at 02:30", "0,1,30 2 * * *", "* * * * *"]
)


@given(
    text=TEXTS,
    zone=st.sampled_from(ZONES),
    jitter=st.integers(0, 2 * DAY),
    seed=st.text(max_size=8),
    day=st.integers(0, 25000),
)
def test_jitter_makes_runs_later_and_loses_none(text: str, zone: str, jitter: int, seed: str, day: int):
    plain, jittered = parse(text, zone), parse(text, zone, jitter)
    last = float(day * DAY)
    for _ in range(10):
        nominal = next_run(plain, last, last)
        afterwards = next_run(plain, nominal, nominal)
        start = next_run(jittered, last, last, seed)
        assert nominal <= start <= nominal + min(jitter, (afterwards - nominal) / 2)
        assert start == next_run(jittered, last, start, seed) == next_run(jittered, last, (last + start) / 2, seed)
        last = start


def test_jitter_spreads_sources_and_days_over_all_of_it():
    daily = parse("daily at 03:00", jitter=600)
    times = [next_run(daily, at("2026-01-14"), at("2026-01-14"), f"source {number}") for number in range(200)]
    late = [time - at("2026-01-14T03:00Z") for time in times]
    assert min(late) < 60
    assert max(late) > 540
    assert len({moment % DAY for moment in runs(daily, at("2026-01-14T12:00Z"), at("2026-02-14"), seed="app")}) > 20


def test_jitter_is_the_same_tomorrow_by_any_version_of_this_program():
    daily = parse("daily at 03:00", jitter=600)
    assert following(daily, at("2026-01-14"), 2) == ["2026-01-14T03:01:03Z", "2026-01-15T03:03:24Z"]


# Clocks that are wrong


@pytest.mark.parametrize("text", ["every 6 hours", "daily at 03:00", "0 0 29 2 *"])
@pytest.mark.parametrize(
    "now", ["1970-01-01T00:00:00Z", "1970-01-01T00:00:10Z", "2026-01-14T10:00:00Z", "2100-02-28T00:00:00Z"]
)
def test_without_a_last_run_it_is_due_now_and_then_later_at_any_time_of_the_clock(text: str, now: str):
    schedule = parse(text, "America/New_York")
    assert next_run(schedule, None, at(now)) == at(now)
    later = next_run(schedule, at(now), at(now))
    assert at(now) < later <= at(now) + 9 * 366 * DAY
    assert later < good_until(schedule, at(now)) < later + 7 * HOUR


@pytest.mark.parametrize("text", ["every 6 hours", "daily at 03:00", "0 0 29 2 *", "* * * * *"])
def test_a_clock_that_was_put_back_leads_to_one_run_now(text: str):
    schedule, now = parse(text, jitter=60), at("2026-01-14T10:00:00Z")
    for last in (at("2100-01-01"), at("2026-01-14T11:00:00Z"), now + 301):
        assert next_run(schedule, last, now) == now
    assert next_run(schedule, now, now) > now


@pytest.mark.parametrize("text", ["every 6 hours", "daily at 03:00", "hourly at :17"])
def test_a_clock_that_was_corrected_by_minutes_changes_nothing(text: str):
    schedule, last = parse(text), at("2026-01-14T10:00:00Z")
    assert next_run(schedule, last, last - 299) == next_run(schedule, last, last) > last


def test_a_clock_that_went_far_ahead_and_back_costs_two_runs():
    daily, right = parse("daily at 03:00"), at("2026-01-14T10:00:00Z")
    wrong = at("2100-01-01")
    assert next_run(daily, right, wrong) == wrong
    assert next_run(daily, wrong, right + 60) == right + 60
    assert next_run(daily, right + 60, right + 61) == at("2026-01-15T03:00Z")


# Until when a backup is good


@pytest.mark.parametrize(
    ("text", "began", "expected"),
    [
        ("every 6 hours", "2026-01-14T10:20:30Z", "2026-01-14T19:20:30Z"),
        ("every 15 minutes", "2026-01-14T10:20:30Z", "2026-01-14T10:45:30Z"),
        ("every 2 days", "2026-01-14T10:20:30Z", "2026-01-16T16:20:30Z"),
        ("hourly", "2026-01-14T10:20:30Z", "2026-01-14T11:30:00Z"),
        ("daily at 03:00", "2026-01-14T03:00:00Z", "2026-01-15T09:00:00Z"),
        ("daily at 03:00", "2026-01-14T02:58:00Z", "2026-01-14T09:00:00Z"),
        ("0 9-17 * * mon-fri", "2026-01-16T16:00:00Z", "2026-01-16T23:00:00Z"),
        ("0 9-17 * * mon-fri", "2026-01-16T17:00:00Z", "2026-01-19T09:30:00Z"),
    ],
)
def test_a_backup_is_good_until_the_next_start_and_half_an_interval(text: str, began: str, expected: str):
    assert iso(good_until(parse(text), at(began))) == expected


@given(
    text=TEXTS,
    zone=st.sampled_from(ZONES),
    jitter=st.integers(0, DAY),
    seed=st.text(max_size=8),
    day=st.integers(0, 25000),
)
def test_a_backup_stays_good_for_ten_minutes_after_the_next_began_and_at_most_six_hours(
    text: str, zone: str, jitter: int, seed: str, day: int
):
    schedule, began = parse(text, zone, jitter), float(day * DAY)
    slack = good_until(schedule, began, seed) - next_run(schedule, began, began, seed)
    assert 600 <= slack <= 6 * HOUR
