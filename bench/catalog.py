"""The rows about many backups, with a store far away: what a list, a prune and a verify of them take, and one more."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from bench.arena import Arena
from bench.contenders import OURS_S3, Place
from bench.far_away import FarAway, far_away
from bench.gateway import gateway
from bench.measure import cost, output, seconds
from bench.row import MIB, Row
from dwebbackup import clock, lineage, records
from dwebbackup.access import open_writer
from dwebbackup.catalog import HEAD
from dwebbackup.indexing import put_index
from dwebbackup.keys import OwnerKey, parse_key
from dwebbackup.manifest import Head, Index, Manifest, ManifestRef, ObjectRef, Summary, Tally
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.s3_address import AccessKey, Address

ROUND_TRIP = 0.02
"""Seconds to the store and back."""

MANY = 1000
"""Backups in the catalog."""

ALLOWED = 2.0
"""Seconds for a whole process."""

ALLOWED_SIZE = 100.0
"""kB of a manifest, sealed."""

_START = """python -c '
from dwebbackup import access, assemble, config, keys
loaded = config.load(config.Given())
catalog = access.open_writer(keys.parse_key(loaded.key), 1, assemble.store(loaded)).catalog
catalog.newest()
catalog.latest()
'"""

LINES = {"list": "dwebbackup list", "list --json": "dwebbackup list --json", "a sidecar's start": _START}

ALL = {"prune": f'dwebbackup prune --keep "last {2 * MANY}"', "verify": "dwebbackup verify"}
"""What reads every manifest and every index, and changes nothing."""

ALLOWED_ALL = {"s": 30.0, "s of processor": 15.0, "MiB": 120.0, "requests": 3.0 * MANY}
"""For each of them."""


def catalog(arena: Arena) -> Iterator[Row]:
    """A real backup, and then copies of its manifest, each after the other."""
    if not arena.with_ours:
        return
    times: defaultdict[str, list[float]] = defaultdict(list)
    requests: defaultdict[int, list[float]] = defaultdict(list)
    costs: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    sizes: list[float] = []
    where = f"a store {ROUND_TRIP * 1000:.0f} ms away"
    for _ in range(arena.rounds):
        for number in (10, 100, MANY):
            size = _one_round(arena, number, times, requests, costs)
        sizes.append(size / 1000)
    for name in LINES:
        yield Row(f"{name}, {MANY:,} backups, {where}", "what is allowed", "s", times[name], [ALLOWED], 1.0)
    for (name, unit), figures in costs.items():
        yield Row(f"{name}, {MANY:,} backups, {where}", "what is allowed", unit, figures, [ALLOWED_ALL[unit]], 1.0)
    for number in (100, MANY):
        what = f"a backup's requests, {number:,} before"
        yield Row(what, "10 before", "", requests[number], requests[10])
    yield Row(f"newest manifest after {MANY:,} backups", "what is allowed", "kB", sizes, [ALLOWED_SIZE], 1.0)


def _one_round(
    arena: Arena,
    number: int,
    times: defaultdict[str, list[float]],
    requests: defaultdict[int, list[float]],
    costs: defaultdict[tuple[str, str], list[float]],
) -> int:
    with ExitStack() as stack:
        behind = stack.enter_context(gateway())
        between = stack.enter_context(far_away(behind.environment["ENDPOINT"], ROUND_TRIP))
        environment = {**arena.environment, **behind.environment, "ENDPOINT": between.address}
        place = stack.enter_context(replace(arena, environment=environment).place(OURS_S3))
        place.backup(seconds)
        size = _fill(place, behind.environment, number)
        if number == MANY:
            for name, line in LINES.items():
                times[name].append(seconds(line, place.environment))
            _check(place)
            for name, line in ALL.items():
                for unit, figure in _taken(between, place, line).items():
                    costs[name, unit].append(figure)
        requests[number].append(_asked(between, place))
    return size


def _asked(between: FarAway, place: Place) -> float:
    before = between.requests
    place.backup(seconds)
    return float(between.requests - before)


def _taken(between: FarAway, place: Place, line: str) -> dict[str, float]:
    before = between.requests
    taken = cost(line, place.environment, memory=True)
    return {
        "s": taken.seconds,
        "s of processor": taken.processor,
        "MiB": taken.memory / MIB,
        "requests": float(between.requests - before),
    }


def _check(place: Place) -> None:
    """Nobody is fast who lists less than everything."""
    listed = json.loads(output("dwebbackup list --json", place.environment))["backups"]
    if len(listed) != MANY or not all(each["rows"] for each in listed):
        raise SystemExit(f"{len(listed)} backups are listed, not {MANY}")


# --- a catalog of many, quickly ---


def _fill(place: Place, bucket: Mapping[str, str], number: int) -> int:
    """So many backups in all: copies of the first manifest, each with an index of its own; the size of the last."""
    key = parse_key((place.folder / "key").read_text().strip())
    assert isinstance(key, OwnerKey)
    address = Address(bucket["BUCKET"], endpoint=bucket["ENDPOINT"])
    store = S3Store(address, access_key=AccessKey(bucket["ACCESS_KEY"], bucket["SECRET_KEY"]))
    shelf = open_writer(key, 1, store).catalog
    first, writer = shelf.latest(), key.writer(1)
    signer = records.signer_of(writer, ())
    past = [lineage.summary(first.ref, first.manifest)]
    for sequence in range(2, number + 1):
        index = put_index(shelf.store, signer, Index(writer.id, ()))
        manifest = _after(first.manifest, past, index)
        sealed = records.seal(manifest, signer)
        ref = ManifestRef(sequence, records.digest(sealed))
        shelf.store.put(f"manifests/{ref.name}", sealed)
        past.append(lineage.summary(ref, manifest))
    head = Head(writer.id, 1, ref.sequence, manifest.finished, ObjectRef(ref.sha256, len(sealed)))
    shelf.store.put(HEAD, records.write_line(head, writer.sign_seed))
    return len(sealed)


def _after(first: Manifest, past: Sequence[Summary], index: ObjectRef) -> Manifest:
    """The next manifest, six hours later, of a database that grows."""
    sequence = past[-1].sequence + 1
    passed = sequence * 6 * 3600.0
    started, finished = (clock.iso(clock.from_iso(text) + passed) for text in (first.started, first.finished))
    return replace(
        first,
        sequence=sequence,
        run=f"{sequence:016x}",
        started=started,
        finished=finished,
        parents=(past[-1].ref,),
        indexes=(*first.indexes, index),
        kept=tuple(each.ref for each in past),
        history=tuple(past),
        tallies=tuple(_grown(tally, sequence, started) for tally in lineage.tallies(first)),
        newest=tuple(replace(entry, sequence=sequence) for entry in first.newest),
        stored=first.stored // 100 + secrets.randbelow(1_000_000),
    )


def _grown(tally: Tally, sequence: int, snapshot: str) -> Tally:
    rows, size = tally.rows + sequence, tally.bytes + sequence * 991
    return replace(tally, snapshot=snapshot, rows=rows + secrets.randbelow(997), bytes=size + secrets.randbelow(9973))
