"""Where settings come from: variables and options by name, and the files that these point to."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar

from dwebbackup.config.names import HANDED_IN, NAMES, PREFIX, STORE_SECRETS
from dwebbackup.config.service_links import is_service_link
from dwebbackup.errors import WrongConfiguration

T = TypeVar("T")
D = TypeVar("D")

_OF_A_STORE = re.compile(rf"STORE_([A-Z0-9_]+?)_(?:{'|'.join(STORE_SECRETS)})(?:_FILE)?")

LARGEST_FILE = 64 * 1024


class Layer:
    """Settings from one place, by the names of their variables. *call* says how the user knows them there."""

    def __init__(self, values: Mapping[str, str], call: Callable[[str], str], warnings: list[str]) -> None:
        self._values = values
        self.call = call
        self._warnings = warnings

    def has(self, name: str) -> bool:
        """Whether it was given, however wrongly."""
        return any(map(self._values.get, (name, f"{name}_FILE")))

    def text(self, name: str) -> str:
        """The value, or what stands in the file it names; empty when it was not given."""
        value, file = self._values.get(name, ""), self._values.get(f"{name}_FILE", "")
        if value and file:
            raise WrongConfiguration(
                f"{self.call(name)} and {self.call(f'{name}_FILE')} are both given", "keep one of them"
            )
        if not file or (name in HANDED_IN and _is_missing(file)):
            return value
        return _read_secret(file, self.call(f"{name}_FILE"), self._warnings)


class Variables(Layer):
    """The environment. An empty variable is one that was not given; a service link is none of ours."""

    def __init__(self, environment: Mapping[str, str], warnings: list[str]) -> None:
        ours = {
            name.removeprefix(PREFIX): value.strip() for name, value in environment.items() if name.startswith(PREFIX)
        }
        values = {name: value for name, value in ours.items() if not is_service_link(name, value)}
        super().__init__(values, lambda name: PREFIX + name, warnings)

    def unknown(self) -> Iterator[WrongConfiguration]:
        """A fault for each that begins like ours, and is none."""
        known = [PREFIX + name for name in NAMES]
        for bare in self._values:
            if bare not in NAMES and not _OF_A_STORE.fullmatch(bare):
                name = PREFIX + bare
                yield WrongConfiguration(f"{name} is not a variable of dwebbackup", closest(name, known))

    def store_secrets(self, store: str) -> tuple[str, str, str, str]:
        """Of that store, in the order of `STORE_SECRETS`; each may be empty. Raises `WrongConfiguration`."""
        key_id, secret, session, token = (self.text(f"STORE_{as_variable(store)}_{name}") for name in STORE_SECRETS)
        if bool(key_id) != bool(secret) or (session and not key_id):
            both = f"{PREFIX}STORE_{as_variable(store)}_ACCESS_KEY_ID and …_SECRET_ACCESS_KEY"
            raise WrongConfiguration(f"store {store} has only a part of its access key", f"set both: {both}")
        return key_id, secret, session, token

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
    close = [f"{name}_file"] if f"{name}_file" in known else get_close_matches(name, known, 1, 0.5)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"


class Reader:
    """Settings out of several layers, the first of which wins; what is faulty is noted, and counts as not given."""

    def __init__(self, layers: Sequence[Layer], faults: list[WrongConfiguration]) -> None:
        self.layers = layers
        self._faults = faults

    def noting(self) -> Noting:
        """A block whose fault is noted."""
        return Noting(self._faults)

    def text(self, name: str) -> str:
        """As it was written; empty when it was not given."""
        with self.noting():
            return next(filter(None, (layer.text(name) for layer in self.layers)), "")
        return ""

    def value(
        self, name: str, parse: Callable[[str], T | None], otherwise: D, must_be: str = "", hint: str = ""
    ) -> T | D:
        """What *parse* makes of it, which gives None, or raises `WrongConfiguration`, for what is none."""
        with self.noting():
            for layer in self.layers:
                if text := layer.text(name):
                    with of(f"{layer.call(name)}:"):
                        value = parse(text)
                    if value is None:
                        raise WrongConfiguration(f"{layer.call(name)} is not {must_be}", hint)
                    return value
        return otherwise


@contextmanager
def of(what: str) -> Iterator[None]:
    """A block whose `WrongConfiguration` is said to be of *what*."""
    try:
        yield
    except WrongConfiguration as error:
        raise WrongConfiguration(f"{what} {error}", error.hint) from None


def _is_missing(path: str) -> bool:
    """False also where nobody can tell; whoever reads it then says why."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _read_secret(path: str, what: str, warnings: list[str]) -> str:
    text, status = read_file(path, what)
    if not text.strip():
        raise WrongConfiguration(f"{what}: {path} is empty")
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
        warnings.append(f"everybody on this machine can read {path}: `chmod 600` it")
    return text.strip()


def read_file(path: str, what: str) -> tuple[str, os.stat_result]:
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
