"""What the sidecar does once in a while besides backups: prune, measure its store, and bury orphans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dwebbackup import clock
from dwebbackup.access import open_writer
from dwebbackup.daemon.journal import Journal, problem
from dwebbackup.daemon.keeper import Keeper
from dwebbackup.daemon.orphans import reap
from dwebbackup.daemon.parts import Parts
from dwebbackup.daemon.status import Run
from dwebbackup.errors import DwebbackupError, StoreUnreachable
from dwebbackup.policy import Policy
from dwebbackup.ports import Member, members
from dwebbackup.prune import is_able
from dwebbackup.report import log
from dwebbackup.report.notices import Notice
from dwebbackup.report.wording import count, size
from dwebbackup.selection import Outcome, Selection, prune_each

DAY = 24 * 3600.0


@dataclass(slots=True)
class Chores:
    """Each is done at its time, by the monotonic clock; a failure is told, and tried again the next day."""

    _next: float = 0.0

    def reap(self) -> None:
        reap()

    def do_daily(
        self, parts: Parts | None, keepers: Sequence[Keeper], journal: Journal, tell: Callable[[Notice], None]
    ) -> None:
        """Only while all is settled: nothing is deleted in doubt."""
        if not parts or not keepers or clock.monotonic() < self._next:
            return
        if not all(keeper.is_settled for keeper in keepers):
            return
        self._next = clock.monotonic() + DAY
        try:
            if parts.config.keep and any(is_able(member.store) for member in members(parts.store)):
                _prune(parts, parts.config.keep, journal, tell)
                for keeper in keepers:
                    keeper.refresh()
            _measure(parts, journal)
        except Exception as error:  # noqa: BLE001  # whatever it is: the sidecar stays, and says so
            _fail(error, journal, tell)


def _prune(parts: Parts, policy: Policy, journal: Journal, tell: Callable[[Notice], None]) -> None:
    """Each store by itself. One that fails holds up none of the others, and people hear of it if it is required."""
    began, clock_ = clock.now(), clock.monotonic()
    opened = open_writer(parts.writer, parts.writer.number, parts.store)
    if not opened.catalog.refs():
        return
    done = prune_each(opened, policy)
    for each in done:
        if each.problem:
            _fail(each.problem, journal, tell if each.member.required else _nobody)
        if each.selection:
            _warn_of_floor(each.selection, policy, tell)
        if each.pruned:
            dropped = [ref.id for ref in each.pruned.manifests]
            log.logger(__name__).info("pruned", store=each.name, dropped=dropped, bytes=each.pruned.bytes)
    if told := [_told(each, several=len(done) > 1) for each in done if each.pruned]:
        journal.ran(Run("prune", "", began, clock.monotonic() - clock_, "ok", "; ".join(told)))


def _nobody(_: Notice) -> None:
    """The page tells it."""


def _told(each: Outcome, *, several: bool) -> str:
    assert each.pruned
    waits = f"; {each.pruned.waits}" if each.pruned.waits else ""
    deletion = each.member.store.traits.deletion
    told = (
        f"{count(len(each.pruned.manifests), 'backup')} dropped, {size(each.pruned.bytes)} of packs {deletion}{waits}"
    )
    return f"{each.name}: {told}" if several else told


def _warn_of_floor(selection: Selection, policy: Policy, tell: Callable[[Notice], None]) -> None:
    for source in selection.undercut:
        sentence = f"the policy alone would keep fewer than {policy.floor} good backups of {source}; they stay"
        log.logger(__name__).warning(sentence, source=source)
        tell(Notice("floor", source, sentence, "let DWEBBACKUP_KEEP keep more, or say a lower floor", clock.now()))


def _measure(parts: Parts, journal: Journal) -> None:
    """How much of each store is this writer's."""
    for member in members(parts.own_store):
        if member.store.traits.lists:
            _measure_one(member, journal)


def _measure_one(member: Member, journal: Journal) -> None:
    """Raises what hinders it in a store that must have everything; another one is in trouble, and that is all."""
    try:
        packs = [stored.size for stored in member.store.list("packs/")]
    except StoreUnreachable as error:
        if member.required:
            raise
        trouble = problem(error, "store")
        journal.store(member.store.name, lambda store: replace(store, problem=trouble))
        return
    journal.store(
        member.store.name,
        lambda store: replace(store, answered=clock.now(), packs=len(packs), bytes=sum(packs), problem=None),
    )


def _fail(error: Exception, journal: Journal, tell: Callable[[Notice], None]) -> None:
    found = problem(error, "prune")
    journal.ran(Run("prune", "", clock.now(), 0.0, "failed", found.sentence, found.hint))
    logger = log.logger(__name__)
    logger.error(found.sentence, kind=found.kind, hint=found.hint, exc_info=not isinstance(error, DwebbackupError))
    tell(Notice("failure", "", found.sentence, found.hint, clock.now()))
