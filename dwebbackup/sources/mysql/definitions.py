"""Everything of a database but its rows, as records: what makes each table, view, routine, trigger and event.

They are no dump text: each is one statement of a known shape, or the parts of one, and is run as one statement.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from dwebbackup.errors import Damaged

KINDS = ("table", "sequence", "view", "procedure", "function", "package", "package body", "trigger", "event")

_AUTO_INCREMENT = re.compile(r"^(\) ENGINE=\w+(?: TABLESPACE .*?)?) AUTO_INCREMENT=\d+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definition:
    """One thing in a database."""

    kind: str
    name: str
    statement: str
    """Of a trigger its body alone: what the server says of the rest is as somebody wrote it, with names of schemas."""
    definer: str = ""
    """`user@host`; as whom it runs."""
    sql_mode: str = ""
    charset: str = ""
    """In which what is in its quotes was written (`character_set_client`)."""
    collation: str = ""
    """Of the connection that made it."""
    table: str = ""
    """Of a trigger."""
    when: str = ""
    """Of a trigger: `BEFORE INSERT`."""
    time_zone: str = ""
    """Of an event."""
    value: int | None = None
    """Of a sequence: what it gives next."""
    defaults: tuple[tuple[str, str, str], ...] = ()
    """Of a table: columns whose default the statement has with a `?` in it; their character sets, and it in hex."""
    broken: bool = False
    """Of a view: its server says that it refers to what is not there."""

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Definitions:
    """A whole database but its rows."""

    schema: str
    charset: str
    collation: str
    items: tuple[Definition, ...]

    def of(self, *kinds: str) -> list[Definition]:
        return [item for item in self.items if item.kind in kinds]

    def steady(self) -> Definitions:
        """Without what changes while an app writes: where counters stand."""
        items = (
            _with(item, statement=_AUTO_INCREMENT.sub(r"\1", item.statement, count=1), value=None)
            for item in self.items
        )
        return Definitions(self.schema, self.charset, self.collation, tuple(items))


def _with(item: Definition, **changes: Any) -> Definition:
    return Definition(**(asdict(item) | changes))


def encode(found: Definitions) -> bytes:
    """Lines of JSON: the database itself, then a line each; what is as usual is left out."""
    first = {"kind": "database", "name": found.schema, "charset": found.charset, "collation": found.collation}
    lines = [
        first,
        *(
            {key: value for key, value in asdict(item).items() if value not in ("", None, False, ())}
            for item in found.items
        ),
    ]
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def decode(data: bytes) -> Definitions:
    """The inverse. Raises `Damaged`."""
    try:
        first, *lines = [json.loads(line) for line in data.decode().split("\n") if line]
        items = tuple(_item(line) for line in lines)
        found = Definitions(first["name"], first["charset"], first["collation"], items)
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"the schema in the backup cannot be read: {error}") from error
    unknown = sorted({item.kind for item in items} - set(KINDS))
    if unknown:
        raise Damaged(f"the schema in the backup has {', '.join(unknown)}, which this version cannot put back")
    return found


def _item(line: dict[str, Any]) -> Definition:
    defaults = tuple((str(column), str(charset), str(value)) for column, charset, value in line.get("defaults", ()))
    return Definition(**({"statement": ""} | line | {"defaults": defaults}))
