"""Wrong keys, damaged and forged objects, newer formats, clocks that jump: refused by name, and nothing is touched."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Iterator

import pytest

from dwebbackup import access, age, backup, clock, documents, drafting, records, restore, verify
from dwebbackup.catalog import Backup
from dwebbackup.errors import Damaged, DwebbackupError, KeyForbids, NoSuchBackup, ObjectMissing, ToolMissing
from dwebbackup.keys import Key, OwnerKey, WriterKey
from dwebbackup.manifest import Index, Manifest, ManifestRef, ObjectRef, PackEntry, StreamRecord, index_path
from dwebbackup.ports import Quiet
from dwebbackup.records import Signer
from faulty import Fault, Faulty, MemoryStore, flipped
from synthetic import (
    OWNER,
    ROOT,
    WRITER,
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

OTHERS = OwnerKey(bytes(range(1, 33)))

FIRST = {"a": noise(90_000, 1)}
SECOND = {"a": noise(90_000, 1)[:50_000] + noise(60_000, 2), "b": noise(3000, 3), "empty": b""}

SIGNER = Signer(WRITER.sign_seed, WRITER.verify_key, (WRITER.owner_recipient, WRITER.catalog_recipient))


@pytest.fixture(autouse=True)
def patch() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        patch.setattr(drafting, "SPILL", 10)  # so that there is one of every kind of object
        yield patch


@pytest.fixture
def store() -> MemoryStore:
    """Two backups."""
    store = MemoryStore()
    back_up(store, FIRST)
    back_up(store, SECOND)
    return store


def latest(store: MemoryStore) -> Backup:
    return opened(store).catalog.latest()


def refuses(store: MemoryStore, wanted: str = "latest", key: Key = OWNER) -> DwebbackupError:
    """The error that a restore ends with, over something and into nothing; neither is touched."""
    errors = []
    for before in (None, {"was": b"there"}):
        target = SyntheticTarget(before)
        with pytest.raises(DwebbackupError) as caught:
            restore_to(target, store, wanted, key)
        assert target.contents == before
        errors.append(caught.value)
    assert str(errors[0]) == str(errors[1])
    return errors[0]


def restore_to(target: SyntheticTarget, store: MemoryStore, wanted: str, key: Key) -> None:
    writer = opened(store, key)
    restore.restore(writer, writer.catalog.find(wanted), target, restore.Options(replace=True, jobs=1))


# --- keys ---


def test_a_writer_key_may_not_restore_nor_read_data(store):
    error = refuses(store, key=WRITER)
    assert isinstance(error, KeyForbids)
    assert error.exit_status == 16
    with pytest.raises(KeyForbids):
        verify.verify(opened(store, WRITER), None, 100, Quiet())
    assert verify.verify(opened(store, WRITER), None, None, Quiet()).ok


def test_a_reader_key_restores_its_writer(store):
    assert restored(store, key=OWNER.reader(1)) == SECOND
    assert restored(store, latest(store).manifest.parents[0].id, key=OWNER.reader(1)) == FIRST


@pytest.mark.parametrize(
    "key",
    [OTHERS, OTHERS.reader(1), OTHERS.writer(1), OWNER.reader(2), OWNER.writer(2)],
    ids=["words", "a reader key", "a writer key", "another writer's reader key", "another writer key"],
)
def test_a_key_that_opens_nothing_here_says_so_and_not_that_there_is_nothing(store, key):
    with pytest.raises(NoSuchBackup, match="opens none of them") as caught:
        access.open_store(key, store)
    assert caught.value.exit_status == 10
    assert "words" in caught.value.hint


def test_an_empty_store_is_called_empty():
    with pytest.raises(NoSuchBackup, match="is empty"):
        access.open_store(OWNER, MemoryStore())


@pytest.mark.parametrize("key", [OWNER, WRITER, OWNER.reader(1)], ids=["words", "a writer key", "a reader key"])
def test_a_first_backup_that_never_ended_is_not_taken_for_somebody_elses(key):
    store = MemoryStore()
    with pytest.raises(DwebbackupError):
        back_up(store, SyntheticSource({"a": noise(200_000), "b": b"short"}, breaks="b"))
    assert names(store, "packs/")
    with pytest.raises(NoSuchBackup, match="none is complete"):
        access.open_store(key, store)


def test_the_words_open_a_pack_that_other_words_do_not(store):
    pack = store.objects[ROOT + min(names(store, "packs/"))]
    assert age.unseal(pack, [OWNER.identity])
    with pytest.raises(KeyForbids):
        age.unseal(pack, [OTHERS.identity])


# --- damage ---


def objects(store: MemoryStore, kind: str) -> list[str]:
    """The names of what the newest backup needs, of one kind."""
    newest = latest(store)
    found = {
        "manifest": [f"manifests/{newest.ref.name}"],
        "index": [index_path(ref.sha256) for ref in newest.manifest.indexes],
        "spill": [index_path(newest.manifest.spilled.sha256)] if newest.manifest.spilled else [],
        "pack": [pack.path for index in opened(store).catalog.indexes(newest.manifest) for pack in index.packs],
    }
    return [ROOT + name for name in found[kind]]


Harm = Callable[[MemoryStore, str], object]


def swap(store: MemoryStore, name: str) -> None:
    """With another good object of its kind, or of another where there is none."""
    folder = name.removeprefix(ROOT).partition("/")[0]
    other = next(each for each in sorted(store.objects) if each != name and (folder in each or folder == "manifests"))
    store.objects[name], store.objects[other] = store.objects[other], store.objects[name]


HARMS: dict[str, Harm] = {
    "missing": lambda store, name: store.delete(name),
    "empty": lambda store, name: store.put(name, b""),
    "cut by a byte": lambda store, name: store.put(name, store.get(name)[:-1]),
    "cut in half": lambda store, name: store.put(name, store.get(name)[: len(store.get(name)) // 2]),
    "longer by a byte": lambda store, name: store.put(name, store.get(name) + b"\0"),
    "of zeros": lambda store, name: store.put(name, bytes(len(store.get(name)))),
    "swapped with another": swap,
    "one bit changed": lambda store, name: store.put(name, flipped(store.get(name), 4 * len(store.get(name)))),
}


@pytest.mark.parametrize("kind", ["manifest", "index", "spill", "pack"])
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_object_is_noticed_before_anything_is_touched(store, kind, harm):
    for name in objects(store, kind):
        harmed = store.copy()
        HARMS[harm](harmed, name)
        assert harmed.objects != store.objects
        error = refuses(harmed)
        assert isinstance(error, Damaged)
        assert error.exit_status == 12
        assert errors(harmed)
    assert restored(store) == SECOND


@pytest.mark.parametrize("harm", [harm for harm in HARMS if harm != "swapped with another"])
def test_a_damaged_pack_leaves_the_backups_that_do_not_need_it(store, harm):
    needed = set(objects(store, "pack"))
    back_up(store, {"c": noise(60_000, 9)})
    for name in set(objects(store, "pack")) - needed:
        HARMS[harm](store, name)
    with pytest.raises(Damaged):
        restored(store)
    assert restored(store, "2") == SECOND


def test_a_missing_pack_is_called_missing(store):
    store.delete(objects(store, "pack")[0])
    assert isinstance(refuses(store), ObjectMissing)


def test_no_bit_of_a_small_pack_can_be_changed_unnoticed():
    store = MemoryStore()
    back_up(store, {"a": b"row\n" * 20})
    (pack,) = objects(store, "pack")
    sealed = store.objects[pack]
    for bit in range(0, 8 * len(sealed), 7):
        store.objects[pack] = flipped(sealed, bit)
        with pytest.raises(Damaged):
            restored(store)
    store.objects[pack] = sealed
    assert restored(store) == {"a": b"row\n" * 20}


def test_a_damaged_backup_spoils_no_later_one(store):
    for name in [name for kind in ("index", "spill", "pack") for name in objects(store, kind)]:
        HARMS["one bit changed"](store, name)
    with pytest.raises(Damaged):
        restored(store)
    changed = {name: data[::-1] for name, data in SECOND.items()}
    back_up(store, changed)
    assert restored(store) == changed


@pytest.mark.parametrize("harm", [harm for harm in HARMS if harm not in ("missing", "swapped with another")])
def test_a_damaged_head_stops_latest_but_no_backup_that_is_named(store, harm):
    HARMS[harm](store, f"{ROOT}head.json")
    assert isinstance(refuses(store), Damaged)
    assert restored(store, "2") == SECOND


@pytest.mark.parametrize("harm", [harm for harm in HARMS if harm not in ("missing", "swapped with another")])
def test_a_damaged_head_stops_no_backup_and_is_written_anew(store, harm):
    HARMS[harm](store, f"{ROOT}head.json")
    done = back_up(store, FIRST)
    assert "head" in done.doubts[0]
    assert done.backup.ref.sequence == 3
    assert restored(store) == FIRST
    assert back_up(store, SECOND).doubts == ()


@pytest.mark.parametrize("harm", [harm for harm in HARMS if harm != "swapped with another"])
def test_a_lost_newest_manifest_stops_no_backup_and_is_a_parent_of_the_next(store, harm):
    lost = latest(store).ref
    HARMS[harm](store, f"{ROOT}manifests/{lost.name}")
    done = back_up(store, FIRST)
    assert lost.id in done.doubts[0]
    assert lost in done.backup.manifest.parents
    assert done.backup.ref.sequence == 3
    assert restored(store) == FIRST
    assert back_up(store, SECOND).doubts == ()


def test_a_newest_manifest_that_a_listing_leaves_out_is_found_by_the_head(store):
    """As stores do for a while whose listings lag behind: nothing is forgotten for that, nor refused."""
    pears = SyntheticSource({"p": noise(50_000, 7)}, "pears")
    third = back_up(store, pears).backup.ref
    for hidden in (lambda name: True, lambda name: "/0000000003-" in name):
        lagging = Faulty(store.copy(), at={"list": Fault.hide}, hidden=hidden)
        assert opened(lagging).catalog.latest("pears").ref == third
        done = back_up(lagging, FIRST)
        assert "does not list backup 3" in done.doubts[0]
        assert [entry.source for entry in done.backup.manifest.newest] == ["pears", "synthetic"]
        assert restored(lagging.store, done.backup.ref.id) == FIRST


def test_a_missing_head_stops_nothing(store):
    store.delete(f"{ROOT}head.json")
    assert restored(store) == SECOND
    back_up(store, FIRST)
    assert restored(store) == FIRST


def test_an_older_head_does_not_make_an_older_backup_the_newest(store):
    head = store.objects[f"{ROOT}head.json"]
    back_up(store, FIRST)
    store.put(f"{ROOT}head.json", head)
    assert restored(store) == FIRST


def test_a_newest_manifest_that_is_gone_is_missed(store):
    for name in objects(store, "manifest"):
        store.delete(name)
    with pytest.raises(Damaged, match="head names backup 2"):
        restored(store)
    assert restored(store, "1") == FIRST


def test_manifests_that_are_all_gone_are_not_called_no_backups(store):
    for name in names(store, "manifests/"):
        store.delete(ROOT + name)
    with pytest.raises(Damaged, match="lists none"):
        restored(store)
    # The next backup is made all the same, does not pretend to be the first, and says so.
    done = back_up(store, SECOND)
    lost = done.backup.manifest.parents[0]
    assert done.backup.ref.sequence == lost.sequence + 1
    assert any(lost.id in doubt for doubt in done.doubts)
    assert restored(store) == SECOND


# --- forgery ---


def publish(store: MemoryStore, record: Manifest, signer: Signer = SIGNER) -> ManifestRef:
    """*record* as a manifest in the store, as whoever has the signer's key can put it there."""
    sealed = records.seal(record, signer)
    ref = ManifestRef(record.sequence, records.digest(sealed))
    store.put(f"{ROOT}manifests/{ref.name}", sealed)
    return ref


