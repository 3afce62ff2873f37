"""The plugs: what a store, a source, a target and a progress display must do, and may assume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, Self, runtime_checkable

from dwebbackup.errors import DwebbackupError
from dwebbackup.links.registry import Entry
from dwebbackup.manifest import SourceFacts, SourceRecord, StreamRecord, StreamSpec


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as its store tells of it."""

    name: str
    size: int
    """bytes"""
    modified: float
    """Seconds since 1970 **by the store's own clock**; only compare it with another object of this store."""


@dataclass(frozen=True, slots=True)
class StoreTraits:
    """What differs between stores, as data."""

    lists: bool = True
    """False for what keeps no names, and gives an object only for its links."""
    deletes: bool = True
    not_found_is_final: bool = True
    """False for gateways, whose 404 means "not by me, not now"."""
    distance: int = 2
    """Which of several stores is asked first: 0 on this machine, 1 in its network, 2 far away, 3 through strangers."""
    scheme: str = ""
    """Of the links that lead to what it has, where it keeps no names: `sia`."""
    deletion: str = "deleted"
    """What becomes of an object that is deleted: `deleted`; `unpinned`: others may keep it; `forgotten`: it stays."""


class Store(Protocol):
    """A place that keeps whole objects of at most a few MiB. Every method may be called from several threads.

    Every method raises `StoreUnreachable` when the store did not answer or refused; nothing else escapes
    but what is named. Names are relative, `/`-separated, of `[a-z0-9._-]`, never with `..`.
    """

    @property
    def name(self) -> str:
        """Short, unique in a configuration; stands in manifests and messages."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""

    @property
    def traits(self) -> StoreTraits: ...

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        """Keep *data*, replacing what had this name, wholly or not at all, and durably; give its links.

        May be repeated with the same arguments.
        """

    def get(self, name: str, links: Sequence[str] = (), /) -> bytes:
        """Give back exactly what was put. Raises `ObjectMissing`; unread, `Damaged` for what is too large for us.

        *links*: under which networks have the same bytes, for those that keep no names.
        """

    def head(self, name: str) -> Stored:
        """Size and age without the bytes. Raises `ObjectMissing`."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Everything whose name begins with *prefix*, in any order.

        A listing that cannot be completed raises; it never just ends. No objects is an answer, too.
        """

    def delete(self, name: str) -> None:
        """Forget it. Forgetting twice is no error."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of several stores that are used as one."""

    store: Store
    required: bool = True
    """Whether a backup counts only when this one has everything."""


@runtime_checkable
class Several(Protocol):
    """A store that is several: what is put goes to all of them, and what is asked for comes from whichever has it."""

    @property
    def members(self) -> Sequence[Member]: ...

    def begin_run(self) -> None:
        """Forget what was missed before: what is told from now on is of this run."""

    def absent(self, name: str) -> tuple[str, ...]:
        """Names of the members that did not take the object when it was put here."""

    def missed(self) -> Mapping[str, str]:
        """Members that did not take something that was put here, by name, and why."""


def members(store: Store) -> Sequence[Member]:
    """The stores that *store* is made of; itself, where it is one."""
    return store.members if isinstance(store, Several) else (Member(store),)


class Carrier(Protocol):
    """Fetches what a link leads to, from a gateway or a portal. Nobody trusts it: what it gives fits the link."""

    @property
    def name(self) -> str:
        """Short, for messages."""

    def carries(self, link: str) -> bool:
        """Whether it understands links of this kind: `ipfs://<cid>`, `sia://<skylink>`."""

    def fetch(self, link: str) -> bytes:
        """The bytes of the whole file, hashed. Safe for several threads.

        Raises `ObjectMissing` when all that were asked do not have it now, which is never final; `StoreUnreachable`;
        `Damaged` for other bytes than the link's; `WrongConfiguration` for a link that is none.
        """


@dataclass(frozen=True, slots=True)
class HeadKeys:
    """The public keys, Ed25519, under which networks keep a writer's head."""

    ipns: bytes
    registry: bytes


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a network says that a writer's newest manifest is; its signature holds."""

    teller: str
    """Who said so, for messages."""
    link: str
    """Of the manifest."""
    sequence: int
    """The manifest's, as the head says."""


class Finder(Protocol):
    """Finds a writer's head on a network."""

    @property
    def name(self) -> str: ...

    def find(self, keys: HeadKeys) -> Lead | None:
        """None: it has none. Raises `StoreUnreachable`; `Damaged` for one that expired, or whose signature fails."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A writer's head as the networks take it: what leads to its newest manifest."""

    sequence: int
    cid: str
    """Of the manifest, by the profile that we compute."""
    ipns_name: str
    """As text, k51…"""
    ipns_record: bytes
    """Signed, for ten years."""
    registry_key: bytes
    """Public, Ed25519."""
    registry_entry: tuple[Entry, bytes] | None
    """With its signature; None where no store gave a skylink."""


