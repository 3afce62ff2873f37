"""`dwebbackup init`: the owner's word that a writer begins here."""

from __future__ import annotations

import click

from dwebbackup import assemble, clock, records
from dwebbackup.access import below, has, open_writer
from dwebbackup.catalog import GENESIS
from dwebbackup.cli.choosing import reachable
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.session import Session, owner_of, with_session
from dwebbackup.errors import WrongConfiguration
from dwebbackup.manifest import Genesis


@click.command()
@click.option("--writer", "number", type=click.IntRange(1), metavar="N", help="Which writer; else the current one.")
@with_session
def command(session: Session, number: int | None) -> None:
    """Mark the start of a writer in the store.

    From then on, a store that hides the backups of this writer cannot pass for one where it never wrote. Needs
    the 24 words.
    """
    config = session.config()
    owner = owner_of(config, "mark the start of a writer")
    store = assemble.prepared_store(config, STOP)
    number = reachable(number, owner, config)
    writer = owner.writer(number)
    part = below(store, writer.id)
    for before in range(1, number):
        if open_writer(owner, before, store).catalog.refs():
            raise WrongConfiguration(
                f"writer {before} has backups, which writer {number} continues: this is no start",
                f"a sidecar with writer {number} on an empty database wants `dwebbackup key reader {before}`",
            )
    if open_writer(owner, number, store).catalog.refs():
        raise WrongConfiguration(f"writer {number} has backups already", "its start needs no mark any more")
    if has(part, GENESIS):
        raise WrongConfiguration(f"the start of writer {number} is marked already")
    genesis = Genesis(writer.id, number, clock.iso(clock.now()))
    links = part.put(GENESIS, records.write_line(genesis, owner.sign_seed))
    session.report(
        {"number": number, "writer_id": writer.id, "links": links},
        f"writer {number} ({writer.id}) begins in {store.url}",
        good=True,
    )
