"""Keys: the same words give the same keys for ever; what people paste is understood; what is wrong is named."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import re
import shlex
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import age, keys, primitives
from dwebbackup.cli.sheet import recovery_sheet
from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.keys import OwnerKey, Retirement, parse_key
from dwebbackup.links import ipns

GOLDEN = json.loads((Path(__file__).parent / "vectors" / "keys.json").read_text())
"""Made once by `golden_vector` below. Never edited: who has words written down depends on every byte of it."""

OWNER = OwnerKey(bytes(range(32)))
WORDS = OWNER.words.split()
DIGEST = hashlib.sha256(b"the last manifest").digest()
RETIRED = OWNER.retire(1, 42, DIGEST)
SUCCESSOR = dataclasses.replace(OWNER.writer(2), retired=RETIRED)

ALL_KEYS = [OWNER.writer(1), OWNER.writer(4_000_000_000), SUCCESSOR, OWNER.reader(1), OWNER.reader(70_000)]
owners = st.binary(min_size=32, max_size=32).map(OwnerKey)


# --- the same words give the same keys for ever ---


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["entropy"][:8])
def test_every_key_is_what_it_always_was(golden):
    owner = OwnerKey.from_words(golden["words"])
    assert facts_of(owner) == golden


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["entropy"][:8])
def test_an_independent_computation_gives_the_same(golden):
    assert golden_vector(bytes.fromhex(golden["entropy"])) == golden


def test_the_golden_vectors_are_these():
    assert [golden["entropy"] for golden in GOLDEN] == [bytes(range(32)).hex(), bytes(32).hex()]
    assert GOLDEN[1]["words"] == "abandon " * 23 + "art"  # as BIP39 publishes it


def facts_of(owner: OwnerKey) -> dict:
    """What the golden vectors hold, as this package computes it."""
    writers = {str(number): writer_facts(owner, number) for number in (1, 2, 10)}
    retired = owner.retire(1, 42, DIGEST)
    return {
        "entropy": owner.entropy.hex(),
        "words": owner.words,
        "identity": age.identity_text(owner.identity),
        "recipient": age.recipient_text(owner.recipient),
        "sign_seed": owner.sign_seed.hex(),
        "verify_key": owner.verify_key.hex(),
        "writers": writers,
        "retirement_of_1": retired.to_bytes().hex(),
        "line_of_2_after_1": dataclasses.replace(owner.writer(2), retired=retired).line,
        "signature": primitives.sign(owner.sign_seed, b"dwebbackup/test/1\0", b"data").hex(),
    }


def writer_facts(owner: OwnerKey, number: int) -> dict:
    writer, reader = owner.writer(number), owner.reader(number)
    return {
        "id": writer.id,
        "sign_seed": writer.sign_seed.hex(),
        "verify_key": writer.verify_key.hex(),
        "registry_seed": writer.registry_seed.hex(),
        "ipns_seed": writer.ipns_seed.hex(),
        "registry_key": writer.head_keys.registry.hex(),
        "ipns_key": writer.head_keys.ipns.hex(),
        "chunk_key": writer.chunk_key.hex(),
        "catalog_identity": writer.catalog_identity.hex(),
        "catalog_recipient": writer.catalog_recipient.hex(),
        "reader_identity": reader.identity.hex(),
        "reader_recipient": writer.reader_recipient.hex(),
        "writer_line": writer.line,
        "reader_line": reader.line,
    }


# --- the same facts, computed from the papers with nothing but hashlib and integers ---


def golden_vector(entropy: bytes) -> dict:
    identity, sign_seed = derive(entropy, "owner/age"), derive(entropy, "owner/sign")
    writers = {
        str(number): golden_writer(entropy, number, x25519(identity), ed25519_public(sign_seed))
        for number in (1, 2, 10)
    }
    one, two = writers["1"], writers["2"]
    statement = be(1, 4) + bytes.fromhex(one["verify_key"]) + be(42, 8) + DIGEST
    signature = ed25519_sign(sign_seed, b"dwebbackup/retire/1\0" + statement)
    retirement = be(1, 4) + be(42, 8) + DIGEST + signature
    return {
        "entropy": entropy.hex(),
        "words": bip39(entropy),
        "identity": bech32("age-secret-key-", identity).upper(),
        "recipient": bech32("age", x25519(identity)),
        "sign_seed": sign_seed.hex(),
        "verify_key": ed25519_public(sign_seed).hex(),
        "writers": writers,
        "retirement_of_1": retirement.hex(),
        "line_of_2_after_1": key_line(
            "dwbw", 2, *writer_parts(two, x25519(identity), ed25519_public(sign_seed)), retirement
        ),
        "signature": ed25519_sign(sign_seed, b"dwebbackup/test/1\0data").hex(),
    }


def golden_writer(entropy: bytes, number: int, owner_recipient: bytes, owner_verify_key: bytes) -> dict:
    seed = {use: derive(entropy, f"writer/{number}/{use}") for use in USES}
    verify_key = ed25519_public(seed["sign"])
    facts = {
        "id": hashlib.sha256(b"dwebbackup/writer/1\0" + verify_key).hexdigest()[:20],
        "sign_seed": seed["sign"].hex(),
        "verify_key": verify_key.hex(),
        "registry_seed": seed["registry"].hex(),
        "ipns_seed": seed["ipns"].hex(),
        "registry_key": ed25519_public(seed["registry"]).hex(),
        "ipns_key": ed25519_public(seed["ipns"]).hex(),
        "chunk_key": seed["chunks"].hex(),
        "catalog_identity": seed["catalog"].hex(),
        "catalog_recipient": x25519(seed["catalog"]).hex(),
        "reader_identity": seed["reader"].hex(),
        "reader_recipient": x25519(seed["reader"]).hex(),
    }
    heads = ed25519_public(seed["ipns"]), ed25519_public(seed["registry"])
    reader_line = key_line("dwbr", number, seed["reader"], seed["catalog"], verify_key, *heads)
    writer_line = key_line("dwbw", number, *writer_parts(facts, owner_recipient, owner_verify_key))
    return facts | {"writer_line": writer_line, "reader_line": reader_line}


USES = ("sign", "registry", "ipns", "chunks", "catalog", "reader")


def writer_parts(facts: dict, owner_recipient: bytes, owner_verify_key: bytes) -> list[bytes]:
    names = ("sign_seed", "registry_seed", "ipns_seed", "chunk_key", "catalog_identity")
    return [
        *(bytes.fromhex(facts[name]) for name in names),
        owner_recipient,
        bytes.fromhex(facts["reader_recipient"]),
        owner_verify_key,
    ]


def key_line(prefix: str, number: int, *parts: bytes) -> str:
    payload = be(1, 1) + be(number, 4) + b"".join(parts)
    return bech32(prefix, payload + hashlib.sha256(payload).digest()[:4])


def be(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


def derive(entropy: bytes, label: str) -> bytes:
    """RFC 5869, for the one block that is needed."""
    extracted = hmac.digest(b"dwebbackup/1", entropy, "sha256")
    return hmac.digest(extracted, label.encode() + b"\1", "sha256")


def bip39(entropy: bytes) -> str:
    """BIP39: entropy and its checksum byte, cut into 24 numbers of 11 bits."""
    book = resources.files("mnemonic").joinpath("wordlist/english.txt").read_text().split()
    bits = int.from_bytes(entropy + hashlib.sha256(entropy).digest()[:1], "big")
    return " ".join(book[bits >> 11 * (23 - place) & 2047] for place in range(24))


def bech32(prefix: str, payload: bytes) -> str:
    """BIP173; five bits a character."""
    bits = "".join(f"{byte:08b}" for byte in payload)
    values = [int(bits[at : at + 5].ljust(5, "0"), 2) for at in range(0, len(bits), 5)]
    state = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values, *[0] * 6]:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            state ^= term * (top >> place & 1)
    values += [(state ^ 1) >> 5 * (5 - place) & 31 for place in range(6)]
    return prefix + "1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[value] for value in values)


P = 2**255 - 19


def x25519(secret: bytes) -> bytes:
    """RFC 7748, section 5: the public key of *secret*, by the Montgomery ladder."""
    scalar = int.from_bytes(secret, "little") & ~7 & ~(1 << 255) | 1 << 254
    x2, z2, x3, z3 = 1, 0, 9, 1
    for place in range(254, -1, -1):
        if scalar >> place & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        x3, z3 = (d * a + c * b) ** 2 % P, 9 * (d * a - c * b) ** 2 % P
        x2, z2 = a * a * b * b % P, (a * a - b * b) * (a * a + 121665 * (a * a - b * b)) % P
        if scalar >> place & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, -1, P) % P).to_bytes(32, "little")


ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE = (15112221349535400772501151409588531511454012693041857206046113283949847762202, 4 * pow(5, -1, P) % P)


def ed25519_public(seed: bytes) -> bytes:
    """RFC 8032, section 5.1.5."""
    return compressed(times(ed25519_scalar(seed), BASE))


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """RFC 8032, section 5.1.6."""
    nonce = sha512_number(hashlib.sha512(seed).digest()[32:] + message)
    point = compressed(times(nonce, BASE))
    challenge = sha512_number(point + ed25519_public(seed) + message)
    return point + ((nonce + challenge * ed25519_scalar(seed)) % ORDER).to_bytes(32, "little")


def ed25519_scalar(seed: bytes) -> int:
    return int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & ~7 & ~(1 << 255) | 1 << 254


def sha512_number(data: bytes) -> int:
    return int.from_bytes(hashlib.sha512(data).digest(), "little") % ORDER


def compressed(point: tuple[int, int]) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def times(factor: int, point: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    while factor:
        if factor & 1:
            total = plus(total, point)
        point, factor = plus(point, point), factor >> 1
    return total


def plus(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, two
    k = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


# --- what belongs together ---


@given(owners, st.integers(1, 2**32 - 1))
def test_the_three_keys_of_a_writer_fit_each_other(owner, number):
    writer, reader = owner.writer(number), owner.reader(number)
    assert writer.id == reader.id == keys.writer_id(reader.verify_key)
    assert re.fullmatch("[0-9a-f]{20}", writer.id)
    assert writer.owner_recipient == owner.recipient == age.public_key(owner.identity)
    assert writer.reader_recipient == age.public_key(reader.identity)
    assert writer.catalog_recipient == age.public_key(reader.catalog_identity)
    assert primitives.verify(reader.verify_key, b"a\0", b"data", primitives.sign(writer.sign_seed, b"a\0", b"data"))


def test_no_secret_serves_two_uses():
    writers = [OWNER.writer(number) for number in (1, 2, 12)]
    readers = [OWNER.reader(number) for number in (1, 2, 12)]
    secrets = [OWNER.entropy, OWNER.identity, OWNER.sign_seed, *(reader.identity for reader in readers)]
    for writer in writers:
        secrets += [
            writer.sign_seed,
            writer.registry_seed,
            writer.ipns_seed,
            writer.chunk_key,
            writer.catalog_identity,
        ]
    assert len(set(secrets)) == len(secrets) == 21


def test_a_new_owner_is_another_owner():
    assert OwnerKey.generate() != OwnerKey.generate()


@pytest.mark.parametrize("number", [0, -1, 2**32])
def test_there_is_no_such_writer(number):
    for make in (OWNER.writer, OWNER.reader, lambda n: OWNER.retire(n, 1, DIGEST)):
        with pytest.raises(WrongConfiguration, match="there is no writer"):
            make(number)


def test_parts_of_another_size_are_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        OwnerKey(bytes(31))
    for key in (OWNER.writer(1), OWNER.reader(1)):
        with pytest.raises(ValueError, match="32 bytes"):
            dataclasses.replace(key, catalog_identity=bytes(33))


def test_secrets_do_not_show():
    shown = repr([OWNER, *ALL_KEYS]) + str([OWNER, *ALL_KEYS])
    for secret in secrets_of(OWNER, *ALL_KEYS):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


def secrets_of(owner: OwnerKey, *others: keys.Key) -> Iterator[bytes]:
    yield owner.entropy
    public = {"owner_recipient", "reader_recipient", "verify_key", "owner_verify_key"}
    for key in others:
        for part in dataclasses.fields(key):
            value = getattr(key, part.name)
            if isinstance(value, bytes) and part.name not in public:
                yield value


# --- signatures ---


def test_a_signature_is_for_one_key_one_label_and_one_text():
    signature = primitives.sign(OWNER.sign_seed, b"dwebbackup/head/1\0", b"data")
    assert primitives.verify(OWNER.verify_key, b"dwebbackup/head/1\0", b"data", signature)
    assert not primitives.verify(OWNER.verify_key, b"dwebbackup/manifest/1\0", b"data", signature)
    assert not primitives.verify(OWNER.verify_key, b"dwebbackup/head/1\0", b"date", signature)
    assert not primitives.verify(OWNER.writer(1).verify_key, b"dwebbackup/head/1\0", b"data", signature)


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65])
def test_a_malformed_signature_or_key_is_a_no(size):
    signature = primitives.sign(OWNER.sign_seed, b"a\0", b"data")
    assert not primitives.verify(OWNER.verify_key, b"a\0", b"data", (signature + b"!")[:size])
    assert not primitives.verify(bytes(size), b"a\0", b"data", signature)


def test_a_retirement_holds_for_what_it_says_and_nothing_else():
    owner, writer = OWNER.verify_key, OWNER.writer(1).verify_key
    assert RETIRED.is_signed_by(owner, writer)
    assert not RETIRED.is_signed_by(owner, OWNER.writer(2).verify_key)
    assert not RETIRED.is_signed_by(OwnerKey(bytes(32)).verify_key, writer)
    changes = {"number": 2, "sequence": 43, "manifest_sha256": bytes(32), "signature": bytes(64)}
    for name, value in changes.items():
        assert not dataclasses.replace(RETIRED, **{name: value}).is_signed_by(owner, writer)


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_a_retirement_as_bytes_comes_back(number, sequence, digest):
    retired = OWNER.retire(number, sequence, digest)
    assert len(retired.to_bytes()) == 108
    assert Retirement.from_bytes(retired.to_bytes()) == retired


@pytest.mark.parametrize("size", [0, 107, 109])
def test_a_retirement_of_another_length_is_damaged(size):
    with pytest.raises(Damaged):
        Retirement.from_bytes(bytes(size))


# --- key lines ---


@given(owners, st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_every_line_comes_back(owner, number, sequence):
    writer = owner.writer(number)
    after = dataclasses.replace(writer, retired=owner.retire(number, sequence, DIGEST))
    for key in (writer, after, owner.reader(number)):
        assert parse_key(key.line) == key


@pytest.mark.parametrize("key", ALL_KEYS, ids=repr)
def test_a_line_may_be_upper_case_wrapped_and_surrounded(key):
    line = key.line
    wrapped = "\r\n  ".join(line[at : at + 64] for at in range(0, len(line), 64))
    for text in (line.upper(), f"\n {line}\t\n", wrapped, wrapped.upper()):
        assert parse_key(text) == key


LONG, SHORT = SUCCESSOR.line, OWNER.reader(1).line


@pytest.mark.parametrize("line", [LONG, SHORT])
def test_every_changed_character_is_noticed(line):
    for at in range(5, len(line)):
        for other in {"q", "p", "b", "1", "-"} - {line[at]}:
            with pytest.raises(WrongConfiguration, match="damaged"):
                parse_key(line[:at] + other + line[at + 1 :])


@pytest.mark.parametrize("line", [LONG, SHORT])
def test_every_lost_doubled_or_swapped_character_is_noticed(line):
    for at in range(5, len(line) - 1):
        swapped = line[:at] + line[at + 1] + line[at] + line[at + 2 :]
        for changed in {line[:at] + line[at + 1 :], line[:at] + line[at] + line[at:], swapped, line[:at]} - {line}:
            with pytest.raises(WrongConfiguration, match="damaged") as refused:
                parse_key(changed)
            assert "changed or lost" in refused.value.hint


def test_a_change_that_bech32_does_not_see_is_noticed():
    """Before a final `p`, Bech32's checksum holds with any number of `q`s; eight of them are five bytes."""
    line = next(line for n in range(1, 1000) if (line := OWNER.reader(n).line).endswith("p"))
    longer = line[:-1] + "q" * 8 + "p"
    assert primitives.from_bech32(longer)[0] == "dwbr"
    with pytest.raises(WrongConfiguration, match="damaged"):
        parse_key(longer)


