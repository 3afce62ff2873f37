"""A wrapper round a bucket of s3d, which keeps things on its own disk first: a manifest waits until all is on Sia."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from dwebbackup import clock
from dwebbackup.errors import Interrupted, StoreUnreachable, WrongConfiguration
from dwebbackup.ports import Finding, Stored, StoreTraits
from dwebbackup.report import log
from dwebbackup.report.wording import count, duration
from dwebbackup.stores import NO_END, Place, Refused, Waiting
from dwebbackup.stores.s3_address import Address, server_url
from dwebbackup.stores.web import Web

BUDGET = 3600.0
"""Seconds for a flush: hundreds of MiB may have to go to dozens of hosts."""

_LONGEST_WAIT = 60.0
_GLANCE = 0.2  # seconds; how often somebody who waits for a flush looks whether to stop
_LONGEST_ANSWER = 64 * 1024

_WHICH_PASSWORD = "set DWEBBACKUP_STORE_<NAME>_TOKEN to the adminPassword of s3d.yml"  # noqa: S105  # says where it is


class Admin:
    """s3d's other door, at *url*: what it still has to upload, and "do it now". *password*: `adminPassword`."""

    def __init__(
        self,
        url: str,
        password: str,
        *,
        timeout: float = 60.0,
        patience: float = BUDGET,
        ca: str = "",
        waiting: Waiting = NO_END,
    ) -> None:
        self.url = url
        token = base64.b64encode(f":{password}".encode()).decode()  # it looks at no user
        headers = {"Authorization": f"Basic {token}"}
        self._quick = Web(url, timeout=timeout, ca=ca, headers=headers, waiting=waiting)
        self._patient = Web(url, timeout=patience, ca=ca, headers=headers)

    def pending(self) -> int:
        """Objects that are on its disk alone, or on Sia for some days only, since nobody pinned them yet."""
        body = self._ask(self._quick, "GET", "/stats/uploads")
        try:
            stats = json.loads(body)
            numbers = stats["pendingObjects"], stats.get("unpinnedObjects", 0)
        except (ValueError, TypeError, KeyError, AttributeError):
            numbers = None, None
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise Refused(f"{self.url} does not say what s3d has to upload", "is admin=… the address of its admin API?")
        return sum(number for number in numbers if number)

    def flush(self) -> None:
        """Have all of them uploaded and pinned, however full its slabs are; ends when it is done, or cannot."""
        self._ask(self._patient, "POST", "/objects/flush")

    def findings(self) -> list[Finding]:
        """For `doctor`."""
        try:
            pending = self.pending()
        except StoreUnreachable as error:
            return [Finding.of("s3d", error)]
        return [Finding("s3d", "ok", f"its admin API answers; {count(pending, 'object')} not on Sia for good yet")]

    def _ask(self, web: Web, method: str, path: str) -> bytes:
        answer = web.ask(method, path, limit=_LONGEST_ANSWER, expect=(200, 401, 404))
        if answer.status == 401:
            raise Refused(f"{web.host} refuses the password for s3d's admin API", _WHICH_PASSWORD)
        if answer.status == 404:
            raise Refused(
                f"{web.host} has no {path}", "is admin=… the address of s3d's admin API, and is it s3d 0.1.2 or newer?"
            )
        return answer.body


def admin_of(address: Address, url: str, password: str, waiting: Waiting = NO_END) -> Admin:
    """Of the s3d whose bucket is at *address*. Raises `WrongConfiguration` without *url*."""
    if not url:
        raise WrongConfiguration(
            "a store's URL, sia+s3d://…, does not say where s3d's admin API is, without which nobody knows when what "
            "was put there is on Sia",
            "write admin=http://127.0.0.1:8001 beside its endpoint",
        )
    return Admin(server_url(url, "admin"), password, timeout=address.timeout, ca=address.ca, waiting=waiting)


class Flushing:
    """*store*, at an s3d, where a manifest is put when all before it is on Sia, and counts when it is there, too.

    s3d says "done" as soon as it has an object on its own disk, and uploads it when enough has come to fill a slab.
    Only manifests are worth a slab that is not full. *budget*: seconds for which a put waits; *stop* ends that, and the
    put raises `Interrupted`. *sleep* and *monotonic* are for tests.
    """

    def __init__(
        self,
        store: Place,
        admin: Admin,
        *,
        budget: float = BUDGET,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._store = store
        self._admin = admin
        self._budget = budget
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait
        self._monotonic = monotonic

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def url(self) -> str:
        return f"{self._store.url}&admin={quote(self._admin.url, safe='/:')}"

    @property
    def traits(self) -> StoreTraits:
        return self._store.traits

    def prepare(self) -> None:
        """Also sees that the password is right, while nothing is lost by waiting."""
        self._store.prepare()
        self._admin.pending()

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        """Of a manifest: raises `Refused` when something is still not on Sia after all that time."""
        if "/manifests/" not in name:
            return self._store.put(name, data)
        self._settle()
        links = self._store.put(name, data)
        self._settle()
        return links

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        return self._store.get(name, links)

    def head(self, name: str) -> Stored:
        return self._store.head(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        self._store.delete(name)

    def _settle(self) -> None:
        """Return when nothing is pending. A flush may end and leave what s3d has no room for, or could not pin."""
        end, wait = self._monotonic() + self._budget, 1.0
        while pending := self._admin.pending():
            log.logger(__name__).info("waiting until s3d has everything on Sia", store=self.name, pending=pending)
            self._flush(end, pending)
            pending = self._admin.pending()
            if not pending:
                return
            if self._monotonic() + wait > end:
                raise self._unsettled(pending)
            self._sleep(wait)
            self._require_leave_to_wait()
            wait = min(2 * wait, _LONGEST_WAIT)

    def _flush(self, end: float, pending: int) -> None:
        """In a thread that is left behind on `stop`: s3d gives up a flush when nobody waits for its answer."""
        done = threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                self._admin.flush()
            except BaseException as failure:  # noqa: BLE001  # it is raised below
                failures.append(failure)
            finally:
                done.set()

        threading.Thread(target=work, name="flush", daemon=True).start()
        while not done.wait(_GLANCE):
            self._require_leave_to_wait()
            if self._monotonic() > end:
                raise self._unsettled(pending)
        if failures:
            raise failures[0]

    def _require_leave_to_wait(self) -> None:
        if self._stop.is_set():
            raise Interrupted(f"asked to stop while store {self.name} was bringing everything to Sia")

    def _unsettled(self, pending: int) -> Refused:
        return Refused(
            f"store {self.name} has {count(pending, 'object')} that are not on Sia for good, {duration(self._budget)} "
            "after it was told to bring everything there",
            "`s3d status` and its log say why: is there room in the account, and does somebody else put much into it?",
        )
