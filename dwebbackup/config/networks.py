"""Where backups are looked for without a store: gateways, portals, and servers that keep names."""

from __future__ import annotations

import re
from functools import partial
from urllib.parse import urlsplit

from dwebbackup.config.layers import Reader
from dwebbackup.errors import WrongConfiguration

GATEWAYS = ("https://trustless-gateway.link", "https://ipfs.io", "https://dweb.link", "https://ipfs.filebase.io")
"""Public ones, which give raw blocks and records to everybody. Nobody has to be trusted: what they give is checked."""

PORTALS = ()
"""None of Skynet is known to run."""

ROUTERS = ("https://delegated-ipfs.dev",)


def gateways(read: Reader) -> tuple[str, ...]:
    return _urls(read, "GATEWAYS", GATEWAYS)


def portals(read: Reader) -> tuple[str, ...]:
    return _urls(read, "PORTALS", PORTALS)


def routers(read: Reader) -> tuple[str, ...]:
    return _urls(read, "ROUTERS", ROUTERS)


def _urls(read: Reader, name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    return read.value(name, partial(_parsed, name.lower()), usual)


def _parsed(what: str, text: str) -> tuple[str, ...]:
    if text.lower() == "off":
        return ()
    return tuple(dict.fromkeys(_url(what, each) for each in text.split()))


def _url(what: str, text: str) -> str:
    """Without a `/` at its end. Raises `WrongConfiguration`, which does not show it: it may hold a password."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in text or re.search(r"[?#]", text):
        raise WrongConfiguration(
            f"one of the {what} is no plain address of a web server", "write https://HOST; several: with spaces; or off"
        )
    return text.rstrip("/")
