"""Pruning several stores: each by itself, by its own clock and by what it holds, whatever becomes of the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from calling import Ended, call
from dwebbackup import clock, policy, repair
from dwebbackup.errors import KeyForbids, StoreUnreachable, WrongConfiguration
from dwebbackup.ports import Member, Store, StoreTraits
from dwebbackup.repair import Choice
from dwebbackup.selection import Outcome, prune_each
from dwebbackup.stores.local import LocalStore
from dwebbackup.stores.mirrored import Mirrored
from dwebbackup.stores.undeleting import Undeleting
from faulty import Fault, Faulty, MemoryStore, dead_from
from synthetic import OWNER, ROOT, WRITER, back_up, errors, names, noise, opened, restored, small_pieces

DAY = 24 * 3600.0

LAST = policy.parse("last 1, floor 1")


@pytest.fixture(autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


@pytest.fixture
def one(patch) -> MemoryStore:
    """Four backups, ten days apart, the last of them ten days ago."""
    store = MemoryStore("one")
    for number in range(4):
        patch.setattr(clock, "now", lambda: store.now)
        back_up(store, {"same": noise(20_000), "new": noise(20_000, 10 + number)})
        store.now += 10 * DAY
    return store


def twin(store: MemoryStore, name: str = "two", traits: StoreTraits | None = None) -> MemoryStore:
    copy = store.copy()
    copy.name, copy.url, copy.traits = name, f"memory://{name}", traits or store.traits
    return copy


def pruned(*stores: Store, best_effort: tuple[str, ...] = (), key=OWNER, dry_run: bool = False) -> list[Outcome]:
    store = Mirrored([Member(each, each.name not in best_effort) for each in stores])
    return prune_each(opened(store, key), LAST, dry_run=dry_run)


def sequences(store: Store) -> list[int]:
    return [ref.sequence for ref in opened(store).catalog.refs()]


def test_each_keeps_what_the_policy_says_with_all_that_it_needs(one):
    two = twin(one)
    done = pruned(one, two)
    assert [len(each.pruned.manifests) for each in done] == [3, 3]
    assert [each.pruned.objects for each in done] == [each.pruned.objects for each in done[:1]] * 2
    for store in (one, two):
        assert sequences(store) == [4]
        assert errors(store) == []
        assert restored(store) == {"same": noise(20_000), "new": noise(20_000, 13)}
    assert names(one) == names(two)


def test_a_dry_run_deletes_nowhere(one):
    two = twin(one)
    before = names(two)
    done = pruned(one, two, dry_run=True)
    assert [len(each.selection.plan.drop) for each in done] == [3, 3]
    assert names(one) == names(two) == before


def test_copies_that_a_repair_made_are_as_old_as_their_originals(one):
    """By the new store's clock all of them came today, which no backup says of itself."""
    two = MemoryStore("two", now=one.now)
    both = Mirrored([Member(one), Member(two)])
    repair.carry_out(opened(both), repair.plan(opened(both), Choice()))
    assert sequences(two) == [1, 2, 3, 4]
    pruned(one, two)
    assert (sequences(one), sequences(two)) == ([4], [4])
    two.now += 4 * DAY
    pruned(one, two)
    assert names(one, "packs/") == names(two, "packs/")
    assert restored(two) == {"same": noise(20_000), "new": noise(20_000, 13)}


def test_a_clock_that_is_wrong_makes_nothing_old(one):
    """Where a store that is right says when a backup came, that counts; where none does, all stay."""
    two, alone = twin(one), twin(one, "alone")
    for store in (two, alone):
        store.modified = dict.fromkeys(store.modified, 0.0)
    pruned(one, two)
    assert (sequences(one), sequences(two)) == ([4], [4])
    pruned(alone, MemoryStore("empty"))
    assert sequences(alone) == [1, 2, 3, 4]


def test_of_a_store_that_is_not_required_no_other_one_takes_a_time(one):
    old = twin(one, "old")
    new = MemoryStore("new", now=one.now)
    both = Mirrored([Member(old), Member(new)])
    repair.carry_out(opened(both), repair.plan(opened(both), Choice()))
    pruned(new, old, best_effort=("old",))
    assert sequences(new) == [1, 2, 3, 4]
    assert sequences(old) == [4]


def test_one_that_is_behind_keeps_its_own_newest(one):
    two = twin(one)
    newest = opened(one).catalog.refs()[-1]
    two.delete(f"{ROOT}manifests/{newest.name}")
    two.delete(f"{ROOT}head.json")
    pruned(one, two)
    assert (sequences(one), sequences(two)) == ([4], [3])
    assert restored(two) == {"same": noise(20_000), "new": noise(20_000, 12)}


def test_what_one_has_beyond_the_others_goes_by_the_policy_as_well(one):
    """It was away when the others were pruned."""
    two = twin(one)
    pruned(one)
    assert (sequences(one), sequences(two)) == ([4], [1, 2, 3, 4])
    pruned(one, two)
    assert sequences(two) == [4]
    assert repair.plan(opened(Mirrored([Member(one), Member(two)])), Choice()).is_empty


