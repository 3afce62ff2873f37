"""What is in a schema archive: its entries as `pg_restore --list` tells them, and which of them belong to a table.

A line an entry, in the order in which they are restored: `ID; CATALOG OID KIND SCHEMA NAME OWNER`, and below it, where
it needs others, `;<tab>depends on: ID ID …` (PrintTOCSummary in PostgreSQL's pg_backup_archiver.c; the same from 13
to 18). Nothing is quoted, a line end in a name is a blank: so names are compared, and never taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

_ENTRY = re.compile(r"(\d+); (\d+) \d+ (.*)")
_NEEDS = ";\tdepends on:"
_RELATION = "1259"
"""The OID of pg_class, where tables and indexes stand; what is attached to one has no catalog of its own."""

_OF_A_TABLE = (
    *("CHECK CONSTRAINT", "CONSTRAINT", "DEFAULT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "POLICY"),
    *("ROW SECURITY", "RULE", "SEQUENCE", "SEQUENCE OWNED BY", "STATISTICS", "TRIGGER"),
)
"""What makes up a table, besides its columns."""

_OF_ANYTHING = ("ACL", "COMMENT", "SECURITY LABEL")
_RELATIONS = ("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW")
_ATTACHED = {"TABLE ATTACH": ("TABLE", "FOREIGN TABLE"), "INDEX ATTACH": ("INDEX", "CONSTRAINT")}
_GROUND = ("EXTENSION", "SCHEMA")
_OTHERS = (
    *("DEFAULT ACL", "MATERIALIZED VIEW DATA", "SEQUENCE SET", "TABLE ATTACH", "TABLE DATA"),
    *("PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"),
)
_KINDS = sorted((*_OF_A_TABLE, *_OF_ANYTHING, *_RELATIONS, *_GROUND, *_OTHERS), key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that an archive makes."""

    id: int
    kind: str
    """Empty for a kind that nothing here asks about."""
    what: str
    """Schema, name and owner, with a blank between them."""
    needs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Some tables, with what they need and what belongs to them."""

    tables: frozenset[int]
    entries: tuple[int, ...]
    """All there is to restore, in order."""
    empty: tuple[str, ...]
    """Tables that are made because others need them, and get no rows."""
    left_out: tuple[str, ...]
    """What belongs to a table, and needs another one that was not chosen."""


class Contents:
    """The entries of one archive, in the order in which they are restored."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._tables = {entry.id: entry for entry in self._entries.values() if entry.kind == "TABLE"}
        self._parents = dict(self._attached())
        """Of partitions and their indexes. Each is made by a statement of its own, and attached by another."""
        self._by_name: dict[str, list[int]] = {}
        for entry in self._tables.values():
            for name in _beginnings(entry.what):
                self._by_name.setdefault(name, []).append(entry.id)

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def named(self, path: Sequence[str]) -> list[int]:
        """The table with this schema and name; rarely two, where blanks in names leave it open."""
        return self._by_name.get(_in_a_line(" ".join(path)), [])

    def indexes_of(self, table: int) -> list[int]:
        """Indexes, primary keys and the like that need nothing but this one table."""
        return [
            entry.id
            for entry in self._entries.values()
            if entry.kind in ("INDEX", "CONSTRAINT") and set(entry.needs) == {table}
        ]

    def matching(self, pattern: str) -> list[int]:
        """Tables whose name, or `schema.name`, is *pattern*, in which `*` and `?` stand for others."""
        pattern = _in_a_line(pattern)
        return [
            id_ for id_, entry in self._tables.items() if any(fnmatchcase(name, pattern) for name in _names(entry.what))
        ]

    def select(self, wanted: Collection[int]) -> Selection:
        """These tables, their partitions, all that they need, and all that belongs to them and to no other table.

        Of a partition that is wanted without its parent, a table of its own is made. Schemas and extensions come
        whatever is wanted: not all that needs one says so (a constraint by a GiST index, for example).
        """
        tables = self._with_partitions(wanted)
        chosen = self._with_needs([*tables, *(entry.id for entry in self._entries.values() if entry.kind in _GROUND)])
        made = {id_ for id_ in chosen if self._entries[id_].kind in _RELATIONS}
        left_out = []
        for entry in self._entries.values():
            if entry.kind in _OF_A_TABLE and not tables.isdisjoint(entry.needs):
                whole = self._with_needs([entry.id])
                others = {id_ for id_ in whole if self._entries[id_].kind in _RELATIONS} - made
                if not others:
                    chosen |= whole
                elif any(entry.what.startswith(f"{_name(self._entries[id_])} ") for id_ in tables):
                    left_out.append(f"{entry.kind.lower()} {_name(entry)}")
        for entry in self._entries.values():
            if entry.kind in (*_OF_ANYTHING, "TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY") and entry.needs:
                chosen |= {entry.id} if chosen.issuperset(entry.needs) else set()
        return Selection(
            frozenset(tables),
            tuple(id_ for id_ in self if id_ in chosen),
            tuple(_name(entry) for id_, entry in self._tables.items() if id_ in made - tables),
            tuple(left_out),
        )

    def _attached(self) -> Iterator[tuple[int, int]]:
        """A partition or its index, and what that is attached to. An ATTACH needs both, in any order."""
        for entry in self._entries.values():
            if kinds := _ATTACHED.get(entry.kind):
                needs = [self._entries[id_] for id_ in set(entry.needs) if id_ in self._entries]
                both = [each for each in needs if each.kind in kinds]
                child = [each.id for each in both if _is_attached(each, entry)]
                parent = [each.id for each in both if each.id not in child]
                if len(child) == len(parent) == 1:
                    yield child[0], parent[0]

    def _with_partitions(self, wanted: Collection[int]) -> set[int]:
        tables = set(wanted)
        while more := {child for child, parent in self._parents.items() if parent in tables} - tables:
            tables |= more
        return tables

    def _with_needs(self, wanted: Collection[int]) -> set[int]:
        chosen: set[int] = set()
        waiting = list(wanted)
        while waiting:
            id_ = waiting.pop()
            if id_ in self._entries and id_ not in chosen:
                chosen.add(id_)
                waiting += (need for need in self._entries[id_].needs if need != self._parents.get(id_))
        return chosen


