"""Stores for tests: one in memory, and a wrapper that makes any store fail exactly where a test says.

    stored = MemoryStore()
    store = Faulty(stored, at={17: Fault.raise_before})          # the 17th call of all
    store = Faulty(stored, at={("put", 3): Fault.kill_after})    # the third put
    store = Faulty(stored, at={"list": Fault.hide}, hidden=lambda name: "/packs/" in name)
    store = Faulty(stored, dead_from(17))                        # any function of a `Call` is a plan
    store = Lagging(stored, by=3)                                # its listings leave out the last three puts

`store.calls` is what was asked for, `store.struck` where a fault really hit: assert on it, so that a plan
which never fires cannot pass for a success.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from dwebbackup.errors import ObjectMissing, StoreUnreachable
from dwebbackup.ports import Store, Stored, StoreTraits
from dwebbackup.stores import Refused, check_name, check_prefix, check_size

T = TypeVar("T")

VERBS = ("put", "get", "head", "list", "delete")


class MemoryStore:
    """The simplest store there is. *now* is its clock, which stands until a test sets it."""

    def __init__(self, name: str = "memory", *, now: float = 1_700_000_000.0, traits: StoreTraits | None = None):
        self.name = name
        self.url = f"memory://{name}"
        self.traits = traits or StoreTraits()
        self.now = now
        self.objects: dict[str, bytes] = {}
        self.modified: dict[str, float] = {}

    def copy(self) -> MemoryStore:
        """A store of its own with the same objects: what a sweep starts from, again and again."""
        twin = MemoryStore(self.name, now=self.now, traits=self.traits)
        twin.objects = self.objects.copy()
        twin.modified = self.modified.copy()
        return twin

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        check_name(name)
        self.modified[name] = self.now
        self.objects[name] = bytes(data)
        return (f"{self.url}/{name}",)

    def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
        data = self._object(name)
        check_size(name, len(data))
        return data

    def head(self, name: str) -> Stored:
        return Stored(name, len(self._object(name)), self.modified[name])

    def list(self, prefix: str) -> Iterator[Stored]:
        check_prefix(prefix)
        found = sorted((name, data) for name, data in self.objects.copy().items() if name.startswith(prefix))
        return iter([Stored(name, len(data), self.modified[name]) for name, data in found])

    def delete(self, name: str) -> None:
        check_name(name)
        self.objects.pop(name, None)

    def _object(self, name: str) -> bytes:
        check_name(name)
        try:
            return self.objects[name]
        except KeyError:
            raise ObjectMissing(f"store {self.name} has no {name}") from None


class Fault(Enum):
    """What can go wrong with a call."""

    raise_before = auto()
    """`StoreUnreachable`, and nothing happened"""
    raise_after = auto()
    """it happened, but nobody was told: `StoreUnreachable`"""
    refuse = auto()
    """`Refused`, and nothing happened"""
    miss = auto()
    """`get` and `head`: `ObjectMissing`, whatever there is"""
    truncate = auto()
    """`get`: the second half is gone"""
    flip_bit = auto()
    """`get`: one bit in the middle is wrong"""
    duplicate = auto()
    """it happens twice"""
    hide = auto()
    """`list`: the *hidden* objects are left out, and the listing ends as if it were complete"""
    break_listing = auto()
    """`list`: half of it comes, then `StoreUnreachable`"""
    kill_before = auto()
    """`Killed`, and nothing happened; every later call raises `Killed`, too"""
    kill_after = auto()
    """it happened, then as `kill_before`"""

    @property
    def verbs(self) -> tuple[str, ...]:
        """The calls that it can strike."""
        return _ONLY.get(self, VERBS)


_ONLY: Mapping[Fault, tuple[str, ...]] = {
    Fault.miss: ("get", "head"),
    Fault.truncate: ("get",),
    Fault.flip_bit: ("get",),
    Fault.hide: ("list",),
    Fault.break_listing: ("list",),
}
_BEFORE = {Fault.raise_before, Fault.refuse, Fault.miss, Fault.kill_before}
_AFTER = {Fault.raise_after, Fault.kill_after}


class Killed(BaseException):
    """The process is gone. No `except Exception` holds it; and what a `finally` still tries to store is not stored."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a store, as a plan sees it."""

    number: int
    """among all calls, from 1"""
    nth: int
    """among the calls of this verb, from 1"""
    verb: str
    name: str
    """of the object; the prefix of a listing"""


Plan = Callable[[Call], Fault | None]
At = Mapping[int | str | tuple[str, int], Fault]


def dead_from(number: int) -> Plan:
    """The store answers `number - 1` calls, and then no more."""
    return lambda call: Fault.raise_before if call.number >= number else None


