"""The contenders: how each tool backs up and restores, in shell lines that anybody can type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import TypeVar

from bench import measure

Figures = TypeVar("Figures")

Meter = Callable[[str, Mapping[str, str]], Figures]
"""Runs a shell line in an environment, and gives what is to be known about it."""


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """Its lines see `$SOURCE` and `$TARGET`, two databases' URIs, and `$FOLDER`, which is its own.

    What it stores lies in `$FOLDER/stored`; keys and caches lie elsewhere in `$FOLDER`.
    """

    name: str
    backup: str
    restore: str = ""
    prepare: str = ":"
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = False


OURS = Contender(
    name="dwebbackup",
    prepare="""umask 077; dwebbackup key new --json | python -c 'import json, sys; print(json.load(sys.stdin)["words"])' >$FOLDER/key""",
    backup="dwebbackup backup --json",
    restore='dwebbackup restore latest --to "$TARGET" --json',
    environment={
        "DWEBBACKUP_SOURCE": "$SOURCE",
        "DWEBBACKUP_STORE": "file://$FOLDER/stored",
        "DWEBBACKUP_KEY_FILE": "$FOLDER/key",
        # Nobody outside of this machine is asked, or told.
        "DWEBBACKUP_GATEWAYS": "off",
        "DWEBBACKUP_PORTALS": "off",
        "DWEBBACKUP_ROUTERS": "off",
    },
    is_ours=True,
)

OURS_S3 = replace(
    OURS,
    name="dwebbackup to S3",
    environment={
        **OURS.environment,
        "DWEBBACKUP_STORE": "s3://$BUCKET?endpoint=$ENDPOINT",
        "DWEBBACKUP_STORE_S3_ACCESS_KEY_ID": "$ACCESS_KEY",
        "DWEBBACKUP_STORE_S3_SECRET_ACCESS_KEY": "$SECRET_KEY",
    },
)

IDLE = Contender(name="no backup", backup="sleep 20")  # for what is measured while others back up

NOWHERE = Contender(
    name="pg_dump >/dev/null",  # what the database itself needs
    backup='pg_dump -Fc -Z0 "$SOURCE" >/dev/null',
)

PIPELINE = Contender(
    name="pg_dump | zstd | age",  # the best that standard tools do
    prepare="age-keygen -o $FOLDER/key && age-keygen -y $FOLDER/key >$FOLDER/recipient",
    backup='pg_dump -Fc -Z0 "$SOURCE" | zstd -T0 -3 | age -R $FOLDER/recipient >$FOLDER/stored/dump.age',
)

RESTIC = Contender(
    name="pg_dump | restic",
    prepare="restic init",
    backup='pg_dump -Fc -Z0 "$SOURCE" | restic backup --stdin --stdin-filename dump',
    restore='restic dump latest dump | pg_restore -d "$TARGET"',
    environment={
        "RESTIC_REPOSITORY": "$FOLDER/stored",
        "RESTIC_CACHE_DIR": "$FOLDER/cache",
        "RESTIC_PASSWORD": "benchmark",
    },
)

RESTIC_S3 = replace(
    RESTIC,
    name="pg_dump | restic to S3",
    environment={
        **RESTIC.environment,
        "RESTIC_REPOSITORY": "s3:$ENDPOINT/$BUCKET",
        "AWS_ACCESS_KEY_ID": "$ACCESS_KEY",
        "AWS_SECRET_ACCESS_KEY": "$SECRET_KEY",
    },
)

BORG = Contender(
    name="pg_dump | borg",
    prepare="borg init --encryption=repokey-blake2",
    backup='pg_dump -Fc -Z0 "$SOURCE" | borg create ::{utcnow} -',
    environment={
        "BORG_REPO": "$FOLDER/stored",
        "BORG_BASE_DIR": "$FOLDER/base",
        "BORG_PASSPHRASE": "benchmark",
    },
)

DIRECTORY = Contender(
    name="pg_dump to a folder",  # uncompressed, on a local disk: nothing of PostgreSQL's own restores faster
    backup='pg_dump -Fd -Z0 -j2 -f $FOLDER/stored/dump "$SOURCE"',
    restore='pg_restore -j2 -d "$TARGET" $FOLDER/stored/dump',
)

CUSTOM = Contender(
    name="pg_dump -Fc",  # as most people back up: compressed by one core
    backup='pg_dump -Fc -f $FOLDER/stored/dump "$SOURCE"',
)

VERSIONS = (
    "dwebbackup --version",
    "pg_dump --version",
    "zstd --version",
    "age --version",
    "restic version",
    "borg --version",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A contender in a folder of its own, ready to back up."""

    contender: Contender
    folder: Path
    environment: Mapping[str, str]

    def backup(self, meter: Meter[Figures]) -> Figures:
        return meter(self.contender.backup, self.environment)

    def restore(self, meter: Meter[Figures]) -> Figures:
        return meter(self.contender.restore, self.environment)

    def stored(self) -> int:
        return measure.stored(self.folder / "stored")


@contextmanager
def place(contender: Contender, environment: Mapping[str, str]) -> Iterator[Place]:
    """A new place, which is gone afterwards. *environment* has `SOURCE`, `TARGET` and the way to the programs."""
    with TemporaryDirectory(prefix="dwebbackup-bench-") as name:
        folder = Path(name)
        (folder / "stored").mkdir()
        known = {**environment, "FOLDER": name}
        own = {key: Template(value).substitute(known) for key, value in contender.environment.items()}
        new = Place(contender, folder, known | own)
        measure.output(contender.prepare, new.environment)
        yield new
