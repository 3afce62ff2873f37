"""Where settings come from: variables, a YAML file with the same names, and the files they point to."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Self

from dwebbackup.errors import WrongConfiguration

PREFIX = "DWEBBACKUP_"
SECRETS = ("SOURCE", "KEY", "TARGET")
"""What is a secret, or may hold one: it can stand in a file, too."""
MEANINGS = {
    "SOURCE": "what is backed up: postgresql://USER:PASSWORD@HOST/DATABASE; several: separated by spaces",
    "STORE": "where backups are kept: file:///FOLDER, or s3://BUCKET/PREFIX?endpoint=https://HOST",
    "KEY": "the 24 words, a writer key or a reader key",
    "TARGET": "the database that a restore fills, as with SOURCE",
    "JOBS": "tables read or filled at once; unless set, one for each core that may be used, at most 4",
    "MAX_SNAPSHOT": "how long a backup may hold its snapshot open: 30m, 2h; unless set, as long as it takes",
    "RATE": "bytes a second that a backup may put, of all its uploads together: 800K, 5M; unless set, no limit",
    "RECIPIENTS": "more age recipients (age1…) who can read every backup, separated by spaces",
    "POSTGRES_BIN": "the folder of pg_dump, pg_restore and psql, where they are not found",
}
NAMES = (*MEANINGS, *(f"{name}_FILE" for name in SECRETS))
"""Every variable, without its prefix."""

STORE_SECRETS = {
    "ACCESS_KEY_ID": "the access key of the store NAME: its id",
    "SECRET_ACCESS_KEY": "… and its secret",
    "SESSION_TOKEN": "… and its token, where it is one of a session",
}
"""Variables that each store has, behind `STORE_<NAME>_`. All may stand in a file."""

_OF_A_STORE = re.compile(rf"STORE_([A-Z0-9_]+)_(?:{'|'.join(STORE_SECRETS)})(?:_FILE)?")

FILE_KEYS = (
    "sources",
    "stores",
    "key_file",
    "target",
    "target_file",
    "jobs",
    "max_snapshot",
    "rate",
    "recipients",
    "postgres_bin",
)
LISTS = {"sources": ("name", "url", "url_file"), "stores": ("name", "url")}
PLACES = ("dwebbackup.yaml", "{XDG_CONFIG_HOME}/dwebbackup.yaml", "/etc/dwebbackup.yaml")
"""Where the YAML file is looked for; the first found is the one."""
_CONFIG_HOME = "~/.config"

LARGEST_FILE = 64 * 1024


class Layer:
    """Settings from one place, by the names of their variables. *call* says how the user knows them there."""

    def __init__(self, values: Mapping[str, str], call: Callable[[str], str], warnings: list[str]) -> None:
        self._values = values
        self.call = call
        self._warnings = warnings

    def text(self, name: str) -> str:
        """The value, or what stands in the file it names; empty when it was not given."""
        value, file = self._values.get(name, ""), self._values.get(f"{name}_FILE", "")
        if value and file:
            raise WrongConfiguration(
                f"{self.call(name)} and {self.call(f'{name}_FILE')} are both given", "keep one of them"
            )
        return _read_secret(file, self.call(f"{name}_FILE"), self._warnings) if file else value


class Variables(Layer):
    """The environment. An empty variable is one that was not given."""

    def __init__(self, environment: Mapping[str, str], warnings: list[str]) -> None:
        values = {
            name.removeprefix(PREFIX): value.strip() for name, value in environment.items() if name.startswith(PREFIX)
        }
        super().__init__(values, lambda name: PREFIX + name, warnings)

    def unknown(self) -> Iterator[WrongConfiguration]:
        """A fault for each that begins like ours, and is none."""
        known = [PREFIX + name for name in NAMES]
        for bare in self._values:
            if bare not in NAMES and not _OF_A_STORE.fullmatch(bare):
                name = PREFIX + bare
                yield WrongConfiguration(f"{name} is not a variable of dwebbackup", closest(name, known))

    def store_secrets(self, store: str) -> tuple[str, str, str]:
        """Of the store of that name: key id, secret, token; each may be empty. Raises `WrongConfiguration`."""
        key_id, secret, token = (self.text(f"STORE_{as_variable(store)}_{name}") for name in STORE_SECRETS)
        if bool(key_id) != bool(secret) or (token and not key_id):
            both = f"{PREFIX}STORE_{as_variable(store)}_ACCESS_KEY_ID and …_SECRET_ACCESS_KEY"
            raise WrongConfiguration(f"store {store} has only a part of its access key", f"set both: {both}")
        return key_id, secret, token

    def warn_of_others(self, stores: Sequence[str]) -> None:
        """Secrets of a store that is not among those may be meant for one that is."""
        known = list(map(as_variable, stores))
        for name, value in self._values.items():
            match = _OF_A_STORE.fullmatch(name)
            if value and match and match[1] not in known:
                self._warnings.append(f"{PREFIX}{name} is for a store that is not configured")


def as_variable(store: str) -> str:
    """The store's name as it stands in the names of its variables."""
    return store.upper().replace("-", "_")


