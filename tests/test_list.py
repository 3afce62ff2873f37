"""`list` and its kin with many backups: one manifest tells of all, and nothing that it says can hide one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from calling import Ended, call
from dwebbackup import assemble, lineage
from dwebbackup.access import open_store
from dwebbackup.checking import ConfiguredStore, check_store
from dwebbackup.errors import Damaged, NoSuchBackup
from dwebbackup.manifest import ManifestRef, SourceRecord, Summary, Tally
from dwebbackup.ports import Quiet
from dwebbackup.probe import Times
from dwebbackup.verify import verify
from faulty import Fault, Faulty
from shelf import FACTS, OWNER, Shelf, digest_of, moment
from synthetic import SyntheticSource, back_up

SUSPECT = "it has 3 rows, and backup 1-00000000 had 1,000"


def tally(rows: int = 1000, source: str = "app", identity: str = "bytes:1", **changes: object) -> Tally:
    return replace(Tally(source, identity, source, moment(1), 3, rows, 5000), **changes)


def records_of(tallies: tuple[Tally, ...]) -> tuple[SourceRecord, ...]:
    facts = (replace(FACTS, name=each.source, identity=each.identity, database=each.database) for each in tallies)
    return tuple(SourceRecord(each, ()) for each in facts)


def follow(shelf: Shelf, *tallies: Tally, **changes: object) -> ManifestRef:
    """The next backup, as an honest writer makes it."""
    newest = shelf.catalog().newest_for_writing()
    tallies = tallies or (tally(),)
    past = {"kept": newest.kept, "history": newest.history, "tallies": tallies, "sources": records_of(tallies)}
    return shelf.add(newest.parents, **(past | changes))


def many(number: int) -> Shelf:
    """So many backups. Only the last one's manifest tells of the others, since theirs are not read."""
    shelf = Shelf()
    past: list[Summary] = []
    for at in range(1, number):
        own = (tally(1000 + at, "synthetic", "synthetic:synthetic"),)
        manifest = shelf.manifest([each.ref for each in past[-1:]], tallies=own, sources=records_of(own))
        past.append(lineage.summary(shelf.put(manifest), manifest))
    kept = tuple(each.ref for each in past)
    shelf.add(kept[-1:], kept=kept, history=tuple(past), tallies=own, sources=records_of(own))
    return shelf


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch):
    """`dwebbackup list` of a store of the test's."""

    def run(store: object, *words: str, expect: int = 0, key: str = OWNER.words) -> Ended:
        monkeypatch.setattr(assemble, "store", lambda config, stop: store)
        return call("list", *words, expect=expect, KEY=key, STORE="s3://bucket")

    return run


def notes(ended: Ended) -> list[str]:
    return [each["note"] for each in ended.json["backups"]]


def read(store: Faulty) -> list[str]:
    """The manifests that were fetched."""
    return [name.rpartition("/")[2] for verb, name in store.calls if verb == "get" and "/manifests/" in name]


# --- what it costs ---


def test_a_list_reads_the_newest_manifest_and_no_other(shelf: Shelf, listed):
    refs = [follow(shelf) for _ in range(9)]
    store = Faulty(shelf.root)
    ended = listed(store, "--json")
    assert read(store) == [refs[-1].name]
    assert [each["backup"] for each in ended.json["backups"]] == [ref.id for ref in refs]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_list_of_many_backups_asks_the_store_as_often_as_one_of_a_few(listed, words):
    calls = []
    for number in (10, 200):
        store = Faulty(many(number).root)
        ended = listed(store, *words)
        assert ended.out.count("1-") >= 1
        calls.append(Counter(verb for verb, _ in store.calls))
    assert calls[0] == calls[1]


def test_a_backup_after_many_asks_the_store_as_often_as_one_after_a_few():
    """Each page of a listing is a request of its own; the store in memory has one page."""
    calls = []
    for number in (10, 100, 1000):
        store = Faulty(many(number).root)
        done = back_up(store, SyntheticSource({"t": b"row\n" * 1000}))
        assert done.backup.ref.sequence == number + 1
        assert len(done.backup.manifest.history) == number
        calls.append(Counter(verb for verb, _ in store.calls))
    assert calls[0] == calls[1] == calls[2]