def publish_index(store: MemoryStore, index: Index, signer: Signer = SIGNER) -> ObjectRef:
    sealed = records.seal(index, signer)
    ref = ObjectRef(records.digest(sealed), len(sealed))
    store.put(ROOT + index_path(ref.sha256), sealed)
    return ref


def following(manifest: Manifest, **changes: object) -> Manifest:
    return dataclasses.replace(manifest, sequence=manifest.sequence + 1, **changes)


FORGER = Signer(OTHERS.writer(1).sign_seed, OTHERS.writer(1).verify_key, SIGNER.recipients)


def test_a_manifest_of_another_signer_is_passed_over_and_named(store):
    """Sealed to the right recipients, numbered beyond all others: the store's owner can put that there."""
    good = latest(store)
    forged = publish(store, dataclasses.replace(good.manifest, sequence=2**32, parents=(good.ref,)), FORGER)
    newest = opened(store).catalog.newest()
    assert [tip.ref for tip in newest.tips] == [good.ref]
    assert forged.id in newest.doubts[0]
    assert restored(store) == SECOND
    with pytest.raises(Damaged, match="somebody else"):
        restored(store, forged.id)
    done = back_up(store, FIRST)
    assert done.backup.ref.sequence == 3
    assert done.doubts
    assert restored(store) == FIRST


