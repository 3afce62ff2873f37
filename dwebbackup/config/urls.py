"""A source or a store as one URL says it, and the passwords that a URL must not carry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from dwebbackup.errors import WrongConfiguration

LONGEST_NAME = 64

# Credentials end as in libpq: at the first `@`, if that comes before any `/`; `?` and `#` may stand in them.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://(?:(?P<user>[^/@:]*)(?::(?P<password>[^/@]*))?@)?"
    r"(?P<host>[^/?]*)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One database to back up; its URL may hold a password."""

    name: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One place to keep backups in; *name* is empty where the user gave none."""

    url: str
    name: str = ""


def parse_source(url: str, name: str = "") -> SourceConfig:
    """The database's own name serves where neither *name* nor `?name=`, which is ours, says another.

    Raises `WrongConfiguration`, without the URL.
    """
    match = require_encoded(url, "a source")
    options = (match["query"] or "").split("&")
    said = {key: unquote(value) for key, _, value in (option.partition("=") for option in options)}
    candidates = (
        name,
        said.get("name"),
        unquote(match["path"] or ""),
        said.get("dbname"),
        unquote(match["user"] or ""),
    )
    name = next(filter(None, candidates), "database")
    if len(name) > LONGEST_NAME or not name.isprintable() or name != name.strip() or "://" in name:
        raise WrongConfiguration(
            f"a source's name has 1 to {LONGEST_NAME} printable characters", "name it: …/DATABASE?name=NAME"
        )
    rest = "&".join(option for option in options if option and not option.startswith("name="))
    bare = url if match["query"] is None else url[: match.start("query") - 1]
    return SourceConfig(name, f"{bare}?{rest}" if rest else bare)


def require_encoded(url: str, what: str) -> re.Match[str]:
    """Raises `WrongConfiguration` where libpq would take a part of the password for something else, and show it."""
    match = _URL.fullmatch(url)
    if not match:
        raise WrongConfiguration(f"{what} is not a URL", "write postgresql://USER@HOST/DATABASE")
    stray_at = "@" in match["host"] or "@" in (match["path"] or "")
    if stray_at or re.search(r"\s|%(?![0-9A-Fa-f]{2})|%00", url):
        raise WrongConfiguration(
            f"{what} has a special character in its user, password or database",
            "write it as %XX: %40 for @, %2F for /, %25 for %, %20 for a space",
        )
    return match


def parse_store(url: str, name: str = "") -> StoreConfig:
    """Raises `WrongConfiguration`, without the URL."""
    match = _URL.fullmatch(url)
    if not match:
        raise WrongConfiguration("a store is not a URL", "a folder is written file:///the/whole/path")
    for option in filter(None, (match["query"] or "").split("&")):
        key, _, value = option.partition("=")
        if key != "name":
            raise WrongConfiguration(f"a store has no option {key!r}", "there is: name")
        name = name or unquote(value)
    if name and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
        raise WrongConfiguration(
            "a store's name is made of a-z, 0-9, _ and -, at most 32 of them", "name it: …?name=NAME"
        )
    return StoreConfig(url.partition("?")[0], name)


def refuse_password(option: str, url: str) -> None:
    """Raises `WrongConfiguration` when *url*, given as that option, carries a password."""
    match = _URL.fullmatch(url)
    query = (match["query"] or "") if match else url
    if (match and match["password"]) or re.search(r"(?i)(^|[&\s])(ssl)?password\s*=", query):
        raise WrongConfiguration(
            f"{option}: everybody on this machine can see a password on the command line",
            "put it into DWEBBACKUP_SOURCE or DWEBBACKUP_TARGET, a file (…_FILE), PGPASSWORD or ~/.pgpass",
        )
