"""What a server's refusal means, by its error number, and what its user can do about it."""

from __future__ import annotations

import re

import pymysql

from dwebbackup.errors import DatabaseRefused

LOCKED = frozenset({1205, 1213, 3024, 1969})
"""A lock was not to be had: in time, or at all."""

CHANGED = frozenset({1412, 1146, 1049, 1932})
"""A table is another one than in the snapshot, or not there."""

NO_RIGHT = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1419, 1410})
NO_DATABASE = 1049
EXISTS = 1007

_LOST = "the connection was lost; run it again"
_NOBODY = "is the server running, and the address right?"

_RIGHT = "the user lacks a right: docs/mysql.md says which ones a backup needs, and which a restore"

_HINTS = {
    1040: "no connection is left for us: a backup takes --jobs and two more, a restore --jobs and one more; "
    "try again later, with --jobs 1, or raise max_connections",
    1044: _RIGHT,
    1045: "check the user and the password",
    1049: "the database does not exist; check its name",
    1053: "the server is shutting down; run it again",
    1129: "the server shut this host out after too many failures: `mysqladmin flush-hosts` there",
    1130: "the server lets nobody in from this host; check the user's host name in its grants",
    1142: _RIGHT,
    1143: _RIGHT,
    1153: "raise max_allowed_packet on the server: a row is larger than that",
    1203: "the user has too many connections; try again with --jobs 1",
    1205: "another session held a lock for too long; try again later",
    1226: "the user is over a limit of its account (MAX_USER_CONNECTIONS and its like)",
    1227: _RIGHT,
    1370: _RIGHT,
    1410: _RIGHT,
    1412: "a table was changed while it was read; run it again",
    1419: "the server wants SUPER of who makes triggers while it writes a binary log, "
    "or log_bin_trust_function_creators = 1",
    1524: "the account's way to log in is unknown to the server or to us; ALTER USER … IDENTIFIED WITH another one",
    1698: "this account is for one user of the server's own system (unix_socket); give another one with a password",
    1835: "the row is damaged, or larger than max_allowed_packet",
    2003: _NOBODY,
    2006: _LOST,
    2013: _LOST,
    2020: "raise max_allowed_packet on the server: a row is larger than that",
    2026: "TLS did not come about: turn it on at the server, or check ssl-mode and ssl-ca of the address",
    2059: "the account logs in by a method that this client does not know; "
    "ALTER USER … IDENTIFIED WITH caching_sha2_password, or mysql_native_password",
    3159: "the server wants TLS: add ?ssl-mode=REQUIRED to the address, or better VERIFY_IDENTITY with ssl-ca",
    4031: "the server closed a session that had nothing to say for long; run it again",
}

_BY_WORDS = {
    r"certificate verify failed|self.signed": "the server's certificate was not signed by the authority in ssl-ca",
    r"doesn't match|mismatch": "connect by a name that stands in the server's certificate",
    r"insecure transport": "the server wants TLS: add ?ssl-mode=REQUIRED to the address",
    r"plugin|auth.*method": _HINTS[2059],
    r"Name or service not known|name resolution|No address": "the name of the host is not known here; check it",
}

_NUMBER = re.compile(r"ERROR (\d+)")
"""As the client program prints it; that is the same in every language."""


class ServerRefused(DatabaseRefused):
    """What a server answered; *number* is 0 where nobody told it."""

    def __init__(self, message: str, number: int = 0, hint: str = "") -> None:
        super().__init__(message, hint)
        self.number = number


def answer(error: Exception, doing: str) -> ServerRefused:
    """What a statement of ours ended with."""
    number, said = _parts(error)
    hint = _HINTS.get(number) or ("" if number else _LOST)
    return ServerRefused(f"the database refused ({doing}): {said}{f' ({number})' if number else ''}", number, hint)


def no_connection(error: Exception, where: str) -> ServerRefused:
    """Why no connection came about. The server quotes no secret."""
    number, said = _parts(error)
    by_words = next((hint for words, hint in _BY_WORDS.items() if re.search(words, said, re.IGNORECASE)), "")
    hint = by_words or _HINTS.get(number) or _NOBODY
    return ServerRefused(f"cannot connect to {where}: {said}{f' ({number})' if number else ''}", number, hint)


def of_program(message: str) -> ServerRefused:
    """What a client program ended with."""
    match = _NUMBER.search(message)
    number = int(match[1]) if match else 0
    return ServerRefused(message, number, _HINTS.get(number, ""))


def _parts(error: Exception) -> tuple[int, str]:
    """The number and the words. PyMySQL gives both; of what else went wrong, such as TLS, there are only words."""
    if isinstance(error, pymysql.MySQLError) and len(error.args) >= 2 and isinstance(error.args[0], int):
        return error.args[0], str(error.args[1])
    return 0, str(error) or type(error).__name__
