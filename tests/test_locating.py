"""Back from a key and networks: what is newest, who is believed, and that what failed is never "no backups"."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dwebbackup import access, backup, clock, heads, identifying, locating, records, restore
from dwebbackup.errors import Damaged, KeyForbids, NoSuchBackup, StoreUnreachable
from dwebbackup.keys import OwnerKey, WriterKey
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import cid_of
from dwebbackup.locating import Located, locate
from elsewhere import Silent, Teller, World, records_of
from faulty import MemoryStore
from shelf import STRANGER, Shelf
from synthetic import OWNER, WRITER, SyntheticSource, SyntheticTarget, back_up, noise, small_pieces

KEYS = WRITER.head_keys


@pytest.fixture(autouse=True)
def _small():
    with small_pieces():
        yield


@pytest.fixture
def store() -> MemoryStore:
    """With two backups; nobody else has it but the world, by its links."""
    store = MemoryStore()
    back_up(store, {"t": noise(100_000)})
    back_up(store, {"t": noise(120_000)})
    return store


def told(sequence: int, data: bytes, writer: WriterKey = WRITER) -> dict[bytes, bytes]:
    """A good record that says that the manifest of that sequence is *data*."""
    record = heads.announcement(writer, sequence, cid_of(data).text, None, clock.now()).ipns_record
    return {writer.head_keys.ipns: record}


def brought_back(located: Located, wanted: str = "latest", number: int = -1) -> bytes:
    opened = located.writers[number]
    target = SyntheticTarget()
    restore.restore(opened, opened.catalog.find(wanted), target, restore.Options())
    assert target.contents
    return target.contents["t"]


def manifests(store: MemoryStore) -> list[bytes]:
    """Oldest first."""
    return [store.objects[name] for name in sorted(store.objects) if "/manifests/" in name]


# --- what is there is found ---


@pytest.mark.parametrize("key", [OWNER, OWNER.reader(1)], ids=["words", "reader"])
def test_the_key_and_one_network_bring_the_newest_backup_back(store, key):
    located = locate(key, World(store).asking(Teller("one", records_of(store))))
    assert brought_back(located) == noise(120_000)
    assert (located.doubts, located.notes, located.lost) == ([], [], {})


def test_older_backups_are_known_by_what_the_newest_one_says_of_them(store):
    located = locate(OWNER, World(store).asking(Teller("one", records_of(store))))
    catalog = located.writers[0].catalog
    assert [ref.sequence for ref in catalog.refs()] == [1, 2]
    assert brought_back(located, "1") == noise(100_000)


def test_a_writer_key_finds_its_backups_and_opens_no_row(store):
    located = locate(WRITER, World(store).asking(Teller("one", records_of(store))))
    assert located.writers[0].catalog.latest().ref.sequence == 2
    with pytest.raises(KeyForbids):
        brought_back(located)


def test_the_words_find_a_later_writer_beyond_numbers_that_left_no_trace(store):
    later = OWNER.writer(1 + access.GAP)
    options = backup.Options(accept=True)
    backup.back_up([SyntheticSource({"t": b"later"})], access.below(store, later.id), later, options)
    located = locate(OWNER, World(store).asking(Teller("one", records_of(store))))
    assert [opened.number for opened in located.writers] == [1, 4]
    assert brought_back(located) == b"later"


def test_nothing_can_be_changed_there(store):
    located = locate(OWNER, World(store).asking(Teller("one", records_of(store))))
    part = located.writers[0].catalog.store
    for change in (lambda: part.put("head.json", b"x"), lambda: part.delete("head.json")):
        with pytest.raises(StoreUnreachable, match="only read here"):
            change()


# --- whom to believe ---


def test_the_highest_sequence_wins_and_who_tells_of_an_older_one_is_named(store):
    first, _ = manifests(store)
    asked = World(store).asking(Teller("stale", told(1, first)), Teller("fresh", records_of(store)))
    located = locate(OWNER, asked)
    assert brought_back(located) == noise(120_000)
    assert located.notes == ["stale still tells of backup 1; 2 is newer"]
    assert located.doubts == []


def test_two_who_have_one_name_are_both_heard(store):
    """A gateway and a router on one host; which of them is the stale one does not matter."""
    first, _ = manifests(store)
    for tellers in (
        [Teller("host", told(1, first)), Teller("host", records_of(store))],
        [Teller("host", records_of(store)), Teller("host", told(1, first))],
    ):
        assert brought_back(locate(OWNER, World(store).asking(*tellers))) == noise(120_000)


def test_what_a_liar_tells_is_passed_over_and_told(store):
    stranger = heads.announcement(STRANGER.writer(1), 99, cid_of(b"junk").text, None, clock.now())
    liar = Teller("liar", {KEYS.ipns: stranger.ipns_record})
    located = locate(OWNER, World(store).asking(liar, Teller("honest", records_of(store))))
    assert brought_back(located) == noise(120_000)
    assert len(located.doubts) == 1
    assert "what liar told was passed over" in located.doubts[0]


def test_who_has_junk_for_every_name_keeps_nobody_asking_for_ever(store):
    class Liar:
        name = "liar"
        asked = 0

        def find(self, keys):
            self.asked += 1
            return heads.told_by_record(b"junk", keys, clock.now(), self.name)

    liar = Liar()
    located = locate(OWNER, World(store).asking(liar, Teller("honest", records_of(store))))
    assert brought_back(located) == noise(120_000)
    assert liar.asked == 1 + access.GAP


def test_an_expired_record_alone_is_damage_and_no_backup_is_brought_back_from_it(store):
    late = clock.now() + heads.VALIDITY + 60
    with pytest.raises(Damaged, match="expired"):
        locate(OWNER, World(store).asking(Teller("late", records_of(store), now=late)))


def test_who_does_not_answer_is_a_note_where_another_one_does(store):
    located = locate(OWNER, World(store).asking(Silent("gone"), Teller("one", records_of(store))))
    assert brought_back(located) == noise(120_000)
    assert [note.partition(",")[0] for note in located.notes] == [
        "gone could not be asked"
    ]  # once, not for each number


def test_nobody_who_knows_and_somebody_who_does_not_answer_is_not_an_absence(store):
    with pytest.raises(StoreUnreachable, match="gone does not answer"):
        locate(OWNER, World(store).asking(Silent("gone"), Teller("empty", {})))


def test_only_when_everybody_knows_of_nothing_there_is_nothing(store):
    with pytest.raises(NoSuchBackup, match="none of one, two knows of a backup of this key"):
        locate(OWNER, World(store).asking(Teller("one", {}), Teller("two", {})))


def test_other_peoples_backups_are_not_found(store):
    with pytest.raises(NoSuchBackup):
        locate(STRANGER, World(store).asking(Teller("one", records_of(store))))


# --- what a head leads to ---


def test_a_head_that_leads_to_what_nobody_has_is_lost_and_the_one_below_is_there(store):
    first, second = manifests(store)
    world = World(store)
    del world.files[f"ipfs://{cid_of(second).text}"]
    located = locate(OWNER, world.asking(Teller("stale", told(1, first)), Teller("fresh", records_of(store))))
    assert [ref.sequence for ref in located.writers[0].catalog.refs()] == [1]
    assert isinstance(located.lost[1], StoreUnreachable)
    assert "what leads to backup 2 is no good" in located.doubts[0]


def test_a_head_that_leads_to_junk_adds_nothing_to_what_is_there(store):
    """Nor can `latest` come to it by a listing."""
    _, second = manifests(store)
    shelf = Shelf(owner=OWNER)
    junk = records.seal(replace(shelf.manifest(), sequence=9), shelf.signer)
    world = World(store)
    world.take([junk])
    located = locate(OWNER, world.asking(Teller("led astray", told(9, junk)), Teller("one", told(2, second))))
    assert [ref.sequence for ref in located.writers[0].catalog.refs()] == [1, 2]
    assert isinstance(located.lost[1], Damaged)
    assert "what leads to backup 9 is no good" in located.doubts[0]


def test_where_nothing_that_heads_lead_to_can_be_had_that_is_the_error(store):
    world = World(store)
    world.files.clear()
    with pytest.raises(StoreUnreachable, match="does not have ipfs://"):
        locate(OWNER, world.asking(Teller("one", records_of(store))))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda shelf: shelf.manifest(), "is 1|says that it is"),
        (lambda shelf: replace(shelf.manifest(), sequence=7, writer="f" * 20), "says that it is"),
        (lambda shelf: replace(shelf.manifest(), sequence=7), "does not follow its parents"),
    ],
    ids=["another sequence", "another writer", "no parents"],
)
def test_a_manifest_that_does_not_fit_its_head_is_not_taken(made, why):
    shelf = Shelf(owner=OWNER)
    sealed = records.seal(made(shelf), shelf.signer)
    world = World()
    world.take([sealed])
    with pytest.raises(Damaged, match=why):
        locate(OWNER, world.asking(Teller("one", told(7, sealed))))


def test_a_manifest_that_somebody_else_signed_is_not_taken():
    """Whoever can sign heads only, and may add to the network, brings nothing back."""
    shelf = Shelf(owner=OWNER)
    thief = STRANGER.writer(1)
    sealed = records.seal(shelf.manifest(), replace(shelf.signer, seed=thief.sign_seed, public=thief.verify_key))
    world = World()
    world.take([sealed])
    with pytest.raises(Damaged, match="signed by somebody else"):
        locate(OWNER, world.asking(Teller("one", told(1, sealed))))


def test_two_machines_that_wrote_at_once_are_both_seen_and_none_is_the_newest(store):
    """A fork: two manifests with one sequence, both of the writer."""
    twin = store.copy()
    back_up(store, {"t": b"here"})
    back_up(twin, {"t": b"there"})
    world = World(store, twin)
    located = locate(OWNER, world.asking(Teller("one", records_of(store)), Teller("two", records_of(twin))))
    catalog = located.writers[0].catalog
    assert [tip.ref.sequence for tip in catalog.newest().tips] == [3, 3]
    with pytest.raises(Damaged, match="two machines wrote at once"):
        catalog.latest()


def test_one_manifest_under_the_links_of_two_networks_is_one_backup(store):
    _, newest = manifests(store)
    announcement = heads.announcement(WRITER, 2, cid_of(newest).text, skylink_of(newest).text, clock.now())
    assert announcement.registry_entry

    class Portal:
        name = "portal"

        def find(self, keys):
            return heads.told_by_entry(*announcement.registry_entry, keys, self.name) if keys == KEYS else None

    located = locate(OWNER, World(store).asking(Teller("one", records_of(store)), Portal()))
    assert [tip.ref.sequence for tip in located.writers[0].catalog.newest().tips] == [2]
    assert brought_back(located) == noise(120_000)


# --- a manifest that is at hand ---


@pytest.mark.parametrize("key", [OWNER, OWNER.reader(1)], ids=["words", "reader"])
def test_a_manifest_alone_brings_its_backup_back(store, key):
    first, _ = manifests(store)
    opened, found = identifying.from_bytes(key, first, World(store).asking().behind)
    target = SyntheticTarget()
    restore.restore(opened, found, target, restore.Options())
    assert target.contents == {"t": noise(100_000)}


def test_which_writer_of_the_words_made_a_manifest_is_found_out():
    shelf = Shelf(owner=OWNER, number=100)
    sealed = records.seal(shelf.manifest(), shelf.signer)
    opened, found = identifying.from_bytes(OWNER, sealed, World().asking().behind)
    assert (opened.number, found.manifest.writer) == (100, OWNER.writer(100).id)


def test_a_manifest_that_none_of_the_words_writers_signed_is_refused():
    shelf = Shelf(owner=OWNER)
    thief = STRANGER.writer(1)
    sealed = records.seal(shelf.manifest(), replace(shelf.signer, seed=thief.sign_seed, public=thief.verify_key))
    with pytest.raises(Damaged, match="signed by none of the writers of these words"):
        identifying.from_bytes(OWNER, sealed, World().asking().behind)


def test_other_peoples_manifest_does_not_open(store):
    with pytest.raises(KeyForbids):
        identifying.from_bytes(STRANGER, manifests(store)[0], World().asking().behind)


@pytest.mark.parametrize("key", [OWNER, WRITER, OWNER.reader(1)], ids=["words", "writer", "reader"])
def test_a_writers_own_names_are_known(key):
    ipns, skynet = identifying.names_of(KEYS)
    assert (ipns[:11], skynet[:6], len(skynet)) == ("ipns://k51q", "sia://", 6 + 46)
    assert identifying.writer_called(key, ipns) == 1
    assert identifying.writer_called(key, skynet) == 1
    elsewhere = identifying.names_of(STRANGER.writer(1).head_keys)
    assert [identifying.writer_called(key, name) for name in elsewhere] == [None, None]


def test_somebody_elses_name_leads_to_a_link():
    """Such as the one that a provider keeps for its customer."""
    provider = OwnerKey(bytes([7] * 32)).writer(1)
    name = identifying.names_of(provider.head_keys)[0]
    teller = Teller("one", told(5, b"a manifest", provider))
    older = Teller("two", told(4, b"an older one", provider))
    assert locating.told_of(name, [older, teller, Silent("gone")]) == f"ipfs://{cid_of(b'a manifest').text}"
    with pytest.raises(StoreUnreachable):
        locating.told_of(name, [Silent("gone"), Teller("empty", {})])
