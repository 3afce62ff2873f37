"""What the user configured: options over environment over a YAML file, checked, as one frozen record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dwebbackup import policy
from dwebbackup.config import networks, sidecar
from dwebbackup.config.chosen import Places, sources, stores
from dwebbackup.config.durations import seconds
from dwebbackup.config.layers import Layer, Noting, Reader, Variables
from dwebbackup.config.rates import bytes_a_second
from dwebbackup.config.urls import SourceConfig, StoreConfig, StoreSecrets, refuse_password, require_encoded
from dwebbackup.config.yaml_file import YamlFile
from dwebbackup.cores import usual_jobs
from dwebbackup.errors import WrongConfiguration
from dwebbackup.policy import Policy
from dwebbackup.schedule import Schedule

__all__ = ["Config", "Given", "SourceConfig", "StoreConfig", "StoreSecrets", "load", "survey"]

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
    keep: str = ""


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
    keep: Policy | None = None
    """Which backups a prune keeps. None: nobody said, and nothing is pruned."""
    schedule: Schedule = sidecar.SCHEDULE
    """Of sources without one of their own."""
    restore_key: str = field(default="", repr=False)
    """A reader key for the day on which the database is empty."""
    listen: str = sidecar.LISTEN
    """Where the page is served, `HOST:PORT`; empty where it is not wanted."""
    page_token: str = field(default="", repr=False)
    notify: tuple[str, ...] = field(default=(), repr=False)
    """Whom to tell, as URLs."""
    suspect_below: float = sidecar.SUSPECT_BELOW
    """A backup with less than this share of the last good one's rows or tables is suspect."""
    backup_on_stop: bool = False
    gateways: tuple[str, ...] = networks.GATEWAYS
    """Of IPFS, by whom backups are found and fetched without a store."""
    portals: tuple[str, ...] = networks.PORTALS
    """The same of Skynet."""
    routers: tuple[str, ...] = networks.ROUTERS
    """Servers of delegated routing, which know to what IPNS names lead."""
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
    options = _options(given, warnings, faults)
    places = Places(options, variables, file, environment, faults, warnings)
    config = _config(given, places, Reader(places.layers, faults), with_key=with_key)
    return config, tuple(faults)


def _config(given: Given, places: Places, read: Reader, *, with_key: bool) -> Config:
    schedule_of = sidecar.scheduling(read)
    return Config(
        sources=sources(given.sources, places, schedule_of),
        stores=stores(places),
        key=read.text("KEY") if with_key else "",
        target=read.value("TARGET", _target, ""),
        jobs=read.value("JOBS", _jobs, 0, f"a number from 1 to {MOST_JOBS}") or usual_jobs(),
        max_snapshot=read.value("MAX_SNAPSHOT", seconds, None, "a length of time", "write 90s, 30m, 2h or 1h30m"),
        rate=read.value("RATE", bytes_a_second, None, "a number of bytes a second, from 1K", "write 800K or 5M"),
        recipients=tuple(read.text("RECIPIENTS").split()),
        postgres_bin=read.text("POSTGRES_BIN"),
        keep=read.value("KEEP", policy.parse, None),
        schedule=read.value("SCHEDULE", schedule_of, schedule_of(sidecar.SCHEDULE.text)),
        restore_key=read.text("RESTORE_KEY") if with_key else "",
        listen=sidecar.listen(read),
        page_token=sidecar.page_token(read),
        notify=sidecar.notify(read),
        suspect_below=sidecar.suspect_below(read),
        backup_on_stop=sidecar.backup_on_stop(read),
        gateways=networks.gateways(read),
        portals=networks.portals(read),
        routers=networks.routers(read),
        warnings=tuple(places.warnings),
    )


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
        "KEEP": given.keep,
    }
    return Layer(values, lambda name: f"--{name.lower().replace('_', '-')}", warnings)


def _target(url: str) -> str:
    require_encoded(url, "the target")
    return url


def _jobs(text: str) -> int | None:
    return int(text) if text.isdecimal() and 1 <= int(text) <= MOST_JOBS else None
