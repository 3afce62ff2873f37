"""What is told: one event, as a record and as text for people, with every secret taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dwebbackup import clock
from dwebbackup.report.redaction import redact

Event = Literal["start", "success", "failure", "recovery", "stale", "suspect", "floor", "alarm"]

TROUBLE = frozenset[Event]({"failure", "stale", "alarm"})
"""What a recovery ends."""

HEADINGS: dict[Event, str] = {
    "start": "started",
    "success": "done",
    "failure": "failed",
    "recovery": "well again",
    "stale": "the newest good backup is too old",
    "suspect": "a backup is suspect",
    "floor": "a prune was held back",
    "alarm": "somebody has to look",
}

MOST_TEXT = 10_000
"""Bytes of text in one message: what monitors of the healthchecks kind keep at least."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened."""

    event: Event
    source: str
    """Empty: the sidecar as a whole."""
    sentence: str
    hint: str = ""
    time: float = 0.0
    """Seconds since 1970."""
    details: tuple[tuple[str, str], ...] = ()
    log_tail: tuple[str, ...] = ()
    """The last log lines, oldest first."""
    run: str = ""
    """The same UUID for a start and what came of it; a `Notifier` sets it."""

    @property
    def title(self) -> str:
        """`app: a backup is suspect`, on one line."""
        line = f"{self.source or 'sidecar'}: {HEADINGS[self.event]}"
        return " ".join("".join(sign if sign.isprintable() else " " for sign in line).split())


def cleaned(notice: Notice) -> Notice:
    """The same without secrets; log lines are looked at together, since a phrase may stand in them word by word."""
    return replace(
        notice,
        source=redact(notice.source),
        sentence=redact(notice.sentence),
        hint=redact(notice.hint),
        details=tuple((redact(name), redact(value)) for name, value in notice.details),
        log_tail=tuple(redact("\n".join(notice.log_tail)).splitlines()),
    )


def message(notice: Notice, most: int = MOST_TEXT) -> str:
    """What happened, what to do about it, and details; at most so many bytes."""
    lines = [notice.sentence]
    if notice.hint:
        lines.append(f"What to do: {notice.hint}")
    lines += [f"{name}: {value}" for name, value in notice.details]
    lines.append(clock.iso(notice.time))
    return shortened("\n".join(lines), most)


def message_with_log(notice: Notice, most: int = MOST_TEXT) -> str:
    """The same, with as many of the last log lines as have room."""
    text = message(notice, most // 2)
    log = "\n".join(last_lines(notice.log_tail, most - len(text.encode()) - 2))
    return f"{text}\n\n{log}" if log else text


def last_lines(lines: tuple[str, ...], most: int) -> list[str]:
    """As many from the end as have room in so many bytes; the end of the last one, if that alone has none."""
    text = "\n".join(lines).encode(errors="replace")
    if len(text) > most:
        text = text[len(text) - max(0, most) :]
        text = text.partition(b"\n")[2] or text
    return text.decode(errors="ignore").splitlines()


def shortened(text: str, most: int) -> str:
    """At most so many bytes of it, in UTF-8; what no UTF-8 can say is a question mark."""
    sent = text.encode(errors="replace")
    if len(sent) <= most:
        return sent.decode()
    return sent[: max(0, most - 3)].decode(errors="ignore") + "…"
