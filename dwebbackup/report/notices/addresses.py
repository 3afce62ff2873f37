"""A channel as one URL says it, and which parts of that URL nobody may see."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from dwebbackup.errors import WrongConfiguration
from dwebbackup.report.notices.channel import Channel
from dwebbackup.report.notices.mail import Mail
from dwebbackup.report.notices.posting import Address
from dwebbackup.report.notices.webhooks import Discord, Json, Ping, Slack
from dwebbackup.report.redaction import hide

_WEB: dict[str, Callable[[Address], Channel]] = {"json": Json, "slack": Slack, "discord": Discord, "ping": Ping}

_WELL_KNOWN = (
    (re.compile(r"hooks\.slack(-gov)?\.com/"), "slack"),
    (re.compile(r"((ptb|canary)\.)?discord(app)?\.com/api/"), "discord"),
    (re.compile(r"hc-ping\.com/"), "ping"),
)
"""Whose plain https:// says enough."""

_FORMS = "json+https://…, slack+https://…, discord+https://…, ping+https://…, smtp://… or smtps://…"

_MAIL_PORTS = {"smtp": 587, "smtps": 465}

_MAIL_FORM = "smtp://USER:PASSWORD@HOST:587/?from=backup@example.com&to=you@example.com"

_ADDRESS = re.compile(r"[^\s@<>,;\"()]+@[^\s@<>,;\"()]+")

SHORTEST_SECRET = 6
"""Characters; what is shorter stands in too many words to be hidden."""

SHORTEST_PATH = 16
"""The same of a path: `/backup` stands in many lines."""

_WORD = re.compile(r"[A-Z]?[a-z]+([-_.][a-z]+)*")
"""A piece of a path that is no token: `services`, `webhooks`, `my-alerts`."""


def parse_channel(url: str) -> Channel:
    """Raises `WrongConfiguration`, without the URL. From here on every log line hides what is secret in it."""
    if re.search(r"\s|[^\x21-\x7e]", url):
        raise WrongConfiguration(
            "a channel of DWEBBACKUP_NOTIFY has a special character in it", "write it as %XX: %20 for a space"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        raise _no_url() from None
    if not parts.hostname:
        raise _no_url()
    if parts.fragment:
        raise WrongConfiguration("a channel of DWEBBACKUP_NOTIFY has a # in it", "write it as %23")
    _hide_secrets(url, parts)
    return _mail(parts) if parts.scheme in _MAIL_PORTS else _web(parts)


def _no_url() -> WrongConfiguration:
    return WrongConfiguration(
        "a channel of DWEBBACKUP_NOTIFY is not a URL",
        f"write {_FORMS}; special characters in a user or a password as %XX: %40 for @, %2F for /",
    )


def _web(parts: SplitResult) -> Channel:
    kind, plus, scheme = parts.scheme.rpartition("+")
    if not plus:
        place = f"{parts.hostname}{parts.path}"
        kind = next((known for pattern, known in _WELL_KNOWN if pattern.match(place)), "")
    make = _WEB.get(kind)
    if make is None or scheme not in {"http", "https"}:
        raise WrongConfiguration("a channel of DWEBBACKUP_NOTIFY is of no known kind", f"write {_FORMS}")
    if scheme == "http" and kind != "json" and not _is_this_machine(parts.hostname or ""):
        raise WrongConfiguration(
            f"a {kind} channel of DWEBBACKUP_NOTIFY has no TLS, and everybody on the way could read it",
            f"write {kind}+https://…; without TLS, there is only json+http://…",
        )
    if kind != "json" and not parts.path.strip("/"):
        raise WrongConfiguration(
            f"a {kind} channel of DWEBBACKUP_NOTIFY ends after its host", "copy the whole address from the service"
        )
    return make(Address(parts._replace(scheme=scheme).geturl()))


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _mail(parts: SplitResult) -> Channel:
    said: dict[str, list[str]] = {"from": [], "to": []}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in said:
            raise WrongConfiguration("a mail channel of DWEBBACKUP_NOTIFY has an unknown option", f"write {_MAIL_FORM}")
        said[name] += value.replace(" ", "+").split(",")  # a + in an address is one
    wrong = [each for each in (*said["from"], *said["to"]) if not _ADDRESS.fullmatch(each)]
    if wrong or len(said["from"]) != 1 or not said["to"]:
        raise WrongConfiguration(
            "a mail channel of DWEBBACKUP_NOTIFY needs one from= and a to=, both addresses", f"write {_MAIL_FORM}"
        )
    if (parts.username is None) != (parts.password is None):
        raise WrongConfiguration(
            "a mail channel of DWEBBACKUP_NOTIFY has a user without a password", f"write {_MAIL_FORM}"
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user + password).isascii():  # smtplib could not send them, and its error would name them
        raise WrongConfiguration(
            "a mail channel of DWEBBACKUP_NOTIFY has a user or password that is not ASCII", "choose another one"
        )
    return Mail(
        host=parts.hostname or "",
        port=parts.port or _MAIL_PORTS[parts.scheme],
        implicit_tls=parts.scheme == "smtps",
        sender=said["from"][0],
        recipients=tuple(said["to"]),
        user=user,
        password=password,
    )


def _hide_secrets(url: str, parts: SplitResult) -> None:
    """All of the URL, and what in it may open something: a password, a path with a token in it, an option's value."""
    secrets = [(url, 1), (parts.password or "", SHORTEST_SECRET)]
    if parts.scheme not in _MAIL_PORTS:
        behind_host = f"{parts.path}?{parts.query}" if parts.query else parts.path
        secrets += [(parts.username or "", SHORTEST_SECRET), (behind_host, SHORTEST_PATH), (parts.path, SHORTEST_PATH)]
        secrets += [(segment, SHORTEST_PATH // 2) for segment in parts.path.split("/") if not _WORD.fullmatch(segment)]
        secrets += [(value, SHORTEST_SECRET) for _, value in parse_qsl(parts.query)]
    for secret, shortest in secrets:
        if len(secret) >= shortest:
            hide(secret)
            hide(unquote(secret))
