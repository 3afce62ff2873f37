"""Configuration becomes working parts: the only room that names concrete stores, sources and targets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from dwebbackup import networks
from dwebbackup.config import Config, SourceConfig, StoreConfig
from dwebbackup.errors import StoreUnreachable, WrongConfiguration
from dwebbackup.ports import Finding, Member, Source, Store, Target
from dwebbackup.primitives import from_bech32
from dwebbackup.stores import Place
from dwebbackup.stores.local import LocalStore
from dwebbackup.stores.mirrored import Mirrored
from dwebbackup.stores.paced import Paced
from dwebbackup.stores.resting import Resting
from dwebbackup.stores.retrying import Retrying
from dwebbackup.stores.s3_address import AccessKey, Address
from dwebbackup.stores.throttled import Bucket, Throttled
from dwebbackup.stores.undeleting import Undeleting

if TYPE_CHECKING:
    from dwebbackup.checking import ConfiguredStore
    from dwebbackup.stores.flushing import Admin
    from dwebbackup.stores.ipfs.store import IpfsStore

_CERTIFICATES_OF_BOTO3 = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")

QUICK = 20.0
"""Seconds for which the sidecar tries again to look into a store, before it says so on its page."""

PATIENT = 300.0
"""Seconds for which work that would be lost waits for a store."""

NAMELESS = ("skynet+http", "skynet+https")
"""Kinds of stores that give an object only for its link."""

UPLOADS = 4
"""Packs put at once into a store that is far away; a disk gains nothing from more than one."""


def store(config: Config, stop: threading.Event | None = None) -> Store:
    """The store, or all of them as one, for reading. *stop* ends its waits. Raises `WrongConfiguration`."""
    return _for_reading(_places(config, stop), stop, linked=_linked(config, stop))


def prepared_store(config: Config, stop: threading.Event | None = None) -> Store:
    """The same for writing: begun, if nobody did before. Raises `StoreUnreachable` when that cannot be."""
    places = _places(config, stop)
    _prepare(places, PATIENT, stop)
    return _for_writing(config, places, stop)


def quick_and_patient_store(config: Config, stop: threading.Event | None = None) -> tuple[Store, Store]:
    """The same store twice, begun if it was not: the first soon says that it does not answer, the other one is for work
    that would be lost. Raises `StoreUnreachable`.
    """
    places = _places(config, stop)
    _prepare(places, QUICK, stop)
    return _for_reading(places, stop, QUICK), _for_writing(config, places, stop)


def has_begun(config: Config) -> bool:
    """False where there is no store yet, and so nobody has backups. Whether a bucket has any, only it can tell."""
    return any(map(_has_begun, _known_stores(config))) if config.stores else False


@dataclass(frozen=True, slots=True)
class _Configured:
    """A store, before anything is wrapped round it."""

    place: Place
    required: bool


@dataclass(frozen=True, slots=True)
class _Means:
    """What a store may need besides its own configuration."""

    stop: threading.Event | None = None
    """Ends its waits."""
    fetch: Callable[[str], bytes] | None = None
    """Gives what a link leads to, from somebody else."""


def _places(config: Config, stop: threading.Event | None) -> tuple[_Configured, ...]:
    means = _Means(stop, (lambda link: networks.carrier(config).fetch(link)) if config.gateways else None)
    return tuple(_Configured(_place(each, means), each.required) for each in _known_stores(config))


def _prepare(places: Sequence[_Configured], budget: float, stop: threading.Event | None) -> None:
    """Raises what hinders one that is required; another one that cannot be begun is left out by and by."""
    for each in places:
        with nullcontext() if each.required else suppress(StoreUnreachable):
            Retrying(each.place, budget=budget if each.required else QUICK, stop=stop).prepare()


def _linked(config: Config, stop: threading.Event | None) -> Store | None:
    """Strangers' gateways, where there is a store whose content they may have."""
    if not config.gateways or not any(each.kind in networks.ON_IPFS for each in config.stores):
        return None
    from dwebbackup.stores.linked import Linked  # noqa: PLC0415  # as with S3Store

    return Retrying(Linked(networks.carrier(config)), budget=QUICK, stop=stop)


