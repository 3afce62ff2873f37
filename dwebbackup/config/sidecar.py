"""The settings of the sidecar: when it backs up, where its page listens, whom it tells, what makes it suspicious."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from dwebbackup import schedule
from dwebbackup.config.durations import seconds
from dwebbackup.config.layers import Reader
from dwebbackup.schedule import Schedule

SCHEDULE = Schedule("every 6 hours")
LISTEN = "0.0.0.0:8080"
SUSPECT_BELOW = 0.5
"""What counts where nobody says otherwise."""

SHORTEST_TOKEN = 16
"""Characters. The page can be asked by anybody on the internet, as often as he likes."""

MOST_PORT = 65535

_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_LISTEN = re.compile(r"(?:(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?:)?(?P<port>[0-9]{1,5})")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/].*")


def scheduling(read: Reader) -> Callable[[str], Schedule]:
    """How the text of a schedule is read: in the configured time zone, with the configured jitter."""
    zone = read.value("TIMEZONE", lambda text: schedule.parse(SCHEDULE.text, text).zone, SCHEDULE.zone)
    jitter = read.value("JITTER", _jitter, 0, "a length of time", "write 90s, 10m or 1h30m")
    return partial(schedule.parse, zone=zone, jitter=jitter)


def listen(read: Reader) -> str:
    """`HOST:PORT`; empty where the page is not wanted."""
    return read.value("LISTEN", _listen, LISTEN, "an address and a port", "write 0.0.0.0:8080, 8080 or off")


def page_token(read: Reader) -> str:
    """Empty where there is none."""
    what = f"a token of at least {SHORTEST_TOKEN} characters, without spaces"
    return read.value("PAGE_TOKEN", _token, "", what, "make one: openssl rand -hex 16")


def notify(read: Reader) -> tuple[str, ...]:
    """Whom to tell. Whether somebody can be told by such a URL is known where that is done."""
    return read.value("NOTIFY", _urls, (), "one or more URLs", "separate them by spaces")


def suspect_below(read: Reader) -> float:
    """A share, from 0 to 1."""
    return read.value("SUSPECT_BELOW", _share, SUSPECT_BELOW, "a share", "write 50%, or 0% to turn it off")


def backup_on_stop(read: Reader) -> bool:
    """Whether to back up once more before the end."""
    return read.value("BACKUP_ON_STOP", _yes_or_no, otherwise=False, must_be="yes or no")


def _jitter(text: str) -> int | None:
    return 0 if re.fullmatch("0[smhd]?", text) or text.lower() in _NO else seconds(text)


def _listen(text: str) -> str | None:
    if text.lower() in _NO:
        return ""
    match = _LISTEN.fullmatch(text)
    if not match or int(match["port"]) > MOST_PORT:
        return None
    return f"{match['host'] or '0.0.0.0'}:{int(match['port'])}"  # noqa: S104  # a page in a container is for outside


def _token(text: str) -> str | None:
    plain = text.isascii() and text.isprintable() and " " not in text
    return text if plain and len(text) >= SHORTEST_TOKEN else None


def _urls(text: str) -> tuple[str, ...] | None:
    urls = tuple(dict.fromkeys(text.split()))
    return urls if all(map(_URL.fullmatch, urls)) else None


def _share(text: str) -> float | None:
    match = _SHARE.fullmatch(text)
    share = 0.0 if text.lower() in _NO else float(match[1]) / 100 if match else 2
    return share if share <= 1 else None


def _yes_or_no(text: str) -> bool | None:
    return True if text.lower() in _YES else False if text.lower() in _NO else None
