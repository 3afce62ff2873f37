"""`repair`: what one store lost comes back from another, and only bytes that fit their names are ever put."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from calling import call
from configuring import configured
from dwebbackup import assemble, clock, documents, heads, policy, records, repair
from dwebbackup.catalog import GENESIS, HEAD
from dwebbackup.checkpoint import GRACE
from dwebbackup.errors import (
    BackupFailed,
    Damaged,
    Interrupted,
    NoSuchBackup,
    ObjectMissing,
    StoreUnreachable,
    ToolMissing,
    WrongConfiguration,
)
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.uris import ipfs_link
from dwebbackup.manifest import Genesis, Head, Restoration, restoration_path
from dwebbackup.ports import Member, Quiet, Store, StoreTraits
from dwebbackup.protection import Protection
from dwebbackup.prune import plan as plan_prune
from dwebbackup.prune import prune
from dwebbackup.records import signer_of
from dwebbackup.repair import Choice, Plan, Repaired
from dwebbackup.selection import prune_each
from dwebbackup.stores.local import LocalStore
from dwebbackup.stores.mirrored import Mirrored
from faulty import Fault, Faulty, Killed, MemoryStore, dead_from, flipped
from fix_ceph import Ceph
from fix_ipfs import IpfsNode
from synthetic import (
    OWNER,
    ROOT,
    WRITER,
    SyntheticSource,
    back_up,
    errors,
    names,
    noise,
    opened,
    restored,
    small_pieces,
)

ALL = "packs/", "indexes/", "manifests/", HEAD
CONTENTS = [{"same": noise(60_000, 1), "new": noise(20_000, 10 + number)} for number in range(3)]


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_pieces():
        yield


@pytest.fixture
def one() -> MemoryStore:
    """Three backups."""
    store = MemoryStore("one")
    for each in CONTENTS:
        back_up(store, each)
    return store


def several(*stores: Store, best_effort: tuple[str, ...] = ()) -> Mirrored:
    return Mirrored([Member(store, store.name not in best_effort) for store in stores])


def planned(store: Store, choice: Choice | None = None) -> Plan:
    return repair.plan(opened(store), choice or Choice())


def repaired(store: Store, choice: Choice | None = None, **options) -> Repaired:
    return repair.carry_out(opened(store), planned(store, choice), **options)


def lacking(plan: Plan) -> dict[str, tuple[int, int]]:
    """Missing and wrong objects in each store."""
    return {each.name: (len(each.missing), len(each.wrong)) for each in plan.shortfalls}


def objects(store: Store) -> dict[str, bytes]:
    """What counts of it."""
    return {name: store.get(ROOT + name) for folder in ALL for name in names(store, folder)}


def twin(store: MemoryStore, name: str = "two") -> MemoryStore:
    copy = store.copy()
    copy.name, copy.url = name, f"memory://{name}"
    return copy


# --- what is lacking ---


def test_nothing_is_to_be_done_where_all_have_everything(one):
    store = several(one, twin(one))
    assert planned(store).is_empty
    assert planned(store, Choice(data=True)).is_empty
    assert [(each.objects, each.problem) for each in repaired(store).stores] == [(0, None), (0, None)]


def test_an_empty_new_store_gets_everything_that_counts(one):
    two = MemoryStore("two")
    store = several(one, two)
    plan = planned(store)
    assert lacking(plan) == {"one": (0, 0), "two": (len(objects(one)) - 1, 0)}
    assert {each.name: each.lacking for each in plan.signed} == {HEAD: {"two": "missing"}}
    assert not two.objects
    done = repair.carry_out(opened(store), plan)
    assert objects(two) == objects(one)
    assert done.stores[1].objects == len(objects(one))
    assert done.stores[1].bytes == sum(map(len, objects(one).values()))
    assert (done.lost, done.doubts) == ((), ())
    assert restored(two) == CONTENTS[2]
    assert errors(two) == []
    assert planned(store).is_empty


def test_a_writer_key_repairs_and_opens_no_row(one):
    store = several(one, MemoryStore("two"))
    writer = opened(store, WRITER)
    assert not writer.identities
    repair.carry_out(writer, repair.plan(writer, Choice(data=True)))
    assert planned(store).is_empty


def test_a_folder_and_a_bucket_get_the_same_bytes(one, tmp_path):
    folder = LocalStore(tmp_path / "store")
    folder.prepare()
    repaired(several(one, folder))
    assert objects(folder) == objects(one)


@pytest.mark.parametrize("what", ["packs/", "indexes/", "manifests/"])
def test_what_is_missing_or_has_another_size_is_put_again(one, what):
    two = twin(one)
    first, *_, last = sorted(names(two, what))
    del two.objects[ROOT + first]
    two.objects[ROOT + last] = two.objects[ROOT + last][:-1]
    store = several(one, two)
    assert lacking(planned(store)) == {"one": (0, 0), "two": (1, 1)}
    assert repaired(store).stores[1].objects == 2
    assert objects(two) == objects(one)


def test_each_of_two_stores_gets_back_what_only_the_other_has(one):
    two = twin(one)
    mine, theirs, *_ = sorted(names(one, "packs/"))
    del one.objects[ROOT + mine]
    del two.objects[ROOT + theirs]
    repaired(several(one, two))
    assert objects(one) == objects(two)
    assert errors(one) == []


def test_wrong_bytes_of_the_right_size_are_found_by_reading_them(one):
    two = twin(one)
    for folder in ("packs/", "indexes/", "manifests/"):
        name = ROOT + min(names(two, folder))
        two.objects[name] = flipped(two.objects[name], 100)
    store = several(two, one)  # the one that lies is asked first
    assert lacking(planned(store)) == {"one": (0, 0), "two": (0, 0)}
    assert lacking(planned(store, Choice(data=True))) == {"one": (0, 0), "two": (0, 3)}
    repaired(store, Choice(data=True))
    assert objects(two) == objects(one)


def test_a_source_that_turns_out_to_lie_is_passed_over_and_repaired_as_well(one):
    two, three = twin(one), MemoryStore("three")
    name = ROOT + min(names(two, "packs/"))
    two.objects[name] = flipped(two.objects[name], 100)
    repaired(several(two, one, three))
    assert objects(three) == objects(two) == objects(one)


def test_what_nobody_has_is_named_and_never_replaced_by_something_else(one):
    two = twin(one)
    name = min(names(one, "packs/"))
    one.objects[ROOT + name] = flipped(one.objects[ROOT + name], 100)
    before = one.objects[ROOT + name]
    del two.objects[ROOT + name]
    done = repaired(several(one, two))
    assert len(done.lost) == 1
    assert name in done.lost[0]
    assert one.objects[ROOT + name] == before
    assert ROOT + name not in two.objects


class Elsewhere(MemoryStore):
    """What strangers have: found by links alone."""

    def get(self, name: str, links=()) -> bytes:
        found = [data for data in self.objects.values() if ipfs_link(data) in links]
        return found[0] if found else super().get(name)


def test_what_no_store_has_any_more_comes_back_by_its_links(one):
    elsewhere = Elsewhere("elsewhere")
    elsewhere.objects = {f"x/{at}": data for at, data in enumerate(one.objects.values())}
    two = twin(one)
    before = objects(one)
    for store in (one, two):
        for name in names(store, "packs/"):
            del store.objects[ROOT + name]
    done = repaired(Mirrored([Member(one), Member(two)], elsewhere))
    assert done.lost == ()
    assert objects(one) == objects(two) == before


def test_bytes_that_a_link_leads_to_and_that_do_not_fit_the_name_are_not_put(one):
    """A link in an index may be anybody's mistake: the name says the digest."""

    class Lying(MemoryStore):
        def get(self, name: str, links=()) -> bytes:
            return b"what the link leads to"

    name = min(names(one, "packs/"))
    del one.objects[ROOT + name]
    done = repaired(Mirrored([Member(one), Member(MemoryStore("two"))], Lying("strangers")))
    assert len(done.lost) == 1
    assert name not in names(one)


