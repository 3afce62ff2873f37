"""`dwebbackup verify`: are the backups whole?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

import click

from dwebbackup import assemble
from dwebbackup.access import Opened, open_store
from dwebbackup.catalog import Backup
from dwebbackup.cli.choosing import Wanted, find
from dwebbackup.cli.edge import STOP
from dwebbackup.cli.memory import give_back_large_buffers
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.errors import Damaged, Incomplete, StoreUnreachable
from dwebbackup.report.wording import count, size
from dwebbackup.stock import StoreReport
from dwebbackup.verify import Report, verify


class WithOptionalPercent(click.Command):
    """`--data` alone is `--data=100`; click alone would take the argument behind it for its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--data=100" if word == "--data" else word for word in args])


@click.command(cls=WithOptionalPercent)
@click.argument("backup", required=False)
@click.option(
    "--data",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="[=PERCENT]",
    help="Also read and decrypt the packs: all, or so many of them, drawn at random.",
)
@with_session
def command(session: Session, backup: str | None, data: float | None) -> int | None:
    """Check that the backups are whole.

    Signatures, the chain of manifests, and the presence of every pack; with --data, the packs' contents too. What is
    suspect is named, and no error: it is whole, though perhaps not of the database that was meant.
    BACKUP as with `dwebbackup restore`; without it, all backups are checked.
    """
    give_back_large_buffers()
    config = session.config()
    writers = open_store(key_of(config), assemble.store(config, STOP))
    todo: list[tuple[Opened, Backup | None]] = [(opened, None) for opened in writers]
    if backup:
        todo = [find(writers, Wanted(backup))]
    if data is not None:
        for opened, _ in todo:
            opened.require_rows()
    with session.progress() as progress:
        reports = [verify(opened, found, data, progress) for opened, found in todo]
    report = together(reports)
    findings = [
        {"severity": finding.severity, "what": finding.what, "message": finding.message} for finding in report.findings
    ]
    figures = {"backups": report.backups, "packs": report.packs, "bytes_read": report.bytes_read}
    stores = [asdict(store) for store in report.stores]
    document = {"ok": report.ok, "findings": findings, **figures, "stores": stores}
    session.report(document, _text(report), good=not findings)
    if not report.ok:
        return StoreUnreachable.exit_status if _is_only_unheard(report) else Damaged.exit_status
    return Incomplete.exit_status if _is_odd(report) else None


def _is_only_unheard(report: Report) -> bool:
    """Whether nothing is wrong but that a store did not answer."""
    away = {f"store {store.name}" for store in report.stores if store.problem}
    return all(finding.what in away for finding in report.findings if finding.severity == "error")


def _is_odd(report: Report) -> bool:
    return any(finding.severity == "warning" for finding in report.findings)


def together(reports: Sequence[Report]) -> Report:
    """The reports on several writers as one."""
    return Report(
        tuple(finding for report in reports for finding in report.findings),
        sum(report.backups for report in reports),
        sum(report.packs for report in reports),
        sum(report.bytes_read for report in reports),
        tuple(map(_one_store, zip(*(report.stores for report in reports), strict=True))),
    )


def _one_store(reports: Sequence[StoreReport]) -> StoreReport:
    """What several writers have in it; the head is that of the newest."""
    return replace(
        reports[-1],
        present=_sum(each.present for each in reports),
        missing=_sum(each.missing for each in reports),
        wrong=_sum(each.wrong for each in reports),
        problem=next((each.problem for each in reports if each.problem), ""),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    return dict(sum(map(Counter, counts), Counter()))


def _text(report: Report) -> str:
    lines = [f"{finding.severity}: {finding.what}: {finding.message}" for finding in report.findings]
    read = f", {size(report.bytes_read)} read and decrypted" if report.bytes_read else ""
    figures = f"{count(report.backups, 'backup')}, {count(report.packs, 'pack')}{read}"
    verdict = _broken(report) if not report.ok else "whole, with warnings" if _is_odd(report) else "ok"
    stores = map(_line, report.stores) if len(report.stores) > 1 else ()
    return "\n".join([*lines, *stores, f"{verdict}: {figures}"])


def _broken(report: Report) -> str:
    return "NOT ALL VERIFIED" if _is_only_unheard(report) else "NOT WHOLE"


def _line(store: StoreReport) -> str:
    """How one of several stores stands."""
    if store.problem:
        return f"store {store.name}: not verified"
    told = [f"{_counted(store.present)} present"]
    told += [f"{_counted(store.missing)} missing"] if store.missing else []
    told += [f"{_counted(store.wrong)} wrong"] if store.wrong else []
    head = f"head at {store.head}" if store.head else "no head"
    return f"store {store.name}: {', '.join(told)}; {head}"


def _counted(counts: Mapping[str, int]) -> str:
    return count(sum(counts.values()), "object")
