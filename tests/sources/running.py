"""A backup that runs beside a test."""

from __future__ import annotations

import threading

from dwebbackup.errors import DwebbackupError
from dwebbackup.ports import Store
from dwebbackup.sources.postgres import PostgresSource
from synthetic import back_up


class Backup(threading.Thread):
    """A backup in a thread, and what it ended with."""

    def __init__(self, store: Store, source: PostgresSource) -> None:
        super().__init__()
        self.error: DwebbackupError | None = None
        self._store = store
        self._source = source
        self.start()

    def run(self) -> None:
        try:
            back_up(self._store, self._source)
        except DwebbackupError as error:
            self.error = error
