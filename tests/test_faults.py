"""Every call to a store fails once, in every way: what was good stays good, and the next run converges."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from dwebbackup import access, backup, checkpoint, drafting, holdings, indexing, prune, restore, verify
from dwebbackup.errors import DwebbackupError, Incomplete, NoSuchBackup
from dwebbackup.manifest import ManifestRef
from dwebbackup.ports import Quiet, Store
from faulty import Call, Fault, Faulty, Killed, Lagging, MemoryStore
from interleaving import InTurn
from synthetic import (
    OWNER,
    ROOT,
    Contents,
    SyntheticSource,
    SyntheticTarget,
    back_up,
    errors,
    names,
    noise,
    opened,
    restored,
    small_pieces,
)

WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"
SEED = os.environ.get("DWEBBACKUP_TEST_SEED") or str(random.SystemRandom().randrange(10**6))

POSITIONS = 2
"""How many calls of a sweep are made to fail, unless all are."""

Hidden = Callable[[str], bool]

HIDDEN: dict[str, Hidden] = {
    "everything": lambda _: True,
    "every other object": lambda name: ord(name[-len("x.age")]) % 2 == 0,
    "manifests from the second on": lambda name: "/manifests/" in name and "/0000000001-" not in name,
}
"""What a listing that lies leaves out."""

FAULTS = [(fault, "everything") for fault in Fault] + [(Fault.hide, each) for each in list(HIDDEN)[1:]]


@pytest.fixture(autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Its own for each test, so that one can be repeated alone."""
    print(f"DWEBBACKUP_TEST_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.nodeid}")


# --- what the runs start from ---

OLD = {"kept": noise(60_000, 1), "changed": noise(60_000, 2), "dropped": noise(20_000, 3), "empty": b""}
NEW = {"kept": noise(60_000, 1), "changed": noise(60_000, 2)[:50_000] + noise(50_000, 4), "added": noise(9000, 5)}


@dataclass
class Situation:
    """A store, what is in it by backup id, and what is to be backed up next."""

    store: MemoryStore = field(default_factory=MemoryStore)
    good: dict[str, Contents] = field(default_factory=dict)

    def back_up(self, contents: Contents) -> None:
        done = back_up(self.store, contents)
        self.good[done.backup.ref.id] = contents

    def copy(self) -> Situation:
        return Situation(self.store.copy(), self.good.copy())


def first_of_all(patch: pytest.MonkeyPatch) -> Situation:
    return Situation()


def after_two_others(patch: pytest.MonkeyPatch) -> Situation:
    situation = Situation()
    situation.back_up({"kept": noise(60_000, 1)})
    situation.back_up(OLD)
    return situation


def after_a_run_that_was_cut_off(patch: pytest.MonkeyPatch) -> Situation:
    situation = Situation()
    situation.back_up(OLD)
    with pytest.raises(DwebbackupError):
        back_up(situation.store, SyntheticSource(NEW | {"changed": noise(150_000, 6)}, breaks="added"))
    assert names(situation.store, "checkpoints/")
    return situation


def with_spilled_streams_and_merged_indexes(patch: pytest.MonkeyPatch) -> Situation:
    patch.setattr(drafting, "SPILL", 10)
    patch.setattr(indexing, "FEW", 1)
    situation = Situation()
    situation.back_up(OLD)
    situation.back_up(OLD | {"more": noise(5000, 7)})
    return situation


def after_two_at_once(patch: pytest.MonkeyPatch) -> Situation:
    situation = Situation()
    situation.back_up(OLD)

    def overtake(call: Call) -> None:
        if call.verb == "put" and "/manifests/" in call.name:
            situation.back_up(NEW | {"added": b"by the other"})

    done = back_up(Faulty(situation.store, overtake), OLD)
    situation.good[done.backup.ref.id] = OLD
    assert len(opened(situation.store).catalog.newest().tips) == 2
    return situation


SITUATIONS = [
    first_of_all,
    after_two_others,
    after_a_run_that_was_cut_off,
    with_spilled_streams_and_merged_indexes,
    after_two_at_once,
]
situations = pytest.mark.parametrize("begin", SITUATIONS, ids=[each.__name__.replace("_", " ") for each in SITUATIONS])
with_something_to_restore = pytest.mark.parametrize(
    "begin", SITUATIONS[1:4], ids=[each.__name__.replace("_", " ") for each in SITUATIONS[1:4]]
)
each_fault = pytest.mark.parametrize(
    ("fault", "hidden"),
    FAULTS,
    ids=[fault.name + (f" {hidden}" if fault is Fault.hide else "") for fault, hidden in FAULTS],
)


