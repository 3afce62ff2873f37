"""What people paste to say where a backup is: `ipfs://…`, `ipns://…`, `sia://…`, or a gateway's address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from dwebbackup.errors import WrongConfiguration
from dwebbackup.links import cid, ipns, skylink

_HINT = "write ipfs://CID, ipns://NAME or sia://SKYLINK, or the address at a gateway: https://GATEWAY/ipfs/CID"
_KINDS = ("ipfs", "ipns", "sia")
_LABEL = re.compile(r"(?P<id>[a-z0-9]{40,63})\.(?:(?P<kind>ipfs|ipns)\.)?(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Pasted:
    """One of these, checked."""

    kind: Literal["ipfs", "ipns", "sia"]
    text: str
    """A CID, the name of a key, or a skylink."""
    base: str = ""
    """Of the gateway or portal where it was seen, as a URL; empty where none was named."""

    @property
    def link(self) -> str:
        return f"{self.kind}://{self.text}"

    @property
    def leads_on(self) -> bool:
        """Whether it stands for something that its owner can change, and not for certain bytes."""
        return self.kind == "ipns" or (self.kind == "sia" and skylink.parse(self.text).version == 2)


def is_pasted(text: str) -> bool:
    """Whether it is meant to be one of these, however wrong."""
    return "://" in text or text.startswith(("/ipfs/", "/ipns/"))


def parse(text: str) -> Pasted:
    """Raises `WrongConfiguration`, which says where the mistake is."""
    text = text.strip()
    if text.startswith(("/ipfs/", "/ipns/")):
        _, kind, rest = text.split("/", 2)
        return _of(kind, rest)
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme in ("http", "https"):
        return _at_a_server(text)
    return _of(scheme, rest)


def _of(kind: str, rest: str, base: str = "") -> Pasted:
    if kind not in _KINDS:
        raise WrongConfiguration(f"{kind[:40]}:// leads to no manifest", _HINT)
    name, _, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    if path:
        raise WrongConfiguration(f"behind {name[:80]} stands /{path[:80]}, and a manifest is no folder", _HINT)
    if kind == "ipfs":
        return Pasted("ipfs", _file(name).text, base)
    if kind == "ipns":
        return Pasted("ipns", ipns.parse_name(name).text, base)
    return Pasted("sia", skylink.parse(name).text, base)


def _file(name: str) -> cid.Cid:
    found = cid.parse(name)
    if found.codec is cid.Codec.LIBP2P_KEY:
        raise WrongConfiguration(f"{name} is the name of a key, and no file", f"write ipns://{name}")
    return found


def _at_a_server(url: str) -> Pasted:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise WrongConfiguration("this is no address of a web server", _HINT) from None
    host = parts.netloc.rpartition("@")[2].lower()
    path = parts.path.strip("/")
    if match := _LABEL.fullmatch(host):
        kind = match["kind"] or "sia"
        return _of(kind, "/".join(filter(None, (match["id"], path))), f"{parts.scheme}://{match['rest']}")
    folder = re.fullmatch(r"(?:(?P<before>.*)/)?(?P<kind>ipfs|ipns)/(?P<rest>.+)", path)
    if folder:
        return _of(
            folder["kind"], folder["rest"], "/".join(filter(None, (f"{parts.scheme}://{host}", folder["before"])))
        )
    if path:
        before, _, last = path.rpartition("/")
        return _of("sia", last, "/".join(filter(None, (f"{parts.scheme}://{host}", before))))
    raise WrongConfiguration(f"{host} is a server, and no backup on it is named", _HINT)
