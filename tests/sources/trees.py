"""The yardstick of folders: `picture` says all that a backup of one has to bring back; `taken` and `put_back` are a
backup and a restore without a store.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dwebbackup.manifest import SourceRecord, StreamRecord
from dwebbackup.ports import ByteStream, Restored, TargetOptions
from dwebbackup.sources.files import FilesSource, FilesTarget

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, 2**32 - 1), (2, 6, 65534), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1))
)
"""u::rw-, u:65534:rw-, g::r--, m::rw-, o::--- as Linux keeps it (acl(5))."""

READ = 64 * 1024

NOBODY = 65534


def picture(folder: Path) -> dict[bytes, tuple]:
    """Everything in it by its name, with all that can be known of each."""
    top = os.fsencode(folder)
    found = {b".": _looks(top, {})}
    links: dict[tuple[int, int], bytes] = {}
    for path, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            found[os.path.relpath(os.path.join(path, name), top)] = _looks(os.path.join(path, name), links)
    return found


def _looks(path: bytes, links: dict[tuple[int, int], bytes]) -> tuple:
    status = os.lstat(path)
    mode = status.st_mode
    seen = stat.S_IFMT(mode), stat.S_IMODE(mode), status.st_uid, status.st_gid, status.st_mtime_ns
    if stat.S_ISLNK(mode):
        return (*seen, os.readlink(path))
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path) if name != "security.selinux"}
    if not stat.S_ISREG(mode):
        return (*seen, attributes)
    first = links.setdefault((status.st_dev, status.st_ino), path)
    with open(path, "rb") as file:
        return (*seen, attributes, os.path.basename(first), file.read())


@dataclass(frozen=True)
class Taken:
    """A backup of a folder: its record, and the bytes of its streams."""

    record: SourceRecord
    streams: dict[str, bytes]

    def read(self, stream: StreamRecord) -> Iterator[bytes]:
        """In pieces of an odd size."""
        data = self.streams[stream.kind]
        return (data[at : at + 10_007] for at in range(0, len(data), 10_007))

    def changed(self, **streams: bytes) -> Taken:
        return taken_as(self.record.facts, {**self.streams, **streams}, self.record.streams[0].rows)


def taken(source: FilesSource, meanwhile: Callable[[], None] = lambda: None) -> Taken:
    """A backup of it; *meanwhile* is called once, when 64 KiB were read."""
    with source.dump() as dump:
        streams, rows = {}, []
        for spec in dump.specs:
            with dump.reader() as reader:
                stream = reader.open(spec)
                streams[spec.kind] = read_all(stream, meanwhile if spec.kind == "files" else lambda: None)
                rows.append(stream.rows)
        return taken_as(dump.finish(), streams, rows[0])


def read_all(stream: ByteStream, meanwhile: Callable[[], None] = lambda: None) -> bytes:
    data, buffer = bytearray(), memoryview(bytearray(READ))
    while count := stream.readinto(buffer):
        data += buffer[:count]
        if len(data) == count:
            meanwhile()
    return bytes(data)


def taken_as(facts, streams: dict[str, bytes], files: int | None) -> Taken:
    records = [
        StreamRecord(kind, (), (), files if kind == "files" else None, len(data), 1, 1, array("q"))
        for kind, data in streams.items()
    ]
    return Taken(SourceRecord(facts, tuple(records)), streams)


def put_back(backup: Taken, folder: Path, **options: object) -> Restored:
    return FilesTarget(url(folder)).load(backup.record, backup.read, TargetOptions(**options))


def url(folder: Path | str, *options: str) -> str:
    return f"files://{quote(os.fsencode(folder))}" + ("?" if options else "") + "&".join(options)


def grow(folder: Path) -> None:
    """One of everything that a folder can hold, and that whoever runs this may make."""
    (folder / "a" / "deep" / "er").mkdir(parents=True)
    (folder / "a" / "empty").write_bytes(b"")
    (folder / "a" / "deep" / "text").write_text("hello\n" * 1000)
    (folder / "a" / "deep" / "er" / ("n" * 255)).write_bytes(b"a name as long as can be")
    (folder / "nothing in it").mkdir()
    os.link(folder / "a" / "deep" / "text", folder / "hard link")
    (folder / "symbolic").symlink_to("a/deep/text")
    (folder / "dangling").symlink_to("x" * 300)
    (folder / "outward").symlink_to("/etc/hostname")
    (folder / "a.b sorts before a, and a-b").write_bytes(b"-")
    os.mkfifo(folder / "fifo", 0o640)
    for name in (
        b"invalid \xff\xfe UTF-8",
        b"line\nend\t\\ and * ? [x] \x7f \x1b",
        b"-rf",
        b"tar: x",
        "Übergröße €".encode(),
    ):
        (folder / os.fsdecode(name)).write_bytes(name)
    with open(folder / "holes", "wb") as file:
        file.truncate(40 * 1024 * 1024)
        for megabytes in (3, 17, 38):
            file.seek(megabytes * 1024 * 1024)
            file.write(b"not a hole")
    with open(folder / "only a hole", "wb") as file:
        file.truncate(1024 * 1024)
    (folder / "large").write_bytes(bytes(range(256)) * 12_345)
    _dress(folder)


def _dress(folder: Path) -> None:
    (folder / "read-only").write_bytes(b"0444")
    (folder / "closed").mkdir()
    (folder / "closed" / "in it").write_bytes(b"0444 in 0500")
    (folder / "special").write_bytes(b"setuid")
    os.setxattr(folder / "large", "user.of % = it", b"a value\0\n\xff")
    os.setxattr(folder / "a" / "deep", "user.x", b"")
    os.setxattr(folder / "large", "system.posix_acl_access", ACL)
    os.setxattr(folder / "a", "system.posix_acl_default", ACL)
    os.utime(folder / "a" / "empty", ns=(1, 1))
    os.utime(folder / "large", ns=(-1_500_000_000, -1_500_000_001))
    os.utime(folder / "symbolic", ns=(7, 987_654_321), follow_symlinks=False)
    os.chmod(folder / "read-only", 0o444)
    os.chmod(folder / "closed" / "in it", 0o444)
    os.chmod(folder / "special", 0o6755)
    os.chmod(folder / "closed", 0o500)
    os.chmod(folder / "a" / "deep" / "er", 0o1777)


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """Root is somebody without any rights meanwhile, to whom *folder* belongs; anybody else stays who he is."""
    if os.geteuid():
        yield
        return
    os.chown(folder, NOBODY, NOBODY)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def listen_at(path: Path) -> None:
    """A socket's name; nobody listens any more."""
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"/proc/self/fd/{here}/{path.name}")  # a path of its own may be too long
    os.close(here)
