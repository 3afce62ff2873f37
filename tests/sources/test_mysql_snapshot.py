"""What a MariaDB backup sees is one moment: whoever writes meanwhile, alters tables, or has few rights."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pymysql
import pytest

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused
from dwebbackup.sources.mysql import MysqlSource, MysqlTarget
from dwebbackup.sources.mysql.client import Client
from dwebbackup.sources.mysql.connection import Server, close, version_of
from dwebbackup.sources.mysql.snapshot import BEGIN, open_snapshot
from dwebbackup.sources.mysql.tools import choose
from dwebbackup.sources.process import Children
from dwebbackup.stores.local import LocalStore
from fix_mysql import MysqlServer, Schema, identifier
from sources.same_mysql import differences
from synthetic import back_up, opened


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.prepare()
    return store


class Meanwhile(LocalStore):
    """Does something when the first pack comes: the snapshot is open then, and not all is read."""

    def __init__(self, folder: Path, something: Callable[[], object]) -> None:
        super().__init__(folder)
        self._something: Callable[[], object] | None = something
        self.prepare()

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        if "/packs/" in name and self._something:
            something, self._something = self._something, None
            something()
        return super().put(name, data)


def bring_back(store: LocalStore, target: Schema) -> None:
    writer = opened(store)
    restore.restore(writer, writer.catalog.latest(), MysqlTarget(target.url), restore.Options())


def fill(schema: Schema, rows: int = 12000) -> None:
    """More than pipes and packs hold, so that the rest is read after whatever happens meanwhile."""
    schema.execute(
        "CREATE TABLE large (id INT PRIMARY KEY, v BLOB)",
        f"INSERT INTO large SELECT seq, random_bytes(1024) FROM seq_1_to_{rows}",
        "CREATE TABLE small (id INT PRIMARY KEY, v INT)",
        "INSERT INTO small SELECT seq, 1 FROM seq_1_to_10",
    )


def test_what_is_written_meanwhile_is_not_in_it(tmp_path: Path, schema: Schema, target: Schema) -> None:
    fill(schema)
    store = Meanwhile(
        tmp_path,
        lambda: schema.execute("UPDATE small SET v = 2", "DELETE FROM large WHERE id > 6000", "DELETE FROM small"),
    )
    back_up(store, MysqlSource(schema.url, jobs=1))
    bring_back(store, target)
    assert target.execute("SELECT count(*), sum(v) FROM small") == [(10, 10)]
    assert target.execute("SELECT count(*) FROM large") == [(12000,)]


def test_several_readers_see_one_moment(store: LocalStore, schema: Schema, target: Schema) -> None:
    """Whatever one table loses, another one gets: at every moment there are as many."""
    tables = [f"t{number}" for number in range(4)]
    for table in tables:
        schema.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, v INT)", f"INSERT INTO {table} VALUES (1, 1000)")
    over, moved = threading.Event(), threading.Event()

    def move() -> None:
        with contextlib.closing(schema.server.connect(schema.name)) as connection, connection.cursor() as cursor:
            number = 0
            while not over.is_set():
                cursor.execute("BEGIN")
                cursor.execute(f"UPDATE {tables[number % 4]} SET v = v - 1")
                cursor.execute(f"UPDATE {tables[(number + 1 + number % 3) % 4]} SET v = v + 1")
                cursor.execute("COMMIT")
                number += 1
                moved.set()

    mover = threading.Thread(target=move)
    mover.start()
    try:
        assert moved.wait(60)
        for _ in range(3):
            back_up(store, MysqlSource(schema.url, jobs=4), jobs=4)
            target.drop()
            bring_back(store, target)
            found = [target.execute(f"SELECT v FROM {table}")[0][0] for table in tables]
            assert sum(found) == 4000
    finally:
        over.set()
        mover.join()


def test_who_alters_a_table_meanwhile_waits_for_the_backup(tmp_path: Path, schema: Schema, target: Schema) -> None:
    fill(schema)
    altering = threading.Thread(target=lambda: schema.execute("ALTER TABLE small ADD COLUMN w INT", "DROP TABLE large"))

    def begin() -> None:
        altering.start()
        wait_for(
            schema.server, "SELECT count(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%metadata lock%'"
        )

    back_up(Meanwhile(tmp_path, begin), MysqlSource(schema.url, jobs=1))
    altering.join()
    store = LocalStore(tmp_path)
    bring_back(store, target)
    assert {row[0] for row in target.execute("SHOW TABLES")} == {"large", "small"}
    assert {row[0] for row in schema.execute("SHOW TABLES")} == {"small"}


class Nosy(Client):
    """Tries to write, without waiting, whenever a reader is about to begin its snapshot."""

    wrote: ClassVar[list[str]] = []
    schema: ClassVar[Schema]

    def run(self, *statements: str) -> None:
        if BEGIN in statements:
            try:
                self.schema.execute("SET SESSION lock_wait_timeout = 0", "INSERT INTO t VALUES (1)")
            except pymysql.MySQLError as error:
                self.wrote.append(str(error.args[0]))
            else:
                self.wrote.append("written")
        super().run(*statements)


@pytest.mark.parametrize(("rights", "aligned"), [("RELOAD ON *.*", "flush"), ("LOCK TABLES ON {db}.*", "tables")])
def test_nothing_is_written_while_readers_begin(schema: Schema, user: str, rights: str, aligned: str) -> None:
    schema.execute("CREATE TABLE t (id INT)")
    here = identifier(schema.name)
    schema.server.execute(f"GRANT {READS} ON {here}.* TO {user}", f"GRANT {rights.format(db=here)} TO {user}")
    server = Server(schema.server.url(schema.name, "backup", "p@ss:/%"))
    Nosy.wrote, Nosy.schema = [], schema
    connection = server.connect(schema.name)
    try:
        version = version_of(connection)
        with Children() as children:
            start = lambda: Nosy(server, version, choose(version), children)  # noqa: E731
            snapshot = open_snapshot(connection, server, start, 3)
    finally:
        close(connection)
    assert snapshot.aligned == aligned
    assert Nosy.wrote == ["1205"] * 3
    schema.execute("INSERT INTO t VALUES (1)")  # and then everybody writes on


def test_a_routine_that_is_changed_meanwhile_is_noticed(tmp_path: Path, schema: Schema) -> None:
    fill(schema)
    schema.execute("CREATE FUNCTION f() RETURNS INT NO SQL RETURN 1")
    change = ("DROP FUNCTION f", "CREATE FUNCTION f() RETURNS INT NO SQL RETURN 2")
    store = Meanwhile(tmp_path, lambda: schema.execute(*change))
    with pytest.raises(DatabaseRefused, match=r"changed while it was read: function f"):
        back_up(store, MysqlSource(schema.url))


def test_a_table_that_only_gets_rows_meanwhile_is_no_change(tmp_path: Path, schema: Schema) -> None:
    fill(schema)
    schema.execute("CREATE TABLE counted (id INT PRIMARY KEY AUTO_INCREMENT)")
    store = Meanwhile(tmp_path, lambda: schema.execute("INSERT INTO counted VALUES (500)"))
    back_up(store, MysqlSource(schema.url))


def test_a_server_that_dies_meanwhile_leaves_no_backup(tmp_path: Path, fresh_mariadb: MysqlServer) -> None:
    fresh_mariadb.execute("CREATE DATABASE app")
    schema = Schema(fresh_mariadb, "app")
    fill(schema)
    store = Meanwhile(tmp_path, fresh_mariadb.kill)
    with pytest.raises(DatabaseRefused):
        back_up(store, MysqlSource(schema.url))
    assert opened(store).catalog.newest().tips == ()


# ---- rights ------------------------------------------------------------------------------------------------

READS = "SELECT, SHOW VIEW, TRIGGER, EVENT"


@pytest.fixture
def user(mariadb: MysqlServer) -> Iterator[str]:
    mariadb.execute("CREATE OR REPLACE USER backup@localhost IDENTIFIED BY 'p@ss:/%'")
    yield "backup@localhost"
    mariadb.execute("DROP USER backup@localhost")


@pytest.mark.parametrize(
    ("rights", "aligned"),
    [("", "single"), ("LOCK TABLES ON {db}.*", "tables"), ("RELOAD ON *.*", "flush")],
    ids=["neither", "lock tables", "reload"],
)
def test_with_fewer_rights_the_moment_is_kept_in_another_way(
    store: LocalStore, schema: Schema, target: Schema, user: str, rights: str, aligned: str
) -> None:
    fill(schema, 1000)
    here = identifier(schema.name)
    schema.server.execute(f"GRANT {READS} ON {here}.* TO {user}", f"GRANT SELECT ON mysql.proc TO {user}")
    if rights:
        schema.server.execute(f"GRANT {rights.format(db=here)} TO {user}")
    url = schema.server.url(schema.name, "backup", "p@ss:/%")
    (source,) = back_up(store, MysqlSource(url, jobs=3), jobs=3).backup.manifest.sources
    assert source.facts.detail("aligned") == aligned
    bring_back(store, target)
    assert differences(schema, target) == []


@pytest.mark.parametrize("lacking", READS.split(", "))
def test_a_right_that_would_leave_something_out_is_named(
    store: LocalStore, schema: Schema, user: str, lacking: str
) -> None:
    has = ", ".join(right for right in READS.split(", ") if right != lacking)
    here = identifier(schema.name)
    schema.server.execute(f"GRANT {has} ON {here}.* TO {user}", f"GRANT SELECT ON mysql.proc TO {user}")
    url = schema.server.url(schema.name, "backup", "p@ss:/%")
    with pytest.raises(DatabaseRefused, match=f"lacks {lacking} on") as caught:
        back_up(store, MysqlSource(url))
    mend = caught.value.hint
    schema.server.execute(mend)
    back_up(store, MysqlSource(url))


def test_routines_that_the_user_may_not_see_are_missed(store: LocalStore, schema: Schema, user: str) -> None:
    schema.server.execute(f"GRANT {READS} ON {identifier(schema.name)}.* TO {user}")
    url = schema.server.url(schema.name, "backup", "p@ss:/%")
    with pytest.raises(DatabaseRefused, match="right to see routines") as caught:
        back_up(store, MysqlSource(url))
    schema.server.execute(caught.value.hint)
    back_up(store, MysqlSource(url))


def test_rights_by_a_role_count(store: LocalStore, schema: Schema, user: str) -> None:
    schema.server.execute(
        "CREATE OR REPLACE ROLE viewing",
        f"GRANT {READS} ON {identifier(schema.name)}.* TO viewing",
        "GRANT SELECT ON mysql.proc TO viewing",
        f"GRANT viewing TO {user}",
        f"SET DEFAULT ROLE viewing FOR {user}",
    )
    try:
        back_up(store, MysqlSource(schema.server.url(schema.name, "backup", "p@ss:/%")))
    finally:
        schema.server.execute("DROP ROLE viewing")


def wait_for(server: MysqlServer, query: str) -> None:
    """Ask until the answer is not zero. What never comes fails, rather than hangs: the backup waits for us."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        for _ in range(6000):
            cursor.execute(query)
            row = cursor.fetchone()
            if row and row[0]:
                return
            with contextlib.suppress(pymysql.MySQLError):
                cursor.execute("SELECT SLEEP(0.01)")
    raise TimeoutError(f"there never was an answer to {query}")