def test_a_single_store_is_never_given_its_own_wrong_bytes_again(one):
    name = ROOT + min(names(one, "packs/"))
    one.objects[name] = flipped(one.objects[name], 100)
    watched = Faulty(one)
    done = repaired(watched, Choice(data=True))
    assert len(done.lost) == 1
    assert [call for call in watched.calls if call[0] == "put"] == []


# --- what stands under fixed names ---


def test_the_newest_head_comes_into_stores_with_an_older_one_none_or_a_spoiled_one(one):
    older, without, spoiled = (twin(one, name) for name in ("older", "without", "spoiled"))
    del without.objects[ROOT + HEAD]
    spoiled.objects[ROOT + HEAD] = b"junk"
    back_up(one, CONTENTS[0])
    store = several(older, without, spoiled, one)
    (head,) = [each for each in planned(store).signed if each.name == HEAD]
    assert head.lacking == {"older": "older", "without": "missing", "spoiled": "spoiled"}
    repaired(store)
    for each in (older, without, spoiled):
        assert objects(each) == objects(one)


def test_a_head_never_comes_where_its_manifest_is_not(one):
    two = Faulty(
        MemoryStore("two"), lambda call: Fault.refuse if "/manifests/" in call.name and call.verb == "put" else None
    )
    done = repaired(several(one, two))
    assert two.struck
    assert names(two, HEAD) == set()
    assert "refuses" in str(done.stores[1].problem)


