"""A source or a store as one URL says it, and the passwords that a URL must not carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from dwebbackup.errors import WrongConfiguration
from dwebbackup.schedule import Schedule

LONGEST_NAME = 64

_ANY = ("name", "required", "deletes")
_HTTP = (*_ANY, "ca", "timeout")
_S3 = (*_HTTP, "endpoint", "region")

STORE_OPTIONS = {
    "file": _ANY,
    "s3": (*_S3, "path_style"),
    "filebase": (*_S3, "tier", "names"),
    "sia+s3d": (*_S3, "admin"),
    "sia+renterd": _S3,
    "ipfs+http": _HTTP,
    "ipfs+https": _HTTP,
    "skynet+http": ("name", "required", "ca", "timeout"),
    "skynet+https": ("name", "required", "ca", "timeout"),
}
"""What may stand behind the `?` of a store's URL."""

_DEFAULT_NAMES = {
    "file": "local",
    "sia+s3d": "s3d",
    "sia+renterd": "renterd",
    "ipfs+http": "ipfs",
    "ipfs+https": "ipfs",
    "skynet+http": "skynet",
    "skynet+https": "skynet",
}
"""Others are called what their kind is."""

_USUAL = {"endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "region": ("AWS_REGION", "AWS_DEFAULT_REGION")}

# Credentials end as in libpq: at the first `@`, if that comes before any `/`; `?` and `#` may stand in them.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://(?:(?P<user>[^/@:]*)(?::(?P<password>[^/@]*))?@)?"
    r"(?P<host>[^/?]*)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One database or folder to back up; its URL may hold a password."""

    name: str
    url: str = field(repr=False)
    schedule: Schedule | None = None
    """None where it has none of its own."""


@dataclass(frozen=True, slots=True)
class StoreSecrets:
    """With what a store is opened; what it does not need is empty."""

    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """Where it is no access key."""


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One place to keep backups in; *name* is empty where the user gave none."""

    url: str
    """With its options, and without name, `required`, `deletes` or secrets."""
    name: str = ""
    required: bool = True
    """Whether a backup counts only when this store has everything."""
    deletes: bool = True
    """Whether the key at hand may delete there."""
    secrets: StoreSecrets | None = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """The URL's scheme."""
        return self.url.partition("://")[0].lower()

    def option(self, name: str) -> str:
        """Of its URL; empty where it is not there."""
        said = (option.partition("=") for option in self.url.partition("?")[2].split("&"))
        return next((unquote(value) for key, _, value in said if key == name), "")

    @property
    def called(self) -> str:
        """Its name, or the one that a store of its kind has without."""
        return self.name or _DEFAULT_NAMES.get(self.kind, self.kind)


def parse_source(url: str, name: str = "") -> SourceConfig:
    """The database's or the folder's own name serves where neither *name* nor `?name=`, which is ours, says another.

    Raises `WrongConfiguration`, without the URL.
    """
    match = require_encoded(url, "a source")
    options = (match["query"] or "").split("&")
    said = {key: unquote(value) for key, _, value in (option.partition("=") for option in options)}
    candidates = (
        name,
        said.get("name"),
        _own_name(match),
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


def _own_name(match: re.Match[str]) -> str:
    """The database's name, or the last one of a folder's path."""
    path = unquote(match["path"] or "")
    return path.rstrip("/").rpartition("/")[2] if match["scheme"].lower() == "files" else path


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
    if match["user"] is not None:
        raise WrongConfiguration(
            "a store's URL has a user in it",
            "secrets stand in DWEBBACKUP_STORE_<NAME>_ACCESS_KEY_ID and …_SECRET_ACCESS_KEY",
        )
    options = [option for option in (match["query"] or "").split("&") if option]
    said = _store_options(options, STORE_OPTIONS.get(match["scheme"].lower(), ("name",)))
    name = name or said.get("name", "")
    if name and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
        raise WrongConfiguration(
            "a store's name is made of a-z, 0-9, _ and -, at most 32 of them", "name it: …?name=NAME"
        )
    deletes = _yes_or_no(said, "deletes", "write deletes=no where the key must not delete anything")
    required = _yes_or_no(said, "required", "write required=no where backups may go on without this store")
    rest = "&".join(option for option in options if not option.startswith(("name=", "required=", "deletes=")))
    bare = url.partition("?")[0]
    return StoreConfig(f"{bare}?{rest}" if rest else bare, name, required, deletes)


def _yes_or_no(said: Mapping[str, str], option: str, hint: str) -> bool:
    text = said.get(option, "yes")
    if text not in ("yes", "no"):
        raise WrongConfiguration(f"{option} is {text!r}", hint)
    return text == "yes"


def _store_options(options: list[str], known: tuple[str, ...]) -> dict[str, str]:
    said: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in known:
            raise WrongConfiguration(f"a store has no option {key!r}", f"there is: {', '.join(known)}")
        if key in said:
            raise WrongConfiguration(f"a store has the option {key} twice")
        said[key] = unquote(value)
    return said


def with_usual(store: StoreConfig, environment: Mapping[str, str]) -> StoreConfig:
    """With what its URL leaves open and AWS's own variables say, so that it is written down with the backups."""
    url = store.url
    for option, variables in _USUAL.items():
        value = next(filter(None, map(environment.get, variables)), "")
        if value and store.kind == "s3" and not re.search(rf"[?&]{option}=", url):
            url += f"{'&' if '?' in url else '?'}{option}={quote(value, safe='/:')}"
    return replace(store, url=url)


def refuse_password(option: str, url: str) -> None:
    """Raises `WrongConfiguration` when *url*, given as that option, carries a password."""
    match = _URL.fullmatch(url)
    query = (match["query"] or "") if match else url
    if (match and match["password"]) or re.search(r"(?i)(^|[&\s])(ssl)?password\s*=", query):
        raise WrongConfiguration(
            f"{option}: everybody on this machine can see a password on the command line",
            "put it into DWEBBACKUP_SOURCE or DWEBBACKUP_TARGET, a file (…_FILE), PGPASSWORD or ~/.pgpass",
        )