def _for_reading(
    places: Sequence[_Configured],
    stop: threading.Event | None,
    budget: float = PATIENT,
    linked: Store | None = None,
) -> Store:
    if len(places) == 1:
        only = Retrying(places[0].place, budget=budget, stop=stop)
        return Mirrored([Member(only)], linked) if linked else only
    each = (Member(Resting(Retrying(each.place, budget=QUICK, stop=stop)), each.required) for each in places)
    return Mirrored(tuple(each), linked)


def store_and_links(config: Config, linked: Store | None, stop: threading.Event | None = None) -> Store:
    """The stores for reading what *linked* has, too, where there are links: none of them is waited for."""
    places = _places(config, stop)
    each = (Member(Resting(Retrying(each.place, budget=QUICK, stop=stop)), each.required) for each in places)
    return Mirrored(tuple(each), linked)


def store_to_mend(config: Config, linked: Store | None, stop: threading.Event | None = None) -> Store:
    """The same for a repair, which goes on without those that do not answer, and waits for those that did."""
    uploads = Bucket(config.rate) if config.rate else None

    def mendable(each: _Configured) -> Member:
        budget = PATIENT if _begins(each.place, stop) else QUICK
        store = Resting(Retrying(each.place, budget=budget, stop=stop))
        return Member(Throttled(store, uploads, stop=stop) if uploads else store, each.required)

    return Mirrored(tuple(map(mendable, _places(config, stop))), linked)


def _begins(place: Place, stop: threading.Event | None) -> bool:
    try:
        Retrying(place, budget=QUICK, stop=stop).prepare()
    except StoreUnreachable:
        return False
    return True


def _for_writing(config: Config, places: Sequence[_Configured], stop: threading.Event | None) -> Store:
    """A store that must have everything is waited for; the others have to be quick, and are soon left alone."""
    uploads = Bucket(config.rate) if config.rate else None

    def paced(store: Store) -> Store:
        return Throttled(store, uploads, stop=stop) if uploads else store

    if len(places) == 1:
        return paced(Retrying(places[0].place, stop=stop))
    patient = (
        Member(paced(Retrying(each.place, stop=stop)))
        if each.required
        else Member(Resting(paced(Retrying(each.place, budget=QUICK, stop=stop))), required=False)
        for each in places
    )
    return Mirrored(tuple(patient))


def bare_store(store: StoreConfig) -> ConfiguredStore:
    """One of the configured stores for `doctor`, which wants to see what happens at the first try."""
    from dwebbackup.checking import ConfiguredStore  # noqa: PLC0415  # only `doctor` needs it

    _require_scheme(f"store {store.called}", store.url, tuple(_PLACES))
    return ConfiguredStore(_place(store, _Means()), _has_begun(store), _peculiar(store), store.required)


def uploads(config: Config) -> int:
    """How many packs to put at once."""
    return 1 if all(each.kind == "file" for each in _known_stores(config)) else UPLOADS


def sources(config: Config) -> list[Source]:
    """Raises `WrongConfiguration` when there is none, or one of an unknown kind."""
    if not config.sources:
        raise WrongConfiguration(
            "no source is configured", "set DWEBBACKUP_SOURCE=postgresql://USER@HOST/DATABASE, or use --source"
        )
    last = sorted(config.sources, key=lambda source: source.url.startswith("files:"))  # what a database refers to
    return [_source(source, config) for source in last]


def target(config: Config) -> Target:
    """Raises `WrongConfiguration` when there is none, or one of an unknown kind."""
    if not config.target:
        raise WrongConfiguration(
            "no target is configured",
            "use --to postgresql://USER@HOST/DATABASE, or files:///FOLDER, or set DWEBBACKUP_TARGET",
        )
    return _TARGETS[_require_scheme("target", config.target, tuple(_TARGETS))](config.target, config)


def own_target(source: SourceConfig, config: Config) -> Target:
    """The source's own database or folder, to be filled again. Raises `WrongConfiguration`."""
    return _TARGETS[_require_scheme(f"source {source.name}", source.url, tuple(_TARGETS))](source.url, config)


