"""Definitions made again in a schema, a statement each, as they were written: `sql_mode`, character set, definer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from pymysql.charset import charset_by_name

from dwebbackup.errors import RestoreFailed
from dwebbackup.sources.mysql.connection import Connection, execute, identifier, literal, send
from dwebbackup.sources.mysql.definitions import Definition, Definitions
from dwebbackup.sources.mysql.names import renamed
from dwebbackup.sources.mysql.refusals import ServerRefused

ROUTINES = ("function", "procedure", "package", "package body")

TABLES = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"
"""The `sql_mode` for tables: their defaults may be dates that a stricter one refuses."""

_DEFINER = re.compile(r"DEFINER=(?:`(?:[^`]|``)*`@`(?:[^`]|``)*`|`(?:[^`]|``)*`)")

_NOT_ALLOWED = frozenset({1227, 1449, 4149})
"""To make something in somebody else's name."""


class Builder:
    """Makes what *found* defines in the schema *into*, by one connection."""

    def __init__(self, connection: Connection, found: Definitions, into: str) -> None:
        self._connection = connection
        self._found = found
        self._into = into
        self._known = frozenset(item.name for item in found.items)
        self.orphans: set[str] = set()
        """Definers as whom nothing could be made: it runs as our own user instead."""
        self.refused: list[str] = []
        """Views that the server did not take, and why."""
        self._made: list[Definition] = []
        self._dropped: list[Definition] = []

    def make(self, *kinds: str) -> None:
        """All of these kinds. Raises `RestoreFailed` with the name of what was refused."""
        self._make_all(self._found.of(*kinds))

    def make_views(self) -> None:
        """One may need another: so those that are refused are tried again as long as that helps."""
        self._make_views(self._found.of("view"))

    def unmake(self) -> None:
        """Drop what was made."""
        while self._made:
            self._drop(self._made[-1])
            self._made.pop()

    def drop(self, *kinds: str) -> None:
        """All of these kinds, where they are."""
        for item in self._found.of(*kinds):
            self._drop(item)
            self._dropped.append(item)

    def remake(self) -> None:
        """Make what was dropped."""
        self._make_all([item for item in self._dropped if item.kind in ROUTINES])
        self._make_views([item for item in self._dropped if item.kind == "view"])
        self._make_all([item for item in self._dropped if item.kind in ("trigger", "event")])
        self._dropped.clear()

    def _make_all(self, items: Iterable[Definition]) -> None:
        with self._inside():
            for item in items:
                try:
                    self._make(item)
                except ServerRefused as error:
                    raise RestoreFailed(f"{item.label} was refused: {error}", error.hint) from error

    def _make_views(self, waiting: Sequence[Definition]) -> None:
        refused: list[tuple[Definition, ServerRefused]] = []
        with self._inside():
            while waiting:
                refused = []
                for item in waiting:
                    try:
                        self._make(item)
                    except ServerRefused as error:
                        refused.append((item, error))
                if len(refused) == len(waiting):
                    break
                waiting = [item for item, _ in refused]
        self.refused = [f"the view {item.name} was refused: {error}" for item, error in refused]

    def _drop(self, item: Definition) -> None:
        execute(self._connection, f"DROP {item.kind.upper()} IF EXISTS {identifier(self._into, item.name)}")

    def set_sequences(self) -> None:
        for item in self._found.of("sequence"):
            if item.value is not None:
                execute(self._connection, f"SELECT SETVAL({identifier(self._into, item.name)}, {int(item.value)}, 0)")

    def _make(self, item: Definition) -> None:
        self._set_up(item)
        statement = self._statement(item)
        try:
            send(self._connection, self._encoded(item, statement))
        except ServerRefused as error:
            if error.number not in _NOT_ALLOWED or not item.definer:
                raise
            self.orphans.add(item.definer)
            ours = _DEFINER.sub("DEFINER=CURRENT_USER", statement, count=1)
            send(self._connection, self._encoded(item, ours))
        self._made.append(item)
        for column, charset, value in item.defaults:
            at = f"{identifier(self._into, item.name)} ALTER COLUMN {identifier(column)}"
            execute(self._connection, f"ALTER TABLE {at} SET DEFAULT _{charset} X'{bytes.fromhex(value).hex()}'")

    def _statement(self, item: Definition) -> str:
        text = renamed(item.statement, self._found.schema, self._into, self._known)
        if item.kind == "trigger":
            head = f"CREATE DEFINER={_account(item.definer)} TRIGGER {identifier(item.name)} {item.when}"
            return f"{head} ON {identifier(item.table)} FOR EACH ROW {text}"
        return text

    def _set_up(self, item: Definition) -> None:
        mode = item.sql_mode if item.kind not in ("table", "sequence", "view") else TABLES
        execute(self._connection, f"SET SESSION sql_mode = {literal(mode)}")
        if item.time_zone:
            execute(self._connection, f"SET SESSION time_zone = {literal(item.time_zone)}")
        if item.charset:
            execute(
                self._connection,
                f"SET character_set_client = {item.charset}, collation_connection = {item.collation}",
            )

    def _encoded(self, item: Definition, statement: str) -> bytes:
        """As the client sent it that made the thing: in its character set."""
        try:
            return statement.encode(_codec(item.charset))
        except UnicodeEncodeError:
            execute(self._connection, "SET character_set_client = utf8mb4")
            return statement.encode()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """In the schema, without foreign keys being looked at; afterwards the session is plain again."""
        execute(self._connection, f"USE {identifier(self._into)}")
        execute(self._connection, "SET SESSION foreign_key_checks = 0")
        try:
            yield
        finally:
            if self._connection.open:
                execute(self._connection, "SET NAMES utf8mb4")
                execute(self._connection, "SET SESSION sql_mode = '', time_zone = '+00:00', foreign_key_checks = 1")


def _codec(charset: str) -> str:
    if not charset or charset.startswith("utf8"):
        return "utf-8"
    known = charset_by_name(charset)
    return (known.encoding if known else "") or "utf-8"


def _account(definer: str) -> str:
    name, at, host = definer.rpartition("@")
    return f"{identifier(name)}@{identifier(host)}" if at else identifier(definer)


def missing(connection: Connection, definers: Iterable[str]) -> list[str]:
    """Which of these accounts the server does not have; none where we may not ask."""
    try:
        there = {f"{user}@{host}" for user, host in execute(connection, "SELECT User, Host FROM mysql.user")}
    except ServerRefused:
        return []
    return sorted({definer for definer in definers if definer and definer not in there})
