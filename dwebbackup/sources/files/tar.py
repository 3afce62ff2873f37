"""GNU tar: where it is, whether it will do, and with which options it reads a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from dwebbackup.errors import ToolMissing
from dwebbackup.sources.files.address import Address
from dwebbackup.sources.files.excluding import for_tar

NAMES = ("gtar", "tar")
"""Where tar is another one, GNU's is usually called gtar."""

OLDEST = (1, 29)
"""The first with `--verbatim-files-from`, and that finds holes in a file by asking for them."""

_HINT = "install GNU tar 1.29 or newer: `apt install tar`, `apk add tar`, `brew install gnu-tar`"

# Equal files give equal bytes: sorted, without the times of reading and of changes to the inode, without names of
# users, which another /etc/passwd would change, and without the number of tar's process, which it puts into names: of
# headers, unless they are given another one, and of sparse files, unless they are written in the oldest of three ways.
_STABLE = (
    "--format=pax",
    "--sort=name",
    "--numeric-owner",
    "--sparse-version=0.0",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
)
_WHOLE = ("--sparse", "--xattrs")
"""ACLs are extended attributes, too."""

_BLOCKS = "--blocking-factor=128"
"""Of 512 bytes: what is written at once."""


@dataclass(frozen=True, slots=True)
class Tar:
    """A GNU tar that will do."""

    program: str
    version: str

    def command(self, address: Address, *what: str) -> list[str]:
        """Writes what is in the folder to standard output, and names and complaints to standard error."""
        return [
            self.program,
            "--create",
            "--verbose",
            "--quoting-style=escape",
            *_STABLE,
            *_WHOLE,
            _BLOCKS,
            *([] if address.mounts else ["--one-file-system"]),
            *for_tar(address.exclude),
            f"--directory={address.path}",
            *what,
        ]


EVERYTHING = (".",)
LISTED = ("--no-recursion", "--null", "--verbatim-files-from", "--files-from=-")
"""Names come by standard input, with a zero byte behind each."""


def environment() -> dict[str, str]:
    """Without what would change its options or its language."""
    return {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}


def find(names: Sequence[str] = NAMES) -> Tar:
    """Raises `ToolMissing`."""
    found = ""
    for program in filter(None, map(shutil.which, names)):
        said = subprocess.run([program, "--version"], env=environment(), capture_output=True, text=True, check=False)
        found = said.stdout.partition("\n")[0]
        match = re.match(r"tar \(GNU tar\) (\d+)\.(\d+)\S*", found)
        if match and (int(match[1]), int(match[2])) >= OLDEST:
            return Tar(program, match[0].rpartition(" ")[2])
    raise ToolMissing(f"a folder is read by GNU tar, and this is {found}" if found else "GNU tar is missing", _HINT)
