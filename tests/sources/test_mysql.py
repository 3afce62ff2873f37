"""MariaDB there and back: the nastiest database, other names, limits, and the order of rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from dwebbackup import restore
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


def there_and_back(store: LocalStore, source: Schema, target: Schema, jobs: int = 2) -> restore.Done:
    back_up(store, MysqlSource(source.url, jobs=jobs), jobs=jobs)
    writer = opened(store)
    return restore.restore(writer, writer.catalog.latest(), MysqlTarget(target.url), restore.Options(jobs=jobs))


def test_the_nasty_database_comes_back_under_another_name(
    store: LocalStore, mariadb: MysqlServer, target: Schema
) -> None:
    with new_schema(mariadb, "nasty `db` ü") as source:
        fill_nasty(source)
        there_and_back(store, source, target)
        assert differences(source, target) == []
