"""Where a bucket is and with which key it opens: what `s3://bucket/prefix?endpoint=…` says, read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from dwebbackup.errors import WrongConfiguration

TIMEOUT = 60.0
"""Seconds without one byte of an answer, unless configured."""

_EXAMPLE = "write s3://BUCKET/PREFIX, for other providers than AWS with ?endpoint=https://HOST"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_YES_OR_NO = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Who we are to the server."""

    id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    """Of a session that ends; empty for a key that does not."""


@dataclass(frozen=True, slots=True)
class Address:
    """A place for objects in a bucket, and how to reach it. What is empty or None is left to boto3."""

    bucket: str
    prefix: str = ""
    """Before every object's name; empty, or with a `/` at its end."""
    endpoint: str = ""
    region: str = ""
    path_style: bool | None = None
    """Whether the bucket stands in the path; else it stands before the host."""
    ca: str = ""
    """A file of certificates to trust instead of the usual ones."""
    timeout: float = TIMEOUT

    @classmethod
    def from_url(cls, url: str) -> Address:
        """The inverse of `url`. Raises `WrongConfiguration`."""
        parts = urlsplit(url)
        bucket = unquote(parts.netloc)
        if not _BUCKET.fullmatch(bucket):
            raise WrongConfiguration("a store's URL does not name a bucket", _EXAMPLE)
        pairs = (option.partition("=") for option in parts.query.split("&"))
        options = {key: unquote(value) for key, _, value in pairs}
        return cls(
            bucket,
            _prefix(unquote(parts.path)),
            _endpoint(options.get("endpoint", "")),
            _region(options.get("region", "")),
            _path_style(options),
            options.get("ca", ""),
            _timeout(options),
        )

    @property
    def url(self) -> str:
        """What finds it again from another machine: without what concerns only this one."""
        options = {"endpoint": self.endpoint, "region": self.region}
        if self.path_style is not None:
            options["path_style"] = "yes" if self.path_style else "no"
        query = "&".join(f"{key}={quote(value, safe='/:')}" for key, value in options.items() if value)
        bare = self.link("").rstrip("/")
        return f"{bare}?{query}" if query else bare

    def link(self, name: str) -> str:
        """Of one object."""
        return f"s3://{self.bucket}/{quote(self.prefix + name)}"


def _prefix(path: str) -> str:
    """Without `.` and `..`, which some clients and proxies would resolve."""
    bare = path.strip("/")
    if bare and (not bare.isprintable() or {"", ".", ".."} & set(bare.split("/"))):
        raise WrongConfiguration(f"{bare!r} cannot be a prefix of objects", _EXAMPLE)
    return f"{bare}/" if bare else ""


def _endpoint(url: str) -> str:
    """Not shown where it is wrong: it may hold a password."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
    except ValueError:
        good = False
    if not good or re.search(r"[@#\s]", url):
        raise WrongConfiguration(
            "a store's endpoint is not a URL of a server, or has a user in it",
            "write endpoint=https://HOST:PORT; the access key stands in variables",
        )
    return url.rstrip("/")


def _region(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9-]{1,63}", text):
        raise WrongConfiguration(f"{text!r} is not a region", "write region=eu-central-1")
    return text


def _path_style(options: Mapping[str, str]) -> bool | None:
    text = options.get("path_style")
    if text is None:
        return None
    if text not in _YES_OR_NO:
        raise WrongConfiguration(f"path_style is {text!r}", "write path_style=yes or path_style=no")
    return _YES_OR_NO[text]


def _timeout(options: Mapping[str, str]) -> float:
    text = options.get("timeout", str(TIMEOUT))
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII) or not float(text):
        raise WrongConfiguration(f"{text!r} is not a timeout", "write seconds: timeout=60")
    return float(text)
