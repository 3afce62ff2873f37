"""What `ALTER DATABASE … SET` and `ALTER ROLE … SET` said, as PostgreSQL keeps it (`name=value`), and said again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.postgres.connection import Connection, execute, identifier, literal, refused

_LISTS = {
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
}
"""Settings whose stored value is a list that PostgreSQL has quoted already (GUC_LIST_QUOTE)."""


def put_back(connection: Connection, whose: str, items: Sequence[str]) -> Iterator[str]:
    """`ALTER whose SET …` for each of *items*; what the server refuses, as notes. *whose* is SQL."""
    for item in items:
        key, _, value = item.partition("=")
        try:
            with refused("setting"), connection.transaction():  # a savepoint, where one is open
                execute(connection, f"ALTER {whose} SET {_parameter(key)} TO {_value(key, value)}")
        except DatabaseRefused as error:
            yield f"not restored: setting {key} of {whose}: {error}"


def _parameter(key: str) -> str:
    """`app.secret` is two names."""
    return identifier(*key.split("."))


def _value(key: str, value: str) -> str:
    if key.lower() not in _LISTS:
        return literal(value)
    return ", ".join(map(literal, _split(value))) or "''"


def _split(value: str) -> list[str]:
    """The elements of a quoted list: `"$user", public`."""
    elements: list[str] = []
    rest = value.strip()
    while rest:
        if rest.startswith('"'):
            end = 1
            while (end := rest.index('"', end)) + 1 < len(rest) and rest[end + 1] == '"':
                end += 2
            elements.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :]
        else:
            word, comma, tail = rest.partition(",")
            elements.append(word.strip())
            rest = comma + tail
        rest = rest.strip().removeprefix(",").strip()
    return elements