def recipients(config: Config) -> tuple[bytes, ...]:
    """The extra age recipients. Raises `WrongConfiguration` for what is no X25519 recipient."""
    return tuple(map(_recipient, config.recipients))


def _source(source: SourceConfig, config: Config) -> Source:
    return _SOURCES[_require_scheme(f"source {source.name}", source.url, tuple(_SOURCES))](source, config)


def _postgres_source(source: SourceConfig, config: Config) -> Source:
    from dwebbackup.sources.postgres import PostgresSource  # noqa: PLC0415  # 0.1 s that `list` need not wait for

    return PostgresSource(source.url, source.name, config.jobs, config.postgres_bin or None)


def _postgres_target(url: str, config: Config) -> Target:
    from dwebbackup.sources.postgres import PostgresTarget  # noqa: PLC0415  # as with sources

    return PostgresTarget(url, config.jobs, config.postgres_bin or None)


def _files_source(source: SourceConfig, _: Config) -> Source:
    from dwebbackup.sources.files import FilesSource  # noqa: PLC0415  # as with others

    return FilesSource(source.url, source.name)


def _files_target(url: str, _: Config) -> Target:
    from dwebbackup.sources.files import FilesTarget  # noqa: PLC0415  # as with others

    return FilesTarget(url)


def _mysql_source(source: SourceConfig, config: Config) -> Source:
    from dwebbackup.sources.mysql import MysqlSource  # noqa: PLC0415  # as with others

    return MysqlSource(source.url, source.name, config.jobs)


def _mysql_target(url: str, _: Config) -> Target:
    from dwebbackup.sources.mysql import MysqlTarget  # noqa: PLC0415  # as with others

    return MysqlTarget(url)


_SOURCES: Mapping[str, Callable[[SourceConfig, Config], Source]] = {
    "postgresql": _postgres_source,
    "postgres": _postgres_source,
    "mysql": _mysql_source,
    "mariadb": _mysql_source,
    "files": _files_source,
}
_TARGETS: Mapping[str, Callable[[str, Config], Target]] = {
    "postgresql": _postgres_target,
    "postgres": _postgres_target,
    "mysql": _mysql_target,
    "mariadb": _mysql_target,
    "files": _files_target,
}
"""What makes a source, and what a target, by the scheme of its URL."""


def _known_stores(config: Config) -> tuple[StoreConfig, ...]:
    """All that are configured. Raises `WrongConfiguration` where these could not hold a backup together."""
    if not config.stores:
        raise WrongConfiguration(
            "no store is configured", "set DWEBBACKUP_STORE=file:///the/whole/path, or use --store"
        )
    for each in config.stores:
        _require_scheme("store" if len(config.stores) == 1 else f"store {each.called}", each.url, tuple(_PLACES))
    if not any(each.required and each.kind not in NAMELESS for each in config.stores):
        raise WrongConfiguration(
            "at least one store has to be required, and keep names: a folder, a bucket or an IPFS node",
            "leave out required=no from one of them; a Skynet portal goes beside another store",
        )
    return config.stores


def _place(store: StoreConfig, means: _Means) -> Place:
    place = _PLACES[store.kind](store, means)
    return place if store.deletes else Undeleting(place)


def _local(store: StoreConfig, _: _Means) -> Place:
    return LocalStore(_folder(store.url), store.called)


def _has_begun(store: StoreConfig) -> bool:
    """Folders are made by the first backup, on a node, too; a bucket is its owner's."""
    if store.kind.startswith("ipfs+"):
        return _ipfs_node(store, _Means()).has_begun()
    return store.kind != "file" or LocalStore(_folder(store.url), store.called).has_begun()


def _bucket(store: StoreConfig, _: _Means) -> Place:
    from dwebbackup.stores.s3 import S3Store  # noqa: PLC0415  # boto3 takes 0.3 s that a folder need not wait for

    return S3Store(_address(store), store.called, _access_key(store))


def _filebase(store: StoreConfig, means: _Means) -> Place:
    from dwebbackup.stores.filebase import FilebaseStore  # noqa: PLC0415  # as with S3Store

    address = _address(store)
    place = FilebaseStore(address, store.called, _access_key(store), check=means.fetch)
    return Paced(place, address.provider.requests, stop=means.stop)


