"""A MariaDB target before, during and after a restore: what is in the way, what is kept, what a failure leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dwebbackup import restore
from dwebbackup.errors import Damaged, DatabaseRefused, RestoreFailed, StoreUnreachable, TargetNotEmpty
from dwebbackup.manifest import StreamRecord
from dwebbackup.ports import StreamReader
from dwebbackup.sources.mysql import MysqlSource, MysqlTarget, load
from dwebbackup.sources.mysql.connection import Server
from dwebbackup.stores.local import LocalStore
from fix_mysql import MysqlServer, Schema, free_schema, identifier, new_schema
from sources.nasty_mysql import fill_nasty
from sources.same_mysql import differences, facts
from synthetic import back_up, opened

SHOP = (
    "CREATE TABLE p (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20))",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, CONSTRAINT to_p FOREIGN KEY (p) REFERENCES p (id))",
    "CREATE TABLE log (what VARCHAR(90))",
    "CREATE TRIGGER watch AFTER INSERT ON p FOR EACH ROW INSERT INTO log VALUES (NEW.name)",
    "CREATE VIEW named AS SELECT c.id, p.name FROM c JOIN p ON p.id = c.p",
    "CREATE FUNCTION one() RETURNS INT NO SQL RETURN 1",
    "INSERT INTO p VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO c VALUES (1, 1), (2, 1)",
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.prepare()
    return store


@pytest.fixture
def shop(mariadb: MysqlServer, store: LocalStore) -> Iterator[Schema]:
    """A small one, backed up in *store*."""
    with new_schema(mariadb) as schema:
        schema.execute(*SHOP)
        back_up(store, MysqlSource(schema.url))
        yield schema


def bring_back(store: LocalStore, target: Schema, **options: Any) -> restore.Done:
    writer = opened(store)
    return restore.restore(writer, writer.catalog.latest(), MysqlTarget(target.url), restore.Options(**options))


def others(target: Schema) -> set[str]:
    """What a restore left beside it."""
    names = {name for (name,) in target.server.execute("SHOW DATABASES")}
    return {name for name in names if name.startswith((f"{target.name}_", "dwebbackup_restoring_"))}


# ---- what stands there -------------------------------------------------------------------------------------


def test_an_empty_database_is_filled_and_nothing_is_left_beside_it(
    store: LocalStore, shop: Schema, mariadb: MysqlServer
) -> None:
    with new_schema(mariadb, options="CHARACTER SET latin1") as target:
        bring_back(store, target)
        assert differences(shop, target) == []
        assert others(target) == set()
        target.execute("INSERT INTO p (name) VALUES ('three')")
        assert target.execute("SELECT * FROM log") == [("one",), ("two",), ("three",)]


@pytest.mark.parametrize(
    "thing",
    [
        "CREATE TABLE t (id INT)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE SEQUENCE s",
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    ],
)
def test_a_database_with_anything_in_it_is_not_touched(store: LocalStore, shop: Schema, thing: str) -> None:
    with new_schema(shop.server) as target:
        target.execute(thing)
        before = facts(target)
        with pytest.raises(TargetNotEmpty):
            bring_back(store, target)
        with pytest.raises(TargetNotEmpty):
            plan(store, target)
        assert facts(target) == before
        assert others(target) == set()


def test_what_is_replaced_is_kept_as_it_was(store: LocalStore, shop: Schema) -> None:
    with new_schema(shop.server) as target, new_schema(shop.server) as same:
        for schema in (target, same):
            fill_nasty(schema)
        done = bring_back(store, target, replace=True)
        assert differences(shop, target) == []
        (aside,) = others(target)
        assert any(aside in note for note in done.restored.notes)
        left_out = {f"event {name}" for name in ("clean", "once")}
        found = differences(same, Schema(shop.server, aside))
        assert {each.partition(":")[0] for each in found} == left_out


def test_a_left_over_of_a_killed_restore_is_replaced(store: LocalStore, shop: Schema, target: Schema) -> None:
    with pytest.raises(StoreUnreachable):
        bring_back(store, target, announce=refuse)
    (step, *_) = plan(store, target)
    left = re.findall(r"dwebbackup_restoring_\w+", step)[0]
    shop.server.execute(f"CREATE DATABASE {left}", f"CREATE TABLE {left}.p (other INT)")
    bring_back(store, target)
    assert differences(shop, target) == []
    assert others(target) == set()


def test_a_second_restore_to_the_same_name_is_refused(store: LocalStore, shop: Schema, target: Schema) -> None:
    def again(_: str) -> None:
        with pytest.raises(DatabaseRefused, match="another restore"):
            bring_back(store, target)

    bring_back(store, target, announce=again)
    assert differences(shop, target) == []


# ---- failures ----------------------------------------------------------------------------------------------


def refuse(_: str) -> None:
    raise StoreUnreachable("the store that should hear of it has gone")


@pytest.mark.parametrize("state", ["absent", "empty", "full"])
def test_a_restore_that_fails_at_the_end_leaves_everything_as_it_was(
    store: LocalStore, shop: Schema, target: Schema, state: str
) -> None:
    if state != "absent":
        shop.server.execute(f"CREATE DATABASE {identifier(target.name)} CHARACTER SET greek")
    if state == "full":
        fill_nasty(target)
    before = facts(target) if target.exists() else None
    with pytest.raises(StoreUnreachable):
        bring_back(store, target, replace=True, announce=refuse)
    assert (facts(target) if target.exists() else None) == before
    assert others(target) == set()


@pytest.mark.parametrize("state", ["absent", "full"])
def test_what_the_server_refuses_at_the_very_last_is_undone(
    store: LocalStore, shop: Schema, target: Schema, state: str
) -> None:
    """What was made once before is refused the second time: the server's rules have changed in between."""
    if state == "full":
        shop.server.execute(f"CREATE DATABASE {identifier(target.name)} CHARACTER SET greek")
        view = SHOP[4].replace("CREATE", "CREATE DEFINER = restorer@localhost")
        target.execute(*SHOP[:3], view, "INSERT INTO p VALUES (7, 'seven')", "INSERT INTO c VALUES (1, 7)")
        target.execute("CREATE SEQUENCE s", "CREATE TABLE n (id INT DEFAULT nextval(s))")
    before = facts(target) if target.exists() else None
    server = shop.server
    server.execute(
        "CREATE OR REPLACE USER restorer@localhost",
        "GRANT ALL ON `%`.* TO restorer@localhost",
        "SET GLOBAL log_bin_trust_function_creators = 1",
    )
    try:
        writer = opened(store)
        url = MysqlTarget(server.url(target.name, "restorer"))
        distrust = lambda _: server.execute("SET GLOBAL log_bin_trust_function_creators = 0")  # noqa: E731
        options = restore.Options(replace=True, announce=distrust)
        with pytest.raises(RestoreFailed, match="function one was refused"):
            restore.restore(writer, writer.catalog.latest(), url, options)
    finally:
        server.execute("DROP USER restorer@localhost", "SET GLOBAL log_bin_trust_function_creators = 0")
    assert (facts(target) if target.exists() else None) == before
    assert others(target) == set()


