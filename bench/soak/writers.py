"""The app: threads that change the database all the time, and a chronicle of what they are certain to have done."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

PAUSE = 0.03
"""Seconds between two transactions at most: the machine has other things to do."""


STRONG = 0.015
"""Share of the transactions that lock a table against everybody: once in a few seconds."""


@dataclass(slots=True)
class Entry:
    """A transaction with its number in the ledger."""

    n: int
    checksum: int
    entered: float
    """When it had its number, and was not committed yet."""
    committed: float | None = None
    """When it was known to be; None for as long as that is not known."""


@dataclass(slots=True)
class Chronicle:
    """What happened to one database, by this machine's clock. *origin*: what it was restored from, up to *base*."""

    origin: Chronicle | None = None
    base: int = 1
    entries: list[Entry] = field(default_factory=list)

    def checksums(self, n: int) -> set[int]:
        """What the state after transaction *n* may be: two only where a server ended while it committed."""
        if n <= self.base:
            return self.origin.checksums(n) if self.origin else set()
        found = [entry for entry in self.entries if entry.n == n]
        return {entry.checksum for entry in found if entry.committed} or {entry.checksum for entry in found}

    def least(self, moment: float) -> int:
        """The number of the last one that was committed before."""
        known = (entry.n for entry in self.entries if entry.committed and entry.committed < moment)
        return max(known, default=self.base)

    def most(self, moment: float) -> int:
        """The number of the last one that may have been."""
        return max((entry.n for entry in self.entries if entry.entered < moment), default=self.base)


class Writers:
    """Two at a time, of which one empties and refills a table, and the other one changes the schema.

    They outlive any end of their server.
    """

    def __init__(self, uri: str, chronicle: Chronicle, seed: int) -> None:
        self.chronicle = chronicle
        self.done = 0
        self.refused = 0
        self._uri = uri
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        tasks = [(seed, [refill_cache]), (seed + 1, MIGRATIONS)]
        self._threads = [threading.Thread(target=self._write, args=task, daemon=True) for task in tasks]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Raises whatever ended one of them early."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failure:
            raise self._failure

    def _write(self, seed: int, strong: list[Task]) -> None:
        rng = random.Random(seed)
        try:
            while not self._stop.is_set():
                with suppress(psycopg.OperationalError):  # the server ended, or is not there
                    self._session(rng, strong)
                self._stop.wait(0.1)
        except BaseException as error:  # noqa: BLE001  # told by `stop`
            self._failure = error

    def _session(self, rng: random.Random, strong: list[Task]) -> None:
        options = "-c search_path=soak -c lock_timeout=5s -c client_min_messages=error"
        with psycopg.connect(self._uri, options=options) as connection:
            while not self._stop.is_set():
                tasks = strong if rng.random() < STRONG else ROWS
                self._transaction(connection, rng, rng.choice(tasks))
                self._stop.wait(rng.uniform(0, PAUSE))

    def _transaction(self, connection: psycopg.Connection, rng: random.Random, task: Task) -> None:
        try:
            connection.execute("SELECT setseed(%s)", (rng.random(),))
            task(connection, rng)
            n, checksum = connection.execute("SELECT * FROM enter(%s)", (task.__name__,)).fetchone()
            entry = Entry(n, int(checksum), time.time())
            self.chronicle.entries.append(entry)
            connection.commit()
            entry.committed = time.time()
            self.done += 1
        except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
            connection.rollback()
            self.refused += 1


Task = Callable[[psycopg.Connection, random.Random], None]

# --- what an app does with rows ---


def pay(connection: psycopg.Connection, rng: random.Random) -> None:
    one, other = sorted(rng.sample(range(1, 1001), 2))
    query = """UPDATE accounts SET balance = balance + CASE id WHEN %s THEN %s ELSE %s END, note = md5(random()::text)
        WHERE id IN (%s, %s)"""
    amount = rng.randint(1, 500)
    connection.execute(query, (one, amount, -amount, one, other))


def found_family(connection: psycopg.Connection, rng: random.Random) -> None:
    (parent,) = connection.execute("INSERT INTO parents (name) VALUES (md5(random()::text)) RETURNING id").fetchone()
    query = "INSERT INTO children (parent, payload) SELECT %s, md5(random()::text) FROM generate_series(1, %s)"
    connection.execute(query, (parent, rng.randint(0, 20)))


