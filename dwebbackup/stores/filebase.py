"""Filebase: a bucket whose every object is on IPFS, too; which of its CIDs are believed, and names that it keeps."""

from __future__ import annotations

import base64
import json
import re
import threading
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dwebbackup import clock
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.links.cid import Cid, parse
from dwebbackup.links.unixfs import PROFILES, V1_2025, cid_of
from dwebbackup.links.uris import IPFS
from dwebbackup.ports import Announcement
from dwebbackup.report import log
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.s3_address import AccessKey, Address

if TYPE_CHECKING:
    from dwebbackup.stores.web import Web  # `requests` takes 60 ms that a bucket need not wait for

NAMES = "https://api.filebase.io"
"""Where its IPNS names are kept."""

_SHAPES = sorted({profile.chunk for profile in PROFILES})
"""Sizes, in bytes, beyond which a file has another shape by some profile."""

_DONE = (200, 201, 202, 204)
_NO_SUCH_NAME = 404
_LONGEST_ANSWER = 64 * 1024

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class FilebaseStore(S3Store):
    """A bucket of Filebase. On its IPFS tier a put gives a second link, `ipfs://…`, unless its CID cannot be believed.

    *check* fetches what a link leads to from somebody else, for CIDs of a kind that we cannot compute; without it they
    are not written down. An object without any CID is kept all the same. *monotonic* is for tests.
    """

    def __init__(
        self,
        address: Address,
        name: str = "filebase",
        access_key: AccessKey | None = None,
        *,
        check: Callable[[str], bytes] | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        super().__init__(address, name, access_key, monotonic=monotonic)
        self._judge = Judge(name, check)
        self._answers = True
        """False once neither a put nor a look had a CID: nobody looks again."""

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        """Raises `Damaged` for a CID of other bytes, as well."""
        headers = self._keep(name, data)["ResponseMetadata"]["HTTPHeaders"]
        place = self._address.link(name)
        answered = self._cid(name, headers) if self._address.provider.cids else ""
        cid = self._judge.accepted(name, data, answered) if answered else None
        return (place, IPFS + cid.text) if cid else (place,)

    def _cid(self, name: str, headers: dict[str, Any]) -> str:
        """Of what was just put; empty where it does not say. One more request only where the put's answer has none."""
        if answered := headers.get("x-amz-meta-cid", ""):
            return str(answered)
        if self._answers:
            with suppress(ObjectMissing):  # not seen yet; the put was acknowledged
                answer = self._ask("head_object", f"look at {name}", name, Key=self._key(name))
                if answered := answer.get("Metadata", {}).get("cid", ""):
                    return str(answered)
            self._answers = False
            log.logger(__name__).warning("a store on IPFS tells no CID", store=self.name, object=name)
        return ""


class Judge:
    """Decides which CIDs of a store are believed: which UnixFS profile it takes for its objects is not documented."""

    def __init__(self, store: str, check: Callable[[str], bytes] | None) -> None:
        self._store = store
        self._check = check
        self._likely = V1_2025
        self._verdicts: dict[int, bool] = {}
        self._doubted = False
        self._lock = threading.Lock()

    def accepted(self, name: str, data: bytes, answered: str) -> Cid | None:
        """The CID; None where nobody can tell whether it is of *data*. Raises `Damaged` where it is of other bytes."""
        try:
            cid = parse(answered)
        except WrongConfiguration as error:
            self._doubt(f"{name}: {error}")
            return None
        return cid if self._fits(data, cid) or self._led_to_ours(name, data, cid) else None

    def _fits(self, data: bytes, cid: Cid) -> bool:
        """By any profile that we know; the one that fitted last comes first, since each costs a SHA-256 of it all."""
        for profile in (self._likely, *(each for each in PROFILES if each != self._likely)):
            if cid_of(data, profile).same_block(cid):
                self._likely = profile
                return True
        return False

    def _led_to_ours(self, name: str, data: bytes, cid: Cid) -> bool:
        """Once for objects of each shape, what it leads to is fetched; from then on others like it are believed."""
        with self._lock:
            shape = bisect_left(_SHAPES, len(data))
            if shape not in self._verdicts:
                self._verdicts[shape] = self._leads_to(name, data, cid)
            return self._verdicts[shape]

    def _leads_to(self, name: str, data: bytes, cid: Cid) -> bool:
        if self._check is None:
            return self._doubt(f"{name}: {cid.text} is by no profile that is known, and no gateway is there to ask")
        try:
            fetched = self._check(IPFS + cid.text)
        except (Damaged, StoreUnreachable, WrongConfiguration) as error:
            return self._doubt(f"{name}: {error}")
        if fetched != data:
            raise Damaged(
                f"store {self._store} says that {name} is {cid.text}, and there are other bytes: "
                f"it is {cid_of(data).text}",
                "do not rely on its links, and ask the provider",
            )
        log.logger(__name__).info("a CID by an unknown profile leads to our bytes", store=self._store, cid=cid.text)
        return True

    def _doubt(self, why: str) -> bool:
        """Told once: nothing is lost but a link."""
        if not self._doubted:
            self._doubted = True
            log.logger(__name__).warning("a CID is not written down, since nobody can tell", store=self._store, why=why)
        return False


class FilebaseNames:
    """An IPNS name that Filebase keeps under *label*, and lets lead to the newest manifest. A `Publisher`.

    Filebase has that name's key, so it can let it lead anywhere: it is there to be shown around, and nobody of ours
    reads it.
    """

    def __init__(self, access_key: AccessKey, label: str, web: Web) -> None:
        if not _LABEL.fullmatch(label):
            raise WrongConfiguration(f"{label!r} cannot be a name's label at Filebase", "write names=my-backups")
        token = base64.b64encode(f"{access_key.id}:{access_key.secret}".encode()).decode()
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._label = label
        self._web = web

    @property
    def name(self) -> str:
        return f"Filebase's name {self._label}"

    def publish(self, announcement: Announcement) -> None:
        """The first time, the name is made."""
        cid = announcement.cid
        status = self._send("PUT", f"/v1/names/{self._label}", {"cid": cid}, (*_DONE, _NO_SUCH_NAME))
        if status == _NO_SUCH_NAME:
            self._send("POST", "/v1/names", {"label": self._label, "cid": cid}, _DONE)

    def _send(self, method: str, path: str, body: dict[str, str], expect: tuple[int, ...]) -> int:
        sent = json.dumps(body).encode()
        return self._web.ask(
            method, path, headers=self._headers, body=sent, limit=_LONGEST_ANSWER, expect=expect
        ).status
