"""The schema archive back into a database: pg_restore, section by section, its errors told apart."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from dwebbackup.errors import RestoreFailed
from dwebbackup.sources.postgres.tools import Tools
from dwebbackup.sources.process import Child

_TOLERATED = re.compile(r'unrecognized configuration parameter "transaction_timeout"')
"""pg_restore since 17 sets it, and servers before 17 do not know it; nothing else may fail."""


@contextmanager
def archive_file(chunks: Iterable[bytes]) -> Iterator[str]:
    """The archive as a file, which a parallel pg_restore needs; it holds no row of any table."""
    with tempfile.NamedTemporaryFile(prefix="dwebbackup-schema-") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        yield file.name


def restore_section(
    tools: Tools,
    archive: str,
    section: str,
    conninfo: str,
    environment: Mapping[str, str],
    *,
    jobs: int,
    owners: bool,
) -> None:
    """Raises `RestoreFailed` with pg_restore's own words on any error but the one that means nothing."""
    command = [
        tools.program("pg_restore"),
        f"--dbname={conninfo}",
        f"--section={section}",
        f"--jobs={jobs}",
        "--no-password",
        *([] if owners else ["--no-owner", "--no-acl"]),
        archive,
    ]
    with open(os.devnull, "wb") as nowhere:
        child = Child(command, environment, stdout=nowhere.fileno())
        try:
            status = child.process.wait()
            errors = child.errors(whole=True)
        finally:
            child.end()
    fatal = [error for error in _errors(errors) if not _TOLERATED.search(error)]
    if fatal or (status and not _errors(errors)):
        raise RestoreFailed(
            f"pg_restore failed on the {section} section: "
            + ("; ".join(fatal[:3]) or errors or f"exit status {status}")
        )


def _errors(text: str) -> list[str]:
    """Each complaint with its continuation lines; warnings and the closing count are left out."""
    entries = re.split(r"^pg_restore: ", text, flags=re.MULTILINE)
    return [entry.strip() for entry in entries if entry.startswith("error: ")]
