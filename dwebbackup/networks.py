"""Configuration becomes networks: who finds a writer's head, who fetches by links, and who is told of a new head."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from dwebbackup.config import Config, StoreConfig
from dwebbackup.config.layers import as_variable
from dwebbackup.config.networks import ROUTERS as USUAL_ROUTERS
from dwebbackup.errors import StoreUnreachable, WrongConfiguration
from dwebbackup.links.pasted import Pasted
from dwebbackup.locating import Networks
from dwebbackup.ports import Announcement, Carrier, Finder, Publisher
from dwebbackup.report import log
from dwebbackup.stores import Waiting
from dwebbackup.stores.retrying import Retrying

# Everything that asks a web server is imported where it is needed: that takes a tenth of a second, and `list` in a
# folder need not wait for it.

PATIENCE = 60.0
"""Seconds for which all are asked again for an object that none could give: they search their networks meanwhile."""

_NODES = ("ipfs+http", "ipfs+https")
_PORTALS = ("skynet+http", "skynet+https")
ON_IPFS = (*_NODES, "filebase")
"""Kinds of stores with CIDs: what is in them is on IPFS, and so is the writer's head."""


def networks(config: Config, seen: Pasted | None = None, stop: threading.Event | None = None) -> Networks:
    """Whom to ask where there is no store. *seen*: where a link was seen; that is asked, too. *stop* ends waits.

    Raises `WrongConfiguration` when there is nobody.
    """
    from dwebbackup.stores.linked import Linked  # noqa: PLC0415

    carriers = carrier(config, seen, stop)
    behind = Retrying(Linked(carriers), budget=PATIENCE, stop=stop)
    return Networks(tuple(_finders(config, seen, Waiting(stop=stop))), carriers, behind)


def carrier(config: Config, seen: Pasted | None = None, stop: threading.Event | None = None) -> Carrier:
    """Everybody who fetches by links, as one. *stop* ends waits. Raises `WrongConfiguration` when there is nobody."""
    from dwebbackup.stores.carriers import Carriers  # noqa: PLC0415

    found = tuple(_carriers(config, seen, Waiting(stop=stop)))
    if not found:
        raise WrongConfiguration(
            "no store is configured, nor a gateway or portal that could be asked instead",
            "set DWEBBACKUP_STORE=file:///the/whole/path, or DWEBBACKUP_GATEWAYS=https://ipfs.io",
        )
    return Carriers(found)


def _carriers(config: Config, seen: Pasted | None, waiting: Waiting) -> Iterator[Carrier]:
    from dwebbackup.stores.ipfs.gateway import Gateway  # noqa: PLC0415
    from dwebbackup.stores.skynet.address import portal_at  # noqa: PLC0415
    from dwebbackup.stores.skynet.carrier import PortalCarrier  # noqa: PLC0415

    for url in _with_seen(config.gateways, seen, ("ipfs", "ipns")):
        yield Gateway(url, waiting=waiting)
    for store in _of_kind(config, _PORTALS):
        yield PortalCarrier(store.called, portal_at(store.url, _token(store), waiting))
    for url in _with_seen(config.portals, seen, ("sia",)):
        web = portal_at(url, waiting=waiting)
        yield PortalCarrier(web.host, web)


def _finders(config: Config, seen: Pasted | None, waiting: Waiting) -> Iterator[Finder]:
    from dwebbackup.stores.ipfs.address import Address  # noqa: PLC0415
    from dwebbackup.stores.ipfs.names import GatewayFinder, Router  # noqa: PLC0415
    from dwebbackup.stores.ipfs.routing import NodeFinder  # noqa: PLC0415
    from dwebbackup.stores.ipfs.rpc import rpc_at  # noqa: PLC0415
    from dwebbackup.stores.skynet.address import portal_at  # noqa: PLC0415
    from dwebbackup.stores.skynet.registry import PortalFinder  # noqa: PLC0415
    from dwebbackup.stores.web import Web  # noqa: PLC0415

    for url in _with_seen(config.gateways, seen, ("ipfs", "ipns")):
        yield GatewayFinder(Web(url, waiting=waiting))
    for url in config.routers:
        yield Router(Web(url, waiting=waiting))
    for store in _of_kind(config, _NODES):
        yield NodeFinder(store.called, rpc_at(Address.from_url(store.url), _token(store), waiting))
    for store in _of_kind(config, _PORTALS):
        yield PortalFinder(store.called, portal_at(store.url, _token(store), waiting))
    for url in _with_seen(config.portals, seen, ("sia",)):
        web = portal_at(url, waiting=waiting)
        yield PortalFinder(web.host, web)


