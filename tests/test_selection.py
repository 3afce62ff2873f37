"""A policy put to the backups in a store: what they say themselves, what they lost, and what a thief says of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dwebbackup import backup, clock, prune, records
from dwebbackup.access import below
from dwebbackup.backup import Options
from dwebbackup.errors import KeyForbids, NoSuchBackup, WrongConfiguration
from dwebbackup.keys import Key
from dwebbackup.manifest import ManifestRef
from dwebbackup.ports import StoreTraits
from dwebbackup.records import Signer
from dwebbackup.retention import parse
from dwebbackup.selection import Selection, select
from faulty import Faulty, MemoryStore
from synthetic import OWNER, ROOT, WRITER, SyntheticSource, back_up, noise, opened, restored
from synthetic import small_pieces as small

DAY = 24 * 3600.0


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """Empty; and it is everywhere as late as it says."""
    store = MemoryStore()
    with small() as patch:
        patch.setattr(clock, "now", lambda: store.now)
        yield store


def nightly(store: MemoryStore, count: int) -> list[ManifestRef]:
    """So many backups, the last a day ago."""
    for number in range(count):
        back_up(store, {"all": noise(3000, 100 + number)})
        store.now += DAY
    return opened(store).catalog.refs()


def selected(store: MemoryStore, policy: str, key: Key = OWNER) -> Selection:
    return select(opened(store, key), parse(policy))


def said(selection: Selection) -> dict[int, str]:
    return {
        each.ref.sequence: f"{'keep' if each.keep else 'drop'}: {'; '.join(each.reasons)}" for each in selection.judged
    }


def test_what_goes_and_what_stays_is_told_and_done(store):
    nightly(store, 5)
    selection = selected(store, "last 2, floor 1")
    assert said(selection) == {
        **dict.fromkeys((1, 2, 3), "drop: not of the last 2"),
        4: "keep: last 2",
        5: "keep: last 2; newest good of synthetic",
    }
    assert (selection.undercut, selection.unread) == ((), ())
    prune.prune(opened(store), selection.plan)
    assert [ref.sequence for ref in opened(store).catalog.refs()] == [4, 5]
    assert restored(store, "4") == {"all": noise(3000, 103)}
    assert {each.keep for each in selected(store, "last 2, floor 1").judged} == {True}


def test_with_a_writer_key_what_is_young_is_spared(store):
    nightly(store, 20)
    found = said(selected(store, "last 1", WRITER))
    assert found[7] == "drop: not of the last 1"
    assert found[8] == "keep: spared: with a writer key nothing of the last 14 days is dropped"


def test_a_source_of_which_too_few_would_stay_is_told(store):
    nightly(store, 3)
    assert selected(store, "last 2").undercut == ("synthetic",)
    assert selected(store, "last 3").undercut == ()


def test_a_backup_that_lost_a_pack_does_not_count(store):
    refs = nightly(store, 6)
    catalog = opened(store).catalog
    (index,) = catalog.indexes(catalog.read(refs[5]).manifest)[-1:]
    store.delete(ROOT + index.packs[0].path)
    found = said(selected(store, "last 2, floor 1"))
    assert found[6] == "keep: not good, and kept for 14d"
    assert (found[5], found[4]) == ("keep: last 2; newest good of synthetic", "keep: last 2")


def test_suspect_backups_do_not_count(store):
    nightly(store, 3)
    for _ in range(3):
        shrunk = [SyntheticSource({"all": b""})]
        done = backup.back_up(shrunk, below(store, WRITER.id), WRITER, Options())
        assert done.suspect
        store.now += DAY
    assert said(selected(store, "last 2, floor 1")) == {
        1: "drop: not of the last 2",
        2: "keep: last 2",
        3: "keep: last 2; newest good of synthetic",
        **dict.fromkeys((4, 5, 6), "keep: not good, and kept for 14d"),
    }


def test_a_manifest_that_cannot_be_read_stays_and_is_told(store):
    refs = nightly(store, 4)
    store.objects[f"{ROOT}manifests/{refs[1].name}"] = b"spoiled"
    selection = selected(store, "last 1, floor 1")
    assert sorted(said(selection)) == [1, 3, 4]
    assert refs[1] in selection.plan.keep
    assert refs[1].id in selection.unread[0]


def test_a_database_that_was_restored_continues_the_history(store):
    """Each lease has a server of its own; else each would leave its last backups for ever."""
    for number in range(4):
        source = SyntheticSource({"all": noise(3000, number)}, identity=f"server:{number}")
        back_up(store, source)  # as one who says that it is the right one
        store.now += DAY
    assert said(selected(store, "last 1, floor 1")) == {
        **dict.fromkeys((1, 2, 3), "drop: not of the last 1"),
        4: "keep: last 1; newest good of synthetic",
    }


def rewritten(store: MemoryStore, **changes: object) -> ManifestRef:
    """A manifest that whoever has the writer key makes of the newest one, and puts behind it."""
    catalog = opened(store).catalog
    newest = catalog.tip()
    signer = Signer(WRITER.sign_seed, WRITER.verify_key, (WRITER.owner_recipient, WRITER.catalog_recipient))
    manifest = replace(newest.manifest, sequence=newest.ref.sequence + 1, parents=(newest.ref,), **changes)
    sealed = records.seal(manifest, signer)
    ref = ManifestRef(manifest.sequence, records.digest(sealed))
    store.put(f"{ROOT}manifests/{ref.name}", sealed)
    return ref


def test_what_a_backup_says_of_others_is_not_believed(store):
    """Else one who stole the writer key calls all old backups suspect, and the owner's next prune drops them."""
    refs = nightly(store, 30)
    catalog = opened(store).catalog
    history = catalog.newest().history
    lies = tuple(
        replace(each, tallies=tuple(replace(tally, suspect=("so he says",)) for tally in each.tallies))
        for each in history
    )
    rewritten(store, history=lies, kept=tuple(refs), finished=clock.iso(store.now))
    assert all(each.keep for each in selected(store, "daily 60").judged)


