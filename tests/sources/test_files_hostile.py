"""Streams that no folder of ours gave: nothing in them leads out of the folder that is filled, and nothing is left."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dwebbackup.errors import Damaged, DwebbackupError, RestoreFailed
from dwebbackup.sources.files import FilesSource
from dwebbackup.sources.files.members import LONGEST_HEADER
from sources.trees import Taken, nobody, picture, put_back, taken, taken_as, url

Change = Callable[[tarfile.TarInfo], None]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:  # fmt: skip
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, len(data)
    made.uid, made.gid, made.mode = os.geteuid(), os.getegid(), 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(made, field, value)
    return made, data


def packed(*members: tuple[tarfile.TarInfo, bytes], top: bool = True) -> bytes:
    """A tar file as tar would write it, whatever the names in it are; by Python's tarfile, which writes anything."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for each, data in (*([member("./", tarfile.DIRTYPE)] if top else []), *members):
            archive.addfile(each, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def honest(tmp_path: Path) -> Taken:
    made = tmp_path / "made" / "honest"
    made.mkdir(parents=True)
    (made / "x").write_bytes(b"x")
    return taken(FilesSource(url(made)))


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    """A folder beside the one that is filled, which must stay as it is."""
    made = tmp_path / "ward"
    made.mkdir()
    (made / "precious").write_bytes(b"precious")
    return made


def backup(honest: Taken, files: bytes, count: int | None = None, **streams: bytes) -> Taken:
    if count is None:
        with tarfile.open(fileobj=io.BytesIO(files)) as archive:
            count = sum(not each.isdir() for each in archive)
    return taken_as(honest.record.facts, {"files": files, **streams}, count)


FOLDER, FILE, LINK, SYMLINK = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE

OUTWARD = {
    "an absolute name": [member("{ward}/new", data=b"x")],
    "a name with ..": [member("./../ward/new", data=b"x")],
    "a name with .. further down": [member("./a", FOLDER), member("./a/../../ward/new", data=b"x")],
    "a name that does not begin with .": [member("ward/new", data=b"x")],
    "a name with an empty part": [member("./a", FOLDER), member("./a//b", data=b"x")],
    "a name that is ..": [member("..", FOLDER)],
    "a folder's name that is ..": [member("./..", FOLDER)],
    "a file behind a symbolic link": [member("./a", SYMLINK, "{ward}"), member("./a/new", data=b"x")],
    "a file in the place of a symbolic link": [member("./a", SYMLINK, "{ward}/precious"), member("./a", data=b"x")],
    "a folder in the place of a symbolic link": [member("./a", SYMLINK, "{ward}"), member("./a", FOLDER), member("./a/new", data=b"x")],
    "a link behind a symbolic link": [member("./a", SYMLINK, "{ward}"), member("./b", LINK, "./a/precious")],
    "a hard link out by an absolute name": [member("./a", LINK, "{ward}/precious")],
    "a hard link out by ..": [member("./a", LINK, "./../ward/precious")],
    "a folder behind two links": [member("./a", SYMLINK, "."), member("./a/b", SYMLINK, "{ward}"), member("./b/new", data=b"x")],
    "two files of one name": [member("./a", data=b"x"), member("./a", data=b"y")],
    "two folders of one name": [member("./a", FOLDER), member("./a", FOLDER)],
    "a file in a file": [member("./a", data=b"x"), member("./a/b", data=b"y")],
    "a file in no folder": [member("./a/b", data=b"y")],
    "the folder itself twice": [member("./", FOLDER)],
    "the folder itself as a link": [member("./", SYMLINK, "{ward}")],
    "a name that is too long": [member("./" + "n" * 256, data=b"x")],
    "a member of an unknown type": [member("./a", b"7", data=b"x")],
}  # fmt: skip


@pytest.mark.parametrize("what", OUTWARD)
def test_what_leads_out_of_the_folder_is_refused_and_nothing_is_left(
    what: str, honest: Taken, ward: Path, tmp_path: Path
):
    def placed(text: str) -> str:
        return text.replace("{ward}", str(ward))

    members = [member(placed(each.name), each.type, placed(each.linkname), data) for each, data in OUTWARD[what]]
    before, beside = picture(ward), sorted(os.listdir(tmp_path))
    with pytest.raises((Damaged, RestoreFailed)):
        put_back(backup(honest, packed(*members), len(members)), tmp_path / "back")
    assert picture(ward) == before
    assert sorted(os.listdir(tmp_path)) == beside


def test_devices_and_links_to_them_are_left_out_and_named(honest: Taken, tmp_path: Path):
    members = [
        member("./disk", tarfile.BLKTYPE, devmajor=8),
        member("./null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("./same", LINK, "./null"),
        member("./x", data=b"x"),
    ]
    done = put_back(backup(honest, packed(*members)), tmp_path / "back")
    assert os.listdir(tmp_path / "back") == ["x"]
    assert done.shortfalls == (
        "left out: disk, a device",
        "left out: null, a device",
        "left out: same, a link to null, which is not there",
    )


def test_links_that_lead_out_are_made_named_and_never_followed(honest: Taken, ward: Path, tmp_path: Path):
    members = [
        member("./a", FOLDER),
        member("./a/in", SYMLINK, "../b/./c"),
        member("./a/out", SYMLINK, "../../ward/precious"),
        member("./absolute", SYMLINK, f"{ward}/precious"),
    ]
    done = put_back(backup(honest, packed(*members)), tmp_path / "back")
    told = [note.rpartition(": ")[2] for note in done.notes]
    assert told == ["a/out -> ../../ward/precious", f"absolute -> {ward}/precious"]
    assert not done.shortfalls


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:512],
        lambda data: b"\xff" + data[1:],
        lambda data: data[:101] + b"7" + data[102:],
        lambda data: data.replace(b"ustar\0", b"ustar ", 1),
        lambda data: data + b"\0" * 511 + b"x",
        lambda data: data.replace(b"path=", b"path ", 1),
        lambda data: data.replace(b"path=./n", b"path=./\0", 1),
    ],
)  # fmt: skip
def test_a_stream_that_is_not_whole_is_refused(spoil: Callable[[bytes], bytes], honest: Taken, tmp_path: Path):
    data = packed(member("./" + "n" * 200, data=b"x" * 5000), member("./m", data=b"y"))
    assert put_back(backup(honest, data), tmp_path / "whole").rows == 2
    assert spoil(data) != data
    with pytest.raises(Damaged):
        put_back(backup(honest, spoil(data), 2), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_header_that_would_take_all_memory_is_refused_unread(honest: Taken, tmp_path: Path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, LONGEST_HEADER + 1
    with pytest.raises(Damaged, match="header has"):
        put_back(backup(honest, header.tobuf(tarfile.USTAR_FORMAT), 1), tmp_path / "back")


@pytest.mark.parametrize("records", [{"size": "-1"}, {"size": "1e3"}, {"size": "9" * 19}, {"mtime": "now"}, {"uid": "root"}])  # fmt: skip
def test_numbers_that_are_none_are_refused(records: dict[str, str], honest: Taken, tmp_path: Path):
    with pytest.raises((Damaged, RestoreFailed)):
        put_back(
            backup(honest, packed(member("./x", pax_headers=records), top=False), 1),
            tmp_path / "back",
        )


@pytest.mark.parametrize(
    "sparse",
    [
        {"GNU.sparse.size": "10", "GNU.sparse.offset": "8", "GNU.sparse.numbytes": "4"},
        {"GNU.sparse.size": "100", "GNU.sparse.offset": "8", "GNU.sparse.numbytes": "3"},
        {"GNU.sparse.size": "100", "GNU.sparse.offset": "8", "GNU.sparse.numbytes": "5"},
        {"GNU.sparse.size": "100", "GNU.sparse.offset": "8"},
        {"GNU.sparse.size": "100"},
        {"GNU.sparse.size": "-100", "GNU.sparse.offset": "8", "GNU.sparse.numbytes": "4"},
    ],
)  # fmt: skip
def test_a_sparse_file_whose_map_lies_is_refused(sparse: dict[str, str], honest: Taken, tmp_path: Path):
    right = {"GNU.sparse.size": "100", "GNU.sparse.offset": "8", "GNU.sparse.numbytes": "4"}
    put_back(backup(honest, packed(member("./x", data=b"abcd", pax_headers=right)), 1), tmp_path / "right")
    assert (tmp_path / "right" / "x").read_bytes() == bytes(8) + b"abcd" + bytes(88)
    with pytest.raises(Damaged):
        put_back(backup(honest, packed(member("./x", data=b"abcd", pax_headers=sparse)), 1), tmp_path / "back")


def test_pieces_that_lie_in_each_other_are_refused(honest: Taken, tmp_path: Path):
    records = [
        b"GNU.sparse.size=100",
        *(b"GNU.sparse.offset=8", b"GNU.sparse.numbytes=3"),
        *(b"GNU.sparse.offset=10", b"GNU.sparse.numbytes=1"),
    ]
    lines = b"".join(b"%d %s\n" % (len(record) + 4, record) for record in records)
    data = packed(member("./PaxHeaders/x", tarfile.XHDTYPE, data=lines), member("./x", data=b"abcd"))
    with pytest.raises(Damaged, match="not in order"):
        put_back(backup(honest, data, 1), tmp_path / "back")


def test_fewer_files_than_the_backup_counted_are_refused(honest: Taken, tmp_path: Path):
    with pytest.raises(Damaged, match="has 1 files, and the backup counted 2"):
        put_back(backup(honest, packed(member("./x", data=b"x")), 2), tmp_path / "back")


@pytest.mark.parametrize(
    "again",
    [
        [member("./link", data=b"y")],
        [member("./folder", data=b"y")],
        [member("./new", data=b"y")],
        [member("./x", SYMLINK, "y")],
        [member("./new", FOLDER)],
        [member("./link/x", data=b"y")],
    ],
)  # fmt: skip
def test_what_is_read_again_only_overwrites_files(again: list, honest: Taken, ward: Path, tmp_path: Path):
    files = packed(
        member("./x", data=b"x"), member("./link", SYMLINK, str(ward / "precious")), member("./folder", FOLDER)
    )
    before = picture(ward)
    with pytest.raises(DwebbackupError):
        put_back(backup(honest, files, reread=packed(*again, top=False)), tmp_path / "back")
    assert picture(ward) == before


# --- what a user without rights cannot do ---


@pytest.fixture
def mine() -> Iterator[Path]:
    """A folder of somebody who is not root."""
    with tempfile.TemporaryDirectory(prefix="dwb") as name, nobody(Path(name)):
        yield Path(name)


def test_without_root_owners_setuid_bits_and_attributes_are_missing_and_named(honest: Taken, mine: Path):
    members = [
        member("./setuid", uid=12345, mode=0o6755, data=b"x"),
        member("./mine", mode=0o4711, data=b"x"),
        member("./attributes", data=b"x", pax_headers={"SCHILY.xattr.trusted.x": "y", "SCHILY.xattr.security.selinux": "z"}),
    ]  # fmt: skip
    done = put_back(backup(honest, packed(*members)), mine / "back")
    owners, attributes = done.shortfalls
    assert owners == "without its owner, and so without setuid and setgid bits: setuid"
    assert attributes.startswith("without all of its extended attributes: attributes: trusted.x: Operation not ")
    modes = {name: os.stat(mine / "back" / name).st_mode & 0o7777 for name in ("setuid", "mine")}
    assert modes == {"setuid": 0o755, "mine": 0o4711}


def test_folders_that_are_closed_to_their_own_user_come_back(honest: Taken, mine: Path):
    members = [
        member("./a", FOLDER, mode=0, mtime=5),
        member("./a/b", FOLDER, mode=0o500, mtime=6),
        member("./a/b/c", data=b"old", mode=0),
        member("./d", data=b"x"),
    ]
    again = packed(member("./a/b/c", data=b"new", mode=0o400), top=False)
    put_back(backup(honest, packed(*members), reread=again), mine / "back")
    back = mine / "back"
    assert (os.stat(back / "a").st_mode & 0o777, os.stat(back / "a").st_mtime) == (0, 5)
    os.chmod(back / "a", 0o700)
    assert (os.stat(back / "a/b").st_mode & 0o777, os.stat(back / "a/b").st_mtime) == (0o500, 6)
    assert (back / "a/b/c").read_bytes() == b"new"
    os.chmod(back / "a/b", 0o700)