@pytest.mark.parametrize("key", ALL_KEYS, ids=repr)
def test_the_second_checksum_counts(key):
    prefix, payload = primitives.from_bech32(key.line)
    with pytest.raises(WrongConfiguration, match="damaged"):
        parse_key(primitives.to_bech32(prefix, payload[:-1] + bytes([payload[-1] ^ 1])))


def test_mixed_case_is_damage():
    with pytest.raises(WrongConfiguration, match="damaged"):
        parse_key(SHORT[:50] + SHORT[50:].upper())


def line_of(prefix: str, payload: bytes) -> str:
    return primitives.to_bech32(prefix, payload + hashlib.sha256(payload).digest()[:4])


@pytest.mark.parametrize("prefix", ["dwbw", "dwbr"])
@pytest.mark.parametrize("size", [0, 4, 100, 102, 164, 166, 228, 230, 336, 338])
def test_a_well_summed_line_of_another_length_is_damaged(prefix, size):
    with pytest.raises(WrongConfiguration, match="damaged" if size else "newer"):
        parse_key(line_of(prefix, (b"\1" + bytes(size))[:size]))


@pytest.mark.parametrize("line", [line_of("dwbw", b"\2" + bytes(500)), line_of("dwbx", b"\1" + bytes(100))])
def test_what_a_newer_version_made_is_said_to_be_so(line):
    with pytest.raises(WrongConfiguration, match="made by a newer dwebbackup"):
        parse_key(line)