def test_a_later_word_on_whose_history_it_is_is_not_believed(store):
    """Else he makes one history of two, and each pushes out the other's."""
    nightly(store, 4)
    tally = opened(store).catalog.latest().manifest.tallies[0]
    for follows in ("", "", "", tally.identity):
        other = replace(tally, identity="server:2", follows=follows)
        rewritten(store, tallies=(other,), finished=clock.iso(store.now))
        store.now += DAY
    found = said(selected(store, "last 2, floor 1"))
    assert [number for number, words in found.items() if words.startswith("keep")] == [3, 4, 7, 8]


def test_databases_that_are_said_to_follow_each_other_are_one_history(store):
    nightly(store, 1)
    tally = opened(store).catalog.latest().manifest.tallies[0]
    for one, two in (("a", "b"), ("b", "a")):
        rewritten(store, tallies=(replace(tally, identity=one, follows=two),), finished=clock.iso(store.now))
        store.now += DAY
    assert [each.keep for each in selected(store, "last 1, floor 1").judged] == [True, False, True]


def test_a_time_that_is_none_keeps_a_backup(store):
    nightly(store, 2)
    ref = rewritten(store, finished="the day before yesterday")
    assert said(selected(store, "last 1, floor 1"))[ref.sequence].startswith("keep: times disagree: it says 1970-")


def test_each_writer_keeps_its_newest_good_backup(store):
    """Also where a later one has the same source."""
    nightly(store, 3)
    second = OWNER.writer(2)
    backup.back_up([SyntheticSource({"all": noise(3000)})], below(store, second.id), second, Options())
    assert [each.keep for each in selected(store, "last 1, floor 1").judged] == [False, False, True]


@pytest.mark.parametrize("key", [OWNER, WRITER])
def test_requests_grow_with_the_number_of_backups_and_no_faster(store, key):
    """One for each manifest, whatever becomes of it."""
    counts = {}
    for number in (20, 30):
        nightly(store, number - len(counts) * 20)
        watched = Faulty(store)
        found = select(opened(watched, key), parse("last 5"))
        assert len(found.judged) == number
        assert found.plan.drop
        counts[number] = len(watched.calls)
    assert counts[30] - counts[20] == 10


def test_who_may_not_delete_is_told_before_anything_is_read(store):
    nightly(store, 1)
    watched = Faulty(store)
    with pytest.raises(KeyForbids):
        select(opened(watched, OWNER.reader(1)), parse("last 1"))
    store.traits = StoreTraits(deletes=False)
    with pytest.raises(WrongConfiguration, match="nothing can be pruned"):
        select(opened(watched), parse("last 1"))
    assert watched.calls == []


def test_a_writer_without_backups_has_nothing_to_select(store):
    with pytest.raises(NoSuchBackup):
        selected(store, "last 1")
