"""Where a bucket is and with which key it opens: what `s3://bucket/prefix?endpoint=…` says, read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from dwebbackup.errors import WrongConfiguration
from dwebbackup.stores.providers import AWS, Provider, provider

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
    provider: Provider = AWS

    @classmethod
    def from_url(cls, url: str) -> Address:
        """The inverse of `url`. Raises `WrongConfiguration`."""
        parts = urlsplit(url)
        bucket = unquote(parts.netloc)
        if not _BUCKET.fullmatch(bucket):
            raise WrongConfiguration("a store's URL does not name a bucket", _EXAMPLE)
        pairs = (option.partition("=") for option in parts.query.split("&"))
        options = {key: unquote(value) for key, _, value in pairs}
        whose = provider(parts.scheme, options.get("tier", ""))
        return cls(
            bucket,
            _prefix(unquote(parts.path)),
            _endpoint(options, whose),
            _region(options.get("region", "")) or whose.region,
            _path_style(options, whose),
            options.get("ca", ""),
            _timeout(options),
            whose,
        )

    @property
    def url(self) -> str:
        """What finds it again from another machine: without what concerns only this one, or is usual there."""
        usual = self.provider
        options = {
            "tier": usual.tier,
            "endpoint": self.endpoint if self.endpoint != usual.endpoint else "",
            "region": self.region if self.region != usual.region else "",
        }
        if self.path_style is not None and self.path_style != usual.path_style:
            options["path_style"] = "yes" if self.path_style else "no"
        query = "&".join(f"{key}={quote(value, safe='/:')}" for key, value in options.items() if value)
        bare = self.link("").rstrip("/")
        return f"{bare}?{query}" if query else bare

    def link(self, name: str) -> str:
        """Of one object."""
        return f"{self.provider.scheme}://{self.bucket}/{quote(self.prefix + name)}"


def _prefix(path: str) -> str:
    """Without `.` and `..`, which some clients and proxies would resolve."""
    bare = path.strip("/")
    if bare and (not bare.isprintable() or {"", ".", ".."} & set(bare.split("/"))):
        raise WrongConfiguration(f"{bare!r} cannot be a prefix of objects", _EXAMPLE)
    return f"{bare}/" if bare else ""


def _endpoint(options: Mapping[str, str], whose: Provider) -> str:
    """Never AWS's by accident: a preset that has none of its own must be told."""
    url = options.get("endpoint", "")
    if whose.example and not url:
        raise WrongConfiguration(
            f"a store's URL, {whose.scheme}://…, does not say where its server is", f"write endpoint={whose.example}"
        )
    return server_url(url, "endpoint") if url else whose.endpoint


def server_url(url: str, option: str) -> str:
    """*url*, not shown where it is wrong: it may hold a password. Raises `WrongConfiguration`."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
    except ValueError:
        good = False
    if not good or re.search(r"[@#\s]", url):
        raise WrongConfiguration(
            f"a store's {option} is not a URL of a server, or has a user in it",
            f"write {option}=https://HOST:PORT; secrets stand in variables",
        )
    return url.rstrip("/")


def _region(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9-]{1,63}", text):
        raise WrongConfiguration(f"{text!r} is not a region", "write region=eu-central-1")
    return text


def _path_style(options: Mapping[str, str], whose: Provider) -> bool | None:
    text = options.get("path_style")
    if text is None:
        return whose.path_style
    if text not in _YES_OR_NO:
        raise WrongConfiguration(f"path_style is {text!r}", "write path_style=yes or path_style=no")
    return _YES_OR_NO[text]


def _timeout(options: Mapping[str, str]) -> float:
    text = options.get("timeout", str(TIMEOUT))
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII) or not float(text):
        raise WrongConfiguration(f"{text!r} is not a timeout", "write seconds: timeout=60")
    return float(text)