@pytest.mark.parametrize("line", [LONG, SHORT])
def test_a_damaged_line_is_not_repeated(line):
    with pytest.raises(WrongConfiguration) as refused:
        parse_key(line[:-1])
    assert line[4:20] not in said(refused.value)
    assert refused.value.__cause__ is None


def said(error: WrongConfiguration) -> str:
    return str(error) + " " + error.hint


# --- words ---


@given(owners)
def test_words_come_back(owner):
    assert len(owner.words.split()) == 24
    assert parse_key(owner.words) == owner


PASTED = {
    "wrapped and spread": "\n\t ".join(WORDS) + "\r\n",
    "upper case": OWNER.words.upper(),
    "capitals": OWNER.words.title(),
    "commas": ", ".join(WORDS),
    "quoted": f'"{OWNER.words}"',
    "byte order mark": "\ufeff" + OWNER.words,
    "wide spaces": "\u3000".join(WORDS),
    "list": "\n".join(f"{number}. {word}" for number, word in enumerate(WORDS, 1)),
    "list without a space": " ".join(f"{number}.{word}" for number, word in enumerate(WORDS, 1)),
    "list from the last": "\n".join(f"{number:02}) {WORDS[number - 1]}" for number in range(24, 0, -1)),
    "two columns": "\n".join(f"{n + 1}: {WORDS[n]}    {n + 13}: {WORDS[n + 12]}" for n in range(12)),
    "table": "\n".join(f"| {number} | {word} |" for number, word in enumerate(WORDS, 1)),
}


