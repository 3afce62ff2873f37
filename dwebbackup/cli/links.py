"""`dwebbackup links`: under which links a file would be found; nothing is sent anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dwebbackup.cli.edge import write
from dwebbackup.errors import WrongConfiguration
from dwebbackup.links.cid import Cid
from dwebbackup.links.skyfile import skylink_of
from dwebbackup.links.skylink import SECTOR, Skylink
from dwebbackup.links.unixfs import PROFILES, FileTree, Profile

BLOCK = 1 << 20
"""Bytes read at a time: whole chunks of every profile, which are then not copied."""


@dataclass(frozen=True, slots=True)
class FileLinks:
    """The links of one file."""

    file: str
    size: int
    cids: tuple[tuple[Profile, Cid], ...]
    skylink: Skylink | None
    reason: str = ""
    """Why there is no skylink."""


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--all", "every", is_flag=True, help="The CIDs by all profiles, and not only by the default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show where an error comes from.")
def command(files: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Compute the links of files, offline.

    The CID is the name of the file on IPFS, and depends on the profile by which it is cut up; the default is
    unixfs-v1-2025. The skylink is its name on Skynet, for files of at most 4 MiB, less 230 bytes. No key, no store
    and no configuration is needed, and nothing is sent anywhere.
    """
    documents = []
    for file in files:
        found = links_of(file, PROFILES if every else PROFILES[:1])
        documents.append(_document(found))
        if not as_json:
            write("".join(f"{line}\n" for line in _lines(found)))
    if not as_json:
        return
    only = documents[0] if len(documents) == 1 else {"files": documents}
    write(f"{json.dumps(only, ensure_ascii=False)}\n")


def links_of(file: str, profiles: Sequence[Profile]) -> FileLinks:
    """Reads *file*, whatever its size, once. Raises `WrongConfiguration` where it cannot be read."""
    trees, start, size = [FileTree(profile) for profile in profiles], bytearray(), 0
    for block in _blocks(file):
        for tree in trees:
            tree.write(block)
        size += len(block)
        if size <= SECTOR:
            start += block
    skylink, reason = _skylink(start, size)
    cids = tuple((profile, tree.cid()) for profile, tree in zip(profiles, trees, strict=True))
    return FileLinks(file, size, cids, skylink, reason)


def _blocks(file: str) -> Iterator[memoryview]:
    """Each is good until the next one is asked for."""
    buffer = bytearray(BLOCK)
    try:
        with open(file, "rb", buffering=0) as opened:
            while count := opened.readinto(buffer):
                yield memoryview(buffer)[:count]
    except OSError as error:
        raise WrongConfiguration(f"{file} cannot be read: {error.strerror}") from error


def _skylink(start: bytearray, size: int) -> tuple[Skylink | None, str]:
    if size > len(start):
        return None, "it is larger than a sector of Skynet"
    try:
        return skylink_of(bytes(start)), ""
    except WrongConfiguration as error:
        return None, str(error)


def _document(found: FileLinks) -> dict[str, Any]:
    (profile, cid), *_ = found.cids
    return {
        "file": found.file,
        "size": found.size,
        "cid": cid.text,
        "profile": profile.name,
        "cids": {each.name: cid.text for each, cid in found.cids},
        "skylink": found.skylink and found.skylink.text,
    }


def _lines(found: FileLinks) -> Iterator[str]:
    yield f"{found.file}  {found.size:,} bytes"
    for profile, cid in found.cids:
        yield f"  cid      {cid.text}  {profile.name}"
    yield f"  skylink  {found.skylink.text if found.skylink else f'none: {found.reason}'}"
