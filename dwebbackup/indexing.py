"""Which indexes a manifest names: the unused left out, too many of them merged, streams as runs over them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from dwebbackup import records
from dwebbackup.known import Numbering
from dwebbackup.manifest import Index, ObjectRef, PackEntry, RunWriter, expand, index_path
from dwebbackup.ports import Store
from dwebbackup.records import Signer

MOST = 64
"""Indexes of a manifest; above, they are merged."""

Runs = tuple[int, ...]


def put_index(store: Store, signer: Signer, index: Index) -> ObjectRef:
    """Seal and store one index."""
    sealed = records.seal(index, signer)
    ref = ObjectRef(records.digest(sealed), len(sealed))
    store.put(index_path(ref.sha256), sealed)
    return ref


def runs_of(numbers: Iterable[int], numbering: Numbering) -> Runs:
    """A stream's chunk numbers as `StreamRecord.runs`. Raises LookupError when a chunk is in no stored pack."""
    writer = RunWriter()
    for number in numbers:
        writer.add(*numbering.locate(number))
    return tuple(writer.runs)


def drop_unused(streams: Sequence[Runs], refs: Sequence[ObjectRef]) -> tuple[list[Runs], list[ObjectRef]]:
    """The same streams over only the indexes that they use, the rest of *refs* left out."""
    used = sorted({index for runs in streams for index in runs[::3]})
    place = {index: number for number, index in enumerate(used)}
    return [_renumbered(runs, place) for runs in streams], [refs[index] for index in used]


def _renumbered(runs: Runs, place: dict[int, int]) -> Runs:
    return tuple(place[item] if at % 3 == 0 else item for at, item in enumerate(runs))


def merge(
    streams: Sequence[Runs], indexes: Sequence[Index], put: Callable[[Index], ObjectRef], rows: int
) -> tuple[list[Runs], list[ObjectRef]]:
    """The same streams over few new indexes of at most *rows* rows, which hold only the packs in use."""
    sizes = [index.rows for index in indexes]
    starts = [list(accumulate((len(pack) for pack in index.packs), initial=0)) for index in indexes]
    spans = [list(_by_pack(expand(runs, sizes), starts)) for runs in streams]
    used = sorted({(index, pack) for stream in spans for index, pack, _, _ in stream})
    groups = _grouped([indexes[index].packs[pack] for index, pack in used], rows)
    place = {}
    positions = iter(used)
    for number, group in enumerate(groups):
        start = 0
        for entry in group:
            place[next(positions)] = (number, start)
            start += len(entry)
    merged = []
    for stream in spans:
        writer = RunWriter()
        for index, pack, first, count in stream:
            number, start = place[index, pack]
            for row in range(first, first + count):
                writer.add(number, start + row)
        merged.append(tuple(writer.runs))
    return merged, [put(Index(indexes[0].writer, tuple(group))) for group in groups]


def _by_pack(
    spans: Iterable[tuple[int, int, int]], starts: Sequence[Sequence[int]]
) -> Iterator[tuple[int, int, int, int]]:
    """(index, pack, first row in the pack, count), cut at the packs' ends."""
    for index, begin, length in spans:
        first, count = begin, length
        while count:
            pack = bisect_right(starts[index], first) - 1
            taken = min(count, starts[index][pack + 1] - first)
            yield index, pack, first - starts[index][pack], taken
            first += taken
            count -= taken


def _grouped(entries: Sequence[PackEntry], rows: int) -> list[list[PackEntry]]:
    groups: list[list[PackEntry]] = []
    filled = rows
    for entry in entries:
        if filled + len(entry) > rows:
            groups.append([])
            filled = 0
        groups[-1].append(entry)
        filled += len(entry)
    return groups
