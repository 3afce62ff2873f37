"""The whole story on one terminal: a database is backed up, lost with its machine, and back from 24 words."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from urllib.parse import quote

from dwebbackup import assemble, backup, clock, restore
from dwebbackup.access import below, open_store
from dwebbackup.config import Config, SourceConfig, StoreConfig
from dwebbackup.keys import OwnerKey, WriterKey, parse_key
from dwebbackup.report.wording import columns, count, duration, size
from dwebbackup.scratch.postgres import Binaries, ScratchPostgres, install_postgres
from dwebbackup.scratch.sample import fill_sample

DATABASE = "board"

CHANGES = """
INSERT INTO board.member (handle, email, joined) VALUES ('newcomer', 'newcomer@example.org', '2025-07-01');
INSERT INTO board.remark (pin, author, body, at)
    SELECT n, 5001, 'Remark ' || n || ' of the newcomer', '2025-07-01' FROM generate_series(1, 100) AS n;
UPDATE board.pin SET title = title || ' (framed)' WHERE id BETWEEN 1001 AND 1050;
DELETE FROM board.liked WHERE pin = 7;
REFRESH MATERIALIZED VIEW board.popular;
"""

# Tables, partitions and materialized views by their rows, sequences by their place, large objects by their pages.
PARTS = """
SELECT relkind = 'r', format('%I.%I', nspname, relname),
       format(CASE relkind WHEN 'S' THEN '(SELECT last_value, is_called FROM %I.%I)' ELSE '%I.%I' END,
              nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'm', 'S') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL SELECT false, 'large objects', '(SELECT loid, pageno, data FROM pg_largeobject)'