def end_families(connection: psycopg.Connection, rng: random.Random) -> None:
    query = "DELETE FROM parents WHERE id IN (SELECT id FROM parents ORDER BY random() LIMIT %s)"
    (many,) = connection.execute("SELECT count(*) > 300 FROM parents").fetchone()
    connection.execute(query, (rng.randint(1, 3) if many else 0,))


def rename_children(connection: psycopg.Connection, rng: random.Random) -> None:
    connection.execute("UPDATE children SET payload = md5(random()::text) WHERE id %% 97 = %s", (rng.randrange(97),))


def append(connection: psycopg.Connection, rng: random.Random) -> None:
    query = "INSERT INTO past (filler) SELECT md5(random()::text) FROM generate_series(1, %s)"
    connection.execute(query, (rng.randint(1, 100),))


def lose_a_number(connection: psycopg.Connection, _rng: random.Random) -> None:
    connection.execute("SELECT nextval('past_id_seq')")


def add_file(connection: psycopg.Connection, rng: random.Random) -> None:
    query = """WITH made AS (SELECT lo_from_bytea(0, decode(repeat(md5(random()::text), %s), 'hex')) AS content)
        INSERT INTO files (content, digest) SELECT content, '' FROM made RETURNING id"""
    (made,) = connection.execute(query, (rng.randint(1, 500),)).fetchone()
    connection.execute("UPDATE files SET digest = md5(lo_get(content)) WHERE id = %s", (made,))


def write_into_file(connection: psycopg.Connection, rng: random.Random) -> None:
    chosen = connection.execute("SELECT id, content FROM files ORDER BY random() LIMIT 1 FOR UPDATE").fetchone()
    if chosen:
        connection.execute("SELECT lo_put(%s, %s, %s)", (chosen[1], rng.randint(0, 4000), rng.randbytes(100)))
        connection.execute("UPDATE files SET digest = md5(lo_get(content)) WHERE id = %s", (chosen[0],))


def remove_file(connection: psycopg.Connection, _rng: random.Random) -> None:
    query = """DELETE FROM files WHERE id = (SELECT id FROM files ORDER BY random() LIMIT 1 FOR UPDATE)
        AND (SELECT count(*) > 20 FROM files) RETURNING content"""
    for (content,) in connection.execute(query).fetchall():
        connection.execute("SELECT lo_unlink(%s)", (content,))


def refill_cache(connection: psycopg.Connection, _rng: random.Random) -> None:
    connection.execute("TRUNCATE cache")
    connection.execute("INSERT INTO cache SELECT n, md5(random()::text) FROM generate_series(1, 500) n")


# --- what its migrations do with tables ---


def _extras(connection: psycopg.Connection) -> Iterator[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'soak' AND tablename LIKE 'extra%' ORDER BY random()"
    return (name for (name,) in connection.execute(query).fetchall())


def add_table(connection: psycopg.Connection, rng: random.Random) -> None:
    if len(list(_extras(connection))) < 3:
        name = f"extra_{rng.randrange(10**9)}"
        connection.execute(f"CREATE TABLE {name} AS SELECT n AS id, md5(random()::text) FROM generate_series(1, 300) n")
        connection.execute("SELECT note(total(%s)), watch(%s)", (name, name))


def drop_table(connection: psycopg.Connection, _rng: random.Random) -> None:
    for name in list(_extras(connection))[2:]:
        connection.execute("SELECT note(-total(%s))", (name,))
        connection.execute(f"DROP TABLE {name}")


def add_column(connection: psycopg.Connection, rng: random.Random) -> None:
    for name in list(_extras(connection))[:1]:
        connection.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        connection.execute("SELECT note(-total(%s))", (name,))
        connection.execute(
            f"ALTER TABLE {name} ADD COLUMN more_{rng.randrange(10**9)} text DEFAULT md5(random()::text)"
        )
        connection.execute("SELECT note(total(%s))", (name,))


def rewrite_table(connection: psycopg.Connection, _rng: random.Random) -> None:
    connection.execute("CLUSTER children USING children_pkey")


def refresh_view(connection: psycopg.Connection, _rng: random.Random) -> None:
    connection.execute("REFRESH MATERIALIZED VIEW busiest")


ROWS = [
    *[pay, found_family, end_families, rename_children, append, lose_a_number] * 3,
    *[add_file, write_into_file, remove_file],
]
MIGRATIONS = [add_table, drop_table, add_column, rewrite_table, refresh_view]
