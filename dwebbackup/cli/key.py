"""`dwebbackup key`: make the words, and the writer and reader keys that come from them."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from dwebbackup import assemble, clock
from dwebbackup.access import open_writer
from dwebbackup.cli.asking import ask_back
from dwebbackup.cli.choosing import reachable, writer_numbers
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.session import Session, key_of, owner_of, with_session
from dwebbackup.cli.sheet import recovery_sheet, write_sheet
from dwebbackup.config import Config
from dwebbackup.errors import KeyForbids, NoSuchBackup, WrongConfiguration
from dwebbackup.keys import OwnerKey, WriterKey
from dwebbackup.primitives import to_bech32
from dwebbackup.report.wording import columns

WARNING = (
    "without these words nothing comes back, and whoever has them can read every backup: "
    "write them down on paper, in two places"
)


@click.group(no_args_is_help=False)
def command() -> None:
    """Make keys, and show them.

    The 24 words (the owner key) can do everything. A writer key adds backups and cannot read one row: it is
    what a rented machine gets. A reader key restores the backups of one writer, and no other's.
    """


@command.command("new")
@click.option(
    "--sheet",
    type=click.Path(),
    metavar="FILE",
    help="Also write a recovery sheet to print, readable by you only.",
)
@click.option("--no-confirm", is_flag=True, help="On a terminal: do not ask for two of the words.")
@with_session
def new(session: Session, sheet: str | None, no_confirm: bool) -> None:
    """Make 24 new words.

    On a terminal, two of them are asked for afterwards, so that you see whether they are written down well.
    """
    owner = OwnerKey.generate()
    writer = owner.writer(1)
    if sheet:
        _write_sheet(sheet, owner, session.config(with_key=False))
    session.warn([WARNING])
    document = {"words": owner.words, "writer": writer.line, "number": 1, **_public(owner), "writer_id": writer.id}
    session.show(document, _new_text(owner, writer, sheet))
    if not (no_confirm or session.json) and sys.stdin.isatty() and sys.stdout.isatty():
        ask_back(owner.words.split())


@command.command("show")
@click.option("--identity", is_flag=True, help="Print the age identity that opens everything: for `age -d -i`.")
@with_session
def show(session: Session, identity: bool) -> None:
    """Show what a key is, and the writers it opens."""
    config = session.config()
    key = key_of(config)
    if not isinstance(key, OwnerKey):
        if identity:
            raise KeyForbids("only the 24 words have an identity that opens everything")
        kind = "writer" if isinstance(key, WriterKey) else "reader"
        session.show(
            {"kind": kind, "number": key.number, "writer_id": key.id}, f"{kind} key of writer {key.number}, {key.id}"
        )
        return
    if identity:  # for which no store is asked: it may be what is left when all of them are down
        line = to_bech32("age-secret-key-", key.identity).upper()
        session.show({"kind": "owner", **_public(key), "identity": line}, line)
        return
    writers = [{"number": n, "writer_id": key.writer(n).id} for n in writer_numbers(key, config) or [1]]
    text = "\n".join([_recipient_line(key), *(f"writer {each['number']}   {each['writer_id']}" for each in writers)])
    session.show({"kind": "owner", **_public(key), "writers": writers}, text)


@command.command("writer")
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--next", "following", is_flag=True, help="Retire the current writer, and give the next one's line.")
@with_session
def writer(session: Session, number: int | None, following: bool) -> int | None:
    """Print a writer key: one line, for the machine that makes backups.

    Without NUMBER it is the newest writer that the store has, or the first where there is none yet. NUMBER may be
    at most one higher.
    """
    config = session.config()
    owner = owner_of(config, "make writer keys")
    if following and number:
        raise WrongConfiguration("--next finds the number itself")
    doubts: tuple[str, ...] = ()
    if following:
        key, doubts = _next_writer(owner, config)
    else:
        key = owner.writer(reachable(number, owner, config))
    session.show({"writer": key.line, "number": key.number, "writer_id": key.id}, key.line)
    return session.end(doubts)


@command.command("reader")
@click.argument("number", type=click.IntRange(1), required=False)
@with_session
def reader(session: Session, number: int | None) -> None:
    """Print a reader key: one line, which restores the backups of one writer.

    Without NUMBER it is for the newest writer that the store has, or the first where there is none yet.
    """
    config = session.config()
    owner = owner_of(config, "make reader keys")
    key = owner.reader(number or _current(owner, config))
    session.show({"reader": key.line, "number": key.number, "writer_id": key.id}, key.line)


def _current(owner: OwnerKey, config: Config) -> int:
    return max(writer_numbers(owner, config), default=1)


def _next_writer(owner: OwnerKey, config: Config) -> tuple[WriterKey, tuple[str, ...]]:
    """The writer after the current one, with the owner's word on how that one ended; and what is doubtful in that."""
    store = assemble.store(config, STOP)
    number = _current(owner, config)
    try:
        last = open_writer(owner, number, store).catalog.tip()
    except NoSuchBackup as error:
        raise NoSuchBackup(f"writer {number} has no backup, so there is nothing to retire", "go on using it") from error
    retired = owner.retire(number, last.ref.sequence, bytes.fromhex(last.ref.sha256))
    return replace(owner.writer(number + 1), retired=retired), last.doubts


def _public(owner: OwnerKey) -> dict[str, str]:
    return {"recipient": to_bech32("age", owner.recipient)}


def _recipient_line(owner: OwnerKey) -> str:
    return f"recipient  {to_bech32('age', owner.recipient)}"


def _new_text(owner: OwnerKey, first: WriterKey, sheet: str | None) -> str:
    words = [f"{number:2}. {word}" for number, word in enumerate(owner.words.split(), 1)]
    lines = [columns(words, 4), "", _recipient_line(owner), f"writer 1   {first.id}"]
    if sheet:
        lines += ["", f"The recovery sheet is in {sheet}: print it, and delete the file."]
    lines += ["", "`dwebbackup key writer` makes the line for a machine that shall make backups and read none."]
    return "\n".join(lines)


def _write_sheet(path: str, owner: OwnerKey, config: Config) -> None:
    stores, today = [store.url for store in config.stores], clock.iso(clock.now())[:10]
    write_sheet(path, recovery_sheet(owner, stores, [(1, owner.writer(1).id)], today))
