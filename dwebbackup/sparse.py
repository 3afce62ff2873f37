"""Packs of which little is still in use: which of them a run stores anew, so that the old ones can be pruned. Pure."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

from dwebbackup.manifest import Index, Manifest, ObjectRef, expand

LEAST_LIVE = 0.5
"""A pack of which less than this share is in use is sparse: what is stored anew frees more than it takes."""

MOST_REWRITTEN = 0.1
"""Of all bytes that a backup names, so many at most are stored anew by one run because of sparse packs."""

MOST_WASTED = 0.5
"""So much of what is in use may lie idle in the packs beside it before anything is done about it."""

MOST_UNUSED = 0.5
"""Indexes that name packs which nothing uses, with more than this share of the bytes in use, are made anew."""

_UNBOUNDED = 1 << 40

Spans = Mapping[ObjectRef, Sequence[int]]
"""Of each index, the rows in use: pairs of first row and count."""


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a pack is in use."""

    path: str
    size: int
    """Sealed bytes."""
    live: int
    """As much of them as of its frames is in use."""


def spans_of(manifests: Iterable[Manifest]) -> Spans:
    """The rows that these whole manifests use."""
    spans: defaultdict[ObjectRef, array[int]] = defaultdict(lambda: array("q"))
    for manifest in manifests:
        for source in manifest.sources:
            for stream in source.streams:
                for index, first, count in expand(stream.runs, [_UNBOUNDED] * len(manifest.indexes)):
                    spans[manifest.indexes[index]].extend((first, count))
    return spans


def uses(index: Index, spans: Sequence[int]) -> Iterator[Use]:
    """Each pack of *index*, of whose rows the *spans* are in use."""
    used = bytearray(index.rows)
    rows = len(used)
    for first, count in zip(spans[::2], spans[1::2], strict=True):
        length = min(count, rows - first)
        used[first : first + length] = b"\1" * length
    row = 0
    for pack in index.packs:
        live = sum(compress(pack.frames, used[row : row + len(pack)]))
        yield Use(pack.path, pack.size, pack.size * live // max(1, sum(pack.frames)))
        row += len(pack)


def together(found: Iterable[Use]) -> list[Use]:
    """Each pack once, whatever number of indexes name it."""
    packs: dict[str, Use] = {}
    for use in found:
        before = packs.get(use.path)
        packs[use.path] = replace(use, live=min(use.size, use.live + before.live)) if before else use
    return list(packs.values())


def sparse(found: Sequence[Use]) -> frozenset[str]:
    """The paths of those whose chunks are to be stored anew, the sparsest first, as far as one run may go.

    None while all of them together have little that is not in use: what does not change is then never stored again.
    """
    size, live = sum(use.size for use in found), sum(use.live for use in found)
    if size - live <= MOST_WASTED * live:
        return frozenset()
    left = MOST_REWRITTEN * size
    chosen = set()
    for use in sorted(found, key=lambda use: (use.live / use.size, use.path)):
        if use.live >= LEAST_LIVE * use.size or use.live > left:
            break
        left -= use.live
        chosen.add(use.path)
    return frozenset(chosen)


def is_wasteful(found: Sequence[Use]) -> bool:
    """Whether indexes keep many packs from being pruned that nothing uses any more."""
    in_use = sum(use.size for use in found if use.live)
    return sum(use.size for use in found if not use.live) > MOST_UNUSED * in_use > 0
