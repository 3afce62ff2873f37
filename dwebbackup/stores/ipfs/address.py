"""Where an IPFS node is, and in which folder of its own file system objects are kept: what `ipfs+http://…` says."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from dwebbackup.errors import WrongConfiguration

FOLDER = "dwebbackup"
"""Where none is named."""

_EXAMPLE = "write ipfs+http://127.0.0.1:5001/FOLDER; a token stands in DWEBBACKUP_STORE_<NAME>_TOKEN"
_SECONDS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?")
_TIMEOUT = "60"
_PORTS = {"ipfs+http": ":5001", "ipfs+https": ""}
"""Where none is written: kubo's own, and a web server's, which TLS needs in front of it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A folder in the MFS of a node."""

    base: str
    """Of the node's RPC: `http://HOST:PORT`, and the beginning of a path where it stands behind one."""
    folder: str
    """Without slashes round it."""
    ca: str = ""
    """A file of certificates to trust instead of the usual ones."""
    timeout: float = float(_TIMEOUT)
    """Seconds for a whole request."""

    @classmethod
    def from_url(cls, url: str) -> Address:
        """The inverse of `url`. Raises `WrongConfiguration`, without what may be a secret."""
        bare, _, query = url.partition("?")
        _require_address(bare)
        parts = urlsplit(bare)
        said = {key: unquote(value) for key, _, value in (option.partition("=") for option in query.split("&"))}
        timeout = said.get("timeout", _TIMEOUT)
        if not _SECONDS.fullmatch(timeout) or not float(timeout):
            raise WrongConfiguration(f"{timeout!r} is not a timeout", "write seconds: timeout=60")
        port = "" if parts.port else _PORTS[parts.scheme]
        base = f"{parts.scheme.removeprefix('ipfs+')}://{parts.netloc}{port}"
        return cls(base, _folder(unquote(parts.path)), said.get("ca", ""), float(timeout))

    @property
    def url(self) -> str:
        """What finds it again from another machine: without what concerns only this one."""
        return f"ipfs+{self.base}/{quote(self.folder)}"

    @property
    def distance(self) -> int:
        """As in `StoreTraits`; by the address alone, without asking anybody where a name leads."""
        host = urlsplit(self.base).hostname or ""
        try:
            return 1 if ipaddress.ip_address(host).is_private else 2
        except ValueError:
            return 2 if "." in host else 1  # names without a dot are of this machine or of the network round it


def _require_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[@#\s]", url):
        raise WrongConfiguration("an IPFS node's URL is not one of a server, or has a user in it", _EXAMPLE)


def _folder(path: str) -> str:
    bare = path.strip("/")
    if bare and (not bare.isprintable() or {"", ".", ".."} & set(bare.split("/"))):
        raise WrongConfiguration(f"{bare!r} cannot be a folder of an IPFS node", _EXAMPLE)
    return bare or FOLDER
