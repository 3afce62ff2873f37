"""A store that was made once is read for ever; and the page about the format is enough to read it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from dwebbackup import access, records, verify
from dwebbackup.access import Opened
from dwebbackup.errors import KeyForbids
from dwebbackup.keys import Key, OwnerKey
from dwebbackup.manifest import Genesis
from dwebbackup.ports import Quiet
from dwebbackup.stores.local import LocalStore
from faulty import flipped
from golden_store import backups, make
from second_reader import Refused, SecondReader

FOLDER = Path(__file__).parent / "vectors" / "store-1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
OWNER = OwnerKey.from_words(EXPECTED["words"])
KEYS = {"owner": OWNER, "reader": OWNER.reader(1)}

Digests = Mapping[str, str]


def opened(key: Key = OWNER, folder: Path = FOLDER) -> Opened:
    (writer,) = access.open_store(key, LocalStore(folder))
    return writer


def digests_by_us(writer: Opened, wanted: str) -> Digests:
    """SHA-256 of every stream of a backup."""
    manifest = writer.catalog.whole(writer.catalog.find(wanted).manifest)
    (source,) = manifest.sources
    with writer.packs(manifest) as packs:
        return {stream.path[0]: hashlib.sha256(b"".join(packs.stream(stream))).hexdigest() for stream in source.streams}


def digests_by_the_second(reader: SecondReader, sha256: str) -> Digests:
    manifest = reader.manifests()[sha256]
    (source,) = manifest["sources"]
    return {
        stream["path"][0]: hashlib.sha256(reader.read(manifest, stream)).hexdigest() for stream in source["streams"]
    }


# --- this version ---


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("backup", EXPECTED["backups"], ids=lambda backup: backup["id"])
def test_every_stream_is_read_byte_for_byte(key, backup):
    assert digests_by_us(opened(key), backup["id"]) == backup["streams"]


def test_what_was_newest_still_is():
    newest = opened().catalog.newest()
    assert [tip.ref.sha256 for tip in newest.tips] == [EXPECTED["backups"][-1]["sha256"]]
    assert [ref.id for ref in newest.refs] == [backup["id"] for backup in EXPECTED["backups"]]
    assert newest.doubts == ()


def test_everything_in_it_is_whole():
    report = verify.verify(opened(), None, 100, Quiet())
    assert [finding for finding in report.findings if finding.severity == "error"] == []
    assert (report.backups, report.packs) == (3, 4)


def test_its_writer_key_reads_the_catalog_and_no_row():
    writer = opened(OWNER.writer(1))
    assert writer.catalog.latest().manifest.sequence == 3
    with pytest.raises(KeyForbids):
        digests_by_us(writer, "latest")


def test_its_genesis_is_the_owners():
    data = (FOLDER / "w" / EXPECTED["writer"] / "genesis.json").read_bytes()
    assert records.read_line(Genesis, data, OWNER.verify_key).writer == EXPECTED["writer"]


# --- the second reader ---


def second(folder: Path = FOLDER) -> SecondReader:
    return SecondReader(folder, EXPECTED["words"], 1)


@pytest.mark.parametrize("backup", EXPECTED["backups"], ids=lambda backup: backup["id"])
def test_the_page_about_the_format_is_enough_to_read_it(backup, age_program, zstd_program):
    assert digests_by_the_second(second(), backup["sha256"]) == backup["streams"]


def test_the_page_about_the_format_is_enough_to_read_its_head_and_genesis():
    newest = EXPECTED["backups"][-1]["sha256"]
    assert second().head()["manifest"]["sha256"] == newest
    assert list(second().manifests())[-1] == newest
    assert second().genesis()["writer"] == EXPECTED["writer"] == second().writer


def test_both_readers_read_what_is_written_today(tmp_path):
    make(tmp_path)
    expected = json.loads((tmp_path / "expected.json").read_text())
    assert expected["words"] == EXPECTED["words"]
    for backup, before, contents in zip(expected["backups"], EXPECTED["backups"], backups(), strict=True):
        assert backup["streams"] == {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        assert backup["streams"] == before["streams"]
        assert digests_by_us(opened(folder=tmp_path), backup["id"]) == backup["streams"]
        assert digests_by_the_second(second(tmp_path), backup["sha256"]) == backup["streams"]


def test_the_second_reader_itself_notices(tmp_path):
    """A changed byte in any object that it needs; else it would prove nothing."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    needed = [path for path in tmp_path.rglob("*.age") if path.parent.name != "checkpoints"]
    assert len(needed) == 3 + 4 + 4
    for path in needed:
        whole = path.read_bytes()
        path.write_bytes(flipped(whole, len(whole) * 4))
        with pytest.raises(Refused):
            [digests_by_the_second(second(tmp_path), backup["sha256"]) for backup in EXPECTED["backups"]]
        path.write_bytes(whole)
