"""Channels that are web addresses: JSON of our own, the shapes of Slack and Discord, and pings of monitors."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import dwebbackup
from dwebbackup import clock
from dwebbackup.report.notices.channel import Audience, NotDelivered
from dwebbackup.report.notices.notice import MOST_TEXT, Notice, last_lines, message, message_with_log
from dwebbackup.report.notices.posting import Address, post

DISCORD_MOST = 2000
"""Characters of a message there; a byte is never more than one."""

SLACK_MOST = 3000
"""Bytes; there, longer ones are folded or cut."""

_MARKUP = re.compile(r"([\\*_~`|>#\[\]()<:@-])")
"""What Discord may take for formatting, a link or a mention."""


@dataclass(frozen=True, slots=True)
class Json:
    """Every field of a notice, for programs."""

    address: Address
    audience: ClassVar[Audience] = "people"

    @property
    def called(self) -> str:
        return f"json at {self.address.host}"

    def send(self, notice: Notice) -> None:
        _post_json(
            self.address,
            {
                "program": "dwebbackup",
                "version": dwebbackup.__version__,
                "event": notice.event,
                "title": notice.title,
                "source": notice.source,
                "sentence": notice.sentence,
                "hint": notice.hint,
                "time": clock.iso(notice.time),
                "details": dict(notice.details),
                "log": last_lines(notice.log_tail, MOST_TEXT),
            },
        )


@dataclass(frozen=True, slots=True)
class Slack:
    """An incoming webhook of Slack, or of anything that takes the same (Mattermost, Rocket.Chat)."""

    address: Address
    audience: ClassVar[Audience] = "people"

    @property
    def called(self) -> str:
        return f"slack at {self.address.host}"

    def send(self, notice: Notice) -> None:
        text = f"dwebbackup, {notice.title}\n{message(notice, SLACK_MOST)}"
        for character, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(character, escape)  # or <!channel> in a message would call everybody
        _post_json(self.address, {"text": text, "mrkdwn": False})


@dataclass(frozen=True, slots=True)
class Discord:
    """A webhook of Discord."""

    address: Address
    audience: ClassVar[Audience] = "people"

    @property
    def called(self) -> str:
        return f"discord at {self.address.host}"

    def send(self, notice: Notice) -> None:
        # Escapes can double a text.
        text = _MARKUP.sub(r"\\\1", message(notice, DISCORD_MOST // 2 - 150))
        title = _MARKUP.sub(r"\\\1", notice.title[:100])
        _post_json(self.address, {"content": f"**dwebbackup, {title}**\n{text}", "allowed_mentions": {"parse": []}})


@dataclass(frozen=True, slots=True)
class Ping:
    """A check of healthchecks.io, or of its like: it hears of every run, and is itself alarmed when none comes."""

    address: Address
    audience: ClassVar[Audience] = "monitor"

    @property
    def called(self) -> str:
        return f"ping at {self.address.host}"

    def send(self, notice: Notice) -> None:
        way = {"start": "/start", "failure": "/fail"}.get(notice.event, "")
        where = self.address.below(way, f"rid={notice.run}" if notice.run else "")
        body = message_with_log(notice) if notice.event == "failure" else message(notice)
        answer = post(where, body.encode(), "text/plain; charset=utf-8")
        if "(not found)" in answer:  # healthchecks.io says that with status 200
            raise NotDelivered("it knows no such check", "look up the check's ping URL", again=False)


def _post_json(address: Address, body: dict[str, Any]) -> None:
    post(address, json.dumps(body).encode(), "application/json")
