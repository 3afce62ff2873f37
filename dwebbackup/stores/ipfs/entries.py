"""What an object is called in the MFS of an IPFS node: its name, and behind it all that the node would not know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dwebbackup.errors import WrongConfiguration
from dwebbackup.links import cid as cids
from dwebbackup.links.cid import Cid
from dwebbackup.stores import is_segment

_ENTRY = re.compile(r"([^@]+)@([0-9]{1,12})\.([0-9]{1,9})\.([0-9]{1,15})\.([A-Za-z0-9]+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """`NAME@SECONDS.TURN.SIZE.CID`. A name in MFS has no time of its own; and to tell a size, the node would have to
    look at the file, which it may have lost: then a whole folder could not be listed.
    """

    segment: str
    """The last one of the object's name."""
    seconds: int
    """Since 1970, by the node's clock: when it was put."""
    turn: int
    """Among those of one name that were put in one second."""
    size: int
    cid: Cid

    @property
    def text(self) -> str:
        return f"{self.segment}@{self.seconds}.{self.turn}.{self.size}.{self.cid.text}"

    @property
    def rank(self) -> tuple[int, int, str]:
        """Of two of one name, the greater one counts; of two that were put at once, the same one for everybody."""
        return self.seconds, self.turn, self.cid.text


def parse(text: str) -> Entry | None:
    """The inverse of `Entry.text`; None for what others put there."""
    match = _ENTRY.fullmatch(text)
    if not match or not is_segment(match[1]):
        return None
    try:
        return Entry(match[1], int(match[2]), int(match[3]), int(match[4]), cids.parse(match[5]))
    except WrongConfiguration:
        return None


def of_name(segment: str, texts: Iterable[str]) -> list[Entry]:
    """All entries of one object, the one that counts first."""
    found = (parse(text) for text in texts if text.startswith(f"{segment}@"))
    return sorted(filter(None, found), key=lambda entry: entry.rank, reverse=True)


def newest(texts: Iterable[str]) -> Iterator[Entry]:
    """Of each name, the entry that counts."""
    found: dict[str, Entry] = {}
    for entry in filter(None, map(parse, texts)):
        known = found.get(entry.segment)
        if known is None or known.rank < entry.rank:
            found[entry.segment] = entry
    return iter(found.values())


def next_entry(segment: str, now: float, size: int, cid: Cid, before: Iterable[Entry]) -> Entry:
    """One that counts more than all those *before*, whatever became of the node's clock."""
    last = max((entry.rank for entry in before), default=(0, -1, ""))
    seconds = max(int(now), last[0])
    return Entry(segment, seconds, last[1] + 1 if seconds == last[0] else 0, size, cid)