@pytest.mark.parametrize("at", [1, 2, 5, 9, 14])
def test_one_that_fails_is_told_of_and_the_others_are_pruned(one, at):
    two = Faulty(twin(one), dead_from(at))
    first, second, third = pruned(one, two, twin(one, "three"), best_effort=("two",))
    assert isinstance(second.problem, StoreUnreachable)
    assert two.struck
    for each in (first, third):
        assert len(each.pruned.manifests) == 3
    pruned(one, two.store)
    assert sequences(two.store) == [4]
    assert errors(two.store) == []


def test_one_that_waits_for_a_run_under_way_holds_up_only_itself(one):
    two = twin(one)
    two.put(f"{ROOT}checkpoints/{'0' * 16}-0.age", b"of a run")
    first, second = pruned(one, two)
    assert (first.pruned.waits, first.pruned.objects > 0) == ("", True)
    assert "a backup is under way" in second.pruned.waits
    assert names(two, "packs/") > names(one, "packs/")


def test_those_that_cannot_list_or_delete_are_passed_over(one):
    portal = MemoryStore("portal", traits=StoreTraits(lists=False, deletes=False, scheme="sia", deletion="forgotten"))
    kept = Undeleting(twin(one, "kept"))
    before = names(kept)
    outcomes = pruned(one, portal, kept)
    assert [bool(each.passed_over) for each in outcomes] == [False, True, True]
    assert names(kept) == before
    with pytest.raises(WrongConfiguration, match="nothing can be pruned"):
        pruned(portal, kept)


def test_an_empty_one_is_passed_over(one):
    _, second = pruned(one, MemoryStore("two"))
    assert second.passed_over == "it holds no backup"


def test_a_reader_key_prunes_none_of_them(one):
    two = twin(one)
    with pytest.raises(KeyForbids):
        pruned(one, two, key=OWNER.reader(1))
    assert sequences(two) == [1, 2, 3, 4]


def test_one_store_alone_fails_as_ever(one):
    with pytest.raises(StoreUnreachable):
        prune_each(opened(Faulty(one, at={"delete": Fault.raise_before})), LAST)


# --- as users type it ---


@pytest.fixture
def folders(one: MemoryStore, tmp_path: Path) -> dict[str, str]:
    """Two folders with the same, as settings."""
    for name in ("here", "there"):
        store = LocalStore(tmp_path / name)
        store.prepare()
        for each, data in one.objects.items():
            store.put(each, data)
            os.utime(tmp_path / name / each, (one.modified[each], one.modified[each]))
    urls = f"file://{tmp_path}/here?name=here file://{tmp_path}/there?name=there&required=no"
    return {"STORE": urls, "KEY": OWNER.words, "GATEWAYS": "off", "ROUTERS": "off"}


def run(folders: dict[str, str], *arguments: object, expect: int = 0) -> Ended:
    return call("prune", "--keep", "last 1, floor 1", *arguments, expect=expect, **folders)


def test_the_table_names_the_store_and_each_has_its_verdict(folders):
    shown = run(folders, "--dry-run").out.splitlines()
    assert shown[0].split() == ["BACKUP", "FINISHED", "SOURCE", "WRITER", "STORE", "WHY"]
    assert [line.split()[5] for line in shown[1:9]] == ["here"] * 4 + ["there"] * 4
    assert shown[9:] == [f"{name}: 3 backups would be dropped; nothing was" for name in ("here", "there")]
    done = run(folders, "--json").json
    assert [(each["name"], each["required"], each["deletion"], each["dropped"]) for each in done["stores"]] == [
        ("here", True, "deleted", 3),
        ("there", False, "deleted", 3),
    ]
    assert (done["dropped"], {each["store"] for each in done["backups"]}) == (6, {"here", "there"})


@pytest.mark.parametrize(("lost", "status"), [("here", 13), ("there", 3)])
def test_the_status_says_whether_one_that_is_required_is_down(folders, tmp_path, lost, status):
    (tmp_path / lost).rename(tmp_path / "unmounted")
    ended = run(folders | {"KEY": WRITER.line}, expect=status)
    assert f"warning: store {lost}: nothing more was pruned there: there is no store in" in ended.err
    other = {"here": "there", "there": "here"}[lost]
    assert f"\n{other}: 3 backups dropped; " in ended.out
    assert f"\n{lost}: not pruned" in ended.out


def test_what_deleted_means_in_each_store_is_told(one, monkeypatch, folders):
    monkeypatch.setattr(LocalStore, "traits", StoreTraits(deletion="unpinned"))
    last = run(folders).out.splitlines()[-1]
    assert last.startswith("there: 3 backups dropped; ")
    assert last.endswith("; whoever else keeps what is unpinned still has it")
    assert " unpinned, " in last
