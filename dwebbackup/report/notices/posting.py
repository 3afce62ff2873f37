"""One POST to a web address that is a secret: what went wrong is said without it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dwebbackup
from dwebbackup.report.notices.channel import NotDelivered

if TYPE_CHECKING:
    import requests

MOST_ANSWER = 256
"""Bytes that are read of an answer; what we look for in it stands at its beginning."""

LONGEST_PAUSE = 300.0
"""Seconds that a server can make us wait."""

_WORTH_ANOTHER_TRY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

_UNKNOWN = "the service does not take this address (any more): make a new one, and put it into the setting"

_HINTS: dict[int, str] = dict.fromkeys(
    (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE), _UNKNOWN
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to post to."""

    url: str = field(repr=False)
    timeout: float = 20.0
    """Seconds without one byte, and for connecting."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def below(self, path: str, query: str) -> Address:
        """The same with *path* behind its path, and *query* behind its options."""
        parts = urlsplit(self.url)
        options = "&".join(filter(None, (parts.query, query)))
        return Address(parts._replace(path=parts.path.rstrip("/") + path, query=options).geturl(), self.timeout)


def post(address: Address, body: bytes, content_type: str) -> str:
    """The beginning of the answer. No redirect is followed. Raises `NotDelivered`."""
    import requests  # noqa: PLC0415  # 60 ms that commands need not spend

    headers = {"Content-Type": content_type, "User-Agent": f"dwebbackup/{dwebbackup.__version__}"}
    try:
        with requests.Session() as session:
            session.verify = trusted()
            # Streamed: what is not asked for is not read, however long an answer goes on.
            with session.post(
                address.url,
                data=body,
                headers=headers,
                timeout=address.timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                _judge(response)
                return _beginning(response)
    except (OSError, ValueError) as error:
        # What these say names the whole URL.
        raise NotDelivered(_reason(error), again=True) from None


def _beginning(response: requests.Response) -> str:
    try:
        return next(response.iter_content(MOST_ANSWER), b"").decode(errors="replace")
    except OSError:
        return ""  # its status has said that the notice was taken: to send it again would tell it twice


def trusted() -> str:
    """What others' certificates are checked against: the user's file or folder, else the list that `requests` brings.

    Raises `NotDelivered` where the user's is not there.
    """
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415  # see `post`

    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if named := os.environ.get(variable):
            if not os.path.exists(named):
                raise NotDelivered(f"{variable} names a file that is not there", again=True)
            return named
    return DEFAULT_CA_BUNDLE_PATH


def _judge(response: requests.Response) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise NotDelivered(
            f"it answered with a redirect ({status})", "put the address it leads to into the setting", again=False
        )
    again = status >= 500 or status in _WORTH_ANOTHER_TRY
    raise NotDelivered(f"it answered {status}", _HINTS.get(status, ""), again=again, pause=_pause(response))


def _pause(response: requests.Response) -> float:
    said = response.headers.get("Retry-After", "")
    return min(float(said), LONGEST_PAUSE) if said.isascii() and said.isdigit() else 0.0


def _reason(error: Exception) -> str:
    import requests  # noqa: PLC0415  # see `post`

    if isinstance(error, requests.exceptions.SSLError):
        return _with_cause("there is no secure connection to it", error)
    if isinstance(error, requests.exceptions.ProxyError):
        return _with_cause("the proxy does not let us through", error)
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    return _with_cause("it cannot be reached", error)


def _with_cause(sentence: str, error: BaseException) -> str:
    said = _system_says(error)
    return f"{sentence}: {said}" if said else sentence


def _system_says(error: BaseException | None) -> str:
    """Words of the system's or of the TLS library's own, which know nothing of URLs: the innermost."""
    said = ""
    while error is not None:
        words = getattr(error, "verify_message", "") or (error.strerror if isinstance(error, OSError) else "")
        said = words or said
        error = error.__cause__ or error.__context__
    return said
