"""Backups, prunes, restores and verifies of one store at once, in every order: nothing that was good is lost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from dwebbackup import backup, checkpoint, prune, verify
from dwebbackup.errors import BackupFailed, Damaged, StoreUnreachable
from dwebbackup.ports import Quiet, Store
from faulty import Fault, Faulty, Killed, MemoryStore
from interleaving import TIME, Act, Stage, explore, make_repeatable, playing
from synthetic import Contents, back_up, errors, names, noise, opened, restored, small_pieces

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"
SEED = os.environ.get("DWEBBACKUP_TEST_SEED") or str(random.SystemRandom().randrange(10**6))

SCHEDULES = 3000 if WIDE else 20
"""Of each scene, at most; thrice as many where time may pass in between."""

DAY = 24 * 3600
SLEEP = 2.0 * checkpoint.GRACE

FIRST = {"old": noise(3000, 2)}
BASE = {"kept": noise(3000, 1), "old": noise(3000, 2)}
NEXT = {"kept": noise(3000, 1), "new": noise(3000, 3)}
THEIRS = {"theirs": noise(2000, 5)}
CUT_OFF = {"cut off": noise(3000, 6), "kept": noise(3000, 1)}
GOES_ON = CUT_OFF | {"mine": noise(2000, 8)}


@pytest.fixture(autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        make_repeatable(patch)
        yield patch


@dataclass
class Past:
    """A store, and what its backups hold, by their runs."""

    store: MemoryStore = field(default_factory=MemoryStore)
    good: dict[str, Contents] = field(default_factory=dict)

    def back_up(self, contents: Contents) -> None:
        done = back_up(self.store, contents)
        self.good[done.backup.manifest.run] = contents

    def pass_time(self, seconds: float) -> None:
        self.store.now += seconds


@dataclass(frozen=True)
class Scene:
    """Who does what at once, after which past, and what may happen to them."""

    past: Past
    acts: dict[str, Act]
    kills: int = 0
    ticks: int = 0
    tick: float = SLEEP

    def __call__(self) -> Stage:
        return Stage(self.past.store.copy(), self.acts, kills=self.kills, ticks=self.ticks, tick=self.tick)

    @property
    def prunes(self) -> bool:
        return any("prune" in name for name in self.acts)


# --- who does what ---


@dataclass(frozen=True)
class BackUp:
    """Makes a backup of *contents*."""

    contents: Contents

    def __call__(self, store: Store) -> backup.Done:
        return back_up(store, self.contents)


@dataclass(frozen=True)
class BackUpAndPrune(BackUp):
    """Then drops all that may be dropped."""

    def __call__(self, store: Store) -> backup.Done:
        done = back_up(store, self.contents)
        drop_all_but_tips(store)
        return done


def drop_all_but_tips(store: Store) -> prune.Pruned:
    writer = opened(store)
    newest = writer.catalog.newest()
    tips = {tip.ref for tip in newest.tips}
    return prune.prune(writer, prune.plan(writer, set(newest.refs) - tips))


def restore_latest(store: Store) -> Contents:
    return restored(store)


def verify_all(store: Store) -> verify.Report:
    return verify.verify(opened(store), None, 100, Quiet())


# --- what must hold at the end ---


def check(scene: Scene, stage: Stage) -> None:
    """What was reported as done, and what nobody dropped, restores; the next backup heals, the next prune clears away."""
    store = stage.store
    for name, actor in stage.actors.items():
        require_expected(scene, stage, name, actor.outcome)
    assert errors(store) == []
    backups = [opened(store).catalog.read(ref) for ref in opened(store).catalog.refs()]
    known = contents_by_run(scene)
    for each in backups:
        assert restored(store, each.ref.id) == known[each.manifest.run]
    there = {each.manifest.run for each in backups}
    if scene.prunes:
        assert there or not scene.past.good
    else:
        assert set(scene.past.good) <= there
    assert_heals(store)
    assert_converges(store)


def contents_by_run(scene: Scene) -> dict[str, Contents]:
    """The first random number that an actor draws is the id of its run."""
    runs = {random.Random(name).randbytes(8).hex(): act for name, act in scene.acts.items()}
    return scene.past.good | {run: act.contents for run, act in runs.items() if isinstance(act, BackUp)}


def require_expected(scene: Scene, stage: Stage, name: str, outcome: object) -> None:
    """What an actor may end with, while others work in the same store."""
    match outcome:
        case Killed():
            assert stage.actors[name].killed
        case backup.Done():
            there = opened(stage.store).catalog.refs()
            newer = [ref for ref in there if ref.sequence > outcome.backup.ref.sequence]
            assert outcome.backup.ref in there or (scene.prunes and newer)
            assert outcome.doubts == ()
        case verify.Report():
            assert outcome.ok or scene.prunes, outcome.findings
        case BackupFailed():
            assert stage.elapsed, "it gave up, though no time had passed"
        case Damaged():
            assert "two machines wrote at once" in str(outcome) or (name == "restore" and scene.prunes), outcome
        case dict():
            assert outcome in contents_by_run(scene).values()
        case _:
            assert isinstance(outcome, prune.Pruned), repr(outcome)


def assert_heals(store: MemoryStore) -> None:
    """Two tips are shown as two, and the next backup has both as parents."""
    before = opened(store).catalog.newest()
    if len(before.tips) > 1:
        with pytest.raises(Damaged, match="two machines wrote at once"):
            opened(store).catalog.latest()
    done = back_up(store, NEXT)
    assert done.doubts == ()
    assert set(done.backup.manifest.parents) == {tip.ref for tip in before.tips}
    assert restored(store) == NEXT
    assert errors(store) == []


def assert_converges(store: MemoryStore) -> None:
    """Once everything is old, a prune leaves what is named, and nothing else."""
    store.now += 2 * checkpoint.GRACE
    done = drop_all_but_tips(store)
    assert done.waits == ""
    catalog = opened(store).catalog
    (tip,) = catalog.newest().tips
    indexes = {index.sha256 for index in tip.manifest.indexes}
    assert {name.split("/")[-1] for name in names(store, "indexes/")} == {f"{sha256}.age" for sha256 in indexes}
    assert names(store, "packs/") == {pack.path for index in catalog.indexes(tip.manifest) for pack in index.packs}
    assert names(store, "checkpoints/") == names(store, "probes/") == set()
    assert restored(store) == NEXT


# --- scenes ---


def after_two(patch: pytest.MonkeyPatch) -> Past:
    """The first has what the second does not."""
    past = Past()
    past.back_up(FIRST)
    past.pass_time(20 * DAY)
    past.back_up(NEXT)
    past.pass_time(20 * DAY)
    return past


def after_one_that_was_cut_off(patch: pytest.MonkeyPatch) -> Past:
    """Its packs are named by a checkpoint alone, which is about to be too old."""
    past = after_two(patch)
    cut_off = Faulty(
        past.store, lambda call: Fault.refuse if "/manifests/" in call.name and call.verb == "put" else None
    )
    with pytest.raises(StoreUnreachable):
        back_up(cut_off, CUT_OFF)
    assert names(past.store, "checkpoints/")
    past.pass_time(checkpoint.GRACE - 1)
    return past


def renewing(patch: pytest.MonkeyPatch) -> Scene:
    """What a backup goes on with is named by nothing else any more within a minute."""
    patch.setattr(checkpoint, "RENEWED_EVERY", -1)
    acts: dict[str, Act] = {"a": BackUp(CUT_OFF), "prune": drop_all_but_tips}
    return Scene(after_one_that_was_cut_off(patch), acts, ticks=1, tick=60)


SCENES: dict[str, Callable[[pytest.MonkeyPatch], Scene]] = {
    "two first backups": lambda _: Scene(Past(), {"a": BackUp(BASE), "b": BackUp(THEIRS)}),
    "two backups": lambda patch: Scene(after_two(patch), {"a": BackUp(BASE), "b": BackUp(THEIRS)}),
    "two backups, one killed": lambda patch: Scene(after_two(patch), {"a": BackUp(BASE), "b": BackUp(THEIRS)}, kills=1),
    "a backup and a restore": lambda patch: Scene(after_two(patch), {"a": BackUp(THEIRS), "restore": restore_latest}),
    "a backup and a verify": lambda patch: Scene(after_two(patch), {"a": BackUp(THEIRS), "verify": verify_all}),
    "a backup and a prune": lambda patch: Scene(after_two(patch), {"a": BackUp(BASE), "prune": drop_all_but_tips}),
    "a backup, and a prune after another": lambda patch: Scene(
        after_two(patch), {"a": BackUp(NEXT), "b, prune": BackUpAndPrune(THEIRS)}
    ),
    "the same while days pass": lambda patch: Scene(
        after_two(patch), {"a": BackUp(NEXT), "b, prune": BackUpAndPrune(THEIRS)}, ticks=1
    ),
    "a backup that goes on with one cut off, and a prune": lambda patch: Scene(
        after_one_that_was_cut_off(patch), {"a": BackUp(GOES_ON), "prune": drop_all_but_tips}, ticks=1
    ),
    "two prunes, one killed": lambda patch: Scene(
        after_two(patch), {"prune": drop_all_but_tips, "prune too": drop_all_but_tips}, kills=1
    ),
    "a prune and a restore": lambda patch: Scene(
        after_two(patch), {"prune": drop_all_but_tips, "restore": restore_latest}
    ),
    "a prune and a verify": lambda patch: Scene(after_two(patch), {"prune": drop_all_but_tips, "verify": verify_all}),
    "two backups and a prune": lambda patch: Scene(
        after_two(patch), {"a": BackUp(BASE), "b": BackUp(THEIRS), "prune": drop_all_but_tips}
    ),
    "a backup that renews its checkpoint, and a prune": renewing,
}


@pytest.mark.parametrize("begin", SCENES.values(), ids=SCENES)
def test_in_whatever_order_they_come_nothing_good_is_lost(begin, patch, request):
    print(f"DWEBBACKUP_TEST_SEED={SEED}")
    scene = begin(patch)
    explored = explore(
        scene,
        lambda stage: check(scene, stage),
        limit=SCHEDULES * (1 + 2 * scene.ticks),
        chance=random.Random(f"{SEED} {request.node.name}"),
    )
    print(explored)
    assert explored.ends > 1


def test_a_run_is_seen_though_its_checkpoint_changes_while_they_are_listed(patch):
    """Few of the orders above come here: the prune's listing is half made when the run renews its checkpoint."""
    scene = renewing(patch)
    with playing(scene()) as stage:
        stage.go("a", lambda verb, name: verb == "put" and name.endswith("-1.age"))
        stage.move(("go", TIME))
        stage.go("prune", lambda verb, name: verb == "list" and "/checkpoints/" in name)
        stage.move(("go", "prune"))
        stage.go("a", lambda verb, name: verb == "put" and "/manifests/" in name)
        stage.go("prune")
        stage.go("a")
    check(scene, stage)
    assert isinstance(stage.actors["prune"].outcome, prune.Pruned)
    assert stage.actors["prune"].outcome.waits


def test_a_run_that_ends_after_the_checkpoints_were_listed_has_its_manifest_read(patch):
    """It goes on with old packs, which its manifest alone names: listed before it came, they would be deleted."""
    scene = renewing(patch)
    patch.setattr(checkpoint, "RENEWED_EVERY", 240)
    with playing(scene()) as stage:
        stage.go("a", lambda verb, name: verb == "list" and "/packs/" in name)
        stage.move(("go", TIME))
        stage.go("a", lambda verb, name: verb == "put" and "/manifests/" in name)
        stage.go("prune", lambda verb, name: verb == "list" and "/checkpoints/" in name)
        stage.go("a")
        stage.go("prune")
    check(scene, stage)
    assert isinstance(stage.actors["prune"].outcome, prune.Pruned)
    assert stage.actors["prune"].outcome.waits == ""
