"""Which names in a folder are left out: globs as the user writes them, for tar and for ourselves.

`*` and `?` stand for anything, `/` included. A glob with a `/` in front begins at the folder; any other one at each
name in it. What it fits is left out with all that is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import escape

RESERVED = ".dwebbackup_"
"""How names at the top of a folder begin that are a restore's, and nobody's files."""


def for_tar(globs: Sequence[str]) -> Iterator[str]:
    """Options. Whether a glob is anchored says the option before it."""
    yield "--wildcards"
    yield "--wildcards-match-slash"
    yield "--anchored"
    yield f"--exclude=./{RESERVED}*"
    for glob in globs:
        bare = glob.strip("/")
        yield "--anchored" if glob.startswith("/") else "--no-anchored"
        yield f"--exclude=./{bare}" if glob.startswith("/") else f"--exclude={bare}"


def for_du(path: str, globs: Sequence[str]) -> Iterator[str]:
    """The same, for one that knows only what is anchored nowhere, and is told of *path*."""
    for glob in globs:
        bare = glob.strip("/")
        yield f"--exclude={escape(path.rstrip('/'))}/{bare}" if glob.startswith("/") else f"--exclude={bare}"


def is_left_out(path: str, globs: Sequence[str]) -> bool:
    """*path* is relative to the folder."""
    if path.startswith(RESERVED):
        return True
    names = path.split("/")
    ends = ["/".join(names[start:]) for start in range(len(names))]
    return any(
        fnmatchcase(path, glob.strip("/"))
        if glob.startswith("/")
        else any(fnmatchcase(end, glob.strip("/")) for end in ends)
        for glob in globs
    )
