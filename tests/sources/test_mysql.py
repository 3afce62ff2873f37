"""MariaDB there and back: the nastiest database, other names and ways, equal bytes for equal rows, only some tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dwebbackup import assemble, restore
from dwebbackup.config import Config
from dwebbackup.config.urls import parse_source
from dwebbackup.errors import WrongConfiguration
from dwebbackup.sources.mysql import MysqlSource, MysqlTarget
from dwebbackup.stores.local import LocalStore
from fix_mysql import MysqlServer, Schema, new_schema
from sources.nasty_mysql import fill_nasty
from sources.same_mysql import differences
from synthetic import back_up, opened


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.prepare()
    return store


@pytest.fixture(scope="module")
def nasty(mariadb: MysqlServer) -> Iterator[Schema]:
    """It is shared: nobody may change it."""
    with new_schema(mariadb, "nasty `db` ü") as schema:
        fill_nasty(schema)
        yield schema


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_a_configuration_leads_to_it(schema: Schema, scheme: str) -> None:
    url = schema.url.replace("mysql://", f"{scheme}://") + "&name=shop"
    (source,) = assemble.sources(Config(sources=(parse_source(url),)))
    target = assemble.target(Config(target=schema.url.replace("mysql://", f"{scheme}://")))
    assert (source.name, source.condition().state) == ("shop", "empty")
    assert target.url == f"mysql://root@localhost:3306/{schema.name}"


def bring_back(store: LocalStore, target: Schema, jobs: int = 2, tables: tuple[str, ...] = ()) -> restore.Done:
    writer = opened(store)
    options = restore.Options(jobs=jobs, tables=tables)
    return restore.restore(writer, writer.catalog.latest(), MysqlTarget(target.url), options)


def test_the_nasty_database_comes_back_under_another_name(store: LocalStore, nasty: Schema, target: Schema) -> None:
    back_up(store, MysqlSource(nasty.url), jobs=2)
    bring_back(store, target)
    assert differences(nasty, target) == []


def test_it_comes_back_where_the_server_takes_no_rows_by_load_data(
    store: LocalStore, nasty: Schema, target: Schema
) -> None:
    back_up(store, MysqlSource(nasty.url))
    nasty.server.execute("SET GLOBAL local_infile = 0")
    try:
        bring_back(store, target)
    finally:
        nasty.server.execute("SET GLOBAL local_infile = 1")
    assert differences(nasty, target) == []


def test_it_comes_back_under_its_own_name(store: LocalStore, mariadb: MysqlServer, target: Schema) -> None:
    with new_schema(mariadb) as source:
        fill_nasty(source)
        back_up(store, MysqlSource(source.url))
        bring_back(store, target)
        source.drop()
        bring_back(store, source)
        assert differences(target, source) == []


def test_rows_are_counted_by_the_server(store: LocalStore, schema: Schema, target: Schema) -> None:
    schema.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)", "INSERT INTO t SELECT seq, 'a\\nb' FROM seq_1_to_1234"
    )
    done = back_up(store, MysqlSource(schema.url))
    (source,) = done.backup.manifest.sources
    assert {stream.label: stream.rows for stream in source.streams} == {"schema": None, "rows.t": 1234}
    assert bring_back(store, target).restored.rows == 1234


def test_equal_rows_are_equal_bytes_whatever_way_they_came(store: LocalStore, mariadb: MysqlServer) -> None:
    with new_schema(mariadb) as one, new_schema(mariadb) as other:
        for schema, order in ((one, "seq"), (other, "-seq")):
            schema.execute(
                # an engine that gives rows in the order in which they came, unless it is asked for another
                "CREATE TABLE t (a INT, b VARCHAR(40), PRIMARY KEY (b, a), KEY (a)) ENGINE = MyISAM",
                f"INSERT INTO t SELECT seq, sha1(seq) FROM seq_1_to_20000 ORDER BY {order}",
            )
        first = back_up(store, MysqlSource(one.url, "app"))
        second = back_up(store, MysqlSource(other.url, "app"))
        assert second.bytes_stored < first.bytes_stored / 10  # what is new is the schema's name


def test_an_empty_database_comes_back(store: LocalStore, mariadb: MysqlServer, target: Schema) -> None:
    with new_schema(mariadb, options="CHARACTER SET gbk COLLATE gbk_bin") as source:
        back_up(store, MysqlSource(source.url))
        bring_back(store, target)
        assert target.exists()
        assert differences(source, target) == []


def test_only_some_tables_come_back_with_what_hangs_on_them(store: LocalStore, nasty: Schema, target: Schema) -> None:
    back_up(store, MysqlSource(nasty.url))
    done = bring_back(store, target, tables=("numbered", "par*", f"{nasty.name}.log"))
    assert {row[0] for row in target.execute("SHOW TABLES")} == {"log", "numbered", "numbers", "parts"}
    assert any("only some tables" in note for note in done.restored.notes)
    with pytest.raises(WrongConfiguration, match="no table nowhere"):
        bring_back(store, target, tables=("nowhere",))


def test_what_a_backup_tells_of_its_source(store: LocalStore, nasty: Schema) -> None:
    (source,) = back_up(store, MysqlSource(nasty.url)).backup.manifest.sources
    facts = source.facts
    told = " ".join(facts.notes)
    assert (facts.kind, facts.database, facts.encoding) == ("mysql", nasty.name, "utf8mb4")
    assert facts.server_version.startswith("MariaDB 10.")
    assert "old_engine (MyISAM)" in told
    assert "history" in told
    ((file, at, *_),) = nasty.server.execute("SHOW MASTER STATUS")
    assert facts.detail("binlog") == f"{file}:{at}"


def test_more_rows_than_fit_into_a_pipe_come_through_one_worker(
    store: LocalStore, schema: Schema, target: Schema
) -> None:
    schema.execute(
        "CREATE TABLE big (id INT PRIMARY KEY, v MEDIUMTEXT)",
        "INSERT INTO big SELECT seq, repeat(sha1(seq), 30000) FROM seq_1_to_12",
        "CREATE TABLE many (id INT PRIMARY KEY, v INT)",
        "INSERT INTO many SELECT seq, seq FROM seq_1_to_50000",
    )
    back_up(store, MysqlSource(schema.url, jobs=1))
    bring_back(store, target, jobs=1)
    assert differences(schema, target) == []


def test_words_in_what_runs_keep_every_character(store: LocalStore, schema: Schema, target: Schema) -> None:
    """The catalog that describes triggers has no room for four bytes of a character."""
    schema.execute(
        "CREATE TABLE t (v VARCHAR(20), d VARCHAR(20) DEFAULT '😀ü' COMMENT '😀')",
        "CREATE TRIGGER mark BEFORE INSERT ON t FOR EACH ROW SET NEW.v = '😀ü?'",
        "CREATE VIEW shown AS SELECT '😀ü' AS v",
        "CREATE FUNCTION said() RETURNS VARCHAR(20) CHARACTER SET utf8mb4 NO SQL RETURN '😀ü'",
    )
    back_up(store, MysqlSource(schema.url))
    bring_back(store, target)
    target.execute("INSERT INTO t () VALUES ()")
    assert target.execute("SELECT t.v, t.d, shown.v, said() FROM t, shown") == [("😀ü?", "😀ü", "😀ü", "😀ü")]


def test_defaults_that_are_no_text_come_back(store: LocalStore, schema: Schema, target: Schema) -> None:
    schema.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, b VARBINARY(9) DEFAULT X'FF00E90A5C27', c BINARY(3) DEFAULT X'00FF00',"
        " l VARCHAR(9) CHARACTER SET latin1 DEFAULT X'E9', g VARCHAR(9) CHARACTER SET gbk DEFAULT X'D55C',"
        " z TIMESTAMP NULL DEFAULT '2026-07-01 12:00:00', n DATETIME DEFAULT '0000-00-00 00:00:00')"
    )
    back_up(store, MysqlSource(schema.url))
    bring_back(store, target)
    for each in (schema, target):
        each.execute("INSERT INTO t (id) VALUES (1)")
    assert differences(schema, target) == []
