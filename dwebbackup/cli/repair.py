"""`dwebbackup repair`: what one store lost is copied from another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from dwebbackup import assemble, clock, heads
from dwebbackup.access import Opened, open_store
from dwebbackup.cli.choosing import none_yet
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.memory import give_back_large_buffers
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.config import Config
from dwebbackup.errors import DwebbackupError, Incomplete, StoreUnreachable
from dwebbackup.exclusive import exclusive
from dwebbackup.keys import Key, OwnerKey, ReaderKey, WriterKey
from dwebbackup.links.uris import IPFS, SIA
from dwebbackup.networks import networks, publishers
from dwebbackup.ports import Progress, Publisher, Store
from dwebbackup.protection import Protection
from dwebbackup.records import signer_of
from dwebbackup.repair import Choice, Plan, Repaired, carry_out, plan
from dwebbackup.report.wording import count, size
from dwebbackup.whereabouts import Shortfall


@dataclass(frozen=True, slots=True)
class _Done:
    """What was found and done about one writer; nothing was, in a dry run."""

    number: int
    plan: Plan
    repaired: Repaired | None


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what the stores lack.")
@click.option(
    "--data", is_flag=True, help="Read every copy and compare it with its digest, rather than trust listings."
)
@click.option("--to", "into", multiple=True, metavar="NAME", help="Repair only this store; several times for several.")
@click.option("--from", "out_of", multiple=True, metavar="NAME", help="Copy only from this store.")
@with_session
def command(session: Session, dry_run: bool, data: bool, into: tuple[str, ...], out_of: tuple[str, ...]) -> int | None:
    """Copy what one store lost from another.

    Looks for what each store lacks of the backups that count, takes it from whichever store has it, or by its links,
    and puts it there; tells the networks of the newest backup again. Only bytes that fit their digest are put. A
    store that is new gets everything. No row is opened: a writer key will do.

    Exit status: 0 when every store has everything; 3 when something could not be repaired, which is named; 13 when a
    store that is required did not answer.
    """
    give_back_large_buffers()
    config = session.config()
    key = key_of(config)
    store = _store(config, dry_run=dry_run)
    writers = open_store(key, store)
    begun = [opened for opened in writers if opened.catalog.refs()]
    if not begun:
        raise none_yet(writers)
    choice = Choice(data, into, out_of)
    told = publishers(config, STOP)
    with session.progress() as progress:
        done = [_repair(opened, key, choice, told, progress, dry_run=dry_run) for opened in begun]
    doubts = [doubt for each in done for doubt in _doubts(each)]
    session.report(_document(done, doubts), _text(done), good=not doubts)
    return _status(done, session.end(doubts))


def _store(config: Config, *, dry_run: bool) -> Store:
    linked = networks(config, stop=STOP).behind if config.gateways or config.portals else None
    if dry_run:
        return assemble.store_and_links(config, linked, STOP)
    return assemble.store_to_mend(config, linked, STOP)


def _repair(
    opened: Opened, key: Key, choice: Choice, told: Sequence[Publisher], progress: Progress, *, dry_run: bool
) -> _Done:
    """In step with backups on this machine; and so that nothing is pruned meanwhile, where the key can say so."""
    line = key.writer(opened.number) if isinstance(key, OwnerKey) else key
    choice = replace(choice, ipns_key=line.head_keys.ipns)
    if dry_run:
        return _Done(opened.number, plan(opened, choice, progress), None)
    catalog = opened.catalog
    signer = None if isinstance(line, ReaderKey) else signer_of(line, ())
    with exclusive(catalog.writer), Protection(catalog.store, catalog.writer, signer, choice.into) as protection:
        shown = protection.during(progress)
        found = plan(opened, choice, shown)
        publish = _publishing(opened, line, told)
        done = carry_out(opened, found, stop=STOP, progress=shown, publish=publish)
    return _Done(opened.number, found, replace(done, doubts=(*done.doubts, *protection.doubts)))


def _publishing(opened: Opened, key: WriterKey | ReaderKey, told: Sequence[Publisher]) -> Callable[[], Sequence[str]]:
    """Tells the networks of the newest head, which only those can who could have written it."""

    def publish() -> Sequence[str]:
        if isinstance(key, ReaderKey) or not told:
            return ()
        try:
            head = opened.catalog.head()
        except DwebbackupError as error:
            return [f"the networks were not told of the newest backup again: {error}"]
        if not head:
            return ()
        links = {link.partition("://")[0] + "://": link for link in reversed(head.manifest.links)}
        if IPFS not in links:
            return ()
        announcement = heads.announcement(key, head.sequence, links[IPFS], links.get(SIA), clock.now())
        return heads.publish(announcement, told)

    return publish


# --- how it went ---


def _doubts(done: _Done) -> Iterator[str]:
    for each in done.plan.shortfalls:
        if each.problem:
            yield f"store {each.name} did not answer, and was left as it is: {each.problem}"
    if done.repaired is None:
        yield from done.plan.unknown
        return
    yield from done.repaired.lost
    silent = {each.name for each in done.plan.shortfalls if each.problem}
    for store in done.repaired.stores:
        if store.problem and store.name not in silent:
            yield f"store {store.name} may still lack something: {store.problem}"
    yield from done.repaired.doubts


def _status(done: Sequence[_Done], otherwise: int | None) -> int | None:
    down = any(each.problem and each.member.required for one in done for each in one.plan.shortfalls)
    put = [each for one in done if one.repaired for each in one.repaired.stores]
    failed = any(each.problem and each.required and not isinstance(each.problem, Incomplete) for each in put)
    return StoreUnreachable.exit_status if down or failed else otherwise


def _document(done: Sequence[_Done], doubts: Sequence[str]) -> dict[str, Any]:
    return {
        "dry_run": all(each.repaired is None for each in done),
        "stores": [_store_document(each, shortfall) for each in done for shortfall in each.plan.shortfalls],
        "lost": [lost for each in done for lost in (each.repaired.lost if each.repaired else each.plan.unknown)],
        "notes": [note for each in done for note in each.plan.notes],
        "doubts": doubts,
    }


def _store_document(done: _Done, shortfall: Shortfall) -> dict[str, Any]:
    put = next((each for each in done.repaired.stores if each.name == shortfall.name), None) if done.repaired else None
    problem = put.problem if put else shortfall.problem
    return {
        "name": shortfall.name,
        "required": shortfall.member.required,
        "number": done.number,
        "missing": [need.name for need in shortfall.missing],
        "wrong": [need.name for need in shortfall.wrong],
        "signed": {
            each.name: each.lacking[shortfall.name] for each in done.plan.signed if shortfall.name in each.lacking
        },
        "objects": put.objects if put else 0,
        "bytes": put.bytes if put else 0,
        "problem": str(problem or ""),
    }


def _text(done: Sequence[_Done]) -> str:
    lines = [_line(each, shortfall, several=len(done) > 1) for each in done for shortfall in each.plan.shortfalls]
    return "\n".join([*lines, *(f"note: {note}" for each in done for note in each.plan.notes), _verdict(done)])


def _line(done: _Done, shortfall: Shortfall, *, several: bool) -> str:
    """What one store lacks, of one of *several* writers, perhaps."""
    who = f"store {shortfall.name}" + (f", writer {done.number}" if several else "")
    if shortfall.problem:
        return f"{who}: did not answer"
    told = [f"{count(len(shortfall.missing), 'object')} missing"] if shortfall.missing else []
    told += [f"{count(len(shortfall.wrong), 'object')} wrong"] if shortfall.wrong else []
    told += [
        f"{each.name} {each.lacking[shortfall.name]}" for each in done.plan.signed if shortfall.name in each.lacking
    ]
    return f"{who}: {', '.join(told) or 'has everything'}"


def _verdict(done: Sequence[_Done]) -> str:
    repaired = [each.repaired for each in done if each.repaired]
    if not repaired:
        lacking = [need for each in done for shortfall in each.plan.shortfalls for need in shortfall.lacking]
        return f"{count(len(lacking), 'object')} would be put, {size(sum(need.size for need in lacking))}; nothing was"
    put = [store for each in repaired for store in each.stores]
    objects = count(sum(store.objects for store in put), "object")
    return f"{objects} put, {size(sum(store.bytes for store in put))}"
