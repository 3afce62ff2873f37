"""A tar stream taken apart: its members one by one, each with its content as pieces; PAX, as GNU tar writes it for us.

What is not as tar writes it raises `Damaged`, and what nobody asked tar for, too: a name that is not below `./`, a
kind of member that no file system has, headers longer than any.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from dwebbackup.errors import Damaged

BLOCK = 512

LONGEST_HEADER = 32 * 1024 * 1024
"""Bytes of one member's PAX records: far more than names and extended attributes take; 50 for each hole in a file."""


class Kind(Enum):
    """What a member is, by its type in the header."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    FOLDER = b"5"
    FIFO = b"6"


@dataclass(frozen=True, slots=True)
class Member:
    """One member, without its content."""

    names: tuple[bytes, ...]
    """From the folder down to it; none for the folder itself."""
    kind: Kind
    mode: int
    """Permission bits."""
    owner: int
    group: int
    mtime: int
    """Nanoseconds since 1970."""
    size: int
    """Bytes that come in the stream; of a sparse file without its holes."""
    link: bytes = b""
    """Of a symbolic link, what it says; of a hard link, a member's name as in the stream."""
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    """Extended ones."""
    sparse: tuple[int, array[int]] | None = None
    """The file's size, and pairs of offset and length of what is not a hole."""


_PAIRS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


class Blocks:
    """A stream's bytes, taken in the sizes that are wanted."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """Exactly so many."""
        end = self._at + size
        if end <= len(self._chunk):
            taken = self._chunk[self._at : end]
            self._at = end
            return taken
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """So many, as they come."""
        while size:
            if self._at == len(self._chunk):
                self._chunk, self._at = next(self._chunks, b""), 0
                if not self._chunk:
                    raise Damaged("a folder's stream ends within a file")
            piece = memoryview(self._chunk)[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """All that is left."""
        yield self._chunk[self._at :]
        yield from self._chunks


class Members:
    """The members of a stream, in turns: each one's content is taken before the next is asked for, or passed over."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._blocks = Blocks(chunks)
        self._left = 0
        self._padding = 0
        self._map = array("q")

    def __iter__(self) -> Iterator[Member]:
        while (header := self._header()) is not None:
            records: dict[bytes, bytes] = {}
            if header[156:157] == b"x":
                records = self._records(header)
                header = self._header() or _damaged("a header is without its member")
            yield self._member(header, records)
        if any(chunk.strip(b"\0") for chunk in self._blocks.rest()):
            raise Damaged("a folder's stream goes on behind its end")

    def content(self) -> Iterator[memoryview]:
        """Of the last member, in pieces of whatever size."""
        while self._left:
            for piece in self._blocks.pieces(self._left):
                self._left -= len(piece)
                yield piece
        self._pass_over()

    def _pass_over(self) -> None:
        for _ in self._blocks.pieces(self._left + self._padding):
            pass
        self._left = self._padding = 0

    def _header(self) -> bytes | None:
        """None at the end."""
        self._pass_over()
        header = self._blocks.take(BLOCK)
        if not header.strip(b"\0"):
            return None
        said = _number(header[148:156])
        if header[257:263] != b"ustar\0" or said != sum(header) - sum(header[148:156]) + 8 * 32:
            raise Damaged("a folder's stream has something else where a member should begin")
        return header

    def _records(self, header: bytes) -> dict[bytes, bytes]:
        """`LENGTH NAME=VALUE` and a line end, again and again."""
        size = _number(header[124:136])
        if size > LONGEST_HEADER:
            raise Damaged(f"a member's header has {size} bytes")
        text = self._blocks.take(size + -size % BLOCK)[:size]
        records: dict[bytes, bytes] = {}
        self._map = array("q")
        at = 0
        while at < size:
            digits, _, _ = text[at : at + 8].partition(b" ")
            end = at + (int(digits) if digits.isdigit() else 0)
            name, equals, value = text[at + len(digits) + 1 : end - 1].partition(b"=")
            if not at < end <= size or not equals or text[end - 1 : end] != b"\n":
                raise Damaged("a member's header is not made of PAX records")
            at = end
            if name in _PAIRS:  # the only ones that come more than once
                self._map.append(_natural(value))
            else:
                records[name] = value
        return records

    def _member(self, header: bytes, records: dict[bytes, bytes]) -> Member:
        try:
            kind = Kind(header[156:157])
        except ValueError:
            raise Damaged(f"a member is of an unknown type, {header[156:157]!r}") from None
        self._left = _decimal(records, b"size", header[124:136]) if kind is Kind.FILE else 0
        self._padding = -self._left % BLOCK
        size = records.get(b"GNU.sparse.size")
        return Member(
            _split(records.get(b"path") or _name(header)),
            kind,
            _number(header[100:108]) & 0o7777,
            _decimal(records, b"uid", header[108:116]),
            _decimal(records, b"gid", header[116:124]),
            _nanoseconds(records.get(b"mtime"), header[136:148]),
            self._left,
            records.get(b"linkpath") or header[157:257].partition(b"\0")[0],
            tuple(_attributes(records)),
            None if size is None else _sparse(size, self._map, self._left),
        )


def _sparse(size: bytes, pairs: array[int], stored: int) -> tuple[int, array[int]]:
    """What is not a hole; it has to be just what is *stored*."""
    if len(pairs) % 2:
        raise Damaged("a sparse file's map ends within a pair")
    end = 0
    for offset, length in zip(pairs[::2], pairs[1::2], strict=True):
        if offset < end:
            raise Damaged("a sparse file's pieces are not in order")
        end = offset + length
    if end > _natural(size) or sum(pairs[1::2]) != stored:
        raise Damaged("a sparse file's pieces are not what its map says")
    return _natural(size), pairs


def _damaged(why: str) -> bytes:
    raise Damaged(f"a folder's stream is not whole: {why}")


def _natural(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise Damaged(f"{text[:20]!r} stands where a number should be")
    return int(text)


def _number(field: bytes) -> int:
    """Octal, or what does not fit so in binary."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if text.strip(b"01234567"):
        raise Damaged(f"{field!r} stands where a number should be")
    return int(text or b"0", 8)


def _decimal(records: dict[bytes, bytes], name: bytes, field: bytes) -> int:
    return _natural(records[name]) if name in records else _number(field)


def _nanoseconds(record: bytes | None, field: bytes) -> int:
    if record is None:
        return _number(field) * 10**9
    whole, _, fraction = record.removeprefix(b"-").partition(b".")
    since = _natural(whole) * 10**9 + _natural(fraction[:9].ljust(9, b"0"))
    return -since if record.startswith(b"-") else since


def _name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _split(name: bytes) -> tuple[bytes, ...]:
    """`./a/b` and `./a/b/` are a and b."""
    first, *names = name.removesuffix(b"/").split(b"/")
    if first != b"." or not all(each not in (b"", b".", b"..") and b"\0" not in each for each in names):
        raise Damaged(f"the backup has a member called {name!r}, which is not below the folder")
    return tuple(names)


def link_names(member: Member) -> tuple[bytes, ...]:
    """Where a hard link leads, from the folder down. Raises `Damaged` when that is not below it."""
    return _split(member.link)


_ATTRIBUTE = b"SCHILY.xattr."


def _attributes(records: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in records.items():
        if name.startswith(_ATTRIBUTE):
            yield name.removeprefix(_ATTRIBUTE).replace(b"%3D", b"=").replace(b"%25", b"%"), value
