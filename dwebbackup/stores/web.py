"""One server that is asked over HTTP: bounded in time and size, redirected nowhere else, its secrets never told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from io import BytesIO
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3.exceptions

import dwebbackup
from dwebbackup import clock, stores
from dwebbackup.errors import StoreUnreachable, WrongConfiguration
from dwebbackup.stores import web_errors
from dwebbackup.stores.web_form import File, Form
from dwebbackup.stores.web_limits import Deadline, LimitedAdapter, limited

BLOCK = 256 * 1024
"""Bytes read at once."""

_CONNECT_TIMEOUT = 10.0
_REDIRECTS = 3
_REDIRECT_STATUS = {301, 302, 303, 307, 308}
_LARGEST_COMPLAINT = 4096
"""Bytes that are read of what is not asked for."""

_NONE: Mapping[str, str] = {}


class Endless(stores.Refused):
    """The answer is larger than what was asked for can be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def content_type(self) -> str:
        """In lower case, without parameters."""
        return web_errors.content_type(self.headers)


class BrokenOff(StoreUnreachable):
    """The answer ended before its end; *answer* has what came of it."""

    def __init__(self, message: str, hint: str, answer: Answer) -> None:
        super().__init__(message, hint)
        self.answer = answer


class Web:
    """The server at *base*, `https://host/beginning/of/path`. Safe for several threads.

    Connections are kept; cookies are not, and passwords from files of this machine are not looked up. Proxies are those
    of the environment. *ca*: a file with the authority that signed its certificate. *headers* go with every request;
    what stands in them is never in a message. *waiting*: what ends a request before *timeout* does, which is for all of
    it. *monotonic* is for tests.
    """

    def __init__(
        self,
        base: str,
        *,
        timeout: float = 60.0,
        ca: str = "",
        headers: Mapping[str, str] = _NONE,
        waiting: stores.Waiting = stores.NO_END,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        parts = _parts(base)
        self._base = base.rstrip("/")
        self._timeout = timeout
        self._waiting = waiting
        self._verify = web_errors.trusted(ca)
        self._headers = {
            "User-Agent": f"dwebbackup/{dwebbackup.__version__}",
            "Accept-Encoding": "identity",  # what is not compressed cannot grow
            **web_errors.sendable(headers),
        }
        self._adapter = LimitedAdapter()
        self._teller = web_errors.Teller(parts.netloc.rpartition("@")[2])
        self._monotonic = monotonic

    @property
    def base(self) -> str:
        return self._base

    @property
    def host(self) -> str:
        """With its port, for messages."""
        return self._teller.host

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        files: Mapping[str, File] | None = None,
        limit: int = stores.LARGEST,
        expect: Collection[int] = (200,),
    ) -> Answer:
        """The answer, whole; one whose status is in *expect* is handed back, whatever it is.

        *limit*: bytes of its body, at most. *files* are sent as a form. Raises `Endless`; `Refused` for what another
        try cannot mend, `Busy` where the server says when to ask again, `BrokenOff`, and `StoreUnreachable` for
        everything else.
        """
        sent = {**self._headers, **web_errors.sendable(headers or {})}
        request = requests.Request(method, self._base + path, params=params, headers=sent, data=body)
        if files:
            form = Form(files)
            request.data, request.headers = form, {**sent, "Content-Type": form.content_type}
        deadline = Deadline(self._timeout, self._monotonic, self._waiting)
        with self._telling(f"{method} {path}", deadline), limited(deadline):
            return self._asked(request, deadline, limit, expect)

    def _asked(self, request: requests.Request, deadline: Deadline, limit: int, expect: Collection[int]) -> Answer:
        """Through redirects within the server."""
        for _ in range(_REDIRECTS + 1):
            with self._sent(request, deadline) as response:
                status = response.status_code
                if status in expect:
                    return self._expected(response, limit)
                if status not in _REDIRECT_STATUS or request.method not in ("GET", "HEAD"):
                    answer = Answer(status, _lower(response), _beginning(response))
                    raise self._teller.complaint(request, answer, expect)
                request = self._led_on(request, response)
        raise stores.Refused(f"{self.host} leads round in circles: {_REDIRECTS} redirects, and no end")

    @contextmanager
    def _sent(self, request: requests.Request, deadline: Deadline) -> Iterator[requests.Response]:
        """The adapter is asked, and no session: one would read a redirect's body, however long, and keep cookies."""
        prepared = request.prepare()
        if isinstance(prepared.body, str | bytes):
            whole = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
            prepared.body = BytesIO(whole)  # type: ignore[assignment]  # what can be read is sent block by block
        response = self._adapter.send(
            prepared,
            stream=True,
            timeout=(min(_CONNECT_TIMEOUT, self._timeout), deadline.left()),
            verify=self._verify,
            proxies=requests.utils.get_environ_proxies(prepared.url or "", no_proxy=None),
        )
        try:
            yield response
        finally:
            response.close()  # one that was read to its end has given its connection back

    def _led_on(self, request: requests.Request, response: requests.Response) -> requests.Request:
        target = urljoin(str(response.url), response.headers.get("Location", ""))
        if _origin(target) != _origin(self._base):
            raise self._teller.elsewhere(target)
        return requests.Request(request.method, target, headers=request.headers)

    def _expected(self, response: requests.Response, limit: int) -> Answer:
        headers = _lower(response)
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise stores.Refused(f"{self.host} compressed its answer, though it was asked not to")
        if self._is_page(response, headers):
            raise self._teller.page()
        self._check_length(response, limit)
        body = BytesIO()
        try:
            self._read(response, body, limit)
        except (ConnectionError, HTTPException, urllib3.exceptions.ProtocolError) as error:
            came = Answer(response.status_code, headers, body.getvalue())
            raise BrokenOff(*self._teller.broken_off(error), came) from None
        return Answer(response.status_code, headers, body.getvalue())

    def _is_page(self, response: requests.Response, headers: Mapping[str, str]) -> bool:
        return response.status_code < 300 and web_errors.content_type(headers) == "text/html"

    def _check_length(self, response: requests.Response, limit: int) -> None:
        said = response.headers.get("Content-Length", "")
        if response.request.method != "HEAD" and said.isdecimal() and int(said) > limit:
            raise self._endless(f"{said} bytes", limit)

    def _read(self, response: requests.Response, body: BytesIO, limit: int) -> None:
        while block := response.raw.read1(BLOCK):
            body.write(block)
            if body.tell() > limit:
                raise self._endless("more", limit)

    def _endless(self, said: str, limit: int) -> Endless:
        return Endless(f"{self.host} sends {said}, and what was asked for has at most {limit} bytes")

    @contextmanager
    def _telling(self, what: str, deadline: Deadline) -> Iterator[None]:
        """Errors of the libraries as ours. What they say themselves has whole URLs and headers in it."""
        try:
            yield
        except StoreUnreachable:
            raise
        except (OSError, ValueError, HTTPException, urllib3.exceptions.HTTPError) as error:
            raise self._teller.failure(error, what, deadline.passed) from None


def _parts(base: str) -> SplitResult:
    try:
        parts = urlsplit(base)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:  # what stands before an @ may be a password
        raise WrongConfiguration(f"{base.rpartition('@')[2]} is no address of a web server", "write https://HOST")
    return parts


def _lower(response: requests.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _beginning(response: requests.Response) -> bytes:
    """Of what the server says to explain itself."""
    data = b""
    try:
        while len(data) < _LARGEST_COMPLAINT and (block := response.raw.read1(_LARGEST_COMPLAINT)):
            data += block
    except (OSError, HTTPException, urllib3.exceptions.HTTPError):
        pass  # its status has been told already, and says more than that the rest did not come
    return data[:_LARGEST_COMPLAINT]


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