def test_a_manifest_that_carries_the_writers_key_without_its_signature_is_refused(store):
    liar = Signer(FORGER.seed, WRITER.verify_key, SIGNER.recipients)
    forged = publish(store, following(latest(store).manifest, parents=(latest(store).ref,)), liar)
    with pytest.raises(Damaged, match="does not hold"):
        restored(store, forged.id)
    assert restored(store) == SECOND


def test_a_whole_store_of_another_writer_below_this_ones_name_restores_nothing():
    """An attacker backs up rows of his own to our recipients, and puts that where ours should be."""
    theirs = OTHERS.writer(1)
    disguised = dataclasses.replace(
        theirs,
        catalog_identity=WRITER.catalog_identity,
        owner_recipient=WRITER.owner_recipient,
        reader_recipient=WRITER.reader_recipient,
    )
    store = MemoryStore()
    backup.back_up([SyntheticSource(FIRST)], access.below(store, WRITER.id), disguised, backup.Options())
    assert isinstance(refuses(store), Damaged)
    store.delete(f"{ROOT}head.json")
    for key in (OWNER, OWNER.reader(1)):
        assert isinstance(refuses(store, key=key), NoSuchBackup)
        assert isinstance(refuses(store, "1", key), Damaged)


def test_a_manifest_under_another_number_is_refused(store):
    good = latest(store)
    moved = ManifestRef(7, good.ref.sha256)
    store.put(f"{ROOT}manifests/{moved.name}", store.get(f"{ROOT}manifests/{good.ref.name}"))
    with pytest.raises(Damaged, match="says that it is"):
        restored(store, moved.id)
    assert restored(store, good.ref.id) == SECOND
    assert restored(store) == SECOND