class Publisher(Protocol):
    """Tells a network of a writer's new head."""

    @property
    def name(self) -> str: ...

    def publish(self, announcement: Announcement) -> None:
        """May be repeated. Raises `StoreUnreachable`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `doctor` looked at, and how it is."""

    name: str
    level: Literal["ok", "notice", "warning", "failure"]
    sentence: str
    hint: str = ""
    status: int = 0
    """Of a failure: the exit status of the error that would come of it."""

    @classmethod
    def of(cls, name: str, error: DwebbackupError) -> Self:
        """A failure."""
        return cls(name, "failure", str(error), error.hint, error.exit_status)


class ByteStream(Protocol):
    """One stream while it is read."""

    @property
    def rows(self) -> int | None:
        """Rows as the server counted them; known once `readinto` has returned 0. None where there are no rows."""

    def readinto(self, view: memoryview, /) -> int:
        """Fill the beginning of *view*; 0 is the proper end. Raises rather than ends when the producer failed."""


class Reader(Protocol):
    """One worker's way into the snapshot: opens streams, one after the other."""

    def open(self, spec: StreamSpec) -> ByteStream: ...


class Dump(Protocol):
    """One consistent snapshot of a source, held open."""

    @property
    def specs(self) -> Sequence[StreamSpec]:
        """What there is to read, in the order to read it: what takes longest first."""

    def reader(self) -> AbstractContextManager[Reader]:
        """A new reader; it may be used by one thread."""

    def finish(self) -> SourceFacts:
        """Call when every stream was read to its end: checks that the snapshot held throughout."""

    def abort(self) -> None:
        """Let go of the source at once, while readers in other threads are at work: they raise."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How a source's database or folder stands, for whoever thinks of restoring into it."""

    state: Literal["absent", "empty", "rowless", "full"]
    """*absent*: its server answers, and has none of that name. *empty*: nothing in it but extensions, as they come.
    *rowless*: things that somebody made, and no row, large object or file. *full*: anything else."""
    identity: str = ""
    """As `SourceFacts.identity`; empty when absent."""
    objects: tuple[str, ...] = ()
    """The first few things that are in it."""
    what: Literal["database", "folder"] = "database"


class Source(Protocol):
    """Something that can be backed up."""

    @property
    def name(self) -> str: ...

    def dump(self) -> AbstractContextManager[Dump]:
        """Open a snapshot. Raises `DatabaseRefused`, `ToolMissing`."""

    def check(self) -> Iterator[Finding]:
        """Whether a backup would get what it needs. Raises what `dump` would raise at once."""

    def condition(self) -> Condition:
        """What is there now; nothing is written. Raises `DatabaseRefused` when that cannot be told for certain."""


StreamReader = Callable[[StreamRecord], Iterator[bytes]]
"""Gives a stream's bytes, authenticated, in blocks; may be called by several threads at once."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a target took in."""

    target: str
    tables: int
    rows: int
    notes: tuple[str, ...] = ()
    """What the user should know, though nothing is missing."""
    shortfalls: tuple[str, ...] = ()
    """What was left out or comes short, such as roles that were made without a password."""
    unit: str = "row"
    """What one of its rows is called: of a folder, they are its files."""


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """How a restore may treat its target."""

    replace: bool = False
    jobs: int = 2
    tables: tuple[str, ...] = ()
    """Names of tables, `*` and `?` in them standing for others, if not everything is wanted."""
    announce: Callable[[str], None] | None = None
    """Called with the identity that the target will have (`Condition.identity`), when all is in it and before it takes
    its place. What it raises passes through.
    """


class Target(Protocol):
    """Somewhere a source's streams can be brought back to."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""

    def plan(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Sequence[str]:
        """What `load` would do, a sentence each. Raises what `load` would raise before it touches anything."""

    def load(self, source: SourceRecord, read: StreamReader, options: TargetOptions) -> Restored:
        """Bring it back, all or nothing.

        Raises `TargetNotEmpty`, `DatabaseRefused`, `ToolMissing`, `RestoreFailed`; whatever *read* raises
        passes through, and leaves the target as it was.
        """


class Progress(Protocol):
    """Where long work says how far it is. Called from several threads."""

    def begin(self, what: str, total: int | None) -> None:
        """*total*: bytes to come, None when unknown."""

    def advance(self, size: int) -> None:
        """*size* more bytes are done."""

    def end(self) -> None: ...


class Quiet:
    """A `Progress` that shows nothing."""

    def begin(self, what: str, total: int | None) -> None: ...

    def advance(self, size: int) -> None: ...

    def end(self) -> None: ...
