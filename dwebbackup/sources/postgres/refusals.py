"""What a server's refusal means, by its SQLSTATE wherever there is one, and what its user can do about it.

A server speaks the language of its `lc_messages`; a SQLSTATE is the same in all. Programs print none when they cannot
connect: then there are only words, of which libpq's own are always English, and the server's often.
"""

from __future__ import annotations

import re

import psycopg

from dwebbackup.errors import DatabaseRefused

LOCKED = frozenset({"55P03", "40P01"})
"""A lock was not to be had: in time, or at all."""

GONE = frozenset({"42P01", "42704", "3F000"})
"""A table, something else or a schema is not there."""

NO_ROOM = "53200"
"""Among others: the table of locks is full."""

_WRONG_LOGIN = "check the user and the password"
_NO_DATABASE = "the database does not exist; check its name"
_NO_CONNECTION = (
    "no connection is left for us: a backup takes --jobs and two more, a restore --jobs and two more; "
    "try again later, with --jobs 1, or raise the server's or the role's limit"
)
_NOT_READY = "it is starting, stopping or recovering; try again in a moment"
STANDBY = (
    "this standby had to follow what its primary did meanwhile (DROP, TRUNCATE, ALTER, VACUUM): raise its "
    "max_standby_streaming_delay, turn on its hot_standby_feedback (which helps against VACUUM), or back up the primary"
)
LOST = "the connection was lost; run it again"
_NOT_POSTGRES = "is this the address of a PostgreSQL server?"
_NOBODY = "is the server running, and the address right?"
_SOME_REASON = "check the user, the password and the database's name, and whether connections are left"

_BY_STATE = {
    "28": _WRONG_LOGIN,
    "3D": _NO_DATABASE,
    "40001": STANDBY,
    "42501": "the role lacks a right: docs/postgres.md says which ones a backup needs, and which a restore",
    "53300": _NO_CONNECTION,
    "53": "the server is out of resources; try again later, or with --jobs 1",
    "55P03": "a lock was held too long by another session; try again later",
    "57P03": _NOT_READY,
    "57P": "the server is shutting down or was restarted; run it again",
    "08": LOST,
}
"""Beginnings of SQLSTATEs, the longer ones first."""

_BY_WORDS = {
    r"conflict with recovery": STANDBY,
    r"password authentication failed|SASL authentication failed": _WRONG_LOGIN,
    r"no password supplied": "it wants a password: in the URL, in PGPASSWORD, or in a line of ~/.pgpass that fits",
    r"database \".*\" does not exist|no such database": _NO_DATABASE,
    r"role \".*\" does not exist|no such user": "the role does not exist; check the user's name",
    r"too many (clients|connections)|connection slots|no more connections|query_wait_timeout": _NO_CONNECTION,
    r"starting up|shutting down|not (yet )?accepting|hot standby mode is disabled|in recovery mode": _NOT_READY,
    r"valid client certificate|certificate required|certificate authentication failed|alert (unknown ca|bad cert)": (
        "the server wants a certificate that its own authority signed, in the name of the user: see sslcert and sslkey"
    ),
    r"no pg_hba.conf entry": (
        "its pg_hba.conf has no line for this user, database and address; where it says `no encryption`, "
        "sslmode=require may be all that is missing"
    ),
    r"private key file .* (has|must)": "take the key file from everybody else: chmod 600",
    r"certificate verify failed|self.signed certificate": (
        "the server's certificate was not signed by the authority in sslrootcert; is that the right file, and is this "
        "the right server?"
    ),
    r"does not match host name": "connect by a name that stands in the server's certificate",
    r"root certificate file": "give the file of the server's authority as sslrootcert; `system` takes the system's",
    r"(certificate|private key) file": "check the files in sslcert, sslkey and sslrootcert",
    r"does not support SSL": "the server has no TLS: turn it on there; without, everybody on the way reads all",
    r"session is (not )?read-only|server is (not )?in hot standby mode|target_session_attrs": (
        "none of the hosts is what target_session_attrs asks for"
    ),
    r"invalid memory alloc request size|enlarge string buffer": (
        "PostgreSQL itself cannot print a row of 1 GB or more, in which a bytea counts twice; pg_column_size finds it: "
        "keep such a value in pieces, or as a large object"
    ),
    r"service file|service \".*\" not found": "check the service's name, and the file in PGSERVICEFILE",
    r"failed to resolve|'idna' codec|could not translate host name": "the name of the host is not known here; check it",
    r"SSL negotiation|expected authentication request|invalid length of|closed the connection": _NOT_POSTGRES,
    r"Connection refused|No such file|timeout expired|No route|unreachable": _NOBODY,
}
"""What is said where no connection came about. The server's answers first: with several hosts, one may be dead."""

