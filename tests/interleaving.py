"""Explores in which orders several actors may call one store: a small model checker that runs the real code.

    def scene():
        return Stage(store, {"a": lambda store: back_up(store, …), "b": lambda store: prune(store, …)})

    explore(scene, check, limit=100, chance=random.Random(1))

Each actor is a thread that stands still before every call of the store until it is let go, so that a schedule is a
list of moves: who makes the next call, or is killed before it. First come the schedules that seldom take the turn
from somebody who could go on, and do so where others may notice; what leads to a state that was seen before is not
followed again. With time and patience every order there is gets tried.
"""

from __future__ import annotations

import heapq
import os
import random
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dwebbackup import age, clock
from dwebbackup.errors import ObjectMissing
from dwebbackup.ports import Store, Stored, StoreTraits
from faulty import Killed, MemoryStore

PATIENCE = 60
"""Seconds for an actor to come to its next call: one that waits for something else than the store is a fault."""

TIME = "time"
"""The actor whose moves let time pass."""

Act = Callable[[Store], object]
Moves = tuple[tuple[str, str], ...]
"""`("go", actor)` or `("kill", actor)`."""


@dataclass
class Actor:
    """One of those who use the store, in a thread of its own."""

    name: str
    act: Act
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    thread: threading.Thread | None = None
    killed: bool = False
    ended: bool = False
    outcome: object = None
    """What its act gave or raised."""
    seen: int = 0
    """A hash of all that the store told it."""
    next: tuple[str, ...] = ("", "")
    """The call that it stands before."""

    @property
    def promises(self) -> bool:
        """Whether it stands before what it had to be quick with."""
        verb, name = self.next
        return verb == "put" and ("/manifests/" in name or "/checkpoints/" in name)

    @property
    def cost(self) -> int:
        """Of taking the turn from it: more where nobody is likely to see the difference."""
        verb, name = self.next
        quiet = verb in ("get", "head") or "/packs/" in name or "/indexes/" in name or "/probes/" in name
        return 2 if quiet and verb != "list" and not name.endswith("head.json") else 1