def test_a_manifest_that_skips_numbers_is_refused(store):
    good = latest(store)
    forged = publish(store, dataclasses.replace(good.manifest, sequence=9, parents=(good.ref,)))
    with pytest.raises(Damaged, match="does not follow"):
        restored(store, forged.id)
    assert restored(store) == SECOND


def test_an_index_of_another_signer_is_refused(store):
    index = opened(store).catalog.indexes(latest(store).manifest)[0]
    ref = publish_index(store, index, FORGER)
    publish(store, following(latest(store).manifest, indexes=(ref,), parents=(latest(store).ref,)))
    assert isinstance(refuses(store), Damaged)


def test_an_index_of_another_writer_is_refused(store):
    index = opened(store).catalog.indexes(latest(store).manifest)[0]
    ref = publish_index(store, dataclasses.replace(index, writer=OTHERS.writer(1).id))
    publish(store, following(latest(store).manifest, indexes=(ref,), parents=(latest(store).ref,)))
    assert "another writer" in str(refuses(store))


def test_a_record_of_one_kind_is_not_taken_for_another(store):
    """An index under a manifest's name: the same signer, the same recipients."""
    index = opened(store).catalog.indexes(latest(store).manifest)[0]
    sealed = records.seal(index, SIGNER)
    ref = ManifestRef(3, records.digest(sealed))
    store.put(f"{ROOT}manifests/{ref.name}", sealed)
    with pytest.raises(Damaged):
        restored(store, ref.id)
    assert restored(store) == SECOND


# A stolen writer key signs what it likes. Rows still come back as they were stored, or not at all.


