"""PostgreSQL there and back: the nastiest database, odd encodings, settings that get in the way, few rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from dwebbackup import restore
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource, PostgresTarget
from dwebbackup.stores.local import LocalStore
from fix_postgres import Database, free_name, new_database
from sources.nasty import ENCODINGS, encoding_options, fill_encoded, make_roles, other_session
from sources.same import differences
from sources.test_nasty_baseline import UNAVOIDABLE
from synthetic import back_up, opened


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.prepare()
    return store


def there_and_back(store: LocalStore, source: str, target: str) -> restore.Done:
    back_up(store, PostgresSource(source))
    writer = opened(store)
    return restore.restore(writer, writer.catalog.latest(), PostgresTarget(target), restore.Options())


def test_the_nasty_database_comes_back_but_for_what_no_dump_can_carry(
    store: LocalStore, nasty: Database, pg_target: ScratchPostgres
) -> None:
    make_roles(pg_target)
    with free_name(pg_target, nasty.name) as copy, other_session(nasty.uri):
        there_and_back(store, nasty.uri, copy.uri)
        found = differences(nasty.uri, copy.uri)
    assert [piece.splitlines()[0] for piece in found] == UNAVOIDABLE, "\n".join(found)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_survives(
    store: LocalStore, pg_server: ScratchPostgres, pg_target: ScratchPostgres, encoding: str
) -> None:
    with new_database(pg_server, options=encoding_options(encoding)) as source:
        fill_encoded(pg_server, source.name, encoding)
        with free_name(pg_target, source.name) as copy:
            there_and_back(store, source.uri, copy.uri)
            assert differences(source.uri, copy.uri) == []


def test_an_empty_database_comes_back(store: LocalStore, database: Database, target_database: Database) -> None:
    done = there_and_back(store, database.uri, target_database.uri)
    assert (done.restored.tables, done.restored.rows) == (0, 0)
    assert target_database.exists()
