"""The catalog: the newest backup is found, whatever was added to, hidden in or left out of its store; or it says so."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import age, catalog, documents, holdings, records
from dwebbackup.catalog import HEAD
from dwebbackup.errors import Damaged, KeyForbids, NoSuchBackup, ObjectMissing, StoreUnreachable, ToolMissing
from dwebbackup.manifest import Index, ManifestRef, SourceRecord, Streams, index_path
from faulty import Call, Fault, Faulty, flipped
from shelf import FACTS, OWNER, STRANGER, Shelf, digest_of, moment, signer_of, stream_of

THIEF = signer_of(OWNER.writer(1), STRANGER.sign_seed)
"""Can write to the store, knows whom to seal to, and cannot sign."""


def path_of(ref: ManifestRef) -> str:
    return f"manifests/{ref.name}"


# --- what is newest ---


def test_a_store_without_manifests_has_no_newest(shelf: Shelf):
    newest = shelf.catalog().newest()
    assert (newest.tips, newest.refs, newest.doubts) == ((), (), ())
    with pytest.raises(NoSuchBackup):
        shelf.catalog().latest()


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_end_of_a_chain_is_newest(shelf: Shelf, length):
    refs = shelf.chain(length)
    newest = shelf.catalog().newest()
    assert [tip.ref for tip in newest.tips] == refs[-1:]
    assert list(newest.refs) == refs
    assert newest.doubts == ()
    latest = shelf.catalog().latest()
    assert latest.manifest.sequence == length
    assert latest.size == len(shelf.store.get(path_of(refs[-1])))


def test_of_a_long_chain_only_the_end_is_read(shelf: Shelf):
    shelf.chain(9)
    store = Faulty(shelf.store)
    shelf.catalog(store).latest()
    assert sorted(store.calls) == [("get", HEAD), ("get", path_of(shelf.catalog().refs()[-1])), ("list", "manifests/")]


def test_a_backup_that_was_killed_before_its_head_counts(shelf: Shelf):
    first = shelf.add()
    second = shelf.put(shelf.manifest([first]))
    assert shelf.catalog().latest().ref == second
    shelf.store.delete(HEAD)
    assert shelf.catalog().latest().ref == second


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_backup_that_ends_while_another_machine_looks_is_no_alarm(shelf: Shelf, number):
    """It ends before the first, second or third call that looking takes."""
    refs = shelf.chain(2)

    def finish_another(call: Call) -> None:
        if call.number == number:
            refs.append(shelf.add(refs[-1:]))

    newest = shelf.catalog(Faulty(shelf.store, finish_another)).newest()
    assert len(refs) == 3
    assert [tip.ref for tip in newest.tips] in ([refs[1]], [refs[2]])


# --- forks ---


def fork(shelf: Shelf) -> tuple[ManifestRef, ManifestRef]:
    """Two machines wrote at once, after one backup."""
    first = shelf.add()
    return shelf.add([first], run="one"), shelf.add([first], run="two")


def test_two_machines_that_wrote_at_once_leave_two_tips(shelf: Shelf):
    one, two = fork(shelf)
    assert {tip.ref for tip in shelf.catalog().newest().tips} == {one, two}


def test_latest_refuses_to_choose_between_two_tips_and_names_both(shelf: Shelf):
    one, two = fork(shelf)
    with pytest.raises(Damaged) as refused:
        shelf.catalog().latest()
    assert one.id in str(refused.value)
    assert two.id in str(refused.value)
    for ref in (one, two):
        assert shelf.catalog().find(ref.id).ref == ref


def test_a_later_backup_that_saw_both_heals_a_fork(shelf: Shelf):
    healed = shelf.add(fork(shelf))
    assert healed.sequence == 3
    assert shelf.catalog().latest().ref == healed
    after = shelf.add([healed])
    assert shelf.catalog().latest().ref == after


def test_a_later_backup_that_saw_only_one_leaves_the_other_a_tip(shelf: Shelf):
    one, two = fork(shelf)
    third = shelf.add([one])
    fourth = shelf.add([third])
    assert {tip.ref for tip in shelf.catalog().newest().tips} == {fourth, two}


@given(st.lists(st.sets(st.integers(0, 9), max_size=3), min_size=1, max_size=8))
def test_the_tips_are_what_no_other_names_as_its_parent(history):
    """In any history, however many machines wrote at once and whatever each of them saw."""
    shelf, refs, named = Shelf(), [], set()
    for number, seen in enumerate(history):
        parents = list(dict.fromkeys(refs[at % len(refs)] for at in sorted(seen))) if refs else []
        refs.append(shelf.put(shelf.manifest(parents, run=f"run {number}")))
        named |= set(parents)
    assert {tip.ref for tip in shelf.catalog().newest().tips} == set(refs) - named


def gets(store: Faulty) -> list[str]:
    """Which manifests were fetched."""
    return [name for verb, name in store.calls if verb == "get" and name != HEAD]


def test_a_healed_fork_costs_nothing_later(shelf: Shelf):
    sides = fork(shelf)
    refs = shelf.catalog().refs()
    refs.append(shelf.add(sides, kept=tuple(refs)))
    for _ in range(5):
        refs.append(shelf.add(refs[-1:], kept=tuple(refs)))
    store = Faulty(shelf.store)
    assert shelf.catalog(store).latest().ref == refs[-1]
    assert gets(store) == [path_of(refs[-1])]


def test_junk_among_old_manifests_has_nothing_else_read(shelf: Shelf):
    newest = shelf.chain(9)[-1]
    junk = ManifestRef(3, digest_of("junk"))
    shelf.store.put(path_of(junk), b"junk")
    store = Faulty(shelf.store)
    found = shelf.catalog(store).latest()
    assert found.ref == newest
    assert junk.id in found.doubts[0]
    assert gets(store) == [path_of(newest), path_of(junk)]


def test_a_manifest_that_was_away_while_others_followed_it_is_no_tip_when_it_is_back(shelf: Shelf):
    first, lost = shelf.chain(2)
    third = shelf.add([first, lost], kept=(first,))
    fourth = shelf.add([third], kept=(first, third))
    assert shelf.catalog().latest().ref == fourth


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_the_tips_are_found_whatever_is_left_unread(delays):
    """Each run saw the manifests listed when it began; so many of the last were put while it ran."""
    shelf, refs, parents = Shelf(), [], {}
    for number, delay in enumerate(delays):
        seen = refs[: max(0, len(refs) - delay)]
        named = {parent for ref in seen for parent in parents[ref]}
        tips = [ref for ref in seen if ref not in named]
        ref = shelf.put(shelf.manifest(tips, run=f"run {number}", kept=tuple(seen)))
        parents[ref] = tips
        refs.append(ref)
    expected = set(refs) - {parent for each in parents.values() for parent in each}
    assert {tip.ref for tip in shelf.catalog().newest().tips} == expected


# --- what the head vouches for ---


def test_a_newest_manifest_that_was_deleted_is_an_alarm(shelf: Shelf):
    refs = shelf.chain(3)
    shelf.store.delete(path_of(refs[-1]))
    with pytest.raises(Damaged, match="names backup 3") as alarm:
        shelf.catalog().latest()
    assert refs[-2].id in alarm.value.hint


def test_no_manifests_where_the_head_names_one_is_an_alarm(shelf: Shelf):
    for ref in shelf.chain(2):
        shelf.store.delete(path_of(ref))
    with pytest.raises(Damaged, match="lists none"):
        shelf.catalog().newest()


def test_a_newest_manifest_that_the_store_has_and_does_not_list_is_read_all_the_same(shelf: Shelf):
    refs = shelf.chain(3)
    for hidden in ([refs[-1]], refs):
        store = Faulty(
            shelf.store, at={"list": Fault.hide}, hidden=lambda name, refs=hidden: name in map(path_of, refs)
        )
        newest = shelf.catalog(store).newest()
        assert store.struck
        assert [tip.ref for tip in newest.tips] == [refs[-1]]
        assert "does not list backup 3" in newest.doubts[0]


def test_one_side_of_a_fork_that_the_head_names_is_missed(shelf: Shelf):
    _, two = fork(shelf)
    shelf.store.delete(path_of(two))
    with pytest.raises(Damaged, match="names backup 2"):
        shelf.catalog().latest()


def test_a_newest_manifest_that_was_spoiled_is_an_alarm(shelf: Shelf):
    refs = shelf.chain(2)
    shelf.store.put(path_of(refs[1]), flipped(shelf.store.get(path_of(refs[1])), 4000))
    with pytest.raises(Damaged, match="names backup 2"):
        shelf.catalog().newest()


def test_a_manifest_that_the_head_does_not_know_yet_may_be_spoiled(shelf: Shelf):
    """Its backup never said that it was done."""
    first = shelf.add()
    second = shelf.put(shelf.manifest([first]))
    shelf.store.put(path_of(second), b"cut")
    newest = shelf.catalog().newest()
    assert [tip.ref for tip in newest.tips] == [first]
    assert second.id in newest.doubts[0]
    assert shelf.catalog().latest().doubts == newest.doubts


def test_a_head_behind_the_newest_whose_own_manifest_was_pruned_is_no_alarm(shelf: Shelf):
    first = shelf.add()
    second = shelf.put(shelf.manifest([first]))
    shelf.store.delete(path_of(first))
    assert shelf.catalog().latest().ref == second


@pytest.mark.parametrize("seed", [STRANGER.sign_seed, OWNER.sign_seed, OWNER.writer(2).sign_seed])
def test_a_head_that_somebody_else_signed_is_damaged(shelf: Shelf, seed):
    shelf.put_head(shelf.add(), seed)
    with pytest.raises(Damaged):
        shelf.catalog().newest()


@pytest.mark.parametrize("data", [b"", b"{}", b"\n\n", b"\0" * 1000, b"x" * 100_000])
def test_a_head_that_is_junk_is_damaged(shelf: Shelf, data):
    shelf.add()
    shelf.store.put(HEAD, data)
    with pytest.raises(Damaged):
        shelf.catalog().newest()


# --- what others put there ---


def test_a_forged_newest_manifest_is_passed_over_with_a_doubt(shelf: Shelf):
    """Sealed to the right recipients, after the right parent, signed by another."""
    honest = shelf.chain(2)[-1]
    forged = shelf.put(shelf.manifest([honest]), THIEF)
    newest = shelf.catalog().newest()
    assert [tip.ref for tip in newest.tips] == [honest]
    assert forged.id in newest.doubts[0]
    assert "somebody else" in newest.doubts[0]
    assert shelf.catalog().latest().ref == honest
    with pytest.raises(Damaged):
        shelf.catalog().find(forged.id)


def test_a_forged_manifest_beside_the_newest_is_no_fork(shelf: Shelf):
    first, second = shelf.chain(2)
    shelf.put(shelf.manifest([first], run="forged"), THIEF)
    assert shelf.catalog().latest().ref == second


@pytest.mark.parametrize(
    "junk", [b"", b"junk", age.seal(b"for others", [STRANGER.recipient]), age.seal(b"junk", [OWNER.recipient])]
)
@pytest.mark.parametrize("sequence", [1, 3, 9_999_999_999])
def test_junk_with_a_proper_name_is_passed_over_with_a_doubt(shelf: Shelf, junk, sequence):
    newest = shelf.chain(2)[-1]
    shelf.store.put(path_of(ManifestRef(sequence, records.digest(junk))), junk)
    found = shelf.catalog().newest()
    assert [tip.ref for tip in found.tips] == [newest]
    assert len(found.doubts) == 1


def test_files_that_are_no_manifests_are_not_looked_at(shelf: Shelf):
    newest = shelf.chain(2)[-1]
    for name in ("readme", "0000000009-abc.age", f"0000000009-{digest_of('x')}.age.tmp"):
        shelf.store.put(f"manifests/{name}", b"")
    assert shelf.catalog().newest().tips[0].ref == newest
    assert shelf.catalog().newest().doubts == ()


def test_only_junk_is_not_the_same_as_no_backup(shelf: Shelf):
    shelf.put(shelf.manifest(), THIEF)
    with pytest.raises(NoSuchBackup) as refused:
        shelf.catalog().latest()
    assert "1 manifests are there" in refused.value.hint


def test_a_manifest_under_anothers_name_is_damaged(shelf: Shelf):
    one, two = shelf.chain(2)
    shelf.store.put(path_of(two), shelf.store.get(path_of(one)))
    with pytest.raises(Damaged, match="not what its name says"):
        shelf.catalog().read(two)


def test_a_manifest_under_its_digest_and_another_sequence_is_damaged(shelf: Shelf):
    """An old backup, to be taken for the newest."""
    old, new = shelf.chain(2)
    claimed = ManifestRef(3, old.sha256)
    shelf.store.put(path_of(claimed), shelf.store.get(path_of(old)))
    with pytest.raises(Damaged, match="says that it is"):
        shelf.catalog().read(claimed)
    assert shelf.catalog().latest().ref == new


@pytest.mark.parametrize("sequence", [1, 2, 4, 1000])
def test_a_sequence_that_does_not_follow_its_parents_is_damaged(shelf: Shelf, sequence):
    parents = shelf.chain(2)
    jumping = shelf.put(shelf.manifest(parents, sequence=sequence))
    with pytest.raises(Damaged, match="does not follow"):
        shelf.catalog().read(jumping)


def test_a_manifest_without_parents_is_the_first(shelf: Shelf):
    for sequence in (0, 2):
        with pytest.raises(Damaged):
            shelf.catalog().read(shelf.put(shelf.manifest(sequence=sequence)))


def test_a_manifest_of_another_writer_is_damaged(shelf: Shelf):
    other = Shelf(shelf.root, number=2)
    foreign = other.add()
    shelf.store.put(path_of(foreign), other.store.get(path_of(foreign)))
    with pytest.raises(Damaged, match="somebody else"):
        shelf.catalog().read(foreign)
    claimed = shelf.put(shelf.manifest(writer=other.writer.id))
    with pytest.raises(Damaged, match="says that it is"):
        shelf.catalog().read(claimed)


def test_a_manifest_of_a_newer_format_is_never_passed_over(shelf: Shelf, monkeypatch):
    """Else an old program would restore an old backup, and call it the newest."""
    first = shelf.add()
    with monkeypatch.context() as patch:
        patch.setattr(documents, "FORMAT", 2)
        newer = shelf.put(shelf.manifest([first]))
    with pytest.raises(ToolMissing):
        shelf.catalog().newest()
    with pytest.raises(ToolMissing):  # nor does an old program write on top of what it cannot read
        shelf.catalog().newest_for_writing()
    assert [type(read) for read in shelf.catalog().read_all([first, newer])] == [catalog.Backup, ToolMissing]


# --- a store that fails ---

QUESTIONS = {
    "refs": lambda catalog: catalog.refs(),
    "newest": lambda catalog: catalog.newest(),
    "latest": lambda catalog: catalog.latest(),
    "find": lambda catalog: catalog.find("1"),
    "before": lambda catalog: catalog.before(moment(9)),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("length", [0, 2])
@pytest.mark.parametrize("fault", [Fault.raise_before, Fault.refuse, Fault.break_listing])
def test_a_listing_that_failed_is_never_no_backup(shelf: Shelf, question, length, fault):
    shelf.chain(length)
    store = Faulty(shelf.store, at={"list": fault})
    with pytest.raises(StoreUnreachable):
        QUESTIONS[question](shelf.catalog(store))
    assert store.struck


@pytest.mark.parametrize("question", ["newest", "latest", "find", "before"])
def test_a_manifest_that_cannot_be_fetched_is_never_passed_over(shelf: Shelf, question):
    shelf.chain(2)
    store = Faulty(shelf.store, lambda call: Fault.raise_before if call.name.startswith("manifests/0") else None)
    with pytest.raises(StoreUnreachable):
        QUESTIONS[question](shelf.catalog(store))
    assert store.struck


def test_a_head_that_cannot_be_fetched_is_never_no_head(shelf: Shelf):
    shelf.chain(2)
    store = Faulty(shelf.store, lambda call: Fault.raise_before if call.name == HEAD else None)
    with pytest.raises(StoreUnreachable):
        shelf.catalog(store).newest()


# --- one backup among them ---


def test_a_backup_is_found_by_whatever_it_is_called(shelf: Shelf):
    for ref in shelf.chain(3):
        for name in (str(ref.sequence), ref.id, f"{ref.sequence}-{ref.sha256}", ref.sha256, ref.sha256[:8]):
            assert shelf.catalog().find(name).ref == ref
    assert shelf.catalog().find("latest").ref.sequence == 3


def test_a_name_that_fits_two_backups_is_not_enough(shelf: Shelf):
    one, two = fork(shelf)
    with pytest.raises(NoSuchBackup) as refused:
        shelf.catalog().find("2")
    assert one.id in str(refused.value)
    assert two.id in str(refused.value)


@pytest.mark.parametrize("name", ["", "-", "4", "0", "-1", "1-0000000000", "yesterday", "1e0", "²", "0" * 64, "../1"])
def test_a_name_that_fits_none_says_so(shelf: Shelf, name):
    shelf.chain(3)
    with pytest.raises(NoSuchBackup):
        shelf.catalog().find(name)


def test_seven_digits_of_a_digest_are_too_few(shelf: Shelf):
    with pytest.raises(NoSuchBackup):
        shelf.catalog().find(shelf.add().sha256[:7])


def test_a_backup_is_found_by_its_time(shelf: Shelf):
    refs = shelf.chain(3)
    for when, ref in [(moment(1), refs[0]), (moment(2, 59), refs[1]), (moment(9), refs[2])]:
        assert shelf.catalog().before(when).ref == ref
    with pytest.raises(NoSuchBackup):
        shelf.catalog().before("2026-11-01T02:59:59Z")


def test_a_backup_of_one_source_is_found_by_its_time(shelf: Shelf):
    one = shelf.add()
    other = SourceRecord(replace(FACTS, name="other", snapshot=moment(2)), ())
    two = shelf.add([one], sources=(other,))
    assert shelf.catalog().before(moment(9)).ref == two
    assert shelf.catalog().before(moment(9), "other").ref == two
    assert shelf.catalog().before(moment(9), FACTS.name).ref == one
    with pytest.raises(NoSuchBackup):
        shelf.catalog().before(moment(1), "other")


@pytest.mark.parametrize("sequence", [1, 2, 3, 9_999_999_999])
@pytest.mark.parametrize("seen", [False, True], ids=["new", "listed by a later backup"])
def test_junk_stops_no_search_by_time_and_is_a_doubt(shelf: Shelf, sequence, seen):
    refs = shelf.chain(2)
    junk = ManifestRef(sequence, digest_of("junk"))
    shelf.store.put(path_of(junk), b"junk")
    if seen:
        shelf.add(refs[-1:], kept=shelf.catalog().newest_for_writing().kept)
    found = shelf.catalog().before(moment(2))
    assert found.ref == refs[1]
    assert junk.id in "".join(found.doubts) or sequence <= 2
    oldest = shelf.catalog().before(moment(1))
    assert oldest.ref == refs[0]
    assert junk.id in "".join(oldest.doubts) or sequence == 1


def test_what_a_run_passed_over_it_does_not_vouch_for(shelf: Shelf):
    refs = shelf.chain(2)
    junk = ManifestRef(9, digest_of("junk"))
    shelf.store.put(path_of(junk), b"junk")
    newest = shelf.catalog().newest_for_writing()
    assert junk in newest.refs
    assert newest.kept == tuple(refs)
    shelf.store.put(path_of(refs[1]), b"cut")
    newest = shelf.catalog().newest_for_writing()
    assert newest.lost == refs[1]
    assert newest.kept == tuple(refs)


@pytest.mark.parametrize("vouching", [{"parents": True}, {"kept": True}, {"head": True}], ids=str)
def test_a_spoiled_backup_that_somebody_vouches_for_is_not_passed_over_by_time(shelf: Shelf, vouching):
    first, second = shelf.chain(2)
    shelf.store.put(path_of(second), b"cut")
    if "head" not in vouching:
        third = shelf.put(shelf.manifest([first, second], kept=()))
        if "kept" in vouching:
            shelf.put(shelf.manifest([third], kept=(first, second, third)))
            shelf.store.delete(path_of(third))
        shelf.store.delete(HEAD)
    with pytest.raises(Damaged, match=second.id) as alarm:
        shelf.catalog().before(moment(2))
    assert first.id in alarm.value.hint
    shelf.store.delete(path_of(first))
    with pytest.raises(Damaged, match=second.id):
        shelf.catalog().before(moment(2))


def test_a_newest_backup_that_is_gone_is_missed_by_time(shelf: Shelf):
    first, second = shelf.chain(2)
    shelf.store.delete(path_of(second))
    with pytest.raises(Damaged, match=second.id):
        shelf.catalog().before(moment(9))
    shelf.store.put(HEAD, b"junk")
    found = shelf.catalog().before(moment(9))
    assert found.ref == first
    assert "the head was passed over" in found.doubts[0]


def test_a_search_by_time_stops_where_it_finds_something(shelf: Shelf):
    shelf.chain(25)
    store = Faulty(shelf.store)
    assert shelf.catalog(store).before(moment(25)).ref.sequence == 25
    assert len(gets(store)) < 15


def test_only_a_few_manifests_are_held_at_once(shelf: Shelf):
    refs = shelf.chain(25)
    store = Faulty(shelf.store)
    reads = shelf.catalog(store).read_all(refs)
    assert next(reads).ref == refs[0]
    assert len(gets(store)) < 15
    assert [read.ref for read in reads] == refs[1:]


def test_all_are_read_in_order_each_for_itself(shelf: Shelf):
    refs = shelf.chain(3)
    shelf.store.put(path_of(refs[0]), b"cut")
    shelf.store.delete(path_of(refs[1]))
    reads = shelf.catalog().read_all([*reversed(refs), shelf.put(shelf.manifest(), signer_of(STRANGER.writer(1)))])
    assert [type(read) for read in reads] == [catalog.Backup, ObjectMissing, Damaged, KeyForbids]


def test_manifests_are_read_without_what_they_say_of_others_where_nobody_asks(shelf: Shelf):
    *_, ref = shelf.chain(3)
    whole = shelf.catalog().read(ref)
    assert len(whole.manifest.kept) == 2
    bare = replace(whole, manifest=replace(whole.manifest, kept=()))
    assert shelf.catalog().read(ref, without=holdings.PAST) == bare
    assert list(shelf.catalog().read_all([ref], without=holdings.PAST)) == [bare]


def test_a_backup_that_tells_nonsense_of_others_is_found_by_its_name(shelf: Shelf):
    """`verify` says that it is whole."""
    odd = shelf.add(history=("nonsense",))
    shelf.add([odd], kept=(odd,))
    assert shelf.catalog().find("1").ref == odd
    assert shelf.catalog().before(moment(1)).ref == odd


def test_what_is_worked_on_ahead_weighs_no_more_than_it_may_but_for_the_last():
    begun: list[int] = []

    def items():
        for item in (1, 4, 4, 9, 1, 1, 1, 20, 1):
            begun.append(item)
            yield item

    results = holdings.ahead(lambda item: -item, items(), 9, lambda item: item)
    held = []
    for number, result in enumerate(results):
        assert result == -begun[number]
        held.append(begun[number + 1 :])
    assert held == [[4, 4, 9], [4, 9], [9], [1], [1, 1, 20], [1, 20], [20], [], []]


# --- what a manifest names ---


def test_indexes_come_in_the_manifests_order(shelf: Shelf):
    packs = [shelf.pack([text.encode()]) for text in "abcdefghijkl"]
    refs = [shelf.put_index(pack) for pack in packs]
    indexes = shelf.catalog().indexes(shelf.manifest(indexes=tuple(refs)))
    assert [index.packs for index in indexes] == [(pack,) for pack in packs]


def test_indexes_are_decoded_one_at_a_time_and_only_a_few_wait_for_it(shelf: Shelf, monkeypatch):
    """Decoding takes several times what an index leaves in memory."""
    refs = [shelf.put_index(shelf.pack([text.encode()])) for text in "abcdefghijkl"]
    store = Faulty(shelf.store)
    threads: list[int] = []
    waiting: list[int] = []
    unseal = records.unseal

    def watched(*arguments):
        waiting.append(len(store.calls) - len(threads))
        threads.append(threading.get_ident())
        return unseal(*arguments)

    monkeypatch.setattr(records, "unseal", watched)
    assert len(shelf.catalog(store).indexes(shelf.manifest(indexes=tuple(refs)))) == 12
    assert threads == [threading.get_ident()] * 12
    assert max(waiting) <= holdings.PARALLEL + 1


def test_an_index_that_is_missing_swapped_or_anothers_is_damaged(shelf: Shelf):
    one, two = (shelf.put_index(shelf.pack([text])) for text in (b"a", b"b"))
    forged = shelf.put_index(signer=THIEF)
    foreign = shelf.put_object(Index(OWNER.writer(2).id, ()))
    as_streams = shelf.put_object(Streams(shelf.writer.id, "run", ()))
    shelf.store.put(index_path(two.sha256), shelf.store.get(index_path(one.sha256)))
    missing = replace(one, sha256=digest_of("missing"))
    for ref in (two, forged, foreign, as_streams, missing):
        with pytest.raises(Damaged):
            shelf.catalog().index(ref)
        with pytest.raises(Damaged):
            shelf.catalog().indexes(shelf.manifest(indexes=(one, ref)))


def test_streams_that_stand_elsewhere_are_put_in_their_sources(shelf: Shelf):
    sources = tuple(
        SourceRecord(replace(FACTS, name=name), (stream_of([(0, 0, 5)], path=(name,)),)) for name in ("a", "b")
    )
    whole = shelf.manifest(sources=sources)
    spilled = shelf.put_object(Streams(shelf.writer.id, whole.run, tuple(source.streams for source in sources)))
    bare = replace(whole, sources=tuple(replace(source, streams=()) for source in sources), spilled=spilled)
    assert shelf.catalog().whole(bare) == whole
    assert shelf.catalog().whole(whole) == whole


@pytest.mark.parametrize(
    ("run", "sources"), [("another run", ((), ())), ("run", ()), ("run", ((),)), ("run", ((), (), ()))]
)
def test_streams_of_another_manifest_are_damaged(shelf: Shelf, run, sources):
    spilled = shelf.put_object(Streams(shelf.writer.id, run, sources))
    bare = SourceRecord(FACTS, ())
    with pytest.raises(Damaged, match="belong to another"):
        shelf.catalog().whole(shelf.manifest(run="run", sources=(bare, bare), spilled=spilled))