def with_pack(store: MemoryStore, change: Callable[[PackEntry], PackEntry]) -> ManifestRef:
    """A backup with every pack's entry changed."""
    good = latest(store)
    manifest = opened(store).catalog.whole(good.manifest)
    refs = [
        publish_index(store, dataclasses.replace(index, packs=tuple(map(change, index.packs))))
        for index in opened(store).catalog.indexes(manifest)
    ]
    return publish(store, following(manifest, indexes=tuple(refs), parents=(good.ref,)))


def shifted(numbers: array[int]) -> array[int]:
    """One more in the first place, one less in the second: the sum stays."""
    return array("I", [numbers[0] + 1, numbers[1] - 1, *numbers[2:]])


@pytest.mark.parametrize(
    "change",
    [
        lambda pack: dataclasses.replace(pack, names=pack.names[32:64] + pack.names[:32] + pack.names[64:]),
        lambda pack: dataclasses.replace(pack, lengths=shifted(pack.lengths)),
        lambda pack: dataclasses.replace(pack, frames=shifted(pack.frames)),
        lambda pack: dataclasses.replace(pack, plain=pack.plain + 1),
    ],
    ids=["names swapped", "lengths shifted", "frames shifted", "another plain size"],
)
def test_an_index_that_describes_its_packs_wrongly_restores_nothing(store, change):
    with_pack(store, change)
    assert isinstance(refuses(store), Damaged)
    assert errors(store)


def test_an_index_that_points_into_another_pack_restores_nothing(store):
    packs = [pack for index in opened(store).catalog.indexes(latest(store).manifest) for pack in index.packs]
    assert len(packs) > 2
    with_pack(
        store,
        lambda pack: dataclasses.replace(pack, sha256=packs[0].sha256, size=packs[0].size, plain=packs[0].plain),
    )
    assert isinstance(refuses(store), Damaged)


def with_stream(store: MemoryStore, change: Callable[[StreamRecord], StreamRecord]) -> ManifestRef:
    """A backup with the record of every stream changed."""
    good = latest(store)
    manifest = opened(store).catalog.whole(good.manifest)
    sources = tuple(
        dataclasses.replace(
            source, streams=tuple(change(stream) if stream.bytes else stream for stream in source.streams)
        )
        for source in manifest.sources
    )
    return publish(store, following(manifest, sources=sources, parents=(good.ref,)))


@pytest.mark.parametrize(
    "change",
    [
        lambda stream: dataclasses.replace(stream, bytes=stream.bytes - 1),
        lambda stream: dataclasses.replace(stream, chunks=stream.chunks + 1),
        lambda stream: dataclasses.replace(stream, runs=stream.runs[:-3]),
        lambda stream: dataclasses.replace(stream, runs=(*stream.runs[:-1], stream.runs[-1] + 10**6)),
        lambda stream: dataclasses.replace(stream, runs=(99, *stream.runs[1:])),
        lambda stream: dataclasses.replace(stream, runs=(stream.runs[0], -1, *stream.runs[2:])),
    ],
    ids=["bytes", "chunks", "a run is missing", "a run is too long", "no such index", "before the first row"],
)
def test_a_stream_that_is_not_what_it_says_restores_nothing(store, change):
    with_stream(store, change)
    assert isinstance(refuses(store), Damaged)
    assert errors(store)


@pytest.mark.parametrize(
    "sealed", ["", "!", "YWdl", "bm90IGFnZQ=="], ids=["empty", "no base64", "three bytes", "not an age file"]
)
def test_a_manifest_without_its_part_for_readers_restores_nothing(store, sealed):
    publish(store, following(latest(store).manifest, sealed=sealed, parents=(latest(store).ref,)))
    assert isinstance(refuses(store), Damaged)
    assert errors(store)


def test_a_manifest_with_the_chunk_key_of_another_writer_restores_nothing(store):
    other = MemoryStore()
    theirs: WriterKey = dataclasses.replace(WRITER, chunk_key=OTHERS.writer(1).chunk_key)
    done = backup.back_up([SyntheticSource(FIRST)], access.below(other, WRITER.id), theirs, backup.Options())
    sealed = done.backup.manifest.sealed
    publish(store, following(latest(store).manifest, sealed=sealed, parents=(latest(store).ref,)))
    assert "not what its name says" in str(refuses(store))


