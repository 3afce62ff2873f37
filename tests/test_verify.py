"""`verify`: what is wrong is found, what is right is not called wrong, and nothing is fetched twice for many backups."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dwebbackup import age, compression, records, verify
from dwebbackup.access import open_writer
from dwebbackup.catalog import GENESIS
from dwebbackup.keys import Key
from dwebbackup.manifest import Genesis, ManifestRef, SourceRecord
from dwebbackup.ports import Quiet
from faulty import Call, Fault, Faulty, MemoryStore
from shelf import FACTS, STRANGER, Shelf, stream_of
from synthetic import OWNER, ROOT, WRITER, back_up, noise, opened, restored, small_pieces


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """Three backups: the later two add a little to the first, and share its packs and its index."""
    store = MemoryStore()
    with small_pieces():
        for number in range(3):
            back_up(store, {"same": noise(200_000), "other": noise(5_000, number)})
        yield store


def findings(store: MemoryStore, key: Key = OWNER) -> list[tuple[str, str]]:
    report = verify.verify(opened(store, key), None, None, Quiet())
    return [(finding.severity, finding.what) for finding in report.findings]


# --- the start of a writer ---


def genesis(writer: str = WRITER.id, seed: bytes = OWNER.sign_seed) -> bytes:
    return records.write_line(Genesis(writer, WRITER.number, "2026-11-20T03:00:00Z"), seed)


def test_the_owners_mark_of_the_start_holds(store):
    store.put(ROOT + GENESIS, genesis())
    assert findings(store) == []


@pytest.mark.parametrize(
    "mark",
    [b"", b"junk", genesis(seed=STRANGER.sign_seed), genesis(seed=WRITER.sign_seed), genesis(OWNER.writer(2).id)],
    ids=["empty", "junk", "a stranger's", "the writer's own", "another writer's"],
)
def test_a_mark_of_the_start_that_is_not_the_owners_for_this_writer_is_found(store, mark):
    store.put(ROOT + GENESIS, mark)
    assert findings(store) == [("error", "genesis")]
    assert findings(store, WRITER) == [("error", "genesis")]
    assert findings(store, OWNER.reader(1)) == []  # its line does not say who the owner is


def test_backups_that_are_not_there_any_more_are_named_once(store):
    """Pruned, or hidden: until the next backup nobody can tell."""
    for number in range(8):
        back_up(store, {"a": noise(2000, number)})
    refs = opened(store).catalog.refs()
    for ref in refs[:6]:
        store.delete(f"{ROOT}manifests/{ref.name}")
    (finding,) = verify.verify(opened(store), None, None, Quiet()).findings
    assert (finding.severity, finding.what) == ("warning", "chain")
    assert f"{refs[0].id}, {refs[1].id}" in finding.message
    assert finding.message.endswith("and 1 more")
    back_up(store, {"a": noise(2000, 9)})
    assert findings(store) == []


# --- what is fetched ---


def fetched(store: MemoryStore, percent: float | None) -> Counter[str]:
    """How often each object was, by a look at all backups; the kind of each stands before its name."""
    faulty = Faulty(store)
    assert verify.verify(opened(faulty), None, percent, Quiet()).ok
    return Counter(name.removeprefix(ROOT) for verb, name in faulty.calls if verb == "get")


def most(fetches: Counter[str], kind: str) -> int:
    return max(times for name, times in fetches.items() if name.startswith(kind))


def test_an_index_that_many_backups_use_is_fetched_once(store):
    catalog = opened(store).catalog
    first, _, third = (catalog.read(ref).manifest.indexes for ref in catalog.refs())
    assert set(first) <= set(third)
    assert most(fetched(store, None), "indexes/") == 1


def test_a_pack_that_many_backups_use_is_read_once_and_its_index_twice(store):
    fetches = fetched(store, 100)
    assert most(fetches, "packs/") == 1
    assert most(fetches, "indexes/") == 2
    read = {name for name in fetches if name.startswith("packs/")}
    assert read == {stored.name.removeprefix(ROOT) for stored in store.list(f"{ROOT}packs/")}


def test_of_a_share_of_the_packs_no_other_is_read(store):
    stored = list(store.list(f"{ROOT}packs/"))
    fetches = fetched(store, 100 / len(stored))
    assert sum(times for name, times in fetches.items() if name.startswith("packs/")) == 1


def test_an_index_that_is_spoiled_is_fetched_once_and_told_of_every_backup_that_needs_it(store):
    catalog = opened(store).catalog
    (shared, *_) = catalog.read(catalog.refs()[0]).manifest.indexes
    name = f"{ROOT}indexes/{shared.sha256}.age"
    store.objects[name] = b"spoiled"
    watched = Faulty(store)
    report = verify.verify(opened(watched), None, 100, Quiet())
    assert [finding.what for finding in report.findings] == [f"backup {ref.id}" for ref in catalog.refs()]
    assert watched.calls.count(("get", name)) == 1


def test_an_index_that_is_spoiled_while_packs_are_read_is_found(store):
    catalog = opened(store).catalog
    (shared, *_) = catalog.read(catalog.refs()[0]).manifest.indexes
    name = f"{ROOT}indexes/{shared.sha256}.age"
    fetches: list[str] = []

    def second_time(call: Call) -> Fault | None:
        fetches.extend([name] if (call.verb, call.name) == ("get", name) else [])
        return Fault.truncate if call.name == name and len(fetches) == 2 else None

    report = verify.verify(opened(Faulty(store, second_time)), None, 100, Quiet())
    assert [finding.what for finding in report.findings] == [f"index {shared.sha256[:12]}…"]


def test_what_backups_say_of_others_is_not_asked_for(store):
    """Nor does it spoil a restore of theirs."""
    shelf, last = Shelf(store, OWNER), opened(store).catalog.tip()
    kept = (*last.manifest.kept, last.ref)
    bad = shelf.put(replace(last.manifest, sequence=4, parents=(last.ref,), kept=kept, history=("nonsense",)))
    shelf.put_head(shelf.put(replace(last.manifest, sequence=5, parents=(bad,), kept=(*kept, bad))))
    assert not [what for severity, what in findings(store) if severity == "error"]
    assert restored(store, bad.id) == restored(store)


def test_what_was_odd_where_a_backup_was_chosen_is_a_finding(store):
    store.put(f"{ROOT}manifests/{9:010d}-{'0' * 64}.age", b"junk")
    latest = opened(store).catalog.latest()
    report = verify.verify(opened(store), latest, None, Quiet())
    assert report.ok
    assert [finding.severity for finding in report.findings] == ["warning"]
    assert "manifest 9-00000000 was passed over" in report.findings[0].message


def test_a_pack_that_stands_in_two_indexes_is_read_once(shelf: Shelf):
    """As after a merge of indexes."""
    one, two = shelf.pack([b"one"]), shelf.pack([b"two"])
    document = json.dumps({"chunk_key": shelf.writer.chunk_key.hex()}).encode()
    sealed = base64.b64encode(age.seal(compression.compress(document), shelf.recipients)).decode()
    refs: list[ManifestRef] = []
    for packs in ([one], [one, two]):
        streams = (stream_of([(0, row, 3) for row in range(len(packs))]),)
        named = {"indexes": (shelf.put_index(*packs),), "sources": (SourceRecord(FACTS, streams),), "sealed": sealed}
        refs.append(shelf.add(refs, kept=tuple(refs), **named))
    faulty = Faulty(shelf.root)
    report = verify.verify(open_writer(shelf.owner, 1, faulty), None, 100, Quiet())
    assert (report.findings, report.backups, report.packs, report.bytes_read) == ((), 2, 2, one.size + two.size)
    assert sum(verb == "get" and "/packs/" in name for verb, name in faulty.calls) == 2
