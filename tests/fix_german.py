"""A PostgreSQL server that speaks German, by a locale made for it, since few machines have one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dwebbackup.errors import DatabaseRefused
from dwebbackup.scratch.postgres import ScratchPostgres, find_postgres
from fix_postgres import template

LOCALE = "de_DE.UTF-8"


@pytest.fixture(scope="session")
def german_server() -> Iterator[ScratchPostgres]:
    """What it takes is Debian's `locales`, and the translations that come with PostgreSQL. Their absence is a failure."""
    binaries = find_postgres(os.environ.get("DWEBBACKUP_POSTGRES_BIN", ""))  # a copy would not find its translations
    with tempfile.TemporaryDirectory(prefix="dwebbackup-locale-") as folder:
        os.chmod(folder, 0o755)  # the account that servers run as has to get there
        _make_locale(Path(folder))
        server = ScratchPostgres(binaries, settings={"lc_messages": LOCALE}, template=template(binaries, "source"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOCPATH", folder)
            server.start()
        with server:
            with pytest.raises(DatabaseRefused, match="FEHLER"):
                server.psql("SELECT 1 / 0")
            yield server


def _make_locale(folder: Path) -> None:
    language, _, encoding = LOCALE.partition(".")
    command = ["localedef", "--no-archive", "-i", language, "-f", encoding, str(folder / LOCALE)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode > 1:  # 1 is a warning
        pytest.fail(f"no locale {LOCALE}; apt-get install locales: {made.stderr}")
