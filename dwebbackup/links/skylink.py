"""A skylink, the name of a file on Skynet: which bytes of which sector, or of which registry entry; and its texts."""

from __future__ import annotations

from dataclasses import dataclass

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links.alphabets import BASE32HEX, BASE64URL, LONGEST

SECTOR = 1 << 22
"""Bytes: what a host of Sia keeps as one."""

_PAGE = 4096
_ALPHABETS = {46: BASE64URL, 55: BASE32HEX}
"""By the number of characters, since 34 bytes have so many."""


@dataclass(frozen=True, slots=True)
class Skylink:
    """Version 1 names bytes by their hash; version 2, a *resolver*, names an entry that its owner can change."""

    version: int
    root: bytes
    """Of the sector's Merkle tree; for a resolver the entry's id."""
    offset: int = 0
    fetch: int = 0
    """Bytes from *offset* on that hold the file, rounded up."""

    def __post_init__(self) -> None:
        assert len(self.root) == 32
        assert self.version == 2 or self.fetch

    @property
    def binary(self) -> bytes:
        bits = 1 if self.version == 2 else _encode_window(self.offset, self.fetch)
        return bits.to_bytes(2, "little") + self.root

    @property
    def text(self) -> str:
        """The usual form, base64url: 46 characters."""
        return BASE64URL.encode(self.binary)

    @property
    def base32(self) -> str:
        """The form for names of hosts, which know no upper case: 55 characters."""
        return BASE32HEX.encode(self.binary)


def parse(text: str) -> Skylink:
    """The inverse of `Skylink.text` and of `Skylink.base32`. Raises `WrongConfiguration`."""
    alphabet = _ALPHABETS.get(len(text))
    if alphabet is None:
        raise WrongConfiguration(
            f"{text[:LONGEST]!r} has {len(text)} characters, and a skylink has 46 or 55", "copy it again, whole"
        )
    try:
        return from_binary(alphabet.decode(text))
    except (Damaged, WrongConfiguration) as error:
        raise WrongConfiguration(f"{text!r} is no skylink: {error}", "copy it again, whole") from error


def from_binary(data: bytes) -> Skylink:
    """The inverse of `Skylink.binary`. Raises `Damaged`."""
    if len(data) != 34:
        raise Damaged(f"a skylink has 34 bytes, and this is {len(data)}")
    bits, root = int.from_bytes(data[:2], "little"), data[2:]
    if bits == 1:
        return Skylink(2, root)
    if bits & 3:
        raise Damaged(f"its first bytes, {bits:#06x}, are those of no version that is known")
    return Skylink(1, root, *_decode_window(bits))


def fetch_size(size: int) -> int:
    """*size* rounded up to what a skylink can say of bytes that stand at the beginning of a sector."""
    assert 0 <= size <= SECTOR
    mode = max(0, (size - 1).bit_length() - 15)
    step = _PAGE << max(0, mode - 1)
    return max(1, -(-size // step)) * step


# Sixteen bits, from the lowest: two for the version, less one; *mode* ones and a zero; three that tell the size; and
# the offset. The mode says in which steps size and offset are counted, and where sizes begin.


def _encode_window(offset: int, fetch: int) -> int:
    mode = max(0, (fetch - 1).bit_length() - 15)
    eighths = fetch // (_PAGE << max(0, mode - 1)) - (9 if mode else 1)
    window = offset // (_PAGE << mode) << 3 | eighths
    return (window << mode + 1 | (1 << mode) - 1) << 2


def _decode_window(bits: int) -> tuple[int, int]:
    window, mode = bits >> 2, 0
    while window & 1:
        window, mode = window >> 1, mode + 1
    if mode > 7:
        raise Damaged(f"its first bytes, {bits:#06x}, tell of no size")
    window >>= 1
    offset = (window >> 3) * (_PAGE << mode)
    fetch = ((window & 7) + (9 if mode else 1)) * (_PAGE << max(0, mode - 1))
    if offset + fetch > SECTOR:
        raise Damaged(f"it tells of bytes {offset} to {offset + fetch}, and a sector has {SECTOR}")
    return offset, fetch