def positions(calls: list[tuple[str, str]], fault: Fault, chance: random.Random) -> list[int]:
    """Calls, counted from 1, that *fault* can strike: a few of them, or all."""
    possible = [number for number, (verb, _) in enumerate(calls, 1) if verb in fault.verbs]
    return possible if WIDE else chance.sample(possible, min(POSITIONS, len(possible)))


def outcome(verb: Callable[..., object], *arguments: object, **options: object) -> object:
    """What *verb* gives, or which of the errors that a user can meet it ends with."""
    try:
        return verb(*arguments, **options)
    except (DwebbackupError, Killed) as error:
        return error


def is_well(situation: Situation) -> None:
    """Every backup that was good restores, and no manifest names what is not there."""
    assert errors(situation.store) == []
    for wanted, contents in situation.good.items():
        assert restored(situation.store, wanted) == contents


# --- backup ---


@situations
@each_fault
def test_a_backup_that_meets_a_fault_spoils_nothing_and_the_next_converges(begin, fault, hidden, chance, patch):
    start = begin(patch)
    sound = Faulty(start.store.copy())
    back_up(sound, NEW)
    for number in positions(sound.calls, fault, chance):
        situation = start.copy()
        faulty = Faulty(situation.store, at={number: fault}, hidden=HIDDEN[hidden])
        result = outcome(back_up, faulty, NEW)
        print(f"{fault.name} at call {number}, {sound.calls[number - 1]}: {result!r:.200}")
        assert [call.number for call in faulty.struck] == [number]
        require_expected(fault, result)
        if isinstance(result, backup.Done):
            situation.good[result.backup.ref.id] = NEW
        is_well(situation)
        assert_what_is_there_besides_is_whole(situation)
        assert_the_next_run_converges(situation)


def require_expected(fault: Fault, result: object) -> None:
    """Nothing else than the fault asks for: a killed process stays killed, a repeated call does no harm."""
    if fault in {Fault.kill_before, Fault.kill_after}:
        assert isinstance(result, Killed)
    if fault is Fault.duplicate:
        assert isinstance(result, backup.Done)
    assert not isinstance(result, NoSuchBackup)


def assert_what_is_there_besides_is_whole(situation: Situation) -> None:
    """A run that raised may have written its manifest all the same: then that is good, too."""
    for ref in opened(situation.store).catalog.refs():
        if ref.id not in situation.good:
            assert restored(situation.store, ref.id) == NEW


def assert_the_next_run_converges(situation: Situation) -> None:
    situation.back_up(NEW)
    assert restored(situation.store) == NEW
    is_well(situation)
    for _ in range(3):  # what is left of packs of which little is in use is stored anew, once
        situation.back_up(NEW)
    assert opened(situation.store).catalog.latest().manifest.packs == 0


@situations
def test_a_store_that_dies_in_the_midst_of_a_backup_spoils_nothing(begin, chance, patch):
    """From some call on, nothing is answered: not even what a failing run would still like to write."""
    start = begin(patch)
    sound = Faulty(start.store.copy())
    back_up(sound, NEW)
    for number in positions(sound.calls, Fault.raise_before, chance):
        situation = start.copy()
        dead = Faulty(
            situation.store, lambda call, number=number: Fault.raise_before if call.number >= number else None
        )
        result = outcome(back_up, dead, NEW)
        if number < len(sound.calls):  # the last is the removal of the checkpoint
            assert isinstance(result, DwebbackupError)
            assert result.exit_status in (12, 13)
        is_well(situation)
        assert_what_is_there_besides_is_whole(situation)
        assert_the_next_run_converges(situation)


