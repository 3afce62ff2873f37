"""Whether a server can take a backup, asked before anything is touched: flavour, character sets, engines, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dwebbackup.errors import DatabaseRefused
from dwebbackup.manifest import SourceFacts
from dwebbackup.sources.mysql.connection import Connection, execute, version_of
from dwebbackup.sources.mysql.definitions import Definitions

_COLLATION = re.compile(r"\bCOLLATE[ =](\w+)")
_ENGINE = re.compile(r"^\) ENGINE=(\w+)", re.MULTILINE)


def judge(connection: Connection, facts: SourceFacts, found: Definitions) -> tuple[str, ...]:
    """What the user should know. Raises `DatabaseRefused` for what would make the restore fail."""
    lacking = [*_collations(connection, found), *_engines(connection, found)]
    if lacking:
        raise DatabaseRefused(
            f"the server lacks what the backup needs: {'; '.join(lacking)}; nothing was touched",
            f"restore onto {facts.server_version}, or newer",
        )
    return tuple(_notes(connection, facts, found))


def _collations(connection: Connection, found: Definitions) -> Iterator[str]:
    there = {row[0] for row in execute(connection, "SELECT COLLATION_NAME FROM information_schema.COLLATIONS")}
    there |= _full_names(connection)
    used = {found.collation}
    for item in found.of("table"):
        used.update(_COLLATION.findall(item.statement))
    missing = sorted(used - there)
    if missing:
        yield f"the collations {', '.join(missing)}"


def _full_names(connection: Connection) -> set[str]:
    """MariaDB calls its newer ones `uca1400_ai_ci`, and with the character set in front where they are used."""
    try:
        rows = execute(
            connection, "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
        )
    except DatabaseRefused:  # MySQL has no such column, nor such names
        return set()
    return {row[0] for row in rows}


def _engines(connection: Connection, found: Definitions) -> Iterator[str]:
    rows = execute(connection, "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')")
    there = {row[0].lower() for row in rows}
    used = {match[1] for item in found.of("table") if (match := _ENGINE.search(item.statement))}
    missing = sorted(engine for engine in used if engine.lower() not in there)
    if missing:
        yield f"the engines {', '.join(missing)}"


def _notes(connection: Connection, facts: SourceFacts, found: Definitions) -> Iterator[str]:
    version = version_of(connection)
    if not facts.server_version.startswith(version.flavour):
        yield f"the backup is of {facts.server_version}, and the server is {version}: what only one knows is refused"
    packet = int(execute(connection, "SELECT @@max_allowed_packet")[0][0])
    before = int(facts.detail("max_allowed_packet") or 0)
    if before > packet:
        yield f"max_allowed_packet is {packet} here, and was {before}: a row larger than that cannot be read here"
    lower = str(execute(connection, "SELECT @@lower_case_table_names")[0][0])
    was = facts.detail("lower_case_table_names")
    if was and was != lower:
        yield f"lower_case_table_names is {lower} here, and was {was}: capitals may mean less"
    if lower != "0":
        names = [item.name.lower() for item in found.of("table")]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DatabaseRefused(
                f"the server does not tell {', '.join(twice)} from another table by capitals; nothing was touched",
                "restore onto a server with lower_case_table_names = 0",
            )
