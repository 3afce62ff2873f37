"""Statuses as a sidecar may have them, for the tests of the page and of the metrics, and for the pictures in the docs."""

from __future__ import annotations

import random
from dataclasses import replace

from dwebbackup.daemon.status import Made, Moving, Problem, Run, SourceStatus, Status, StoreStatus

NOW = 1_795_000_000.0
"""2026-11-18 11:06:40 UTC"""

HOUR, DAY = 3600.0, 86400.0
GIB = 1 << 30

NASTY = "<script>alert(1)</script>"


def made(
    number: int, finished: float, suspect: tuple[str, ...] = (), identity: str = "7301442-app", first: int = 1
) -> Made:
    """Backup *number* of a database that grows; the *first* one stored everything."""
    chance = random.Random(number)
    read = int(3.1 * GIB + number * 2.4e6 + chance.random() * 2e7)
    stored = read // 4 if number == first else int(6e6 + chance.random() ** 3 * 9e7)
    return Made(
        f"{number}-{chance.randrange(1 << 32):08x}",
        number,
        "app",
        identity,
        finished,
        48 + chance.random() * 20,
        read // 3 if suspect else read,
        stored,
        18_400_000 + number * 9_000,
        suspect,
    )


def history(number: int, every: float = 6 * HOUR, until: float = NOW - 2 * HOUR) -> tuple[Made, ...]:
    """So many good backups, the newest at *until*."""
    return tuple(made(at + 1, until - (number - 1 - at) * every) for at in range(number))


def source(backups: tuple[Made, ...], **changes: object) -> SourceStatus:
    """A database with these backups, at rest."""
    good = [each for each in backups if not each.suspect]
    newest = good[-1] if good else None
    at_rest = SourceStatus(
        "app",
        "postgresql://app@db:5432/app",
        "idle",
        "every 6 hours (UTC)",
        NOW + 4 * HOUR,
        newest,
        newest.finished + 7 * HOUR if newest else None,
        backups,
    )
    return replace(at_rest, **changes)  # type: ignore[arg-type]


STORE = StoreStatus("s3", "s3://s3.filebase.example/app-backups", NOW - 90, 4127, 13 * GIB)


def status(*sources: SourceStatus, **changes: object) -> Status:
    """A sidecar that has run for eleven days."""
    plain = Status(NOW, NOW - 11 * DAY, "0.1.0", 1, "w1-7f3a9c20d4e1", sources, (STORE,))
    return replace(plain, **changes)  # type: ignore[arg-type]


def _runs() -> tuple[Run, ...]:
    ok = [
        Run("backup", "app", NOW - (44 - 6 * at) * HOUR, 52, "ok", f"backup {200 + at}: 3.6 GiB read, 14 MiB stored")
        for at in range(7)
    ]
    away = "the store s3 did not answer for 5 minutes: connection refused"
    failed = Run("backup", "app", NOW - 9 * HOUR, 301, "failed", away, "nothing to do if it is back; else see its page")
    drill = Run("drill", "app", NOW - 30 * HOUR, 190, "ok", "20,252,000 rows came back as they were")
    return tuple(sorted([*ok, failed, drill], key=lambda run: run.began))


WELL = status(source(history(200)), runs=_runs(), failures=(("store", 1),))

EMPTY = status(source((), next_run=NOW + 60), stores=(replace(STORE, answered=None, packs=None, bytes=None),))

OVERDUE = status(
    source(
        (*history(60, until=NOW - 3 * DAY)[:-14], *history(60, until=NOW - 19 * HOUR)[-8:]),
        problem=Problem(
            "database",
            "the role backup may not read the table billing.invoices",
            "`GRANT SELECT ON billing.invoices TO backup;`",
            NOW - 19 * HOUR,
        ),
    ),
    stores=(
        STORE,
        StoreStatus(
            "attic",
            "file:///srv/backups",
            NOW - 2 * DAY,
            4127,
            13 * GIB,
            Problem(
                "store",
                "the folder /srv/backups is not there",
                "is the disk mounted?",
                NOW - 2 * DAY,
            ),
        ),
    ),
    runs=_runs(),
    failures=(("database", 3), ("store", 41)),
    warnings=(
        "the 24 words are on this machine; make a writer key (`dwebbackup key writer`), and put that here instead",
    ),
)

