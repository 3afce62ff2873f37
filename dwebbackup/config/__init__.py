"""What the user configured: options over environment over a YAML file, checked, as one frozen record."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dwebbackup.config.layers import Layer, Variables, YamlFile, closest
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
from dwebbackup.errors import WrongConfiguration

__all__ = ["Config", "Given", "SourceConfig", "StoreConfig", "StoreSecrets", "load"]

JOBS = 2
"""Streams read or written at once, unless configured."""
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


@dataclass(frozen=True, slots=True)
class Config:
    """Everything configured. What is empty was not given; whoever needs it says so."""

    sources: tuple[SourceConfig, ...] = ()
    stores: tuple[StoreConfig, ...] = ()
    key: str = field(default="", repr=False)
    target: str = field(default="", repr=False)
    jobs: int = JOBS
    recipients: tuple[str, ...] = ()
    postgres_bin: str = ""
    warnings: tuple[str, ...] = ()
    """What the user should hear of, such as a key file that everybody can read."""


def load(given: Given | None = None, environment: Mapping[str, str] | None = None, *, with_key: bool = True) -> Config:
    """Read all three places; the key's file need not be there when nobody wants it.

    Raises `WrongConfiguration`, which never shows a value that may be a secret.
    """
    given = given or Given()
    environment = os.environ if environment is None else environment
    warnings: list[str] = []
    file = YamlFile.find(given.config, warnings)
    variables = Variables(environment, warnings)
    layers = (_options(given, warnings), variables, file)
    return Config(
        sources=_chosen(given, _sources(layers, file)),
        stores=_stores(layers, file, environment, variables),
        key=_first(layers, "KEY") if with_key else "",
        target=_target(layers),
        jobs=_jobs(layers),
        recipients=tuple(_first(layers, "RECIPIENTS").split()),
        postgres_bin=_first(layers, "POSTGRES_BIN"),
        warnings=tuple(warnings),
    )


def _options(given: Given, warnings: list[str]) -> Layer:
    urls = [source for source in given.sources if "://" in source]
    for option, url in [
        *(("--source", url) for url in given.sources),
        *(("--store", url) for url in given.stores),
        ("--to", given.target),
    ]:
        refuse_password(option, url)
    values = {
        "SOURCE": " ".join(urls),
        "STORE": " ".join(given.stores),
        "KEY_FILE": given.key_file,
        "TARGET": given.target,
        "JOBS": "" if given.jobs is None else str(given.jobs),
    }
    return Layer(values, lambda name: f"--{name.lower().replace('_', '-')}", warnings)


def _first(layers: Sequence[Layer], name: str) -> str:
    return next(filter(None, (layer.text(name) for layer in layers)), "")


def _sources(layers: Sequence[Layer], file: YamlFile) -> tuple[SourceConfig, ...]:
    if text := _first(layers, "SOURCE"):
        sources = [parse_source(url) for url in text.split()]
    else:
        sources = [parse_source(url, name) for name, url in file.entries("sources")]
    if len({source.name for source in sources}) < len(sources):
        raise WrongConfiguration(
            "two sources have the same name", "give them names: postgresql://HOST/DATABASE?name=NAME"
        )
    return tuple(sources)


def _chosen(given: Given, sources: Sequence[SourceConfig]) -> tuple[SourceConfig, ...]:
    """Those that `--source` names, if it names any."""
    by_name = {source.name: source for source in sources}
    wanted = dict.fromkeys(source for source in given.sources if "://" not in source)
    for name in wanted:
        if name not in by_name:
            raise WrongConfiguration(f"there is no source {name!r}", closest(name, list(by_name)))
    return tuple(by_name[name] for name in wanted) or tuple(sources)


def _stores(
    layers: Sequence[Layer], file: YamlFile, environment: Mapping[str, str], variables: Variables
) -> tuple[StoreConfig, ...]:
    if text := _first(layers, "STORE"):
        stores = [parse_store(url) for url in text.split()]
    else:
        stores = [parse_store(url, name) for name, url in file.entries("stores")]
    names = [store.called for store in stores]
    if len(set(names)) < len(names):
        raise WrongConfiguration("two stores have the same name", "give them names: …?name=NAME")
    variables.warn_of_others(names)
    return tuple(_with_secrets(with_usual(store, environment), variables) for store in stores)


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
    return JOBS
