"""A writer's head on networks: what is announced is found again by the key alone, and nothing else is believed."""

from __future__ import annotations

import pytest

from dwebbackup import heads
from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.keys import OwnerKey, parse_key
from dwebbackup.links import ipns, registry
from dwebbackup.links.cid import Cid, Codec
from dwebbackup.links.ipns import SECOND
from dwebbackup.links.protobuf import bytes_field, number_field
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.unixfs import V0_2015, cid_of
from shelf import OWNER, STRANGER

WRITER = OWNER.writer(1)
KEYS = WRITER.head_keys
CID = cid_of(b"a manifest").text
SKYLINK = skylink_of(b"a manifest").text
NOW = 1_795_000_000.0


def announced(owner: OwnerKey = OWNER, sequence: int = 42, now: float = NOW):
    return heads.announcement(owner.writer(1), sequence, CID, SKYLINK, now)


def told(record: bytes, now: float = NOW):
    return heads.told_by_record(record, KEYS, now, "a gateway")


# --- IPNS ---


def test_the_owner_the_writer_and_the_reader_find_a_head_by_their_keys():
    record = announced().ipns_record
    for line in (OWNER.words, WRITER.line, OWNER.reader(1).line):
        key = parse_key(line)
        keys = key.writer(1).head_keys if isinstance(key, OwnerKey) else key.head_keys
        lead = heads.told_by_record(record, keys, NOW, "a gateway")
        assert (lead.link, lead.sequence, lead.teller) == (f"ipfs://{CID}", 42, "a gateway")


def test_every_writer_has_a_name_of_its_own():
    names = {heads.announcement(OWNER.writer(number), 1, CID, None, NOW).ipns_name for number in range(1, 20)}
    assert len(names) == 19


def test_links_may_be_written_with_their_scheme():
    bare, linked = announced(), heads.announcement(WRITER, 42, f"ipfs://{CID}", f"sia://{SKYLINK}", NOW)
    assert bare == linked
    assert linked.cid == CID


def test_a_cid_of_another_profile_can_be_announced():
    cid = cid_of(b"a manifest", V0_2015).text
    record = heads.announcement(WRITER, 1, cid, None, NOW).ipns_record
    assert told(record).link == f"ipfs://{cid}"


@pytest.mark.parametrize(("cid", "skylink"), [(CID[:-1], None), (CID, SKYLINK[:-1])])
def test_what_is_no_link_is_not_announced(cid, skylink):
    with pytest.raises(WrongConfiguration):
        heads.announcement(WRITER, 1, cid, skylink, NOW)


def test_a_record_counts_for_ten_years_and_not_longer():
    record = announced().ipns_record
    assert told(record, NOW + heads.VALIDITY - 1).sequence == 42
    with pytest.raises(Damaged, match=r"a gateway .* expired"):
        told(record, NOW + heads.VALIDITY + 1)


def test_somebody_elses_record_is_not_believed():
    with pytest.raises(Damaged, match=r"a gateway: .* signature does not hold"):
        told(announced(STRANGER).ipns_record)


def test_no_changed_byte_of_a_record_is_believed():
    record = announced().ipns_record
    for at in range(len(record)):
        with pytest.raises(Damaged):
            told(record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :])


def test_a_record_of_version_1_alone_is_not_believed():
    fields = bytes_field(1, f"/ipfs/{CID}".encode()) + bytes_field(2, bytes(64)) + number_field(3, 0)
    with pytest.raises(Damaged, match="no signature of version 2"):
        told(fields + bytes_field(4, b"2036-01-01T00:00:00Z") + number_field(5, 42))


def test_a_record_whose_two_versions_differ_is_not_believed():
    """Programs that read the older version would be led elsewhere."""
    elsewhere = bytes_field(1, f"/ipfs/{cid_of(b'evil').text}".encode())
    with pytest.raises(Damaged, match="two versions differ in Value"):
        told(elsewhere + announced().ipns_record)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("/ipns/k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f", "a manifest is at /ipfs/"),
        (f"/ipfs/{CID}/folder", "leads nowhere"),
        ("/ipfs/nonsense", "leads nowhere"),
        ("", "a manifest is at /ipfs/"),
    ],
)
def test_a_record_that_leads_to_no_file_is_not_believed(value: str, why: str):
    record = ipns.record(WRITER.ipns_seed, value, 1, int(NOW + 60) * SECOND, 0)
    with pytest.raises(Damaged, match=why):
        told(record)


# --- Skynet ---


def entry_of(owner: OwnerKey = OWNER):
    announcement = announced(owner)
    assert announcement.registry_entry
    return announcement.registry_entry


def test_an_entry_leads_to_the_skylink():
    lead = heads.told_by_entry(*entry_of(), KEYS, "a portal")
    assert (lead.link, lead.sequence, lead.teller) == (f"sia://{SKYLINK}", 42, "a portal")
    assert announced().registry_key == KEYS.registry


def test_somebody_elses_entry_is_not_believed():
    with pytest.raises(Damaged, match=r"a portal: .* not signed with the key"):
        heads.told_by_entry(*entry_of(STRANGER), KEYS, "a portal")


def test_an_entry_for_another_purpose_is_not_believed():
    entry, _ = entry_of()
    other = registry.sign(WRITER.registry_seed, registry.data_key("something else"), entry)
    with pytest.raises(Damaged, match="not signed"):
        heads.told_by_entry(entry, other, KEYS, "a portal")


def test_where_no_store_gave_a_skylink_there_is_no_entry():
    assert heads.announcement(WRITER, 42, CID, None, NOW).registry_entry is None


def test_the_name_is_a_cid_of_the_key():
    name = Cid(1, Codec.LIBP2P_KEY, ipns.name_of(KEYS.ipns).hash)
    assert announced().ipns_name == name.text