def test_a_writer_is_found_without_a_listing_and_looked_at_once(shelf: Shelf):
    follow(shelf)
    store = Faulty(shelf.root)
    (opened,) = open_store(OWNER, store)
    assert opened.number == 1
    asked = Counter(store.calls)
    assert max(asked.values()) == 1
    assert [name for verb, name in asked if verb == "list" and shelf.writer.id in name] == []


@pytest.mark.parametrize(
    ("numbers", "reached"),
    [((1,), 1), ((3,), 3), ((1, 4), 4), ((1, 2, 3, 6, 9), 9), ((1, 5), 1), ((1, 3, 7), 3)],
    ids=str,
)
def test_writers_are_looked_for_past_gaps_and_no_further(shelf: Shelf, numbers, reached):
    for number in numbers:
        Shelf(shelf.root, number=number).add()
    store = Faulty(shelf.root)
    assert [opened.number for opened in open_store(OWNER, store)] == [each for each in numbers if each <= reached]
    beyond = [OWNER.writer(number).id for number in range(reached + 4, reached + 9)]
    assert [name for _, name in store.calls for writer in beyond if writer in name] == []


# --- nothing hides a backup ---


def test_a_backup_from_before_there_was_a_history_is_read_and_listed(shelf: Shelf, listed):
    refs = shelf.chain(3)
    refs += [follow(shelf), follow(shelf)]
    store = Faulty(shelf.root)
    ended = listed(store, "--json")
    assert [each["backup"] for each in ended.json["backups"]] == [ref.id for ref in refs]
    assert all(each["finished"] for each in ended.json["backups"])
    assert sorted(read(store)) == sorted(ref.name for ref in (*refs[:2], refs[-1]))


def test_a_history_that_leaves_a_backup_out_does_not_hide_it(shelf: Shelf, listed):
    refs = [follow(shelf), follow(shelf)]
    refs.append(follow(shelf, history=()))
    ended = listed(shelf.root, "--json")
    assert [each["backup"] for each in ended.json["backups"]] == [ref.id for ref in refs]
    assert [each["rows"] for each in ended.json["backups"]] == [1000, 1000, 1000]


def test_what_is_no_longer_listed_is_not_shown_whatever_a_history_says(shelf: Shelf, listed):
    first, second, third = (follow(shelf) for _ in range(3))
    shelf.store.delete(f"manifests/{second.name}")
    never = replace(lineage.summary(second, shelf.catalog().read(third).manifest), sha256=digest_of("never"))
    last = follow(shelf, history=(*shelf.catalog().newest().history, never))
    ended = listed(shelf.root, "--json")
    assert [each["backup"] for each in ended.json["backups"]] == [ref.id for ref in (first, third, last)]


def test_what_is_no_longer_listed_is_not_the_newest_good_one(shelf: Shelf, listed):
    first, second = follow(shelf), follow(shelf)
    follow(shelf, tally(3, suspect=(SUSPECT,)))
    assert shelf.catalog().latest().ref == second
    shelf.store.delete(f"manifests/{second.name}")
    assert shelf.catalog().latest().ref == first
    assert notes(listed(shelf.root, "--json")) == ["newest", f"suspect: {SUSPECT}"]


def test_the_backup_that_the_head_names_is_shown_though_a_listing_hides_it(shelf: Shelf, listed):
    refs = [follow(shelf) for _ in range(3)]
    store = Faulty(shelf.root, at={"list": Fault.hide}, hidden=lambda name: refs[-1].name in name)
    ended = listed(store, "--json", expect=3)
    assert store.struck
    assert [each["backup"] for each in ended.json["backups"]] == [ref.id for ref in refs]
    assert notes(ended) == ["", "", "newest"]
    assert ended.json["backups"][-1]["bytes_stored"] > 0
    assert "does not list backup" in ended.json["doubts"][0]


def test_both_sides_of_a_fork_are_shown_with_what_each_knows(shelf: Shelf, listed):
    first = follow(shelf)
    before = shelf.catalog().newest()
    one = follow(shelf, run="one")
    after = {
        "kept": before.kept,
        "history": before.history,
        "tallies": (tally(1001),),
        "sources": records_of((tally(),)),
    }
    two = shelf.put(shelf.manifest([first], run="two", **after))
    ended = listed(shelf.root, "--json")
    assert {each["backup"]: each["rows"] for each in ended.json["backups"]} == {
        first.id: 1000,
        one.id: 1000,
        two.id: 1001,
    }
    assert notes(ended) == ["", *["newest in one of two histories: two machines wrote at once"] * 2]


