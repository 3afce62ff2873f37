"""Fetching: a stream's chunks come in order from whatever packs hold them, and none before it was checked."""

from __future__ import annotations

import os
import subprocess
import sys
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import fetching, records
from dwebbackup.compression import Compressor
from dwebbackup.errors import Damaged, KeyForbids, ObjectMissing, StoreUnreachable
from dwebbackup.fetching import AHEAD, Layout, PackReader, SealedPacks, Span
from dwebbackup.manifest import NAME_SIZE, Index, PackEntry, StreamRecord
from dwebbackup.packing import padding
from dwebbackup.ports import Store
from faulty import Fault, Faulty, flipped
from shelf import OWNER, STRANGER, Shelf, noise, stream_of

Place = tuple[int, int, int]
"""Index, pack in it, chunk in that."""


def chunk_at(place: Place) -> bytes:
    """Every chunk is another, of another length; some compress."""
    index, pack, row = place
    text = f"index {index} pack {pack} row {row}, "
    return (text * 20 if row % 2 else text).encode() + noise(50 + 7 * row, text)


class Shelved:
    """Packs of a given number of chunks each, in indexes, in a store; and whatever streams a test asks for."""

    def __init__(self, sizes: Sequence[Sequence[int]]) -> None:
        self.shelf = Shelf()
        self.places = [
            [(index, pack, row) for pack, rows in enumerate(packs) for row in range(rows)]
            for index, packs in enumerate(sizes)
        ]
        self.packs = [
            [self.shelf.pack([chunk_at((index, pack, row)) for row in range(rows)]) for pack, rows in enumerate(packs)]
            for index, packs in enumerate(sizes)
        ]

    @property
    def indexes(self) -> list[Index]:
        return [Index(self.shelf.writer.id, tuple(packs)) for packs in self.packs]

    def stream(self, places: Sequence[Place], **changes: object) -> StreamRecord:
        rows = [(place[0], self.places[place[0]].index(place), len(chunk_at(place))) for place in places]
        return stream_of(rows, **changes)

    def every_place(self) -> list[Place]:
        return [place for places in self.places for place in places]

    def reader(
        self,
        store: Store | None = None,
        key: bytes | None = None,
        on_disk: int = fetching.ON_DISK,
        threads: int = fetching.NEAR,
    ) -> PackReader:
        chunk_key = key or self.shelf.writer.chunk_key
        layout = Layout(self.indexes)
        return PackReader(store or self.shelf.store, [OWNER.identity], chunk_key, layout, threads, on_disk)

    def path(self, index: int = 0, pack: int = 0) -> str:
        return self.packs[index][pack].path


def released(reader: PackReader, stream: StreamRecord) -> tuple[list[bytes], Exception | None]:
    """The chunks that came out, and what ended them."""
    chunks = []
    with reader:
        try:
            chunks.extend(reader.stream(stream))  # what was yielded before an error stays
        except (Damaged, KeyForbids, StoreUnreachable) as error:
            return chunks, error
    return chunks, None


# --- in order ---

catalogs = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3)


@given(catalogs, st.data())
def test_chunks_come_in_the_streams_order(sizes, data):
    shelved = Shelved(sizes)
    places = data.draw(st.lists(st.sampled_from(shelved.every_place()), max_size=15))
    with shelved.reader() as reader:
        assert list(reader.stream(shelved.stream(places))) == [chunk_at(place) for place in places]


def test_an_empty_stream_needs_no_pack():
    store = Faulty(Shelved([[1]]).shelf.store)
    assert released(Shelved([[1]]).reader(store), stream_of([])) == ([], None)
    assert store.calls == []


def test_several_streams_are_read_at_once():
    shelved = Shelved([[3] * 6, [2] * 5])
    places = shelved.every_place()
    orders = [places, places[::-1], places[::2], places[1::2], places * 2, places[5:] + places[:5]]
    with shelved.reader() as reader, ThreadPoolExecutor(len(orders)) as pool:
        streams = [shelved.stream(order) for order in orders]
        read = list(pool.map(lambda stream: list(reader.stream(stream)), streams))
    assert read == [[chunk_at(place) for place in order] for order in orders]


# --- how often a pack is fetched ---


@pytest.fixture
def few_open(monkeypatch):
    """Only the pack opened last stays open, whatever its size."""
    monkeypatch.setattr(fetching, "OPENED", 1)


def fetched(store: Faulty) -> list[str]:
    return [name for _, name in store.calls]


