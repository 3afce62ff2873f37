"""The page about restoring without this program: its blocks are run as they stand there, and the data comes back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mnemonic
import pytest

from dwebbackup.primitives import to_bech32
from dwebbackup.scratch.postgres import ScratchPostgres
from dwebbackup.sources.postgres import PostgresSource
from dwebbackup.stores.local import LocalStore
from fix_majors import Majors
from fix_postgres import Database, free_name, new_database
from sources.nasty import ENCODINGS, encoding_options, fill_encoded
from sources.same import differences
from sources.test_elsewhere import HERE, SUBSCRIPTIONS, subscribed
from sources.test_extensions import FAMILY
from sources.test_majors import LOCALES, PROVIDER, PUBLIC_RIGHTS, icu_by_default
from sources.test_nasty_baseline import UNAVOIDABLE
from synthetic import OWNER, back_up, noise, small_pieces

PAGE = Path(__file__).parents[1] / "docs" / "restore-by-hand.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
WITH_US = next(block for block in BLOCKS if block.startswith("dwebbackup"))
WITHOUT_US = [block for block in BLOCKS if block != WITH_US]
EXTRACTED = next(number for number, block in enumerate(WITHOUT_US, 1) if "python3 extract.py" in block)
WIDE = os.environ.get("DWEBBACKUP_TEST_WIDE") == "1"
GOLDEN = Path(__file__).parent / "vectors" / "store-1"


@pytest.fixture
def folder(tmp_path: Path, age_program: str, zstd_program: str) -> Path:
    """Where somebody in distress sits, with the words on a sheet and the list of words."""
    folder = tmp_path / "desk"
    folder.mkdir()
    words = enumerate(OWNER.words.split(), 1)
    (folder / "words.txt").write_text("\n".join(f"{number:2}. {word.title()}" for number, word in words))
    english = Path(mnemonic.__file__).parent / "wordlist" / "english.txt"
    (folder / "english.txt").write_bytes(english.read_bytes())
    return folder


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    store.prepare()
    return store


def paste(folder: Path, blocks: Sequence[str], **variables: object) -> str:
    """Paste *blocks* into one shell, which ends at the first error, as the reader should; gives what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DWEBBACKUP_", "PYTHON"))}
    done = subprocess.run(
        ["bash", "-eu"],
        input="\n".join(blocks),
        env=kept | {name: str(value) for name, value in variables.items()},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def extracted(folder: Path) -> dict[str, bytes]:
    """What stands in `out`, by the names of the streams."""
    tables = (folder / "out" / "0" / "rows").glob("*.table")
    return {path.read_text().strip('"'): path.with_suffix(".copy").read_bytes() for path in tables}


# --- the identity ---


def test_the_words_alone_give_the_identity_that_the_program_shows(folder):
    wanted = to_bech32("age-secret-key-", OWNER.identity).upper() + "\n"
    derive = next(block for block in BLOCKS if "cat > identity.py" in block)
    paste(folder, [derive])
    assert (folder / "identity.txt").read_text() == wanted
    (folder / "identity.txt").unlink()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    paste(folder, [WITH_US], DWEBBACKUP_KEY_FILE=folder / "words.txt", PATH=path)
    assert (folder / "identity.txt").read_text() == wanted


# --- streams ---


def test_every_stream_of_the_store_that_is_read_for_ever_comes_out(folder):
    for expected in json.loads((GOLDEN / "expected.json").read_text())["backups"]:
        chosen = f"export MANIFEST=$(ls $WRITER/manifests | grep {expected['sha256']})"
        blocks = [*WITHOUT_US[: EXTRACTED - 1], chosen, WITHOUT_US[EXTRACTED - 1]]
        paste(folder, ["rm -rf out", *blocks], STORE=GOLDEN)
        found = {name: hashlib.sha256(data).hexdigest() for name, data in extracted(folder).items()}
        assert found == expected["streams"]


def test_without_a_choice_it_is_the_newest_backup(folder):
    out = paste(folder, WITHOUT_US[:EXTRACTED], STORE=GOLDEN)
    assert "backup 3 of" in out
    assert extracted(folder).keys() == {"copy", "none", "schema", "users"}


@pytest.mark.parametrize("folder_of", ["packs", "indexes"])
def test_what_was_changed_in_the_store_is_not_taken(folder, store, folder_of):
    with small_pieces():
        back_up(store, {"rows": noise(90_000)})
    (path, *_) = Path(store.url.removeprefix("file://")).glob(f"w/*/{folder_of}/**/*.age")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(AssertionError, match="is damaged"):
        paste(folder, WITHOUT_US[:EXTRACTED], STORE=path.parents[path.parts[::-1].index("w")])


# --- databases ---


def bring_back(
    folder: Path, store: LocalStore, source: Database, target: Database, *, clients: str | None = None, then: str = ""
) -> None:
    """Back up and restore by hand, with a block of our own between taking out and bringing in."""
    back_up(store, PostgresSource(source.uri, bin_folder=clients))
    blocks = [*WITHOUT_US[:EXTRACTED], then, *WITHOUT_US[EXTRACTED:]]
    paste(folder, blocks, STORE=store.url.removeprefix("file://"), **where(target))


def there_and_back(folder: Path, store: LocalStore, source: Database, target: Database) -> list[str]:
    """What differs, but for what is said of the database itself."""
    bring_back(folder, store, source, target)
    return [piece for piece in differences(source.uri, target.uri) if "DATABASE" not in piece.splitlines()[0]]


def test_the_nasty_database_comes_back_by_hand(folder, store, nasty, pg_target):
    with free_name(pg_target) as copy:
        found = there_and_back(folder, store, nasty, copy)
    assert [piece.splitlines()[0] for piece in found] == UNAVOIDABLE, "\n".join(found)


@pytest.mark.parametrize("encoding", ENCODINGS if WIDE else ["EUC_JP"])
def test_every_encoding_survives_by_hand(folder, store, pg_server, pg_target, encoding):
    with new_database(pg_server, options=encoding_options(encoding)) as source, free_name(pg_target) as copy:
        fill_encoded(pg_server, source.name, encoding)
        assert there_and_back(folder, store, source, copy) == []


def test_roles_that_are_missing_are_made_with_their_passwords(folder, store, database, fresh_server):
    """On a server that has none of them."""
    database.psql(
        """
        CREATE ROLE by_hand_group; CREATE ROLE by_hand_user LOGIN PASSWORD 'secret' IN ROLE by_hand_group;
        CREATE ROLE by_hand_super SUPERUSER; CREATE TABLE mine (a integer); ALTER TABLE mine OWNER TO by_hand_user;
        INSERT INTO mine VALUES (1), (2); GRANT SELECT ON mine TO by_hand_group, by_hand_super;
        SELECT lo_from_bytea(4711, 'large'); ALTER LARGE OBJECT 4711 OWNER TO by_hand_user;
        """
    )
    try:
        with free_name(fresh_server) as copy:
            assert there_and_back(folder, store, database, copy) == []
            roles = "SELECT rolname, rolcanlogin, rolsuper, rolpassword FROM pg_authid WHERE rolname LIKE 'by_hand%'"
            made, had = copy.psql(f"{roles} ORDER BY 1"), database.psql(f"{roles} ORDER BY 1")
            assert made == had.replace("by_hand_super|f|t", "by_hand_super|f|f")
            assert copy.psql("SELECT pg_has_role('by_hand_user', 'by_hand_group', 'member')") == "t"
    finally:
        database.psql("DROP OWNED BY by_hand_user, by_hand_group, by_hand_super")
        database.psql("DROP ROLE by_hand_user, by_hand_group, by_hand_super")


def test_a_database_sorts_as_before_also_by_hand(folder, store, majors: Majors):
    """By ICU with rules of its own."""
    server = majors.server(18)
    (options,) = (options for options in LOCALES if "ICU_RULES" in options)
    in_order = "SELECT string_agg(word, ' ' ORDER BY word) FROM words"
    with new_database(server, options=options) as source, free_name(server) as copy:
        source.psql("CREATE TABLE words AS SELECT unnest('{Zebra,Ärger,w,vz,W,va,ärger,z}'::text[]) AS word")
        bring_back(folder, store, source, copy, clients=majors.clients)
        assert copy.psql(in_order) == source.psql(in_order)
        assert copy.psql(PROVIDER) == source.psql(PROVIDER)


def test_a_database_of_the_systems_locale_stays_so_by_hand_where_new_ones_use_icu(folder, store, pg_server):
    with (
        new_database(pg_server, options="LOCALE 'C'") as source,
        free_name(pg_server) as copy,
        icu_by_default(pg_server),
    ):
        bring_back(folder, store, source, copy)
        assert copy.psql(PROVIDER) == source.psql(PROVIDER) == "c|C|C"


@pytest.mark.parametrize(("client", "rights"), [("14", "CREATE\nUSAGE"), ("", "USAGE")])
def test_what_an_archive_of_before_15_takes_for_granted_is_given_by_hand(
    folder, store, database, target_database, client, rights
):
    """In place of an old client, which says nothing of what everybody might do then."""
    bring_back(folder, store, database, target_database, then=f"[ -z '{client}' ] || echo {client} > out/0/client")
    assert target_database.psql(PUBLIC_RIGHTS) == rights


def test_subscriptions_sleep_by_hand_without_a_slot(folder, store, pg_server):
    with subscribed(pg_server) as (_, follower, copy):
        bring_back(folder, store, follower, copy)
        assert copy.psql(SUBSCRIPTIONS.format(HERE)) == 'its "s|f|'


def test_tables_of_an_extension_are_filled_by_hand_in_the_order_of_their_keys_and_before_all_others(
    folder, store, database, target_database
):
    with offered(database.server, "family", FAMILY):
        database.psql("""
            CREATE TABLE "a user's" (id integer); CREATE EXTENSION family;
            INSERT INTO c_root VALUES (1, 2), (2, NULL);
            INSERT INTO b_parent (root) VALUES (1), (2);
            INSERT INTO a_child SELECT n, 1 + n % 2, repeat('x', 100) FROM generate_series(1, 200) n;
            INSERT INTO "a user's" SELECT generate_series(1, 200); ALTER TABLE "a user's" ADD CHECK (is_child(id));
        """)
        assert there_and_back(folder, store, database, target_database) == []
        target_database.drop()


@contextmanager
def offered(server: ScratchPostgres, name: str, script: str) -> Iterator[None]:
    """An extension that the machine does not have."""
    shared = Path(server.psql("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'")) / "extension"
    files = {f"{name}.control": "default_version = '1.0'\n", f"{name}--1.0.sql": script}
    try:
        for file, text in files.items():
            (shared / file).write_text(text)
        yield
    finally:
        for file in files:
            (shared / file).unlink(missing_ok=True)


def where(database: Database) -> dict[str, object]:
    """The variables of libpq, and the name that the page asks for."""
    server = database.server
    bin_folder = server.binaries.psql.parent
    return {
        "DATABASE": database.name,
        "PGHOST": server.folder,
        "PGPORT": server.port,
        "PGUSER": "postgres",
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    }
