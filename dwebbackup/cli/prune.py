"""`dwebbackup prune`: old backups go, as a policy says, with what only they needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dwebbackup import assemble
from dwebbackup.access import Opened, open_store
from dwebbackup.cli.choosing import none_yet
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.config import Config
from dwebbackup.errors import WrongConfiguration
from dwebbackup.policy import Policy
from dwebbackup.prune import Pruned, prune
from dwebbackup.report.wording import count, size, table
from dwebbackup.selection import Selection, select


@dataclass(frozen=True, slots=True)
class _Done:
    """What was decided and done about one writer's backups; nothing was, in a dry run."""

    number: int
    selection: Selection
    pruned: Pruned | None


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
    done = [_prune(opened, policy, dry_run=dry_run) for opened in begun]
    doubts = [doubt for each in done for doubt in _doubts(each, policy)]
    session.report(_document(done, policy, doubts), _text(done), good=not doubts)
    return session.end(doubts)


def _require_policy(config: Config) -> Policy:
    if config.keep is None:
        raise WrongConfiguration(
            "no retention policy is configured, so nothing is dropped",
            'use --keep "daily 7, weekly 4, within 14d", or set DWEBBACKUP_KEEP',
        )
    return config.keep


def _prune(opened: Opened, policy: Policy, *, dry_run: bool) -> _Done:
    selection = select(opened, policy)
    return _Done(opened.number, selection, None if dry_run else prune(opened, selection.plan))


def _doubts(done: _Done, policy: Policy) -> Iterator[str]:
    yield from done.selection.unread
    for source in done.selection.undercut:
        yield (
            f"this policy alone would keep fewer than {policy.floor} good backups of {source}; these stay all the same:"
            " let it keep more, or say a lower floor"
        )
    if done.pruned and done.pruned.waits:
        yield f"packs and indexes of writer {done.number} wait for a later prune: {done.pruned.waits}"


# --- how it went ---


def _document(done: Sequence[_Done], policy: Policy, doubts: Sequence[str]) -> dict[str, Any]:
    pruned = [each.pruned for each in done if each.pruned]
    return {
        "policy": str(policy),
        "dry_run": not pruned,
        "backups": [
            {
                "backup": judged.ref.id,
                "sequence": judged.ref.sequence,
                "sha256": judged.ref.sha256,
                "number": each.number,
                "finished": judged.finished,
                "sources": judged.sources,
                "keep": judged.keep,
                "reasons": judged.reasons,
            }
            for each in done
            for judged in each.selection.judged
        ],
        "dropped": sum(len(each.manifests) for each in pruned),
        "objects": sum(each.objects for each in pruned),
        "bytes": sum(each.bytes for each in pruned),
        "doubts": doubts,
    }


def _text(done: Sequence[_Done]) -> str:
    rows = [
        (
            "keep" if judged.keep else "drop",
            judged.ref.id,
            judged.finished,
            ", ".join(judged.sources),
            str(each.number),
            "; ".join(judged.reasons),
        )
        for each in done
        for judged in each.selection.judged
    ]
    head = ("", "BACKUP", "FINISHED", "SOURCE", "WRITER", "WHY")
    return "\n".join([table(head, rows, right=(4,)), _verdict(done)])


def _verdict(done: Sequence[_Done]) -> str:
    pruned = [each.pruned for each in done if each.pruned]
    if not pruned:
        would = sum(len(each.selection.plan.drop) for each in done)
        return f"{count(would, 'backup')} would be dropped; nothing was"
    gone = sum(len(each.manifests) for each in pruned)
    objects = count(sum(each.objects for each in pruned), "object")
    return f"{count(gone, 'backup')} dropped; {objects} deleted, {size(sum(each.bytes for each in pruned))}"
