"""One source and its care: waits for its database, restores it if it is empty, backs it up when that is due."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dwebbackup import backup, clock, lineage, restore
from dwebbackup.access import open_writer
from dwebbackup.catalog import Newest
from dwebbackup.daemon.decision import Decision, Holdings, decide
from dwebbackup.daemon.journal import Journal, Watched, problem
from dwebbackup.daemon.parts import Kept, Parts
from dwebbackup.daemon.past import Origin, Past, holdings, past
from dwebbackup.daemon.status import CORRECTION, Kind, Outcome, Problem, Run, StoreStatus, What
from dwebbackup.errors import BackupFailed, DwebbackupError, Interrupted
from dwebbackup.exclusive import exclusive, last_run
from dwebbackup.manifest import Restoration
from dwebbackup.ports import Several, members
from dwebbackup.records import signer_of
from dwebbackup.report import log
from dwebbackup.report.notices import Event, Notice
from dwebbackup.report.wording import contents, duration, size
from dwebbackup.schedule import good_until, next_run

FIRST_WAIT, LONGEST_WAIT = 2.0, 60.0
"""Seconds between two looks at a database or a store that is not ready."""

FIRST_RETRY = 60.0
"""Seconds after which a backup that failed is tried again; twice as many after each further one, up to its schedule."""

AGAIN = 300.0
"""Seconds between two looks at a database that is looked after."""

OTHERS = 300.0
"""Seconds for which a backup waits for another run on this machine."""

Tell = Callable[[Notice], None]


@dataclass(slots=True)
class _Trying:
    """Something that is tried again later each time."""

    first: float
    longest: float
    count: int = 0
    at: float = 0.0
    """By the monotonic clock."""

    def is_due(self) -> bool:
        return clock.monotonic() >= self.at

    def failed(self, longest: float | None = None) -> None:
        self.at = clock.monotonic() + min(self.first * 2.0**self.count, longest or self.longest)
        self.count = min(self.count + 1, 30)

    def went_well(self) -> None:
        self.count, self.at = 0, 0.0


class Keeper:
    """Used by the sidecar's main thread only; the journal tells others."""

    def __init__(self, kept: Kept, parts: Parts, journal: Journal, tell: Tell, stop: threading.Event) -> None:
        self.name = kept.source.name
        self._kept = kept
        self._parts = parts
        self._journal = journal
        self._tell = tell
        self._stop = stop
        self._settled = False
        self._identity = ""
        self._past = Past()
        self._began: float | None = None
        """When the last backup did that we made."""
        self._seen = last_run(parts.writer.id)
        self._looking = _Trying(FIRST_WAIT, LONGEST_WAIT)
        self._running = _Trying(FIRST_RETRY, 24 * 3600)

    def look_after(self) -> None:
        """Do whatever is due. Raises nothing but what asks the whole sidecar to stop."""
        if not self._settled:
            if self._looking.is_due():
                self._settle()
            return
        if (last := last_run(self._parts.writer.id)) != self._seen:  # somebody made a backup by hand beside us
            self._seen = last
            self.refresh()
        is_due = self.due_at() <= clock.now() and self._running.is_due()
        if is_due or self._looking.is_due():
            self._look_again()
        if self._settled and self.due_at() <= clock.now() and self._running.is_due():
            self.back_up()

    def due_at(self) -> float:
        """When the next backup is, after the last one in the catalog or, if that cannot be read, that we know of."""
        latest = clock.now() + CORRECTION  # what is said to have begun later was said by a clock that was wrong
        known = [began for began in (self._past.began, self._began) if began is not None and began <= latest]
        return next_run(self._kept.schedule, max(known, default=None), clock.now(), self.name)

    def _look_again(self) -> None:
        """Once in a while: is it still there, is it the same, and are there rows now where there were none?"""
        self._looking.at = clock.monotonic() + AGAIN
        try:
            condition = self._kept.source.condition()
        except Exception as error:  # noqa: BLE001  # a backup will meet it, too; but that may be hours away
            self._fail("database", error)
            return
        if condition.state == "absent" or condition.identity != self._identity:
            self._settled = False
            self._settle()
            return
        if self._ails == "database" and self._running.count == 0:
            self._journal.note(self.name, problem=None)
            self._say("recovery", "the database can be asked again")
        if condition.state == "full" and self._past.good and not self._past.good.rows:
            self.back_up()  # the first that is worth something

    @property
    def _ails(self) -> str:
        found = self._journal.source(self.name).problem
        return found.kind if found else ""

    @property
    def is_settled(self) -> bool:
        return self._settled

    # --- at the start ---

    def _settle(self) -> None:
        """Find out whether this is a database to go on with."""
        try:
            condition = self._kept.source.condition()
            self._identity = condition.identity
            if condition.state == "full":
                decision, origin = decide(condition, Holdings(), can_open=False), None
            else:
                parts = self._parts
                found, origin = holdings(parts.writer, parts.opened, parts.origins(), self.name)
                decision = decide(condition, found, can_open=origin is not None, has_key=parts.restore_key is not None)
            self._act(decision, origin)
        except Exception as error:  # noqa: BLE001  # whatever it is: the sidecar stays, and says so
            self._looking.failed()
            self._fail("restore", error, phase="waiting")

    def _act(self, decision: Decision, origin: Origin | None) -> None:
        advice = {"hint": decision.hint} if decision.hint else {}
        level = logging.WARNING if decision.action == "wait" else logging.INFO
        log.logger(__name__).log(level, decision.sentence, source=self.name, decision=decision.action, **advice)
        if decision.action == "wait":
            self._looking.failed()
            found = Problem("restore", decision.sentence, decision.hint, clock.now())
            self._journal.note(self.name, phase="alarm", problem=found)
            self._say("alarm", decision.sentence, decision.hint)
            return
        if decision.action == "restore" and origin:
            self._restore(origin)
        self._settled = True
        self._looking.went_well()
        self._looking.at = clock.monotonic() + AGAIN
        self._journal.note(self.name, phase="idle", problem=None)
        self._say("recovery", decision.sentence)
        self.refresh()

    def _restore(self, origin: Origin) -> None:
        began, clock_ = clock.now(), clock.monotonic()
        self._journal.note(self.name, phase="restoring")
        options = restore.Options(
            jobs=self._parts.config.jobs,
            source=self.name,
            announce=lambda identity: self._announce(origin, identity),
            progress=Watched(self._journal, self.name),
        )
        try:
            done = restore.restore(origin.opened, origin.backup, self._kept.target, options)
        except BaseException as error:
            self._journal.ran(self._run("restore", began, clock_, "failed", str(error), hint=_hint(error)))
            raise
        finally:
            self._journal.note(self.name, moving=None)
        restored = done.restored
        sentence = (
            f"restored from backup {done.backup.ref.id}: {contents(restored.tables, restored.rows, restored.unit)}"
        )
        outcome: Outcome = "incomplete" if done.warnings else "ok"
        self._journal.ran(self._run("restore", began, clock_, outcome, "; ".join((sentence, *done.warnings))))
        log.logger(__name__).info(sentence, source=self.name, seconds=round(done.seconds, 1))
        if done.warnings:
            sentence = f"{sentence}, and comes short of what was backed up: {'; '.join(done.warnings)}"
            log.logger(__name__).warning(sentence, source=self.name)
        self._say("alarm", f"the database was not there, or empty; it is {sentence}")

    def _announce(self, origin: Origin, identity: str) -> None:
        """Before it takes its place, so that nobody ever meets it without knowing where it came from."""
        manifest = origin.backup.manifest
        before = next(source.facts.identity for source in manifest.sources if source.facts.name == self.name)
        parts, now = self._parts, clock.iso(clock.now())
        told = Restoration(parts.writer.id, self.name, identity, before, manifest.writer, origin.backup.ref, now)
        own = open_writer(parts.writer, parts.writer.number, parts.store)
        own.catalog.put_restoration(told, signer_of(parts.writer, parts.recipients))
        self._identity = identity

    # --- on schedule ---

    def back_up(self, seconds: float | None = None) -> None:
        """One backup now; with *seconds*, only what can be done in that time."""
        began, clock_ = clock.now(), clock.monotonic()
        self._journal.note(self.name, phase="backing up")
        self._say("start", "a backup begins")
        log.logger(__name__).info("a backup begins", source=self.name)
        try:
            with exclusive(self._parts.writer.id, self._wait_for_others()):
                done = self._back_up(seconds)
        except Exception as error:  # noqa: BLE001  # whatever it is: the sidecar stays, and says so
            outcome: Outcome = "interrupted" if isinstance(error, Interrupted) else "failed"
            self._journal.ran(self._run("backup", began, clock_, outcome, str(error), hint=_hint(error)))
            self._running.failed(self._interval())
            self._fail("backup", error)
        except BaseException:
            log.logger(__name__).warning(
                "the backup is cut off; what it has stored is not stored again by the next", source=self.name
            )
            raise
        else:
            self._running.went_well()
            self._note_stores()
            self._began = began
            self._identity = done.backup.manifest.tallies[0].identity
            self._tell_of(done, began, clock_)
            self._seen = last_run(self._parts.writer.id)
            self.refresh()
        finally:
            self._journal.note(self.name, phase="idle", moving=None, next_run=self.due_at())

    def _note_stores(self) -> None:
        """Which of several stores took everything, and which did not."""
        store, now = self._parts.store, clock.now()
        missed = store.missed() if isinstance(store, Several) else {}
        for member in members(store):
            name = member.store.name
            self._journal.store(name, partial(_noted, missed=missed.get(name, ""), now=now))

    def _back_up(self, seconds: float | None) -> backup.Done:
        parts, config = self._parts, self._parts.config
        stop = threading.Event()
        timer = threading.Timer(seconds, stop.set) if seconds else None
        options = backup.Options(
            config.jobs,
            parts.uploads,
            parts.recipients,
            next_by=clock.iso(good_until(self._kept.schedule, clock.now(), self.name)),
            max_snapshot=config.max_snapshot,
            suspect_below=config.suspect_below,
            publishers=parts.publishers,
            stop=stop if timer else self._stop,
            progress=Watched(self._journal, self.name),
        )
        try:
            if timer:
                timer.start()
            return backup.back_up([self._kept.source], parts.own_store, parts.writer, options)
        finally:
            if timer:
                timer.cancel()

    def _wait_for_others(self) -> Callable[[], None]:
        """Called again and again while another run is under way on this machine."""
        began = clock.monotonic()

        def wait() -> None:
            if self._stop.wait(1):
                raise Interrupted("asked to stop while another run was under way")
            if clock.monotonic() - began > OTHERS:
                raise BackupFailed("another run of this writer is under way on this machine", "it is tried again later")

        return wait

    def _tell_of(self, done: backup.Done, began: float, clock_: float) -> None:
        read, stored = done.bytes_read, done.bytes_stored
        sentence = f"backup {done.backup.ref.id}: {size(read)} read, {size(stored)} stored"
        fields = {"backup": done.backup.ref.id, "bytes_read": read, "bytes_stored": stored}
        log.logger(__name__).info("backed up", source=self.name, seconds=round(done.seconds, 3), **fields)
        outcome: Outcome = "suspect" if done.suspect else "incomplete" if done.doubts else "ok"
        if done.doubts:
            log.logger(__name__).warning("; ".join(done.doubts), source=self.name, backup=done.backup.ref.id)
        run = self._run(
            "backup", began, clock_, outcome, "; ".join((sentence, *done.doubts)), bytes_read=read, bytes_stored=stored
        )
        self._journal.ran(run)
        if done.suspect:
            hint = "look at the database; if it is meant to be so: `dwebbackup backup --accept`"
            why = f"backup {done.backup.ref.id} is suspect: {'; '.join(done.suspect)}"
            self._journal.note(self.name, problem=Problem("suspect", why, hint, clock.now()))
            self._say("suspect", why, hint)
            return
        self._journal.note(self.name, problem=None)
        took = ("took", duration(done.seconds))
        if done.doubts:
            self._say("alarm", f"{sentence}, and it is incomplete: {'; '.join(done.doubts)}")
        else:
            self._say("recovery", sentence, details=(took,))
        self._say("success", sentence, details=(took,))

    # --- what is known ---

    def refresh(self) -> None:
        """Read the catalog anew. What fails here is told, and stops nothing."""
        names = [member.store.name for member in members(self._parts.store)]
        try:
            newest = self._parts.opened.catalog.newest_for_writing()
            self._know(past(newest.history, self.name, self._identity))
            self._warn_of_twins(newest)
        except Exception as error:  # noqa: BLE001  # the next backup meets it, too
            self._fail("store", error)
            found = problem(error, "store")
            for name in names:
                self._journal.store(name, lambda each: replace(each, problem=found))
            return
        now = clock.now()
        if len(names) == 1:  # of several, which one answered is not known
            self._journal.store(names[0], lambda each: replace(each, answered=now, problem=None))

    def _know(self, found: Past) -> None:
        self._past = found
        until = None
        if found.good_began is not None:
            until = good_until(self._kept.schedule, found.good_began, self.name)
        self._journal.note(self.name, history=found.made, good=found.good, good_until=until, next_run=self.due_at())

    def _warn_of_twins(self, newest: Newest) -> None:
        """Two tips of this very database: another sidecar with the same key backs it up at the same moments.

        Neither is then the newest, so nobody could restore unattended. The next time we come at another moment.
        """
        tips = [
            tip.ref.id
            for tip in newest.tips
            if any(tally.identity == self._identity for tally in lineage.tallies(tip.manifest))
        ]
        if len(tips) < 2:
            return
        self._running.at = clock.monotonic() + self._interval() + random.uniform(5, 60)
        sentence = f"two machines back up {self.name} at once with the same key: {', '.join(tips)}"
        hint = "stop one of the two sidecars; until then neither backup is the newest"
        log.logger(__name__).warning(sentence, source=self.name, hint=hint)
        self._say("alarm", sentence, hint)

    def _interval(self) -> float:
        """Seconds to the next backup of the schedule: nothing that failed waits for longer."""
        return max(FIRST_RETRY, next_run(self._kept.schedule, clock.now(), clock.now(), self.name) - clock.now())

    def _fail(self, kind: Kind, error: Exception, **changes: object) -> None:
        found = problem(error, kind)
        self._journal.note(self.name, problem=found, **changes)
        unexpected = None if isinstance(error, DwebbackupError) else error
        fields = {"source": self.name, "kind": found.kind, "hint": found.hint}
        log.logger(__name__).error(found.sentence, exc_info=unexpected, **fields)
        if not isinstance(error, Interrupted):
            self._say("failure" if self._settled else "alarm", found.sentence, found.hint)

    def _say(self, event: Event, sentence: str, hint: str = "", details: tuple[tuple[str, str], ...] = ()) -> None:
        self._tell(Notice(event, self.name, sentence, hint, clock.now(), details))

    def _run(self, what: What, began: float, clock_: float, outcome: Outcome, sentence: str, **more: Any) -> Run:
        return Run(what, self.name, began, clock.monotonic() - clock_, outcome, sentence, **more)


def _hint(error: BaseException) -> str:
    return error.hint if isinstance(error, DwebbackupError) else ""


def _noted(status: StoreStatus, missed: str, now: float) -> StoreStatus:
    if not missed:
        return replace(status, answered=now, problem=None)
    hint = "the next backup, or `dwebbackup repair`, copies what it lacks"
    return replace(status, problem=Problem("store", f"it missed something of the last backup: {missed}", hint, now))
