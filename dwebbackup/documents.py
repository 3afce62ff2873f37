"""Records of the format as JSON documents: written briefly, read strictly (`docs/format.md`)."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import json
import re
import threading
import types
import typing
from array import array
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from dwebbackup.errors import Damaged, ToolMissing
from dwebbackup.manifest import (
    LARGEST_CHUNK,
    NAME_SIZE,
    Manifest,
    ManifestRef,
    Newest,
    PackEntry,
    StreamRecord,
    Summary,
)

FORMAT = 1
"""The newest format this version writes, and the newest it reads."""

INTEGER_LIMIT = 2**53
"""Integers stay below this, so that every JSON reader has them exactly."""

Record = TypeVar("Record")


def encode(kind: str, record: Any) -> bytes:
    """The JSON form of *record*: one object, `format` and `kind` first, defaults left out."""
    document = {"format": FORMAT, "kind": kind} | _plain(record)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


_DECODING = threading.Lock()
"""One document at a time: the interpreter lock lets no two threads parse at once anyway, and each that is half done
takes ten times the memory of its text.
"""


def decode(kind: str, record: type[Record], document: bytes, without: Collection[str] = ()) -> Record:
    """The inverse of `encode`.

    Unknown fields are ignored unless `critical` names them. Raises `Damaged` when a key stands twice, a field
    is missing or of the wrong type, or an integer is too large; `ToolMissing` when a newer version wrote it.
    Fields named in *without* are as by default, whatever the document says of them.
    """
    with _DECODING:
        return _decoded(kind, record, document, without)


def _decoded(kind: str, record: type[Record], document: bytes, without: Collection[str]) -> Record:
    try:
        value = json.loads(document.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"this {kind} is not proper JSON: {error}") from None
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise Damaged(f"this is not a dwebbackup {kind}")
    _check_version(kind, value, record)
    for name in without:
        value.pop(name, None)
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


_Reader = Callable[[Any, str], Any]
"""Takes a value of the document and where it stands, and gives what it is in the record, or raises `Damaged`."""


_Fields = tuple[tuple[str, _Reader, bool], ...]
"""Of each field its name, what reads it, and whether it must be there."""

_FIELDS: dict[type[Any], _Fields] = {}
"""Of each record; working them out costs more than reading the record."""


def _fields(record: type[Any]) -> _Fields:
    if record not in _FIELDS:
        hints = typing.get_type_hints(record, include_extras=True)
        _FIELDS[record] = tuple(
            (entry.name, _reader(hints[entry.name]), entry.default is dataclasses.MISSING)
            for entry in dataclasses.fields(record)
        )
    return _FIELDS[record]


def _reader(hint: Any) -> _Reader:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        (kind,) = (kind for kind in arguments if kind is not type(None))
        return functools.partial(_optional, _reader(kind))
    if origin is tuple and arguments[-1] is Ellipsis:
        return functools.partial(_list, _reader(arguments[0]))
    if origin is tuple:
        return functools.partial(_tuple, tuple(map(_reader, arguments)))
    if origin is typing.Annotated:
        return functools.partial(_numbers, hint.__metadata__[0])
    return functools.partial(_build if dataclasses.is_dataclass(hint) else _scalar, hint)


def _build(record: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise Damaged(f"{where} is not an object")
    arguments = {}
    for name, read, required in _fields(record):
        if name in value:
            arguments[name] = read(value[name], f"{where}.{name}")
        elif required:
            raise Damaged(f"{where}.{name} is missing")
    built = record(**arguments)
    _check_shape(built, where)
    return built


def _optional(read: _Reader, value: Any, where: str) -> Any:
    return None if value is None else read(value, where)


def _list(read: _Reader, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise Damaged(f"{where} is not a list")
    return tuple([read(item, f"{where}[{number}]") for number, item in enumerate(value)])


def _tuple(readers: tuple[_Reader, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise Damaged(f"{where} is not a list")
    if len(readers) != len(value):
        raise Damaged(f"{where} has {len(value)} items, not {len(readers)}")
    return tuple(read(item, where) for read, item in zip(readers, value, strict=True))


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
_NUMBERED = (ManifestRef, Newest, Manifest, Summary)


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
    if isinstance(record, StreamRecord):
        if len(record.runs) % 3 or record.bytes < 0 or record.chunks < 0:
            raise Damaged(f"{where}: runs are not triples")
        if record.part < 0:
            raise Damaged(f"{where}.part is negative")
    if isinstance(record, _NUMBERED) and record.sequence < 0:
        raise Damaged(f"{where}.sequence is negative")