def _s3d(store: StoreConfig, means: _Means) -> Place:
    from dwebbackup.stores.flushing import Flushing  # noqa: PLC0415  # `requests` takes 60 ms

    return Flushing(_bucket(store, means), _s3d_admin(store), stop=means.stop)


def _s3d_admin(store: StoreConfig) -> Admin:
    from dwebbackup.stores.flushing import admin_of  # noqa: PLC0415

    return admin_of(_address(store), store.option("admin"), store.secrets.token if store.secrets else "")


def _portal(store: StoreConfig, _: _Means) -> Place:
    from dwebbackup.stores.skynet.address import portal_at  # noqa: PLC0415  # `requests` takes 60 ms
    from dwebbackup.stores.skynet.portal import PortalStore  # noqa: PLC0415

    token = store.secrets.token if store.secrets else ""
    return PortalStore(store.called, store.url.partition("?")[0], portal_at(store.url, token))


def _ipfs_node(store: StoreConfig, _: _Means) -> IpfsStore:
    from dwebbackup.stores.ipfs.address import Address as NodeAddress  # noqa: PLC0415  # `requests` takes 60 ms
    from dwebbackup.stores.ipfs.store import IpfsStore  # noqa: PLC0415

    token = store.secrets.token if store.secrets else ""
    return IpfsStore(NodeAddress.from_url(store.url), store.called, token)


_PLACES: Mapping[str, Callable[[StoreConfig, _Means], Place]] = {
    "file": _local,
    "s3": _bucket,
    "filebase": _filebase,
    "sia+s3d": _s3d,
    "sia+renterd": _bucket,
    "ipfs+http": _ipfs_node,
    "ipfs+https": _ipfs_node,
    "skynet+http": _portal,
    "skynet+https": _portal,
}
"""What makes a store, by the scheme of its URL."""


def _peculiar(store: StoreConfig) -> Callable[[str], Sequence[Finding]] | None:
    """What only stores of its kind can tell."""
    if store.kind == "s3" and store.deletes:  # what it tries leaves an object to delete
        return partial(_dialect, store)
    if store.kind == "sia+s3d":
        return lambda _: _s3d_admin(store).findings()
    return None


def _dialect(store: StoreConfig, name: str) -> list[Finding]:
    from dwebbackup.stores.dialect import dialect  # noqa: PLC0415  # as with S3Store

    return dialect(_address(store), _access_key(store), name)


def _address(store: StoreConfig) -> Address:
    """With the certificates that OpenSSL's own variable names, where boto3, which knows only others, has none."""
    address = Address.from_url(store.url)
    usual = os.environ.get("SSL_CERT_FILE", "")
    if address.ca or not os.path.isfile(usual) or any(map(os.environ.get, _CERTIFICATES_OF_BOTO3)):
        return address
    return replace(address, ca=usual)


def _access_key(store: StoreConfig) -> AccessKey | None:
    secrets = store.secrets
    if not secrets or not secrets.access_key_id:
        return None
    return AccessKey(secrets.access_key_id, secrets.secret_access_key, secrets.session_token)


def _folder(url: str) -> str:
    parts = urlsplit(url)
    folder = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.strip("/"):
        raise WrongConfiguration(f"{url} does not name a folder", "write file:///the/whole/path")
    return folder


def _require_scheme(what: str, url: str, known: Sequence[str]) -> str:
    """The URL's scheme. The rest of it is not shown: it may hold a password."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme.lower() not in known:
        said = f"{what} is of a kind that this version does not know: {scheme}://"
        hint = "it knows " + ", ".join(f"{each}://" for each in known)
        raise WrongConfiguration(said if scheme else f"{what} is not a URL", hint)
    return scheme.lower()


def _recipient(text: str) -> bytes:
    hint = "one begins with age1, and has 62 characters"
    try:
        prefix, payload = from_bech32(text)
    except WrongConfiguration as error:  # which speaks of any key
        raise WrongConfiguration(f"{text[:24]} is not an age recipient: {error}", hint) from None
    if prefix != "age" or len(payload) != 32:
        raise WrongConfiguration(f"{text[:24]} is not an age recipient", hint)
    return payload