class Unasked:
    """A publisher whom nobody named: that it cannot be told is logged, and makes no backup incomplete."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @property
    def name(self) -> str:
        return self._publisher.name

    def publish(self, announcement: Announcement) -> None:
        try:
            self._publisher.publish(announcement)
        except StoreUnreachable as error:
            log.logger(__name__).info("a public server was not told of the new head", server=self.name, why=str(error))


def publishers(config: Config, stop: threading.Event | None = None) -> tuple[Publisher, ...]:
    """Everybody whom a writer's new head is told: none, unless there is a store whose content links lead to."""
    return tuple(_publishers(config, Waiting(stop=stop)))


def _publishers(config: Config, waiting: Waiting) -> Iterator[Publisher]:
    if any(_of_kind(config, ON_IPFS)) and config.routers:
        from dwebbackup.stores.ipfs.names import Router  # noqa: PLC0415
        from dwebbackup.stores.web import Web  # noqa: PLC0415

        named = config.routers != USUAL_ROUTERS
        routers = (Router(Web(url, waiting=waiting)) for url in config.routers)
        yield from routers if named else map(Unasked, routers)
    for store in config.stores:
        yield from _publisher(store, waiting)


def _publisher(store: StoreConfig, waiting: Waiting) -> Iterator[Publisher]:
    """Of the network that *store* is a part of."""
    if store.kind in _NODES:
        from dwebbackup.stores.ipfs.address import Address  # noqa: PLC0415
        from dwebbackup.stores.ipfs.routing import NodePublisher  # noqa: PLC0415
        from dwebbackup.stores.ipfs.rpc import rpc_at  # noqa: PLC0415

        yield NodePublisher(store.called, rpc_at(Address.from_url(store.url), _token(store), waiting))
    elif store.kind in _PORTALS:
        from dwebbackup.stores.skynet.address import portal_at  # noqa: PLC0415
        from dwebbackup.stores.skynet.registry import PortalPublisher  # noqa: PLC0415

        yield PortalPublisher(store.called, portal_at(store.url, _token(store), waiting))
    elif store.kind == "filebase" and (label := store.option("names")):
        yield _filebase_name(store, label, waiting)


def _filebase_name(store: StoreConfig, label: str, waiting: Waiting) -> Publisher:
    from dwebbackup.stores.filebase import NAMES, FilebaseNames  # noqa: PLC0415
    from dwebbackup.stores.s3_address import AccessKey  # noqa: PLC0415
    from dwebbackup.stores.web import Web  # noqa: PLC0415

    secrets = store.secrets
    if not secrets or not secrets.access_key_id:
        raise WrongConfiguration(
            f"store {store.called} has a name at Filebase, and no access key that could change it",
            f"set DWEBBACKUP_STORE_{as_variable(store.called)}_ACCESS_KEY_ID and …_SECRET_ACCESS_KEY",
        )
    return FilebaseNames(
        AccessKey(secrets.access_key_id, secrets.secret_access_key), label, Web(NAMES, waiting=waiting)
    )


def _of_kind(config: Config, kinds: tuple[str, ...]) -> Iterator[StoreConfig]:
    return (store for store in config.stores if store.kind in kinds)


def _token(store: StoreConfig) -> str:
    return store.secrets.token if store.secrets else ""


def _with_seen(urls: tuple[str, ...], seen: Pasted | None, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Where the link was seen comes first: there it probably is."""
    base = seen.base if seen and seen.kind in kinds else ""
    return tuple(dict.fromkeys(filter(None, (base, *urls))))
