"""What the user configured: options over environment over a YAML file, checked, as one frozen record."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dwebbackup.config.durations import seconds
from dwebbackup.config.layers import Layer, Noting, Variables, YamlFile, as_variable, closest
from dwebbackup.config.rates import bytes_a_second
from dwebbackup.config.urls import (
    SourceConfig,
    StoreConfig,
    StoreSecrets,
    parse_source,
    parse_store,
    refuse_password,
    require_encoded,
    with_usual,
)
from dwebbackup.cores import usual_jobs
from dwebbackup.errors import WrongConfiguration

__all__ = ["Config", "Given", "SourceConfig", "StoreConfig", "StoreSecrets", "load", "survey"]

S = TypeVar("S")
T = TypeVar("T")

MOST_JOBS = 64


@dataclass(frozen=True, slots=True)
class Given:
    """What stood on the command line. *sources*: URLs, or names of configured ones."""

    config: str = ""
    sources: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    key_file: str = ""
    target: str = field(default="", repr=False)
    jobs: int | None = None
    max_snapshot: str = ""
    rate: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything configured. What is empty was not given; whoever needs it says so."""

    sources: tuple[SourceConfig, ...] = ()
    stores: tuple[StoreConfig, ...] = ()
    key: str = field(default="", repr=False)
    target: str = field(default="", repr=False)
    jobs: int = field(default_factory=usual_jobs)
    """Streams read or written at once."""
    max_snapshot: int | None = None
    """Seconds for which a backup may hold its snapshot open."""
    rate: int | None = None
    """Bytes a second that a backup may put."""
    recipients: tuple[str, ...] = ()
    postgres_bin: str = ""
    warnings: tuple[str, ...] = ()
    """What the user should hear of, such as a key file that everybody can read."""


def load(given: Given | None = None, environment: Mapping[str, str] | None = None, *, with_key: bool = True) -> Config:
    """Read all three places; the key's file need not be there when nobody wants it.

    Raises `WrongConfiguration`, which never shows a value that may be a secret.
    """
    config, faults = survey(given, environment, with_key=with_key)
    if faults:
        raise faults[0]
    return config


def survey(
    given: Given | None = None, environment: Mapping[str, str] | None = None, *, with_key: bool = True
) -> tuple[Config, tuple[WrongConfiguration, ...]]:
    """The same with every fault told instead of raised; what is faulty counts as not given."""
    given = given or Given()
    environment = os.environ if environment is None else environment
    warnings: list[str] = []
    faults: list[WrongConfiguration] = []
    file = YamlFile.find(given.config, environment, warnings, faults)
    variables = Variables(environment, warnings)
    faults.extend(variables.unknown())
    layers = (_options(given, warnings, faults), variables, file)

    def read(setting: Callable[[], T], otherwise: T) -> T:
        with Noting(faults):
            return setting()
        return otherwise

    config = Config(
        sources=_chosen(given, layers, file, faults),
        stores=_stores(layers, file, environment, variables, faults),
        key=read(lambda: _first(layers, "KEY"), "") if with_key else "",
        target=read(lambda: _target(layers), ""),
        jobs=read(lambda: _jobs(layers), 1),
        max_snapshot=read(lambda: _max_snapshot(layers), None),
        rate=read(lambda: _rate(layers), None),
        recipients=read(lambda: tuple(_first(layers, "RECIPIENTS").split()), ()),
        postgres_bin=read(lambda: _first(layers, "POSTGRES_BIN"), ""),
        warnings=tuple(warnings),
    )
    return config, tuple(faults)


def _options(given: Given, warnings: list[str], faults: list[WrongConfiguration]) -> Layer:
    urls = [source for source in given.sources if "://" in source]
    for option, url in [
        *(("--source", url) for url in given.sources),
        *(("--store", url) for url in given.stores),
        ("--to", given.target),
    ]:
        with Noting(faults):
            refuse_password(option, url)
    values = {
        "SOURCE": " ".join(urls),
        "STORE": " ".join(given.stores),
        "KEY_FILE": given.key_file,
        "TARGET": given.target,
        "JOBS": "" if given.jobs is None else str(given.jobs),
        "MAX_SNAPSHOT": given.max_snapshot,
        "RATE": given.rate,
    }
    return Layer(values, lambda name: f"--{name.lower().replace('_', '-')}", warnings)


def _first(layers: Sequence[Layer], name: str) -> str:
    return next(filter(None, (layer.text(name) for layer in layers)), "")


