"""Signed and sealed records: only what their writer signed comes out, and only as what it was signed for."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import age, primitives, records
from dwebbackup.compression import compress, skippable_frame
from dwebbackup.documents import decode, encode
from dwebbackup.errors import BackupFailed, Damaged, KeyForbids, ToolMissing
from dwebbackup.manifest import Checkpoint, Genesis, Head, Index, Manifest, ObjectRef, Streams
from dwebbackup.packing import padme
from dwebbackup.records import Access
from faulty import flipped
from shelf import OWNER, STRANGER, Shelf, digest_of, noise, signer_of

WRITER = OWNER.writer(1)
SIGNER = signer_of(WRITER)
OWNERS = Access((OWNER.identity,), WRITER.verify_key)
WRITERS = Access((WRITER.catalog_identity,), WRITER.verify_key)
SIGNED = 8 + 32 + 64
"""Bytes of the first frame: its header, a public key, a signature."""

RECORDS = [
    Shelf().manifest(),
    Index(WRITER.id, ()),
    Streams(WRITER.id, "00112233aabbccdd", ((),)),
    Checkpoint(WRITER.id, "00112233aabbccdd", 0, "started", "written", (ObjectRef(digest_of("index"), 10),)),
]
by_kind = pytest.mark.parametrize("record", RECORDS, ids=records.kind_of)
SMALL = Index(WRITER.id, ())


def inside(sealed: bytes) -> bytes:
    return age.unseal(sealed, [OWNER.identity])


def resealed(plain: bytes) -> bytes:
    """Sealed to the right recipients, which anybody who sees an index can do."""
    return age.seal(plain, SIGNER.recipients)


# --- sealed records ---


@by_kind
@pytest.mark.parametrize("access", [OWNERS, WRITERS], ids=["owner", "writer"])
def test_a_record_comes_back_for_its_owner_and_its_writer(record, access):
    assert records.unseal(type(record), records.seal(record, SIGNER), access) == record


@by_kind
def test_a_record_is_sealed_to_others(record):
    sealed = records.seal(record, SIGNER)
    for identity in (STRANGER.identity, OWNER.reader(1).identity, OWNER.writer(2).catalog_identity):
        with pytest.raises(KeyForbids):
            records.unseal(type(record), sealed, Access((identity,), WRITER.verify_key))


def test_every_changed_byte_of_a_sealed_record_is_noticed():
    sealed = records.seal(SMALL, SIGNER)
    for at in range(len(sealed)):
        with pytest.raises((Damaged, KeyForbids)):
            records.unseal(Index, flipped(sealed, at * 8 + at % 8), OWNERS)


def test_every_changed_byte_inside_is_noticed():
    """By somebody who can open a record and seal it again, but not sign."""
    plain = inside(records.seal(SMALL, SIGNER))
    for at in range(len(plain)):
        with pytest.raises(Damaged):
            records.unseal(Index, resealed(flipped(plain, at * 8 + at % 8)), OWNERS)


@pytest.mark.parametrize("seed", [STRANGER.sign_seed, OWNER.sign_seed, OWNER.writer(2).sign_seed])
@by_kind
def test_what_somebody_else_signed_for_the_same_readers_is_refused(record, seed):
    sealed = records.seal(record, signer_of(WRITER, seed))
    with pytest.raises(Damaged, match="somebody else"):
        records.unseal(type(record), sealed, OWNERS)


def test_a_record_does_not_choose_its_own_signer():
    """The frame names the writer; the signature is another's."""
    plain = inside(records.seal(SMALL, signer_of(WRITER, STRANGER.sign_seed)))
    claimed = plain[:8] + WRITER.verify_key + plain[40:]
    with pytest.raises(Damaged, match="does not hold"):
        records.unseal(Index, resealed(claimed), OWNERS)


@by_kind
@pytest.mark.parametrize("kind", [Manifest, Index, Streams, Checkpoint])
def test_a_record_of_one_kind_is_refused_as_another(record, kind):
    sealed = records.seal(record, SIGNER)
    if kind is not type(record):
        with pytest.raises(Damaged, match="signature"):
            records.unseal(kind, sealed, OWNERS)


def test_a_record_that_was_signed_as_another_kind_is_refused():
    """Even by the writer itself."""
    frame = compress(encode("streams", RECORDS[2]))
    signature = primitives.sign(WRITER.sign_seed, records.label("index"), frame)
    sealed = resealed(skippable_frame(WRITER.verify_key + signature, 0) + frame)
    with pytest.raises(Damaged, match="not a dwebbackup index"):
        records.unseal(Index, sealed, OWNERS)


@pytest.mark.parametrize(
    "plain", [b"", b"short", bytes(SIGNED), compress(encode("index", SMALL)), skippable_frame(bytes(95), 0) + bytes(99)]
)
def test_a_record_without_a_signature_is_refused(plain):
    with pytest.raises(Damaged, match="carries no signature"):
        records.unseal(Index, resealed(plain), OWNERS)


def test_a_signature_alone_is_no_record():
    signature = primitives.sign(WRITER.sign_seed, records.label("index"), b"")
    with pytest.raises(Damaged):
        records.unseal(Index, resealed(skippable_frame(WRITER.verify_key + signature, 0)), OWNERS)


