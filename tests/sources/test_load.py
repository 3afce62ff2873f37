"""The load a backup is on its source: large tables shared by several readers, and sessions that end with the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
import pytest

from dwebbackup import access, backup, checkpoint, clock, restore
from dwebbackup.cli import show
from dwebbackup.errors import BackupFailed, Damaged
from dwebbackup.manifest import StreamRecord, StreamSpec
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.sources.postgres.connection import Server
from dwebbackup.sources.postgres.cutting import WHOLE, condition, ranges
from dwebbackup.sources.postgres.load import by_table
from faulty import MemoryStore
from fix_majors import WIDE, Majors
from fix_postgres import Database, free_name, new_database
from shelf import stream_of
from sources.same import differences
from synthetic import WRITER, back_up, names, opened, small_pieces

KIB = 1024
PAGE = 8 * KIB

# Rows of several pages' worth of holes, a generated column, nulls, and values beside the pages.
HOLED = """
CREATE TABLE large (id integer PRIMARY KEY, twice integer GENERATED ALWAYS AS (id * 2) STORED, "No''te" text);
ALTER TABLE large ALTER "No''te" SET STORAGE EXTERNAL;
INSERT INTO large (id, "No''te") SELECT n, CASE WHEN n % 3 > 0 THEN repeat(md5(n::text), CASE WHEN n % 100 = 1 THEN 200 ELSE 1 END) END
    FROM generate_series(1, 20000) n;
DELETE FROM large WHERE id BETWEEN 5000 AND 9000 OR id % 7 = 0;
VACUUM large;
CREATE TABLE small AS SELECT n FROM generate_series(1, 100) n;
"""


@pytest.fixture
def holed(database: Database) -> Database:
    database.psql(HOLED)
    return database


def of_rows(specs: Sequence[StreamSpec] | Sequence[StreamRecord], table: str) -> list:
    """The streams of one table's rows, in order."""
    return sorted((spec for spec in specs if spec.path[1:] == (table,)), key=lambda spec: spec.part)


# --- which tables are cut, and where ---


@pytest.mark.parametrize(
    ("size", "total", "jobs", "cut"),
    [
        (100, 100, 2, True),  # a table on its own, two readers
        (100, 100, 1, False),  # one reader
        (100, 200, 2, False),  # two alike, a reader each
        (100, 200, 3, True),
        (101, 200, 2, True),
        (100, 1000, 4, False),  # enough to do for all
        (100, 399, 4, True),
        (10, 10, 8, False),  # too small to be cut
        (11, 11, 8, True),
        (0, 0, 2, False),
    ],
)
def test_a_table_is_cut_when_its_reader_would_be_the_last_one_busy(size, total, jobs, cut):
    parts = ranges(size * PAGE, size, total * PAGE, jobs, 10 * PAGE)
    assert (parts != WHOLE) == (len(parts) > 1) == cut


def test_rows_that_cannot_be_asked_for_by_page_are_not_cut():
    assert ranges(1000 * PAGE, 0, 1000 * PAGE, 2, PAGE) == WHOLE


@pytest.mark.parametrize("pages", [17, 64, 1000, 4097])
def test_the_ranges_follow_each_other_from_the_first_page_to_the_open_end(pages):
    parts = ranges(pages * PAGE, pages, pages * PAGE, 2, 16 * PAGE)
    assert [first for first, _ in parts] == [0, *(behind for _, behind in parts[:-1])]
    assert parts[-1][1] is None
    assert parts[-1][0] < pages


def test_a_table_that_grew_is_cut_where_it_was_cut_before():
    before = ranges(1000 * PAGE, 1000, 1000 * PAGE, 2, 100 * PAGE)
    after = ranges(5005 * PAGE, 5000, 5005 * PAGE, 2, 100 * PAGE)
    assert set(before[:-1]) < set(after)
    assert len(before) == 8


def test_a_table_whose_rows_are_stored_beside_its_pages_is_cut_by_what_there_is_to_read():
    assert len(ranges(100 * PAGE, 10, 100 * PAGE, 2, 10 * PAGE)) == 10


def test_a_range_is_asked_for_by_the_places_of_rows():
    assert condition((0, 8)) == "WHERE ctid < '(8,0)'"
    assert condition((8, 16)) == "WHERE ctid >= '(8,0)' AND ctid < '(16,0)'"
    assert condition((16, None)) == "WHERE ctid >= '(16,0)'"


