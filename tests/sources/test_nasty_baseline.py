"""The yardstick itself: what plain `pg_dump | pg_restore` loses of the nasty database, and that no change escapes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from dwebbackup.scratch.postgres import ScratchPostgres
from fix_postgres import Database, free_name, new_database
from sources.nasty import ENCODINGS, encoding_options, fill_encoded, make_roles, other_session
from sources.same import differences

# `pg_restore --create` applies the database's own settings before the rows come, and some refuse them: nothing can
# be written, a NULL within an array is a word, and options of text search dictionaries come out quoted.
LOADABLE = "-c default_transaction_read_only=off -c array_nulls=on -c quote_all_identifiers=off"

# What a dump cannot carry at all.
UNAVOIDABLE = [
    "schema Name: late_child; Type: TABLE; Schema: trees; Owner: postgres",  # inherited columns move to the front
    "materialized view views.orphan: filled only in a",  # another one that it reads is empty
]


def copy_plainly(source: Database, target: Database) -> None:
    """`pg_dump | pg_restore`, without a real error; the encoding is said because the database can set another."""
    tools = source.server.binaries
    dumped = subprocess.run(
        [tools.pg_dump, "-Fc", "-Z0", "--encoding", source.psql("SHOW server_encoding"), "-d", source.uri],
        check=True,
        capture_output=True,
    )
    restored = subprocess.run(
        [tools.pg_restore, "--create", "-d", target.server.uri()],
        env=os.environ | {"PGOPTIONS": LOADABLE},
        input=dumped.stdout,
        check=False,
        capture_output=True,
    )
    errors = [line for line in restored.stderr.decode().splitlines() if "error:" in line]
    # what clients from 17 say to a server before it, and nobody misses
    assert [error for error in errors if 'parameter "transaction_timeout"' not in error] == []


def test_a_plain_dump_and_restore_loses_only_what_it_must(nasty: Database, pg_target: ScratchPostgres) -> None:
    make_roles(pg_target)
    with free_name(pg_target, nasty.name) as copy:
        copy_plainly(nasty, copy)
        found = differences(nasty.uri, copy.uri)
    assert [piece.splitlines()[0] for piece in found] == UNAVOIDABLE, "\n".join(found)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_survives(pg_server: ScratchPostgres, pg_target: ScratchPostgres, encoding: str) -> None:
    with new_database(pg_server, options=encoding_options(encoding)) as source:
        fill_encoded(pg_server, source.name, encoding)
        with free_name(pg_target, source.name) as copy:
            copy_plainly(source, copy)
            assert differences(source.uri, copy.uri) == []


def test_another_session_leaves_no_trace_but_in_a_sequence(pg_server: ScratchPostgres, nasty: Database) -> None:
    with new_database(pg_server, template=nasty.name) as copy, other_session(copy.uri):
        found = differences(nasty.uri, copy.uri)
    # a template does not hand on what is said of the database itself
    of_its_content = [piece for piece in found if "DATABASE" not in piece.splitlines()[0]]
    assert of_its_content == ["sequence sequences.untouched: (1, False) | (1, True)"]


# ---- that the yardstick sees -------------------------------------------------------------------------------

SMALL = r"""
CREATE SCHEMA s;
CREATE TABLE s.floats (id integer PRIMARY KEY, v float8);
INSERT INTO s.floats SELECT n, n / 3.0 FROM generate_series(1, 50) AS n;
CREATE TABLE s.bytes (id integer, v bytea);
INSERT INTO s.bytes VALUES (1, ''), (2, NULL);
CREATE TABLE s.longer AS SELECT n FROM generate_series(1, 3) AS n;
CREATE TABLE s.shorter AS SELECT n FROM generate_series(1, 3) AS n;
CREATE TABLE s.twice AS SELECT unnest('{x,x,y}'::text[]) AS v;
CREATE TABLE s.without_columns AS SELECT FROM generate_series(1, 3);
CREATE TABLE s.parent (a integer);
CREATE TABLE s.child () INHERITS (s.parent);
INSERT INTO s.parent VALUES (1);
INSERT INTO s.child VALUES (2);
CREATE TYPE s.e AS ENUM ('a', 'b', 'c', 'd');
CREATE TABLE s.hashed (e s.e) PARTITION BY HASH (e);
CREATE TABLE s.hashed_0 PARTITION OF s.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE s.hashed_1 PARTITION OF s.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO s.hashed SELECT unnest(enum_range(NULL::s.e)) FROM generate_series(1, 5);
CREATE SEQUENCE s.called;
CREATE SEQUENCE s.set;
CREATE MATERIALIZED VIEW s.filled AS SELECT 1 AS n;
CREATE MATERIALIZED VIEW s.old AS SELECT count(*) FROM s.longer;
COMMENT ON TABLE s.floats IS 'a comment';
COMMENT ON COLUMN s.floats.v IS 'another';
CREATE FUNCTION s.f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE s.other (a integer) USING heap_too;
SELECT lo_from_bytea(100000 + n, '\x00010203') FROM generate_series(1, 5) AS n;
"""

# each change, and what `differences` has to say to it
CHANGES = {
    "UPDATE s.floats SET v = v + 1e-14 WHERE id = 17": "rows of s.floats: 50 | 50",
    "UPDATE s.bytes SET v = '' WHERE id = 2": "rows of s.bytes: 2 | 2",
    "INSERT INTO s.longer VALUES (4)": "rows of s.longer: 3 | 4",
    "DELETE FROM s.shorter WHERE n = 1": "rows of s.shorter: 3 | 2",
    "UPDATE s.twice SET v = 'y' WHERE ctid = '(0,1)'": "rows of s.twice: 3 | 3",
    "INSERT INTO s.without_columns DEFAULT VALUES": "rows of s.without_columns: 3 | 4",
    "DELETE FROM ONLY s.parent": "rows of s.parent: 1 | 0",
    "INSERT INTO s.child VALUES (1)": "rows of s.child: 1 | 2",
    "DELETE FROM s.hashed WHERE e = 'c'": "rows of s.hashed: 20 | 15",
    "SELECT nextval('s.called')": "sequence s.called: (1, False) | (1, True)",
    "SELECT setval('s.set', 2, false)": "sequence s.set: (1, False) | (2, False)",
    "REFRESH MATERIALIZED VIEW s.filled WITH NO DATA": "materialized view s.filled: filled only in a",
    "REFRESH MATERIALIZED VIEW s.old": "rows of s.old: 1 | 1",
    r"SELECT lo_put(100001, 2, '\xff')": "large object 100001: ",
    "ALTER LARGE OBJECT 100002 OWNER TO pg_monitor": "large object 100002: ",
    "GRANT SELECT ON LARGE OBJECT 100003 TO PUBLIC": "large object 100003: ",
    "COMMENT ON LARGE OBJECT 100004 IS 'x'": "large object 100004: ",
    "SELECT lo_unlink(100005)": "large object 100005: ",
    "COMMENT ON TABLE s.floats IS NULL": "schema Name: TABLE floats; Type: COMMENT; ",
    "COMMENT ON COLUMN s.floats.v IS 'an other'": "schema Name: COLUMN floats.v; Type: COMMENT; ",
    "GRANT SELECT (v) ON s.floats TO PUBLIC": "schema Name: COLUMN floats.v; Type: ACL; ",
    "ALTER TABLE s.bytes ALTER v SET STATISTICS 7": "schema Name: bytes; Type: TABLE; ",
    "CREATE INDEX ON s.bytes (v)": "schema Name: bytes_v_idx; Type: INDEX; ",
    "CREATE OR REPLACE FUNCTION s.f() RETURNS integer LANGUAGE sql AS 'SELECT 2'": "schema Name: f(); Type: FUNCTION; ",
    "DROP TABLE s.other; CREATE TABLE s.other (a integer)": "schema Name: other; Type: TABLE; ",
    "SELECT format('ALTER DATABASE %I SET work_mem = 100', current_database()) \\gexec": (
        "schema Name: <database>; Type: DATABASE PROPERTIES; "
    ),
    "SELECT format('COMMENT ON DATABASE %I IS %L', current_database(), 'x') \\gexec": (
        "schema Name: DATABASE <database>; Type: COMMENT; "
    ),
}


@pytest.fixture(scope="module")
def small(pg_server: ScratchPostgres) -> Iterator[Database]:
    with new_database(pg_server) as database:
        database.psql(SMALL)
        yield database


def test_a_copy_is_the_same(pg_server: ScratchPostgres, small: Database) -> None:
    with new_database(pg_server, 'with "another" name', template=small.name) as copy:
        copy.psql("UPDATE s.floats SET v = v WHERE id = 17")  # the row now stands elsewhere
        assert differences(small.uri, copy.uri) == []


def test_every_change_is_seen(pg_server: ScratchPostgres, small: Database) -> None:
    with new_database(pg_server, template=small.name) as copy:
        for change in CHANGES:
            copy.psql(change)
        found = differences(small.uri, copy.uri)
    not_seen = [change for change, words in CHANGES.items() if not any(piece.startswith(words) for piece in found)]
    assert not_seen == []
    assert len(found) == len(CHANGES)


def test_the_settings_of_a_database_do_not_blur_the_view(pg_server: ScratchPostgres, small: Database) -> None:
    with new_database(pg_server, template=small.name) as copy:
        for setting in (
            "extra_float_digits = -10",
            "bytea_output = 'escape'",
            "quote_all_identifiers = on",
            "search_path = s",
        ):
            pg_server.psql(f"ALTER DATABASE {copy.name} SET {setting}")
        copy.psql("UPDATE s.floats SET v = v + 1e-14 WHERE id = 17")
        found = differences(small.uri, copy.uri)
    assert [piece.splitlines()[0] for piece in found] == [
        "schema Name: <database>; Type: DATABASE PROPERTIES; Schema: -; Owner: postgres",
        "rows of s.floats: 50 | 50",
    ]
