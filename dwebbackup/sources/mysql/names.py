"""Names of a schema in SQL text: found outside of strings and comments, and changed where they name what lies in it."""

from __future__ import annotations

import re
from collections.abc import Collection

from dwebbackup.sources.mysql.connection import identifier

_TOKEN = re.compile(
    r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`"""
    r"""|--(?=\s)[^\n]*|\#[^\n]*|/\*.*?\*/|[\w$]+|\s+|.""",
    re.DOTALL,
)
_NAME = re.compile(r"`(?:[^`]|``)*`|[\w$]+")


def renamed(text: str, old: str, new: str, known: Collection[str]) -> str:
    """*text* with *new* for *old* wherever that qualifies one of the *known* things of the schema.

    So `shop.orders` becomes `other.orders`, and `shop.id` stays: a column of a table that has the schema's name.
    """
    if old == new:
        return text
    tokens = _TOKEN.findall(text)
    for at, token in enumerate(tokens):
        if _meant(token) != old or _near(tokens, at, -1) == ".":
            continue
        dot = _next(tokens, at)
        if dot is not None and tokens[dot] == "." and _meant(tokens[_next(tokens, dot) or 0]) in known:
            tokens[at] = identifier(new)
    return "".join(tokens)


def _meant(token: str) -> str | None:
    """The name that a token is; None where it is none."""
    if not _NAME.fullmatch(token):
        return None
    return token[1:-1].replace("``", "`") if token.startswith("`") else token


def _next(tokens: list[str], at: int) -> int | None:
    """The place of the next token that is no space."""
    return next((place for place in range(at + 1, len(tokens)) if not tokens[place].isspace()), None)


def _near(tokens: list[str], at: int, step: int) -> str:
    """The nearest token that is no space, in one direction; empty at an end."""
    at += step
    while 0 <= at < len(tokens) and tokens[at].isspace():
        at += step
    return tokens[at] if 0 <= at < len(tokens) else ""
