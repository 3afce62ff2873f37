"""The newer servers of the wide run: MySQL 9 and MariaDB 11.8, each with its own client."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dwebbackup import restore
from dwebbackup.sources.mysql import MysqlSource, MysqlTarget
from dwebbackup.stores.local import LocalStore
from fix_mysql import NEWER, MysqlServer, free_schema, mariadb_newer, mysql_newer, new_schema
from sources.nasty_mysql import fill_nasty
from sources.same_mysql import differences
from synthetic import back_up, opened

pytestmark = pytest.mark.skipif(
    not os.environ.get("DWEBBACKUP_TEST_WIDE"), reason="fetches servers of other Debian releases: `make test-wide`"
)

MAKERS = {"mysql": mysql_newer, "mariadb": mariadb_newer}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def newer(request: pytest.FixtureRequest) -> Iterator[MysqlServer]:
    script = Path(__file__).parents[2] / ".ci" / "mysql-newer"
    subprocess.run([str(script), request.param], check=True, timeout=1800)
    with MAKERS[request.param]() as server:
        yield server


@pytest.mark.parametrize("local_infile", [1, 0])
def test_the_nasty_database_comes_back(newer: MysqlServer, tmp_path: Path, local_infile: int) -> None:
    is_mariadb = "mariadb" in newer.program
    programs = str(NEWER / ("mariadb" if is_mariadb else "mysql") / "programs")
    store = LocalStore(tmp_path)
    store.prepare()
    newer.execute(f"SET GLOBAL local_infile = {local_infile}")
    with new_schema(newer) as source, free_schema(newer) as copy:
        fill_nasty(source, mariadb=is_mariadb)
        back_up(store, MysqlSource(source.url, bin_folder=programs), jobs=2)
        writer = opened(store)
        restore.restore(writer, writer.catalog.latest(), MysqlTarget(copy.url), restore.Options())
        assert differences(source, copy) == []


def test_what_a_user_with_few_rights_backs_up_replaces_what_is_there(newer: MysqlServer, tmp_path: Path) -> None:
    is_mariadb = "mariadb" in newer.program
    programs = str(NEWER / ("mariadb" if is_mariadb else "mysql") / "programs")
    store = LocalStore(tmp_path)
    store.prepare()
    newer.execute("SET GLOBAL local_infile = 1")
    with new_schema(newer) as source, new_schema(newer, options="CHARACTER SET latin1") as target:
        for schema in (source, target):
            fill_nasty(schema, mariadb=is_mariadb)
        newer.execute(
            "CREATE USER backup@localhost IDENTIFIED BY 'p@ss:/%ü'",
            f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON {source.name}.* TO backup@localhost",
            f"GRANT {'SELECT ON mysql.proc' if is_mariadb else 'SHOW_ROUTINE ON *.*'} TO backup@localhost",
        )
        url = newer.url(source.name, "backup", "p@ss:/%ü")
        done = back_up(store, MysqlSource(url, bin_folder=programs), jobs=2)
        assert done.backup.manifest.sources[0].facts.detail("aligned") == "tables"
        writer = opened(store)
        options = restore.Options(replace=True)
        restore.restore(writer, writer.catalog.latest(), MysqlTarget(target.url), options)
        assert differences(source, target) == []
        newer.execute("DROP USER backup@localhost")
        for (name,) in newer.execute("SHOW DATABASES"):
            if "_before_" in name:
                newer.execute(f"DROP DATABASE {name}")
