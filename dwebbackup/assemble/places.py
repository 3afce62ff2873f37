"""One configured store as the kind of store that its URL names."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from dwebbackup.assemble.schemes import require_scheme
from dwebbackup.config import Config, StoreConfig
from dwebbackup.errors import WrongConfiguration
from dwebbackup.ports import Finding
from dwebbackup.stores import Place, Waiting
from dwebbackup.stores.local import LocalStore
from dwebbackup.stores.paced import Paced
from dwebbackup.stores.s3_address import AccessKey, Address
from dwebbackup.stores.undeleting import Undeleting

if TYPE_CHECKING:
    from dwebbackup.checking import ConfiguredStore
    from dwebbackup.stores.flushing import Admin
    from dwebbackup.stores.ipfs.store import IpfsStore

_CERTIFICATES_OF_BOTO3 = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")

NAMELESS = ("skynet+http", "skynet+https")
"""Kinds of stores that give an object only for its link."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a store may need besides its own configuration."""

    stop: threading.Event | None = None
    """Ends its waits."""
    fetch: Callable[[str], bytes] | None = None
    """Gives what a link leads to, from somebody else."""
    silence: float = math.inf
    """Seconds for which a server may say nothing, where its URL does not say how long it may take."""

    def waiting(self, store: StoreConfig) -> Waiting:
        return Waiting(math.inf if store.option("timeout") else self.silence, self.stop)


def has_begun(config: Config) -> bool:
    """False where there is no store yet, and so nobody has backups. Whether a bucket has any, only it can tell."""
    return any(map(_has_begun, known_stores(config))) if config.stores else False


def bare_store(store: StoreConfig) -> ConfiguredStore:
    """One of the configured stores for `doctor`, which wants to see what happens at the first try."""
    from dwebbackup.checking import ConfiguredStore  # noqa: PLC0415  # only `doctor` needs it

    require_scheme(f"store {store.called}", store.url, tuple(_PLACES))
    return ConfiguredStore(place(store, Means()), _has_begun(store), _peculiar(store), store.required)


def known_stores(config: Config) -> tuple[StoreConfig, ...]:
    """All that are configured. Raises `WrongConfiguration` where these could not hold a backup together."""
    if not config.stores:
        raise WrongConfiguration(
            "no store is configured", "set DWEBBACKUP_STORE=file:///the/whole/path, or use --store"
        )
    for each in config.stores:
        require_scheme("store" if len(config.stores) == 1 else f"store {each.called}", each.url, tuple(_PLACES))
    if not any(each.required and each.kind not in NAMELESS for each in config.stores):
        raise WrongConfiguration(
            "at least one store has to be required, and keep names: a folder, a bucket or an IPFS node",
            "leave out required=no from one of them; a Skynet portal goes beside another store",
        )
    return config.stores


def place(store: StoreConfig, means: Means) -> Place:
    place = _PLACES[store.kind](store, means)
    return place if store.deletes else Undeleting(place)


def _local(store: StoreConfig, _: Means) -> Place:
    return LocalStore(_folder(store.url), store.called)


def _has_begun(store: StoreConfig) -> bool:
    """Folders are made by the first backup, on a node, too; a bucket is its owner's."""
    if store.kind.startswith("ipfs+"):
        return _ipfs_node(store, Means()).has_begun()
    return store.kind != "file" or LocalStore(_folder(store.url), store.called).has_begun()


def _bucket(store: StoreConfig, means: Means) -> Place:
    from dwebbackup.stores.s3 import S3Store  # noqa: PLC0415  # boto3 takes 0.3 s that a folder need not wait for

    return S3Store(_patient_address(store, means), store.called, _access_key(store))


def _filebase(store: StoreConfig, means: Means) -> Place:
    from dwebbackup.stores.filebase import FilebaseStore  # noqa: PLC0415  # as with S3Store

    address = _patient_address(store, means)
    place = FilebaseStore(address, store.called, _access_key(store), check=means.fetch)
    return Paced(place, address.provider.requests, stop=means.stop)


def _s3d(store: StoreConfig, means: Means) -> Place:
    from dwebbackup.stores.flushing import Flushing  # noqa: PLC0415  # `requests` takes 60 ms

    return Flushing(_bucket(store, means), _s3d_admin(store, means), stop=means.stop)


def _s3d_admin(store: StoreConfig, means: Means) -> Admin:
    from dwebbackup.stores.flushing import admin_of  # noqa: PLC0415

    return admin_of(
        _address(store), store.option("admin"), store.secrets.token if store.secrets else "", means.waiting(store)
    )


def _portal(store: StoreConfig, means: Means) -> Place:
    from dwebbackup.stores.skynet.address import portal_at  # noqa: PLC0415  # `requests` takes 60 ms
    from dwebbackup.stores.skynet.portal import PortalStore  # noqa: PLC0415

    token = store.secrets.token if store.secrets else ""
    waiting = Waiting(stop=means.stop)  # a portal says nothing while it brings a file to its hosts
    return PortalStore(store.called, store.url.partition("?")[0], portal_at(store.url, token, waiting))


def _ipfs_node(store: StoreConfig, means: Means) -> IpfsStore:
    from dwebbackup.stores.ipfs.address import Address as NodeAddress  # noqa: PLC0415  # `requests` takes 60 ms
    from dwebbackup.stores.ipfs.store import IpfsStore  # noqa: PLC0415

    token = store.secrets.token if store.secrets else ""
    return IpfsStore(NodeAddress.from_url(store.url), store.called, token, means.waiting(store))


_PLACES: Mapping[str, Callable[[StoreConfig, Means], Place]] = {
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
        return lambda _: _s3d_admin(store, Means()).findings()
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


def _patient_address(store: StoreConfig, means: Means) -> Address:
    """An S3 server's timeout is for its silence."""
    address = _address(store)
    return replace(address, timeout=min(address.timeout, means.waiting(store).silence))


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
