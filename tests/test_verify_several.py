"""`verify` with several stores: what each has, lacks and has wrong, and whose head is behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from calling import call
from dwebbackup import verify
from dwebbackup.catalog import GENESIS, HEAD
from dwebbackup.errors import StoreUnreachable
from dwebbackup.ports import Member, Quiet, Store, StoreTraits
from dwebbackup.stores.local import LocalStore
from dwebbackup.stores.mirrored import Mirrored
from dwebbackup.verify import Report
from faulty import Fault, Faulty, MemoryStore, dead_from, flipped
from synthetic import OWNER, ROOT, WRITER, back_up, names, noise, opened, small_pieces


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_pieces():
        yield


@pytest.fixture
def one() -> MemoryStore:
    """Three backups that share most packs."""
    store = MemoryStore("one")
    for number in range(3):
        back_up(store, {"same": noise(60_000), "other": noise(5_000, number)})
    return store


def twin(store: MemoryStore, name: str = "two") -> MemoryStore:
    copy = store.copy()
    copy.name, copy.url = name, f"memory://{name}"
    return copy


def verified(*stores: Store, best_effort: tuple[str, ...] = (), percent: float | None = None, key=OWNER) -> Report:
    store = Mirrored([Member(each, each.name not in best_effort) for each in stores])
    return verify.verify(opened(store, key), None, percent, Quiet())


def findings(report: Report) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.what, finding.message) for finding in report.findings]


def spoil(store: MemoryStore, folder: str) -> None:
    name = ROOT + min(names(store, folder))
    store.objects[name] = flipped(store.objects[name], 100)


def test_two_that_have_everything_are_well(one):
    report = verified(one, twin(one))
    assert findings(report) == []
    packs = len(names(one, "packs/"))
    for name, each in zip(("one", "two"), report.stores, strict=True):
        assert (each.name, each.required, each.head, each.problem) == (name, True, 3, "")
        assert each.present == {"manifests": 3, "indexes": 3, "packs": packs}
        assert (each.missing, each.wrong) == ({}, {})
    assert (report.backups, report.packs) == (3, packs)


def test_one_store_alone_is_counted_too(one):
    (alone,) = verify.verify(opened(one), None, None, Quiet()).stores
    assert alone == verified(one, twin(one)).stores[0]


@pytest.mark.parametrize(("required", "severity"), [(True, "error"), (False, "warning")])
def test_what_one_of_them_lacks_is_an_error_only_where_it_is_required(one, required, severity):
    two = twin(one)
    pack, manifest = min(names(two, "packs/")), min(names(two, "manifests/"))
    del two.objects[ROOT + pack], two.objects[ROOT + manifest]
    report = verified(one, two, best_effort=() if required else ("two",))
    (finding,) = findings(report)
    assert finding[:2] == (severity, "store two")
    assert finding[2].startswith("lacks 1 manifest, 1 pack (manifests/")
    assert "`dwebbackup repair`" in finding[2]
    assert report.ok is not required
    assert report.stores[1].missing == {"manifests": 1, "packs": 1}


def test_another_size_is_wrong(one):
    two = twin(one)
    name = ROOT + min(names(two, "indexes/"))
    two.objects[name] += b"x"
    report = verified(one, two)
    assert report.stores[1].wrong == {"indexes": 1}
    assert findings(report)[0][2].startswith("has 1 index (indexes/")


def test_what_no_store_has_is_told_of_its_backup_as_well(one):
    two = twin(one)
    name = min(names(one, "packs/"))
    del one.objects[ROOT + name], two.objects[ROOT + name]
    told = [what for _, what, _ in findings(verified(one, two, best_effort=("two",)))]
    assert told.count("store one") == told.count("store two") == 1
    assert [what for what in told if what.startswith("pack ")]


def test_with_data_every_copy_is_read_and_one_is_opened(one):
    two = Faulty(twin(one))
    watched = Faulty(one)
    report = verified(watched, two, percent=100)
    assert findings(report) == []
    for store in (watched, two):
        gets = Counter(name for verb, name in store.calls if verb == "get" and "/packs/" in name)
        assert gets == dict.fromkeys((ROOT + name for name in names(one, "packs/")), 1)
    assert report.bytes_read == sum(len(one.objects[ROOT + name]) for name in names(one, "packs/"))


@pytest.mark.parametrize("folder", ["packs", "indexes", "manifests"])
@pytest.mark.parametrize("liar", [0, 1])
def test_a_copy_with_wrong_bytes_is_found_in_whichever_store(one, folder, liar):
    stores = [one, twin(one)]
    spoil(stores[liar], f"{folder}/")
    assert findings(verified(*stores)) == []
    report = verified(*stores, percent=100)
    assert [(each.wrong, each.missing) for each in report.stores][liar] == ({folder: 1}, {})
    assert [each.wrong for each in report.stores][1 - liar] == {}
    (finding,) = findings(report)
    assert finding[:2] == ("error", f"store {stores[liar].name}")
    assert "with other bytes than it should" in finding[2]


def test_a_pack_that_is_spoiled_everywhere_is_told_as_with_one_store(one):
    two = twin(one)
    spoil(one, "packs/")
    spoil(two, "packs/")
    told = findings(verified(one, two, percent=100))
    assert [severity for severity, what, message in told if what.startswith("pack ") and "not what its name" in message]


def test_a_head_that_is_behind_missing_or_spoiled_is_found(one):
    older, without, spoiled = (twin(one, name) for name in ("older", "without", "spoiled"))
    back_up(one, {"same": noise(60_000)})
    for store in (older, without, spoiled):
        store.objects |= {name: data for name, data in one.objects.items() if "/head" not in name}
        store.modified |= one.modified
    del without.objects[ROOT + HEAD]
    spoiled.objects[ROOT + HEAD] = b"junk"
    report = verified(older, without, spoiled, one, best_effort=("without",))
    told = {what: (severity, message) for severity, what, message in findings(report)}
    assert told["store older"] == ("error", "its head names backup 3, and another store's 4: behind, or rolled back")
    assert told["store without"] == ("warning", "has no head, and another store's names backup 4")
    assert told["store spoiled"][1].startswith("its head cannot be used: this is not a head")
    assert [each.head for each in report.stores] == [3, None, None, 4]


@pytest.mark.parametrize(("required", "severity"), [(True, "error"), (False, "warning")])
def test_a_store_that_is_down_is_a_finding_and_the_others_are_verified(one, required, severity):
    two, three = Faulty(twin(one), dead_from(1)), twin(one, "three")
    del three.objects[ROOT + min(names(three, "packs/"))]
    report = verified(two, one, three, best_effort=() if required else ("two",), percent=100)
    told = [finding for finding in findings(report) if finding[1].startswith("store")]
    assert [finding[:2] for finding in told] == [(severity, "store two"), ("error", "store three")]
    assert told[0][2].startswith("was not verified: two does not answer")
    assert report.stores[0].problem
    assert report.packs == len(names(one, "packs/"))


def test_a_store_that_goes_while_it_is_read_is_a_finding(one):
    two = Faulty(twin(one), at={("get", 4): Fault.raise_before})
    report = verified(one, two, best_effort=("two",), percent=100)
    assert two.struck
    assert ("warning", "store two") in [finding[:2] for finding in findings(report)]
    assert report.ok


def test_with_no_store_that_answers_it_is_an_error(one):
    with pytest.raises(StoreUnreachable):
        verified(Faulty(one, dead_from(1)), Faulty(twin(one), dead_from(1)))
    gone = Faulty(one, at={("list", 2): Fault.raise_before})  # after its manifests were listed
    with pytest.raises(StoreUnreachable):
        verify.verify(opened(gone), None, None, Quiet())
    assert gone.struck


def test_a_mark_that_is_not_the_owners_is_told_with_its_store(one):
    two = twin(one)
    two.put(ROOT + GENESIS, b"junk")
    ((severity, what, message),) = findings(verified(one, two))
    assert (severity, what) == ("error", "genesis")
    assert message.endswith("(in store two)")


def test_what_was_pruned_from_one_before_the_newest_backup_is_not_missed_there(one):
    two = twin(one)
    first = min(names(one, "manifests/"))
    del one.objects[ROOT + first]
    back_up(one, {"same": noise(60_000)})
    report = verified(one, two, best_effort=("two",))
    assert report.stores[0].missing == {}
    assert report.ok


def test_a_portal_is_counted_by_its_links(one):
    portal = MemoryStore("portal", traits=StoreTraits(lists=False, deletes=False, scheme="sia"))
    report = verified(one, portal, best_effort=("portal",))
    assert report.stores[1].present == {}
    assert sum(report.stores[1].missing.values()) == sum(report.stores[0].present.values())
    (finding,) = findings(report)
    assert finding[:2] == ("warning", "store portal")
    assert "cannot be found there" in finding[2]


def test_a_writer_key_verifies_several_as_well(one):
    two = twin(one)
    del two.objects[ROOT + min(names(two, "packs/"))]
    assert [finding[:2] for finding in findings(verified(one, two, key=WRITER))] == [("error", "store two")]


def test_a_spoiled_head_of_a_single_store_is_told_once(one):
    one.objects[ROOT + HEAD] = b"junk"
    report = verify.verify(opened(one), None, None, Quiet())
    assert [finding[:2] for finding in findings(report)] == [("error", "head")]
    assert report.stores[0].head is None


# --- as users type it ---


@pytest.fixture
def folders(one: MemoryStore, tmp_path: Path) -> dict[str, str]:
    """Two folders with the same, the second not required, as settings."""
    for name in ("here", "there"):
        store = LocalStore(tmp_path / name)
        store.prepare()
        for each, data in one.objects.items():
            store.put(each, data)
    urls = f"file://{tmp_path}/here?name=here file://{tmp_path}/there?name=there&required=no"
    return {"STORE": urls, "KEY": OWNER.words, "GATEWAYS": "off", "ROUTERS": "off"}


def test_each_store_has_its_line_and_its_figures(folders, one):
    whole = len(names(one, "packs/")) + 6
    lines = call("verify", **folders).out.splitlines()
    assert lines[:2] == [f"store {name}: {whole} objects present; head at 3" for name in ("here", "there")]
    assert lines[2].startswith("ok: 3 backups, ")
    document = call("verify", "--data", "--json", **folders).json
    assert document["ok"]
    assert [(each["name"], each["required"], each["head"]) for each in document["stores"]] == [
        ("here", True, 3),
        ("there", False, 3),
    ]
    assert document["stores"][0]["present"] == {"manifests": 3, "indexes": 3, "packs": whole - 6}


@pytest.mark.parametrize(
    ("lost", "status", "verdict"), [("here", 12, "NOT WHOLE"), ("there", 3, "whole, with warnings")]
)
def test_what_a_store_lacks_decides_the_status_by_whether_it_is_required(folders, tmp_path, one, lost, status, verdict):
    (tmp_path / lost / ROOT / min(names(one, "packs/"))).unlink()
    out = call("verify", expect=status, **folders).out
    whole = len(names(one, "packs/")) + 6
    assert f"store {lost}: {whole - 1} objects present, 1 object missing; head at 3" in out
    assert out.splitlines()[-1].startswith(f"{verdict}: 3 backups")


def test_one_store_alone_says_what_it_always_did(folders):
    alone = folders | {"STORE": folders["STORE"].split()[0]}
    (line,) = call("verify", **alone).out.splitlines()
    assert line.startswith("ok: 3 backups")
    assert len(call("verify", "--json", **alone).json["stores"]) == 1
