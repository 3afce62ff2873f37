"""`dwebbackup prune`: old backups go, as a policy says, with what only they needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from dwebbackup import assemble
from dwebbackup.access import open_store
from dwebbackup.cli.choosing import none_yet
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.config import Config
from dwebbackup.errors import WrongConfiguration
from dwebbackup.policy import Policy
from dwebbackup.prune import Pruned
from dwebbackup.report.wording import count, size, table
from dwebbackup.selection import Judged, Outcome, prune_each

MEANING = {
    "unpinned": "; whoever else keeps what is unpinned still has it",
    "forgotten": "; what is forgotten stays where it is",
}
"""What it means for what was deleted, where it is not gone."""


@click.command()
@click.option(
    "--keep",
    default="",
    metavar="POLICY",
    help='What stays: "last 7, daily 7, weekly 4, monthly 12, within 14d, floor 3". [DWEBBACKUP_KEEP]',
)
@click.option("--dry-run", is_flag=True, help="Only show what would go, and why.")
@with_session
def command(session: Session, keep: str, dry_run: bool) -> int | None:
    """Drop old backups, as a policy says.

    Shows of each backup whether it stays, and why; docs/retention.md explains the rules. The newest good
    backups of each source stay whatever the policy says. With a writer key, nothing of the last 14 days goes.
    """
    config = session.config(keep=keep)
    policy = _require_policy(config)
    writers = open_store(key_of(config), assemble.store(config, STOP))
    begun = [opened for opened in writers if opened.catalog.refs()]
    if not begun:
        raise none_yet(writers)
    done = [each for opened in begun for each in prune_each(opened, policy, dry_run=dry_run)]
    doubts = [doubt for each in done for doubt in _doubts(each, policy, several=_several(done))]
    session.report(_document(done, policy, doubts, dry_run=dry_run), _text(done, dry_run=dry_run), good=not doubts)
    return _status(done, session.end(doubts))


def _several(done: Sequence[Outcome]) -> bool:
    """Whether there is more than one store."""
    return len({each.name for each in done}) > 1


def _status(done: Sequence[Outcome], otherwise: int | None) -> int | None:
    """Of what went wrong with a store that is required."""
    problems = [each.problem for each in done if each.problem and each.member.required]
    return problems[0].exit_status if problems else otherwise


def _require_policy(config: Config) -> Policy:
    if config.keep is None:
        raise WrongConfiguration(
            "no retention policy is configured, so nothing is dropped",
            'use --keep "daily 7, weekly 4, within 14d", or set DWEBBACKUP_KEEP',
        )
    return config.keep


def _doubts(done: Outcome, policy: Policy, *, several: bool) -> Iterator[str]:
    where = f"store {done.name}: " if several else ""
    if done.problem:
        yield f"{where}nothing more was pruned there: {done.problem}"
    if not done.selection:
        return
    yield from (f"{where}{unread}" for unread in done.selection.unread)
    for source in done.selection.undercut:
        yield (
            f"{where}this policy alone would keep fewer than {policy.floor} good backups of {source}; these stay all "
            "the same: let it keep more, or say a lower floor"
        )
    if done.pruned and done.pruned.waits:
        yield f"{where}packs and indexes of writer {done.number} wait for a later prune: {done.pruned.waits}"


# --- how it went ---


def _document(done: Sequence[Outcome], policy: Policy, doubts: Sequence[str], *, dry_run: bool) -> dict[str, Any]:
    pruned = [each.pruned for each in done if each.pruned]
    return {
        "policy": str(policy),
        "dry_run": dry_run,
        "backups": [
            {
                "backup": judged.ref.id,
                "sequence": judged.ref.sequence,
                "sha256": judged.ref.sha256,
                "number": each.number,
                "store": each.name,
                "finished": judged.finished,
                "sources": judged.sources,
                "keep": judged.keep,
                "reasons": judged.reasons,
            }
            for each in done
            for judged in _judged(each)
        ],
        "dropped": sum(len(each.manifests) for each in pruned),
        "objects": sum(each.objects for each in pruned),
        "bytes": sum(each.bytes for each in pruned),
        "stores": [_store(each) for each in done],
        "doubts": doubts,
    }


def _judged(done: Outcome) -> Sequence[Judged]:
    return done.selection.judged if done.selection else ()


def _store(done: Outcome) -> dict[str, Any]:
    pruned = done.pruned or Pruned(())
    return {
        "name": done.name,
        "required": done.member.required,
        "number": done.number,
        "deletion": done.member.store.traits.deletion,
        "dropped": len(pruned.manifests),
        "objects": pruned.objects,
        "bytes": pruned.bytes,
        "passed_over": done.passed_over,
        "problem": str(done.problem or ""),
    }


def _text(done: Sequence[Outcome], *, dry_run: bool) -> str:
    several = _several(done)
    rows = [
        (
            "keep" if judged.keep else "drop",
            judged.ref.id,
            judged.finished,
            ", ".join(judged.sources),
            str(each.number),
            *([each.name] if several else []),
            "; ".join(judged.reasons),
        )
        for each in done
        for judged in _judged(each)
    ]
    head = ("", "BACKUP", "FINISHED", "SOURCE", "WRITER", *(["STORE"] if several else []), "WHY")
    by_store = {each.name: [other for other in done if other.name == each.name] for each in done}
    verdicts = (_verdict(name if several else "", each, dry_run=dry_run) for name, each in by_store.items())
    return "\n".join([table(head, rows, right=(4,)), *verdicts])


def _verdict(name: str, done: Sequence[Outcome], *, dry_run: bool) -> str:
    """What became of one store; *name* is empty where it is the only one."""
    who = f"{name}: " if name else ""
    pruned = [each.pruned for each in done if each.pruned]
    if not pruned and (why := next((each.passed_over for each in done if each.passed_over), "")):
        return f"{who}passed over: {why}"
    if any(each.problem for each in done):
        return f"{who}not pruned"
    if dry_run:
        would = sum(len(each.selection.plan.drop) for each in done if each.selection)
        return f"{who}{count(would, 'backup')} would be dropped; nothing was"
    gone = sum(len(each.manifests) for each in pruned)
    objects = count(sum(each.objects for each in pruned), "object")
    deletion = done[0].member.store.traits.deletion
    told = f"{count(gone, 'backup')} dropped; {objects} {deletion}, {size(sum(each.bytes for each in pruned))}"
    return f"{who}{told}{MEANING.get(deletion, '')}"