@pytest.mark.parametrize("text", PASTED.values(), ids=PASTED)
def test_words_are_taken_as_people_paste_them(text):
    assert parse_key(text) == OWNER


def test_ligatures_of_a_printed_page_are_letters():
    owner = next(owner for n in range(256) if "fi" in (owner := OwnerKey(bytes([n] * 32))).words)
    assert parse_key(owner.words.replace("fi", "\ufb01")) == owner


@pytest.mark.parametrize(("number", "instead"), [("7. ", ""), ("7. ", "8. "), ("24. ", "25. ")])
def test_numbers_that_are_not_1_to_24_do_not_order(number, instead):
    numbered = " ".join(f"{number}. {word}" for number, word in enumerate(WORDS, 1))
    assert number in numbered
    assert parse_key(numbered.replace(number, instead)) == OWNER


def test_the_misspelt_word_is_named_with_its_place_and_what_is_close():
    words = [*WORDS]
    words[6] = "pumpkni"
    with pytest.raises(WrongConfiguration, match="word 7 of the recovery phrase, 'pumpkni'") as refused:
        parse_key(" ".join(words))
    assert refused.value.hint.startswith("The closest are: pumpkin")
    assert not set(WORDS) & set(re.findall(r"\w+", said(refused.value)))


def test_the_place_of_a_misspelt_word_is_its_number_in_a_list():
    numbered = [f"{number}. {word}" for number, word in enumerate(WORDS, 1)]
    numbered[6] = "7. ab4ndon"
    with pytest.raises(WrongConfiguration, match="word 7 of the recovery phrase, 'ab4ndon'"):
        parse_key(" ".join(reversed(numbered)))


