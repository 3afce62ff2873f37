"""The schema archive back into a database: pg_restore, section by section, its errors told apart."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from dwebbackup.errors import RestoreFailed
from dwebbackup.sources.postgres.connection import Connection, execute
from dwebbackup.sources.postgres.tools import Tools
from dwebbackup.sources.process import Child

_REFUSED = re.compile(r"error: could not execute query: (?P<why>.*?)\nCommand was: (?P<command>.*)", re.DOTALL)
"""Told by the command, not by the server's words: those may be in any language."""

_NEEDLESS = "SET transaction_timeout = 0;"
"""pg_restore sends it since 17, and servers before 17 do not know it."""

_CLOSING = re.compile(r"^pg_restore: warning: errors ignored on restore: \d+\Z", re.MULTILINE)
"""Its count leaves out what parallel workers met when they began."""

_SYSTEM_RIGHTS = re.compile(r"((GRANT|REVOKE) [^\n]+ ON [A-Z]+ pg_catalog\.[^\n]+;\n*)+")
"""The system's own functions and columns come and go between major versions; the rights that somebody gave on one
that is gone are not missed."""


@contextmanager
def archive_file(chunks: Iterable[bytes]) -> Iterator[str]:
    """The archive as a file, which a parallel pg_restore needs; it holds no row of any table."""
    with tempfile.NamedTemporaryFile(prefix="dwebbackup-schema-") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        yield file.name


def level_public(connection: Connection, archive_major: int) -> None:
    """Let the schema `public` begin with the rights that the archive takes for granted.

    Before 15 everybody may make things there. pg_dump tells what differs from how its own major begins.
    """
    here, there = connection.info.server_version < 150000, archive_major < 15
    if here and not there:
        execute(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    if there and not here:
        execute(connection, "GRANT CREATE ON SCHEMA public TO PUBLIC")


def restore_section(
    tools: Tools,
    archive: str,
    section: str,
    conninfo: str,
    environment: Mapping[str, str],
    *,
    jobs: int,
    owners: bool,
) -> tuple[str, ...]:
    """What the user should know. Raises `RestoreFailed` with pg_restore's own words on any error that may matter."""
    command = [
        tools.program("pg_restore"),
        f"--dbname={conninfo}",
        f"--section={section}",
        f"--jobs={jobs}",
        "--no-password",
        "--no-tablespaces",  # another server has others, or none
        *([] if owners else ["--no-owner", "--no-acl"]),
        archive,
    ]
    with open(os.devnull, "wb") as nowhere:
        child = Child(command, environment, stdout=nowhere.fileno())
        try:
            status = child.process.wait()
            said = child.errors(whole=True)
        finally:
            child.end()
    errors = _errors(said)
    notes, fatal = _judged(errors)
    # One that was killed has complained less than it should: only its closing line says that it got to the end.
    ended = status == 0 or (status == 1 and _CLOSING.search(said) is not None)
    if fatal or not ended:
        raise RestoreFailed(
            f"pg_restore failed on the {section} section: " + ("; ".join(fatal[:3]) or said or f"exit status {status}")
        )
    return notes


def _errors(text: str) -> list[str]:
    """Each complaint with its continuation lines; warnings and the closing count are left out."""
    entries = re.split(r"^pg_restore: ", text, flags=re.MULTILINE)
    return [entry.strip() for entry in entries if entry.startswith("error: ")]


def _judged(errors: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """What is worth a note, and what is fatal: everything but two kinds of statement."""
    notes, fatal = [], []
    for error in errors:
        refused = _REFUSED.fullmatch(error)
        if refused and _SYSTEM_RIGHTS.fullmatch(refused["command"]):
            notes.append(f"not restored: {refused['command']}: {refused['why']}")
        elif not refused or refused["command"] != _NEEDLESS:
            fatal.append(error)
    return tuple(notes), fatal
