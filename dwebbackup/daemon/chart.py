"""The timeline of a source's backups as an SVG: what was read, what had to be stored, suspect ones, and gaps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from dwebbackup.daemon.moments import about, utc
from dwebbackup.daemon.status import Made
from dwebbackup.report.redaction import redact
from dwebbackup.report.wording import count, duration, size

WIDTH = 1000
"""Units, not pixels: the picture is stretched to the page, and so has no text in it."""

READ = 96
"""How high the upper half is: the bytes read."""

STORED = 56
"""How high the lower half is: the bytes stored."""

BETWEEN = 8
HEIGHT = READ + BETWEEN + STORED

BARS = 90
"""At most; where there are more backups, neighbours share one."""

TOO_LONG = 2.5
"""So many times the distance before and after it, and a distance between two backups is a gap. Both, because retention
thins out: distances grow towards the past, and that is no gap."""

_SVG = Markup('<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>')
_RECT = '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
_TOLD = Markup('<g class="bar"><title>{}</title>{}</g>')


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture, and what is written around it."""

    svg: Markup
    ends: tuple[str, str]
    """The moments at its left and its right."""
    most_read: int
    most_stored: int


@dataclass(frozen=True, slots=True)
class _Bar:
    made: Sequence[Made]
    until: float

    @property
    def read(self) -> int:
        return max(made.bytes_read for made in self.made)

    @property
    def stored(self) -> int:
        return sum(made.bytes_stored for made in self.made)


def chart(history: Sequence[Made], now: float, good_until: float | None, changes: Sequence[Made] = ()) -> Chart:
    """Of one history, oldest first, at least one backup. *good_until*: from then on a good backup is overdue.

    *changes*: the first backups of those databases that were restored and go on with it.
    """
    first = history[0].finished
    newest_until = history[-1].finished + _usual(history, now)
    last = max(now, newest_until)
    gaps = list(_gaps(history, now, good_until))
    bars = list(_bars(history, last, newest_until, gaps))
    most_read, most_stored = max(bar.read for bar in bars), max(bar.stored for bar in bars)
    scale = _Scale(first, max(last - first, 1), most_read, most_stored)
    marks = map(scale.change, changes)
    inside = Markup().join([*(scale.gap(*gap) for gap in gaps), *(scale.bar(bar) for bar in bars), *marks])
    suspect = sum(bool(made.suspect) for made in history)
    label = f"Timeline: {count(len(history), 'backup')}, {suspect} suspect, {count(len(gaps), 'gap')}"
    return Chart(_SVG.format(WIDTH, HEIGHT, label, inside), _ends(first, last), most_read, most_stored)


def _ends(first: float, last: float) -> tuple[str, str]:
    if last - first < 3 * 86400:
        return utc(first), utc(last)
    return utc(first)[:10], utc(last)[:10]


def _usual(history: Sequence[Made], now: float) -> float:
    """Seconds between two backups, of late."""
    if len(history) == 1:
        return max(60.0, (now - history[0].finished) / 12)
    late = sorted(after.finished - before.finished for before, after in pairwise(history[-6:]))
    return max(1.0, late[len(late) // 2])


def _gaps(history: Sequence[Made], now: float, good_until: float | None) -> Iterator[tuple[float, float]]:
    """Where backups are missing: from when, until when."""
    steps = [after.finished - before.finished for before, after in pairwise(history)]
    for at in range(1, len(steps)):
        around = max(steps[at - 1], steps[at + 1] if at + 1 < len(steps) else 0)
        if steps[at] > TOO_LONG * max(around, 1):
            yield history[at].finished + around, history[at + 1].finished
    newest_good = max((made.finished for made in history if not made.suspect), default=None)
    if good_until is not None and now > good_until and newest_good == history[-1].finished:
        yield good_until, now


def _bars(
    history: Sequence[Made], last: float, newest_until: float, gaps: Sequence[tuple[float, float]]
) -> Iterator[_Bar]:
    """Each reaches to the next one, or to a gap; the newest is as wide as is usual."""
    slot = max((last - history[0].finished) / BARS, 1e-9)
    groups: list[list[Made]] = []
    for made in history:
        if groups and _slot(groups[-1][0], history, slot) == _slot(made, history, slot):
            groups[-1].append(made)
        else:
            groups.append([made])
    ends = [*(group[0].finished for group in groups[1:]), newest_until]
    for group, end in zip(groups, ends, strict=True):
        cut = [begin for begin, _ in gaps if group[-1].finished <= begin < end]
        yield _Bar(group, min([end, *cut]))


def _slot(made: Made, history: Sequence[Made], slot: float) -> int:
    return int((made.finished - history[0].finished) / slot)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From moments and bytes to units."""

    first: float
    seconds: float
    most_read: int
    most_stored: int

    def bar(self, bar: _Bar) -> Markup:
        begin, end = self._x(bar.made[0].finished), self._x(bar.until)
        width = max(3.0, end - begin - min(2.0, (end - begin) / 4))
        begin = min(begin, WIDTH - width)
        kind = "suspect" if any(made.suspect for made in bar.made) else "good"
        read = max(2.0, READ * bar.read / max(self.most_read, 1))
        stored = max(2.0, STORED * math.log1p(bar.stored / 1024) / math.log1p(max(self.most_stored, 1) / 1024))
        whole = _rect("whole", begin, 0, end - begin, HEIGHT)
        upper = _rect(f"read {kind}", begin, READ - read, width, read)
        lower = _rect(f"stored {kind}", begin, HEIGHT - stored, width, stored)
        return _TOLD.format(_words(bar.made), whole + upper + lower)

    def gap(self, begin: float, end: float) -> Markup:
        left = self._x(begin)
        picture = _rect("gap", left, 0, max(3.0, self._x(end) - left), HEIGHT)
        return _TOLD.format(f"no good backup for {about(end - begin)}, until {utc(end)}", picture)

    def change(self, made: Made) -> Markup:
        line = _rect("change", max(0.0, self._x(made.finished) - 2), 0, 2, HEIGHT)
        return _TOLD.format(f"from here on the database is the restored one; {utc(made.finished)}", line)

    def _x(self, moment: float) -> float:
        return min(max((moment - self.first) / self.seconds, 0), 1) * WIDTH


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup(_RECT.format(kind, x, y, max(width, 0), height))  # noqa: S704  # numbers and words of our own


def _words(made: Sequence[Made]) -> str:
    last = made[-1]
    read = f"read {size(max(each.bytes_read for each in made))}"
    stored = f"stored {size(sum(each.bytes_stored for each in made))}"
    reasons = [redact(reason) for each in made for reason in each.suspect]
    suspect = f"\nsuspect: {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
    if len(made) == 1:
        return f"{utc(last.finished)} · {last.id}\n{read}, {stored}, took {duration(last.seconds)}{suspect}"
    return f"{utc(made[0].finished)} to {utc(last.finished)}\n{count(len(made), 'backup')}, {read}, {stored}{suspect}"
