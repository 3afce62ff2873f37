"""CIDs as text and bytes: they come back, others' libraries read them alike, and a typing error is named."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.links.alphabets import BASE32, BASE36, BASE58
from dwebbackup.links.cid import SHA2_256, Cid, Codec, from_binary, parse
from links.asking import ask

V0 = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"
V1 = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"

DIGESTS = st.binary(min_size=32, max_size=32)
HASHES = DIGESTS.map(lambda digest: SHA2_256 + digest) | st.binary(max_size=100).map(
    lambda data: bytes([0, len(data)]) + data
)
CIDS = st.builds(Cid, st.just(1), st.sampled_from(list(Codec)), HASHES) | DIGESTS.map(
    lambda digest: Cid(0, Codec.DAG_PB, SHA2_256 + digest)
)


@given(CIDS)
def test_bytes_and_texts_come_back(cid: Cid):
    assert from_binary(cid.binary) == cid
    assert parse(cid.text) == cid
    if cid.version == 1:
        assert {parse(cid.text_in(alphabet)) for alphabet in (BASE32, BASE36, BASE58)} == {cid}


@given(st.lists(CIDS, min_size=20, max_size=20))
def test_no_two_have_one_text(cids: list[Cid]):
    assert len({cid.text for cid in cids}) == len(set(cids))


def test_ipfs_reads_and_writes_them_alike():
    digest = SHA2_256 + bytes(range(32))
    cids = [Cid(0, Codec.DAG_PB, digest), *(Cid(1, codec, digest) for codec in Codec)]
    cids += [Cid(1, Codec.RAW, b"\0\x05hello"), Cid(1, Codec.LIBP2P_KEY, b"\0\0")]
    for cid, said in zip(cids, ask(*({"ask": "cid", "text": cid.text} for cid in cids)), strict=True):
        assert said == {
            "version": cid.version,
            "codec": cid.codec,
            "hash": cid.hash.hex(),
            "binary": cid.binary.hex(),
            "forms": [cid.text_in(each) for each in (BASE32, BASE36, BASE58)] if cid.version else [cid.text],
        }


def test_a_node_in_either_version_is_the_same_block():
    old = parse(V0)
    new = Cid(1, Codec.DAG_PB, old.hash)
    assert old != new
    assert old.same_block(new)
    assert not old.same_block(Cid(1, Codec.RAW, old.hash))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "those that are known here begin with"),
        (V1.upper(), "those that are known here begin with"),
        (f"/ipfs/{V1}", "those that are known here begin with"),
        (f"f{'01' * 10}", "those that are known here begin with"),
        (V0[:-1], "has 45 characters, and one that begins with Qm has 46"),
        (V0 + "1", "has 47 characters"),
        (V0.replace("B36", "B0I6")[:46], "character 19, '0', is none of base58"),
        (V1.replace("yek", "y1k"), "character 20, '1', is none of base32"),
        ("Qm" + "z" * 44, "not the name of a SHA-256"),
        (V1[:-1], "characters are missing"),
        (f"{V1}aaaaaaaa", "should have 32 bytes, and has 37"),
        (f"{V1[:-1]}f", "the last character, .f., is wrong"),
        ("b" + "a" * 1000, "1000 characters are too many"),
        ("b", "no number at byte 0"),
        ("z" + V0, "version 0 is written without 'z'"),
    ],
)
def test_a_wrong_text_is_refused_with_a_sentence(text: str, why: str):
    with pytest.raises(WrongConfiguration, match=why):
        parse(text)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("0155", "no number at byte 0"),
        ("02551220" + "00" * 32, "of version 2, and 0 and 1 are known"),
        ("01711220" + "00" * 32, "its codec, 0x71, is none of raw, dag-pb and libp2p-key"),
        ("01551320" + "00" * 32, "its hash is of kind 0x13 with 32 bytes"),
        ("0155121f" + "00" * 31, "its hash is of kind 0x12 with 31 bytes"),
        ("01551220" + "00" * 31, "should have 32 bytes, and has 31"),
        ("1220" + "00" * 33, "has 34 bytes, and this is 35"),
        ("01d5001220" + "00" * 32, "no number at byte 1"),  # the codec, longer than it need be
        ("0155008101" + "00" * 129, "its hash is of kind 0x0 with 129 bytes"),
    ],
)
def test_wrong_bytes_are_refused_with_a_sentence(data: str, why: str):
    with pytest.raises(Damaged, match=why):
        from_binary(bytes.fromhex(data))


@given(st.text(max_size=80))
def test_any_text_is_a_cid_or_refused(text: str):
    for each in (text, f"b{text}", f"k{text}", f"z{text}", f"Qm{text}"):
        with suppress(WrongConfiguration):
            assert parse(parse(each).text) == parse(each)