class YamlFile(Layer):
    """The configuration file. Paths in it are relative to it. What is wrong with it is noted in *faults*."""

    def __init__(
        self, path: str, document: Mapping[str, Any], warnings: list[str], faults: list[WrongConfiguration]
    ) -> None:
        self._path = path
        self._document = document
        self._faults = faults
        super().__init__(dict(self._scalars()), lambda name: f"{name.lower()} in {path}", warnings)

    @classmethod
    def find(
        cls, wanted: str, environment: Mapping[str, str], warnings: list[str], faults: list[WrongConfiguration]
    ) -> Self:
        """*wanted*, else the first of the usual places, else one without settings."""
        home = environment.get("XDG_CONFIG_HOME", "")
        # A relative one is not valid, says the XDG Base Directory Specification.
        home = home if os.path.isabs(home) else _CONFIG_HOME
        places = [wanted] if wanted else [place.replace("{XDG_CONFIG_HOME}", home) for place in PLACES]
        path = next((path for path in map(os.path.expanduser, places) if wanted or os.path.exists(path)), "")
        document: dict[str, Any] = {}
        with Noting(faults):
            document = _parse(path) if path else {}
        faults.extend(_unknown(document, FILE_KEYS, path))
        return cls(path, document, warnings, faults)

    def entries(self, key: str) -> Iterator[tuple[str, str]]:
        """Name (may be empty) and URL of everything in a list."""
        entries = self._document.get(key) or []
        where = f"{key} in {self._path}"
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self._faults.append(WrongConfiguration(f"{where} is not a list of `- url: …` entries"))
            return
        for entry in entries:
            self._faults.extend(_unknown(entry, LISTS[key], where))
            with Noting(self._faults):
                yield str(entry.get("name", "")), self._url(entry, where)

    def _url(self, entry: Mapping[str, Any], where: str) -> str:
        values = {"URL": str(entry.get("url", "")), "URL_FILE": self._beside(str(entry.get("url_file", "")))}
        url = Layer(values, lambda name: f"{name.lower()} of {where}", self._warnings).text("URL")
        if not url:
            raise WrongConfiguration(f"{where}: an entry has no url")
        return url

    def _scalars(self) -> Iterator[tuple[str, str]]:
        for key, value in self._document.items():
            if key not in LISTS and value is not None:
                parts = value if isinstance(value, list) else [value]
                if not all(isinstance(part, str | int) for part in parts):
                    self._faults.append(WrongConfiguration(f"{key} in {self._path} is not a plain value"))
                    continue
                text = " ".join(map(str, parts))
                yield str(key).upper(), self._beside(text) if str(key).endswith("_file") else text

    def _beside(self, name: str) -> str:
        return os.path.join(os.path.dirname(self._path), os.path.expanduser(name)) if name else ""


class Noting:
    """A block whose `WrongConfiguration` is noted rather than raised, so that all faults can be told at once."""

    def __init__(self, faults: list[WrongConfiguration]) -> None:
        self._faults = faults

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, WrongConfiguration):
            self._faults.append(error)
            return True
        return False


def closest(name: str, known: Sequence[str]) -> str:
    """A hint for a name that is not among *known*."""
    close = get_close_matches(name, known, 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"


def _parse(path: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415  # only where there is such a file

    try:
        document = yaml.safe_load(_read(path, "the configuration")[0])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise WrongConfiguration(f"{path}{place} is not proper YAML") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise WrongConfiguration(f"{path} does not hold `name: value` lines")
    return document


def _unknown(entries: Iterable[Any], known: Sequence[str], where: str) -> Iterator[WrongConfiguration]:
    for key in entries:
        if key not in known:
            yield WrongConfiguration(f"{where}: there is no setting {key!r}", closest(str(key), known))


def _read_secret(path: str, what: str, warnings: list[str]) -> str:
    text, status = _read(path, what)
    if not text.strip():
        raise WrongConfiguration(f"{what}: {path} is empty")
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
        warnings.append(f"everybody on this machine can read {path}: `chmod 600` it")
    return text.strip()


def _read(path: str, what: str) -> tuple[str, os.stat_result]:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
            status = os.fstat(file.fileno())
    except OSError as error:
        raise WrongConfiguration(
            f"{what}: cannot read {path}: {error.strerror}", "is it there, spelt like this, and may you read it?"
        ) from None
    if len(data) > LARGEST_FILE:
        raise WrongConfiguration(f"{what}: {path} is too large to be right")
    try:
        return data.decode(), status
    except UnicodeDecodeError:
        raise WrongConfiguration(f"{what}: {path} is not text") from None