_STATE = re.compile(r"(^|\): )(\S+):  ([0-9A-Z]{5}): ", re.MULTILINE)
"""As psql prints it after the severity, which is in the server's language."""

_HARMLESS = ("00", "01", "02")
"""Notices and warnings."""

_ANSWERED = re.compile(r"failed: \S+:  ")
"""A server's severity and two blanks, in whatever language: libpq's own complaints have neither."""

_LOCATION = re.compile(
    r"^(LOCATION|SCHEMA NAME|TABLE NAME|COLUMN NAME|DATATYPE NAME|CONSTRAINT NAME): .*\n?", re.MULTILINE
)


class ServerRefused(DatabaseRefused):
    """What a server answered; *sqlstate* is empty where nobody told it."""

    def __init__(self, message: str, sqlstate: str = "", hint: str = "") -> None:
        super().__init__(message, hint)
        self.sqlstate = sqlstate


def answer(error: psycopg.Error, doing: str) -> ServerRefused:
    """What a statement of ours ended with."""
    state = error.sqlstate or ""
    primary = error.diag.message_primary or str(error).strip()
    said_by_a_pooler = hint_in(primary) if state == "08P01" else ""
    hint = said_by_a_pooler or hint_for(state) or error.diag.message_hint or ("" if state else LOST)
    return ServerRefused(f"the database refused ({doing}): {primary}{f' ({state})' if state else ''}", state, hint)


def no_connection(error: Exception, where: str) -> ServerRefused:
    """Why no connection came about. Of secrets, libpq quotes none."""
    said = "; ".join(_attempts(str(error)))
    hint = hint_in(said) or (_SOME_REASON if _ANSWERED.search(said) else _NOBODY)
    return ServerRefused(f"cannot connect to {where}: {said}", hint=hint)


def of_program(message: str) -> ServerRefused:
    """What a client program ended with; psql tells SQLSTATEs (`VERBOSITY=verbose`), pg_dump none."""
    states = (state for _, _, state in _STATE.findall(message))
    state = next((state for state in states if not state.startswith(_HARMLESS)), "")
    plain = _LOCATION.sub("", _STATE.sub(r"\1\2: ", message)).strip()
    hint = hint_for(state) if state else hint_in(plain)
    if hint == _NOT_POSTGRES and "connection to server" not in plain:  # it was one, until it ended in the midst
        hint = LOST
    return ServerRefused(f"{plain} ({state})" if state else plain, state, hint)


def hint_for(state: str) -> str:
    """Empty where there is nothing to say."""
    return next((hint for beginning, hint in _BY_STATE.items() if state.startswith(beginning)), "") if state else ""


def hint_in(said: str) -> str:
    """The same by the words that were said."""
    return next((hint for words, hint in _BY_WORDS.items() if re.search(words, said, re.IGNORECASE)), "")


def _attempts(said: str) -> list[str]:
    """What became of each host that was tried, a line each."""
    attempts = re.sub(r"\n\t", "; ", said.rpartition("All failures were:\n")[2]).splitlines()
    return [re.sub(r"^(- host: .*?: )?connection failed: ", "", attempt) for attempt in attempts if attempt.strip()]