def test_what_could_not_be_put_aside_as_it_is_stays(store: LocalStore, shop: Schema, target: Schema) -> None:
    shop.server.execute(
        f"CREATE DATABASE {target.name}",
        "CREATE OR REPLACE USER restorer@localhost",
        "GRANT ALL ON `%`.* TO restorer@localhost",
    )
    target.execute(*SHOP)
    before = facts(target)
    writer = opened(store)
    url = MysqlTarget(shop.server.url(target.name, "restorer"))
    try:
        with pytest.raises(DatabaseRefused, match="of root@localhost, which restorer@localhost cannot") as caught:
            restore.restore(writer, writer.catalog.latest(), url, restore.Options(replace=True))
        assert facts(target) == before
        shop.server.execute(caught.value.hint, "SET GLOBAL log_bin_trust_function_creators = 1")
        restore.restore(writer, writer.catalog.latest(), url, restore.Options(replace=True))
        assert differences(shop, target) == []
    finally:
        shop.server.execute("DROP USER restorer@localhost", "SET GLOBAL log_bin_trust_function_creators = 0")


def test_somebody_who_makes_the_database_meanwhile_keeps_it(store: LocalStore, shop: Schema, target: Schema) -> None:
    def make(_: str) -> None:
        shop.server.execute(f"CREATE DATABASE {target.name}", f"CREATE TABLE {target.name}.mine (id INT)")

    with pytest.raises(RestoreFailed, match="somebody made the database"):
        bring_back(store, target, announce=make)
    assert target.execute("SHOW TABLES") == [("mine",)]


def test_a_damaged_pack_leaves_no_trace(store: LocalStore, shop: Schema, target: Schema, tmp_path: Path) -> None:
    for pack in tmp_path.rglob("packs/*/*.age"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:-1] + b"x")
    with pytest.raises(Damaged):
        bring_back(store, target)
    assert not target.exists()
    assert others(target) == set()