SCATTERED = [(pack // 3, pack % 3, row) for row in range(4) for pack in range(9)]
"""A stream through nine packs, four times over."""


def scattered() -> Shelved:
    return Shelved([[4, 4, 4]] * 3)


@pytest.mark.usefixtures("few_open")
def test_packs_that_a_stream_comes_back_to_are_fetched_once():
    shelved = scattered()
    store = Faulty(shelved.shelf.store)
    assert released(shelved.reader(store), shelved.stream(SCATTERED)) == ([chunk_at(at) for at in SCATTERED], None)
    assert len(fetched(store)) == 9


@pytest.mark.usefixtures("few_open")
def test_packs_that_several_streams_share_are_fetched_once():
    shelved = scattered()
    store = Faulty(shelved.shelf.store)
    streams = [[at for at in SCATTERED if at[2] == row] for row in range(4)]
    with shelved.reader(store) as reader, ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda places: list(reader.stream(shelved.stream(places))), streams))
    assert read == [[chunk_at(at) for at in places] for places in streams]
    assert sorted(fetched(store)) == sorted(set(fetched(store)))


@pytest.mark.usefixtures("few_open")
def test_with_less_room_than_packs_a_stream_still_comes_back():
    shelved = scattered()
    sizes = [pack.size for packs in shelved.packs for pack in packs]
    for room in (max(sizes) - 1, max(sizes), sum(sizes) // 3, sum(sizes) - 1):
        read = released(shelved.reader(on_disk=room), shelved.stream(SCATTERED))
        assert read == ([chunk_at(at) for at in SCATTERED], None)


@pytest.mark.usefixtures("few_open")
def test_with_no_room_on_disk_packs_are_fetched_again(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "is not there"))
    shelved = scattered()
    store = Faulty(shelved.shelf.store)
    assert released(shelved.reader(store), shelved.stream(SCATTERED)) == ([chunk_at(at) for at in SCATTERED], None)
    assert len(fetched(store)) == len(SCATTERED)


@pytest.mark.usefixtures("few_open")
def test_packs_that_are_used_whole_and_once_never_touch_the_disk(monkeypatch):
    """As in a database's first backup."""
    shelved = scattered()
    kept: list[str] = []
    monkeypatch.setattr(SealedPacks, "put", lambda _, sha256, sealed: kept.append(sha256))
    with shelved.reader() as reader:
        assert len(list(reader.stream(shelved.stream(shelved.every_place())))) == 36
    assert kept == []


def test_the_next_other_packs_are_on_their_way_while_one_pack_comes_again_and_again():
    """A pack that comes again is no other pack: between its spans the next ones are asked for."""
    shelved = Shelved([[4, 1, 1, 1]])
    store = Faulty(shelved.shelf.store)
    old, *new = shelved.packs[0]
    places = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 2, 0), (0, 0, 2), (0, 3, 0), (0, 0, 3)]
    reader = shelved.reader(store)
    with reader:
        next(chunks := reader.stream(shelved.stream(places)))
        asked = set(reader._opened)
        assert asked == {pack.sha256 for pack in (old, *new[:AHEAD])}
        assert len(list(chunks)) == len(places) - 1


def test_of_two_streams_from_far_away_each_has_a_few_packs_ahead_and_both_together_no_more():
    shelved = Shelved([[1] * 20, [1] * 20])
    with shelved.reader(threads=fetching.FAR) as reader:
        first, second = (reader.stream(shelved.stream([(at, pack, 0) for pack in range(20)])) for at in (0, 1))
        next(first)
        assert len(reader._opened) == fetching.FAR
        next(second)
        assert len(reader._opened) == fetching.FAR + AHEAD + 1
        first.close()  # what is left of it takes no room any more
        next(second)
        assert reader._windows[-1].packs == fetching.FAR - 1  # one has been given out


def test_of_spans_in_few_packs_only_so_many_are_looked_at(monkeypatch):
    monkeypatch.setattr(fetching, "AHEAD_SPANS", 4)
    shelved = Shelved([[20, 1]])
    taken: list[Span] = []
    places = [(0, 0, row) for row in range(18, -1, -2)] + [(0, 1, 0)]
    spans = iter(list(Layout(shelved.indexes).spans(shelved.stream(places))))
    with shelved.reader() as reader:
        next(reader._ahead(span for span in spans if not taken.append(span)))
    assert len(taken) == 5


# --- sealed packs on disk ---


def sealed(label: str, size: int) -> tuple[str, bytes]:
    data = noise(size, label)
    return records.digest(data), data


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), max_size=60),
    st.integers(0, 120),
)
def test_sealed_packs_come_back_as_they_were_or_not_at_all(steps, room):
    shelf = SealedPacks(room)
    put: dict[str, bytes] = {}
    for number, size in steps:
        pack = sealed(f"{number} {size}", size)
        shelf.put(*pack)
        put[pack[0]] = pack[1]
        assert all(shelf.get(sha256) == put[sha256] for sha256 in shelf._places)
        assert sum(size for _, size in shelf._places.values()) <= room
        assert shelf.get(pack[0]) == (pack[1] if size <= room else None)
    shelf.close()


