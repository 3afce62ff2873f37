"""The records of the format: manifest, index, checkpoint, head and what they are made of (`docs/format.md`)."""

from __future__ import annotations

import hashlib
import re
import typing
from array import array
from dataclasses import dataclass, field

from dwebbackup.errors import Damaged

NAME_SIZE = 32
"""Bytes of a chunk name: keyed BLAKE3-256."""

LARGEST_CHUNK = 16 * 1024 * 1024
"""Plain bytes of a chunk at most, so that a lying index cannot ask a reader for more memory than that."""

if typing.TYPE_CHECKING:
    Sizes = array[int]
    Runs = array[int]
else:  # subscripted only since Python 3.12; and `decode` asks for the type, and for the array's type code
    Sizes = typing.Annotated[array, "I"]
    Runs = typing.Annotated[array, "q"]


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object in the store, by the SHA-256 of its sealed bytes."""

    sha256: str
    size: int
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """A manifest, by its place in the writer's sequence and its digest."""

    sequence: int
    sha256: str

    @property
    def name(self) -> str:
        """Its file name below `manifests/`; `parse_name` is the inverse."""
        return f"{self.sequence:010d}-{self.sha256}.age"

    @property
    def id(self) -> str:
        """The short form people type: `42-1a2b3c4d`."""
        return f"{self.sequence}-{self.sha256[:8]}"

    def is_called(self, name: str) -> bool:
        """Whether people mean it by *name*: `42`, `42-1a2b3c4d`, its digest or at least 8 digits of its beginning."""
        number, dash, digest = name.partition("-")
        if number.isdecimal() and (dash or len(number) < 8):
            return len(number) <= 10 and self.sequence == int(number) and self.sha256.startswith(digest)
        return len(name) >= 8 and self.sha256.startswith(name)

    @staticmethod
    def parse_name(name: str) -> ManifestRef | None:
        """None for a file that is not a manifest's."""
        match = re.fullmatch(r"(\d{10})-([0-9a-f]{64})\.age", name)
        return ManifestRef(int(match[1]), match[2]) if match else None


@dataclass(frozen=True, slots=True)
class PackEntry:
    """One pack, and the chunks in it in their order."""

    sha256: str
    size: int
    """Sealed bytes."""
    plain: int
    """Bytes inside the age file, padding included."""
    recipients: tuple[str, ...]
    """Fingerprints of the age recipients it is sealed to."""
    names: bytes
    """`NAME_SIZE` bytes a chunk."""
    lengths: Sizes
    """Plain bytes of each chunk."""
    frames: Sizes
    """Bytes of each chunk's zstd frame; the first begins at offset 0, each next where the last ended."""
    links: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    """Names of stores that did not take it when it was put."""

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, row: int) -> bytes:
        return self.names[row * NAME_SIZE : (row + 1) * NAME_SIZE]

    @property
    def path(self) -> str:
        """Its name below the writer's prefix."""
        return pack_path(self.sha256)


@dataclass(frozen=True, slots=True)
class Index:
    """Packs that one backup added, with the chunks in them. A row is a chunk; rows count through the packs."""

    writer: str
    packs: tuple[PackEntry, ...]
    critical: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(len(pack) for pack in self.packs)