# --- junk ---

JUNK = {
    "manifests/0000000009-" + "0" * 64 + ".age": b"",
    "manifests/0000000009-" + "1" * 64 + ".age": noise(2000),
    "manifests/9999999999-" + "2" * 64 + ".age": b"age-encryption.org/v1\n" * 50,
    "manifests/readme.txt": b"not a manifest",
    "checkpoints/0123456789abcdef-0.age": noise(500),
    "checkpoints/what-is-this": b"",
    "packs/00/" + "0" * 64 + ".age": noise(500),
    "packs/other": b"",
    "indexes/" + "0" * 64 + ".age": b"",
    "what/is/this": b"",
}


def test_junk_in_the_store_stops_nothing(store):
    for name, data in JUNK.items():
        store.put(ROOT + name, data)
    assert restored(store) == SECOND
    done = back_up(store, FIRST)
    assert done.backup.ref.sequence == 3
    assert len(done.doubts) == 3
    assert restored(store) == FIRST


def test_junk_with_the_digest_that_its_name_says_stops_nothing_either(store):
    for data in (b"", noise(3000), age.seal(b"", [OWNER.recipient]), age.seal(noise(300), SIGNER.recipients)):
        ref = ManifestRef(50, records.digest(data))
        store.put(f"{ROOT}manifests/{ref.name}", data)
        with pytest.raises((Damaged, KeyForbids)):
            restored(store, ref.id)
    assert restored(store) == SECOND
    assert restored(store, key=OWNER.reader(1)) == SECOND
    assert back_up(store, FIRST).backup.ref.sequence == 3


# --- newer formats ---


def by_a_newer_program(store: MemoryStore, contents: Contents) -> backup.Done:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "FORMAT", documents.FORMAT + 1)
        return back_up(store, contents)


def test_a_backup_of_a_newer_format_is_refused_with_what_to_install(store):
    by_a_newer_program(store, FIRST)
    error = refuses(store)
    assert isinstance(error, ToolMissing)
    assert error.exit_status == 15
    assert "newest version" in error.hint
    assert restored(store, "2") == SECOND


def test_an_older_program_adds_nothing_behind_a_newer_ones_backup(store):
    by_a_newer_program(store, FIRST)
    before = names(store, "manifests/")
    with pytest.raises(ToolMissing):
        back_up(store, SECOND)
    assert names(store, "manifests/") == before


def test_verify_reports_a_newer_format_and_goes_on(store):
    by_a_newer_program(store, FIRST)
    report = verify.verify(opened(store), None, 100, Quiet())
    assert not report.ok
    assert report.backups == 2
    assert any("newer dwebbackup" in finding.message for finding in report.findings)


def test_a_critical_field_that_is_unknown_is_refused(store):
    good = latest(store)
    publish(store, following(good.manifest, critical=("tomorrow",), parents=(good.ref,)))
    error = refuses(store)
    assert isinstance(error, ToolMissing)
    assert "tomorrow" in str(error)


def test_a_newer_programs_checkpoint_stops_no_backup(store):
    left = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "FORMAT", documents.FORMAT + 1)
        with pytest.raises(DwebbackupError):
            back_up(left, SyntheticSource({"a": noise(200_000, 5), "b": b"short"}, breaks="b"))
    for checkpoint in names(left, "checkpoints/"):
        store.put(ROOT + checkpoint, left.get(ROOT + checkpoint))
    back_up(store, FIRST)
    assert restored(store) == FIRST


# --- clocks ---


def test_the_newest_is_the_newest_whatever_the_clock_said(patch):
    store = MemoryStore()
    year = 365 * 24 * 3600
    started = clock.now()
    for number, jump in enumerate([0, -20, 10, -1, 200, -50, 3], 1):
        patch.setattr(clock, "now", lambda jump=jump: started + jump * year)
        contents = {"a": noise(30_000), "b": b"%d" % number}
        done = back_up(store, contents)
        assert done.backup.ref.sequence == number
        assert number == 1 or done.bytes_stored < 10_000
        assert restored(store) == contents
    assert errors(store) == []