def _said(
    layers: Sequence[Layer], file: YamlFile, what: str, faults: list[WrongConfiguration]
) -> Iterable[tuple[str, str]]:
    """Names (may be empty) and URLs of all sources, or of all stores."""
    with Noting(faults):
        text = _first(layers, what.upper())
        return [("", url) for url in text.split()] if text else file.entries(f"{what}s")
    return ()


def _each(read: Callable[[S], T], items: Iterable[S], faults: list[WrongConfiguration]) -> Iterator[T]:
    """What is faulty is left out."""
    for item in items:
        with Noting(faults):
            yield read(item)


def _sources(layers: Sequence[Layer], file: YamlFile, faults: list[WrongConfiguration]) -> tuple[SourceConfig, ...]:
    said = _said(layers, file, "source", faults)
    sources = tuple(_each(lambda entry: parse_source(entry[1], entry[0]), said, faults))
    if len({source.name for source in sources}) < len(sources):
        faults.append(
            WrongConfiguration(
                "two sources have the same name", "give them names: postgresql://HOST/DATABASE?name=NAME"
            )
        )
    return sources


def _chosen(
    given: Given, layers: Sequence[Layer], file: YamlFile, faults: list[WrongConfiguration]
) -> tuple[SourceConfig, ...]:
    """Those that `--source` brings as URLs and those that it names; all that are configured, if it says nothing."""
    wanted = dict.fromkeys(source for source in given.sources if "://" not in source)
    sources = _sources(layers, file, faults)
    if not wanted:
        return sources
    brought = sources if len(wanted) < len(set(given.sources)) else ()
    configured = _sources(layers[1:], file, faults) if brought else sources
    by_name = {source.name: source for source in (*configured, *brought)}
    faults += [
        WrongConfiguration(f"there is no source {name!r}", closest(name, list(by_name)))
        for name in wanted
        if name not in by_name
    ]
    chosen = dict.fromkeys((*(source.name for source in brought), *wanted))
    return tuple(by_name[name] for name in chosen if name in by_name) or sources


def _stores(
    layers: Sequence[Layer],
    file: YamlFile,
    environment: Mapping[str, str],
    variables: Variables,
    faults: list[WrongConfiguration],
) -> tuple[StoreConfig, ...]:
    said = _said(layers, file, "store", faults)
    stores = list(_each(lambda entry: with_usual(parse_store(entry[1], entry[0]), environment), said, faults))
    names = [store.called for store in stores]
    if len(set(names)) < len(names):
        faults.append(WrongConfiguration("two stores have the same name", "give them names: …?name=NAME"))
    elif len(set(map(as_variable, names))) < len(names):
        fault = f"the stores {' and '.join(sorted(names))} would share the variables of their access keys"
        faults.append(WrongConfiguration(fault, "give them names that differ in more than - and _"))
    variables.warn_of_others(names)
    return tuple(_each(lambda store: _with_secrets(store, variables), stores, faults))


def _with_secrets(store: StoreConfig, variables: Variables) -> StoreConfig:
    secrets = variables.store_secrets(store.called)
    return replace(store, secrets=StoreSecrets(*secrets)) if any(secrets) else store


def _target(layers: Sequence[Layer]) -> str:
    target = _first(layers, "TARGET")
    if target:
        require_encoded(target, "the target")
    return target


def _jobs(layers: Sequence[Layer]) -> int:
    for layer in layers:
        if text := layer.text("JOBS"):
            if not text.isdecimal() or not 1 <= int(text) <= MOST_JOBS:
                raise WrongConfiguration(f"{layer.call('JOBS')} is not a number from 1 to {MOST_JOBS}")
            return int(text)
    return usual_jobs()


def _max_snapshot(layers: Sequence[Layer]) -> int | None:
    for layer in layers:
        if text := layer.text("MAX_SNAPSHOT"):
            if not (limit := seconds(text)):
                raise WrongConfiguration(
                    f"{layer.call('MAX_SNAPSHOT')} is not a length of time", "write 90s, 30m, 2h or 1h30m"
                )
            return limit
    return None


def _rate(layers: Sequence[Layer]) -> int | None:
    for layer in layers:
        if text := layer.text("RATE"):
            if not (rate := bytes_a_second(text)):
                raise WrongConfiguration(
                    f"{layer.call('RATE')} is not a number of bytes a second, from 1K", "write 800K or 5M"
                )
            return rate
    return None