@pytest.mark.parametrize("jobs", [2, 3])
def test_faults_between_several_workers_spoil_nothing(jobs, chance, patch):
    start = after_two_others(patch)
    for number in range(1, 26 if WIDE else 9):
        situation = start.copy()
        fault = chance.choice([Fault.raise_before, Fault.raise_after, Fault.kill_before, Fault.kill_after])
        faulty = Faulty(situation.store, at={("put", number): fault})
        result = outcome(back_up, faulty, NEW | {"changed": noise(200_000, 8)}, jobs=jobs)
        assert isinstance(result, backup.Done) != bool(faulty.struck)
        is_well(situation)
        assert_the_next_run_converges(situation)


def test_one_run_after_the_other_may_fail_anywhere(chance, patch):
    """A day on a bad line: most runs meet a fault or two, some are killed, checkpoints are many."""
    patch.setattr(checkpoint, "RENEWED_EVERY", -1)
    harmless = [fault for fault in Fault if fault is not Fault.hide]
    for _ in range(30 if WIDE else 4):
        situation = Situation()
        for run in range(8):
            contents = {name: noise(40_000, chance.randrange(6)) for name in chance.sample("abcdef", 3)}
            at = {chance.randrange(1, 25): chance.choice(harmless) for _ in range(chance.randrange(3))}
            result = outcome(back_up, Faulty(situation.store, at=at), contents)
            print(run, at, f"{result!r:.120}")
            if isinstance(result, backup.Done):
                situation.good[result.backup.ref.id] = contents
            is_well(situation)
        assert_the_next_run_converges(situation)


# --- restore ---


def restore_latest(store: Store, target: SyntheticTarget) -> restore.Done:
    """As the command does: find the writers, then the newest backup, then everything in it."""
    writer = access.open_store(OWNER, store)[-1]
    return restore.restore(writer, writer.catalog.latest(), target, restore.Options(replace=True, jobs=1))


@with_something_to_restore
@each_fault
def test_a_restore_that_meets_a_fault_brings_back_the_newest_or_nothing(begin, fault, hidden, chance, patch):
    situation = begin(patch)
    newest = list(situation.good.values())[-1]
    sound = Faulty(situation.store)
    restore_latest(sound, SyntheticTarget())
    for number in positions(sound.calls, fault, chance):
        target = SyntheticTarget({"was": b"there"})
        faulty = Faulty(situation.store, at={number: fault}, hidden=HIDDEN[hidden])
        result = outcome(restore_latest, faulty, target)
        print(f"{fault.name} at call {number}, {sound.calls[number - 1]}: {result!r:.200}")
        assert faulty.struck
        assert target.contents == (newest if isinstance(result, restore.Done) else {"was": b"there"})
        assert not isinstance(result, NoSuchBackup)
        if fault in {Fault.truncate, Fault.flip_bit}:
            assert isinstance(result, DwebbackupError)
            assert result.exit_status == 12
    is_well(situation)


@with_something_to_restore
def test_a_restore_writes_nothing_into_the_store(begin, patch):
    situation = begin(patch)
    faulty = Faulty(situation.store)
    restore_latest(faulty, SyntheticTarget())
    assert {verb for verb, _ in faulty.calls} <= {"get", "list", "head"}


# --- verify ---


@with_something_to_restore
@each_fault
def test_verify_never_calls_good_what_it_could_not_read(begin, fault, hidden, chance, patch):
    situation = begin(patch)
    sound = Faulty(situation.store)
    assert verify.verify(opened(sound), None, 100, Quiet()).ok
    for number in positions(sound.calls, fault, chance):
        faulty = Faulty(situation.store, at={number: fault}, hidden=HIDDEN[hidden])
        result = outcome(verify.verify, opened(faulty), None, 100, Quiet())
        print(f"{fault.name} at call {number}, {sound.calls[number - 1]}: {result!r:.200}")
        assert faulty.struck
        if fault is Fault.duplicate:
            assert isinstance(result, verify.Report)
            assert result.ok
        elif isinstance(result, verify.Report) and not goes_unnoticed(faulty.struck[0], fault, hidden, situation):
            assert result.findings
            assert fault is Fault.hide or not result.ok


def goes_unnoticed(call: Call, fault: Fault, hidden: str, situation: Situation) -> bool:
    """A head or a genesis that is not there, though all manifests are, or never was; a listing that leaves out nothing
    that a backup needs.
    """
    if fault is Fault.hide:
        listed = {stored.name for stored in situation.store.list(call.name)}
        return not any(HIDDEN[hidden](name) for name in listed & needed(situation.store))
    if call.name not in situation.store.objects:
        return call.name == f"{ROOT}genesis.json"
    return fault is Fault.miss and call.name in {f"{ROOT}head.json", f"{ROOT}genesis.json"}