class Faulty:
    """*store*, with the faults that a plan, or a table of calls (*at*), asks for.

    Keys of *at*: a call's number among all, a verb with a number among its calls, or a verb for all its calls.
    A fault that cannot strike the call it falls on (half a listing of a `put`) leaves it alone.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan | None = None,
        *,
        at: At | None = None,
        hidden: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.store = store
        self.calls: list[tuple[str, str]] = []
        self.struck: list[Call] = []
        self._plan = plan or _table(at or {})
        self._hidden = hidden
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._killed = False

    @property
    def name(self) -> str:
        return self.store.name

    @property
    def url(self) -> str:
        return self.store.url

    @property
    def traits(self) -> StoreTraits:
        return self.store.traits

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        return self._call("put", name, lambda: self.store.put(name, data))[0]

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        data, fault = self._call("get", name, lambda: self.store.get(name, links))
        if fault is Fault.truncate:
            return data[: len(data) // 2]
        if fault is Fault.flip_bit:
            return flipped(data, len(data) * 4)
        return data

    def head(self, name: str) -> Stored:
        return self._call("head", name, lambda: self.store.head(name))[0]

    def list(self, prefix: str) -> Iterator[Stored]:
        found, fault = self._call("list", prefix, lambda: tuple(self.store.list(prefix)))
        if fault is Fault.hide:
            return (each for each in found if not self._hidden(each.name))
        if fault is Fault.break_listing:
            return self._broken(found)
        return iter(found)

    def delete(self, name: str) -> None:
        self._call("delete", name, lambda: self.store.delete(name))

    def _call(self, verb: str, name: str, perform: Callable[[], T]) -> tuple[T, Fault | None]:
        call, fault = self._next(verb, name)
        if fault in _BEFORE:
            self._fail(fault, call)
        try:
            result = perform()
            if fault is Fault.duplicate:
                result = perform()
        finally:
            if fault in _AFTER:  # whatever the answer was
                self._fail(fault, call)
        return result, fault

    def _next(self, verb: str, name: str) -> tuple[Call, Fault | None]:
        with self._lock:
            if self._killed:
                raise Killed
            self._counts[verb] += 1
            self.calls.append((verb, name))
            call = Call(len(self.calls), self._counts[verb], verb, name)
            fault = self._plan(call)
            if fault is None or verb not in fault.verbs:
                return call, None
            self.struck.append(call)
            self._killed = fault is Fault.kill_before
            return call, fault

    def _fail(self, fault: Fault | None, call: Call) -> None:
        if fault in {Fault.kill_before, Fault.kill_after}:
            self._killed = True
            raise Killed(f"killed at {call}")
        if fault is Fault.refuse:
            raise Refused(f"{self.name} refuses {call.verb} {call.name}")
        if fault is Fault.miss:
            raise ObjectMissing(f"{self.name} says that it has no {call.name}")
        raise StoreUnreachable(f"{self.name} does not answer {call.verb} {call.name}")

    def _broken(self, found: tuple[Stored, ...]) -> Iterator[Stored]:
        yield from found[: len(found) // 2]
        raise StoreUnreachable(f"{self.name} broke off a listing")


def flipped(data: bytes, bit: int) -> bytes:
    """*data* with one bit changed; the empty string has none."""
    if not data:
        return data
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _table(at: At) -> Plan:
    verbs = {key if isinstance(key, str) else key[0] for key in at if not isinstance(key, int)}
    if not verbs <= set(VERBS):
        raise ValueError(f"a store has no {verbs - set(VERBS)}")
    return lambda call: at.get(call.number) or at.get((call.verb, call.nth)) or at.get(call.verb)


class Lagging:
    """*store*, whose listings are behind: they do not show the *by* objects that were put last, by whomever through it.

    All other calls see what there is, and what was deleted is gone at once.
    """

    def __init__(self, store: Store, by: int) -> None:
        self.store = store
        self.by = by
        self.left_out = 0
        """How often a listing would have had one more."""
        self._put: list[str] = []

    @property
    def name(self) -> str:
        return self.store.name

    @property
    def url(self) -> str:
        return self.store.url

    @property
    def traits(self) -> StoreTraits:
        return self.store.traits

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        self._put.append(name)
        return self.store.put(name, data)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        return self.store.get(name, links)

    def head(self, name: str) -> Stored:
        return self.store.head(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        recent = set(self._put[-self.by :])
        found = tuple(self.store.list(prefix))
        shown = tuple(each for each in found if each.name not in recent)
        self.left_out += len(found) - len(shown)
        return iter(shown)

    def delete(self, name: str) -> None:
        self.store.delete(name)
