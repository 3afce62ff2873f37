"""Configuration becomes working parts: the only room that names concrete stores, sources and targets."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urlsplit

from dwebbackup.config import Config, SourceConfig, StoreConfig
from dwebbackup.errors import WrongConfiguration
from dwebbackup.ports import Source, Store, Target
from dwebbackup.primitives import from_bech32
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.stores import Place
from dwebbackup.stores.local import MARKER, LocalStore
from dwebbackup.stores.retrying import Retrying
from dwebbackup.stores.s3_address import AccessKey, Address

POSTGRES = ("postgresql", "postgres")
STORES = ("file", "s3")

UPLOADS = 4
"""Packs put at once into a store that is far away; a disk gains nothing from more than one."""


def store(config: Config, stop: threading.Event | None = None) -> Store:
    """The store, for reading. *stop* ends its waits. Raises `WrongConfiguration` unless there is exactly one."""
    return Retrying(_place(_only_store(config)), stop=stop)


def prepared_store(config: Config, stop: threading.Event | None = None) -> Store:
    """The store, for writing: begun, if nobody did before. Raises `StoreUnreachable` when that cannot be."""
    retrying = Retrying(_place(_only_store(config)), stop=stop)
    retrying.prepare()
    return retrying


def has_begun(config: Config) -> bool:
    """False where there is no store yet, and so nobody has backups. Whether a bucket has any, only it can tell."""
    if not config.stores:
        return False
    only = _only_store(config)
    return only.kind != "file" or os.path.exists(os.path.join(_folder(only.url), MARKER))


def uploads(config: Config) -> int:
    """How many packs to put at once."""
    return 1 if _only_store(config).kind == "file" else UPLOADS


def sources(config: Config) -> list[Source]:
    """Raises `WrongConfiguration` when there is none, or one of an unknown kind."""
    if not config.sources:
        raise WrongConfiguration(
            "no source is configured", "set DWEBBACKUP_SOURCE=postgresql://USER@HOST/DATABASE, or use --source"
        )
    return [_source(source, config) for source in config.sources]


def target(config: Config) -> Target:
    """Raises `WrongConfiguration` when there is none, or one of an unknown kind."""
    if not config.target:
        raise WrongConfiguration(
            "no target is configured", "use --to postgresql://USER@HOST/DATABASE, or set DWEBBACKUP_TARGET"
        )
    _require_scheme("target", config.target, POSTGRES)
    return PostgresTarget(config.target, config.jobs, config.postgres_bin or None)


def recipients(config: Config) -> tuple[bytes, ...]:
    """The extra age recipients. Raises `WrongConfiguration` for what is no X25519 recipient."""
    return tuple(map(_recipient, config.recipients))


def _source(source: SourceConfig, config: Config) -> Source:
    _require_scheme(f"source {source.name}", source.url, POSTGRES)
    return PostgresSource(source.url, source.name, config.jobs, config.postgres_bin or None)


def _only_store(config: Config) -> StoreConfig:
    if not config.stores:
        raise WrongConfiguration(
            "no store is configured", "set DWEBBACKUP_STORE=file:///the/whole/path, or use --store"
        )
    if len(config.stores) > 1:
        raise WrongConfiguration(
            f"this version keeps backups in exactly one store, and {len(config.stores)} are configured"
        )
    only = config.stores[0]
    _require_scheme("store", only.url, STORES)
    return only


def _place(store: StoreConfig) -> Place:
    return _bucket(store) if store.kind == "s3" else LocalStore(_folder(store.url), store.called)


def _bucket(store: StoreConfig) -> Place:
    from dwebbackup.stores.s3 import S3Store  # noqa: PLC0415  # boto3 takes 0.3 s that a folder need not wait for

    secrets = store.secrets
    key = AccessKey(secrets.access_key_id, secrets.secret_access_key, secrets.session_token) if secrets else None
    return S3Store(Address.from_url(store.url), store.called, key)


def _folder(url: str) -> str:
    parts = urlsplit(url)
    folder = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.strip("/"):
        raise WrongConfiguration(f"{url} does not name a folder", "write file:///the/whole/path")
    return folder


def _require_scheme(what: str, url: str, known: Sequence[str]) -> None:
    """The rest of the URL is not shown: it may hold a password."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme.lower() not in known:
        said = f"{what} is of a kind that this version does not know: {scheme}://"
        hint = "it knows " + ", ".join(f"{each}://" for each in known)
        raise WrongConfiguration(said if scheme else f"{what} is not a URL", hint)


def _recipient(text: str) -> bytes:
    if text.startswith("age1"):
        prefix, payload = from_bech32(text)
        if prefix == "age" and len(payload) == 32:
            return payload
    raise WrongConfiguration(f"{text[:24]} is not an age recipient", "one begins with age1, and has 62 characters")
