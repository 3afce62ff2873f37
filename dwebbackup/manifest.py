"""The records of the format: manifest, index, checkpoint and head, and their JSON forms (`docs/format.md`)."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import re
import types
import typing
from array import array
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dwebbackup.errors import Damaged, ToolMissing

FORMAT = 1
"""The newest format this version writes, and the newest it reads."""

NAME_SIZE = 32
"""Bytes of a chunk name: keyed BLAKE3-256."""

LARGEST_CHUNK = 16 * 1024 * 1024
"""Plain bytes of a chunk at most, so that a lying index cannot ask a reader for more memory than that."""

INTEGER_LIMIT = 2**53
"""Integers stay below this, so that every JSON reader has them exactly."""

Record = TypeVar("Record")

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

    def detail(self, key: str) -> str:
        """Empty when the source did not say."""
        return dict(self.details).get(key, "")


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

    @property
    def label(self) -> str:
        return ".".join((self.kind, *self.path))


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

    @property
    def label(self) -> str:
        return ".".join((self.kind, *self.path))


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A source in a manifest. `streams` is empty in a manifest whose streams are spilled."""

    facts: SourceFacts
    streams: tuple[StreamRecord, ...]


@dataclass(frozen=True, slots=True)
class StoreNote:
    """A store that had everything when the manifest was written."""

    name: str
    url: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest backup of a source as of this manifest."""

    source: str
    identity: str
    sequence: int
    sha256: str
    """Empty: this very manifest, whose digest cannot stand in itself."""


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


def encode(kind: str, record: Any) -> bytes:
    """The JSON form of *record*: one object, `format` and `kind` first, defaults left out."""
    document = {"format": FORMAT, "kind": kind} | _plain(record)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode(kind: str, record: type[Record], document: bytes) -> Record:
    """The inverse of `encode`.

    Unknown fields are ignored unless `critical` names them. Raises `Damaged` when a key stands twice, a field
    is missing or of the wrong type, or an integer is too large; `ToolMissing` when a newer version wrote it.
    """
    try:
        value = json.loads(document.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"this {kind} is not proper JSON: {error}") from None
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise Damaged(f"this is not a dwebbackup {kind}")
    _check_version(kind, value, record)
    return typing.cast("Record", _build(record, value, kind))


def _check_version(kind: str, value: dict[str, Any], record: type[Any]) -> None:
    version = value.get("format")
    known = {entry.name for entry in dataclasses.fields(record)}
    critical = value.get("critical", [])
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise Damaged(f"this {kind} does not say its format")
    if not isinstance(critical, list) or not all(isinstance(name, str) for name in critical):
        raise Damaged(f"{kind}.critical is not a list of names")
    unknown = [name for name in critical if name not in known]
    if version > FORMAT or unknown:
        what = f"format {version}" if version > FORMAT else f"fields {', '.join(unknown)}"
        raise ToolMissing(
            f"this {kind} was written by a newer dwebbackup ({what}; this version reads format {FORMAT})",
            "install the newest version: pip install --upgrade dwebbackup",
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            entry.name: _plain(item)
            for entry in dataclasses.fields(value)
            if (item := getattr(value, entry.name)) != entry.default
        }
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple | array):
        return [_plain(item) for item in value] if isinstance(value, tuple) else value.tolist()
    return value


_HINTS: dict[type[Any], dict[str, Any]] = {}
"""Each record's field types; working them out costs more than reading the record."""


def _hints(record: type[Any]) -> dict[str, Any]:
    if record not in _HINTS:
        _HINTS[record] = typing.get_type_hints(record, include_extras=True)
    return _HINTS[record]


def _build(record: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise Damaged(f"{where} is not an object")
    hints = _hints(record)
    arguments = {}
    for entry in dataclasses.fields(record):
        if entry.name in value:
            arguments[entry.name] = _typed(hints[entry.name], value[entry.name], f"{where}.{entry.name}")
        elif entry.default is dataclasses.MISSING:
            raise Damaged(f"{where}.{entry.name} is missing")
    built = record(**arguments)
    _check_shape(built, where)
    return built


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        if value is None:
            return None
        return _typed(next(kind for kind in typing.get_args(hint) if kind is not type(None)), value, where)
    if origin is tuple:
        return _tuple(typing.get_args(hint), value, where)
    if origin is typing.Annotated:
        return _numbers(hint.__metadata__[0], value, where)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast("type[Any]", hint), value, where)
    return _scalar(hint, value, where)


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise Damaged(f"{where} is not a list")
    if arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            raise Damaged(f"{where} has {len(value)} items, not {len(arguments)}")
        return tuple(_typed(kind, item, where) for kind, item in zip(arguments, value, strict=True))
    return tuple(_typed(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(value))


def _numbers(code: str, value: Any, where: str) -> array[int]:
    """A list of integers as an array of type *code*; checked as a whole, since there may be a million."""
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        raise Damaged(f"{where} is not a list of integers")
    try:
        numbers = array(code, value)
    except OverflowError:
        raise Damaged(f"{where} has too large a number") from None
    if numbers and not -INTEGER_LIMIT < min(numbers) <= max(numbers) < INTEGER_LIMIT:
        raise Damaged(f"{where} has too large a number")
    return numbers


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise Damaged(f"{where} is not base64") from None
    if hint is float and type(value) in (int, float):
        if not abs(value) < INTEGER_LIMIT:  # nor infinite, as 1e999 would be
            raise Damaged(f"{where} is too large a number")
        return float(value)
    if type(value) is not hint:
        raise Damaged(f"{where} is not of type {getattr(hint, '__name__', hint)}")
    if hint is int and abs(value) >= INTEGER_LIMIT:
        raise Damaged(f"{where} is too large a number")
    return value


_HEX = re.compile(r"[0-9a-f]{64}")


def _check_shape(record: Any, where: str) -> None:
    """What types cannot say: digests are digests (they become paths), rows agree, runs are triples."""
    sha256 = getattr(record, "sha256", None)
    if sha256 is not None and not _HEX.fullmatch(sha256) and not (isinstance(record, Newest) and not sha256):
        raise Damaged(f"{where}.sha256 is not a SHA-256 digest")
    if isinstance(record, PackEntry):
        rows = len(record.lengths)
        if len(record.frames) != rows or len(record.names) != rows * NAME_SIZE:
            raise Damaged(f"{where}: names, lengths and frames differ in number")
        if sum(record.frames) > record.plain:
            raise Damaged(f"{where}: frames are longer than their pack")
        if rows and not 0 < min(record.lengths) <= max(record.lengths) <= LARGEST_CHUNK:
            raise Damaged(f"{where}: a chunk is empty, or longer than {LARGEST_CHUNK} bytes")
    if isinstance(record, StreamRecord) and (len(record.runs) % 3 or record.bytes < 0 or record.chunks < 0):
        raise Damaged(f"{where}: runs are not triples")
    if isinstance(record, ManifestRef | Newest | Manifest) and record.sequence < 0:
        raise Damaged(f"{where}.sequence is negative")


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
