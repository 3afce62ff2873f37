"""The statements that fill one table: LOAD DATA, and INSERT out of the same lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dwebbackup.sources.mysql.connection import identifier

OFFERED = b"dwebbackup"
"""What the server is to ask for; it is given nothing that it asks for by another name."""


@dataclass(frozen=True, slots=True)
class Filler:
    """What one table's rows go into."""

    table: str
    """Quoted, with its schema."""
    columns: tuple[str, ...]
    kinds: dict[str, str]
    """The types of columns, as the target has them."""
    converts: bool
    """Whether JSON must be told its character set: so it is with MySQL."""

    @property
    def documents(self) -> list[str]:
        return [name for name in self.columns if self.converts and self.kinds.get(name) == "json"]

    def load_statement(self) -> str:
        """Every character that means something is written in hexadecimal, so that no `sql_mode` changes it."""
        places = {name: f"@d{number}" for number, name in enumerate(self.documents)}
        columns = ", ".join(places.get(name) or identifier(name) for name in self.columns) or "@none"
        converted = ", ".join(f"{identifier(name)} = CONVERT({at} USING utf8mb4)" for name, at in places.items())
        return (
            f"LOAD DATA LOCAL INFILE '{OFFERED.decode()}' INTO TABLE {self.table} CHARACTER SET binary"
            " FIELDS TERMINATED BY X'09' OPTIONALLY ENCLOSED BY X'1F' ESCAPED BY X'5C' LINES TERMINATED BY X'0A'"
            f" ({columns}){f' SET {converted}' if converted else ''}"
        )

    def insert_statement(self, rows: bytes) -> bytes:
        """One INSERT of many rows, of which the last has no line end."""
        columns = ", ".join(map(identifier, self.columns))
        if not self.documents:
            head = f"INSERT INTO {self.table} ({columns}) VALUES ("  # noqa: S608  # quoted
            return head.encode() + values(rows, b"),(") + b")"
        picked = ", ".join(
            f"CONVERT(column_{number} USING utf8mb4)" if name in self.documents else f"column_{number}"
            for number, name in enumerate(self.columns)
        )
        head = f"INSERT INTO {self.table} ({columns}) SELECT {picked} FROM (VALUES ROW("  # noqa: S608  # quoted
        return head.encode() + values(rows, b"),ROW(") + b")) AS v"


_ENCLOSED = re.compile(rb"(?:(?<=')|\A)\x1f((?:[^\x1f]|\x1f\x1f)*)\x1f(?=')")


def values(rows: bytes, between: bytes) -> bytes:
    """Lines as LOAD DATA reads them, as the values of an INSERT: the escapes of both are the same but for `'`."""
    quoted = rows.replace(b"'", b"\\'").replace(b"\t", b"','").replace(b"\n", b"'" + between + b"'")
    quoted = b"'" + quoted + b"'"
    quoted = quoted.replace(b"'NULL'", b"NULL")
    if b"'\x1f" in quoted:
        quoted = _ENCLOSED.sub(lambda match: match[1].replace(b"\x1f\x1f", b"\x1f"), quoted)
    return quoted
