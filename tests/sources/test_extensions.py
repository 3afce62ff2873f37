"""Extensions there and back: their own rows, other versions, PostGIS, pgvector, TimescaleDB, and those that are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused, WrongConfiguration
from dwebbackup.ports import Restored
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from faulty import MemoryStore
from fix_majors import CLIENT_18, WIDE, Majors
from fix_postgres import Database, free_name, new_database
from sources.same import differences
from synthetic import back_up, opened


def bring_back(store: MemoryStore, uri: str, clients: str | None = None) -> Restored:
    writer = opened(store)
    target = PostgresTarget(uri, bin_folder=clients)
    return restore.restore(writer, writer.catalog.latest(), target, restore.Options()).restored


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


Offer = Callable[[str, str, Mapping[str, str]], None]


@pytest.fixture
def offer(pg_server: ScratchPostgres) -> Iterator[Offer]:
    """Lets both servers offer an extension, in place of the machine's: its name, the version that it has by default,
    and its scripts.
    """
    folder = Path(pg_server.psql("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'")) / "extension"
    written: set[Path] = set()
    of_the_machine: dict[Path, Path] = {}

    def clear(name: str) -> None:
        for path in (folder / f"{name}.control", *folder.glob(f"{name}--*.sql")):
            if path.is_symlink():
                of_the_machine[path] = path.readlink()
            path.unlink(missing_ok=True)
            written.discard(path)

    def offer(name: str, version: str, scripts: Mapping[str, str]) -> None:
        clear(name)
        files = {f"{name}.control": f"default_version = '{version}'\n"}
        files |= {f"{name}--{versions}.sql": script for versions, script in scripts.items()}
        for file, text in files.items():
            (folder / file).write_text(text)
            written.add(folder / file)

    yield offer
    for path in written:
        path.unlink()
    for path, target in of_the_machine.items():
        path.symlink_to(target)


# --- rows of their own ---

FAMILY = """
CREATE TABLE public.a_child (id integer PRIMARY KEY, parent integer, pad text);
CREATE TABLE public.b_parent (id serial PRIMARY KEY, root integer);
CREATE TABLE public.c_root (id integer PRIMARY KEY, above integer REFERENCES public.c_root);
ALTER TABLE public.a_child ADD FOREIGN KEY (parent) REFERENCES public.b_parent;
ALTER TABLE public.b_parent ADD FOREIGN KEY (root) REFERENCES public.c_root;
SELECT pg_extension_config_dump('public.a_child', '');
SELECT pg_extension_config_dump('public.b_parent', '');
SELECT pg_extension_config_dump('public.c_root', '');
CREATE FUNCTION public.is_child(integer) RETURNS boolean LANGUAGE sql
    AS 'SELECT EXISTS (SELECT FROM public.a_child WHERE id = $1)';
"""


def test_tables_of_an_extension_are_filled_in_the_order_of_their_keys_and_before_all_others(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database
) -> None:
    """The largest refers to the others; and a table of the user's has a check that asks it."""
    offer("family", "1.0", {"1.0": FAMILY})
    database.psql("""
        CREATE EXTENSION family;
        INSERT INTO c_root VALUES (1, 2), (2, NULL);
        INSERT INTO b_parent (root) VALUES (1), (2);
        INSERT INTO a_child SELECT n, 1 + n % 2, repeat(md5(n::text), 10) FROM generate_series(1, 200) n;
        CREATE TABLE users (id integer CHECK (is_child(id)), pad text);
        INSERT INTO users SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 200) n;
    """)
    back_up(store, PostgresSource(database.uri))
    bring_back(store, target_database.uri)
    assert differences(database.uri, target_database.uri) == []
    target_database.psql("INSERT INTO b_parent (root) VALUES (1)")  # its sequence goes on where it was


def test_rows_whose_keys_a_newer_version_of_the_extension_has_itself_stay_as_it_has_them(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database
) -> None:
    """As a reference system that somebody entered, and a later PostGIS knows."""
    made = """CREATE TABLE public.known (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, mine boolean DEFAULT true);
        SELECT pg_extension_config_dump('public.known', 'WHERE mine');"""
    offer("system", "1.0", {"1.0": made})
    database.psql("CREATE EXTENSION system; INSERT INTO known (name) VALUES ('a'), ('b'), ('c')")
    back_up(store, PostgresSource(database.uri))
    offer(
        "system", "1.1", {"1.1": made + "INSERT INTO public.known (name, mine) VALUES ('new', false)", "1.0--1.1": ""}
    )
    restored = bring_back(store, target_database.uri)
    assert target_database.psql("SELECT name FROM known ORDER BY id") == "new\nb\nc"
    (shortfall,) = restored.shortfalls
    assert shortfall.startswith('1 rows of "public"."known" were left out')


# --- other versions ---


