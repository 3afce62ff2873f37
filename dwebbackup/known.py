"""Which chunks the store already has: a table of names in packed arrays, about 24 bytes a chunk."""

from __future__ import annotations

import bisect
import threading
from array import array
from collections.abc import Sequence

_KEPT = 16
"""Bytes of a name that are remembered. Names are keyed, so nobody can look for collisions; by chance two of
a hundred million chunks share 128 bits once in 10^22 databases."""

_EMPTY = 0xFFFFFFFF


class KnownChunks:
    """Chunk name → number, counted from 0 in the order of `add`. Safe for several threads."""

    def __init__(self) -> None:
        self._names = bytearray()
        self._slots = array("I", [_EMPTY]) * 4096
        self._used = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The next number."""
        return len(self._names) // _KEPT

    def load(self, names: bytes, size: int) -> int:
        """Number on the names (of *size* bytes each) of an index's pack; gives the first number.

        They only take up their numbers, and are not found before they are trusted.
        """
        first = len(self)
        for start in range(0, len(names), size):
            self._names += names[start : start + _KEPT]
        return first

    def trust(self, first: int, count: int) -> None:
        """From now on the chunks that `load` gave these numbers are found."""
        for number in range(first, first + count):
            slot = self._find(self._kept(number))
            if self._slots[slot] == _EMPTY:
                self._fill(slot, number)

    def _kept(self, number: int) -> bytes:
        return bytes(self._names[number * _KEPT : (number + 1) * _KEPT])

    def number(self, name: bytes) -> tuple[int, bool]:
        """The chunk's number, and whether it is new: then the caller has to store it."""
        kept = name[:_KEPT]
        with self._lock:
            slot = self._find(kept)
            found = self._slots[slot]
            if found != _EMPTY:
                return found, False
            number = len(self)
            self._names += kept
            self._fill(slot, number)
            return number, True

    def _find(self, kept: bytes) -> int:
        """The slot that has it, or the empty one where it belongs."""
        slots, names = self._slots, self._names
        mask = len(slots) - 1
        slot = int.from_bytes(kept[:8], "little") & mask
        while (number := slots[slot]) != _EMPTY:
            if names[number * _KEPT : number * _KEPT + _KEPT] == kept:
                break
            slot = (slot + 1) & mask
        return slot

    def _fill(self, slot: int, number: int) -> None:
        self._slots[slot] = number
        self._used += 1
        if self._used * 3 > len(self._slots) * 2:
            self._grow()

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("I", [_EMPTY]) * (2 * len(old))
        for number in old:
            if number != _EMPTY:
                self._slots[self._find(self._kept(number))] = number


class Numbering:
    """Where numbered chunks stand: (index, row). Known indexes first, then new rows as their packs are stored."""

    def __init__(self, known: Sequence[int]) -> None:
        """*known*: how many rows each known index has, in the order in which `KnownChunks` loaded them."""
        self._starts = array("Q")
        self._total = 0
        for rows in known:
            self.add_index(rows)
        self._known = self._total
        self._rows = array("I")
        self._placed = 0

    def add_index(self, rows: int) -> None:
        """A further index holds the next *rows* rows."""
        self._starts.append(self._total)
        self._total += rows

    def place(self, numbers: Sequence[int]) -> None:
        """The new chunks with these numbers are the next rows."""
        missing = max(numbers) - self._known + 1 - len(self._rows)
        if missing > 0:
            self._rows.extend(array("I", [_EMPTY]) * missing)
        for number in numbers:
            self._rows[number - self._known] = self._placed
            self._placed += 1

    def locate(self, number: int) -> tuple[int, int]:
        """(index, row) of a chunk. Raises LookupError when it was never placed."""
        row = number
        if number >= self._known:
            placed = self._rows[number - self._known]
            if placed == _EMPTY:
                raise LookupError(number)
            row = self._known + placed
        index = bisect.bisect_right(self._starts, row) - 1
        return index, row - self._starts[index]