def test_of_several_misspelt_words_only_the_first_is_named():
    words = [*WORDS]
    words[0], words[3], words[23] = "xxqqxx", "secretone", "secrettwo"
    with pytest.raises(WrongConfiguration, match=r"word 1 .*'xxqqxx'") as refused:
        parse_key(" ".join(words))
    assert refused.value.hint == "No word of the list is close to it. Not in the list either: number 4, 24."


@pytest.mark.parametrize("count", [1, 12, 23, 25, 48])
def test_a_wrong_count_says_how_many_there_were(count):
    with pytest.raises(WrongConfiguration, match=f"24 words; here are {count}$"):
        parse_key(" ".join((WORDS * 2)[:count]))


def test_with_a_wrong_count_only_places_are_told():
    run_together = [*WORDS[:4], WORDS[4] + WORDS[5], *WORDS[6:]]
    with pytest.raises(WrongConfiguration, match="here are 23") as refused:
        parse_key(" ".join(run_together))
    assert "The first that is not in the list of words is number 5." in refused.value.hint
    assert WORDS[4] not in said(refused.value)


def test_two_words_that_changed_places_are_noticed():
    first, second = next((a, b) for a in range(23) for b in range(a + 1, 24) if is_noticed(swapped(a, b)))
    with pytest.raises(WrongConfiguration, match="every word exists, but their checksum") as refused:
        parse_key(swapped(first, second))
    assert "two changed places" in refused.value.hint


