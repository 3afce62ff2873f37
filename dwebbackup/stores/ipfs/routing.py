"""A writer's IPNS record, found and published by way of an IPFS node: it takes part in the network, and we need not."""

from __future__ import annotations

import base64
from collections.abc import Callable

from dwebbackup import clock, heads
from dwebbackup.errors import Damaged
from dwebbackup.links import ipns
from dwebbackup.ports import Announcement, HeadKeys, Lead
from dwebbackup.stores.ipfs.rpc import NodeError, Rpc


class NodeFinder:
    """Has the node behind *rpc* look for the record. *now* is for tests."""

    def __init__(self, name: str, rpc: Rpc, now: Callable[[], float] = clock.now) -> None:
        self._name = name
        self._rpc = rpc
        self._now = now

    @property
    def name(self) -> str:
        return self._name

    def find(self, keys: HeadKeys) -> Lead | None:
        try:
            event = self._rpc.get_record(ipns.name_of(keys.ipns).text)
        except NodeError as error:
            if error.is_unknown_record:
                return None
            raise
        try:
            record = base64.b64decode(event.get("Extra", ""), validate=True)
        except (ValueError, TypeError) as error:
            raise Damaged(f"{self._name} gives something else than an IPNS record") from error
        return heads.told_by_record(record, keys, self._now(), self._name)


class NodePublisher:
    """Has the node behind *rpc* publish the record, and keep it where the node has no network."""

    def __init__(self, name: str, rpc: Rpc) -> None:
        self._name = name
        self._rpc = rpc

    @property
    def name(self) -> str:
        return self._name

    def publish(self, announcement: Announcement) -> None:
        self._rpc.put_record(announcement.ipns_name, announcement.ipns_record)
