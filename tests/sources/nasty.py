"""Fills databases with everything that backup tools trip over: `nasty.sql`, its roles and extension, odd encodings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from dwebbackup.scratch.postgres import Binaries, ScratchPostgres

HERE = Path(__file__).parent

# ---- an extension of our own -------------------------------------------------------------------------------

EXTENSION = "dwebbackup_test_config"

_CONTROL = """\
comment = 'keeps some of its rows in dumps, as PostGIS and pg_cron do'
default_version = '1.0'
relocatable = false
schema = dwebbackup_config
"""

# No extension that comes with PostgreSQL marks tables for dumping, and that is where dumps differ from copies.
_SCRIPT = """\
CREATE TABLE setting (name text PRIMARY KEY, value text, builtin boolean NOT NULL DEFAULT false);
INSERT INTO setting VALUES ('shipped', 'with the extension', true), ('also shipped', 'changed by nobody', true);
SELECT pg_extension_config_dump('setting', 'WHERE NOT builtin');

CREATE SEQUENCE ticket START 100;
SELECT pg_extension_config_dump('ticket', '');

CREATE TABLE whole (id integer PRIMARY KEY, refers integer REFERENCES whole, stamp integer DEFAULT nextval('ticket'));
SELECT pg_extension_config_dump('whole', '');

CREATE TABLE private (note text);
INSERT INTO private VALUES ('made anew by CREATE EXTENSION, never dumped');

CREATE FUNCTION answer() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 42';
"""


def with_extension(server: ScratchPostgres, folder: Path) -> Binaries:
    """The programs of *server*, with a `postgres` that also knows the test extension.

    The machine's installation stays as it is: *folder* gets a copy of the one program, which finds its files
    relative to itself, and symbolic links to all the rest.
    """
    rows = server.psql("SELECT name, setting FROM pg_config WHERE name IN ('BINDIR','LIBDIR','PKGLIBDIR','SHAREDIR')")
    places = {name: Path(path) for name, _, path in (row.partition("|") for row in rows.splitlines())}
    root = Path(os.path.commonpath([places["BINDIR"], places["SHAREDIR"]]))
    mirror = {name: folder / path.relative_to(root) for name, path in places.items()}
    for name in ("LIBDIR", "PKGLIBDIR"):  # the second may lie in the first
        if not mirror[name].exists():
            mirror[name].parent.mkdir(parents=True, exist_ok=True)
            mirror[name].symlink_to(places[name])
    _mirror_folder(places["SHAREDIR"], mirror["SHAREDIR"], inner="extension")
    add_extension(mirror["SHAREDIR"] / "extension")
    mirror["BINDIR"].mkdir(parents=True, exist_ok=True)
    shutil.copy2(server.binaries.postgres, mirror["BINDIR"] / "postgres")
    return replace(server.binaries, postgres=mirror["BINDIR"] / "postgres")


def add_extension(folder: Path) -> None:
    """Put the test extension's two files where a PostgreSQL installation keeps those of its own."""
    (folder / f"{EXTENSION}.control").write_text(_CONTROL)
    (folder / f"{EXTENSION}--1.0.sql").write_text(_SCRIPT)


def _mirror_folder(folder: Path, to: Path, *, inner: str) -> None:
    """Links to all that *folder* holds, and a real folder *inner*, so that files can be added there."""
    (to / inner).mkdir(parents=True)
    for path in folder.iterdir():
        if path.name != inner:
            (to / path.name).symlink_to(path)
    for path in (folder / inner).iterdir():
        (to / inner / path.name).symlink_to(path)


# ---- the database ------------------------------------------------------------------------------------------

ROLES = {
    "owner": "dwbtest_owner",
    "reader": "dwbtest_reader",
    "superuser": "dwbtest_superuser",  # some things only a superuser may own
    "odd_role": "dwbtest \"odd\"; DROP ROLE 'x'--\\ €",
}


def make_roles(server: ScratchPostgres) -> None:
    """Make the roles that `nasty.sql` speaks of, unless they are there."""
    server.psql(
        """
        SELECT format('CREATE ROLE %I %s', name, CASE name WHEN 'dwbtest_superuser' THEN 'SUPERUSER' ELSE '' END)
        FROM (VALUES {}) AS wanted (name)
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \\gexec
        """.format(", ".join("(E'" + role.replace("\\", "\\\\").replace("'", "''") + "')" for role in ROLES.values()))
    )


def fill_nasty(server: ScratchPostgres, dbname: str) -> None:
    """Fill the empty UTF-8 database *dbname*, whose server knows the test extension."""
    make_roles(server)
    server.execute_file(HERE / "nasty.sql", dbname, ROLES)


# ---- other encodings ---------------------------------------------------------------------------------------

_ENCODED = {
    "LATIN1": """
        CREATE TABLE "Größe" ("Maß" text, "±" integer);
        COMMENT ON TABLE "Größe" IS 'größer';
        INSERT INTO "Größe" SELECT chr(n), n FROM generate_series(1, 255) AS n;
        """,
    "SQL_ASCII": r"""
        CREATE TABLE bytes (a text, "naïve" text DEFAULT 'é');
        INSERT INTO bytes VALUES (E'\xff\xfe'), (E'caf\xe9'), (E'\xc3\xa9'), (E'\xe2\x82'), (E'\xed\xa0\x80'), (E'\x80\\.\n');
        """,
    "EUC_JP": """
        CREATE TABLE "表" ("列" text PRIMARY KEY, "ｶﾅ" text DEFAULT '既定');
        COMMENT ON COLUMN "表"."列" IS '注釈';
        INSERT INTO "表" VALUES ('漢字かなカナ'), ('ソ表十能予'), ('ﾊﾝｶｸ'), ('＼～∥－￠￡￢'), ('丂侌兤'), (E'\\\\');
        """,
    "WIN1251": """
        CREATE TYPE "вид" AS ENUM ('да', 'нет');
        CREATE TABLE "таблица" ("слово" text, "вид" "вид" DEFAULT 'да');
        INSERT INTO "таблица" SELECT chr(n) FROM generate_series(1, 255) AS n WHERE n <> 152;
        INSERT INTO "таблица" VALUES ('№ «ёлка» €…™', 'нет');
        """,
}

ENCODINGS = tuple(_ENCODED)


def encoding_options(encoding: str) -> str:
    """The options of CREATE DATABASE for one of `ENCODINGS`; locale C goes with each."""
    return f"ENCODING '{encoding}' LOCALE 'C'"


def fill_encoded(server: ScratchPostgres, dbname: str, encoding: str) -> None:
    """Fill the empty database *dbname*, whose encoding is *encoding*, with what only that encoding can hold."""
    server.psql(_ENCODED[encoding], dbname)


@contextmanager
def other_session(uri: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A session at work in the database: with temporary objects, and with changes that it has not committed."""
    with psycopg.connect(
        uri, options="-c default_transaction_read_only=off -c idle_in_transaction_session_timeout=0"
    ) as session:
        session.execute("CREATE TEMPORARY TABLE of_this_session AS SELECT 1 AS a")
        session.execute("CREATE TEMPORARY SEQUENCE counts_here")
        session.execute("CREATE TEMPORARY VIEW here_alone AS SELECT a FROM of_this_session")
        session.commit()
        session.execute("""INSERT INTO names."select" ("from") VALUES (4711)""")
        session.execute("SELECT nextval('sequences.untouched')")  # not undone by a rollback
        yield session
        session.rollback()