def versions(store: MemoryStore, offer: Offer, database: Database, later: Mapping[str, str], default: str) -> None:
    """A backup with version 1.0 of an extension, of which the servers then have others."""
    offer("versioned", "1.0", {"1.0": "CREATE FUNCTION public.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'"})
    database.psql("CREATE EXTENSION versioned")
    back_up(store, PostgresSource(database.uri))
    database.psql("DROP EXTENSION versioned")
    offer("versioned", default, later)


def test_a_newer_version_of_an_extension_is_a_note(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database
) -> None:
    later = "CREATE FUNCTION public.two() RETURNS integer LANGUAGE sql AS 'SELECT 2'"
    versions(store, offer, database, {"1.10": later, "1.0--1.9": "", "1.9--1.10": ""}, "1.10")
    restored = bring_back(store, target_database.uri)
    assert restored.notes == ("extension versioned is 1.10 here, and was 1.0",)
    assert restored.shortfalls == ()
    assert target_database.psql("SELECT two()") == "2"


@pytest.mark.parametrize("scripts", [{"0.9": ""}, {"0.9": "", "0.9--1.0": ""}])
def test_a_version_of_an_extension_to_which_nothing_leads_comes_short(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database, scripts: Mapping[str, str]
) -> None:
    versions(store, offer, database, scripts, "0.9")
    restored = bring_back(store, target_database.uri)
    assert restored.notes == ()
    assert [shortfall.partition(",")[0] for shortfall in restored.shortfalls] == ["extension versioned is 0.9 here"]


def test_extensions_that_postgresql_has_dropped_are_left_out(store: MemoryStore, majors: Majors) -> None:
    older, newer = majors.server(16), majors.server(18)
    with new_database(older) as database, free_name(newer) as copy:
        database.psql("""
            CREATE EXTENSION adminpack; CREATE EXTENSION old_snapshot;
            COMMENT ON EXTENSION adminpack IS 'mine';
            GRANT EXECUTE ON FUNCTION pg_logdir_ls() TO pg_monitor;
            CREATE TABLE t AS SELECT 1 AS a;
            SELECT lo_from_bytea(7, 'large');
        """)
        back_up(store, PostgresSource(database.uri, bin_folder=majors.clients))
        restored = bring_back(store, copy.uri, majors.clients)
        assert copy.psql("SELECT a FROM t") == "1"
        assert copy.psql("SELECT convert_from(lo_get(7), 'UTF8')") == "large"
    left_out = [shortfall for shortfall in restored.shortfalls if "left out" in shortfall]
    assert [shortfall.split()[4] for shortfall in left_out] == ["adminpack,", "old_snapshot,"]


SCHEDULER = """
DO $$BEGIN IF current_database() <> '{}' THEN RAISE 'can only create extension in database {}'; END IF; END$$;
CREATE SCHEMA cron;
CREATE TABLE cron.job (jobid bigserial PRIMARY KEY, command text);
SELECT pg_extension_config_dump('cron.job', '');
SELECT pg_extension_config_dump('cron.job_jobid_seq', '');
CREATE FUNCTION cron.schedule(text) RETURNS bigint LANGUAGE sql
    AS 'INSERT INTO cron.job (command) VALUES ($1) RETURNING jobid';
"""


def test_a_database_comes_back_without_the_scheduler_that_can_only_be_in_one_database(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database
) -> None:
    offer("pg_cron", "1.6", {"1.6": SCHEDULER.format(database.name, database.name)})
    database.psql("""
        CREATE EXTENSION pg_cron;
        COMMENT ON EXTENSION pg_cron IS 'mine';
        SELECT cron.schedule('VACUUM');
        GRANT USAGE ON SCHEMA cron TO pg_monitor;
        GRANT SELECT, INSERT ON cron.job TO pg_monitor;
        GRANT EXECUTE ON FUNCTION cron.schedule(text) TO pg_monitor WITH GRANT OPTION;
        CREATE TABLE t (a serial);
        INSERT INTO t DEFAULT VALUES;
        CREATE FUNCTION nightly() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RETURN cron.schedule('SELECT 1'); END$$;
    """)
    back_up(store, PostgresSource(database.uri))
    restored = bring_back(store, target_database.uri)
    assert ["pg_cron" in shortfall for shortfall in restored.shortfalls] == [True]
    assert (
        target_database.psql(
            "INSERT INTO t DEFAULT VALUES; SELECT a FROM t; SELECT count(*) FROM pg_namespace WHERE nspname = 'cron'"
        )
        == "1\n2\n0"
    )


# --- PostGIS, pgvector ---