@dataclass(frozen=True, slots=True)
class Extension:
    """A database extension that the source uses."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source at the moment of its snapshot."""

    name: str
    kind: str
    identity: str
    """Who it is, whatever it is called: `postgres:<system identifier>:<database oid>`."""
    database: str
    server_version: str
    client_version: str
    encoding: str
    snapshot: str
    """When the snapshot was taken."""
    snapshot_seconds: float
    """How long it was held open."""
    extensions: tuple[Extension, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    """What only this kind of source has, such as its collation."""
    notes: tuple[str, ...] = ()
    """What a restore should tell its user."""
    shortfalls: tuple[str, ...] = ()
    """What should be in it and is not, or not as it was: the backup is incomplete."""

    def detail(self, key: str) -> str:
        """Empty when the source did not say."""
        return dict(self.details).get(key, "")


def _label(kind: str, path: tuple[str, ...], part: int) -> str:
    return ".".join((kind, *path)) + (f" part {part + 1}" if part else "")


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream of a source before it is read."""

    kind: str
    """`schema`, `rows`, or what else the source's kind knows."""
    path: tuple[str, ...] = ()
    """Whose it is: schema and table, for rows."""
    columns: tuple[str, ...] = ()
    estimate: int = 0
    """Bytes to expect; only for progress and order."""
    tag: str = ""
    """For the source alone; not recorded."""
    part: int = 0
    """Which piece, from 0 on, of what was cut into several streams."""

    @property
    def label(self) -> str:
        return _label(self.kind, self.path, self.part)


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One stream as it is stored: the chunks that make it up, in order."""

    kind: str
    path: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int | None
    bytes: int
    chunks: int
    average: int
    """The FastCDC average its bounds were found with, in bytes."""
    runs: Runs
    """Triples `index, skip, count`: `count` rows of `indexes[index]`, beginning `skip` rows after the end of
    this stream's last run in the same index (or after its row 0)."""
    part: int = 0
    """Which piece, from 0 on, of what was cut into several streams: joined in order, they are the whole."""

    @property
    def label(self) -> str:
        return _label(self.kind, self.path, self.part)


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A source in a manifest. `streams` is empty in a manifest whose streams are spilled."""

    facts: SourceFacts
    streams: tuple[StreamRecord, ...]


@dataclass(frozen=True, slots=True)
class StoreNote:
    """A store that the backup was put into."""

    name: str
    url: str
    required: bool = True
    complete: bool = True
    """Whether it had taken everything of this run when the manifest was written."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest backup of a source as of this manifest."""

    source: str
    identity: str
    sequence: int
    sha256: str
    """Empty: this very manifest, whose digest cannot stand in itself."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One source of a backup in figures: by them the next one is compared with it."""

    source: str
    identity: str
    database: str
    snapshot: str
    tables: int
    rows: int
    bytes: int
    fingerprint: str = ""
    """Of its tables and their columns (`lineage.fingerprint`)."""
    follows: str = ""
    """The identity of the database whose backup this one was restored from: its history goes on here."""
    suspect: tuple[str, ...] = ()
    """Why this does not count as a good backup of the source."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a later manifest says of a backup, so that a list of a thousand needs one manifest."""

    sequence: int
    sha256: str
    started: str
    finished: str
    stored: int
    packs: int
    tallies: tuple[Tally, ...]
    links: tuple[str, ...] = ()
    """Of the manifest."""

    @property
    def ref(self) -> ManifestRef:
        return ManifestRef(self.sequence, self.sha256)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record of one backup. It and what it names, with a key, restore."""

    writer: str
    number: int
    sequence: int
    run: str
    started: str
    finished: str
    sources: tuple[SourceRecord, ...]
    indexes: tuple[ObjectRef, ...]
    sealed: str
    """An age file for readers only, in base64: JSON with `chunk_key`, the key of the chunk names, in hex."""
    parents: tuple[ManifestRef, ...] = ()
    kept: tuple[ManifestRef, ...] = ()
    history: tuple[Summary, ...] = ()
    """Of those in `kept`, oldest first; one may be missing."""
    tallies: tuple[Tally, ...] = ()
    """Of each source."""
    newest: tuple[Newest, ...] = ()
    stores: tuple[StoreNote, ...] = ()
    spilled: ObjectRef | None = None
    """Where the streams are when they are too many to stand here: a `Streams` record."""
    next_by: str = ""
    stored: int = 0
    """New bytes this backup put into each store, itself not counted."""
    packs: int = 0
    """New packs."""
    program: str = ""
    retired: str = ""
    """The owner's statement about the writer before this one, in hex (`keys.Retirement`)."""
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a manifest's sources, in the order of its sources, where they are too many for it."""

    writer: str
    run: str
    sources: tuple[tuple[StreamRecord, ...], ...]
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A manifest in the making: a run is under way and has stored these indexes' packs."""

    writer: str
    run: str
    count: int
    started: str
    written: str
    indexes: tuple[ObjectRef, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restoration:
    """The writer's word that a database was filled from a backup, whose history goes on there."""

    writer: str
    source: str
    identity: str
    """Of the database that was filled."""
    follows: str
    """Of the one that had been backed up."""
    origin: str
    """The writer whose backup it was."""
    backup: ManifestRef
    time: str
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """The pointer to a writer's newest manifest."""

    writer: str
    number: int
    sequence: int
    time: str
    manifest: ObjectRef
    next_by: str = ""


@dataclass(frozen=True, slots=True)
class Genesis:
    """The owner's word that a writer began here, so that an empty listing later is an alarm."""

    writer: str
    number: int
    time: str


def pack_path(sha256: str) -> str:
    return f"packs/{sha256[:2]}/{sha256}.age"


def index_path(sha256: str) -> str:
    return f"indexes/{sha256}.age"


_BY_DIGEST = re.compile(r"(?:^|/)(?:packs/[0-9a-f]{2}|indexes|manifests)/(?:\d{10}-)?([0-9a-f]{64})\.age")


def digest_in(name: str) -> str:
    """What the SHA-256 of an object is, by its name, below whatever prefix; empty where that does not say."""
    match = _BY_DIGEST.search(name)
    return match[1] if match and match.end() == len(name) else ""


def restoration_path(identity: str) -> str:
    return f"restorations/{hashlib.sha256(identity.encode()).hexdigest()}.age"


@dataclass(slots=True)
class RunWriter:
    """Builds `StreamRecord.runs` from rows as they come; `expand` is the inverse."""

    runs: Runs = field(default_factory=lambda: array("q"))
    _ends: dict[int, int] = field(default_factory=dict)

    def add(self, index: int, row: int, count: int = 1) -> None:
        """The stream's next chunks are *count* rows of *index*, from *row* on."""
        end = self._ends.get(index, 0)
        if self.runs and self.runs[-3] == index and end == row:
            self.runs[-1] += count
        else:
            self.runs.extend((index, row - end, count))
        self._ends[index] = row + count


def expand(runs: typing.Sequence[int], rows: typing.Sequence[int]) -> typing.Iterator[tuple[int, int, int]]:
    """(index, first row, count) for each run. *rows*: how many rows each index has.

    Raises `Damaged` where it comes to a run that leaves its index.
    """
    ends: dict[int, int] = {}
    for at in range(0, len(runs), 3):
        index, skip, count = runs[at : at + 3]
        first = ends.get(index, 0) + skip
        if not 0 <= index < len(rows) or count < 1 or first < 0 or first + count > rows[index]:
            raise Damaged("a stream refers to a chunk that no index has")
        ends[index] = first + count
        yield index, first, count