def needed(store: Store) -> set[str]:
    """The manifests, and the packs that they use."""
    catalog = opened(store).catalog
    names = set()
    for ref in catalog.refs():
        indexes = catalog.indexes(catalog.read(ref).manifest)
        names |= {f"manifests/{ref.name}", *(pack.path for index in indexes for pack in index.packs)}
    return {ROOT + name for name in names}


# --- prune ---

MONTH = 30 * 24 * 3600


def after_everything_changed(patch: pytest.MonkeyPatch) -> Situation:
    situation = Situation()
    situation.back_up(OLD)
    situation.back_up({"other": noise(60_000, 9)})
    return situation


with_something_to_prune = pytest.mark.parametrize(
    "begin",
    [*SITUATIONS[1:], after_everything_changed],
    ids=[each.__name__.replace("_", " ") for each in [*SITUATIONS[1:], after_everything_changed]],
)


def grown_old(situation: Situation) -> tuple[set[ManifestRef], set[ManifestRef]]:
    """A month passes, and somebody's pack was left behind. What may go, and what must stay."""
    situation.store.put(f"{ROOT}packs/ab/{'ab' * 32}.age", b"nobody names it")
    situation.store.now += MONTH
    newest = opened(situation.store).catalog.newest()
    tips = {tip.ref for tip in newest.tips}
    return set(newest.refs) - tips, tips


def drop(store: Store, chosen: set[ManifestRef]) -> prune.Pruned:
    writer = opened(store)
    return prune.prune(writer, prune.plan(writer, chosen))


@with_something_to_prune
@each_fault
def test_a_prune_that_meets_a_fault_loses_nothing_that_stays_and_the_next_converges(
    begin, fault, hidden, chance, patch
):
    patch.setattr(holdings, "ThreadPoolExecutor", InTurn)  # the same call has the same number each time
    start = begin(patch)
    chosen, tips = grown_old(start)
    cleared = start.store.copy()
    sound = Faulty(cleared)
    assert drop(sound, chosen).objects
    stays = set(cleared.objects)
    at = positions(sound.calls, fault, chance)
    for number in at if WIDE else at[:1]:
        situation = start.copy()
        faulty = Faulty(situation.store, at={number: fault}, hidden=HIDDEN[hidden])
        result = outcome(drop, faulty, chosen)
        print(f"{fault.name} at call {number}, {sound.calls[number - 1]}: {result!r:.200}")
        assert faulty.struck
        if fault in {Fault.kill_before, Fault.kill_after}:
            assert isinstance(result, Killed)
        assert stays <= set(situation.store.objects)
        assert tips <= set(opened(situation.store).catalog.refs())
        forget_dropped(situation, chosen)
        is_well(situation)
        situation.store.now += MONTH
        drop(situation.store, chosen)
        forget_dropped(situation, chosen)
        assert set(situation.store.objects) == stays
        assert_the_next_run_converges(situation)


def forget_dropped(situation: Situation, chosen: set[ManifestRef]) -> None:
    """What was chosen and is gone need not restore any more."""
    left = {ref.id for ref in opened(situation.store).catalog.refs()}
    for ref in chosen:
        if ref.id not in left:
            situation.good.pop(ref.id, None)


# --- listings that are behind ---


@pytest.mark.parametrize("by", [1, 2, 3, 5, 20])
def test_where_listings_are_behind_every_backup_restores_and_nothing_is_lost(by, patch):
    situation = Situation()
    lagging = Lagging(situation.store, by)
    for number in range(5):
        contents = {"kept": noise(60_000, 1), "changed": noise(30_000, number % 3)}
        done = back_up(lagging, contents)
        situation.good[done.backup.ref.id] = contents
        assert restored(lagging) == contents
        situation.store.now += MONTH / 10
    assert lagging.left_out
    is_well(situation)
    assert [ref.sequence for ref in opened(situation.store).catalog.refs()] == [1, 2, 3, 4, 5]
    result = outcome(drop, lagging, set())
    assert isinstance(result, Incomplete)
    is_well(situation)
    assert_the_next_run_converges(situation)