# --- out and back ---


def cut_source(database: Database, **more: object) -> PostgresSource:
    return PostgresSource(database.uri, piece=256 * KIB, **more)


def plans(database: Database, specs: Sequence[StreamSpec]) -> list[str]:
    """How the server would read each of these streams."""
    with Server(database.uri).connect() as connection:
        return [str(connection.execute(f"EXPLAIN {spec.tag[1:-1]}").fetchone()) for spec in specs]  # type: ignore[arg-type]


def test_every_part_of_a_cut_table_is_read_without_the_pages_of_the_others(holed: Database):
    """And in the order of its rows, whatever the database prefers."""
    for setting in ("enable_tidscan", "parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        holed.psql(f'ALTER DATABASE "{holed.name}" SET {setting} = 0')
    with cut_source(holed).dump() as dump:
        parts = of_rows(dump.specs, "large")
        assert of_rows(dump.specs, "small")[0].tag == '"public"."small" ("n")'
    assert len(parts) > 3
    assert all("Tid Range Scan" in plan and "Gather" not in plan for plan in plans(holed, parts))


@pytest.mark.parametrize("jobs", [2, 3])
def test_a_cut_table_comes_back_whole_and_in_its_order(holed: Database, target_database: Database, jobs: int):
    store = MemoryStore()
    done = back_up(store, cut_source(holed, jobs=jobs), jobs=jobs)
    parts = of_rows(done.backup.manifest.sources[0].streams, "large")
    assert [part.part for part in parts] == list(range(len(parts)))
    assert len(parts) > 3
    assert sum(part.rows for part in parts) == int(holed.psql("SELECT count(*) FROM large"))
    writer = opened(store)
    target = PostgresTarget(target_database.uri)
    result = restore.restore(writer, writer.catalog.latest(), target, restore.Options(jobs=jobs)).restored
    assert (result.tables, result.rows) == (2, sum(part.rows for part in parts) + 100)
    assert differences(holed.uri, target_database.uri) == []
    in_order = "SELECT md5(string_agg(id::text, ',' ORDER BY ctid)) FROM large"
    assert target_database.psql(in_order) == holed.psql(in_order)
    assert target_database.psql("SELECT count(DISTINCT xmin::text) FROM large") == "1", "not one transaction"
    shown = "\n".join(show._lines(done.backup, done.backup.manifest))
    assert "public.large part 2" in shown


def test_what_is_appended_behind_the_last_page_meanwhile_is_not_in_the_backup(holed: Database):
    count = "SELECT count(*) FROM large"
    before = holed.psql(count)

    class Growing(MemoryStore):
        def put(self, name: str, data: bytes) -> tuple[str, ...]:
            if "/packs/" in name and holed.psql(count) == before:
                holed.psql("INSERT INTO large SELECT n FROM generate_series(100000, 110000) n")
            return super().put(name, data)

    with small_pieces():
        done = back_up(Growing(), cut_source(holed))
    parts = of_rows(done.backup.manifest.sources[0].streams, "large")
    assert int(holed.psql(count)) > int(before) == sum(part.rows for part in parts)


def test_a_row_that_changed_concerns_its_own_part_only(holed: Database):
    store = MemoryStore()
    first = back_up(store, cut_source(holed))
    holed.psql("DELETE FROM large WHERE id = 10000")
    second = back_up(store, cut_source(holed))
    before, after = (
        [(part.bytes, part.rows) for part in of_rows(done.backup.manifest.sources[0].streams, "large")]
        for done in (first, second)
    )
    assert len(before) == len(after) > 3
    assert len([pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]) == 1
    assert second.bytes_stored < first.bytes_stored / 4


@pytest.mark.parametrize("major", [13, 14, 18] if WIDE else [18])
def test_tables_are_cut_since_14(majors: Majors, major: int):
    """Before, the whole table would be read for every part."""
    server = majors.server(major)
    with new_database(server) as source, free_name(server) as copy:
        source.psql(HOLED)
        store = MemoryStore()
        done = back_up(store, cut_source(source, bin_folder=majors.clients))
        parts = of_rows(done.backup.manifest.sources[0].streams, "large")
        assert (len(parts) > 1) == (major >= 14)
        writer = opened(store)
        target = PostgresTarget(copy.uri, bin_folder=majors.clients)
        restore.restore(writer, writer.catalog.latest(), target, restore.Options())
        assert differences(source.uri, copy.uri, majors.pg_dump(major)) == []


# --- parts that do not fit together ---


def part(number: int, **changes: object) -> StreamRecord:
    return stream_of([], part=number, **changes)


def test_the_parts_of_a_table_are_put_in_order():
    other = part(0, path=("public", "u"))
    assert by_table([part(2), other, part(0), part(1)]) == [[part(0), part(1), part(2)], [other]]


@pytest.mark.parametrize(
    "parts",
    [[part(1)], [part(0), part(2)], [part(0), part(0)], [part(0), part(1, columns=("b",))]],
    ids=["without its first", "with a gap", "twice the same", "with other columns"],
)
def test_parts_that_do_not_make_a_whole_are_refused(parts):
    with pytest.raises(Damaged, match="do not make a whole"):
        by_table(parts)


# --- how long the sessions last ---


OURS = """SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dwebbackup%' AND datname = current_database()
    AND pid <> pg_backend_pid()"""


class Alone(MemoryStore):
    """Answers a put of what *which* picks only when no session of the backup is left in *database*."""

    def __init__(self, database: Database, which: str) -> None:
        super().__init__()
        self._uri = database.uri
        self._which = which
        self.waited: list[str] = []

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        if self._which in name:
            self.begin()
            self.waited.append(name)
            wait_until_alone(self._uri)
        return super().put(name, data)

    def begin(self) -> None:
        """Called before it waits."""


def wait_until_alone(uri: str) -> None:
    deadline = clock.now() + 60
    with psycopg.connect(uri, autocommit=True) as connection:
        while connection.execute(OURS).fetchone() != (0,):
            assert clock.now() < deadline, "the backup's sessions wait for the store"
            connection.execute("SELECT pg_sleep(0.01)")


@pytest.fixture
def small() -> Iterator[pytest.MonkeyPatch]:
    with small_pieces() as patch:
        yield patch


def test_no_session_waits_for_the_last_packs(small: pytest.MonkeyPatch, database: Database):
    """Two full packs are under way, and the third is all that is left."""
    database.psql("CREATE TABLE t AS SELECT md5(n::text) AS md5 FROM generate_series(1, 6500) n")
    store = Alone(database, "/packs/")
    done = back_up(store, PostgresSource(database.uri))
    assert done.backup.manifest.packs == len(store.waited) == 3


def test_the_sessions_of_a_snapshot_that_is_open_for_too_long_end_at_once(
    small: pytest.MonkeyPatch, database: Database
):
    """Though the store, and so the run, still hangs."""
    now = [clock.monotonic()]
    small.setattr(clock, "monotonic", lambda: now[0])
    database.psql("CREATE TABLE t AS SELECT md5(n::text) AS md5 FROM generate_series(1, 50000) n")

    class Slow(Alone):
        def begin(self) -> None:
            now[0] += 2 * checkpoint.RENEWED_EVERY

    store = Slow(database, "/packs/")
    options = backup.Options(max_snapshot=checkpoint.RENEWED_EVERY)
    with pytest.raises(BackupFailed, match="--max-snapshot"):
        backup.back_up([PostgresSource(database.uri)], access.below(store, WRITER.id), WRITER, options)
    assert store.waited
    assert names(store, "manifests/") == set()


def test_the_manifest_says_how_long_the_snapshot_was_open(small: pytest.MonkeyPatch, database: Database):
    """From its beginning to the last row; what is stored afterwards counts no more."""
    now = [clock.monotonic()]
    small.setattr(clock, "monotonic", lambda: now[0])

    class Later(Alone):
        def begin(self) -> None:
            now[0] += 1000

    class Slowly(backup.Quiet):
        def begin(self, what: str, total: int | None) -> None:
            now[0] += 10

    options = backup.Options(progress=Slowly())
    store = access.below(Later(database, "/packs/"), WRITER.id)
    done = backup.back_up([PostgresSource(database.uri)], store, WRITER, options)
    assert done.backup.manifest.sources[0].facts.snapshot_seconds == 10
    assert done.seconds > 1000
