"""A status as a page for people: what its template needs, and the words and pictures in it."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dwebbackup import clock
from dwebbackup.daemon.chart import Chart, chart
from dwebbackup.daemon.histories import History, histories
from dwebbackup.daemon.moments import about, from_now, utc
from dwebbackup.daemon.status import Made, Moving, SourceStatus, Status
from dwebbackup.daemon.summary import Headline, headline, phase, wrong
from dwebbackup.report.redaction import redact
from dwebbackup.report.wording import count, duration, size

NEWEST = 20
"""So many backups of a history are listed one by one; the picture has all."""

RUNS = 10
"""So many of the last runs are listed."""

AGAIN = 30
"""Seconds until the page loads itself again."""

AGAIN_SOON = 5
"""The same, while something moves."""

_COLOURS = {"good": "#0f8a6d", "busy": "#2f6fde", "care": "#b86e00", "bad": "#d03a2f"}
"""Of the icon in the browser's tab."""

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ccircle cx='8' cy='8' r='7' fill='%23{}'/%3E%3C/svg%3E"
)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A history, and its picture."""

    history: History
    chart: Chart

    @property
    def newest(self) -> Sequence[Made]:
        return self.history.made[: -NEWEST - 1 : -1]

    @property
    def suspect(self) -> Sequence[Made]:
        """Newest first."""
        return [made for made in reversed(self.history.made) if made.suspect][:NEWEST]


def view(status: Status, *, still: bool = False) -> bytes:
    """The page, in UTF-8; *still*: it does not load itself again, which disturbs who has it read aloud."""
    moves = any(source.moving for source in status.sources)
    head = headline(status)
    return _render(
        "page.html",
        again=0 if still else AGAIN_SOON if moves else AGAIN,
        head=head,
        histories={source.name: _shown(source, status.now) for source in status.sources},
        icon=_icon(head),
        moment=functools.partial(_moment, status.now),
        now=status.now,
        phase=functools.partial(phase, now=status.now),
        runs=status.runs[: -RUNS - 1 : -1],
        status=status,
        wrong=wrong(status),
    )


def door(kind: Literal["closed", "unusable", "locked", "again"]) -> bytes:
    """For those who may not come in: the page has no token, or one that cannot be used, or they have none, or their
    browser should ask again.
    """
    return _render("door.html", kind=kind, icon=_icon(Headline("busy", "", "")))


def _shown(source: SourceStatus, now: float) -> list[_Shown]:
    """The current one first; only of that it is known when the next backup has to be there."""
    return [
        _Shown(each, chart(each.made, now, source.good_until if each.is_current else None, each.changes))
        for each in histories(source)
    ]


def _render(template: str, **values: Any) -> bytes:
    return _environment().get_template(template).render(style=Markup(STYLE), **values).encode()  # noqa: S704  # our own


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("dwebbackup.daemon", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_secrets,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "about": about,
        "count": count,
        "duration": duration,
        "ending": _ending,
        "prose": _prose,
        "size": size,
        "short": _short,
    }
    made.globals |= {"left": _left, "saved": _saved, "share": _share, "utc": utc}
    return made


def _without_secrets(value: object) -> object:
    """Everything that a template prints passes here."""
    return redact(value) if type(value) is str else value


def _prose(text: str) -> Markup:
    """What stands between backticks is to be typed, and looks like it."""
    typed = re.sub("`([^`]+)`", r'<code class="mono">\1</code>', str(escape(redact(text))))
    return Markup(typed)  # noqa: S704  # escaped in the line above


def _moment(now: float, then: float | None) -> Markup:
    """A moment in UTC, and from now."""
    if then is None:
        return Markup('<span class="none">not known</span>')
    words = '<time datetime="{}">{} <span class="ago">{}</span></time>'
    return Markup(words).format(clock.iso(then), utc(then), from_now(now, then))  # noqa: S704  # filled by `format`


def _left(moving: Moving, now: float) -> str:
    seconds = moving.left(now)
    return "" if seconds is None else f"about {about(seconds)} left"


def _share(moving: Moving) -> str:
    """Of 100, as far as that can be told; what is done may be more than was estimated."""
    return f"{min(100, 100 * moving.done // moving.total)}" if moving.total else ""


def _saved(made: Made) -> str:
    return f"{100 * max(0.0, 1 - made.bytes_stored / made.bytes_read):.1f}%" if made.bytes_read else ""


def _short(identity: str) -> str:
    return identity if len(identity) <= 16 else f"{identity[:12]}…"


def _ending(identity: str) -> str:
    """Of a database: those of one server differ in their last digits."""
    return identity if len(identity) <= 16 else f"…{identity[-12:]}"


def _icon(head: Headline) -> str:
    return _ICON.format(_COLOURS[head.mood].removeprefix("#"))


STYLE = _environment().loader.get_source(_environment(), "style.css")[0]  # type: ignore[union-attr]
"""The style sheet; it stands within the page, and its hash in the page's policy."""
