"""Who may see the status page: whoever has the token, or the cookie that was given for it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

COOKIE = "dwebbackup"
"""Its name in browsers."""

MONTH = 30 * 86400


class Visitors:
    """Knows those who may come in by *token*; without one nobody may."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # Made from the token, so that it outlives a restart and ends with the token; the token cannot be had from it.
        self._session = hmac.new(self._token, b"dwebbackup status page session", hashlib.sha256).hexdigest()

    @property
    def may_be_any(self) -> bool:
        """Whether there is a token at all."""
        return bool(self._token)

    def knows(self, environ: Mapping[str, Any]) -> bool:
        """Whether the request carries the token as `Authorization: Bearer`, or our cookie."""
        kind, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip().encode("latin-1", "replace")):
            return True
        return self.may_be_any and _same(_cookie(environ).encode("latin-1", "replace"), self._session.encode())

    def brings_token(self, environ: Mapping[str, Any]) -> bool:
        """Whether the request has the token in its address; then it should get the cookie, and a clean address."""
        try:
            given = parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=20).get("token", [""])
        except ValueError:  # too many fields
            return False
        return self._is_token(given[0].encode())

    def cookie(self, *, secure: bool) -> str:
        """A `Set-Cookie` for somebody who brought the token."""
        only = "; Secure" if secure else ""
        return f"{COOKIE}={self._session}; Path=/; Max-Age={MONTH}; HttpOnly; SameSite=Strict{only}"

    def _is_token(self, given: bytes) -> bool:
        return self.may_be_any and _same(given, self._token)


def _same(given: bytes, right: bytes) -> bool:
    """In constant time, whatever their lengths."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(right).digest())


def _cookie(environ: Mapping[str, Any]) -> str:
    try:
        jar = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""