def test_neither_manifests_nor_a_head_come_before_the_packs(one):
    two = MemoryStore("two")
    source = Faulty(one, lambda call: Fault.raise_before if call.verb == "get" and "/packs/" in call.name else None)
    done = repaired(several(source, two))
    assert source.struck
    assert names(two, "manifests/") | names(two, HEAD) == set()
    assert "does not answer" in str(done.stores[1].problem)


def mark_of(writer: str = WRITER.id) -> bytes:
    """Of the start of a writer."""
    return records.write_line(Genesis(writer, 1, "2026-11-20T03:00:00Z"), OWNER.sign_seed)


def test_the_mark_of_the_start_and_restorations_are_copied_when_they_are_the_writers(one):
    genesis = mark_of()
    one.put(ROOT + GENESIS, genesis)
    ref = opened(one).catalog.refs()[0]
    restoration = Restoration(WRITER.id, "synthetic", "new", "old", WRITER.id, ref, "2026-11-20T03:00:00Z")
    opened(one).catalog.put_restoration(restoration, signer_of(WRITER, ()))
    stray = restoration_path("stray")
    one.put(ROOT + stray, b"junk")
    two, three = MemoryStore("two"), MemoryStore("three")
    three.put(ROOT + GENESIS, b"junk")
    four = MemoryStore("four")
    four.put(ROOT + GENESIS, mark_of(OWNER.writer(2).id))
    repaired(several(one, two, three, four))
    for store in (two, three, four):
        assert store.objects[ROOT + GENESIS] == genesis
        assert opened(store).catalog.restoration("new") == restoration
        assert ROOT + stray not in store.objects


def test_what_a_newer_version_wrote_is_left_as_it_is(one, monkeypatch):
    one.put(ROOT + GENESIS, mark_of())
    two = MemoryStore("two")
    with monkeypatch.context() as patch:
        patch.setattr(documents, "FORMAT", documents.FORMAT + 1)
        two.put(ROOT + GENESIS, newer := mark_of())
    repaired(several(one, two))
    assert two.objects[ROOT + GENESIS] == newer
    assert errors(one) == []
    head = records.read_line(Head, one.objects[ROOT + HEAD], WRITER.verify_key)
    with monkeypatch.context() as patch:
        patch.setattr(documents, "FORMAT", documents.FORMAT + 1)
        two.put(ROOT + HEAD, records.write_line(head, WRITER.sign_seed))
    with pytest.raises(ToolMissing):
        repaired(several(one, two))


def test_the_newer_ipns_record_counts_and_somebody_elses_does_not(one):
    def record(sequence: int, key=WRITER) -> bytes:
        cid = ipfs_link(str(sequence).encode())
        return heads.announcement(key, sequence, cid, None, clock.now()).ipns_record

    two, three = twin(one), twin(one, "three")
    one.put(ROOT + heads.IPNS_RECORD, record(3))
    two.put(ROOT + heads.IPNS_RECORD, record(2))
    three.put(ROOT + heads.IPNS_RECORD, record(9, OWNER.writer(2)))
    newest = one.objects[ROOT + heads.IPNS_RECORD]
    store = several(one, two, three)
    repaired(store)
    assert two.objects[ROOT + heads.IPNS_RECORD] != newest  # nobody said whose it is
    repaired(store, Choice(ipns_key=WRITER.head_keys.ipns))
    assert [each.objects[ROOT + heads.IPNS_RECORD] for each in (one, two, three)] == [newest] * 3


def ended_meanwhile(store: Store, plan: Plan) -> Repaired:
    """A repair that was planned, then a backup of another machine, then the copying."""
    back_up(store, CONTENTS[0])
    return repair.carry_out(opened(store), plan)


def test_a_head_that_a_backup_put_while_a_repair_copied_stays(one):
    """Nobody saw that one when the repair was planned, hours ago."""
    two, three = MemoryStore("two"), twin(one, "three")
    three.objects[ROOT + HEAD] = b"junk"
    store = several(one, two, three)
    plan = planned(store, Choice(ipns_key=WRITER.head_keys.ipns))
    assert {each.name: set(each.lacking) for each in plan.signed} == {
        HEAD: {"two", "three"},
        heads.IPNS_RECORD: {"two"},
    }
    done = ended_meanwhile(store, plan)
    assert [each.problem for each in done.stores] == [None] * 3
    for name in (HEAD, heads.IPNS_RECORD):
        assert one.objects[ROOT + name] == two.objects[ROOT + name] == three.objects[ROOT + name]
    assert [opened(each).catalog.head().sequence for each in (one, two, three)] == [4] * 3


