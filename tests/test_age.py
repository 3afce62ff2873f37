"""age files: whatever was sealed comes back, also with the `age` program; whatever was changed is noticed."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import age
from dwebbackup.errors import Damaged, KeyForbids, WrongConfiguration

CHUNK = 64 * 1024
SEALED_CHUNK = CHUNK + 16
SIZES = [0, 1, 15, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK + 7]

SECRET, OTHER, THIRD = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
PUBLIC = age.public_key(SECRET)

sizes = st.one_of(
    st.integers(0, 300),
    st.builds(lambda chunks, by: chunks * CHUNK + by, st.integers(1, 4), st.integers(-17, 17)),
)


def noise(size: int) -> bytes:
    return os.urandom(size)


def in_the_middle(plain: bytes) -> memoryview:
    return memoryview(b"ab" + plain + b"c")[2:-1]


def in_words(plain: bytes) -> memoryview:
    return memoryview(plain).cast("Q")


def start_of_chunks(sealed: bytes) -> int:
    return sealed.index(b"\n--- ") + 49 + 16


# --- what was sealed comes back ---


@given(st.binary(max_size=1000), st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4), st.data())
def test_any_recipient_opens_what_was_sealed(plain, secrets, data):
    sealed = age.seal(plain, [age.public_key(secret) for secret in secrets])
    assert age.unseal(sealed, [data.draw(st.sampled_from(secrets))]) == plain


@pytest.mark.parametrize("size", SIZES)
def test_every_length_around_a_chunk_comes_back(size):
    plain = noise(size)
    sealed = age.seal(plain, [PUBLIC])
    assert type(sealed) is bytes
    assert age.unseal(sealed, [OTHER, SECRET]) == plain


@pytest.mark.parametrize("wrap", [bytearray, memoryview, in_the_middle, in_words])
def test_any_buffer_can_be_sealed(wrap):
    plain = noise(CHUNK + 8)
    assert age.unseal(age.seal(wrap(plain), [PUBLIC]), [SECRET]) == plain


def test_the_same_bytes_never_seal_to_the_same_bytes():
    first, second = (age.seal(b"the same", [PUBLIC]) for _ in range(2))
    lines = [line for line in first.splitlines()[1:4] if line in second]
    assert lines == []
    assert first[-24:] != second[-24:]


def test_every_file_has_a_key_of_its_own():
    sealed = [age.seal(b"the same", [PUBLIC]) for _ in range(2)]
    first, second = (age._unwrap(age._x25519_stanzas(age._parse(one).stanzas), [SECRET]) for one in sealed)
    assert first != second


# --- other programs agree ---


@pytest.mark.parametrize("size", SIZES)
def test_the_age_program_opens_what_we_seal(size, age_program, tmp_path):
    plain = noise(size)
    key = tmp_path / "key"
    key.write_text(age.identity_text(OTHER) + "\n")
    sealed = age.seal(plain, [PUBLIC, age.public_key(OTHER), age.public_key(THIRD)])
    assert run(age_program, "-d", "-i", str(key), given=sealed) == plain


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_the_age_program_seals(size, age_program):
    plain = noise(size)
    to = [argument for secret in (OTHER, SECRET) for argument in ("-r", age.recipient_text(age.public_key(secret)))]
    sealed = run(age_program, *to, given=plain)
    assert age.unseal(sealed, [SECRET]) == plain
    assert age.unseal(sealed, [THIRD, OTHER]) == plain


def test_the_age_program_derives_the_same_recipient(age_program):
    derived = run(age_program + "-keygen", "-y", given=age.identity_text(SECRET).encode() + b"\n")
    assert derived.decode().strip() == age.recipient_text(PUBLIC)


def run(*command: str, given: bytes) -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


# --- sizes are known beforehand ---


@given(sizes, st.integers(1, 6))
def test_sizes_are_computed_exactly(size, recipients):
    sealed = age.seal(bytes(size), [PUBLIC] * recipients)
    assert len(sealed) == age.sealed_size(size, recipients)
    assert start_of_chunks(sealed) == age.header_size(recipients) + 16


@given(st.integers(0, 1 << 40), st.integers(0, 50))
def test_capacity_is_the_inverse_of_sealed_size(size, recipients):
    assert age.capacity(age.sealed_size(size, recipients), recipients) == size


@given(st.one_of(sizes, st.integers(0, 1 << 40)), st.integers(0, 50))
def test_capacity_is_the_most_that_fits(above, recipients):
    room = age.sealed_size(0, recipients) + above
    size = age.capacity(room, recipients)
    assert age.sealed_size(size, recipients) <= room < age.sealed_size(size + 1, recipients)


def test_no_room_for_a_header_is_an_error():
    assert age.capacity(age.sealed_size(0, 2), 2) == 0
    with pytest.raises(ValueError, match="no room"):
        age.capacity(age.sealed_size(0, 2) - 1, 2)


def test_no_more_memory_is_taken_than_what_is_given_back():
    plain = noise(32 * CHUNK)
    sealed = age.seal(plain, [PUBLIC])
    assert peak_memory(lambda: age.seal(plain, [PUBLIC])) < 1.1 * len(sealed)
    assert peak_memory(lambda: age.unseal(sealed, [SECRET])) < 1.1 * len(plain)


def peak_memory(work: Callable[[], bytes]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- what was changed is noticed ---


def test_every_flipped_bit_is_noticed():
    sealed = age.seal(b"a few rows", [PUBLIC, age.public_key(OTHER)])
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Damaged, KeyForbids) if bit // 8 < age.header_size(2) else Damaged):
            age.unseal(bytes(changed), [SECRET])


def test_a_file_cut_anywhere_in_its_header_is_damaged():
    sealed = age.seal(b"", [PUBLIC, age.public_key(OTHER)])
    for size in range(len(sealed)):
        with pytest.raises(Damaged):
            age.unseal(sealed[:size], [SECRET])


@pytest.mark.parametrize("size", [3 * CHUNK, 3 * CHUNK + 100])
def test_a_file_cut_at_or_near_any_chunk_is_damaged(size):
    sealed = age.seal(noise(size), [PUBLIC])
    start = start_of_chunks(sealed)
    edges = [
        begin + number * step + by
        for begin in (0, start)
        for step in (CHUNK, SEALED_CHUNK)
        for number in range(4)
        for by in (-16, -1, 0, 1, 16)
    ]
    edges = sorted({edge for edge in edges if 0 <= edge < len(sealed)})
    assert len(edges) > 50
    for edge in edges:
        with pytest.raises(Damaged):
            age.unseal(sealed[:edge], [SECRET])


@pytest.mark.parametrize("more", [b"\0", bytes(15), bytes(16), bytes(17), bytes(SEALED_CHUNK)])
@pytest.mark.parametrize("size", [0, 10, CHUNK])
def test_bytes_after_the_end_are_noticed(size, more):
    with pytest.raises(Damaged):
        age.unseal(age.seal(bytes(size), [PUBLIC]) + more, [SECRET])


@pytest.mark.parametrize(
    "order", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2), (0, 0, 2, 3), (0, 2, 3), (1, 2, 3), (3,), ()]
)
def test_chunks_cannot_be_swapped_repeated_or_left_out(order):
    sealed = age.seal(noise(4 * CHUNK), [PUBLIC])
    start = start_of_chunks(sealed)
    chunks = [sealed[at : at + SEALED_CHUNK] for at in range(start, len(sealed), SEALED_CHUNK)]
    assert age.unseal(sealed[:start] + b"".join(chunks), [SECRET])
    with pytest.raises(Damaged):
        age.unseal(sealed[:start] + b"".join(chunks[number] for number in order), [SECRET])


def test_a_chunk_of_another_file_is_noticed():
    one, two = (age.seal(noise(2 * CHUNK), [PUBLIC]) for _ in range(2))
    at = start_of_chunks(one) + SEALED_CHUNK
    with pytest.raises(Damaged):
        age.unseal(one[:at] + two[at:], [SECRET])


@given(st.binary(max_size=300), st.booleans())
def test_junk_is_damaged_and_nothing_else(junk, versioned):
    with pytest.raises(Damaged):
        age.unseal(b"age-encryption.org/v1\n" * versioned + junk, [SECRET])


def with_stanzas(stanzas: bytes) -> bytes:
    """A file whose header has *stanzas*, for which its MAC cannot hold."""
    sealed = age.seal(b"x", [PUBLIC])
    return sealed[: age.header_size(0) - 48] + stanzas + sealed[age.header_size(1) - 48 :]


# The same in every test process: the base point as a share, and zeros for a wrapped file key.
SHARE, WRAPPED = b"-> X25519 CQ" + 41 * b"A", 43 * b"A"
GOOD = SHARE + b"\n" + WRAPPED + b"\n"


@pytest.mark.parametrize(
    "stanzas",
    [
        b"",
        GOOD + b"\n",
        GOOD + b"-> \xc3\xa8\n\n",
        GOOD + b"-> a\x7f\n\n",
        GOOD + b"->  a\n\n",
        GOOD + b"-> a \n\n",
        GOOD + b"-> a\r\n\n",
        GOOD + b"-> a\n",
        GOOD + b"-> a\nAA==\n",
        GOOD + b"-> a\n" + 64 * b"A" + b"\n",
        GOOD + b"-> a\n" + 65 * b"A" + b"\n\n",
    ],
)
def test_a_header_outside_the_grammar_is_malformed(stanzas):
    with pytest.raises(Damaged, match="malformed"):
        age.unseal(with_stanzas(stanzas), [])


@pytest.mark.parametrize(
    "stanza",
    [
        SHARE + b"\n",
        SHARE + b" more\n" + WRAPPED,
        SHARE[:-1] + b"\n" + WRAPPED,
        SHARE + b"A\n" + WRAPPED,
        SHARE[:-2] + b"\n" + WRAPPED,
        SHARE[:-1] + b"B\n" + WRAPPED,
        SHARE + b"\n" + WRAPPED[:-2],
    ],
)
def test_an_x25519_stanza_of_another_shape_is_damaged_whoever_reads_it(stanza):
    with pytest.raises(Damaged):
        age.unseal(with_stanzas(GOOD + stanza + b"\n"), [])


@pytest.mark.parametrize("more", [b"-> grease\n\n", b"-> scrypt a b\n" + 64 * b"A" + b"\nAA\n", b"-> x25519 a\n\n"])
def test_stanzas_of_other_kinds_are_passed_over(more):
    with pytest.raises(KeyForbids):
        age.unseal(with_stanzas(more + GOOD + more), [OTHER])


# --- keys ---


@pytest.mark.parametrize("identities", [[], [OTHER], [OTHER, THIRD]])
def test_keys_of_others_are_told_apart_from_damage(identities):
    with pytest.raises(KeyForbids):
        age.unseal(age.seal(b"not for them", [PUBLIC]), identities)


LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
]


@pytest.mark.parametrize(
    "recipients", [[], [b"short"], [PUBLIC, PUBLIC + b"!"], *([PUBLIC, point] for point in LOW_ORDER)]
)
def test_what_cannot_be_a_recipient_is_refused(recipients):
    with pytest.raises(WrongConfiguration):
        age.seal(b"", recipients)


def test_keys_read_as_the_specification_prints_them():
    """Both lines stand in C2SP `age.md`, "The X25519 recipient type"."""
    identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
    recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    secret = age.identity_from_text(identity)
    assert secret == b"B" * 32
    assert age.identity_text(secret) == identity
    assert age.recipient_text(age.public_key(secret)) == recipient
    assert age.recipient_from_text(f" {recipient.upper()}\n") == age.public_key(secret)


@given(st.binary(min_size=32, max_size=32))
def test_keys_as_text_come_back(key):
    assert age.recipient_from_text(age.recipient_text(key)) == key
    assert age.identity_from_text(age.identity_text(key)) == key


RECIPIENT, IDENTITY = age.recipient_text(PUBLIC), age.identity_text(SECRET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        "1",
        RECIPIENT[:-1],
        RECIPIENT[:-1] + "b",
        RECIPIENT.replace("age1", "Age1"),
        IDENTITY,
        RECIPIENT + "ſ",
    ],
)
def test_what_is_no_recipient_is_refused_without_repeating_it(text):
    with pytest.raises(WrongConfiguration) as refused:
        age.recipient_from_text(text)
    assert len(text) < 5 or text not in str(refused.value) + refused.value.hint


def test_only_ascii_is_a_key():
    """The Kelvin sign is upper case, and its lower case is an ASCII k."""
    with pytest.raises(WrongConfiguration):
        age.identity_from_text(IDENTITY.replace("KEY", "\u212aEY"))


def test_a_recipient_is_not_an_identity():
    with pytest.raises(WrongConfiguration, match="not an age identity"):
        age.identity_from_text(RECIPIENT)


def test_a_fingerprint_is_short_and_says_which_key_it_was():
    assert age.fingerprint(bytes(32)) == "66687aadf862bd77"
    assert age.fingerprint(PUBLIC) != age.fingerprint(bytes(32))
