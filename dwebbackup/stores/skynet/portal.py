"""A portal as a store: files go to Skynet, and come back by their skylinks; nothing is kept under a name."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dwebbackup.errors import Damaged, DwebbackupError, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.links import skyfile
from dwebbackup.links import skylink as skylinks
from dwebbackup.links.skylink import SECTOR, Skylink
from dwebbackup.links.uris import SIA
from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.report import log
from dwebbackup.stores import Refused, check_name
from dwebbackup.stores.skynet.carrier import PortalCarrier
from dwebbackup.stores.web import Web

TRAITS = StoreTraits(
    lists=False, deletes=False, not_found_is_final=False, distance=3, scheme="sia", deletion="forgotten"
)

PROBE = b"dwebbackup was here\n"
"""What is put to see whether a portal takes anything: the same for everybody, so that there is only one of it."""

SMALL = 64 * 1024
"""Bytes up to which every upload is fetched again: manifests are."""

ONE_OF = 16
"""Of larger uploads, the first and each after so many is fetched again."""

_LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that is no file."""

_BACKUP = struct.Struct("<Q15s Q7s Q46s")
"""Before a sector that is put as it is: what this is, of which version, and its skylink; each after its length."""


class PortalStore:
    """The portal *web* as a `Place`, which gives only what it is asked for by `sia://<skylink>`."""

    def __init__(self, name: str, url: str, web: Web) -> None:
        self._name = name
        self._url = url
        self._web = web
        self._carrier = PortalCarrier(name, web)
        self._larger = 0
        self._alters = False
        self._takes_sectors = True

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return self._url

    @property
    def traits(self) -> StoreTraits:
        return TRAITS

    def prepare(self) -> None:
        """A small file goes there and comes back."""
        self.put("probe", PROBE)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        """Raises `Refused` for what does not fit into one sector."""
        check_name(name)
        ours = self._skylink_of(name, data)
        given = self._stored(ours, data)
        if given != ours or self._is_to_be_fetched(len(data)):
            self._require_to_come_back(name, given, data, altered=given != ours)
        return (SIA + given.text,)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        check_name(name)
        failures: list[DwebbackupError] = []
        for link in filter(self._carrier.carries, links):
            try:
                return self._carrier.fetch(link)
            except (StoreUnreachable, Damaged) as error:
                failures.append(error)
            except WrongConfiguration as error:  # nobody typed it: it stands in a manifest
                failures.append(Damaged(str(error)))
        if not failures:
            raise ObjectMissing(f"no skylink of {name} is known, and store {self.name} keeps nothing under a name")
        raise next((each for each in failures if not isinstance(each, ObjectMissing)), failures[0])

    def head(self, name: str) -> Stored:
        raise self._keeps_no_names(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        raise self._keeps_no_names(prefix)

    def delete(self, name: str) -> None:
        raise self._keeps_no_names(name)

    def _keeps_no_names(self, name: str) -> Refused:
        return Refused(f"store {self.name} keeps nothing under a name, and cannot tell of {name}")

    def _skylink_of(self, name: str, data: bytes) -> Skylink:
        try:
            return skyfile.skylink_of(data)
        except WrongConfiguration as error:
            raise Refused(f"{name} does not fit into store {self.name}: {error}", "keep it in another store") from error

    def _stored(self, ours: Skylink, data: bytes) -> Skylink:
        """The skylink under which it is there: *ours*, unless the portal writes down more and takes no sectors."""
        given = None
        if not (self._alters and self._takes_sectors):
            given = self._uploaded(data)
            if given == ours:
                return ours
            self._tell_that_it_alters()
        if self._takes_sectors:
            try:
                if self._restored(ours, data) == ours:
                    return ours
            except Refused as error:
                log.logger(__name__).warning("the portal takes no sectors", store=self.name, error=str(error))
            self._takes_sectors = False
        return given or self._uploaded(data)

    def _tell_that_it_alters(self) -> None:
        if not self._alters:
            log.logger(__name__).warning(
                "the portal's skylink is another one than ours: it writes down more about a file", store=self.name
            )
        self._alters = True

    def _uploaded(self, data: bytes) -> Skylink:
        """Under the name that every file has, or its skylink would depend on it."""
        return self._answered("/skynet/skyfile", files={"file": (skyfile.NAME, data, skyfile.CONTENT_TYPE)})

    def _restored(self, ours: Skylink, data: bytes) -> Skylink:
        """The sector goes there as it is, with our metadata."""
        header = _BACKUP.pack(15, b"Skyfile Backup\n", 7, b"v1.5.5\n", 46, ours.text.encode())
        return self._answered("/skynet/restore", body=header + skyfile.skyfile(data).ljust(SECTOR, b"\0"))

    def _answered(self, path: str, body: bytes | None = None, files: Mapping[str, Any] | None = None) -> Skylink:
        answer = self._web.ask("POST", path, body=body, files=files, limit=_LONGEST_ANSWER)
        try:
            return skylinks.parse(json.loads(answer.body)["skylink"].removeprefix(SIA))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, WrongConfiguration) as error:
            raise Refused(
                f"{self._web.host} answered an upload with something else than a skylink", "is it a Skynet portal?"
            ) from error

    def _is_to_be_fetched(self, size: int) -> bool:
        """The first one always: a portal that gives nothing back must not take a whole backup first."""
        if size <= SMALL:
            return True
        self._larger += 1
        return self._larger % ONE_OF == 1

    def _require_to_come_back(self, name: str, given: Skylink, data: bytes, *, altered: bool) -> None:
        try:
            if self._carrier.fetch(SIA + given.text) == data:
                return
        except Damaged as error:
            if altered and not isinstance(error, ObjectMissing):
                raise Refused(
                    f"store {self.name} writes down more about a file than we do, and neither takes nor gives whole "
                    "sectors: what comes back from it cannot be checked",
                    "use another portal",
                ) from error
            raise StoreUnreachable(f"store {self.name} took {name}, and does not give it back: {error}") from error
        raise StoreUnreachable(f"store {self.name} took {name}, and gives back other bytes")