def test_nothing_is_decompressed_before_the_signature_holds():
    """What decompressing would say first is that this is too large."""
    frame = compress(bytes(records.LARGEST + 1))
    signature = primitives.sign(STRANGER.sign_seed, records.label("index"), frame)
    with pytest.raises(Damaged, match="signature"):
        records.unseal(Index, resealed(skippable_frame(WRITER.verify_key + signature, 0) + frame), OWNERS)


def test_a_record_larger_than_any_reader_accepts_is_refused():
    frame = compress(bytes(records.LARGEST + 1))
    signature = primitives.sign(WRITER.sign_seed, records.label("index"), frame)
    with pytest.raises(Damaged, match="over the limit"):
        records.unseal(Index, resealed(skippable_frame(WRITER.verify_key + signature, 0) + frame), OWNERS)


def test_a_record_larger_than_any_reader_accepts_is_not_written():
    """Rather no backup than one that nobody can restore."""
    with pytest.raises(BackupFailed, match="no reader takes more"):
        records.seal(replace(SMALL, writer="w" * records.LARGEST), SIGNER)


@given(st.integers(0, 3000))
def test_a_record_is_padded_so_that_its_size_tells_little(size):
    record = replace(SMALL, writer=noise(size).hex())
    plain = inside(records.seal(record, SIGNER))
    assert len(plain) == padme(len(plain))
    assert records.unseal(Index, resealed(plain), OWNERS) == record


def test_records_of_almost_the_same_length_are_sealed_to_the_same():
    sizes = {len(records.seal(replace(SMALL, writer="w" * size), SIGNER)) for size in range(40)}
    assert len(sizes) < 4


@by_kind
def test_age_and_zstd_print_a_record(record, age_program, zstd_program, tmp_path):
    sealed, key = tmp_path / "record.age", tmp_path / "key"
    sealed.write_bytes(records.seal(record, SIGNER))
    key.write_text(age.identity_text(WRITER.catalog_identity))
    plain = subprocess.run([age_program, "-d", "-i", key, sealed], capture_output=True, check=True).stdout
    printed = subprocess.run([zstd_program, "-dc"], input=plain, capture_output=True, check=True).stdout
    assert decode(records.kind_of(record), type(record), printed) == record
    assert json.loads(printed)["kind"] == records.kind_of(record)


def test_a_digest_tells_whether_bytes_are_what_their_name_says():
    assert records.check("it", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == b"abc"
    for other in (b"", b"abd", b"abc\0"):
        with pytest.raises(Damaged, match="it is not what its name says"):
            records.check("it", other, records.digest(b"abc"))


# --- lines ---

LINES = [
    Head(WRITER.id, 1, 42, "2026-11-20T03:00:00Z", ObjectRef(digest_of("manifest"), 900, ("file:///m",)), "tomorrow"),
    Genesis(WRITER.id, 1, "2026-11-20T03:00:00Z"),
]
by_line = pytest.mark.parametrize("record", LINES, ids=["head", "genesis"])


@by_line
def test_a_line_comes_back(record):
    data = records.write_line(record, WRITER.sign_seed)
    assert data.count(b"\n") == 2
    assert records.read_line(type(record), data, WRITER.verify_key) == record


@by_line
def test_every_changed_bit_of_a_line_is_noticed(record):
    data = records.write_line(record, WRITER.sign_seed)
    for bit in range(len(data) * 8):
        with pytest.raises(Damaged):
            records.read_line(type(record), flipped(data, bit), WRITER.verify_key)


@by_line
def test_a_line_that_is_cut_or_followed_by_more_is_damaged(record):
    data = records.write_line(record, WRITER.sign_seed)
    for other in (*(data[:size] for size in range(len(data))), data + b"\n", data + data, b"\n" + data, b" " + data):
        with pytest.raises(Damaged):
            records.read_line(type(record), other, WRITER.verify_key)


@by_line
@pytest.mark.parametrize("key", [OWNER.verify_key, STRANGER.verify_key, OWNER.writer(2).verify_key, b"", bytes(32)])
def test_a_line_of_somebody_else_is_refused(record, key):
    with pytest.raises(Damaged):
        records.read_line(type(record), records.write_line(record, WRITER.sign_seed), key)


def test_a_head_is_refused_as_a_genesis():
    head, genesis = (records.write_line(record, WRITER.sign_seed) for record in LINES)
    with pytest.raises(Damaged, match="signature"):
        records.read_line(Genesis, head, WRITER.verify_key)
    with pytest.raises(Damaged, match="signature"):
        records.read_line(Head, genesis, WRITER.verify_key)


def test_a_line_longer_than_any_reader_accepts_is_refused():
    def line(length: int) -> bytes:
        return records.write_line(Genesis(WRITER.id, 1, "t" * length), WRITER.sign_seed)

    room = records.LONGEST_LINE - len(line(0))
    assert records.read_line(Genesis, line(room), WRITER.verify_key).time == "t" * room
    with pytest.raises(Damaged):
        records.read_line(Genesis, line(room + 1), WRITER.verify_key)


def test_a_line_of_a_newer_version_asks_for_a_newer_program():
    line = json.dumps({"format": 2, "kind": "head"}).encode()
    signature = primitives.sign(WRITER.sign_seed, records.label("head"), line).hex().encode()
    with pytest.raises(ToolMissing):
        records.read_line(Head, line + b"\n" + signature + b"\n", WRITER.verify_key)
