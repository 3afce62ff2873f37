"""Packing: frames are found where they were put, sizes tell little, and no pack is larger than a sector takes."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import age
from dwebbackup.compression import Compressor, skippable
from dwebbackup.errors import Damaged
from dwebbackup.packing import PADDING, SEALED_SIZE, SMALLEST_PADDING, Pack, capacity, frame, padding, padme
from shelf import OWNER, noise

RECIPIENTS = [age.public_key(noise(32, str(number))) for number in range(6)]

SECTOR = 4 * 1024 * 1024
"""Bytes of a Sia sector, which also holds a Skynet skyfile's layout and metadata."""

sizes = st.one_of(st.integers(0, 5000), st.integers(0, SECTOR), st.integers(0, 1 << 60))


# --- Padmé ---


def padme_as_published(length: int) -> int:
    """Algorithm 1 of "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs" (PETS 2019)."""
    exponent = floor_of_log2(length)
    mantissa = floor_of_log2(exponent) + 1 if exponent else 0
    zeros = exponent - mantissa
    mask = 2**zeros - 1 if zeros > 0 else 0
    return (length + mask) // (mask + 1) * (mask + 1)


def floor_of_log2(number: int) -> int:
    exponent = 0
    while 2 ** (exponent + 1) <= number:
        exponent += 1
    return exponent


@given(sizes.filter(bool))
def test_padding_follows_padme_as_published(length):
    assert padme(length) == padme_as_published(length)


def test_padding_costs_an_eighth_at_most():
    """12%, as the paper has it; the worst is 129 bytes, which become 144."""
    assert max(range(1, 1 << 16), key=lambda length: padme(length) / length) == 129
    assert padme(129) == 144


@given(sizes, sizes)
def test_padded_lengths_keep_their_order_and_stay(one, two):
    assert one <= padme(one) == padme(padme(one))
    assert (one <= two) <= (padme(one) <= padme(two))


def test_few_lengths_are_left_to_tell_apart():
    assert len({padme(length) for length in range(1, 1 << 20)}) < 400


# --- the padding frame ---


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_padded_length_is_padmes_or_the_most(length, room):
    most = length + SMALLEST_PADDING + room
    assert len(padding(length, most, full=True)) == most - length
    padded = length + len(padding(length, most))
    assert padded == min(most, padme(length + SMALLEST_PADDING))


@given(st.integers(0, 10_000))
def test_padding_is_one_skippable_frame_of_zeros(length):
    frames = padding(length, 1 << 30)
    assert skippable(memoryview(frames)).nbytes == 0
    assert frames[:4] == (0x184D2A50 + PADDING).to_bytes(4, "little")
    assert set(frames[8:]) <= {0}


# --- capacity ---


def test_a_sealed_pack_leaves_room_in_a_sector_for_a_skyfiles_layout_and_metadata():
    assert SECTOR - 1024 == SEALED_SIZE


@pytest.mark.parametrize("count", range(1, 7))
def test_a_full_pack_is_sealed_as_large_as_it_may_be_and_no_larger(count):
    recipients = RECIPIENTS[:count]
    most = capacity(count)
    assert len(age.seal(bytes(most), recipients)) == SEALED_SIZE
    assert len(age.seal(bytes(most + 1), recipients)) > SEALED_SIZE


@given(st.lists(st.integers(1, 900), max_size=40), st.integers(100, 3000))
def test_every_pack_fits_and_gives_its_frames_back(lengths, most):
    packs = fill([noise(length, str(length)) for length in lengths if length <= most - SMALLEST_PADDING], most)
    for number, (pack, frames) in enumerate(packs):
        for full in (False, number < len(packs) - 1):
            plain = pack.plain(full=full)
            assert len(plain) == (most if full else min(most, padme(pack.size + SMALLEST_PADDING))) <= most
            offset = 0
            for each in frames:
                assert frame(memoryview(plain), offset, len(each)) == each
                offset += len(each)
            assert (len(pack), pack.size) == (len(frames), offset)


def fill(frames: list[bytes], most: int) -> list[tuple[Pack, list[bytes]]]:
    """As a worker does: a new pack when the next frame does not fit."""
    packs: list[tuple[Pack, list[bytes]]] = []
    for each in frames:
        if not packs or not packs[-1][0].fits(len(each)):
            packs.append((Pack(most), []))
        assert packs[-1][0].fits(len(each))
        packs[-1][0].add(each)
        packs[-1][1].append(each)
    return packs


@pytest.mark.parametrize(("length", "fits"), [(1000 - SMALLEST_PADDING, True), (1001 - SMALLEST_PADDING, False)])
def test_a_frame_fits_as_long_as_the_smallest_padding_does(length, fits):
    pack = Pack(1000)
    assert pack.fits(length) is fits
    if fits:
        pack.add(bytes(length))
        assert len(pack.plain(full=False)) == len(pack.plain(full=True)) == 1000


@pytest.mark.parametrize(("offset", "size"), [(0, 11), (5, 6), (11, 0), (1 << 40, 1)])
def test_a_frame_that_is_not_all_there_is_damaged(offset, size):
    with pytest.raises(Damaged):
        frame(memoryview(bytes(10)), offset, size)


# --- other programs agree ---


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("secret", [OWNER.identity, OWNER.reader(1).identity], ids=["owner", "reader"])
def test_age_and_zstd_print_a_packs_chunks(full, secret, age_program, zstd_program, tmp_path):
    chunks = [noise(100_000), b"a few rows\n" * 3000, b"x", noise(70_000, "more")]
    writer = OWNER.writer(1)
    recipients = (writer.owner_recipient, writer.reader_recipient)
    pack = Pack(capacity(len(recipients)))
    for each in Compressor().frames([memoryview(chunk) for chunk in chunks]):
        pack.add(each)
    sealed, key = tmp_path / "pack.age", tmp_path / "key"
    sealed.write_bytes(age.seal(pack.plain(full=full), recipients))
    key.write_text(age.identity_text(secret))
    plain = subprocess.run([age_program, "-d", "-i", key, sealed], capture_output=True, check=True).stdout
    assert len(plain) == capacity(2) or not full
    printed = subprocess.run([zstd_program, "-dc"], input=plain, capture_output=True, check=True).stdout
    assert printed == b"".join(chunks)