def _name(entry: Entry) -> str:
    """Without its owner."""
    return entry.what.rpartition(" ")[0]


def _is_attached(entry: Entry, attach: Entry) -> bool:
    """An ATTACH bears the name of what it attaches; a constraint has its table's name before its own."""
    if entry.kind != "CONSTRAINT":
        return _name(entry) == _name(attach)
    schema, _, name = _name(attach).partition(" ")
    return _name(entry).startswith(f"{schema} ") and _name(entry).endswith(f" {name}")


def parse(listing: str) -> Contents:
    """What `pg_restore --list --verbose` printed."""
    return Contents(_entries(listing))


def _entries(listing: str) -> Iterator[Entry]:
    entry: Entry | None = None
    for line in listing.split("\n"):  # splitlines would cut at what names may hold
        if found := _ENTRY.fullmatch(line):
            if entry:
                yield entry
            kind = _kind(found[2], found[3])
            entry = Entry(int(found[1]), kind, found[3].removeprefix(f"{kind} ") if kind else "", ())
        elif entry and line.startswith(_NEEDS):
            entry = Entry(entry.id, entry.kind, entry.what, tuple(map(int, line.removeprefix(_NEEDS).split())))
    if entry:
        yield entry


def _kind(catalog: str, text: str) -> str:
    if catalog == _RELATION:  # else a table in the schema ATTACH would be taken for an attachment
        for kind in ("INDEX", "TABLE"):
            if text.startswith(f"{kind} "):
                return kind
    return next((kind for kind in _KINDS if text.startswith(f"{kind} ")), "")


def _in_a_line(text: str) -> str:
    """As the list has it."""
    return re.sub(r"[\r\n]", " ", text)


def _beginnings(what: str) -> Iterator[str]:
    """Every way to read the beginning of `schema name owner` as schema and name."""
    words = what.split(" ")
    for last in range(2, len(words)):
        yield " ".join(words[:last])


def _names(what: str) -> Iterator[str]:
    """Every way to read `schema name owner` as the name of a table, and as that with its schema."""
    words = what.split(" ")
    for first in range(1, len(words) - 1):
        for last in range(first + 1, len(words)):
            name = " ".join(words[first:last])
            yield name
            yield f"{' '.join(words[:first])}.{name}"