def test_a_newer_versions_head_that_came_while_a_repair_copied_stays(one, monkeypatch):
    two = MemoryStore("two")
    plan = planned(several(one, two))
    head = records.read_line(Head, one.objects[ROOT + HEAD], WRITER.verify_key)
    with monkeypatch.context() as patch:
        patch.setattr(documents, "FORMAT", documents.FORMAT + 1)
        two.put(ROOT + HEAD, newer := records.write_line(head, WRITER.sign_seed))
    repair.carry_out(opened(several(one, two)), plan)
    assert two.objects[ROOT + HEAD] == newer


def test_no_head_is_put_where_nobody_can_tell_whether_it_is_older(one):
    two = MemoryStore("two")
    asleep = threading.Event()
    silent = Faulty(two, lambda call: Fault.raise_before if call.verb == "get" and asleep.is_set() else None)
    store = several(one, silent)
    plan = planned(store)
    asleep.set()
    done = repair.carry_out(opened(store), plan)
    assert [call.name for call in silent.struck] == [ROOT + HEAD]
    assert HEAD not in names(two)
    assert "does not answer" in str(done.stores[1].problem)
    repaired(several(one, two))
    assert objects(two) == objects(one)


# --- what was pruned ---


def test_what_was_pruned_before_the_newest_backup_is_not_brought_back(one):
    """A store that was away meanwhile still has it."""
    two = twin(one)
    one.now += 40 * 24 * 3600
    writer = opened(one)
    first = writer.catalog.refs()[0]
    prune(writer, plan_prune(writer, [first]))
    back_up(one, CONTENTS[0])
    store = several(one, two)
    repaired(store)
    assert first in opened(two).catalog.refs()
    assert first not in opened(one).catalog.refs()
    assert names(one) < names(two)
    assert planned(store).is_empty
    assert restored(one) == restored(two) == CONTENTS[0]


def test_after_a_prune_of_each_nothing_is_lacking(one):
    two = twin(one)
    for store in (one, two):
        store.now += 40 * 24 * 3600
        writer = opened(store)
        prune(writer, plan_prune(writer, writer.catalog.refs()[:2]))
    assert planned(several(one, two)).is_empty
    assert names(one) == names(two)


DAY = 24 * 3600.0
BIG = {"rows": noise(2_000_000, 1)}


def with_one_manifest_lost(monkeypatch) -> tuple[MemoryStore, MemoryStore]:
    """Two stores with backups of many days, of which the second lacks one manifest that counts."""
    one = MemoryStore("one")
    monkeypatch.setattr(clock, "now", lambda: one.now)
    for each in range(3):
        back_up(one, {"rows": noise(60_000, each)})
        one.now += 10 * DAY
    two = twin(one)
    two.delete(f"{ROOT}manifests/{opened(one).catalog.refs()[0].name}")
    return one, two


def sweep_of(store: Store) -> tuple[str, ...]:
    """A prune of each store that drops no backup, and why packs stay there; empty where they do not."""
    done = prune_each(opened(store), policy.parse("last 3, floor 1"))
    assert [each.pruned.manifests for each in done] == [()] * len(done)
    return tuple(each.pruned.waits for each in done)


def test_a_manifest_is_kept_back_where_a_prune_came_between(monkeypatch):
    """What it names lay there unnamed, and was old enough to go; a reader key can tell no prune to wait."""
    one, two = with_one_manifest_lost(monkeypatch)
    store = several(one, two)
    plan = planned(store)
    before = names(two)
    assert sweep_of(store) == ("", "")
    assert names(two) < before
    done = repair.carry_out(opened(store), plan)
    assert "it was pruned meanwhile" in str(done.stores[1].problem)
    assert [ref.sequence for ref in opened(two).catalog.refs()] == [2, 3]
    assert errors(two) == []
    assert repaired(store).stores[1].problem is None
    assert objects(two) == objects(one)


def test_while_a_repair_is_under_way_nothing_is_swept_and_afterwards_it_is(monkeypatch):
    one, two = with_one_manifest_lost(monkeypatch)
    store = several(one, two)
    inside = opened(store).catalog.store
    with Protection(inside, WRITER.id, signer_of(WRITER, ())) as protection:
        plan = planned(store)
        assert all("or a repair" in why for why in sweep_of(store))
        done = repair.carry_out(opened(store), plan)
    assert protection.doubts == ()
    assert done.stores[1].problem is None
    assert objects(two) == objects(one)
    assert errors(two) == []
    assert names(two, "checkpoints/") == set()
    assert sweep_of(store) == ("", "")


