"""Inventory: of each manifest what a prune asks for, read once; and which backups have all that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dwebbackup.errors import Damaged, KeyForbids, StoreUnreachable
from dwebbackup.inventory import Inventory, Outline
from dwebbackup.manifest import ManifestRef, PackEntry, SourceRecord, Streams, index_path
from faulty import Fault, Faulty
from shelf import FACTS, Shelf, digest_of, signer_of, stream_of


def backup(shelf: Shelf, *packs: PackEntry, after: Sequence[ManifestRef] = (), **changes: object) -> ManifestRef:
    """A manifest whose only index names these *packs*."""
    return shelf.add(after[-1:], kept=tuple(after), indexes=(shelf.put_index(*packs),), **changes)


def outlines(inventory: Inventory, refs: Sequence[ManifestRef]) -> list[Outline]:
    found = [outline for _, outline in inventory.outlines(refs)]
    assert all(isinstance(each, Outline) for each in found)
    return found


def gets(store: Faulty) -> list[str]:
    return [name for verb, name in store.calls if verb == "get"]


# --- what is read ---


def test_an_outline_says_what_the_manifest_says_of_itself(shelf: Shelf):
    sources = (SourceRecord(FACTS, (stream_of([(0, 0, 5)], rows=7),)),)
    ref = shelf.add(sources=sources, indexes=(shelf.put_index(),), spilled=shelf.put_index(shelf.pack([b"a"])))
    manifest = shelf.catalog().read(ref).manifest
    (found,) = outlines(Inventory(shelf.catalog()), [ref])
    assert (found.run, found.finished, found.sources) == (manifest.run, manifest.finished, 1)
    assert [(tally.source, tally.rows) for tally in found.tallies] == [("app", 7)]
    assert (found.indexes, found.spilled) == (manifest.indexes, manifest.spilled)
    assert list(found.paths) == [index_path(each.sha256) for each in (manifest.indexes[0], manifest.spilled)]


def test_each_manifest_is_read_once_however_often_it_is_asked_for(shelf: Shelf):
    refs = shelf.chain(5)
    store = Faulty(shelf.store)
    inventory = Inventory(shelf.catalog(store))
    assert [ref for ref, _ in inventory.outlines(refs[:3])] == refs[:3]
    assert [ref for ref, _ in inventory.outlines(refs[::-1])] == refs[::-1]
    assert sorted(gets(store)) == [f"manifests/{ref.name}" for ref in refs]
    known = Inventory(shelf.catalog(store), inventory.known)
    assert outlines(known, refs) == outlines(inventory, refs)
    assert len(gets(store)) == 5


def test_what_cannot_be_read_is_told_and_tried_again(shelf: Shelf):
    refs = shelf.chain(3)
    store = Faulty(shelf.store, lambda call: Fault.truncate if refs[1].name in call.name and call.nth < 5 else None)
    inventory = Inventory(shelf.catalog(store))
    first = [outline for _, outline in inventory.outlines(refs)]
    assert [type(each) for each in first] == [Outline, Damaged, Outline]
    assert list(inventory.known) == [refs[0], refs[2]]
    list(inventory.outlines(refs))
    assert outlines(inventory, refs)[1].run == f"{2:016x}"
    assert len(gets(store)) == 5


def test_an_index_that_many_manifests_name_is_held_once(shelf: Shelf):
    index = shelf.put_index()
    refs: list[ManifestRef] = []
    for _ in range(3):
        refs.append(shelf.add(refs[-1:], kept=tuple(refs), indexes=(index,)))
    assert len({id(outline.indexes[0]) for outline in outlines(Inventory(shelf.catalog()), refs)}) == 1


# --- what is whole ---


def test_whole_is_what_has_every_pack_in_full(shelf: Shelf):
    good, gone, short = (shelf.pack([text]) for text in (b"good", b"gone", b"short"))
    refs: list[ManifestRef] = []
    for packs in ([good], [good, gone], [short], []):
        refs.append(backup(shelf, *packs, after=refs))
    shelf.store.delete(gone.path)
    shelf.store.put(short.path, shelf.store.get(short.path)[:-1])
    assert Inventory(shelf.catalog()).whole(refs) == {refs[0], refs[3]}


def test_a_lie_about_a_packs_size_makes_no_other_backup_less_whole(shelf: Shelf):
    """Else whoever stole the writer key lets the owner's prune drop the last good one."""
    pack = shelf.pack([b"a"])
    honest = backup(shelf, pack)
    liar = backup(shelf, replace(pack, size=pack.size + 1), after=[honest])
    assert Inventory(shelf.catalog()).whole([liar, honest]) == {honest}
    assert Inventory(shelf.catalog()).whole([honest, liar]) == {honest}