GEOMETRY = r"""
CREATE EXTENSION postgis; CREATE EXTENSION postgis_raster; CREATE EXTENSION postgis_topology;
INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, proj4text)
    VALUES (990001, 'mine', 1, '+proj=tmerc +lat_0=50 +lon_0=10 +ellps=WGS84 +units=m');
CREATE TABLE places (id serial PRIMARY KEY, at geometry(Point, 4326), area geography(Polygon), odd geometry(Point, 990001),
    CHECK (ST_SRID(ST_Transform(at, 990001)) = 990001));
INSERT INTO places (at, area, odd)
    SELECT p, ST_Buffer(p::geography, 100), ST_Transform(p, 990001)
    FROM (SELECT ST_SetSRID(ST_Point(n / 10.0, n / 20.0), 4326) AS p FROM generate_series(1, 200) n) AS points;
CREATE INDEX ON places USING gist (at);
CREATE INDEX ON places USING gist (ST_Transform(at, 990001));
CREATE INDEX ON places USING spgist (at);
CREATE MATERIALIZED VIEW hull AS SELECT ST_ConvexHull(ST_Collect(ST_Transform(at, 990001))) AS hull FROM places;
CREATE TABLE tiles (id integer PRIMARY KEY, rast raster);
INSERT INTO tiles
    SELECT n, ST_AddBand(ST_MakeEmptyRaster(10, 10, n, n, 1, -1, 0, 0, 4326), '8BUI'::text, n, 0) FROM generate_series(1, 5) n;
SELECT AddRasterConstraints('tiles'::name, 'rast'::name);
CREATE INDEX ON tiles USING gist (ST_ConvexHull(rast));
SELECT topology.CreateTopology('roads', 4326);
CREATE TABLE road (id serial PRIMARY KEY);
SELECT topology.AddTopoGeometryColumn('roads', 'public', 'road', 'course', 'LINE');
INSERT INTO road (course) SELECT topology.toTopoGeom(ST_GeomFromText('LINESTRING(0 0, 1 1)', 4326), 'roads', 1);
"""


def test_postgis_comes_back_with_its_users_reference_systems_rasters_and_topologies(
    store: MemoryStore, database: Database, target_database: Database
) -> None:
    database.psql(GEOMETRY)
    back_up(store, PostgresSource(database.uri))
    assert bring_back(store, target_database.uri).shortfalls == ()
    assert differences(database.uri, target_database.uri) == []
    near = "SELECT id FROM places ORDER BY at <-> 'SRID=4326;POINT(3 2)' LIMIT 3"
    assert target_database.psql(near) == database.psql(near)
    target_database.psql("SELECT topology.CreateTopology('rivers')")  # its number is a new one


VECTORS = """
CREATE EXTENSION vector;
CREATE TABLE items (id integer PRIMARY KEY, embedding vector(8), small halfvec(8), bits bit(8), sparse sparsevec(8));
INSERT INTO items SELECT n, v::vector, v::halfvec, (n % 256)::bit(8), v::vector::sparsevec
    FROM (SELECT n, ARRAY(SELECT sin(n * k) FROM generate_series(1, 8) k)::real[] AS v FROM generate_series(1, 300) n) AS s;
CREATE INDEX ON items USING hnsw (embedding vector_l2_ops) WITH (m = 8, ef_construction = 32);
CREATE INDEX ON items USING ivfflat (small halfvec_cosine_ops) WITH (lists = 5);
CREATE INDEX ON items USING hnsw (bits bit_hamming_ops);
"""


def test_pgvector_comes_back_with_its_indexes(store: MemoryStore, majors: Majors) -> None:
    server = majors.server_of(CLIENT_18)
    with new_database(server) as database, free_name(server) as copy:
        database.psql(VECTORS)
        back_up(store, PostgresSource(database.uri, bin_folder=str(CLIENT_18)))
        bring_back(store, copy.uri, str(CLIENT_18))
        assert differences(database.uri, copy.uri, CLIENT_18 / "pg_dump") == []
        near = "SET enable_seqscan = off; SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 7) LIMIT 1"
        assert copy.psql(near) == "7"


# --- TimescaleDB ---

# what it does is what a restore has to call, and what it does with rows of its own
PRETENDER = """
CREATE SCHEMA heard;
CREATE TABLE heard.calls (at serial, what text);
CREATE TABLE heard.settings (name text PRIMARY KEY, value text);
INSERT INTO heard.settings VALUES ('uuid', 'of the installation'), ('shared', 'old');
SELECT pg_extension_config_dump('heard.settings', $$WHERE name <> 'uuid'$$);
CREATE FUNCTION heard.settle() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN UPDATE heard.settings SET value = NEW.value WHERE name = NEW.name; RETURN CASE WHEN NOT FOUND THEN NEW END; END$$;
CREATE TRIGGER settle BEFORE INSERT ON heard.settings FOR EACH ROW EXECUTE FUNCTION heard.settle();
CREATE FUNCTION heard.note(what text) RETURNS boolean LANGUAGE sql AS $$
    INSERT INTO heard.calls (what) SELECT what || ': ' || coalesce(string_agg(relname, ' ' ORDER BY relname), 'nothing')
        FROM pg_class WHERE relnamespace = 'public'::regnamespace;
    SELECT true
$$;
CREATE FUNCTION public.timescaledb_pre_restore() RETURNS boolean LANGUAGE sql AS $$SELECT heard.note('before')$$;
CREATE FUNCTION public.timescaledb_post_restore() RETURNS boolean LANGUAGE sql AS $$SELECT heard.note('after')$$;
"""


