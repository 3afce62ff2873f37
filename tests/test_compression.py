"""Compression: what comes back is exactly what went in, and frames that are not exactly so are refused."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.compression import Compressor, Decompressor, compress, decompress, skippable, skippable_frame
from dwebbackup.errors import Damaged
from shelf import noise

LIMIT = 1 << 20

plains = st.one_of(
    st.binary(min_size=1, max_size=500),
    st.builds(noise, st.integers(1, 150_000), st.text("ab", max_size=2)),
    st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=9), st.integers(1, 20_000)),
)
"""Never empty, as chunks never are."""


def frame_of(plain: bytes) -> bytes:
    return Compressor().frames([memoryview(plain)])[0]


def frame_without_size(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(plain)


# --- chunks ---


@given(st.lists(plains, max_size=6))
def test_each_chunk_has_a_frame_of_its_own_and_comes_back(chunks):
    frames = Compressor().frames([memoryview(chunk) for chunk in chunks])
    decompressor = Decompressor()
    assert [decompressor.chunk(frame, len(chunk)) for frame, chunk in zip(frames, chunks, strict=True)] == chunks


def test_a_compressor_serves_batch_after_batch():
    compressor = Compressor()
    batches = [[b"first"], [], [b"second", noise(100_000)], [b"third"]]
    frames = [compressor.frames([memoryview(chunk) for chunk in batch]) for batch in batches]
    assert [[zstandard.decompress(frame) for frame in batch] for batch in frames] == batches


@pytest.mark.parametrize("plain", [b"x", b"a few rows\n" * 20, noise(300)], ids=["one", "text", "noise"])
def test_a_chunk_cut_anywhere_is_damaged(plain):
    frame = frame_of(plain)
    for size in range(len(frame)):
        with pytest.raises(Damaged):
            Decompressor().chunk(frame[:size], len(plain))


@pytest.mark.parametrize(
    "extra",
    [b"\0", b"trailing", compress(b""), frame_of(b"second"), skippable_frame(b"", 15), skippable_frame(b"ab", 0)],
    ids=["zero", "text", "empty frame", "frame", "padding", "skippable"],
)
def test_a_chunk_with_anything_around_it_is_damaged(extra):
    plain = b"a few rows\n" * 20
    frame = frame_of(plain)
    for together in (frame + extra, extra + frame):
        with pytest.raises(Damaged):
            Decompressor().chunk(together, len(plain))


@given(plains, st.integers(-3, 3).filter(bool))
def test_a_chunk_of_another_length_is_damaged(plain, by):
    with pytest.raises(Damaged):
        Decompressor().chunk(frame_of(plain), len(plain) + by)


def test_a_chunk_that_does_not_say_its_length_is_damaged():
    """Else a frame of a few bytes could unfold to gigabytes before its length is known."""
    for length in (100_000, 1, 0):
        with pytest.raises(Damaged):
            Decompressor().chunk(frame_without_size(bytes(100_000)), length)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_junk_is_damaged_and_nothing_else(junk, length):
    with pytest.raises(Damaged):
        Decompressor().chunk(junk, length)
    with pytest.raises(Damaged):
        decompress(junk, LIMIT)


# --- records ---


@given(st.one_of(st.just(b""), plains), st.lists(st.binary(max_size=50), max_size=2))
def test_a_record_comes_back_whatever_padding_follows(plain, paddings):
    padded = compress(plain) + b"".join(skippable_frame(padding, 15) for padding in paddings)
    assert decompress(padded, LIMIT) == plain
    assert decompress(memoryview(padded), LIMIT) == plain


@pytest.mark.parametrize("plain", [b"", b'{"a":1}' * 40], ids=["none", "text"])
def test_a_record_cut_anywhere_is_damaged(plain):
    frame = compress(plain)
    padded = frame + skippable_frame(b"padding", 15)
    for size in range(len(padded)):
        if size != len(frame):
            with pytest.raises(Damaged):
                decompress(padded[:size], LIMIT)
    assert decompress(padded[: len(frame)], LIMIT) == plain


@pytest.mark.parametrize("extra", [b"\0", b"trailing", compress(b""), compress(b"second")])
def test_a_record_with_bytes_behind_it_that_are_no_padding_is_damaged(extra):
    for padding in (b"", skippable_frame(b"padding", 15)):
        with pytest.raises(Damaged):
            decompress(compress(b"first") + padding + extra, LIMIT)


def test_a_record_behind_padding_is_not_found():
    with pytest.raises(Damaged):
        decompress(skippable_frame(b"", 15) + compress(b"hidden"), LIMIT)


def test_the_limit_is_what_a_record_may_have_and_no_more():
    assert len(decompress(compress(bytes(1000)), 1000)) == 1000
    with pytest.raises(Damaged, match="over the limit"):
        decompress(compress(bytes(1001)), 1000)


def test_a_bomb_is_refused_before_it_unfolds():
    """Cut off, so that unfolding it would be another error than its size."""
    bomb = compress(bytes(256 << 20))
    assert len(bomb) < 32_768
    with pytest.raises(Damaged, match="over the limit"):
        decompress(bomb[:100], LIMIT)


def test_a_bomb_that_hides_its_size_is_refused_before_it_unfolds():
    with pytest.raises(Damaged, match="over the limit"):
        decompress(frame_without_size(bytes(LIMIT + 1))[:100], LIMIT)


def test_a_bomb_that_lies_about_its_size_is_refused():
    """Its header says one byte; what unfolds would be a thousand."""
    honest = compress(bytes(1000))
    header = compress(b"\0")
    size_of_header = zstandard.get_frame_parameters(honest).has_checksum + zstandard.frame_header_size(honest)
    lying = header[: zstandard.frame_header_size(header)] + honest[size_of_header:]
    assert zstandard.frame_content_size(lying) == 1
    with pytest.raises(Damaged):
        decompress(lying, LIMIT)
    with pytest.raises(Damaged):
        Decompressor().chunk(lying, 1)


# --- skippable frames ---


@given(st.binary(max_size=300), st.integers(0, 15), st.binary(max_size=7))
def test_any_zstd_decoder_passes_over_a_skippable_frame(content, number, rest):
    frame = skippable_frame(content, number)
    assert len(frame) == 8 + len(content)
    assert (
        zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(frame + compress(b"x")) == b"x"
    )
    assert bytes(skippable(memoryview(frame + frame + rest))) == rest


@given(st.binary(min_size=1, max_size=100), st.integers(0, 15), st.data())
def test_a_skippable_frame_that_is_cut_short_is_damaged(content, number, data):
    size = data.draw(st.integers(8, 7 + len(content)))
    with pytest.raises(Damaged):
        skippable(memoryview(skippable_frame(content, number)[:size]))
