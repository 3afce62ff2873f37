"""`dwebbackup daemon`: the sidecar."""

from __future__ import annotations

import sys

import click

from dwebbackup.cli.edge import STOP
from dwebbackup.cli.memory import give_back_large_buffers
from dwebbackup.cli.session import Session, with_session
from dwebbackup.report import log


@click.command()
@with_session
def command(session: Session) -> None:
    """Back up on schedule, beside a database.

    Runs until it is stopped, whatever is wrong: what is, stands in the log and on the page (DWEBBACKUP_LISTEN).
    An absent or empty database is restored first, if there are backups of it; one that holds data is never touched.

    SIGTERM ends it: what a backup under way has stored is not stored again by the next. SIGHUP reads the
    configuration again. SIGUSR1 backs up now.
    """
    give_back_large_buffers()
    log.set_up(log.undaunted(sys.stdout))  # where whoever runs containers looks for it
    from dwebbackup.daemon.loop import run  # noqa: PLC0415  # with all that only a sidecar needs

    run(session.given, STOP)