def test_a_repair_that_takes_days_keeps_its_checkpoints_young(monkeypatch):
    hours = 0
    ages = []
    lock = threading.Lock()

    class Slow(MemoryStore):
        def put(self, name: str, data: bytes) -> tuple[str, ...]:
            nonlocal hours
            links = super().put(name, data)
            with lock:
                if "/packs/" in name:
                    hours += 2
                    self.now += 2 * 3600
                    last = max(self.modified[ROOT + each] for each in names(self, "checkpoints/"))
                    ages.append(self.now - last)
            return links

    monkeypatch.setattr(clock, "monotonic", lambda: hours * 3600.0)
    one, two = MemoryStore("one"), Slow("two")
    back_up(one, BIG)
    store = several(one, two)
    with Protection(opened(store).catalog.store, WRITER.id, signer_of(WRITER, ())) as protection:
        done = repaired(store, progress=protection.during(Quiet()))
    assert done.stores[1].problem is None
    assert hours * 3600 > GRACE
    assert max(ages) < GRACE / 2
    assert names(two, "checkpoints/") == set()


def test_a_store_that_takes_no_checkpoint_is_repaired_all_the_same(one):
    two, three = MemoryStore("two"), MemoryStore("three")
    deaf = Faulty(two, lambda call: Fault.refuse if "/checkpoints/" in call.name else None)
    store = several(one, deaf, three)
    with Protection(opened(store).catalog.store, WRITER.id, signer_of(WRITER, ())) as protection:
        assert len(names(three, "checkpoints/")) == 1
        repaired(store)
    assert deaf.struck
    assert objects(two) == objects(three) == objects(one)
    assert "holds up pruning" in protection.doubts[0]


# --- which stores ---


def test_only_the_stores_that_are_named_are_repaired_and_read(one):
    one.put(ROOT + GENESIS, mark_of())
    two, three = MemoryStore("two"), MemoryStore("three")
    repaired(several(one, two, three), Choice(into=("three",)))
    assert not two.objects
    assert objects(three) == objects(one)
    watched = Faulty(one)
    one.objects.pop(ROOT + min(names(one, "packs/")))
    repaired(several(watched, two, three), Choice(into=("two",), out_of=("three",)))
    assert objects(two) == objects(three)
    assert [call for call in watched.calls if call[0] == "get" and "/packs/" in call[1]] == []


def test_a_manifest_waits_when_the_store_to_copy_from_lacks_what_it_names(one):
    two, three = twin(one), MemoryStore("three")
    del two.objects[ROOT + min(names(two, "packs/"))]
    done = repaired(several(one, two, three), Choice(into=("three",), out_of=("two",)))
    assert names(three, "manifests/") == set()
    assert done.lost == ()
    assert "is not to be had from two" in str(done.stores[2].problem)
    assert len(names(three, "packs/")) == len(names(two, "packs/"))


def test_a_name_that_no_store_has_is_refused(one):
    with pytest.raises(WrongConfiguration, match="no store is called nowhere"):
        planned(several(one, twin(one)), Choice(into=("nowhere",)))


def test_without_any_backup_there_is_nothing_to_repair_by():
    with pytest.raises(NoSuchBackup):
        planned(several(MemoryStore("one"), MemoryStore("two")))


def test_a_store_that_is_down_is_told_of_and_the_others_are_repaired(one):
    two, three = MemoryStore("two"), MemoryStore("three")
    done = repaired(several(Faulty(two, dead_from(1)), one, three))
    assert [(each.name, each.problem is None) for each in done.stores] == [
        ("two", False),
        ("one", True),
        ("three", True),
    ]
    assert objects(three) == objects(one)
    assert not two.objects


def test_a_store_that_is_full_gets_no_more_and_the_others_do(one):
    one.put(ROOT + GENESIS, mark_of())
    two, three = MemoryStore("two"), MemoryStore("three")
    full = Faulty(two, lambda call: Fault.refuse if call.verb == "put" and call.nth > 2 else None)
    done = repaired(several(one, full, three))
    assert done.stores[1].objects == len(two.objects) == 2
    assert done.stores[1].problem
    assert objects(three) == objects(one)
    assert len(full.struck) <= 9  # those that were under way
    assert ("put", ROOT + GENESIS) not in full.calls


def test_a_store_that_answers_a_put_with_nonsense_gets_no_more_and_the_others_do(one):
    class Odd(MemoryStore):
        def put(self, name: str, data: bytes) -> tuple[str, ...]:
            raise Damaged("it says that these bytes have another link")

    three = MemoryStore("three")
    done = repaired(several(one, Odd("two"), three))
    assert isinstance(done.stores[1].problem, Damaged)
    assert objects(three) == objects(one)


def test_without_any_store_that_answers_it_is_an_error(one):
    with pytest.raises(StoreUnreachable):
        planned(several(Faulty(one, dead_from(1)), Faulty(twin(one), dead_from(1))))


# --- stores that keep no names ---


