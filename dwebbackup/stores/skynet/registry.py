"""Entries of Skynet's registry, as a portal reads and writes them: where a writer's head is, and where links lead."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from dwebbackup import heads
from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links import registry
from dwebbackup.links.registry import Entry
from dwebbackup.links.skylink import Skylink
from dwebbackup.ports import Announcement, HeadKeys, Lead
from dwebbackup.report import log
from dwebbackup.stores import Refused
from dwebbackup.stores.web import Web

PATIENCE = 5
"""Seconds for which a portal asks Sia's hosts for an entry before it says that there is none."""

_LARGEST = 64 * 1024
"""Bytes of an answer, at most."""

_MOST_HOPS = 8
"""Resolver skylinks that lead to one another."""


class PortalFinder:
    """The registry behind the portal *web* as a `Finder`."""

    def __init__(self, name: str, web: Web) -> None:
        self._name = name
        self._web = web

    @property
    def name(self) -> str:
        return self._name

    def find(self, keys: HeadKeys) -> Lead | None:
        found = _standing(self._web, self._name, keys.registry)
        return heads.told_by_entry(found.entry, found.signature, keys, self._name) if found else None


class PortalPublisher:
    """The registry behind the portal *web* as a `Publisher`."""

    def __init__(self, name: str, web: Web) -> None:
        self._name = name
        self._web = web

    @property
    def name(self) -> str:
        return self._name

    def publish(self, announcement: Announcement) -> None:
        """Where no store gave the manifest a skylink, there is nothing to tell."""
        if announcement.registry_entry is None:
            return
        entry, signature = announcement.registry_entry
        body = _written(Signed(announcement.registry_key, heads.REGISTRY_KEY, entry, signature))
        answer = self._web.ask(
            "POST",
            "/skynet/registry",
            headers={"Content-Type": "application/json"},
            body=body,
            limit=_LARGEST,
            expect=(200, 204, 400),
        )
        if answer.status == 400:
            self._require_as_new(announcement.registry_key, entry, answer.body)

    def _require_as_new(self, public: bytes, ours: Entry, said: bytes) -> None:
        """Refused is what is not newer than what is there. Raises `Refused` when that is not why."""
        found = _standing(self._web, self._name, public)
        standing = found.verified().entry if found else None
        if standing is None or standing.revision < ours.revision:
            raise Refused(f"portal {self._name} refuses the entry of the head: {_message(said)}")
        if standing != ours:
            log.logger(__name__).warning(
                "the portal keeps another head, which is as new or newer",
                portal=self._name,
                sequence=ours.revision,
                kept=standing.revision,
            )


@dataclass(frozen=True, slots=True)
class Signed:
    """An entry, under which keys it stands, and its signature, which nobody has checked yet."""

    public: bytes
    key: bytes
    """The data key."""
    entry: Entry
    signature: bytes

    def verified(self) -> Signed:
        """The same. Raises `Damaged`."""
        registry.verify(self.public, self.key, self.entry, self.signature)
        return self


def followed(resolver: Skylink, proof: str, teller: str) -> Skylink:
    """Where *resolver* leads, through the entries that *proof* tells of. Raises `Damaged` where it proves nothing."""
    try:
        link = resolver
        for document in json.loads(proof or "[]")[:_MOST_HOPS]:
            link = _one_further(link, _read(document))
    except (Damaged, ValueError, TypeError, LookupError, RecursionError) as error:
        raise Damaged(f"{teller} cannot show where {resolver.text} leads: {error}") from error
    if link.version != 1:
        raise Damaged(f"{teller} does not show where {resolver.text} leads")
    return link


def _one_further(link: Skylink, signed: Signed) -> Skylink:
    if registry.resolver(signed.public, signed.key) != link:
        raise Damaged("an entry is not the one that was asked for")
    return signed.verified().entry.skylink


def _standing(web: Web, teller: str, public: bytes) -> Signed | None:
    """The head's entry under that key, unverified. Raises `Damaged` for another one."""
    query = {"publickey": f"ed25519:{public.hex()}", "datakey": heads.REGISTRY_KEY.hex(), "timeout": PATIENCE}
    answer = web.ask("GET", "/skynet/registry", params=query, limit=_LARGEST, expect=(200, 404))
    if answer.status == 404:
        return None
    try:
        signed = _read(json.loads(answer.body))
    except (Damaged, ValueError, RecursionError) as error:
        raise Damaged(f"what portal {teller} answered is no entry of the registry: {error}") from None
    if (signed.public, signed.key) != (public, heads.REGISTRY_KEY):
        raise Damaged(f"portal {teller} answered with somebody else's entry of the registry")
    return signed


def _read(document: Any) -> Signed:
    """What a portal answers; in requests it is `_written`. Raises `Damaged`."""
    try:
        public, revision = document["publickey"], document["revision"]
        known = public["algorithm"] == "ed25519" and document.get("type", 1) == 1 and isinstance(revision, int)
        signed = Signed(
            base64.b64decode(public["key"], validate=True),
            bytes.fromhex(document["datakey"]),
            Entry(bytes.fromhex(document["data"]), revision),
            bytes.fromhex(document["signature"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, WrongConfiguration) as error:
        raise Damaged(f"it is not written as one: {type(error).__name__}, {error}") from None
    if not known:
        raise Damaged("it is of a type that is not known")
    return signed


def _written(signed: Signed) -> bytes:
    """As Skynet's own SDK sends it."""
    document = {
        "publickey": {"algorithm": "ed25519", "key": list(signed.public)},
        "datakey": signed.key.hex(),
        "revision": signed.entry.revision,
        "data": list(signed.entry.data),
        "signature": list(signed.signature),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _message(said: bytes) -> str:
    """What a portal says for people."""
    try:
        return str(json.loads(said)["message"])[:200]
    except (ValueError, LookupError, TypeError, RecursionError):
        return repr(said[:200])
