"""What a key opens: all of an owner's writers and nobody else's, and never "empty" of a store that did not answer."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dwebbackup import age, compression, records
from dwebbackup.access import GAP, below, open_store, open_writer
from dwebbackup.catalog import GENESIS, HEAD
from dwebbackup.errors import Damaged, KeyForbids, NoSuchBackup, StoreUnreachable
from dwebbackup.keys import Key
from dwebbackup.manifest import Genesis
from dwebbackup.ports import StoreTraits
from faulty import Fault, Faulty, MemoryStore
from shelf import OWNER, STRANGER, Shelf, stream_of


def with_writers(*numbers: int, owner=OWNER) -> MemoryStore:
    """A store in which these writers made a backup each."""
    store = MemoryStore()
    for number in numbers:
        Shelf(store, owner, number).add()
    return store


def numbers(key: Key, store) -> list[int]:
    return [opened.number for opened in open_store(key, store)]


# --- the owner ---


@pytest.mark.parametrize(
    "writers", [(1,), (1, 2, 3), (GAP,), (2, 2 + GAP), (1, 1 + GAP, 1 + 2 * GAP), tuple(range(1, 9))]
)
def test_an_owner_finds_every_writer_and_looks_past_gaps(writers):
    assert numbers(OWNER, with_writers(*writers)) == list(writers)


def test_an_owner_stops_looking_after_a_gap():
    assert numbers(OWNER, with_writers(1, 2 + GAP)) == [1]
    with pytest.raises(NoSuchBackup):
        open_store(OWNER, with_writers(1 + GAP))


def test_an_owner_reads_the_rows_and_catalogs_of_each():
    store = with_writers(1, 2)
    for opened in open_store(OWNER, store):
        assert opened.require_rows() == (OWNER.identity,)
        assert opened.catalog.latest().manifest.number == opened.number


@pytest.mark.parametrize("name", [HEAD, GENESIS])
def test_a_writer_without_manifests_that_left_a_trace_is_found(shelf: Shelf, name):
    """Its manifests may be hidden or deleted: that is for the catalog to say."""
    shelf.store.put(name, records.write_line(Genesis(shelf.writer.id, 1, "t"), OWNER.sign_seed))
    assert numbers(OWNER, shelf.root) == [1]
    assert numbers(OWNER.writer(1), shelf.root) == [1]


# --- the other keys ---


def test_a_writer_key_opens_its_own_catalog_and_no_row():
    store = with_writers(1, 2)
    (opened,) = open_store(OWNER.writer(2), store)
    assert opened.number == 2
    assert opened.catalog.latest().manifest.number == 2
    assert opened.identities == ()
    with pytest.raises(KeyForbids):
        opened.require_rows()


def test_a_reader_key_opens_its_own_catalog_and_rows():
    store = with_writers(1, 2)
    (opened,) = open_store(OWNER.reader(1), store)
    assert opened.catalog.latest().manifest.number == 1
    assert opened.require_rows() == (OWNER.reader(1).identity,)
    with pytest.raises(NoSuchBackup, match="opens none of them"):
        open_store(OWNER.reader(3), store)


# --- none ---

KEYS = {"owner": OWNER, "writer": OWNER.writer(1), "reader": OWNER.reader(1)}
every_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


@every_key
def test_an_empty_store_says_that_it_is_empty(key):
    with pytest.raises(NoSuchBackup, match="is empty"):
        open_store(key, MemoryStore())


@every_key
def test_a_store_of_others_says_that_these_words_open_nothing(key):
    with pytest.raises(NoSuchBackup, match="opens none of them") as refused:
        open_store(key, with_writers(1, owner=STRANGER))
    assert "empty" not in str(refused.value)


@every_key
def test_a_first_backup_under_way_is_not_an_empty_store(shelf: Shelf, key):
    shelf.pack([b"rows"])
    with pytest.raises(NoSuchBackup, match="none is complete yet"):
        open_store(key, shelf.root)


@every_key
@pytest.mark.parametrize("fault", [Fault.raise_before, Fault.refuse, Fault.raise_after])
@pytest.mark.parametrize("root", [MemoryStore(), with_writers(1, owner=STRANGER)], ids=["empty", "others"])
def test_a_store_that_does_not_answer_is_never_empty(key, fault, root):
    """Whichever of the calls that looking takes it is."""
    answering = Faulty(root)
    with pytest.raises(NoSuchBackup):
        open_store(key, answering)
    assert len(answering.calls) > 3
    for number in range(1, len(answering.calls) + 1):
        with pytest.raises(StoreUnreachable):
            open_store(key, Faulty(root, at={number: fault}))


@every_key
def test_a_listing_that_breaks_off_is_never_empty(key):
    with pytest.raises(StoreUnreachable):
        open_store(key, Faulty(MemoryStore(), at={"list": Fault.break_listing}))


# --- below a prefix ---


def test_a_writer_sees_its_own_part_of_a_store_and_writes_nowhere_else():
    root = MemoryStore("disk", traits=StoreTraits(deletes=False))
    one, two = below(root, "one"), below(root, "two")
    links = one.put("packs/a", b"1")
    two.put("packs/a", b"22")
    assert (one.name, one.url, one.traits) == (root.name, root.url, root.traits)
    assert links == (f"{root.url}/w/one/packs/a",)
    assert sorted(root.objects) == ["w/one/packs/a", "w/two/packs/a"]
    assert (one.get("packs/a"), two.get("packs/a")) == (b"1", b"22")
    assert (one.head("packs/a").name, two.head("packs/a").size) == ("packs/a", 2)
    assert [stored.name for stored in one.list("")] == ["packs/a"]
    one.delete("packs/a")
    assert [stored.name for stored in root.list("")] == ["w/two/packs/a"]


# --- the key of the chunk names ---


def sealed_part(document: object, recipients=(OWNER.recipient,)) -> str:
    return base64.b64encode(age.seal(compression.compress(json.dumps(document).encode()), recipients)).decode()


def with_sealed(shelf: Shelf, sealed: str):
    return replace(shelf.manifest(), sealed=sealed)


def test_a_reader_gets_rows_through_its_key(shelf: Shelf):
    chunks = [b"one", b"two"]
    index = shelf.put_index(shelf.pack(chunks))
    sealed = sealed_part({"chunk_key": shelf.writer.chunk_key.hex()}, shelf.recipients)
    whole = replace(with_sealed(shelf, sealed), indexes=(index,))
    stream = stream_of([(0, 0, 3), (0, 1, 3)])
    for key in (OWNER, OWNER.reader(1)):
        with open_writer(key, 1, shelf.root).packs(whole) as packs:
            assert list(packs.stream(stream)) == chunks
    with pytest.raises(KeyForbids):
        open_writer(OWNER.writer(1), 1, shelf.root).packs(whole)


class Meeting(MemoryStore):
    """Gives no pack before *number* are asked for at the same time."""

    def __init__(self, number: int, distance: int) -> None:
        super().__init__(traits=StoreTraits(distance=distance))
        self.number, self.inside, self.most = number, 0, 0
        self._meeting = threading.Barrier(number)
        self._lock = threading.Lock()

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        if "/packs/" not in name:
            return super().get(name, links)
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self._meeting.wait(60)
        with self._lock:
            self.inside -= 1
        return super().get(name, links)


@pytest.mark.parametrize(("distance", "number"), [(0, 3), (1, 3), (2, 8), (3, 8)])
def test_packs_are_fetched_so_many_at_once_and_more_from_far_away(distance: int, number: int):
    store = Meeting(number, distance)
    shelf = Shelf(store)
    chunks = [f"{at:02}".encode() for at in range(3 * number)]
    index = shelf.put_index(*(shelf.pack([chunk]) for chunk in chunks))
    sealed = sealed_part({"chunk_key": shelf.writer.chunk_key.hex()}, shelf.recipients)
    whole = replace(with_sealed(shelf, sealed), indexes=(index,))
    with open_writer(OWNER, 1, store).packs(whole) as packs:
        assert list(packs.stream(stream_of([(0, at, 2) for at in range(len(chunks))]))) == chunks
    assert store.most == number


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "not base64!",
        base64.b64encode(b"junk").decode(),
        sealed_part({}),
        sealed_part([]),
        sealed_part({"chunk_key": 1}),
        sealed_part({"chunk_key": "zz"}),
        sealed_part({"chunk_key": "00" * 31}),
        sealed_part({"chunk_key": "00" * 33}),
        sealed_part({"chunk_key": "00" * 32, "more": "x" * (1 << 17)}),
    ],
    ids=range(10),
)
def test_a_part_for_readers_that_is_spoiled_is_damaged(shelf: Shelf, sealed):
    with pytest.raises(Damaged):
        open_writer(OWNER, 1, shelf.root).chunk_key(with_sealed(shelf, sealed))


def test_a_part_for_other_readers_is_forbidden(shelf: Shelf):
    with pytest.raises(KeyForbids):
        open_writer(OWNER, 1, shelf.root).chunk_key(with_sealed(shelf, sealed_part({}, [STRANGER.recipient])))
