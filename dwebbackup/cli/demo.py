"""`dwebbackup demo`: the whole story on a throw-away server."""

from __future__ import annotations

import logging
import sys

import click

from dwebbackup import config
from dwebbackup.cli.edge import STOP
from dwebbackup.demo import tell
from dwebbackup.report import log


@click.command()
@click.option("--keep", is_flag=True, help="Keep the backups, and say where they are.")
@click.option("--debug", is_flag=True, help="Show where an error comes from, and more log lines.")
def command(keep: bool, debug: bool) -> int:
    """See the whole story on a throw-away server.

    A PostgreSQL server is started and filled, backed up twice into a folder, killed and wiped; a fresh one is
    filled from the backup, and compared. It takes less than 90 seconds, and touches no database of yours. Where
    there is no PostgreSQL on this machine, it is installed.
    """
    log.set_up(sys.stderr, logging.DEBUG if debug else logging.WARNING)
    postgres_bin = config.load(with_key=False).postgres_bin
    differing = tell(lambda text: print(text, flush=True), STOP, keep=keep, postgres_bin=postgres_bin)
    if differing:
        print(f"\nNOT EQUAL: {', '.join(differing)}", flush=True)
        return 1
    print("Everything is back. To do the same with your own database, begin with: dwebbackup key new", flush=True)
    return 0