class Portal(MemoryStore):
    """Gives an object for the link that it gave when it took it."""

    def __init__(self, name: str = "portal") -> None:
        super().__init__(name, traits=StoreTraits(lists=False, deletes=False, not_found_is_final=False, scheme="sia"))

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        link = f"sia://{skylink_of(data).text}"
        self.objects[link] = data
        return (link,)

    def get(self, name: str, links=()) -> bytes:
        for link in links:
            if link in self.objects:
                return self.objects[link]
        raise ObjectMissing(f"the portal cannot find {name}")

    def list(self, prefix: str):
        raise AssertionError("nobody asks it for names")

    def head(self, name: str):
        raise AssertionError("nobody asks it for names")


def test_a_portal_gets_again_what_it_gave_links_for():
    one, portal = MemoryStore("one"), Portal()
    store = several(one, portal, best_effort=("portal",))
    back_up(store, CONTENTS[0])
    before = dict(portal.objects)
    packs = [one.objects[ROOT + name] for name in names(one, "packs/")]
    gone, bad, *_ = sorted(link for link, data in before.items() if data in packs)
    del portal.objects[gone]
    portal.objects[bad] = b"something else"
    plan = planned(store)
    assert plan.is_empty
    assert plan.notes == ("portal keeps no names: whether it has what the links lead to is only found out with --data",)
    assert lacking(planned(store, Choice(data=True)))["portal"] == (1, 1)
    repaired(store, Choice(data=True))
    assert portal.objects == before


def test_what_a_portal_never_took_has_no_link_and_is_noted(one):
    store = several(one, Portal(), best_effort=("portal",))
    plan = planned(store, Choice(data=True))
    assert plan.is_empty
    assert plan.notes == (
        f"portal did not take {len(objects(one)) - 1} objects: no link leads there, and none can be added",
    )


# --- stopped, killed, failing ---


def sweep(one: MemoryStore, fault: Fault) -> Iterator[tuple[MemoryStore, Repaired | None]]:
    """A repair of an empty store, in which each call of either store fails in turn, and what it came to."""
    for number in itertools.count(1):
        struck = False
        for failing in ("source", "target"):
            two = MemoryStore("two")
            stores = {"source": one, "target": two}
            faulty = Faulty(stores[failing], at={number: fault})
            store = several(*(faulty if name == failing else each for name, each in stores.items()))
            try:
                done = repaired(store)
            except (StoreUnreachable, Killed):
                done = None
            struck = struck or bool(faulty.struck)
            yield two, done
        if not struck:
            return


def small() -> MemoryStore:
    store = MemoryStore("one")
    for each in ({"a": noise(90_000, 1)}, {"a": noise(3000, 2)}):
        back_up(store, each)
    return store


@pytest.mark.parametrize("fault", [Fault.raise_before, Fault.raise_after, Fault.kill_before, Fault.kill_after])
def test_wherever_a_call_fails_or_a_kill_comes_what_is_there_restores_and_the_next_repair_goes_on(fault):
    one = small()
    whole = objects(one)
    tried = 0
    for two, done in sweep(one, fault):
        tried += 1
        told = done is None or any(each.problem for each in done.stores)
        assert told or objects(two) == whole
        if names(two, "manifests/"):
            assert errors(two) == []
        repaired(several(one, two))
        assert objects(two) == whole
    assert tried > 30
    assert objects(one) == whole


def test_a_repair_that_is_asked_to_stop_does(one):
    stop = threading.Event()
    stop.set()
    two = MemoryStore("two")
    with pytest.raises(Interrupted):
        repaired(several(one, two), stop=stop)
    assert not two.objects


def test_the_head_is_told_again_and_what_came_of_it(one):
    done = repaired(several(one, MemoryStore("two")), publish=lambda: ["nobody listens"])
    assert done.doubts == ("nobody listens",)


# --- as users type it ---


@pytest.fixture
def folders(one: MemoryStore, tmp_path: Path) -> dict[str, str]:
    """One folder with the backups, and one that is no store yet, as settings."""
    here = LocalStore(tmp_path / "here")
    here.prepare()
    for name, data in one.objects.items():
        here.put(name, data)
    urls = f"file://{tmp_path}/here?name=here file://{tmp_path}/there?name=there"
    return {"STORE": urls, "KEY": WRITER.line, "GATEWAYS": "off", "ROUTERS": "off"}


def test_a_new_folder_is_filled_and_then_whole(folders, tmp_path, one):
    shown = call("repair", "--dry-run", expect=13, **folders)
    assert shown.out.splitlines()[0] == "store here: has everything"
    assert "there is no store in" in shown.err
    assert not (tmp_path / "there").exists()
    done = call("repair", "--json", **folders).json
    here, there = done["stores"]
    assert (here["missing"], here["objects"], here["signed"]) == ([], 0, {})
    assert set(there["missing"]) | set(there["signed"]) == names(one)
    assert there["signed"] == {HEAD: "missing", heads.IPNS_RECORD: "missing"}
    assert there["objects"] == len(names(one))
    assert names(LocalStore(tmp_path / "there")) == names(one)
    assert call("repair", "--data", **folders).out.splitlines()[1:] == [
        "store there: has everything",
        "0 objects put, 0 B",
    ]
    assert call("repair", "--quiet", **folders).out == ""
    assert restored(LocalStore(tmp_path / "there")) == CONTENTS[2]


