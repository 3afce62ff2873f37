"""What goes wrong when a web server is asked, as our own errors: in few words, and without what is secret."""

from __future__ import annotations

import http.client
import os
import re
import ssl
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from dwebbackup.errors import StoreUnreachable, WrongConfiguration
from dwebbackup.stores import Busy, Refused

if TYPE_CHECKING:
    from dwebbackup.stores.web import Answer

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_KEY = "check the key or token that is configured for it"
_ADDRESS = "check its address"
_HINTS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: _KEY,
    HTTPStatus.FORBIDDEN: _KEY,
    HTTPStatus.NOT_FOUND: _ADDRESS,
    HTTPStatus.METHOD_NOT_ALLOWED: _ADDRESS,
    HTTPStatus.INSUFFICIENT_STORAGE: "it has no room: make some, or use another one",
}
_UP = "is it up, and reachable from here?"
_CUT = "its answer breaks off"
_LONGEST_EXCERPT = 200
_HARMLESS = {"accept", "accept-encoding", "content-type", "range", "user-agent"}
_SHORTEST_SECRET = 6
"""Characters; shorter words of a header are no secrets, such as `Basic`."""


def trusted(ca: str) -> str | bool:
    """What certificates are checked against: this file, else the user's, else the list that comes with `requests`.

    Raises `WrongConfiguration` for a file that cannot be used.
    """
    for name, path in (("ca", ca), *((each, os.environ.get(each, "")) for each in _VARIABLES)):
        if path:
            if os.path.isfile(path):
                _require_certificates(name, path)
            elif not os.path.isdir(path) or name == "ca":
                raise WrongConfiguration(f"{name} names no file: {path}", "write the path of a file in PEM form")
            return path
    return True


_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def _require_certificates(name: str, path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise WrongConfiguration(
            f"{name} names a file without usable certificates: {path}", "write the path of a file in PEM form"
        ) from error


def sendable(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The same. Raises `WrongConfiguration`, without the value, for what cannot be sent."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise WrongConfiguration(
                f"what is to be sent as {name} has characters that cannot be in it", "copy the key or token again"
            )
    return headers


def content_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Teller:
    """Says of one server what went wrong."""

    host: str
    """With its port."""

    def complaint(self, request: requests.Request, answer: Answer, expect: Collection[int]) -> StoreUnreachable:
        """A status that is not in *expect*."""
        status = answer.status
        said = self._excerpt(answer, request.headers or {})
        what = f"{self.host} answered {request.method} {urlsplit(request.url).path} with HTTP status {status}{said}"
        if 200 <= status < 300:
            return Refused(f"{what}, and {', '.join(map(str, sorted(expect)))} was expected", _ADDRESS)
        if status < 500 and status not in _TRANSIENT:
            return Refused(what, _HINTS.get(status, ""))
        pause = _pause(answer.headers)
        if pause and status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            return Busy(what, "it has too much to do", pause)
        return StoreUnreachable(what, _HINTS.get(status, ""))

    def elsewhere(self, url: str) -> Refused:
        """A redirect to another server. Whatever else stands in its address may be a secret."""
        parts = urlsplit(url)
        return Refused(
            f"{self.host} redirects to {parts.scheme}://{parts.netloc.rpartition('@')[2]}, and is not followed there",
            "write that address instead, if it is the one that is meant",
        )

    def page(self) -> Refused:
        return Refused(f"{self.host} answered with a web page instead", "check its address; does it want a login?")

    def broken_off(self, error: Exception) -> tuple[str, str]:
        """Message and hint."""
        said = _innermost(error)
        return f"the answer of {self.host} breaks off" + (f": {said}" if said != _CUT else ""), _UP

    def failure(self, error: Exception, what: str, passed: str) -> StoreUnreachable:
        """There was no answer, or no end of it. The error's own text is not told: URLs and headers stand in it."""
        said = _innermost(error)
        if _is_about_time(error):
            return StoreUnreachable(
                f"{self.host} did not answer {what} in time ({passed})",
                "it, or the line to it, is too slow",
            )
        if isinstance(error, requests.exceptions.SSLError):
            return self._of_tls(error, said)
        if isinstance(error, requests.exceptions.ProxyError):
            return StoreUnreachable(f"the proxy does not let us through to {self.host}: {said}", _UP)
        if isinstance(error, ValueError) and not isinstance(error, requests.exceptions.ConnectionError):
            return Refused(f"{self.host} cannot be asked {what}: {type(error).__name__}", _ADDRESS)
        return StoreUnreachable(f"{self.host} does not answer {what}: {said}", _UP)

    def _of_tls(self, error: Exception, said: str) -> StoreUnreachable:
        if _has(error, ssl.SSLCertVerificationError):
            return Refused(
                f"the certificate of {self.host} is not one that this machine trusts: {said}",
                "name the authority that signed it by ca=FILE in the address; and is the clock right?",
            )
        if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST", said):
            return Refused(f"{self.host} does not speak TLS: {said}", "write http://…, if that is meant")
        return StoreUnreachable(f"{self.host} broke off TLS: {said}", _UP)

    @staticmethod
    def _excerpt(answer: Answer, headers: Mapping[str, str | bytes]) -> str:
        """What the server says to explain itself, if people can read it."""
        if content_type(answer.headers) == "text/html":
            return ""
        text = " ".join(answer.body.decode(errors="replace").split())
        for secret in _secrets(headers):
            text = text.replace(secret, "…")
        text = "".join(each if each.isprintable() else "?" for each in text)
        return f": {text[:_LONGEST_EXCERPT]}" if text else ""


def _secrets(headers: Mapping[str, str | bytes]) -> Iterator[str]:
    """What a server might give back to us, and nobody should read."""
    for name, value in headers.items():
        if name.lower() not in _HARMLESS:
            yield from (word for word in (str(value), *str(value).split()) if len(word) >= _SHORTEST_SECRET)


def _pause(headers: Mapping[str, str]) -> float:
    """What `Retry-After` says, in seconds or as a time, which is told by the server's clock; 0 for nonsense."""
    after = headers.get("retry-after", "")
    if after.isdecimal():
        return float(after[:9])
    try:
        then = parsedate_to_datetime(after)
        return max(0.0, (then - parsedate_to_datetime(headers.get("date", ""))).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it came of, however the libraries wrapped them."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


def _is_about_time(error: BaseException) -> bool:
    return isinstance(error, requests.Timeout) or _has(error, TimeoutError)


def _innermost(error: BaseException) -> str:
    """Words of the system's or of the TLS library's own, which know nothing of URLs; else what kind of error it is."""
    said = ""
    for each in _chain(error):
        said = getattr(each, "verify_message", "") or (each.strerror if isinstance(each, OSError) else "") or said
    return said or next((words for kind, words in _SILENT.items() if _has(error, kind)), type(error).__name__)


def _has(error: BaseException, kind: type[BaseException]) -> bool:
    return any(isinstance(each, kind) for each in _chain(error))


_SILENT: Mapping[type[BaseException], str] = {
    http.client.IncompleteRead: _CUT,
    http.client.RemoteDisconnected: "it hung up",
    http.client.HTTPException: "its answer is not HTTP",
    urllib3.exceptions.HTTPError: "its answer is not HTTP",
}
"""Errors that have no words of their own, the first that fits."""