ORDER BY 2
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A table, or what else holds data: two of them are equal if they hold the same, in whatever order."""

    name: str
    is_table: bool
    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Story:
    """What every chapter needs: where things are, and whom to tell."""

    say: Say
    stop: Event
    binaries: Binaries
    store: str
    """The folder of the backups."""

    def config(self, *, source: str = "", target: str = "") -> Config:
        """As a user would configure it: the folder is the store."""
        sources = (SourceConfig(DATABASE, source),) if source else ()
        store = StoreConfig(f"file://{quote(self.store)}")
        return Config(sources, (store,), target=target, postgres_bin=str(self.binaries.pg_dump.parent))


def tell(say: Say, stop: Event, *, keep: bool = False, postgres_bin: str = "") -> list[str]:
    """Tell it; gives the names of what differs in the end, which should be nothing.

    Everything is cleared away, but for the folder of the backups with *keep*. *stop* ends waits.
    """
    began = clock.monotonic()
    binaries = install_postgres(say, postgres_bin)
    with _folder(keep=keep) as folder:
        story = Story(say, stop, binaries, os.path.join(folder, "store"))
        owner = OwnerKey.generate()
        before = _first_life(story, owner)
        after = _second_life(story, owner.words)
        different = differing(before, after)
        _tell_comparison(story, before, different)
        say(f"\nAll of it took {duration(clock.monotonic() - began)}.")
        if keep:
            _leave_words(story, folder, owner)
    return different


def _first_life(story: Story, owner: OwnerKey) -> list[Part]:
    """The database lives, is backed up twice, and is lost."""
    say, clock_ = story.say, _Clock()
    with ScratchPostgres(story.binaries) as server:
        version = ".".join(map(str, story.binaries.version))
        say(f"1. A throw-away PostgreSQL {version}, in a temporary folder that nobody else can reach{clock_}")
        server.psql(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        fill_sample(server, DATABASE)
        whole = size(int(server.psql(f"SELECT pg_database_size('{DATABASE}')")))
        say(f"   In it, a pin board that sells prints: {_figures(parts_of(server))}, {whole}{clock_}")
        _show_words(story, owner)
        writer = owner.writer(1).line
        say(f"\n3. A first backup, into {story.store}")
        first = _back_up(story, server, writer)
        server.psql(CHANGES, DATABASE)
        say("\n4. Somebody joins and writes, some titles change, some rows go. A second backup:")
        second = _back_up(story, server, writer)
        share = 100 * second.bytes_stored / first.bytes_stored
        say(f"   That is {share:.1f}% of the first: what was there already is not stored again.")
        parts = parts_of(server)
        server.kill()
    say("\n5. The lease ends: the server is killed, and its disk is wiped.")
    return parts


def _second_life(story: Story, words: str) -> list[Part]:
    """A fresh machine has the words and the folder, and nothing else."""
    clock_ = _Clock()
    with ScratchPostgres(story.binaries) as server:
        story.say(f"   Another machine: a fresh, empty server{clock_}")
        story.say("\n6. From the words and the folder alone:")
        config = story.config(target=server.uri(DATABASE))
        newest = open_store(parse_key(words), assemble.store(config, story.stop))[-1]
        found = newest.catalog.latest()
        options = restore.Options(jobs=config.jobs)
        done = restore.restore(newest, found, assemble.target(config), options)
        tables, rows = count(done.restored.tables, "table"), count(done.restored.rows, "row")
        story.say(f"   backup {found.ref.id} is restored: {tables}, {rows} ({duration(done.seconds)})")
        return parts_of(server)


def _show_words(story: Story, owner: OwnerKey) -> None:
    words = [f"{number:2}. {word}" for number, word in enumerate(owner.words.split(), 1)]
    story.say("\n2. A key: 24 words, which you would write down and keep at home (these are for this demo only)\n")
    story.say("\n".join(f"     {line}" for line in columns(words, 4).splitlines()))
    story.say("\n   From them comes one line for the rented machine: it adds backups, and cannot read one row.")


def _back_up(story: Story, server: ScratchPostgres, line: str) -> backup.Done:
    config = story.config(source=server.uri(DATABASE))
    writer = parse_key(line)
    assert isinstance(writer, WriterKey)
    store = below(assemble.prepared_store(config, story.stop), writer.id)
    done = backup.back_up(assemble.sources(config), store, writer, backup.Options(config.jobs))
    packs = count(done.backup.manifest.packs, "new pack")
    story.say(
        f"   backup {done.backup.ref.id}: {size(done.bytes_read)} read, {size(done.bytes_stored)} stored in {packs}"
        f" ({duration(done.seconds)})"
    )
    story.say("\n".join(f"   {link}" for link in done.links))
    return done


def parts_of(server: ScratchPostgres) -> list[Part]:
    """What is in the database. The checksum adds up a hash of every row, so their order does not matter."""
    parts = [line.split("|") for line in server.psql(PARTS, DATABASE).splitlines()]
    sums = " UNION ALL ".join(
        f"SELECT {at}, count(*), coalesce(sum(hashtextextended(part::text, 0)), 0) FROM {relation} AS part"  # noqa: S608
        for at, (_, _, relation) in enumerate(parts)
    )
    figures = [line.split("|") for line in server.psql(f"{sums} ORDER BY 1", DATABASE).splitlines()]
    return [
        Part(name, is_table == "t", int(rows), total)
        for (is_table, name, _), (_, rows, total) in zip(parts, figures, strict=True)
    ]


def _figures(parts: Sequence[Part]) -> str:
    tables = [part for part in parts if part.is_table]
    return f"{count(len(tables), 'table')}, {count(sum(table.rows for table in tables), 'row')}"


def differing(before: Sequence[Part], after: Sequence[Part]) -> list[str]:
    """The names of what is not in both alike."""
    return sorted({part.name for part in set(before) ^ set(after)})


def _tell_comparison(story: Story, before: Sequence[Part], different: Sequence[str]) -> None:
    story.say("\n7. Compared, table by table: how many rows, and a checksum over all of them")
    for part in before:
        verdict = "DIFFERS" if part.name in different else "equal"
        story.say(f"   {part.name:<28} {part.rows:>8,} rows  {verdict}")


def _leave_words(story: Story, folder: str, owner: OwnerKey) -> None:
    path = os.path.join(folder, "words")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(owner.words + "\n")
    story.say(f"The backups are kept. Try: dwebbackup list --key-file {path} --store file://{quote(story.store)}")


@contextmanager
def _folder(*, keep: bool) -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="dwebbackup-demo-")
    kept = False
    try:
        yield folder
        kept = keep
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


class _Clock:
    """Puts the time since it was last asked at the end of a sentence."""

    def __init__(self) -> None:
        self._last = clock.monotonic()

    def __str__(self) -> str:
        last, self._last = self._last, clock.monotonic()
        return f" ({duration(self._last - last)})"
