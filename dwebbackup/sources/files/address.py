"""A folder as its URL says it: `files:///path?exclude=GLOB&mounts=yes&identity=TEXT`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from dwebbackup.errors import WrongConfiguration

SCHEME = "files"

HINT = "write files:///the/whole/path"


@dataclass(frozen=True, slots=True)
class Address:
    """Which folder is meant, and how it is to be read."""

    path: str
    exclude: tuple[str, ...] = ()
    """Globs of what is left out; see `excluding`."""
    mounts: bool = False
    """Whether what is mounted somewhere in it belongs to it."""
    identity: str = ""
    """The user's word who it is, for file systems whose numbers change."""

    @property
    def url(self) -> str:
        return f"{SCHEME}://{quote(os.fsencode(self.path))}"

    @classmethod
    def from_url(cls, url: str) -> Address:
        """Raises `WrongConfiguration`."""
        where, _, query = url.partition("://")[2].partition("?")
        path = os.fsdecode(unquote_to_bytes(where.removeprefix("localhost")))
        if not os.path.isabs(path) or "\0" in path:
            raise WrongConfiguration(f"{url} does not name a folder", HINT)
        said = list(_options(query))
        exclude = tuple(value for key, value in said if key == "exclude")
        once = dict(said)
        if not all(glob.strip("/") for glob in exclude):
            raise WrongConfiguration("exclude has nothing in it", "write a name or a glob: exclude=*.log")
        if (mounts := once.get("mounts", "no")) not in ("yes", "no"):
            raise WrongConfiguration(f"mounts is {mounts!r}", "write mounts=yes or mounts=no")
        return cls(os.path.normpath(path), exclude, mounts == "yes", once.get("identity", ""))


def _options(query: str) -> Iterator[tuple[str, str]]:
    """A `+` is one, not a blank."""
    for option in filter(None, query.split("&")):
        key, _, value = option.partition("=")
        if key not in ("exclude", "mounts", "identity"):
            raise WrongConfiguration(f"a folder has no option {key!r}", "there is: name, exclude, mounts, identity")
        yield key, os.fsdecode(unquote_to_bytes(value))