def test_timescaledb_is_made_first_in_its_old_version_and_told_of_the_restore(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database
) -> None:
    offer("timescaledb", "2.0", {"2.0": PRETENDER})
    database.psql("CREATE EXTENSION timescaledb; UPDATE heard.settings SET value = 'mine' WHERE name = 'shared'")
    database.psql("CREATE TABLE t AS SELECT 1 AS a; CREATE INDEX i ON t (a)")
    back_up(store, PostgresSource(database.uri))
    offer("timescaledb", "2.1", {"2.0": PRETENDER, "2.1": "SELECT 1 / 0", "2.0--2.1": ""})
    bring_back(store, target_database.uri)
    assert target_database.psql("SELECT what FROM heard.calls ORDER BY at") == "before: nothing\nafter: i t"
    assert target_database.psql("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'") == "2.0"
    assert target_database.psql("SELECT value FROM heard.settings ORDER BY name") == "mine\nof the installation"


def test_timescaledb_in_another_version_is_refused_before_anything_is_touched(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database
) -> None:
    offer("timescaledb", "2.0", {"2.0": PRETENDER})
    database.psql("CREATE EXTENSION timescaledb")
    back_up(store, PostgresSource(database.uri))
    offer("timescaledb", "2.1", {"2.1": PRETENDER, "2.0--2.1": ""})
    with pytest.raises(DatabaseRefused, match=r"needs timescaledb 2\.0, and the server has 2\.1$"):
        bring_back(store, target_database.uri)
    assert not target_database.exists()


def test_with_timescaledb_nobody_gets_only_some_tables(
    store: MemoryStore, offer: Offer, database: Database, target_database: Database
) -> None:
    offer("timescaledb", "2.0", {"2.0": PRETENDER})
    database.psql("CREATE EXTENSION timescaledb; CREATE TABLE t ()")
    back_up(store, PostgresSource(database.uri))
    writer = opened(store)
    with pytest.raises(WrongConfiguration, match="only as a whole"):
        restore.restore(
            writer, writer.catalog.latest(), PostgresTarget(target_database.uri), restore.Options(tables=("t",))
        )


SERIES = """
CREATE EXTENSION timescaledb;
CREATE TABLE measured (at timestamptz NOT NULL, device integer, value float8, PRIMARY KEY (at, device));
SELECT create_hypertable('measured', 'at', chunk_time_interval => interval '1 day');
INSERT INTO measured SELECT '2026-01-01'::timestamptz + n * interval '1 hour', n % 5, n FROM generate_series(1, 1000) n;
CREATE INDEX ON measured (device, at DESC);
CREATE TABLE spread (at timestamptz NOT NULL, device integer, value float8);
SELECT create_hypertable('spread', 'at', 'device', 3);
INSERT INTO spread SELECT at, device, value FROM measured;
CREATE TRIGGER needless BEFORE UPDATE ON measured FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE VIEW daily AS SELECT time_bucket('1 day', at) AS day, avg(value) FROM measured GROUP BY 1;
"""


@pytest.mark.skipif(not WIDE, reason="only a rolling release of Debian has it")
def test_the_real_timescaledb_comes_back_and_goes_on(store: MemoryStore, majors: Majors) -> None:
    with (
        majors.timescale() as server,
        majors.timescale() as target,
        new_database(server) as database,
        free_name(target) as copy,
    ):
        database.psql(SERIES)
        back_up(store, PostgresSource(database.uri, bin_folder=majors.clients))
        assert bring_back(store, copy.uri, majors.clients).shortfalls == ()
        found = differences(database.uri, copy.uri, majors.pg_dump(18))
        assert [piece for piece in found if not piece.startswith(OF_ITS_OWN)] == []
        copy.psql("INSERT INTO measured VALUES ('2026-01-03 00:30', 1, 1), ('2027-01-01', 1, 1)")
        assert copy.psql("SELECT count(*) FROM measured; SELECT count(*) FROM show_chunks('measured')") == "1002\n43"


OF_ITS_OWN = (
    "rows of _timescaledb_catalog.metadata:",
    "rows of _timescaledb_internal.",
    "sequence _timescaledb_internal.",
)
"""The installation's own number, and what its workers write down."""
