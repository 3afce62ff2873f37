"""The YAML file: where it is looked for, and its settings and lists of entries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from dwebbackup.config.layers import Layer, Noting, closest, read_file
from dwebbackup.config.names import FILE_KEYS, LISTS
from dwebbackup.errors import WrongConfiguration

PLACES = ("dwebbackup.yaml", "{XDG_CONFIG_HOME}/dwebbackup.yaml", "/etc/dwebbackup.yaml")
"""Where the YAML file is looked for; the first found is the one."""
_CONFIG_HOME = "~/.config"

_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
"""What YAML reads out of a plain word, and we with it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A source or a store as it was written; all but the URL may be empty."""

    url: str = field(repr=False)
    name: str = ""
    schedule: str = ""
    exclude: tuple[str, ...] = ()
    """Of a folder: globs of what is left out of it."""


class YamlFile(Layer):
    """The configuration file. Paths in it are relative to it. What is wrong with it is noted in *faults*."""

    def __init__(
        self, path: str, document: Mapping[str, Any] | None, warnings: list[str], faults: list[WrongConfiguration]
    ) -> None:
        self._path = path
        self._legible = document is not None
        self._document = document or {}
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
        document: dict[str, Any] | None = None
        with Noting(faults):
            document = _parse(path) if path else {}
        faults.extend(_unknown(document or (), FILE_KEYS, path))
        return cls(path, document, warnings, faults)

    def may_have(self, key: str) -> bool:
        """Whether there is such a list; of a file that nobody can read it is not known."""
        return not self._legible or bool(self._document.get(key))

    def entries(self, key: str) -> Iterator[Entry]:
        """Everything in a list."""
        entries = self._document.get(key) or []
        where = f"{key} in {self._path}"
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self._faults.append(WrongConfiguration(f"{where} is not a list of `- url: …` entries"))
            return
        for entry in entries:
            self._faults.extend(_unknown(entry, LISTS[key], where))
            with Noting(self._faults):
                globs = tuple(_texts(entry.get("exclude"), f"exclude of {where}"))
                plain = {name: value for name, value in entry.items() if name != "exclude"}
                said = {name: _plain(value, f"{name} of {where}") for name, value in plain.items()}
                yield Entry(self._url(said, where), said.get("name", ""), said.get("schedule", ""), globs)

    def _url(self, entry: Mapping[str, str], where: str) -> str:
        values = {"URL": entry.get("url", ""), "URL_FILE": self._beside(entry.get("url_file", ""))}
        url = Layer(values, lambda name: f"{name.lower()} of {where}", self._warnings).text("URL")
        if not url:
            raise WrongConfiguration(f"{where}: an entry has no url")
        return url

    def _scalars(self) -> Iterator[tuple[str, str]]:
        for key, value in self._document.items():
            if key not in LISTS and value is not None:
                with Noting(self._faults):
                    parts = value if isinstance(value, list) else [value]
                    text = " ".join(_plain(part, f"{key} in {self._path}") for part in parts)
                    yield str(key).upper(), self._beside(text) if str(key).endswith("_file") else text

    def _beside(self, name: str) -> str:
        return os.path.join(os.path.dirname(self._path), os.path.expanduser(name)) if name else ""


def _parse(path: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415  # only where there is such a file

    class AsWritten(yaml.SafeLoader):
        """Takes `off`, `50%` and `0123` for text, as they are in a variable."""

        yaml_implicit_resolvers = {  # noqa: RUF012  # their own name for it
            first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        document = yaml.load(read_file(path, "the configuration")[0], AsWritten)  # noqa: S506  # it is a safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        hint = "a value needs quotes that has `: ` in it, or begins with one of * & ! % @ [ {"
        raise WrongConfiguration(f"{path}{place} is not proper YAML", hint) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise WrongConfiguration(f"{path} does not hold `name: value` lines")
    return document


def _unknown(entries: Iterable[Any], known: Sequence[str], where: str) -> Iterator[WrongConfiguration]:
    for key in entries:
        if key not in known:
            yield WrongConfiguration(f"{where}: there is no setting {key!r}", closest(str(key), known))


def _texts(value: Any, where: str) -> Iterator[str]:
    """One, or a list of them."""
    for each in value if isinstance(value, list) else [value]:
        if text := _plain(each, where):
            yield text


def _plain(value: Any, where: str) -> str:
    """Raises `WrongConfiguration` for what no variable could hold."""
    if value is not None and not isinstance(value, str):
        raise WrongConfiguration(f"{where} is not a plain value")
    return value or ""
