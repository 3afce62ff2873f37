"""The sidecar's main thread: reads its configuration, looks after each source in turn, and never ends by itself."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from urllib.parse import unquote, urlsplit

import schedule

from dwebbackup import clock, config
from dwebbackup.config import Config, Given
from dwebbackup.config.layers import Noting
from dwebbackup.daemon.chores import Chores
from dwebbackup.daemon.journal import Journal, problem
from dwebbackup.daemon.keeper import Keeper
from dwebbackup.daemon.page import Page
from dwebbackup.daemon.parts import READER, Parts, put_together
from dwebbackup.daemon.server import Server
from dwebbackup.daemon.status import SourceStatus, StoreStatus
from dwebbackup.daemon.telling import Telling
from dwebbackup.daemon.watch import Watch
from dwebbackup.errors import DwebbackupError, WrongConfiguration
from dwebbackup.keys import ReaderKey
from dwebbackup.ports import members
from dwebbackup.report import log
from dwebbackup.report.notices import Channel, Notice, Notifier, parse_channel
from dwebbackup.report.redaction import hide
from dwebbackup.schedule import describe

LOOK_EVERY = 1
"""Seconds between two looks at what is due."""

READ_EVERY = 15
"""Seconds between two readings of a configuration that is wrong, or may be mended by another key."""

FAREWELL = 4.0
"""Seconds at the end for notices that wait."""

LAST_BACKUP = 20.0
"""Seconds for a last backup: of 30 between SIGTERM and SIGKILL, some are needed to put everything away."""


class Sidecar:
    """One call of `run` is its whole life."""

    def __init__(self, given: Given, stop: threading.Event) -> None:
        self._given = given
        self._stop = stop
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Unlike an `Event`, it may be used by the handler of a signal, whatever the signal interrupted."""
        self._reload = True
        self._now = False
        self._journal = Journal()
        self._config: Config | None = None
        self._parts: Parts | None = None
        self._keepers: list[Keeper] = []
        self._notifier = Notifier(())
        self._server: Server | None = None
        self._listening = ""
        self._read_at = 0.0

    def run(self) -> None:
        """Until somebody asks it to stop: then it puts everything away, and returns."""
        log.logger(__name__).info("the sidecar starts")
        watch = Watch(self._journal, self._say)
        watch.start()
        try:
            with self._signals():
                self._go_on()
        except KeyboardInterrupt as error:  # as `cli.edge` makes of SIGTERM and SIGINT
            log.logger(__name__).info("the sidecar stops", signal=str(error))
            self._last_backups()
        finally:
            watch.stop()
            self._notifier.close(FAREWELL)
            if self._server:
                self._server.stop()

    def _go_on(self) -> None:
        """The ticks are the package `schedule`'s; when a backup is due, only `dwebbackup.schedule` says."""
        chores, telling = Chores(), Telling()
        ticks = schedule.Scheduler()
        offset = _offset()
        while True:
            if not ticks.jobs or abs(_offset() - offset) > LOOK_EVERY * 5:  # ticks would come late, or not at all
                offset = _offset()
                ticks.clear()
                ticks.every(LOOK_EVERY).seconds.do(self._look)
                ticks.every(5).minutes.do(lambda: chores.do_daily(self._parts, self._keepers, self._journal, self._say))
                ticks.every(5).minutes.do(lambda: telling.tell_daily(self._parts, self._journal))
                ticks.every(1).minutes.do(chores.reap)
            try:
                ticks.run_pending()
            except Exception:  # noqa: BLE001  # a fault of ours: nothing may end the sidecar, and the database with it
                log.logger(__name__).exception("this is a fault of dwebbackup")
                ticks.clear()
            with suppress(queue.Empty):
                self._wake.get(timeout=LOOK_EVERY)
            if self._stop.is_set():  # what it raised was lost on the way, where Python lets no exception through
                raise KeyboardInterrupt("asked to stop")

    def _look(self) -> None:
        now, self._now = self._now, False  # first: what is asked for while we are at it is done the next time
        if self._should_read():
            self._read()
        for keeper in self._keepers:
            keeper.look_after()
            if now and keeper.is_settled:
                keeper.back_up()
        self._warn_of_reader_key()

    def _warn_of_reader_key(self) -> None:
        """Once it is not needed any more."""
        parts = self._parts
        if parts and isinstance(parts.restore_key, ReaderKey) and all(keeper.is_settled for keeper in self._keepers):
            self._journal.warn(READER)

    # --- configuration ---

    def _should_read(self) -> bool:
        if self._reload:
            return True
        unwell = self._parts is None or not all(keeper.is_settled for keeper in self._keepers)
        return unwell and clock.monotonic() - self._read_at >= READ_EVERY

    def _read(self) -> None:
        """Everything anew, unless nothing changed. What is wrong is told, and read again in a while."""
        asked, self._reload = self._reload, False
        self._read_at = clock.monotonic()
        try:
            found, faults = config.survey(self._given)
            _hide(found)
            deaf = self._tell_whom(found)
            self._open_page(found)
            if faults:
                self._trouble((*faults, *deaf))
            elif asked or not self._parts or found != self._config:
                self._take(found, put_together(found, self._stop), deaf)
        except Exception as error:  # noqa: BLE001  # whatever it is: the sidecar stays, and says so
            self._trouble([error])

    def _take(self, found: Config, parts: Parts, deaf: Sequence[WrongConfiguration]) -> None:
        """*deaf*: whoever cannot be told, which stops no backup."""
        self._config, self._parts = found, parts
        journal = self._journal
        journal.configured(parts.writer.number, parts.writer.id, parts.warnings)
        if deaf:
            self._tell_of(deaf)
        for warning in parts.warnings:
            log.logger(__name__).warning(warning)
        journal.sources(
            [
                SourceStatus(kept.source.name, kept.url, "waiting", describe(kept.schedule), None, None, None)
                for kept in parts.kept
            ]
        )
        journal.stores([StoreStatus(each.store.name, each.store.url, clock.now()) for each in members(parts.store)])
        self._keepers = [Keeper(kept, parts, journal, self._say, self._stop) for kept in parts.kept]
        log.logger(__name__).info(
            "configured", writer=parts.writer.id, sources=[kept.source.name for kept in parts.kept]
        )

    def _trouble(self, errors: Sequence[Exception]) -> None:
        """Nothing is backed up while the configuration cannot be trusted: not even what was before."""
        self._parts, self._keepers, self._config = None, [], None
        self._tell_of(errors)

    def _tell_of(self, errors: Sequence[Exception]) -> None:
        found = [problem(each, "configuration") for each in errors]
        self._journal.trouble(found)
        for each in found:
            log.logger(__name__).error(each.sentence, kind=each.kind, hint=each.hint)
            self._say(Notice("alarm", "", each.sentence, each.hint, clock.now()))
        for error in errors:
            if not isinstance(error, DwebbackupError):
                log.logger(__name__).error("this is a fault of dwebbackup", exc_info=error)

    def _tell_whom(self, found: Config) -> list[WrongConfiguration]:
        """From now on these, as soon as they can be told, even if nothing else is right; who cannot be is returned."""
        channels: list[Channel] = []
        faults: list[WrongConfiguration] = []
        for url in found.notify:
            with Noting(faults):
                channels.append(parse_channel(url))
        self._notifier.change(channels)
        return faults

    def _open_page(self, found: Config) -> None:
        """As soon as it is known where, even if nothing else is right."""
        wanted = f"{found.listen} {found.page_token}"
        if wanted == self._listening:
            return
        if self._server:
            self._server.stop()
        self._server, self._listening = None, ""
        if found.listen:
            server = Server(Page(self._journal.status, found.page_token, lambda: self._notifier.failures), found.listen)
            try:
                server.start()
            except WrongConfiguration as error:
                log.logger(__name__).error(str(error), hint=error.hint)
                return
            self._server = server
            log.logger(__name__).info("the page can be asked", port=server.port, locked=bool(found.page_token))
        self._listening = wanted

    # --- signals ---

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGHUP: read the configuration. SIGUSR1: back up now."""
        before = [(number, signal.signal(number, self._hear)) for number in (signal.SIGHUP, signal.SIGUSR1)]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        else:
            self._now = True
        self._wake.put(None)

    def _last_backups(self) -> None:
        if not (self._config and self._config.backup_on_stop):
            return
        end = clock.monotonic() + LAST_BACKUP
        for keeper in self._keepers:
            if keeper.is_settled and clock.monotonic() < end:
                keeper.back_up(end - clock.monotonic())

    def _say(self, notice: Notice) -> None:
        self._notifier.tell(replace(notice, log_tail=log.tail()) if notice.event == "failure" else notice)


def _offset() -> float:
    """Of the clock on the wall, by which the package `schedule` goes: it changes when somebody sets the clock, and in
    zones with daylight saving.
    """
    return clock.now() - clock.monotonic() + clock.zone()


def _hide(found: Config) -> None:
    """From now on, in whatever is logged, shown or sent."""
    secrets = [found.page_token, found.key, found.restore_key, *found.notify]
    for url in (*(source.url for source in found.sources), found.target):
        try:
            parts = urlsplit(url)
        except ValueError:  # whoever connects there will say so
            continue
        password = unquote(parts.password or "")
        if len(password) >= 8 and password not in f"{parts.scheme} {parts.username} {parts.path}":  # else words go, too
            secrets.append(password)
    for store in found.stores:
        if store.secrets:
            secrets += [store.secrets.secret_access_key, store.secrets.session_token, store.secrets.token]
    for secret in filter(None, secrets):
        hide(secret)


def run(given: Given, stop: threading.Event) -> None:
    """Everything that `dwebbackup daemon` does."""
    Sidecar(given, stop).run()
