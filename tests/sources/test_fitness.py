"""What a server lacks for a backup: judged by itself, asked of real servers, all of it named before anything is done."""

from __future__ import annotations

import dataclasses

import pytest

from dwebbackup import restore
from dwebbackup.catalog import Backup
from dwebbackup.errors import DatabaseRefused
from dwebbackup.manifest import Extension
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.sources.postgres.collations import Collation
from dwebbackup.sources.postgres.fitness import Difference, Grade, judge, left_out, require
from dwebbackup.sources.postgres.needs import Needs, Offered, Offers
from faulty import MemoryStore
from fix_majors import CLIENT_16, MAJORS, WIDE, Majors
from fix_postgres import Database, free_name, new_database
from synthetic import back_up, opened

# --- judged by itself ---

NEEDS = Needs(
    major=15,
    encoding="UTF8",
    provider="c",
    locale="de_DE.utf8",
    version="2.36",
    locales=("de_DE.utf8",),
    extensions=(),
    collations=(),
    reserved=("event trigger e",),
)
OFFERS = Offers(
    major=15,
    knows_encoding=True,
    has_icu=True,
    version="2.36",
    locales=frozenset({"de_DE.utf8"}),
    collations=frozenset({"de-x-icu", "de_DE.utf8"}),
    extensions={},
    superuser=True,
)
OFFERED = Offered(version="1.4", versions=frozenset({"1.4"}), leads_here=True, for_superusers=False)


def with_extension(name: str, offered: Offered | None = None) -> dict[str, object]:
    """The backup has it in version 1.4."""
    return {
        "needs": {"extensions": (Extension(name, "1.4"),)},
        "offers": {"extensions": {name: offered} if offered else {}},
    }


def with_collation(name: str, provider: str, *locales: str, of_system: bool = True) -> dict[str, object]:
    return {"collations": (Collation(name, of_system, provider, locales),)}