def test_what_is_lost_ends_with_status_3_and_is_named(folders, tmp_path, one):
    call("repair", **folders)
    name = min(names(one, "packs/"))
    for folder in ("here", "there"):
        (tmp_path / folder / ROOT / name).unlink()
    shown = call("repair", "--dry-run", **folders)
    assert "2 objects would be put" in shown.out
    ended = call("repair", expect=3, **folders)
    assert f"warning: {name} could not be had from anywhere" in ended.err


@pytest.mark.parametrize(("option", "status"), [("", 13), ("&required=no", 3)])
def test_a_store_that_is_down_decides_the_status_by_whether_it_is_required(folders, tmp_path, option, status):
    (tmp_path / "there").write_bytes(b"in the way")
    ended = call("repair", expect=status, **folders | {"STORE": folders["STORE"] + option})
    assert "warning: store there did not answer, and was left as it is" in ended.err
    assert "store there: did not answer" in ended.out


def test_a_single_store_has_nothing_to_copy_from_but_tells_what_is_lost(folders, one, tmp_path):
    alone = folders | {"STORE": folders["STORE"].split()[0]}
    assert call("repair", **alone).out.splitlines()[0] == "store here: has everything"
    (tmp_path / "here" / ROOT / min(names(one, "packs/"))).unlink()
    assert "could not be had from anywhere" in call("repair", expect=3, **alone).err


def test_stores_are_chosen_by_name(folders, tmp_path):
    assert "no store is called nowhere" in call("repair", "--to", "nowhere", expect=2, **folders).err
    call("repair", "--to", "here", **folders)
    assert not (tmp_path / "there" / "w").exists()


def test_a_repair_leaves_word_in_the_stores_it_repairs_and_a_reader_key_none(folders, tmp_path):
    """Where nothing may be deleted, an empty checkpoint shows that there was one."""
    undeletable = folders | {"STORE": f"{folders['STORE']}&deletes=no"}
    there = LocalStore(tmp_path / "there")
    reader, words = OWNER.reader(1).line, OWNER.words
    for options, key, found in (
        (["--to", "here"], WRITER.line, 0),
        ([], reader, 0),
        ([], WRITER.line, 1),
        ([], words, 2),
    ):
        call("repair", *options, **undeletable | {"KEY": key})
        assert [there.head(ROOT + name).size for name in names(there, "checkpoints/")] == [0] * found
    call("repair", "--dry-run", **undeletable)
    assert len(names(there, "checkpoints/")) == 2
    assert names(LocalStore(tmp_path / "here"), "checkpoints/") == set()


def test_a_bucket_an_ipfs_node_and_a_folder_mend_each_other(tmp_path: Path, ceph: Ceph, ipfs_node: IpfsNode):
    """Each on a real server; each in turn loses something, and the bucket everything."""
    bucket = ceph.bucket()
    node = f"ipfs+{ipfs_node.rpc}/repair-{bucket}"
    settings = {
        "STORE": f"s3://{bucket}/below?endpoint={ceph.http} {node} file://{tmp_path}/folder",
        "STORE_S3_ACCESS_KEY_ID": ceph.key.id,
        "STORE_S3_SECRET_ACCESS_KEY": ceph.key.secret,
        "KEY": WRITER.line,
        "GATEWAYS": "off",
        "ROUTERS": "off",
    }
    store = assemble.prepared_store(configured(**settings))
    for each in CONTENTS[:2]:
        back_up(store, each)
    one, two, three = (member.store for member in store.members)
    whole = objects(three)
    for name in names(one):
        one.delete(ROOT + name)
    two.delete(ROOT + min(names(two, "indexes/")))
    spoiled = ROOT + min(names(three, "packs/"))
    three.put(spoiled, flipped(three.get(spoiled), 100))
    shown = call("verify", expect=12, **settings).out
    assert "error: store s3: lacks 2 manifests, 2 indexes, " in shown
    done = call("repair", "--data", "--json", **settings).json
    assert [len(each["wrong"]) for each in done["stores"]] == [0, 0, 1]
    assert [each["objects"] for each in done["stores"]] == [len(whole) + 1, 1, 1]
    assert objects(one) == objects(two) == objects(three) == whole
    assert call("verify", **settings).out.splitlines()[-1].startswith("ok: 2 backups")
    untold = call("repair", expect=3, **settings | {"ROUTERS": "http://127.0.0.1:1"})  # where nobody listens
    assert "was not told of the new head" in untold.err


