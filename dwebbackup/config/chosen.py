"""Which sources and stores there are: those of the first place that names any; and which of them were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import quote

from dwebbackup.config.layers import Layer, Noting, Variables, as_variable, closest, of
from dwebbackup.config.urls import SourceConfig, StoreConfig, StoreSecrets, parse_source, parse_store, with_usual
from dwebbackup.config.usual import usual_source
from dwebbackup.config.yaml_file import Entry, YamlFile
from dwebbackup.errors import WrongConfiguration
from dwebbackup.schedule import Schedule

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Places:
    """Where sources and stores can be named, and where it is noted what is wrong with them."""

    options: Layer
    variables: Variables
    file: YamlFile
    environment: Mapping[str, str]
    faults: list[WrongConfiguration]
    warnings: list[str]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.options, self.variables, self.file

    def entries(self, what: str, layers: Sequence[Layer]) -> Iterable[Entry]:
        """All sources, or all stores, of the first of *layers* that has any."""
        with Noting(self.faults):
            text = next(filter(None, (layer.text(what.upper()) for layer in layers)), "")
            return map(Entry, text.split()) if text else self.file.entries(f"{what}s")
        return ()

    def each(self, parse: Callable[[Entry], T], entries: Iterable[Entry]) -> Iterator[T]:
        """What is faulty is left out."""
        for entry in entries:
            with Noting(self.faults):
                yield parse(entry)


def sources(wanted: Iterable[str], places: Places, schedule_of: Callable[[str], Schedule]) -> tuple[SourceConfig, ...]:
    """Those that `--source` brings as URLs and those that it names; all that are configured, if it says nothing."""
    names = dict.fromkeys(source for source in wanted if "://" not in source)
    found = _sources(places, places.layers, schedule_of)
    if not names:
        return found
    brought = found if places.options.has("SOURCE") else ()
    configured = _sources(places, places.layers[1:], schedule_of) if brought else found
    by_name = {source.name: source for source in (*configured, *brought)}
    places.faults.extend(
        WrongConfiguration(f"there is no source {name!r}", closest(name, list(by_name)))
        for name in names
        if name not in by_name
    )
    chosen = dict.fromkeys((*(source.name for source in brought), *names))
    return tuple(by_name[name] for name in chosen if name in by_name) or found


def stores(places: Places) -> tuple[StoreConfig, ...]:
    """With their secrets."""
    entries = places.entries("store", places.layers)
    found = list(places.each(lambda entry: with_usual(parse_store(entry.url, entry.name), places.environment), entries))
    names = [store.called for store in found]
    if len(set(names)) < len(names):
        places.faults.append(WrongConfiguration("two stores have the same name", "give them names: …?name=NAME"))
    elif len(set(map(as_variable, names))) < len(names):
        fault = f"the stores {' and '.join(sorted(names))} would share the variables of their access keys"
        places.faults.append(WrongConfiguration(fault, "give them names that differ in more than - and _"))
    places.variables.warn_of_others(names)
    return tuple(_with_secrets(found, places))


def _sources(
    places: Places, layers: Sequence[Layer], schedule_of: Callable[[str], Schedule]
) -> tuple[SourceConfig, ...]:
    if not places.file.may_have("sources") and not any(layer.has("SOURCE") for layer in layers):
        with Noting(places.faults):
            usual = usual_source(places.environment, places.warnings)
            return (usual,) if usual else ()
    entries = places.entries("source", layers)
    found = tuple(places.each(lambda entry: _source(entry, places.faults, schedule_of), entries))
    if len({source.name for source in found}) < len(found):
        fault = WrongConfiguration(
            "two sources have the same name", "give them names: postgresql://HOST/DATABASE?name=NAME"
        )
        places.faults.append(fault)
    return found


def _source(entry: Entry, faults: list[WrongConfiguration], schedule_of: Callable[[str], Schedule]) -> SourceConfig:
    """A source whose schedule is faulty is there all the same."""
    source = parse_source(_with_globs(entry), entry.name)
    if entry.schedule:
        with Noting(faults), of(f"schedule of source {source.name}:"):
            return replace(source, schedule=schedule_of(entry.schedule))
    return source


def _with_globs(entry: Entry) -> str:
    """Its URL, with what is left out of a folder. Raises `WrongConfiguration` for a source of another kind."""
    if not entry.exclude:
        return entry.url
    if not entry.url.lower().startswith("files:"):
        raise WrongConfiguration("a source has `exclude`, and is no folder", "only files:///FOLDER leaves things out")
    more = "&".join(f"exclude={quote(glob)}" for glob in entry.exclude)
    return f"{entry.url}{'&' if '?' in entry.url else '?'}{more}"


def _with_secrets(found: Iterable[StoreConfig], places: Places) -> Iterator[StoreConfig]:
    for store in found:
        with Noting(places.faults):
            secrets = places.variables.store_secrets(store.called)
            yield replace(store, secrets=StoreSecrets(*secrets)) if any(secrets) else store
