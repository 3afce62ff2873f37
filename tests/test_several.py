"""Backups in several stores at once: when they count, what they say of a store that missed, and back from any of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dwebbackup import needs
from dwebbackup.access import open_store
from dwebbackup.errors import Damaged, DwebbackupError, StoreUnreachable
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import cid_of
from dwebbackup.manifest import Index, ManifestRef, Restoration, StoreNote, pack_path, restoration_path
from dwebbackup.ports import Member, Store, StoreTraits
from dwebbackup.records import signer_of
from dwebbackup.stores.mirrored import Mirrored
from faulty import Fault, Faulty, MemoryStore, dead_from
from synthetic import OWNER, ROOT, WRITER, back_up, names, noise, opened, restored, small_pieces

ONE = {"rows": noise(120_000, 1)}
TWO = {"rows": noise(120_000, 1) + noise(60_000, 2)}


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_pieces():
        yield


def both(one: Store, two: Store, *, required: bool = True) -> Mirrored:
    return Mirrored([Member(one), Member(two, required)])


def packs_of(store: Store, done) -> list:
    indexes: list[Index] = opened(store).catalog.indexes(done.backup.manifest)
    return [pack for index in indexes for pack in index.packs]


def test_every_required_store_alone_gives_it_back():
    one, two = MemoryStore("one"), MemoryStore("two")
    done = back_up(both(one, two), ONE)
    assert done.doubts == ()
    assert one.objects == two.objects
    for store in (one, two, both(one, two), both(two, MemoryStore("empty"))):
        assert restored(store) == ONE
    assert done.backup.manifest.stores == (StoreNote("one", "memory://one"), StoreNote("two", "memory://two"))


def test_a_backup_fails_without_a_required_store():
    one, two = MemoryStore("one"), MemoryStore("two")
    with pytest.raises(StoreUnreachable):
        back_up(both(one, Faulty(two, dead_from(1))), ONE)
    assert names(one, "manifests/") == set()


def test_a_backup_goes_on_without_a_store_that_is_not_required_and_says_so():
    one, two = MemoryStore("one"), MemoryStore("two")
    done = back_up(both(one, Faulty(two, at={"put": Fault.raise_before}), required=False), ONE)
    assert [doubt for doubt in done.doubts if "store two" in doubt]
    notes = {note.name: (note.required, note.complete) for note in done.backup.manifest.stores}
    assert notes == {"one": (True, True), "two": (False, False)}
    assert {pack.missed for pack in packs_of(one, done)} == {("two",)}
    assert restored(one) == ONE


def test_every_pack_index_and_manifest_has_its_cid():
    store = MemoryStore()
    done = back_up(store, ONE)
    for pack in packs_of(store, done):
        assert pack.links == (f"ipfs://{cid_of(store.objects[ROOT + pack.path]).text}",)
    for ref in done.backup.manifest.indexes:
        assert ref.links == (f"ipfs://{cid_of(store.objects[f'{ROOT}indexes/{ref.sha256}.age']).text}",)
    again = back_up(store, TWO)
    (before,) = again.backup.manifest.history
    assert before.links == done.backup.links
    assert before.links[0] == f"ipfs://{cid_of(store.objects[f'{ROOT}manifests/{done.backup.ref.name}']).text}"
    head = opened(store).catalog.head()
    assert head.manifest.links == again.backup.links


class Answering(MemoryStore):
    """Answers with links of its own, as gateways to networks do."""

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        super().put(name, data)
        return (f"place://here/{name}", f"sia://{skylink_of(data).text}")


def test_links_that_name_no_place_are_recorded_with_the_pack():
    store = Answering()
    done = back_up(store, ONE)
    for pack in packs_of(store, done):
        data = store.objects[ROOT + pack.path]
        assert pack.links == (f"ipfs://{cid_of(data).text}", f"sia://{skylink_of(data).text}")
    assert done.links[0].startswith("place://")


def test_a_chunk_is_known_only_when_every_required_store_has_its_pack():
    one, two = MemoryStore("one"), MemoryStore("two")
    done = back_up(both(one, two), ONE)
    lost = packs_of(one, done)[0]
    two.delete(f"{ROOT}{pack_path(lost.sha256)}")
    one.put(f"{ROOT}{pack_path(lost.sha256)}", bytes(lost.size))  # listed as it should be, and nothing to copy
    again = back_up(both(one, two), ONE)
    assert again.bytes_stored > lost.size
    for store in (one, two):
        assert restored(store) == ONE


def test_what_a_store_that_is_not_required_lacks_stays_known():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two, required=False), ONE)
    away = both(one, Faulty(two, dead_from(1)), required=False)
    assert back_up(away, TWO).backup.manifest.packs > 0
    assert back_up(both(one, Faulty(two, dead_from(1)), required=False), TWO).backup.manifest.packs == 0


def test_a_first_backup_wants_to_hear_from_every_store():
    """One that is new, or was wiped, beside one that is away: that may have all the others."""
    with pytest.raises(StoreUnreachable):
        back_up(both(MemoryStore("one"), Faulty(MemoryStore("two"), dead_from(1)), required=False), ONE)


def test_a_portal_that_is_required_has_what_it_gave_a_link_for():
    one = Answering("one")
    portal = MemoryStore("portal", traits=StoreTraits(lists=False, scheme="sia"))
    back_up(both(one, portal), ONE)
    assert back_up(both(one, portal), ONE).backup.manifest.packs == 0
    other = MemoryStore("other", traits=StoreTraits(lists=False, scheme="other"))
    assert back_up(both(one, other), ONE).backup.manifest.packs > 0


def test_the_newest_of_several_heads_counts():
    """One store was away for a backup, or was rolled back."""
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two), ONE)
    before = two.copy()
    back_up(both(one, two), TWO)
    for order in (both(one, before), both(before, one)):
        found = opened(order).catalog.latest()
        assert found.ref.sequence == 2
        assert found.doubts == ()
        assert restored(order) == TWO


def test_a_head_that_is_spoiled_in_one_store_is_read_from_the_other():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two), ONE)
    one.objects[f"{ROOT}head.json"] = b"nonsense"
    assert opened(both(one, two)).catalog.head().sequence == 1
    assert restored(both(one, two)) == ONE


def test_with_one_of_two_required_stores_down_everything_comes_back_for_certain():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two), ONE)
    for half in (both(one, Faulty(two, dead_from(1))), both(Faulty(one, dead_from(1)), two)):
        (writer,) = open_store(OWNER, half)
        found = writer.catalog.latest()
        assert found.doubts == ()
        assert restored(half) == ONE


def test_with_every_required_store_down_there_may_be_something_newer():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two, required=False), ONE)
    rest = both(Faulty(one, at={"list": Fault.raise_before}), two, required=False)
    (doubt,) = opened(rest).catalog.latest().doubts
    assert "there may be newer backups" in doubt


def test_with_every_required_store_lost_the_words_still_open_what_another_has():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two, required=False), ONE)
    (writer,) = open_store(OWNER, both(Faulty(one, dead_from(1)), two, required=False))
    (doubt,) = writer.catalog.latest().doubts
    assert "there may be newer backups" in doubt


def test_nothing_found_with_a_store_down_is_never_nothing():
    down = both(MemoryStore("one"), Faulty(MemoryStore("two"), dead_from(1)))
    with pytest.raises(StoreUnreachable):
        open_store(OWNER, down)
    with pytest.raises(StoreUnreachable):
        opened(down).catalog.refs()


def test_a_pack_that_is_spoiled_in_one_store_comes_from_the_other():
    one, two = MemoryStore("one"), MemoryStore("two")
    done = back_up(both(one, two), ONE)
    for pack in packs_of(one, done):
        one.objects[ROOT + pack.path] = one.objects[ROOT + pack.path][:-1] + b"x"
    assert restored(both(one, two)) == ONE
    with pytest.raises(DwebbackupError):
        restored(one)


def test_wherever_one_of_two_stores_dies_what_was_there_is_restorable_from_the_other():
    """With every call of the second store failing from the n-th on, for every n."""
    base_one, base_two = MemoryStore("one"), MemoryStore("two")
    back_up(both(base_one, base_two), ONE)
    number, whole = 0, False
    while not whole:
        number += 1
        one, two = base_one.copy(), base_two.copy()
        dying = Faulty(two, dead_from(number))
        try:
            back_up(both(one, dying), TWO)
        except DwebbackupError:
            assert dying.struck
        whole = not dying.struck
        for store in (one, two):
            assert restored(store) in (ONE, TWO)
        back_up(both(one, two), TWO)
        assert restored(one) == restored(two) == TWO
    assert number > 10


def test_a_checkpoint_is_cleared_in_every_store():
    one, two = MemoryStore("one"), MemoryStore("two", traits=StoreTraits(deletes=False))
    back_up(both(one, two), ONE)
    assert names(one, "checkpoints/") == set()
    assert {len(two.objects[ROOT + name]) for name in names(two, "checkpoints/")} <= {0}


def test_links_of_a_manifest_are_no_reason_to_call_it_another(monkeypatch):
    """Those that later manifests tell, with the links of networks, against what it says itself."""
    store = Answering()
    for contents in (ONE, TWO, ONE):
        back_up(store, contents)
    newest = opened(store).catalog.newest()
    assert newest.doubts == ()
    assert all(len(each.links) == 2 for each in newest.history)


def test_a_store_that_was_away_is_caught_up_by_the_next_backup():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two, required=False), ONE)
    back_up(both(one, Faulty(two, at={"put": Fault.raise_before}), required=False), TWO)
    with pytest.raises(AssertionError):
        assert restored(two) == TWO
    done = back_up(both(one, two, required=False), TWO)
    assert done.doubts == ()
    assert done.backup.manifest.packs == 0
    assert restored(two) == TWO


def test_a_new_store_is_filled_by_copying_and_nothing_is_stored_anew():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(one, ONE)
    done = back_up(both(one, two), ONE)
    assert done.backup.manifest.packs == 0
    assert restored(two) == ONE


def test_what_was_missed_in_one_run_is_not_told_of_the_next():
    """A sidecar uses the same stores for all its runs."""
    one, two = MemoryStore("one"), MemoryStore("two")
    store = both(one, Faulty(two, at={("put", 1): Fault.raise_before}), required=False)
    assert back_up(store, ONE).doubts
    assert back_up(store, ONE).doubts == ()


# --- what was pruned, and what nobody could tell ---


def drop(store: MemoryStore, done) -> None:
    """As a prune does, of this store alone."""
    store.delete(f"{ROOT}manifests/{done.backup.ref.name}")


@pytest.mark.parametrize("required", [True, False], ids=["and deletes nothing", "and is not required"])
def test_what_was_pruned_does_not_come_back_because_another_store_has_it_still(required: bool):
    one, two = MemoryStore("one"), MemoryStore("two", traits=StoreTraits(deletes=not required))
    first, *_ = [back_up(both(one, two, required=required), contents) for contents in (ONE, TWO)]
    drop(one, first)
    for _ in range(2):
        newest = opened(both(one, two, required=required)).catalog.newest()
        assert first.backup.ref in newest.refs
        assert first.backup.ref not in needs.counting(newest)
        assert back_up(both(one, two, required=required), TWO).doubts == ()
        assert f"manifests/{first.backup.ref.name}" not in names(one)
    assert first.backup.ref not in opened(one).catalog.tip().manifest.kept


def test_what_a_named_store_has_was_not_pruned():
    one, two = MemoryStore("one"), MemoryStore("two")
    first, *_ = [back_up(both(one, two, required=False), contents) for contents in (ONE, TWO)]
    drop(one, first)
    newest = opened(both(one, two, required=False)).catalog.newest()
    assert first.backup.ref in needs.counting(newest, ["two"])


def test_a_required_store_that_lost_everything_is_no_witness():
    one, two = MemoryStore("one"), MemoryStore("two")
    first, *_ = [back_up(both(one, two, required=False), contents) for contents in (ONE, TWO)]
    one.objects.clear()
    newest = opened(both(one, two, required=False)).catalog.newest()
    assert first.backup.ref in needs.counting(newest)
    (doubt,) = opened(both(one, two, required=False)).catalog.latest().doubts
    assert "store one, which must have everything, has no backup" in doubt


def test_a_backup_says_which_store_had_nothing_before_it():
    one, two = MemoryStore("one"), MemoryStore("two")
    assert back_up(both(one, two), ONE).doubts == ()
    two.objects.clear()
    (doubt,) = back_up(both(one, two), ONE).doubts
    assert "store two had no backup, though others have" in doubt
    assert restored(two) == ONE


def test_a_time_or_a_name_is_not_looked_for_in_vain_where_who_must_have_everything_is_away():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two, required=False), ONE)
    back_up(both(one, Faulty(two, at={"put": Fault.raise_before}), required=False), TWO)
    catalog = opened(both(Faulty(one, dead_from(1)), two, required=False)).catalog
    assert any("there may be newer backups" in doubt for doubt in catalog.before("2999-01-01T00:00:00Z").doubts)
    with pytest.raises(StoreUnreachable, match="there is no backup 2 where anybody answers"):
        catalog.find("2")


def test_a_new_writer_is_not_numbered_while_somebody_may_have_it():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(both(one, two, required=False), ONE)
    away = both(Faulty(one, dead_from(1)), two, required=False)
    assert len(open_store(OWNER, away)) == 1
    with pytest.raises(StoreUnreachable):
        open_store(OWNER, away, certain=True)


def test_of_a_restorations_copies_the_good_one_counts():
    one, two = MemoryStore("one"), MemoryStore("two")
    catalog = opened(both(one, two)).catalog
    told = Restoration(WRITER.id, "app", "new", "old", WRITER.id, ManifestRef(1, "ab" * 32), "2026-11-20T03:00:00Z")
    catalog.put_restoration(told, signer_of(WRITER, ()))
    one.put(f"{ROOT}{restoration_path('new')}", b"junk")
    assert catalog.restoration("new") == told
    two.put(f"{ROOT}{restoration_path('new')}", b"junk")
    with pytest.raises(Damaged):
        catalog.restoration("new")
