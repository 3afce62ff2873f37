"""Which backups are good, and which of them is the newest: what a line of backups says about databases that come and go."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import backup, lineage, records
from dwebbackup.access import below
from dwebbackup.errors import Damaged, NoSuchBackup
from dwebbackup.manifest import Restoration, StreamRecord, Summary, Tally, restoration_path
from faulty import MemoryStore
from shelf import digest_of
from synthetic import OWNER, WRITER, Contents, SyntheticSource, noise, opened

HALF = 0.5


def found(identity: str = "a", rows: int = 1000, tables: int = 10, **changes: object) -> Tally:
    return replace(Tally("app", identity, "app", "2026-11-20T03:00:00Z", tables, rows, rows * 10), **changes)


def backed_up(sequence: int, *tallies: Tally) -> Summary:
    return Summary(sequence, digest_of(f"{sequence}"), "", "", 1, 1, tallies)


def restored(identity: str, follows: str, backup: Summary, source: str = "app") -> Restoration:
    return Restoration("writer", source, identity, follows, "writer", backup.ref, "2026-11-20T03:00:00Z")


# --- what is suspect ---


def test_the_first_backup_of_all_is_good():
    assert lineage.judge(found(rows=0, tables=0), [], None, HALF) == found(rows=0, tables=0)


@pytest.mark.parametrize(
    ("rows", "tables", "suspect"),
    [
        (1000, 10, ()),
        (500, 5, ()),
        (499, 10, ("it has 499 rows, and backup 1-6b86b273 had 1,000",)),
        (1000, 4, ("it has 4 tables, and backup 1-6b86b273 had 10",)),
        (0, 0, ("it has 0 rows, and backup 1-6b86b273 had 1,000", "it has 0 tables, and backup 1-6b86b273 had 10")),
        (10**9, 10**4, ()),
    ],
)
def test_a_backup_that_lost_most_is_suspect(rows: int, tables: int, suspect: tuple[str, ...]):
    past = [Summary(1, "6b86b273" + "0" * 56, "", "", 1, 1, (found(),))]
    assert lineage.judge(found(rows=rows, tables=tables), past, None, HALF).suspect == suspect
    assert lineage.judge(found(rows=rows, tables=tables), past, None, 0).suspect == ()


def test_it_is_compared_with_the_last_good_one_not_with_a_suspect_one_after_it():
    past = [backed_up(1, found()), backed_up(2, found(rows=3, suspect=("it shrank",)))]
    assert "1-" in lineage.judge(found(rows=3), past, None, HALF).suspect[0]
    assert lineage.judge(found(rows=900), past, None, HALF).suspect == ()


def test_another_database_under_the_same_name_is_suspect():
    past = [backed_up(1, found("a"))]
    (why,) = lineage.judge(found("b"), past, None, HALF).suspect
    assert "another database (app, b," in why
    assert lineage.judge(found("b", source="other"), past, None, HALF).suspect == ()


def test_one_that_was_restored_from_a_backup_continues_its_history():
    past = [backed_up(1, found("a"))]
    judged = lineage.judge(found("b"), past, restored("b", "a", past[0]), HALF)
    assert (judged.suspect, judged.follows) == ((), "a")
    again = lineage.judge(found("b"), [*past, backed_up(2, judged)], None, HALF)
    assert (again.suspect, again.follows) == ((), "a")


def test_one_that_was_restored_and_lost_most_since_is_suspect():
    past = [backed_up(1, found("a"))]
    assert lineage.judge(found("b", rows=1), past, restored("b", "a", past[0]), HALF).suspect


@pytest.mark.parametrize("wrong", [{"source": "other"}, {"identity": "c"}])
def test_a_restoration_of_something_else_says_nothing(wrong: dict[str, str]):
    past = [backed_up(1, found("a"))]
    assert lineage.judge(found("b"), past, replace(restored("b", "a", past[0]), **wrong), HALF).suspect


def test_a_user_may_say_that_it_is_the_right_one():
    past = [backed_up(1, found("a"))]
    accepted = lineage.accept(found("b", rows=0), past)
    assert (accepted.suspect, accepted.follows) == ((), "a")
    assert lineage.newest([*past, backed_up(2, accepted)], "app").entry.tally == accepted


def test_accepting_forgets_no_history_and_follows_no_suspect_one():
    """Once the wrong database was backed up; then the right one shrank, or moved, and that was meant."""
    past = [
        backed_up(1, found("old")),
        backed_up(2, found("a", follows="old")),
        backed_up(3, found("x", suspect=("another database",))),
    ]
    smaller = lineage.accept(found("a", rows=1), past)
    assert (smaller.suspect, smaller.follows) == ((), "old")
    moved = lineage.accept(found("b"), past)
    assert (moved.suspect, moved.follows) == ((), "a")
    for accepted in (smaller, moved):
        assert lineage.newest([*past, backed_up(4, accepted)], "app").entry.ref.sequence == 4


# --- which is the newest ---


def test_a_suspect_one_never_takes_the_place_of_a_good_one():
    past = [backed_up(1, found()), backed_up(2, found(rows=0, suspect=("it shrank",)))]
    choice = lineage.newest(past, "app")
    assert choice.entry.ref == past[0].ref
    assert "2-" in choice.doubts[0]
    assert "it shrank" in choice.doubts[0]


def test_with_suspect_ones_only_there_is_none():
    with pytest.raises(NoSuchBackup, match="it shrank"):
        lineage.newest([backed_up(1, found(suspect=("it shrank",)))], "app")


def test_of_a_database_and_the_one_restored_from_it_the_later_is_the_newest():
    past = [backed_up(1, found("a")), backed_up(2, found("b", follows="a")), backed_up(3, found("c", follows="b"))]
    assert lineage.newest(past, "app").entry.ref.sequence == 3


def test_where_the_old_one_went_on_after_the_new_one_nobody_chooses():
    past = [backed_up(1, found("a")), backed_up(2, found("b", follows="a")), backed_up(3, found("a"))]
    with pytest.raises(Damaged, match="two databases are backed up as app"):
        lineage.newest(past, "app")
    past.append(backed_up(4, found("b", follows="a")))
    assert lineage.newest(past, "app").entry.ref.sequence == 4


def test_two_that_were_restored_from_the_same_one_are_two():
    past = [backed_up(1, found("a")), backed_up(2, found("b", follows="a")), backed_up(3, found("c", follows="a"))]
    with pytest.raises(Damaged, match="two databases are backed up as app"):
        lineage.newest(past, "app")


def test_two_that_follow_each_other_are_no_riddle():
    past = [backed_up(1, found("b", follows="a")), backed_up(2, found("a", follows="b"))]
    assert lineage.newest(past, "app").entry.ref.sequence == 2


def test_sources_do_not_meet():
    past = [backed_up(1, found(), found("x", source="other")), backed_up(2, found(source="other", identity="x"))]
    assert lineage.sources(past) == ["app", "other"]
    assert lineage.newest(past, "app").entry.ref.sequence == 1
    assert lineage.newest(past, "other").entry.ref.sequence == 2


TALLIES = st.builds(
    found,
    identity=st.sampled_from("abc"),
    rows=st.integers(0, 20),
    follows=st.sampled_from(["", "a", "b", "c"]),
    suspect=st.sampled_from([(), ("x",)]),
)


@given(st.lists(TALLIES, max_size=8))
def test_whatever_is_chosen_is_good_and_none_of_its_own_history_is_newer(tallies: list[Tally]):
    past = [backed_up(number, tally) for number, tally in enumerate(tallies, 1)]
    try:
        chosen = lineage.newest(past, "app").entry
    except (NoSuchBackup, Damaged):
        return
    assert chosen.is_good
    later = [each for each in lineage.entries(past) if each.ref.sequence > chosen.ref.sequence and each.is_good]
    assert not later


# --- figures ---


def test_a_fingerprint_changes_with_names_and_columns_only():
    def rows(path: str, columns: tuple[str, ...], count: int = 1, part: int = 0) -> StreamRecord:
        return StreamRecord("rows", ("public", path), columns, count, 1, 1, 1, array("q"), part)

    one, other = rows("one", ("a", "b")), rows("other", ("c",))
    known = lineage.fingerprint([one, other])
    assert len(known) == 16
    assert lineage.fingerprint([other, rows("one", ("a", "b"), 5), rows("one", ("a", "b"), 5, 1)]) == known
    assert lineage.fingerprint([one]) != known
    assert lineage.fingerprint([one, rows("other", ("d",))]) != known


# --- in real backups ---

ROWS = {f"t{number}": noise(3000, number) for number in range(4)}


def run(
    store: MemoryStore, contents: Contents, name: str = "synthetic", identity: str = "a", **options: object
) -> backup.Done:
    source = SyntheticSource(contents, name, identity=identity)
    return backup.back_up([source], below(store, WRITER.id), WRITER, backup.Options(**options))


def test_every_backup_tells_of_all_before_it():
    store = MemoryStore()
    done = [run(store, ROWS) for _ in range(3)]
    history = done[-1].backup.manifest.history
    assert history == tuple(
        lineage.summary(each.backup.ref, each.backup.manifest, each.backup.links) for each in done[:2]
    )
    assert history[0].tallies[0].tables == len(ROWS)
    assert opened(store).catalog.newest().history[-1].ref == done[-1].backup.ref


def test_a_wiped_database_is_stored_and_told_of_and_replaces_nothing():
    store = MemoryStore()
    good = run(store, ROWS)
    wiped = run(store, {})
    assert "it has 0 tables" in wiped.suspect[1]
    assert wiped.doubts == tuple(f"suspect: synthetic: {why}" for why in wiped.suspect)
    latest = opened(store).catalog.latest()
    assert latest.ref == good.backup.ref
    assert "passed over" in latest.doubts[0]
    assert opened(store).catalog.find(wiped.backup.ref.id).ref == wiped.backup.ref
    meant = run(store, {}, accept=True)
    assert meant.doubts == ()
    assert opened(store).catalog.latest().ref == meant.backup.ref


def test_a_history_goes_on_in_the_database_that_was_restored_from_it():
    store = MemoryStore()
    first = run(store, ROWS)
    assert run(store, ROWS, identity="stranger").suspect
    ours = opened(store).catalog
    ours.put_restoration(
        Restoration(WRITER.id, "synthetic", "b", "a", WRITER.id, first.backup.ref, first.backup.manifest.finished),
        records.signer_of(WRITER, ()),
    )
    second = run(store, ROWS, identity="b")
    assert second.suspect == ()
    assert second.backup.manifest.tallies[0].follows == "a"
    assert ours.latest().ref == second.backup.ref


def test_nobody_else_can_tell_of_a_restoration():
    store = MemoryStore()
    run(store, ROWS)
    other = OWNER.writer(2)
    below(store, WRITER.id).put(
        restoration_path("b"),
        records.seal(
            restored("b", "a", backed_up(1)), records.signer_of(replace(WRITER, sign_seed=other.sign_seed), ())
        ),
    )
    assert run(store, ROWS, identity="b").suspect  # and whoever spoils that object stops no backup
    with pytest.raises(Damaged, match="signed by somebody else"):
        opened(store).catalog.restoration("b")


def test_two_databases_that_are_backed_up_under_one_name_are_both_named():
    store = MemoryStore()
    first = run(store, ROWS)
    catalog = opened(store).catalog
    told = Restoration(WRITER.id, "synthetic", "b", "a", WRITER.id, first.backup.ref, "")
    catalog.put_restoration(told, records.signer_of(WRITER, ()))
    new, old = run(store, ROWS, identity="b"), run(store, ROWS)
    with pytest.raises(
        Damaged, match=f"{new.backup.ref.id}.*{old.backup.ref.id}|{old.backup.ref.id}.*{new.backup.ref.id}"
    ):
        catalog.latest()
