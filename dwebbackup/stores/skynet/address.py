"""Where a Skynet portal is, as its URL says it."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from dwebbackup.errors import WrongConfiguration
from dwebbackup.stores import NO_END, Waiting
from dwebbackup.stores.web import Web

API_KEY = "Skynet-Api-Key"

_SECONDS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?")
_TIMEOUT = "60"


def portal_at(url: str, token: str = "", waiting: Waiting = NO_END) -> Web:
    """The portal at `skynet+https://portal/path?ca=FILE&timeout=SECONDS`, or `https://portal`. *token*: its API key.

    Raises `WrongConfiguration`, without what may be a secret.
    """
    bare, _, query = url.removeprefix("skynet+").partition("?")
    _require_address(bare)
    said = {key: unquote(value) for key, _, value in (option.partition("=") for option in query.split("&"))}
    timeout = said.get("timeout", _TIMEOUT)
    if not _SECONDS.fullmatch(timeout) or not float(timeout):
        raise WrongConfiguration(f"{timeout!r} is not a timeout", "write seconds: timeout=60")
    headers = {API_KEY: token} if token else {}
    return Web(bare, timeout=float(timeout), ca=said.get("ca", ""), headers=headers, waiting=waiting)


def _require_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[@#\s]", url):
        raise WrongConfiguration(
            "a Skynet portal's URL is not one of a server, or has a user in it",
            "write skynet+https://HOST; its API key stands in DWEBBACKUP_STORE_<NAME>_TOKEN",
        )