class Stage:
    """One run of *actors* on *store*, move by move."""

    def __init__(
        self, store: MemoryStore, actors: Mapping[str, Act], *, kills: int = 0, ticks: int = 0, tick: float = 0
    ):
        """*kills* actors may be killed; *tick* seconds may pass, *ticks* times, but never while somebody is about to
        put a manifest or a checkpoint: that no such call takes days is what everything rests on.
        """
        self.store = store
        self.kills = kills
        self.elapsed = 0.0
        self.moves: list[tuple[str, str]] = []
        self.actors = {name: Actor(name, act) for name, act in actors.items()}
        self._ticks = ticks
        self._tick = tick
        self._back = threading.Semaphore(0)

    # --- the scheduler's side ---

    def choices(self) -> list[tuple[str, str]]:
        """What may happen next; whoever moved last and can go on comes first."""
        alive = [actor for actor in self.actors.values() if not actor.ended]
        last = self.moves[-1][1] if self.moves else ""
        alive.sort(key=lambda actor: actor.name != last)
        moves = [("go", actor.name) for actor in alive]
        if alive and self._ticks and not any(actor.promises for actor in alive):
            moves.append(("go", TIME))
        if self.kills:
            moves += [("kill", actor.name) for actor in alive if actor.thread]
        return moves

    def move(self, move: tuple[str, str]) -> None:
        self.moves.append(move)
        if move[1] == TIME:
            self._pass_time()
            return
        actor = self.actors[move[1]]
        if move[0] == "kill":
            self.kills -= 1
            actor.killed = True
        if not actor.thread:
            self._start(actor)
        if not actor.ended:
            self._resume(actor)

    def go(self, name: str, until: Callable[[str, str], bool] = lambda verb, what: False) -> None:
        """Let one actor make its calls, up to the one that *until* tells by its verb and name, or to the end."""
        actor = self.actors[name]
        while not actor.ended and not (actor.thread and until(*actor.next)):
            self.move(("go", name))

    def _pass_time(self) -> None:
        self._ticks -= 1
        self.elapsed += self._tick
        self.store.now += self._tick

    def _start(self, actor: Actor) -> None:
        actor.thread = threading.Thread(target=self._perform, args=(actor,), name=actor.name, daemon=True)
        actor.thread.start()
        self._wait()

    def _resume(self, actor: Actor) -> None:
        actor.go.release()
        self._wait()

    def _wait(self) -> None:
        if not self._back.acquire(timeout=PATIENCE):
            pytest.fail(f"after {self.moves}, an actor waits for something else than the store")

    def state(self) -> int:
        """The same number means the same state: of the store, and of each actor, who is what it has seen."""
        actors = tuple((actor.seen, actor.ended, actor.killed) for actor in self.actors.values())
        return hash((actors, self._objects(), self.kills, self._ticks))

    def result(self) -> int:
        """The same number means that nobody can tell one end from the other."""
        outcomes = tuple((type(actor.outcome), str(actor.outcome)) for actor in self.actors.values())
        return hash((outcomes, self._objects()))

    def _objects(self) -> frozenset[object]:
        return frozenset((name, data, self.store.modified[name]) for name, data in self.store.objects.items())

    def end(self) -> None:
        """Let go of every thread."""
        for actor in self.actors.values():
            if actor.thread:
                if not actor.ended:
                    actor.killed = True
                    self._resume(actor)
                actor.thread.join(PATIENCE)
                assert not actor.thread.is_alive()

    # --- the actors' side ---

    def _perform(self, actor: Actor) -> None:
        _chance.of_thread = random.Random(actor.name)
        _chance.stage = self
        try:
            actor.outcome = actor.act(Turns(self, actor))
        except BaseException as error:  # for the check to judge
            actor.outcome = error
        actor.ended = True
        self._back.release()

    def turn(self, actor: Actor, *call: str) -> None:
        """Stand still before *call* until the scheduler says so."""
        if not actor.killed:
            actor.next = call
            self._back.release()
            actor.go.acquire()
        if actor.killed:
            raise Killed(actor.name)


class Turns:
    """The store as one actor sees it: each call waits for its turn, and a listing for two.

    An object that is deleted while a listing is made is left out of it, and one that is put does not show: a
    listing is not one moment of a store.
    """

    def __init__(self, stage: Stage, actor: Actor) -> None:
        self._stage = stage
        self._actor = actor
        self._store = stage.store

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def traits(self) -> StoreTraits:
        return self._store.traits

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        self._stage.turn(self._actor, "put", name)
        links = self._store.put(name, data)
        self._see("put", name, data)
        return links

    def get(self, name: str, _links: Sequence[str] = ()) -> bytes:
        self._stage.turn(self._actor, "get", name)
        data = self._store.objects.get(name)
        self._see("get", name, data)
        if data is None:
            raise ObjectMissing(f"there is no {name}")
        return data

    def head(self, name: str) -> Stored:
        self._stage.turn(self._actor, "head", name)
        try:
            stored = self._store.head(name)
        except ObjectMissing:
            self._see("head", name, None)
            raise
        self._see("head", name, stored)
        return stored

    def list(self, prefix: str) -> Iterator[Stored]:
        self._stage.turn(self._actor, "list", prefix)
        begun = tuple(self._store.list(prefix))
        self._see("list", prefix, begun)
        if begun:
            self._stage.turn(self._actor, "list", prefix)
        listed = tuple(stored for stored in begun if stored.name in self._store.objects)
        self._see("listed", prefix, listed)
        return iter(listed)

    def delete(self, name: str) -> None:
        self._stage.turn(self._actor, "delete", name)
        self._store.delete(name)
        self._see("delete", name, None)

    def _see(self, *what: object) -> None:
        self._actor.seen = hash((self._actor.seen, self._stage.elapsed, *what))


# --- the search ---

_chance = threading.local()