def test_the_newest_sealed_packs_are_kept():
    shelf = SealedPacks(100)
    packs = [sealed(str(number), 30) for number in range(10)]
    for pack in packs:
        shelf.put(*pack)
    assert [number for number, (sha256, _) in enumerate(packs) if shelf.get(sha256)] == [7, 8, 9]
    shelf.close()


def test_what_was_changed_on_disk_is_not_given_back():
    shelf = SealedPacks(100)
    sha256, data = sealed("a", 30)
    shelf.put(sha256, data)
    os.pwrite(shelf._file.fileno(), b"!", 17)
    assert shelf.get(sha256) is None
    os.ftruncate(shelf._file.fileno(), 3)
    assert shelf.get(sha256) is None
    shelf.close()


def test_a_disk_that_becomes_full_is_used_as_far_as_it_goes():
    """A child process, since the limit on its files' size stays with it."""
    code = """
import resource, signal
from dwebbackup.fetching import SealedPacks
from dwebbackup.records import digest
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
shelf, packs = SealedPacks(1000), [bytes([number]) * 30 for number in range(8)]
for pack in packs:
    shelf.put(digest(pack), pack)
found = [shelf.get(digest(pack)) for pack in packs]
assert all(data in (None, pack) for data, pack in zip(found, packs))
print([number for number, data in enumerate(found) if data])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[5, 6, 7]\n", "")


def test_the_file_on_disk_has_no_name_and_ends_with_its_reader(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    shelf = SealedPacks()
    sha256, data = sealed("a", 30)
    shelf.put(sha256, data)
    assert shelf.get(sha256) == data
    assert list(tmp_path.iterdir()) == []
    file = shelf._file
    shelf.close()
    assert file.closed


# --- what a store may do to packs ---

SIZES = [[2, 2, 2]]
BROKEN = 1
"""The pack in the middle of `SIZES` is spoiled; before it are two good chunks."""


def missing(shelved: Shelved) -> None:
    shelved.shelf.store.delete(shelved.path(0, BROKEN))


def cut(shelved: Shelved) -> None:
    path = shelved.path(0, BROKEN)
    shelved.shelf.store.put(path, shelved.shelf.store.get(path)[:-1])


def empty(shelved: Shelved) -> None:
    shelved.shelf.store.put(shelved.path(0, BROKEN), b"")


def longer(shelved: Shelved) -> None:
    path = shelved.path(0, BROKEN)
    shelved.shelf.store.put(path, shelved.shelf.store.get(path) + b"\0")


def bit_flipped(shelved: Shelved) -> None:
    path = shelved.path(0, BROKEN)
    shelved.shelf.store.put(path, flipped(shelved.shelf.store.get(path), 3000))


def swapped_with_another(shelved: Shelved) -> None:
    store, (one, two) = shelved.shelf.store, (shelved.path(0, BROKEN), shelved.path(0, 2))
    first, second = store.get(one), store.get(two)
    store.put(one, second)
    store.put(two, first)


@pytest.mark.parametrize("spoil", [missing, cut, empty, longer, bit_flipped, swapped_with_another])
def test_a_spoiled_pack_ends_the_stream_before_its_first_chunk(spoil: Callable[[Shelved], None]):
    shelved = Shelved(SIZES)
    spoil(shelved)
    chunks, error = released(shelved.reader(), shelved.stream(shelved.every_place()))
    assert chunks == [chunk_at((0, 0, row)) for row in range(2)]
    assert isinstance(error, Damaged)
    assert isinstance(error, ObjectMissing) == (spoil is missing)
    assert shelved.packs[0][BROKEN].sha256[:12] in str(error)


def test_every_changed_byte_of_a_pack_is_noticed():
    shelved = Shelved([[1]])
    stream, sealed = shelved.stream([(0, 0, 0)]), shelved.shelf.store.get(shelved.path())
    for at in range(0, len(sealed), 7):
        shelved.shelf.store.put(shelved.path(), flipped(sealed, at * 8 + at % 8))
        chunks, error = released(shelved.reader(), stream)
        assert (chunks, type(error)) == ([], Damaged)


@pytest.mark.parametrize("fault", [Fault.raise_before, Fault.refuse])
def test_a_store_that_does_not_answer_is_not_a_missing_pack(fault):
    shelved = Shelved(SIZES)
    store = Faulty(shelved.shelf.store, lambda call: fault if call.name == shelved.path(0, BROKEN) else None)
    chunks, error = released(shelved.reader(store), shelved.stream(shelved.every_place()))
    assert isinstance(error, StoreUnreachable)
    assert chunks == [chunk_at((0, 0, row)) for row in range(2)]


def test_packs_of_others_are_forbidden():
    shelved = Shelved([[1]])
    shelved.packs[0][0] = shelved.shelf.pack([chunk_at((0, 0, 0))], [STRANGER.recipient])
    chunks, error = released(shelved.reader(), shelved.stream([(0, 0, 0)]))
    assert (chunks, type(error)) == ([], KeyForbids)


# --- what an index may say ---


def lie(pack: PackEntry, field: str, row: int, by: int) -> PackEntry:
    """*pack* with one number or one name changed."""
    if field == "plain":
        return replace(pack, plain=pack.plain + by)
    if field == "names":
        names = bytearray(pack.names)
        names[row * NAME_SIZE + by % NAME_SIZE] ^= 1
        return replace(pack, names=bytes(names))
    changed = array("I", getattr(pack, field))
    changed[row] = max(0, changed[row] + by)
    return replace(pack, **{field: changed})


@given(
    st.sampled_from(["lengths", "frames", "names", "plain"]),
    st.integers(0, 2),
    st.one_of(st.integers(-60, 60), st.integers(-5000, 5000), st.just(1 << 30)).filter(bool),
)
def test_whatever_an_index_says_only_true_chunks_are_released(field, row, by):
    shelved = Shelved([[3]])
    shelved.packs[0][0] = lie(shelved.packs[0][0], field, row, by)
    chunks, error = released(shelved.reader(), shelved.stream(shelved.every_place()))
    assert isinstance(error, Damaged)
    assert chunks == [chunk_at((0, 0, at)) for at in range(len(chunks))]
    assert len(chunks) <= row


def test_an_index_that_says_two_names_the_wrong_way_round_is_noticed():
    shelved = Shelved([[2]])
    pack = shelved.packs[0][0]
    shelved.packs[0][0] = replace(pack, names=pack.name(1) + pack.name(0))
    assert released(shelved.reader(), shelved.stream(shelved.every_place()))[0] == []


def test_a_chunk_with_the_right_length_and_another_content_is_noticed():
    """A pack that somebody made who knows whom to seal to, but not the key of the names."""
    shelved = Shelved([[1]])
    other = b"x" * len(chunk_at((0, 0, 0)))
    (frame,) = Compressor().frames([memoryview(other)])
    forged = shelved.shelf.put_pack(frame + padding(len(frame), 1 << 20), [other], [frame])
    shelved.packs[0][0] = replace(forged, names=shelved.packs[0][0].names)
    chunks, error = released(shelved.reader(), shelved.stream([(0, 0, 0)]))
    assert (chunks, type(error)) == ([], Damaged)


def test_names_made_with_another_key_are_noticed():
    shelved = Shelved([[1]])
    assert released(shelved.reader(key=bytes(32)), shelved.stream([(0, 0, 0)]))[0] == []


@pytest.mark.parametrize("field", ["chunks", "bytes"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_stream_that_is_not_as_long_as_its_manifest_says_has_no_proper_end(field, by):
    shelved = Shelved([[3]])
    honest = shelved.stream(shelved.every_place())
    wrong = replace(honest, **{field: getattr(honest, field) + by})
    chunks, error = released(shelved.reader(), wrong)
    assert isinstance(error, Damaged)
    assert len(chunks) == 3


@pytest.mark.parametrize("runs", [(0, 0, 4), (1, 0, 1), (0, 3, 1), (0, 0, 3, 0, 0, 1)])
def test_a_stream_that_leaves_its_indexes_is_damaged_before_anything_is_fetched(runs):
    shelved = Shelved([[3]])
    store = Faulty(shelved.shelf.store)
    chunks, error = released(shelved.reader(store), replace(stream_of([]), runs=runs))
    assert (chunks, type(error), store.calls) == ([], Damaged, [])


# --- the layout ---


def test_runs_are_cut_where_packs_end():
    shelved = Shelved([[2, 3], [4]])
    one, two, three = (pack for packs in shelved.packs for pack in packs)
    places = [(0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 2), (1, 0, 3)]
    assert list(Layout(shelved.indexes).spans(shelved.stream(places))) == [
        Span(one, 1, 1),
        Span(two, 0, 2),
        Span(three, 2, 2),
    ]


def test_packs_without_chunks_are_passed_over():
    shelved = Shelved([[1, 1]])
    one, two = shelved.packs[0]
    none = replace(one, names=b"", lengths=array("I"), frames=array("I"))
    layout = Layout([Index("w", (none, one, none, none, two, none))])
    assert list(layout.spans(stream_of([(0, 0, 1), (0, 1, 1)]))) == [Span(one, 0, 1), Span(two, 0, 1)]


# --- a pack by itself ---


def test_checking_a_pack_reads_all_of_it():
    shelved = Shelved([[3]])
    pack = shelved.packs[0][0]
    with shelved.reader() as reader:
        assert reader.check(pack) == sum(pack.lengths)
        for row in range(3):
            with pytest.raises(Damaged):
                reader.check(lie(pack, "names", row, 1))