# --- before a run ---


def caught_up(store: Store) -> tuple[str, ...]:
    catalog = opened(store).catalog
    return repair.catch_up(catalog, catalog.newest().tips, threading.Event())


def test_catching_up_copies_the_last_backup_and_nothing_older(one):
    two = MemoryStore("two")
    assert caught_up(several(one, two)) == ()
    newest = opened(one).catalog.refs()[-1]
    assert names(two, "manifests/") == {f"manifests/{newest.name}"}
    assert HEAD not in names(two)
    del two.objects[ROOT + f"manifests/{newest.name}"]
    assert caught_up(several(one, two)) == ()
    assert restored(two) == CONTENTS[2]
    assert errors(one) == []


def test_catching_up_does_nothing_for_a_single_store(one):
    watched = Faulty(one)
    tips = opened(one).catalog.newest().tips
    assert repair.catch_up(opened(watched).catalog, tips, threading.Event()) == ()
    assert watched.calls == []


def test_a_store_that_cannot_be_caught_up_is_told_of(one):
    two = Faulty(MemoryStore("two"), lambda call: Fault.refuse if call.verb == "put" else None)
    (doubt,) = caught_up(several(one, two, best_effort=("two",)))
    assert doubt.startswith("store two may lack parts of the last backups: two refuses put")


def test_a_store_that_missed_something_in_this_run_is_left_alone(one):
    two = Faulty(MemoryStore("two"), at={"put": Fault.raise_before})
    store = several(one, two, best_effort=("two",))
    catalog = opened(store).catalog
    tips = catalog.newest().tips
    catalog.store.put("probes/x", b"")
    asked = len(two.calls)
    assert repair.catch_up(catalog, tips, threading.Event()) == ()
    assert len(two.calls) == asked


def test_catching_up_stops_when_asked(one):
    stop = threading.Event()
    stop.set()
    catalog = opened(several(one, MemoryStore("two"))).catalog
    with pytest.raises(Interrupted):
        repair.catch_up(catalog, catalog.newest().tips, stop)


class Uplink(MemoryStore):
    """Takes ten minutes for each pack, by the clock that *minutes* tells."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.minutes = 0
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        with self._lock:
            self.minutes += 10 if "/packs/" in name else 0
        return super().put(name, data)


@pytest.fixture
def uplink(monkeypatch) -> Uplink:
    store = Uplink("two")
    monkeypatch.setattr(clock, "monotonic", lambda: store.minutes * 60.0)
    return store


def test_a_store_that_is_not_required_holds_up_no_backup_while_it_catches_up(uplink):
    one = MemoryStore("one")
    packs = back_up(one, BIG).backup.manifest.packs
    done = back_up(several(one, uplink, best_effort=("two",)), BIG)
    assert "store two may lack parts of the last backups: copying took longer than 10 minutes" in done.doubts
    assert 0 < len(names(uplink, "packs/")) < packs // 2
    assert len(names(uplink, "manifests/")) == 1  # the new one alone
    repaired(several(one, uplink))
    assert errors(uplink) == []


def test_a_required_store_catches_up_for_as_long_as_it_takes_and_the_checkpoint_is_renewed(uplink):
    one = MemoryStore("one")
    packs = back_up(one, BIG).backup.manifest.packs
    seen = []

    class Watching(SyntheticSource):
        def dump(self):
            seen.extend([names(uplink, "packs/"), names(uplink, "checkpoints/")])
            return super().dump()

    done = back_up(several(one, uplink), Watching(BIG))
    assert [doubt for doubt in done.doubts if "lack" in doubt] == []
    assert len(seen[0]) == packs > 10
    assert len(seen[1]) == 2
    assert restored(uplink) == BIG
    assert names(uplink, "checkpoints/") == set()


def test_while_it_catches_up_a_backup_can_renew_its_checkpoint_after_each_object(one):
    two = MemoryStore("two")
    catalog = opened(several(one, two)).catalog
    asked: list[int] = []
    tips = catalog.newest().tips
    repair.catch_up(catalog, tips, threading.Event(), lambda: asked.append(len(names(two))))
    assert len(asked) == len(names(two)) > 3

    def fail() -> None:
        raise BackupFailed("no checkpoint could be written")

    two.objects.clear()
    with pytest.raises(BackupFailed):
        repair.catch_up(catalog, tips, threading.Event(), fail)


def test_a_backup_brings_a_store_up_to_date_that_was_away():
    one, two = MemoryStore("one"), MemoryStore("two")
    back_up(one, CONTENTS[0])
    back_up(several(one, two, best_effort=("two",)), CONTENTS[1])
    assert caught_up(several(one, two)) == ()
    assert restored(two) == CONTENTS[1]
