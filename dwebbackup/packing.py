"""Frames to the plain inside of a pack, padded so that its size tells nothing, and back."""

from __future__ import annotations

from dwebbackup import age
from dwebbackup.compression import skippable_frame
from dwebbackup.errors import Damaged

SEALED_SIZE = 4 * 1024 * 1024 - 1024
"""A sealed pack's most bytes: fits the base sector of a Skynet skyfile beside its layout and metadata."""

PADDING = 0xF
"""Which of the sixteen skippable frames is padding."""

SMALLEST_PADDING = 8
"""A skippable frame without content."""


def capacity(recipients: int) -> int:
    """Plain bytes that fit a pack sealed to so many recipients, computed from the header it will have."""
    return age.capacity(SEALED_SIZE, recipients)


def padme(length: int) -> int:
    """The next length that Padmé allows: at most 12% more, leaking O(log log length) bits (PETS 2019, "PURBs")."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def padding(length: int, most: int, *, full: bool = False) -> bytes:
    """The frame that pads *length* bytes: to *most* when *full*, else by Padmé."""
    target = most if full else min(most, padme(length + SMALLEST_PADDING))
    return skippable_frame(bytes(target - length - SMALLEST_PADDING), PADDING)


class Pack:
    """A pack being filled."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._frames: list[bytes] = []
        self.size = 0
        """Bytes of frames so far."""

    def fits(self, frame: int) -> bool:
        """Whether a frame of so many bytes still has room."""
        return self.size + frame + SMALLEST_PADDING <= self._most

    def add(self, frame: bytes) -> None:
        self._frames.append(frame)
        self.size += len(frame)

    def __len__(self) -> int:
        return len(self._frames)

    def clear(self) -> None:
        """Forget the frames."""
        self._frames.clear()
        self.size = 0

    def plain(self, *, full: bool) -> bytes:
        """All frames and the padding. *full*: the next frame did not fit, so only the capacity shows."""
        return b"".join((*self._frames, padding(self.size, self._most, full=full)))


def frame(plain: memoryview, offset: int, size: int) -> memoryview:
    """One frame out of a pack's plain inside. Raises `Damaged` when it is not all there."""
    if offset + size > len(plain):
        raise Damaged("a pack is shorter than its index says")
    return plain[offset : offset + size]