def test_a_wrong_word_is_noticed_as_often_as_eight_bits_of_checksum_can():
    others = resources.files("mnemonic").joinpath("wordlist/english.txt").read_text().split()[::8]
    noticed = sum(is_noticed(" ".join([*WORDS[:9], word, *WORDS[10:]])) for word in others)
    assert noticed >= len(others) - 8


def swapped(first: int, second: int) -> str:
    words = [*WORDS]
    words[first], words[second] = words[second], words[first]
    return " ".join(words)


def is_noticed(words: str) -> bool:
    try:
        parse_key(words)
    except WrongConfiguration:
        return True
    return False


@pytest.mark.parametrize("text", ["", " \n"])
def test_nothing_is_no_key(text):
    with pytest.raises(WrongConfiguration, match="empty"):
        parse_key(text)


def test_an_age_identity_is_no_key_and_is_not_repeated():
    text = age.identity_text(OWNER.identity)
    with pytest.raises(WrongConfiguration, match="age identity") as refused:
        parse_key(text)
    assert text[17:30] not in said(refused.value)


@given(st.text(max_size=200))
def test_other_text_is_refused_and_not_repeated(text):
    with pytest.raises(WrongConfiguration) as refused:
        parse_key(text)
    assert len(text.strip()) < 20 or text.strip() not in said(refused.value)


# --- the sheet to print ---


def test_the_recovery_sheet_has_the_name_of_the_newest_writer_on_ipfs():
    sheet = recovery_sheet(OWNER, [], [(1, OWNER.writer(1).id), (2, SUCCESSOR.id)], "2026-11-20")
    assert f"ipns://{ipns.name_of(SUCCESSOR.head_keys.ipns).text}\n" in sheet
    none_yet = recovery_sheet(OWNER, [], None, "2026-11-20")
    assert f"ipns://{ipns.name_of(OWNER.writer(1).head_keys.ipns).text}\n" in none_yet


def test_the_recovery_sheet_has_all_that_a_recovery_needs():
    stores = ["s3://bucket/prefix?endpoint=https://s3.example", "file:///mnt/it's here"]
    sheet = recovery_sheet(OWNER, stores, [(1, OWNER.writer(1).id), (2, SUCCESSOR.id)], "2026-11-20")
    for fact in (
        *stores,
        OWNER.writer(1).id,
        SUCCESSOR.id,
        age.recipient_text(OWNER.recipient),
        "2026-11-20",
    ):
        assert fact in sheet
    assert f"DWEBBACKUP_STORE={' '.join(stores)}" in shlex.split(sheet[sheet.index("export ") :])
    assert "WITHOUT THESE WORDS NOTHING COMES BACK" in sheet
    assert "dwebbackup restore latest" in sheet
    assert all(len(line) < 80 for line in sheet.splitlines() if "://" not in line)


def test_the_words_of_the_sheet_can_be_pasted_back():
    sheet = recovery_sheet(OWNER, [], [], "2026-11-20")
    block = "\n".join(line for line in sheet.splitlines() if re.match(r" +\d+\. ", line))
    assert re.findall(r"(\d+)\. (\w+)", block) == [(str(n), word) for n, word in enumerate(WORDS, 1)]
    assert parse_key(block) == OWNER
    assert "(none yet)" in sheet
