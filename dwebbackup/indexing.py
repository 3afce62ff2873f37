"""Which indexes a manifest names: the unused left out, too many of them merged, streams as runs over them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from operator import itemgetter

from dwebbackup import records
from dwebbackup.known import Numbering
from dwebbackup.links.uris import content_links
from dwebbackup.manifest import Index, ObjectRef, PackEntry, Runs, RunWriter, expand, index_path
from dwebbackup.ports import Store
from dwebbackup.records import Signer

MOST = 64
"""Indexes of a manifest; above, they are merged."""

FEW = 16
"""Small indexes of a manifest; above, they are merged: each one is a request of every run that comes after."""

SMALL = 2 * 1024 * 1024
"""Bytes of sealed indexes, together, below which writing them anew costs next to nothing."""

Starts = Sequence[Sequence[int]]
"""Of each index, the first row of each of its packs; then the number of all rows."""

Places = Mapping[tuple[int, int], tuple[int, int]]
"""(index, pack in it) → (new index, first row there)."""


def too_many(refs: Sequence[ObjectRef]) -> bool:
    """Whether these indexes should be merged."""
    return len(refs) > (FEW if sum(ref.size for ref in refs) < SMALL else MOST)


def put_index(store: Store, signer: Signer, index: Index) -> ObjectRef:
    """Seal and store one index."""
    return put_sealed(store, records.seal(index, signer))


def put_sealed(store: Store, sealed: bytes) -> ObjectRef:
    """Store an index, or what lies beside them."""
    sha256 = records.digest(sealed)
    answered = store.put(index_path(sha256), sealed)
    return ObjectRef(sha256, len(sealed), content_links(sealed, answered))


def runs_of(numbers: Iterable[int], numbering: Numbering) -> Runs:
    """A stream's chunk numbers as `StreamRecord.runs`. Raises LookupError when a chunk is in no stored pack."""
    writer = RunWriter()
    for number in numbers:
        writer.add(*numbering.locate(number))
    return writer.runs


def drop_unused(streams: Sequence[Runs], refs: Sequence[ObjectRef]) -> tuple[list[Runs], list[ObjectRef]]:
    """The same streams over only the indexes that they use, the rest of *refs* left out."""
    used = sorted({index for runs in streams for index in runs[::3]})
    place = {index: number for number, index in enumerate(used)}
    return [_renumbered(runs, place) for runs in streams], [refs[index] for index in used]


def _renumbered(runs: Runs, place: dict[int, int]) -> Runs:
    renumbered = runs[:]
    renumbered[::3] = array("q", [place[index] for index in runs[::3]])
    return renumbered


def merge(
    streams: Sequence[Runs],
    refs: Sequence[ObjectRef],
    load: Callable[[ObjectRef], Index],
    put: Callable[[Index], ObjectRef],
    rows: int,
) -> tuple[list[Runs], list[ObjectRef]]:
    """The same streams over few new indexes of at most *rows* rows, which hold only the packs in use.

    Each index is loaded twice and let go each time: all of them at once may be more than memory holds.
    """
    starts = [_starts(load(ref)) for ref in refs]
    used = {(index, pack) for runs in streams for index, pack, _, _ in _by_pack(runs, starts)}
    places = _placed(sorted(used), starts, rows)
    merged = [_moved(runs, starts, places) for runs in streams]
    return merged, [put(index) for index in _filled(refs, load, places)]


def _starts(index: Index) -> array[int]:
    return array("I", accumulate((len(pack) for pack in index.packs), initial=0))


def _by_pack(runs: Runs, starts: Starts) -> Iterator[tuple[int, int, int, int]]:
    """(index, pack, first row in the pack, count), cut at the packs' ends."""
    for index, begin, length in expand(runs, [each[-1] for each in starts]):
        first, count = begin, length
        while count:
            pack = bisect_right(starts[index], first) - 1
            taken = min(count, starts[index][pack + 1] - first)
            yield index, pack, first - starts[index][pack], taken
            first += taken
            count -= taken


def _placed(used: Iterable[tuple[int, int]], starts: Starts, rows: int) -> Places:
    """The packs *used*, one after the other, in as many new indexes as it takes."""
    places = {}
    number = filled = 0
    for index, pack in used:
        size = starts[index][pack + 1] - starts[index][pack]
        if filled and filled + size > rows:
            number, filled = number + 1, 0
        places[index, pack] = (number, filled)
        filled += size
    return places


def _moved(runs: Runs, starts: Starts, places: Places) -> Runs:
    writer = RunWriter()
    for index, pack, first, count in _by_pack(runs, starts):
        number, start = places[index, pack]
        writer.add(number, start + first, count)
    return writer.runs


def _filled(refs: Sequence[ObjectRef], load: Callable[[ObjectRef], Index], places: Places) -> Iterator[Index]:
    """The new indexes, each as soon as its last pack was loaded."""
    for (_, writer), group in groupby(_entries(refs, load, places), itemgetter(0)):
        yield Index(writer, tuple(entry for _, entry in group))


def _entries(
    refs: Sequence[ObjectRef], load: Callable[[ObjectRef], Index], places: Places
) -> Iterator[tuple[tuple[int, str], PackEntry]]:
    """The packs that have a place, each with its new index and writer."""
    for number, ref in enumerate(refs):
        index = load(ref)
        for pack, entry in enumerate(index.packs):
            if (number, pack) in places:
                yield (places[number, pack][0], index.writer), entry