RESTORING = status(
    source(
        history(40, until=NOW - 5 * HOUR),
        phase="restoring",
        next_run=None,
        moving=Moving("restoring app from backup 40-9c2f11d0", NOW - 260, int(1.9 * GIB), int(3.2 * GIB)),
    ),
    started=NOW - 300,
)  # fmt: skip

ALARM = status(
    source(
        history(30, until=NOW - 20 * HOUR),
        phase="alarm",
        next_run=None,
        problem=Problem(
            "restore",
            "the database app is empty, and there is no key to restore it with",
            "set `DWEBBACKUP_RESTORE_KEY` to the reader key, and take it away again afterwards",
            NOW - 600,
        ),
    ),
    started=NOW - 620,
)

SHRANK = ("has 31% of the rows of the backup before it (6,120,000 of 20,252,000)",)

SUSPECT = status(
    source(
        (*history(120, until=NOW - 8 * HOUR), made(121, NOW - 2 * HOUR, SHRANK)),
        phase="idle",
        problem=Problem(
            "suspect",
            "the newest backup has only 31% of the rows",
            "`dwebbackup show 121` tells what it holds",
            NOW - 2 * HOUR,
        ),
        good_until=NOW + 5 * HOUR,
    ),
    runs=(Run("backup", "app", NOW - 2 * HOUR, 21, "suspect", SHRANK[0]),),
)

_OTHER = tuple(made(at, NOW - (30 - at) * 6 * HOUR - DAY, identity="7554018-app", first=1) for at in range(1, 12))
TWO_HISTORIES = status(source(tuple(sorted((*history(40), *_OTHER), key=lambda each: each.finished))))

RESTORED = status(
    source(
        (
            *history(30, until=NOW - 60 * HOUR),
            *(
                replace(each, identity="7554018-app", follows="7301442-app")
                for each in history(40, until=NOW - 2 * HOUR)[-9:]
            ),
        )
    )
)

WAITING = status(source((), phase="waiting", next_run=None))

NOT_CONFIGURED = status(
    stores=(),
    problems=(Problem("configuration", "DWEBBACKUP_KEY is not set", "`dwebbackup key writer` prints it", NOW - 30),),
    writer=None,
    writer_id="",
)

HOSTILE = status(
    source(
        (*history(3), made(4, NOW - HOUR, (f"{NASTY} & 'so on'",), identity=f"{NASTY}-2")),
        name=NASTY,
        url=f"postgresql://app:hunter2@db/{NASTY}",
        problem=Problem("backup", f"the table {NASTY}", f'"{NASTY}" dwbw1qqqqqqqqqqqqqqqqqqqqqqqq', NOW),
        moving=Moving(NASTY, NOW - 5, 7, None),
    ),
    stores=(replace(STORE, name=NASTY, url=f"s3://{NASTY}"),),
    warnings=(NASTY,),
    runs=(Run("backup", NASTY, NOW - HOUR, 3, "failed", NASTY, NASTY),),
)

EVERY = {
    "well": WELL,
    "empty": EMPTY,
    "overdue": OVERDUE,
    "restoring": RESTORING,
    "alarm": ALARM,
    "suspect": SUSPECT,
    "two histories": TWO_HISTORIES,
    "restored": RESTORED,
    "waiting": WAITING,
    "not configured": NOT_CONFIGURED,
    "hostile": HOSTILE,
    "one backup": status(source(history(1))),
    "ten backups": status(source(history(10))),
    "a thousand backups": status(source(history(1000))),
}
"""By name: what every state of a page is tried with."""