LACKING, SHORT, NOTE, DOUBT = Grade
CASES: dict[str, tuple[dict[str, object], list[tuple[Grade, str]]]] = {
    "the same": ({}, []),
    "a newer server": ({"offers": {"major": 18}}, []),
    "an older server": ({"offers": {"major": 14}}, [(LACKING, "of PostgreSQL 15, and the server is PostgreSQL 14")]),
    "an encoding of the past": ({"offers": {"knows_encoding": False}}, [(LACKING, "does not know the encoding UTF8")]),
    "the same extension": (with_extension("hstore", OFFERED), []),
    "no such extension": (with_extension("postgis"), [(LACKING, "lacks the extensions postgis")]),
    "a newer extension": (
        with_extension("hstore", dataclasses.replace(OFFERED, version="1.10")),
        [(NOTE, "hstore is 1.10 here, and was 1.4")],
    ),
    "an older extension": (
        with_extension("hstore", dataclasses.replace(OFFERED, version="1.3", leads_here=False)),
        [(SHORT, "hstore is 1.3 here, and was 1.4")],
    ),
    "another version where it has to be the same": (
        with_extension("timescaledb", dataclasses.replace(OFFERED, version="1.5", versions=frozenset({"1.5", "1.3"}))),
        [(LACKING, "needs timescaledb 1.4, and the server has 1.3, 1.5")],
    ),
    "the same one among others": (
        with_extension("timescaledb", dataclasses.replace(OFFERED, version="1.5", versions=frozenset({"1.5", "1.4"}))),
        [],
    ),
    "an extension for superusers": (
        {
            "needs": {"extensions": (Extension("hstore", "1.4"),), "reserved": ()},
            "offers": {"extensions": {"hstore": dataclasses.replace(OFFERED, for_superusers=True)}, "superuser": False},
        },
        [(DOUBT, "hstore may be refused")],
    ),
    "no superuser": ({"offers": {"superuser": False}}, [(DOUBT, "may be refused at event trigger e: only")]),
    "no superuser, and nothing for one": ({"needs": {"reserved": ()}, "offers": {"superuser": False}}, []),
    "an extension that is gone": (
        {"needs": {"extensions": (Extension("adminpack", "2.1"),)}, "offers": {"major": 17}},
        [(SHORT, "left out: the extension adminpack, which PostgreSQL has dropped in 17")],
    ),
    "an extension of one database": (
        with_extension("pg_cron", dataclasses.replace(OFFERED, version="1.6")),
        [(SHORT, "left out: the extension pg_cron, and its own rows")],
    ),
    "one that is not gone yet": (
        {"needs": {"extensions": (Extension("adminpack", "2.1"),)}, "offers": {"major": 16}},
        [(LACKING, "lacks the extensions adminpack")],
    ),
    "no locale": ({"offers": {"locales": frozenset()}}, [(LACKING, "lacks the locales de_DE.utf8")]),
    "no ICU for the database": (
        {"needs": {"provider": "i", "locale": "de", "version": ""}, "offers": {"has_icu": False, "version": ""}},
        [(LACKING, "without ICU, which the database")],
    ),
    "no ICU for a collation": (
        {"needs": with_collation("de-x-icu", "i"), "offers": {"has_icu": False, "collations": frozenset()}},
        [(LACKING, "without ICU, which the collations de-x-icu")],
    ),
    "ICU, but not this name": (
        {"needs": with_collation("tlh-x-icu", "i")},
        [(LACKING, "lacks the collations tlh-x-icu")],
    ),
    "no name, since there is no locale": (
        {"needs": with_collation("fr_FR.utf8", "c", "fr_FR.utf8")},
        [(LACKING, "lacks the locales fr_FR.utf8")],
    ),
    "a locale without a name": (
        {"needs": with_collation("German", "c", "de_DE.utf8")},
        [(LACKING, "lacks the collations German")],
    ),
    "a name that the restore makes": ({"needs": with_collation("German", "c", "de_DE.utf8", of_system=False)}, []),
    "other rules": ({"offers": {"version": "2.41"}}, [(NOTE, "by version 2.41 here, and by 2.36 of de_DE.utf8")]),
    "rules without a version": ({"offers": {"version": ""}}, [(NOTE, "by rules of no known version here")]),
    "a source that could not tell": ({"needs": {"version": ""}}, []),
    "rules of ICU that the server cannot tell": ({"needs": {"provider": "i"}, "offers": {"version": ""}}, []),
}


LEFT_OUT = {"an extension that is gone": ("adminpack",), "an extension of one database": ("pg_cron",)}


@pytest.mark.parametrize("case", CASES)
def test_a_server_is_judged_by(case: str) -> None:
    changes, expected = CASES[case]
    needs = dataclasses.replace(NEEDS, **changes.get("needs", {}))
    offers = dataclasses.replace(OFFERS, **changes.get("offers", {}))
    found = judge(needs, offers)
    assert [difference.grade for difference in found] == [grade for grade, _ in expected]
    for difference, (_, words) in zip(found, expected, strict=True):
        assert words in difference.sentence
    assert left_out(needs, offers) == LEFT_OUT.get(case, ())


def test_all_that_is_lacking_stands_in_one_error_with_what_to_install() -> None:
    needs = dataclasses.replace(NEEDS, major=16, extensions=(Extension("postgis", "3"), Extension("mine", "1")))
    offers = dataclasses.replace(OFFERS, locales=frozenset())
    with pytest.raises(DatabaseRefused) as refusal:
        require(judge(needs, offers), "the place")
    for word in ("the place", "PostgreSQL 16", "postgis, mine", "de_DE.utf8"):
        assert word in str(refusal.value)
    for word in ("postgresql-15-postgis-3", "locales-all"):
        assert word in refusal.value.hint


def test_what_is_not_lacking_stops_nothing() -> None:
    require((Difference(SHORT, "a"), Difference(NOTE, "b"), Difference(DOUBT, "c")), "the place")


