"""Several stores as one: what is put goes to all of them, and what is asked for comes from the first that has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from dwebbackup import clock, records
from dwebbackup.errors import Damaged, DwebbackupError, Interrupted, ObjectMissing, StoreUnreachable
from dwebbackup.manifest import digest_in
from dwebbackup.ports import Member, Store, Stored, StoreTraits
from dwebbackup.report import log
from dwebbackup.stores import LOOK_WHO_NEEDS_IT, Refused

T = TypeVar("T")

AT_ONCE = 8
"""Calls of one member under way at once, at most."""


PAUSE = 10.0
"""Seconds between two rounds through all of them."""


class Mirrored:
    """*members* as one `Store`.

    A put counts when every required member has taken it; one that is not required may fail, which is remembered. Bytes
    whose name says their digest are compared with it, and those of the next member taken where they differ. An object
    is missing only when every member says so. One that keeps no names gets only what manifests link to: of all else
    it could not even be asked.

    *linked* is asked last, by links: what strangers' gateways have.

    *patience*: seconds for which a get or a head waits for stores that do not answer, where no other one has what is
    asked for; by default, none. *stop* ends that at once; the call then raises `Interrupted`. *sleep*
    and *monotonic* are for tests.
    """

    def __init__(
        self,
        members: Sequence[Member],
        linked: Store | None = None,
        *,
        patience: float = 0.0,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._members = tuple(members)
        self._linked = linked
        self._nearest = tuple(sorted((each.store for each in members), key=lambda store: store.traits.distance))
        self._pool = ThreadPoolExecutor(AT_ONCE * len(self._members), "mirror")
        self._absent: dict[str, tuple[str, ...]] = {}
        self._missed: dict[str, str] = {}
        self._lock = threading.Lock()
        self._patience = patience
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait
        self._monotonic = monotonic
        self._waited_for: dict[str, float] = {}
        """Since when, and it has given nothing meanwhile: what is gone for good is not waited for time and again."""

    @property
    def name(self) -> str:
        return " and ".join(each.store.name for each in self._members)

    @property
    def url(self) -> str:
        return " ".join(each.store.url for each in self._members)

    @property
    def traits(self) -> StoreTraits:
        each = [member.store.traits for member in self._members]
        return StoreTraits(
            lists=any(traits.lists for traits in each),
            deletes=any(traits.deletes for traits in each),
            not_found_is_final=all(traits.not_found_is_final for traits in each),
            distance=max(traits.distance for traits in each),  # as far as one may have to go
        )

    @property
    def members(self) -> Sequence[Member]:
        return self._members

    def begin_run(self) -> None:
        with self._lock:
            self._absent.clear()
            self._missed.clear()

    def absent(self, name: str) -> tuple[str, ...]:
        return self._absent.get(name, ())

    def missed(self) -> Mapping[str, str]:
        return dict(self._missed)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        takers = [each for each in self._members if each.store.traits.lists or digest_in(name)]
        tried = self._all(lambda store: store.put(name, data), takers)
        links: dict[str, None] = {}
        absent = []
        for member, outcome in zip(takers, tried, strict=True):
            if isinstance(outcome, BaseException):
                self._require_leave_to_fail(member, outcome)
                absent.append(member.store.name)
                self._miss(member.store.name, name, outcome)
            else:
                links.update(dict.fromkeys(outcome))
        with self._lock:
            self._absent.pop(name, None)
            if absent:
                self._absent[name] = tuple(absent)
        return tuple(links)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        """Raises `Damaged` where all that answered gave other bytes than the name says."""
        askable = tuple(self._askable(links))
        return self._first(name, askable, lambda store: _checked(store, name, store.get(name, links)))

    def head(self, name: str) -> Stored:
        return self._first(name, tuple(self._askable(())), lambda store: store.head(name))

    def list(self, prefix: str) -> Iterator[Stored]:
        """Whatever any member has, as the nearest tells of it. Raises where one member cannot tell."""
        found: dict[str, Stored] = {}
        for store in self._nearest:
            if store.traits.lists:
                for stored in store.list(prefix):
                    found.setdefault(stored.name, stored)
        return iter(found.values())

    def delete(self, name: str) -> None:
        """Wherever that can be done."""
        able = [member for member in self._members if member.store.traits.deletes]
        if not able:
            raise Refused(f"{name} cannot be deleted from {self.name}", "do it where that is allowed")
        for member, outcome in zip(able, self._all(lambda store: store.delete(name), able), strict=True):
            if isinstance(outcome, BaseException):
                self._require_leave_to_fail(member, outcome)

    def _all(self, work: Callable[[Store], T], members: Sequence[Member]) -> Sequence[T | BaseException]:
        """What each gives or raises; all at once, and all of them to their end."""
        started: list[Future[T]] = [self._pool.submit(work, member.store) for member in members]
        return [future.exception() or future.result() for future in started]

    def _askable(self, links: Sequence[str]) -> Iterator[Store]:
        yield from (store for store in self._nearest if store.traits.lists)
        if links:
            yield from (store for store in self._nearest if not store.traits.lists)
            if self._linked:
                yield self._linked

    def _first(self, name: str, stores: Sequence[Store], work: Callable[[Store], T]) -> T:
        """What the first gives that has it; they are asked in turn, round after round while that may help."""
        while True:
            failures: dict[str, DwebbackupError] = {}
            for store in stores:
                try:
                    found = work(store)
                except (StoreUnreachable, Damaged) as error:  # an `ObjectMissing` is `Damaged`, too
                    failures[store.name] = error
                else:
                    self._heard(store)
                    return found
            if not self._is_worth_waiting(name, failures):
                raise self._told(name, tuple(failures.values()))
            self._await_another_round(name)

    def _heard(self, store: Store) -> None:
        with self._lock:
            self._waited_for.pop(store.name, None)

    def _is_worth_waiting(self, name: str, failures: Mapping[str, DwebbackupError]) -> bool:
        """Somebody has it whose name says its digest; whether anything else is there at all, any store can tell."""
        own = [each.store.name for each in self._members if each.store.name in failures]
        silent = [store for store in own if _is_silence(failures[store])]
        if not digest_in(name) and len(silent) < len(own):
            return False
        now = self._monotonic()
        with self._lock:
            since = [self._waited_for.setdefault(store, now) for store in silent]
        return any(now - each < self._patience for each in since)

    def _await_another_round(self, name: str) -> None:
        log.logger(__name__).warning("no store has what is needed, waiting for those that do not answer", object=name)
        self._sleep(PAUSE)
        if self._stop.is_set():
            raise Interrupted(f"asked to stop while none of the stores {self.name} answered")

    def _require_leave_to_fail(self, member: Member, error: BaseException) -> None:
        if member.required or isinstance(error, Interrupted) or not isinstance(error, DwebbackupError):
            raise error

    def _miss(self, store: str, name: str, error: BaseException) -> None:
        with self._lock:
            first = store not in self._missed
            self._missed.setdefault(store, str(error))
        if first:
            log.logger(__name__).warning("a store that is not required missed an object", store=store, object=name)

    def _told(self, name: str, failures: Sequence[DwebbackupError]) -> DwebbackupError:
        """Bytes that are wrong come first, then whoever did not answer: only if all say so, it is missing."""
        for kind in (Damaged, StoreUnreachable):
            for failure in failures:
                if isinstance(failure, kind) and not isinstance(failure, ObjectMissing):
                    return failure
        return ObjectMissing(f"none of the stores {self.name} has {name}", LOOK_WHO_NEEDS_IT)


def _is_silence(error: DwebbackupError) -> bool:
    return isinstance(error, StoreUnreachable) and not isinstance(error, Refused)


def _checked(store: Store, name: str, data: bytes) -> bytes:
    """*data*, if it is what its name says. Raises `Damaged`."""
    expected = digest_in(name)
    if expected and records.digest(data) != expected:
        log.logger(__name__).warning("a store has other bytes than it should", store=store.name, object=name)
        raise Damaged(
            f"{name} in store {store.name} is not what its name says: cut, changed or swapped",
            "run `dwebbackup verify --data`, then `dwebbackup repair`",
        )
    return data