def test_an_old_backup_that_cannot_be_read_is_shown_as_that(shelf: Shelf, listed):
    refs = shelf.chain(2)
    follow(shelf)
    shelf.store.put(f"manifests/{refs[0].name}", b"cut")
    ended = listed(shelf.root, "--json", expect=3)
    assert notes(ended)[0].startswith("unreadable: ")
    assert notes(ended)[2] == "newest"
    assert refs[0].id in listed(shelf.root, expect=3).out


def test_a_newest_backup_that_is_gone_hides_no_other(shelf: Shelf, listed):
    refs = [follow(shelf) for _ in range(3)]
    shelf.store.delete(f"manifests/{refs[2].name}")
    ended = listed(shelf.root, "--json", expect=3)
    assert [each["backup"] for each in ended.json["backups"]] == [ref.id for ref in refs[:2]]
    assert refs[2].id in ended.json["doubts"][0]


# --- a history that lies ---


def lying(shelf: Shelf, **changes: object) -> ManifestRef:
    """A suspect backup is followed by one that says something else of it: which refuses to be the newest good one."""
    follow(shelf)
    suspect = follow(shelf, tally(3, suspect=(SUSPECT,)))
    first, second = shelf.catalog().newest().history
    told = replace(second, tallies=tuple(replace(each, **changes) for each in second.tallies))
    other = (tally(source="other", identity="bytes:2"),)
    follow(shelf, *other, history=(first, told))
    return suspect


def test_a_suspect_backup_that_a_later_one_calls_good_is_not_taken(shelf: Shelf):
    suspect = lying(shelf, suspect=())
    with pytest.raises(Damaged, match=suspect.id):
        shelf.catalog().latest("app")
    assert shelf.catalog().find(suspect.id).ref == suspect
    assert shelf.catalog().latest("other").ref.sequence == 3


def test_an_honest_history_is_believed(shelf: Shelf):
    lying(shelf)
    latest = shelf.catalog().latest("app")
    assert latest.ref.sequence == 1
    assert "is suspect" in latest.doubts[0]


@pytest.mark.parametrize(
    ("changes", "severities"), [({}, ["notice"]), ({"rows": 4}, ["notice", "warning"])], ids=["honest", "false figures"]
)
def test_verify_names_what_is_suspect_and_what_a_later_manifest_gets_wrong(shelf: Shelf, changes, severities):
    suspect = lying(shelf, **changes)
    (opened,) = open_store(OWNER, shelf.root)
    report = verify(opened, None, None, Quiet())
    assert report.ok
    assert [finding.severity for finding in report.findings] == severities
    assert {finding.what for finding in report.findings} == {f"backup {suspect.id}"}
    assert SUSPECT in report.findings[0].message


# --- an old chain, by source ---


def test_a_source_that_only_backups_from_before_there_was_a_history_have_is_found(shelf: Shelf):
    first = shelf.add()
    shelf.add([first], sources=records_of((tally(source="other", identity="bytes:2"),)))
    follow(shelf, tally(source="other", identity="bytes:2"))
    assert [each.sequence for each in shelf.catalog().newest().history] == [2, 3]
    assert shelf.catalog().latest("app").ref == first
    with pytest.raises(NoSuchBackup):
        shelf.catalog().latest("third")


# --- what it says ---


def test_the_newest_good_one_of_each_source_is_marked_and_what_is_suspect(shelf: Shelf, listed):
    other = tally(source="other", identity="bytes:2")
    for tallies in ((tally(), other), (tally(),), (tally(3, suspect=(SUSPECT,)), other)):
        follow(shelf, *tallies)
    ended = listed(shelf.root, "--json")
    assert notes(ended) == ["", "newest of app", f"newest of other; suspect of app: {SUSPECT}"]
    assert [each["rows"] for each in ended.json["backups"]] == [2000, 1000, 1003]
    assert [each["suspect"] for each in ended.json["backups"][2]["tallies"]] == [[SUSPECT], []]
    for name in ("identity", "database", "rows", "source"):
        assert name in ended.json["backups"][0]["tallies"][0]