@dataclass
class Explored:
    """How far a search came."""

    schedules: int = 0
    ends: int = 0
    """Different states at the end, each of which was checked."""
    whole: bool = False
    """Nothing is left to try."""


def explore(
    scene: Callable[[], Stage], check: Callable[[Stage], None], *, limit: int, chance: random.Random
) -> Explored:
    """Play up to *limit* schedules of *scene*, those that interrupt least first, and check where each one ends."""
    visited: set[int] = set()
    waiting: list[tuple[int, float, Moves]] = [(0, 0.0, ())]
    ends: set[int] = set()
    explored = Explored()
    while waiting and explored.schedules < limit:
        interrupts, _, moves = heapq.heappop(waiting)
        explored.schedules += 1
        with playing(scene()) as stage:
            for other, cost in _play(stage, moves, visited):
                heapq.heappush(waiting, (interrupts + cost, chance.random(), other))
        if not stage.choices() and (end := stage.result()) not in ends:
            ends.add(end)
            _checked(stage, check)
    explored.ends = len(ends)
    explored.whole = not waiting
    return explored


def _checked(stage: Stage, check: Callable[[Stage], None]) -> None:
    moves = tuple(stage.moves)
    try:
        check(stage)
    except BaseException as error:
        error.add_note(f"after {' '.join(actor if what == 'go' else f'{what}:{actor}' for what, actor in moves)}")
        error.add_note("\n".join(f"{actor.name}: {actor.outcome!r:.150}" for actor in stage.actors.values()))
        raise


def _play(stage: Stage, moves: Moves, visited: set[int]) -> Iterator[tuple[Moves, int]]:
    """Make *moves*, then go on to the end, or to a state seen before. Gives the other ways that it passed, each with
    how often it interrupts somebody.
    """
    for move in moves:
        stage.move(move)
    while choices := stage.choices():
        state = stage.state()
        if state in visited:
            return
        visited.add(state)
        last = stage.actors.get(stage.moves[-1][1], _NOBODY) if stage.moves else _NOBODY
        for other in choices[1:]:
            yield (*stage.moves, other), 0 if last.ended or other[1] == TIME else last.cost
        stage.move(choices[0])


_NOBODY = Actor(TIME, lambda _: None, ended=True)


@contextmanager
def playing(stage: Stage) -> Iterator[Stage]:
    try:
        yield stage
    finally:
        stage.end()


# --- one thread an actor, and the same random numbers each time ---


class InTurn:
    """An executor that does at once whatever it is given."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., object], *arguments: object, **options: object) -> Future[object]:
        future: Future[object] = Future()
        try:
            future.set_result(work(*arguments, **options))
        except BaseException as error:
            future.set_exception(error)
        return future

    def map(self, work: Callable[..., object], *items: object) -> list[object]:
        return [work(*each) for each in zip(*items, strict=True)]

    def shutdown(self, **_: object) -> None: ...


class _Keys:
    """Makes age's ephemeral keys of the actor's random numbers."""

    from_private_bytes = staticmethod(X25519PrivateKey.from_private_bytes)

    @staticmethod
    def generate() -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(os.urandom(32))


def make_repeatable(patch: pytest.MonkeyPatch) -> None:
    """One thread an actor, and in each run the same random numbers for it and the same time: then the same moves
    lead to the same state.
    """
    real = os.urandom

    def urandom(size: int) -> bytes:
        own = getattr(_chance, "of_thread", None)
        return own.randbytes(size) if own else real(size)

    def elapsed() -> float:
        stage = getattr(_chance, "stage", None)
        return stage.elapsed if stage else 0.0

    patch.setattr(os, "urandom", urandom)
    patch.setattr(secrets, "token_hex", lambda size: os.urandom(size).hex())
    patch.setattr(age, "X25519PrivateKey", _Keys)
    patch.setattr(clock, "monotonic", elapsed)
    patch.setattr(clock, "now", lambda: 1_700_000_000 + elapsed())
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("dwebbackup", "synthetic") and hasattr(module, "ThreadPoolExecutor"):
            patch.setattr(module, "ThreadPoolExecutor", InTurn)