@pytest.fixture
def narrow(store: LocalStore, shop: Schema) -> Iterator[tuple[Schema, StreamRecord, StreamReader]]:
    """A backed up table, empty now and too narrow for its rows; its rows, and who gives them."""
    shop.execute("CREATE TABLE narrow (v VARCHAR(90))", "INSERT INTO narrow VALUES ('far too long for it')")
    back_up(store, MysqlSource(shop.url))
    writer = opened(store)
    manifest = writer.catalog.latest().manifest
    (stream,) = [each for each in manifest.sources[0].streams if each.path == ("narrow",)]
    shop.execute("TRUNCATE narrow", "ALTER TABLE narrow MODIFY v VARCHAR(9)")
    with writer.packs(manifest) as packs:
        yield shop, stream, packs.stream


@pytest.mark.parametrize("local_infile", [1, 0])
def test_a_value_that_the_target_would_change_fails_the_restore(
    narrow: tuple[Schema, StreamRecord, StreamReader], local_infile: int
) -> None:
    schema, stream, read = narrow
    schema.server.execute(f"SET GLOBAL local_infile = {local_infile}")
    try:
        with pytest.raises(RestoreFailed, match="would not take its rows as they are"):
            load.load_rows(Server(schema.url), schema.name, [stream], read, 1)
    finally:
        schema.server.execute("SET GLOBAL local_infile = 1")


def test_a_row_too_few_is_missed(narrow: tuple[Schema, StreamRecord, StreamReader]) -> None:
    schema, stream, read = narrow
    schema.execute("ALTER TABLE narrow MODIFY v TEXT")
    with pytest.raises(Damaged, match="took 1 rows, and the backup counted 2"):
        load.load_rows(Server(schema.url), schema.name, [replace(stream, rows=2)], read, 1)


# ---- what comes short --------------------------------------------------------------------------------------


def test_a_broken_view_is_named_and_all_else_comes_back(store: LocalStore, shop: Schema, target: Schema) -> None:
    shop.execute("CREATE TABLE gone (id INT)", "CREATE VIEW broken AS SELECT id FROM gone", "DROP TABLE gone")
    (source,) = back_up(store, MysqlSource(shop.url)).backup.manifest.sources
    assert any("broken" in note for note in source.facts.notes)
    done = bring_back(store, target)
    assert any("view broken" in each for each in done.restored.shortfalls)
    assert target.execute("SELECT * FROM named") == [(1, "one"), (2, "one")]


def test_a_definer_who_is_not_there_is_named(store: LocalStore, shop: Schema, target: Schema) -> None:
    shop.execute("CREATE DEFINER = nobody@nowhere PROCEDURE orphan() SELECT 1")
    back_up(store, MysqlSource(shop.url))
    done = bring_back(store, target)
    assert any("nobody@nowhere" in each for each in done.restored.shortfalls)
    assert differences(shop, target) == []


def test_a_user_who_may_not_act_for_others_makes_it_in_its_own_name(
    store: LocalStore, shop: Schema, target: Schema
) -> None:
    places = "`dwebbackup\\_restoring\\_%`", identifier(target.name)
    shop.server.execute(
        "CREATE OR REPLACE USER restorer@localhost",
        *(f"GRANT ALL ON {place}.* TO restorer@localhost" for place in places),
        "SET GLOBAL log_bin_trust_function_creators = 1",
    )
    try:
        writer = opened(store)
        url = shop.server.url(target.name, "restorer")
        done = restore.restore(writer, writer.catalog.latest(), MysqlTarget(url), restore.Options())
        assert any("root@localhost" in each for each in done.restored.shortfalls)
        assert target.execute("SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()") == [
            ("restorer@localhost",)
        ]
    finally:
        shop.server.execute("DROP USER restorer@localhost", "SET GLOBAL log_bin_trust_function_creators = 0")


def plan(store: LocalStore, target: Schema) -> list[str]:
    writer = opened(store)
    return restore.plan(writer, writer.catalog.latest(), MysqlTarget(target.url), restore.Options())


def test_a_plan_says_what_will_be_done_and_does_nothing(store: LocalStore, shop: Schema, target: Schema) -> None:
    steps = plan(store, target)
    assert any("fill 3 tables with 6 rows" in step for step in steps)
    assert not target.exists()
    assert others(target) == set()


# ---- conditions --------------------------------------------------------------------------------------------


def test_the_four_conditions_of_a_database(mariadb: MysqlServer) -> None:
    with free_schema(mariadb) as schema:
        source = MysqlSource(schema.url)
        assert source.condition().state == "absent"
        mariadb.execute(f"CREATE DATABASE {schema.name}")
        assert source.condition().state == "empty"
        schema.execute("CREATE TABLE t (id INT)")
        assert source.condition().state == "rowless"
        schema.execute("INSERT INTO t VALUES (1)")
        full = source.condition()
        assert (full.state, full.objects) == ("full", ("table t",))
        assert full.identity.endswith(f":{schema.name}")