def test_databases_of_one_name_are_told_apart(shelf: Shelf, listed):
    follow(shelf)
    assert "bytes:1" not in listed(shelf.root).out
    follow(shelf, tally(identity="bytes:2"))
    lines = listed(shelf.root).out.splitlines()
    assert lines[0].split()[3] == "DATABASE"
    for line, identity in zip(lines[1:], ("bytes:1", "bytes:2"), strict=True):
        assert f"app ({identity})" in line
        assert line.endswith("newest in one of two histories")


def test_a_database_that_was_restored_from_anothers_backup_goes_on_with_its_history(shelf: Shelf, listed):
    follow(shelf)
    follow(shelf, tally(identity="bytes:2", follows="bytes:1"))
    assert notes(listed(shelf.root, "--json")) == ["", "newest"]


def test_an_overdue_newest_backup_is_called_stale(shelf: Shelf, listed):
    follow(shelf, next_by="2020-01-01T00:00:00Z")
    assert "newest; stale: the next backup was due by 2020-01-01" in listed(shelf.root).out


def test_what_is_stored_counts_the_manifest(shelf: Shelf, listed):
    refs = [follow(shelf, stored=7000), follow(shelf, stored=8000)]
    sizes = [len(shelf.store.get(f"manifests/{ref.name}")) for ref in refs]
    stored = [each["bytes_stored"] for each in listed(shelf.root, "--json").json["backups"]]
    assert stored == [7000 + sizes[0], 8000 + sizes[1]]


def test_show_tells_of_what_is_suspect_and_what_it_follows(shelf: Shelf, monkeypatch):
    follow(shelf, tally(3, suspect=(SUSPECT,), follows="bytes:0"))
    monkeypatch.setattr(assemble, "store", lambda config, stop: shelf.root)
    shown = call("show", "1", KEY=OWNER.words, STORE="s3://bucket").out
    assert f"suspect    {SUSPECT}" in shown
    assert "follows    bytes:0" in shown


def test_a_writer_key_lists_the_same(shelf: Shelf, listed):
    refs = [follow(shelf) for _ in range(3)]
    for key in (OWNER.words, OWNER.writer(1).line):
        ended = listed(shelf.root, "--json", key=key)
        assert [each["sha256"] for each in ended.json["backups"]] == [ref.sha256 for ref in refs]


# --- what doctor says ---


def found(shelf: Shelf) -> list[tuple[str, str, str]]:
    """Of its backups; nobody tries out the store, since a reader's key is used."""
    checked = check_store(ConfiguredStore(shelf.root), OWNER.reader(1), Times())
    wanted = ("newest backup", "suspect backups", "its parts", "manifests")
    return [(each.name, each.level, each.sentence) for each in checked.findings if each.name in wanted]


def test_doctor_speaks_of_the_newest_good_backup_and_warns_of_suspect_newer_ones(shelf: Shelf):
    other = tally(source="other", identity="bytes:2")
    good = follow(shelf, tally(), other)
    suspect = follow(shelf, tally(3, suspect=(SUSPECT,)), other)
    told = found(shelf)
    assert [(name, level) for name, level, _ in told] == [
        ("suspect backups", "warning"),
        ("newest backup", "ok"),
        ("its parts", "ok"),
        ("newest backup", "ok"),
        ("its parts", "notice"),
    ]
    assert suspect.id in told[0][2]
    assert SUSPECT in told[0][2]
    assert f"{good.id} of app, " in told[1][2]
    assert f"{suspect.id} of other, " in told[3][2]


def test_doctor_does_not_call_one_of_two_databases_the_newest(shelf: Shelf):
    follow(shelf)
    follow(shelf, tally(identity="bytes:2"))
    ((name, level, sentence),) = found(shelf)
    assert (name, level) == ("newest backup", "failure")
    assert "two databases are backed up as app" in sentence


def test_doctor_finds_a_newest_good_backup_that_cannot_be_read(shelf: Shelf):
    good = follow(shelf)
    follow(shelf, tally(3, suspect=(SUSPECT,)))
    shelf.store.put(f"manifests/{good.name}", b"cut")
    assert [(name, level) for name, level, _ in found(shelf)][1:] == [("newest backup", "failure")]
