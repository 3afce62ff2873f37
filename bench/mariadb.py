"""MariaDB out and back, against its own tools: dumps as everybody makes them, and mydumper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from bench.arena import Arena
from bench.contenders import OURS, Contender
from bench.mariadb_server import SOURCE, TARGET, mariadb_server
from bench.measure import seconds
from bench.row import Row, alternate, present

_DUMP = "mariadb-dump --no-defaults --socket=$SOCKET -uroot --single-transaction --routines --events source"
_AGE = "age-keygen -o $FOLDER/key && age-keygen -y $FOLDER/key >$FOLDER/recipient"

NOWHERE = Contender(name="mariadb-dump >/dev/null", backup=f"{_DUMP} >/dev/null")

PIPELINE = Contender(
    name="mariadb-dump | zstd | age",
    prepare=_AGE,
    backup=f"{_DUMP} | zstd -T0 -3 | age -R $FOLDER/recipient >$FOLDER/stored/dump.age",
)

PLAIN = Contender(
    name="mariadb-dump to a file",
    backup=f"{_DUMP} >$FOLDER/stored/dump.sql",
    restore="mariadb --no-defaults --socket=$SOCKET -uroot target <$FOLDER/stored/dump.sql",
)

MYDUMPER = Contender(
    name="mydumper, then age",
    prepare=_AGE,
    backup="mydumper --socket $SOCKET --user root --database source --threads 2 --compress --outputdir $FOLDER/stored/out"
    " && tar -C $FOLDER/stored -c out | age -R $FOLDER/recipient >$FOLDER/stored/dump.age",
    restore="myloader --socket $SOCKET --user root --database target --threads 2 --overwrite-tables"
    " --directory $FOLDER/stored/out",
)


def mariadb(arena: Arena) -> Iterator[Row]:
    """First backups, each into an empty folder, and everything back into an empty database."""
    with mariadb_server(arena.scale) as server:
        own = {"SOURCE": server.url(SOURCE), "TARGET": server.url(TARGET), "SOCKET": str(server.socket)}
        there = replace(arena, environment={**arena.environment, **own})

        def backup(contender: Contender) -> float:
            with there.place(contender) as place:
                return place.backup(seconds)

        budgets = {NOWHERE: 1.4, PIPELINE: 0.95, MYDUMPER: None}
        times = alternate(there, [OURS, *budgets], backup)
        for peer, budget in budgets.items():
            yield Row("MariaDB: full backup", peer.name, "s", times.get(OURS, []), times[peer], budget)
        with ExitStack() as stack:
            returning = [OURS, PLAIN, MYDUMPER]
            places = {it: stack.enter_context(there.place(it)) for it in present(there, returning)}
            for place in places.values():
                place.backup(seconds)

            def bring_back(contender: Contender) -> float:
                server.clear_target()
                taken = places[contender].restore(seconds)
                server.check_target()
                return taken

            times = alternate(there, returning, bring_back)
        yield Row("MariaDB: restore", "mariadb <dump.sql", "s", times.get(OURS, []), times[PLAIN], 0.7)
        yield Row("MariaDB: restore", "myloader", "s", times.get(OURS, []), times[MYDUMPER])
