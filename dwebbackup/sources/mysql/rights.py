"""Whether a user may see all that a backup needs: what it may not see is not refused by the server, but missing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.mysql.connection import Connection, Version, execute, identifier, version_of

NEEDED = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
"""For a backup, on the database."""

_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<where>(?:\*|`(?:[^`]|``)*`)\.(?:\*|`(?:[^`]|``)*`)) TO ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rights:
    """What the user may do with one database, or anywhere."""

    everywhere: frozenset[str]
    here: frozenset[str]

    def has(self, right: str) -> bool:
        return bool({"ALL PRIVILEGES", right} & (self.everywhere | self.here))

    def has_everywhere(self, right: str) -> bool:
        return bool({"ALL PRIVILEGES", right} & self.everywhere)


def look(connection: Connection, schema: str) -> Rights:
    """By what the server says of the user and of the roles that are on."""
    everywhere: set[str] = set()
    here: set[str] = set()
    for grant in _grants(connection):
        match = _GRANT.match(grant)
        if not match:
            continue
        rights = {each.strip().upper() for each in re.sub(r"\([^)]*\)", "", match["what"]).split(",")}
        place, _, table = match["where"].rpartition(".")
        if table != "*":
            continue
        if place == "*":
            everywhere |= rights
        elif _fits(place[1:-1].replace("``", "`"), schema):
            here |= rights
    return Rights(frozenset(everywhere), frozenset(here))


def require(connection: Connection, schema: str) -> None:
    """Raises `DatabaseRefused`, with the statements that mend it."""
    found, version = look(connection, schema), version_of(connection)
    lacking = [right for right in NEEDED if not found.has(right)]
    remedies = []
    user = _user(connection)
    if lacking:
        remedies.append(f"GRANT {', '.join(lacking)} ON {identifier(schema)}.* TO {user}")
    if not _sees_routines(connection, found, version):
        right = "SELECT ON `mysql`.`proc`" if version.flavour == "MariaDB" else "SHOW_ROUTINE ON *.*"
        lacking.append("the right to see routines")
        remedies.append(f"GRANT {right} TO {user}")
    if remedies:
        raise DatabaseRefused(
            f"the user {user} lacks {', '.join(lacking)} on {schema}: a backup by it would not be whole",
            "; ".join(remedies),
        )


_DEFINERS = """SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s
    UNION SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s
    UNION SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s"""

ACTING = ("SUPER", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER")
"""Any of them lets a user make things in somebody else's name."""


def require_for_replacing(connection: Connection, schema: str) -> None:
    """Whether what stands in *schema* can step aside, and back, as it is. Raises `DatabaseRefused`."""
    require(connection, schema)
    found = look(connection, schema)
    if any(map(found.has_everywhere, ACTING)):
        return
    ours = str(execute(connection, "SELECT CURRENT_USER()")[0][0])
    others = sorted({definer for (definer,) in execute(connection, _DEFINERS, (schema,) * 3)} - {ours})
    if others:
        right = "SET USER" if version_of(connection).flavour == "MariaDB" else "SET_ANY_DEFINER"
        raise DatabaseRefused(
            f"{schema} has triggers, views or routines of {', '.join(others)}, which {ours} cannot put aside as they "
            "are; nothing was touched",
            f"GRANT {right} ON *.* TO {_user(connection)}",
        )


def _grants(connection: Connection) -> list[str]:
    if version_of(connection).flavour == "MySQL":
        roles = str(execute(connection, "SELECT CURRENT_ROLE()")[0][0])
        if roles != "NONE":
            return [row[0] for row in execute(connection, f"SHOW GRANTS FOR CURRENT_USER() USING {roles}")]
    return [row[0] for row in execute(connection, "SHOW GRANTS")]


def _fits(pattern: str, schema: str) -> bool:
    """`_` and `%` stand for others there, unless a backslash is in front."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    expression = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(expression, schema, re.DOTALL | re.IGNORECASE) is not None


def _sees_routines(connection: Connection, found: Rights, version: Version) -> bool:
    """A user sees none but his own without a right that is not one on the database."""
    if version.flavour == "MySQL":
        return any(map(found.has_everywhere, ("SHOW_ROUTINE", "SELECT")))
    if found.has_everywhere("SELECT") or found.has("SHOW CREATE ROUTINE"):
        return True
    try:
        execute(connection, "SELECT 1 FROM mysql.proc LIMIT 0")
    except DatabaseRefused:
        return False
    return True


def _user(connection: Connection) -> str:
    name, _, host = str(execute(connection, "SELECT CURRENT_USER()")[0][0]).rpartition("@")
    return f"{identifier(name)}@{identifier(host)}"
