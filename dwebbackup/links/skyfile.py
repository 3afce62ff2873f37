"""A small file as it lies in one sector of Skynet, and so its skylink: a layout, what the file is called, its bytes."""

from __future__ import annotations

import json
import struct
from hashlib import blake2b

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links.skylink import SECTOR, Skylink, fetch_size

NAME = "data"
"""What every file is called, so that its skylink depends on nothing but its bytes."""

CONTENT_TYPE = "application/octet-stream"

_LAYOUT = struct.Struct("<B QQQ BB 8s 64s")
"""Version; sizes of file, metadata and fanout; the fanout's pieces; cipher and its key."""

_PLAIN = bytes(7) + b"\1"

_GO_ESCAPES: dict[str, str | int | None] = {character: f"\\u{ord(character):04x}" for character in "<>&"}

_PIECE = 64
"""Bytes of a leaf, and of two hashes."""

_PIECES = struct.Struct(f"{_PIECE}s")


def skylink_of(data: bytes, name: str = NAME, content_type: str = CONTENT_TYPE) -> Skylink:
    """What a portal answers to an upload of *data*. Raises `WrongConfiguration` where it does not fit."""
    content = skyfile(data, name, content_type)
    return Skylink(1, merkle_root(content), fetch=fetch_size(len(content)))


def skyfile(data: bytes, name: str = NAME, content_type: str = CONTENT_TYPE) -> bytes:
    """What stands in the sector, before the zeros. Raises `WrongConfiguration` where it does not fit."""
    about = metadata(len(data), name, content_type)
    if _LAYOUT.size + len(about) + len(data) > SECTOR:
        room = SECTOR - _LAYOUT.size - len(about)
        raise WrongConfiguration(
            f"it has {len(data):,} bytes, and a skyfile of one sector has room for {room:,}",
            "a larger file has a skylink only once a portal has cut it up",
        )
    return _LAYOUT.pack(1, len(data), len(about), 0, 0, 0, _PLAIN, bytes(64)) + about + data


def data_in(content: bytes, skylink: Skylink) -> bytes:
    """The file in the sector that begins with *content*, whatever it is called there: the inverse of `skyfile`.

    Raises `Damaged` unless it is the sector of *skylink*, and all of a plain file is in it.
    """
    content = content[: skylink.fetch]
    if skylink.version != 1 or skylink.offset or merkle_root(content) != skylink.root:
        raise Damaged(f"this is not the sector of {skylink.text}")
    version, size, about, fanout, *_, cipher, _ = _LAYOUT.unpack(content[: _LAYOUT.size].ljust(_LAYOUT.size, b"\0"))
    data = content[_LAYOUT.size + about :][:size]
    if (version, fanout, cipher) != (1, 0, _PLAIN) or len(data) < size:
        raise Damaged(f"what {skylink.text} leads to is no small file as it is: it is cut up, or encrypted")
    return data


def metadata(size: int, name: str = NAME, content_type: str = CONTENT_TYPE) -> bytes:
    """What a portal writes down about one uploaded file, byte for byte: order, omissions, escapes are those of Go."""
    if not name or not name.isprintable() or not content_type.isprintable():
        raise WrongConfiguration(f"a skyfile cannot be called {name!r} ({content_type!r})")
    part = {"filename": name, "contenttype": content_type} | ({"len": size} if size else {})
    text = json.dumps(
        {"filename": name, "length": size, "subfiles": {name: part}}, separators=(",", ":"), ensure_ascii=False
    )
    return text.translate(str.maketrans(_GO_ESCAPES)).encode()


def merkle_root(content: bytes) -> bytes:
    """Of the sector that begins with *content* and has zeros behind it: BLAKE2b-256 over leaves of 64 bytes."""
    assert len(content) <= SECTOR
    missing = -len(content) % _PIECE if content else _PIECE
    level = _hash_pieces(b"\0", content + bytes(missing))
    for zeros in _ZEROS:
        if len(level) % _PIECE:
            level += zeros
        level = _hash_pieces(b"\1", level)
    return level


def _hash_pieces(mark: bytes, data: bytes) -> bytes:
    """The hashes of pieces of 64 bytes, which are leaves or pairs of hashes; *mark* says which.

    Copies of a begun hash: half the time of new ones, and 131,071 are needed for a sector.
    """
    begin, hashes = blake2b(mark, digest_size=32).copy, []
    for (piece,) in _PIECES.iter_unpack(data):
        each = begin()
        each.update(piece)
        hashes.append(each.digest())
    return b"".join(hashes)


def _roots_of_zeros() -> tuple[bytes, ...]:
    """Of nothing but zeros: a leaf, and then the level above it, up to half a sector."""
    roots = [_hash_pieces(b"\0", bytes(_PIECE))]
    while len(roots) < (SECTOR // _PIECE).bit_length() - 1:
        roots.append(_hash_pieces(b"\1", roots[-1] * 2))
    return tuple(roots)


_ZEROS = _roots_of_zeros()