# --- asked of real servers ---


@pytest.fixture
def bare(majors: Majors) -> ScratchPostgres:
    """A server of version 16 that was built without ICU, and has hardly an extension."""
    return majors.server_of(CLIENT_16)


SOME = [major for major in MAJORS if WIDE or major != 16]

THERE = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles ORDER BY 1"

OF_ICU = "LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C'"


def newest(store: MemoryStore, **details: str) -> tuple[Backup, object]:
    """The newest backup, with other *details* of its source."""
    writer = opened(store)
    backup = writer.catalog.latest()
    (source,) = backup.manifest.sources
    facts = dataclasses.replace(source.facts, details=tuple((dict(source.facts.details) | details).items()))
    changed = dataclasses.replace(backup.manifest, sources=(dataclasses.replace(source, facts=facts),))
    return dataclasses.replace(backup, manifest=changed), writer


def planned(store: MemoryStore, uri: str, clients: str | None = None, **details: str) -> list[str]:
    backup, writer = newest(store, **details)
    return restore.plan(writer, backup, PostgresTarget(uri, bin_folder=clients), restore.Options())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_everything_that_a_server_lacks_is_named_at_once_and_nothing_is_touched(
    store: MemoryStore, majors: Majors, bare: ScratchPostgres
) -> None:
    before = bare.psql(THERE)
    server = majors.server(16)
    try:
        with new_database(server, options=OF_ICU) as source:
            source.psql("""
                CREATE ROLE only_there;
                CREATE EXTENSION hstore;
                CREATE EXTENSION pg_trgm;
                CREATE TABLE t (a text COLLATE "fr-x-icu");
                ALTER TABLE t OWNER TO only_there;
            """)
            back_up(store, PostgresSource(source.uri, bin_folder=majors.clients))
    finally:
        server.psql("DROP ROLE only_there")
    backup, writer = newest(store, ctype="tlh_QO.utf8")
    target = PostgresTarget(bare.uri("copy"), bin_folder=majors.clients)
    for act in (restore.plan, restore.restore):
        with pytest.raises(DatabaseRefused) as refusal:
            act(writer, backup, target, restore.Options())
        for words in ("hstore, pg_trgm", "without ICU", "tlh_QO.utf8"):
            assert words in str(refusal.value)
    assert bare.psql(THERE) == before


def test_a_server_without_icu_takes_what_does_not_need_it(
    store: MemoryStore, majors: Majors, bare: ScratchPostgres
) -> None:
    with new_database(majors.server(16)) as source:
        source.psql("""CREATE TABLE t AS SELECT 'a'::text COLLATE "C" AS a""")
        back_up(store, PostgresSource(source.uri, bin_folder=majors.clients))
    backup, writer = newest(store)
    with free_name(bare) as copy:
        restore.restore(writer, backup, PostgresTarget(copy.uri, bin_folder=majors.clients), restore.Options())
        assert copy.psql("SELECT a FROM t") == "a"


@pytest.mark.parametrize("major", SOME)
def test_a_collation_that_the_server_lacks_is_missed_beforehand(store: MemoryStore, majors: Majors, major: int) -> None:
    """Of the system's collations, what something depends on; and what somebody made, though nobody uses it."""
    server = majors.server(major)
    with new_database(server) as source, free_name(server) as copy:
        source.psql("""
            CREATE COLLATION made (PROVIDER = icu, LOCALE = 'tlh');
            CREATE TABLE t (a text COLLATE "gsw-x-icu" DEFAULT 'x');
            CREATE VIEW v AS SELECT a COLLATE "dsb-x-icu" AS a FROM t;
        """)
        back_up(store, PostgresSource(source.uri, bin_folder=majors.clients))
        server.psql(
            "UPDATE pg_collation SET collname = 'renamed ' || collname WHERE collname IN ('gsw-x-icu', 'dsb-x-icu')"
        )
        try:
            with pytest.raises(DatabaseRefused, match=r"lacks the collations dsb-x-icu, gsw-x-icu$"):
                planned(store, copy.uri, majors.clients)
        finally:
            server.psql("UPDATE pg_collation SET collname = substr(collname, 9) WHERE collname LIKE 'renamed %'")
        planned(store, copy.uri, majors.clients)


