"""IPNS: names and records as js-ipns makes and takes them, boxo's own records, and nothing that was changed is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links import cbor, ipns
from dwebbackup.links.alphabets import BASE32, BASE58
from dwebbackup.links.cid import Cid, Codec
from dwebbackup.links.ipns import SECOND, Record
from dwebbackup.links.protobuf import bytes_field, number_field, read_fields
from dwebbackup.links.signing import public_key, sign
from links.asking import ask, vectors

SEED = bytes(range(32))
NAME = ipns.name_of(public_key(SEED))
VALUE = "/ipfs/bafkqaddwgevxmmraojswg33smq"
UNTIL = 4_847_971_200 * SECOND + 694_052_000
RECORD = Record(VALUE, 7, UNTIL, 300 * SECOND)
VECTORS = vectors("ipns")["records"]

NUMBERS = st.integers(0, (1 << 64) - 1)
RECORDS = st.builds(Record, st.text(max_size=100), NUMBERS, NUMBERS, NUMBERS)


def made(record: Record, seed: bytes = SEED) -> bytes:
    return ipns.record(seed, record.value, record.sequence, record.validity, record.ttl)


# --- names ---


@given(st.binary(min_size=32, max_size=32))
def test_a_name_comes_back_from_all_its_forms(public: bytes):
    name = ipns.name_of(public)
    assert ipns.key_of(name) == public
    forms = [name.text, ipns.peer_text(name), name.text_in(BASE32), name.text_in(BASE58)]
    assert [ipns.parse_name(form) for form in forms] == [name] * 4
    assert (name.text[:4], forms[1][:4]) == ("k51q", "12D3")


def test_names_are_those_of_libp2p():
    seeds = [bytes(32), SEED, bytes([255] * 32)]
    names = [ipns.name_of(public_key(seed)) for seed in seeds]
    ours = [{"cid": name.text, "peer": ipns.peer_text(name)} for name in names]
    assert ask(*({"ask": "name", "seed": seed.hex()} for seed in seeds)) == ours


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("QmVujd5Vb7moysJj8itnGufN7MEtPRCNHkKpNuA4onsRa3", "not the name of an Ed25519 key"),  # of an RSA key
        ("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", "not the name of an Ed25519 key"),
        ("k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103", "is no CID"),
        ("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXT0", "character 52, '0', is none of base58"),
        ("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXT", "not the name of an Ed25519 key"),
        ("", "is no CID"),
        ("1", "not the name of an Ed25519 key"),
    ],
)
def test_a_wrong_name_is_refused_with_a_sentence(text: str, why: str):
    with pytest.raises(WrongConfiguration, match=why):
        ipns.parse_name(text)


def test_a_cid_of_something_else_has_no_key():
    with pytest.raises(WrongConfiguration, match="not the name of an Ed25519 key"):
        ipns.key_of(Cid(1, Codec.RAW, NAME.hash))


# --- records of others ---


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_records_of_boxo_are_taken_or_refused_as_its_authors_say(vector: dict[str, str]):
    name, signed = ipns.parse_name(vector["name"]), bytes.fromhex(vector["record"])
    if vector["wrong"]:
        with pytest.raises(Damaged, match=f"{vector['name']} is not good: .*{vector['wrong']}"):
            ipns.read_record(signed, name)
        return
    record = ipns.read_record(signed, name)
    assert record.value == vector["value"]
    assert record.is_valid_at(4_000_000_000)
    assert ipns.encode_data(record) == read_fields(signed)[9], "our CBOR and our times are boxo's"


def test_js_ipns_takes_our_records_and_reads_in_them_what_we_wrote():
    signed = made(RECORD)
    key = bytes.fromhex("08011220") + public_key(SEED)
    changed = bytearray(signed)
    changed[-60] ^= 1
    answers = ask(*({"ask": "verify", "key": key.hex(), "record": each.hex()} for each in (signed, bytes(changed))))
    about = {"value": VALUE, "sequence": "7", "ttl": "300000000000"}
    assert answers[0] == about | {"until": "2123-08-17T18:40:00.694052Z"}
    assert answers[1].startswith("threw "), "or it would take anything"


@pytest.mark.parametrize("both", [False, True], ids=["version 2", "versions 1 and 2"])
def test_records_of_js_ipns_are_taken(both: bool):
    about = {"value": VALUE, "sequence": "7", "until": "2123-08-17T18:40:00.694052000Z", "ttl": "300000000000"}
    (signed,) = ask({"ask": "sign", "seed": SEED.hex(), "both": both, **about})
    assert ipns.read_record(bytes.fromhex(signed), NAME) == RECORD


def test_with_a_time_of_nine_digits_js_ipns_makes_the_very_same_bytes():
    record = Record(VALUE, 1, UNTIL + 1, SECOND)
    about = {"value": VALUE, "sequence": "1", "until": "2123-08-17T18:40:00.694052001Z", "ttl": str(SECOND)}
    assert ask({"ask": "sign", "seed": SEED.hex(), "both": False, **about}) == [made(record).hex()]


# --- there and back ---


@given(RECORDS)
def test_a_record_comes_back(record: Record):
    assert ipns.read_record(made(record), NAME) == record


@given(st.integers(0, len(made(RECORD)) - 1), st.integers(1, 255))
def test_a_record_with_any_byte_changed_is_refused(place: int, change: int):
    signed = bytearray(made(RECORD))
    signed[place] ^= change
    with pytest.raises(Damaged, match="is not good"):
        ipns.read_record(bytes(signed), NAME)


@given(st.integers(0, len(made(RECORD)) - 1))
def test_a_record_that_was_cut_off_is_refused(size: int):
    with pytest.raises(Damaged, match="is not good"):
        ipns.read_record(made(RECORD)[:size], NAME)


def test_a_record_of_somebody_else_is_refused():
    with pytest.raises(Damaged, match="signature does not hold"):
        ipns.read_record(made(RECORD, bytes(32)), NAME)


def test_a_record_that_brings_its_own_key_is_refused():
    other = bytes.fromhex("08011220") + public_key(bytes(32))
    with pytest.raises(Damaged, match="another key"):
        ipns.read_record(made(RECORD, bytes(32)) + bytes_field(7, other), NAME)
    mine = bytes.fromhex("08011220") + public_key(SEED)
    assert ipns.read_record(made(RECORD) + bytes_field(7, mine), NAME) == RECORD


def test_it_is_valid_up_to_its_time():
    assert RECORD.is_valid_at(4_847_971_200.6)
    assert not RECORD.is_valid_at(4_847_971_200.7)


# --- signed, and still wrong ---


def signed_data(data: bytes, more: bytes = b"") -> bytes:
    return more + bytes_field(8, sign(SEED, b"ipns-signature:" + data)) + bytes_field(9, data)


def entries(**changes: cbor.Value) -> dict[str, cbor.Value]:
    plain = {"Value": VALUE.encode(), "ValidityType": 0, "Validity": b"2123-08-17T18:40:00Z", "Sequence": 7, "TTL": 0}
    return plain | changes


def test_what_else_its_author_wrote_into_it_is_passed_over():
    assert ipns.read_record(signed_data(cbor.encode_map(entries(_ours="hello"))), NAME).sequence == 7


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"Value": "text"}, "lacks its value or its validity"),
        ({"Value": b"\xff"}, "no text"),
        ({"Validity": 7}, "lacks its value or its validity"),
        ({"Sequence": -1}, "lacks its sequence or its time to live"),
        ({"TTL": b"1"}, "lacks its sequence or its time to live"),
        ({"ValidityType": 1}, "does not say until when"),
        ({"Validity": b"tomorrow"}, "'tomorrow', until when it is valid, is no time"),
        ({"Validity": b"2123-13-17T18:40:00Z"}, "is no time"),
        ({"Validity": b"2123-08-17T18:40:00"}, "is no time"),
        ({"Validity": b"2123-08-17T18:40:00.0000000001Z"}, "is no time"),
    ],
)
def test_signed_nonsense_is_refused_with_a_sentence(changes: dict[str, cbor.Value], why: str):
    with pytest.raises(Damaged, match=why):
        ipns.read_record(signed_data(cbor.encode_map(entries(**changes))), NAME)


@pytest.mark.parametrize("missing", ["Value", "Validity", "ValidityType", "Sequence", "TTL"])
def test_signed_gaps_are_refused(missing: str):
    left = {key: value for key, value in entries().items() if key != missing}
    with pytest.raises(Damaged, match=r"lacks its|does not say"):
        ipns.read_record(signed_data(cbor.encode_map(left)), NAME)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2123-08-17T18:40:00Z", 4_847_971_200 * SECOND),
        ("2123-08-17T20:40:00+02:00", 4_847_971_200 * SECOND),
        ("2123-08-17T18:40:00.5Z", 4_847_971_200_500_000_000),
        ("2123-08-17T18:40:00.000000001Z", 4_847_971_200_000_000_001),
        ("1969-12-31T23:59:59Z", -SECOND),
    ],
)
def test_times_are_read_as_others_write_them(text: str, moment: int):
    data = cbor.encode_map(entries(Validity=text.encode()))
    assert ipns.read_record(signed_data(data), NAME).validity == moment


OLD = {1: VALUE.encode(), 2: b"signature", 3: 0, 4: b"2123-08-17T18:40:00Z", 5: 7, 6: 0}
"""What a record of both versions has besides, in the older one."""


def older(fields: dict[int, int | bytes]) -> bytes:
    written = [number_field(n, v) if isinstance(v, int) else bytes_field(n, v) for n, v in fields.items()]
    return signed_data(cbor.encode_map(entries()), b"".join(written))


def test_a_record_of_both_versions_that_agree_is_taken():
    assert ipns.read_record(older(OLD), NAME).sequence == 7


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        (1, b"/ipfs/other", "Value"),
        (3, 1, "ValidityType"),
        (4, b"2124-08-17T18:40:00Z", "Validity"),
        (5, 8, "Sequence"),
        (6, 1, "TTL"),
        (5, b"7", "Sequence"),
    ],
)
def test_a_record_whose_versions_differ_is_refused(field: int, value: int | bytes, key: str):
    with pytest.raises(Damaged, match=f"two versions differ in {key}"):
        ipns.read_record(older(OLD | {field: value}), NAME)


@pytest.mark.parametrize("fields", [{1: b"/ipfs/other"}, {5: 7}, {2: b"signature"}])
def test_a_record_with_a_piece_of_the_older_version_is_refused(fields: dict[int, int | bytes]):
    with pytest.raises(Damaged, match="two versions differ"):
        ipns.read_record(older(fields), NAME)


@pytest.mark.parametrize("field", [1, 4, 5])
def test_a_record_whose_older_version_has_a_gap_is_refused(field: int):
    with pytest.raises(Damaged, match="two versions differ"):
        ipns.read_record(older({n: v for n, v in OLD.items() if n != field}), NAME)


# --- limits ---


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (Record(VALUE, -1, UNTIL, 0), "-1 does not fit into an IPNS record"),
        (Record(VALUE, 0, UNTIL, 1 << 64), "does not fit into an IPNS record"),
        (Record(VALUE, 0, 1 << 64, 0), "does not fit into an IPNS record"),
        (Record("/ipfs/" + "a" * 11_000, 0, UNTIL, 0), "at most 10240 bytes"),
    ],
)
def test_what_does_not_fit_is_refused(record: Record, why: str):
    with pytest.raises(WrongConfiguration, match=why):
        made(record)


def test_a_record_that_is_too_large_is_not_even_read():
    with pytest.raises(Damaged, match="at most 10240 bytes, and this has 1000000"):
        ipns.read_record(bytes(1_000_000), NAME)


@given(st.binary(max_size=300))
def test_junk_is_refused_and_nothing_worse(junk: bytes):
    with pytest.raises(Damaged):
        ipns.read_record(junk, NAME)
