"""A writer's IPNS record, found and published over HTTP: through gateways, and through servers of delegated routing."""

from __future__ import annotations

from collections.abc import Callable

from dwebbackup import clock, heads
from dwebbackup.links import ipns
from dwebbackup.ports import Announcement, HeadKeys, Lead
from dwebbackup.stores import Refused
from dwebbackup.stores.web import Web

RECORD = "application/vnd.ipfs.ipns-record"

_NONE = (404, 410)
"""What those answer who were asked for a record and have none."""


class GatewayFinder:
    """Asks the trustless gateway at *web* for records. *now* is for tests."""

    def __init__(self, web: Web, now: Callable[[], float] = clock.now) -> None:
        self._web = web
        self._now = now

    @property
    def name(self) -> str:
        return self._web.host

    def find(self, keys: HeadKeys) -> Lead | None:
        answer = self._web.ask(
            "GET",
            f"/ipns/{ipns.name_of(keys.ipns).text}",
            params={"format": "ipns-record"},
            headers={"Accept": RECORD},
            limit=ipns.LARGEST,
            expect=(200, *_NONE),
        )
        if answer.status in _NONE:
            return None
        if answer.content_type != RECORD:
            raise Refused(f"{self.name} gives no IPNS records", "not every gateway does; name another one")
        return heads.told_by_record(answer.body, keys, self._now(), self.name)


class Router:
    """A server of delegated routing (`/routing/v1/ipns`) at *web*: finds heads and publishes them."""

    def __init__(self, web: Web, now: Callable[[], float] = clock.now) -> None:
        self._web = web
        self._now = now

    @property
    def name(self) -> str:
        return self._web.host

    def find(self, keys: HeadKeys) -> Lead | None:
        path = _path(ipns.name_of(keys.ipns).text)
        answer = self._web.ask("GET", path, headers={"Accept": RECORD}, limit=ipns.LARGEST, expect=(200, *_NONE))
        if answer.status in _NONE or answer.content_type != RECORD:  # which says "none", by its specification
            return None
        return heads.told_by_record(answer.body, keys, self._now(), self.name)

    def publish(self, announcement: Announcement) -> None:
        self._web.ask(
            "PUT",
            _path(announcement.ipns_name),
            headers={"Content-Type": RECORD},
            body=announcement.ipns_record,
            limit=ipns.LARGEST,
        )


def _path(name: str) -> str:
    return f"/routing/v1/ipns/{name}"
