"""`dwebbackup restore`: bring a backup back into a database."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from dwebbackup import assemble
from dwebbackup.cli.choosing import Wanted, overdue
from dwebbackup.cli.memory import give_back_large_buffers
from dwebbackup.cli.reaching import from_networks, reach
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.report.wording import contents, duration
from dwebbackup.restore import Done, Options, plan, restore

GOES_ON = (
    "if it is backed up from now on: the first time, `dwebbackup backup --accept` says that its history goes on here"
)
"""To a backup it is another database than before."""


@click.command()
@click.argument("backup")
@click.option(
    "--to",
    "target",
    default="",
    metavar="URL",
    help="What to fill: postgresql://USER@HOST/DATABASE, mysql://…, files:///FOLDER.",
)
@click.option("--source", metavar="NAME", help="Which of the backup's sources, if it has several.")
@click.option(
    "--as-of", default="", metavar="TIME", help="With `latest`: the newest backup not later than this, in UTC."
)
@click.option(
    "--at-least", type=click.IntRange(1), metavar="SEQUENCE", help="Fail unless the newest backup is this one or newer."
)
@click.option("--accept-older", is_flag=True, help="Take the newest there is, though this machine saw a newer one.")
@from_networks
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Only this table of a database, with what belongs to it: orders, shop.orders, 'shop.*'; may be given more "
    "than once.",
)
@click.option("--replace", is_flag=True, help="The target may hold something; that is kept under another name.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--jobs", type=int, metavar="N", help="Tables filled at once. [DWEBBACKUP_JOBS]")
@with_session
def command(
    session: Session,
    backup: str,
    target: str,
    source: str | None,
    as_of: str,
    at_least: int | None,
    accept_older: bool,
    from_networks: bool,
    tables: tuple[str, ...],
    replace: bool,
    dry_run: bool,
    jobs: int | None,
) -> int | None:
    """Bring a backup back into a database or a folder.

    BACKUP is `latest`, an id from `dwebbackup list`, a time (2026-11-20T03:00, UTC: the newest backup not later
    than that), a copy of its manifest, or a link: ipfs://CID, ipns://NAME, sia://SKYLINK, or the address of one of
    these at a gateway or portal. A link, and a copy of a manifest whose links it has, need no store; and where no store
    is configured, the key alone finds what networks have.

    The database or folder is filled under a temporary name and renamed when it is complete, so that nobody ever
    meets half of it. One that holds anything is refused without --replace.
    """
    give_back_large_buffers()
    config = session.config(target=target, jobs=jobs)
    key = key_of(config)
    place = assemble.target(config)
    reached = reach(key, config, backup, from_networks=from_networks)
    wanted = Wanted(reached.means(backup), as_of, at_least, source)
    opened, found = reached.find(wanted)
    session.warn(reached.notes)
    if wanted.is_newest:
        reached.require_as_new_as_seen(found, accept_older=accept_older)
    if late := overdue(found.manifest):
        session.warn([f"backup {found.ref.id} is {late}"])
    with session.progress() as progress:
        options = Options(replace, config.jobs, source, tables, progress)
        if dry_run:
            steps = plan(opened, found, place, options)
            session.show({"backup": found.ref.id, "target": place.url, "plan": steps}, "\n".join(steps))
            return session.end(found.doubts)
        done = restore(opened, found, place, options)
    if not tables:
        restored = dataclasses.replace(done.restored, notes=(*done.restored.notes, GOES_ON))
        done = dataclasses.replace(done, restored=restored)
    session.report(document(done), text(done), good=not done.warnings)
    return session.end(done.warnings)


def document(done: Done) -> dict[str, Any]:
    """The restore, for programs."""
    return {
        "backup": done.backup.ref.id,
        "target": done.restored.target,
        "tables": done.restored.tables,
        "rows": done.restored.rows,
        "seconds": round(done.seconds, 3),
        "notes": done.restored.notes,
        "shortfalls": done.restored.shortfalls,
        "doubts": done.backup.doubts,
    }


def text(done: Done) -> str:
    """The restore, for people."""
    restored = done.restored
    figures = f"{contents(restored.tables, restored.rows, restored.unit)}, {duration(done.seconds)}"
    first = f"backup {done.backup.ref.id} is restored to {restored.target}: {figures}"
    return "\n".join([first, *(f"note: {note}" for note in restored.notes)])