def test_a_locale_that_the_system_lacks_is_missed_beforehand(
    store: MemoryStore, database: Database, pg_target: ScratchPostgres, target_database: Database
) -> None:
    back_up(store, PostgresSource(database.uri))
    with pytest.raises(DatabaseRefused, match=r"lacks the locales tlh_QO\.utf8, xx_YY$"):
        planned(store, target_database.uri, collate="tlh_QO.utf8", ctype="xx_YY")
    assert pg_target.psql("SHOW lc_monetary") != "xx_YY"


@pytest.mark.parametrize("major", [major for major in SOME if major >= 15])
def test_other_rules_of_sorting_are_a_note_beforehand_and_afterwards(
    store: MemoryStore, majors: Majors, major: int
) -> None:
    server = majors.server(major)
    with new_database(server, options=OF_ICU) as source, free_name(server) as copy:
        back_up(store, PostgresSource(source.uri, bin_folder=majors.clients))
        assert not any(step.startswith("note:") for step in planned(store, copy.uri, majors.clients))
        server.psql(f"UPDATE pg_database SET datcollversion = '153.14' WHERE datname = '{source.name}'")
        back_up(store, PostgresSource(source.uri, bin_folder=majors.clients))
        assert any("by 153.14 of de" in step for step in planned(store, copy.uri, majors.clients))
        backup, writer = newest(store)
        done = restore.restore(writer, backup, PostgresTarget(copy.uri, bin_folder=majors.clients), restore.Options())
        assert ["by 153.14 of de" in note for note in done.restored.notes] == [True]


# --- what the plan says ---


def test_the_plan_names_roles_extensions_and_what_will_be_different(
    store: MemoryStore,
    pg_server: ScratchPostgres,
    database: Database,
    pg_target: ScratchPostgres,
    target_database: Database,
) -> None:
    pg_server.psql("CREATE ROLE plan_owner; CREATE ROLE plan_reader")
    pg_target.psql("CREATE ROLE plan_reader; CREATE ROLE plan_weak LOGIN CREATEDB")
    try:
        database.psql("""
            CREATE EXTENSION hstore; CREATE EXTENSION dblink;
            CREATE TABLE t (); ALTER TABLE t OWNER TO plan_owner; GRANT SELECT ON t TO plan_reader;
            CREATE PUBLICATION narrow FOR TABLE t; CREATE PUBLICATION wide FOR ALL TABLES;
            CREATE FUNCTION heard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
            CREATE EVENT TRIGGER hears ON sql_drop EXECUTE FUNCTION heard();
            CREATE FUNCTION inner_one(float8) RETURNS float8 LANGUAGE internal AS 'dsqrt';
        """)
        back_up(store, PostgresSource(database.uri))
        steps = planned(store, target_database.uri)
        assert "create the roles plan_owner" in steps
        version = pg_target.psql("SELECT default_version FROM pg_available_extensions WHERE name = 'hstore'")
        assert any(step.startswith("make the extensions ") and f"hstore {version}" in step for step in steps)
        weak = planned(store, target_database.uri.replace("postgres@", "plan_weak@", 1))
        assert "leave out owners and rights: this role may not create the roles plan_owner" in weak
        assert [step for step in weak if "may be refused" in step] == [
            "note: extension dblink may be refused: only superusers may make it, and this role is none",
            "note: the restore may be refused at event trigger hears, function inner_one, publication wide: only superusers may make them, and this role is none",
        ]
    finally:
        database.drop()
        pg_server.psql("DROP ROLE plan_owner, plan_reader")
        pg_target.psql("DROP ROLE plan_reader, plan_weak")
