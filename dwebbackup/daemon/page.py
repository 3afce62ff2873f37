"""The sidecar's web application: `/healthz` for anybody; `/` for people and `/metrics` for those who have the token."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dwebbackup.daemon.metrics import CONTENT_TYPE, metrics
from dwebbackup.daemon.status import Status
from dwebbackup.daemon.summary import is_token_unusable, why_unhealthy
from dwebbackup.daemon.view import STYLE, door, view
from dwebbackup.daemon.visitors import Visitors
from dwebbackup.report import log

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-Robots-Tag", "noindex"),
)

_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    body: bytes
    kind: str = _TEXT
    headers: tuple[tuple[str, str], ...] = ()


class Page:
    """A WSGI application. *status* is asked at every request, from the server's threads."""

    def __init__(self, status: Callable[[], Status], token: str, undelivered: Callable[[], int] | None = None) -> None:
        self._status = status
        self._visitors = Visitors(token)
        self._undelivered = undelivered
        self._rooms: dict[str, Callable[[str], _Answer]] = {"/": self._page, "/metrics": self._metrics}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
        except Exception:  # noqa: BLE001  # the page must be there for the next who asks
            log.logger(__name__).exception("the status page could not be made")
            answer = _say(HTTPStatus.INTERNAL_SERVER_ERROR, "this page could not be made; the log says why")
        head = [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body))), *_HEADERS, *answer.headers]
        start_response(f"{answer.status.value} {answer.status.phrase}", head)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnvironment) -> _Answer:
        path = environ.get("PATH_INFO") or "/"
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _say(HTTPStatus.METHOD_NOT_ALLOWED, "this page can only be read", ("Allow", "GET, HEAD"))
        if path == "/healthz":
            return self._health()
        if not self._visitors.may_be_any:
            unusable = is_token_unusable(self._status())
            return _Answer(HTTPStatus.FORBIDDEN, door("unusable" if unusable else "closed"), _HTML)
        if path in self._rooms and self._visitors.brings_token(environ):
            cookie = self._visitors.cookie(secure=_is_encrypted(environ))
            return _say(HTTPStatus.SEE_OTHER, "come in", ("Location", path), ("Set-Cookie", cookie))
        if not self._visitors.knows(environ):
            return _refuse(environ)
        room = self._rooms.get(path)
        return (
            room(environ.get("QUERY_STRING", ""))
            if room
            else _say(HTTPStatus.NOT_FOUND, "there is no such page: see /, /metrics, /healthz")
        )

    def _health(self) -> _Answer:
        reason = why_unhealthy(self._status())
        return _say(HTTPStatus.SERVICE_UNAVAILABLE, reason) if reason else _say(HTTPStatus.OK, "ok")

    def _metrics(self, _: str) -> _Answer:
        undelivered = self._undelivered() if self._undelivered else None
        return _Answer(HTTPStatus.OK, metrics(self._status(), undelivered), CONTENT_TYPE)

    def _page(self, query: str) -> _Answer:
        return _Answer(HTTPStatus.OK, view(self._status(), still=query == "still"), _HTML)


def _say(status: HTTPStatus, sentence: str, *headers: tuple[str, str]) -> _Answer:
    return _Answer(status, f"{sentence}\n".encode(), headers=headers)


def _refuse(environ: WSGIEnvironment) -> _Answer:
    """Somebody without token. A browser that follows a link from elsewhere keeps our cookie (SameSite=Strict) to
    itself, but not when the page that it got loads itself again; that asks as one of ours, so it happens once.
    """
    again = environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
    challenge = ("WWW-Authenticate", 'Bearer realm="dwebbackup"')
    return _Answer(HTTPStatus.UNAUTHORIZED, door("again" if again else "locked"), _HTML, (challenge,))


def _is_encrypted(environ: dict[str, Any]) -> bool:
    """Whether the browser speaks TLS: an ingress in front of us says so. Whoever lies harms only the own cookie."""
    return environ.get("wsgi.url_scheme") == "https" or environ.get("HTTP_X_FORWARDED_PROTO") == "https"