@pytest.mark.parametrize("spoil", ["missing", "cut", "forged"])
def test_an_index_that_cannot_be_read_makes_whole_nobody_who_names_it(shelf: Shelf, spoil):
    pack = shelf.pack([b"a"])
    first = backup(shelf, pack)
    index = shelf.put_index(signer=signer_of(shelf.owner.writer(2))) if spoil == "forged" else shelf.put_index()
    second = shelf.add([first], kept=(first,), indexes=(index,))
    if spoil == "cut":
        shelf.store.put(index_path(index.sha256), b"")
    if spoil == "missing":
        shelf.store.delete(index_path(index.sha256))
    assert Inventory(shelf.catalog()).whole([first, second]) == {first}


def test_an_index_for_other_readers_is_no_loss_but_an_error(shelf: Shelf):
    """Whoever may not look must not conclude that nothing is there."""
    strange = replace(shelf.signer, recipients=(shelf.owner.writer(2).catalog_recipient,))
    ref = shelf.add(indexes=(shelf.put_index(signer=strange),))
    with pytest.raises(KeyForbids):
        Inventory(shelf.catalog()).whole([ref])


@pytest.mark.parametrize(("run", "whole"), [(f"{1:016x}", True), ("another run", False)])
def test_streams_that_stand_elsewhere_belong_to_it(shelf: Shelf, run, whole):
    ref = shelf.add(spilled=shelf.put_object(Streams(shelf.writer.id, run, ((),))))
    assert Inventory(shelf.catalog()).whole([ref]) == ({ref} if whole else set())


def test_a_manifest_that_cannot_be_read_is_not_whole(shelf: Shelf):
    first, second = shelf.chain(2)
    shelf.store.delete(f"manifests/{first.name}")
    assert Inventory(shelf.catalog()).whole([first, second]) == {second}


def test_packs_are_listed_once_for_the_same_backups(shelf: Shelf):
    refs = [backup(shelf, shelf.pack([b"a"]))]
    refs.append(backup(shelf, shelf.pack([b"b"]), after=refs))
    store = Faulty(shelf.store)
    inventory = Inventory(shelf.catalog(store))
    assert inventory.whole(refs) == set(refs)
    assert [inventory.whole([ref]) for ref in refs] == [{ref} for ref in refs]
    assert store.calls.count(("list", "packs/")) == 1


def test_a_listing_of_packs_that_broke_off_is_no_loss(shelf: Shelf):
    ref = backup(shelf, shelf.pack([b"a"]))
    store = Faulty(shelf.store, at={"list": Fault.break_listing})
    with pytest.raises(StoreUnreachable):
        Inventory(shelf.catalog(store)).whole([ref])


def test_what_stands_behind_a_past_that_is_nonsense_is_read(shelf: Shelf):
    """What a manifest says of others is not asked for, so it spoils nothing."""
    ref = shelf.add(history=("nonsense",), kept=(digest_of("nonsense"),))
    with pytest.raises(Damaged):
        shelf.catalog().read(ref)
    assert outlines(Inventory(shelf.catalog()), [ref])[0].run == f"{1:016x}"
