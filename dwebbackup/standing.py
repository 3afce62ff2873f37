"""How each of a writer's backups stands among the others: newest, suspect, or one of two histories. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from dwebbackup import lineage
from dwebbackup.catalog import alike
from dwebbackup.manifest import ManifestRef, Summary
from dwebbackup.tips import Newest

_NUMBERS = {2: "two", 3: "three"}


def standings(newest: Newest) -> Mapping[ManifestRef, Sequence[str]]:
    """What there is to say of each; of most of them nothing."""
    said: defaultdict[ManifestRef, list[str]] = defaultdict(list)
    for ref, words in (*_newest(newest), *_suspect(newest.history)):
        said[ref].append(words)
    return said


def several(number: int) -> str:
    """`one of two histories`"""
    return f"one of {_NUMBERS.get(number, number)} histories"


def _newest(newest: Newest) -> Iterator[tuple[ManifestRef, str]]:
    """The newest good backup of each source; or each of those of which none is newer than the others."""
    past = newest.history
    rivals = [tip.ref for tip in alike(newest)]
    for name in lineage.sources(past):
        ends = [entry.ref for entry in lineage.ends(past, name) if entry.ref not in rivals]
        words = f"newest{_of(name, past)}"
        for ref in ends:
            yield ref, f"{words} in {several(len(ends))}" if len(ends) > 1 else words
    for ref in rivals:
        yield ref, f"newest in {several(len(rivals))}: two machines wrote at once"


def _suspect(past: Sequence[Summary]) -> Iterator[tuple[ManifestRef, str]]:
    for entry in lineage.entries(past):
        if not entry.is_good:
            yield entry.ref, f"suspect{_of(entry.tally.source, past)}: {'; '.join(entry.tally.suspect)}"


def _of(source: str, past: Sequence[Summary]) -> str:
    """Nothing where there is one source only."""
    return f" of {source}" if len(lineage.sources(past)) > 1 else ""
