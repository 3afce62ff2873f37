"""Packs on the way out: sealed and put by a few threads, while the next ones are filled."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from dwebbackup import age, records
from dwebbackup.links.uris import content_links
from dwebbackup.manifest import PackEntry
from dwebbackup.packing import Pack
from dwebbackup.ports import Several, Store


@dataclass(frozen=True, slots=True)
class Filled:
    """A pack as a worker hands it over, with what its index entry will say."""

    pack: Pack
    full: bool
    numbers: array[int]
    names: bytes
    lengths: array[int]
    frames: array[int]


class Uploader:
    """Seals packs and puts them; `submit` waits while as many are under way as there are threads, two at least.

    That bounds memory: a pack is held once, however many stores it goes to. *stored* is called under a lock with each
    pack once every required store has acknowledged it.
    """

    def __init__(
        self,
        store: Store,
        recipients: Sequence[bytes],
        stored: Callable[[PackEntry, array[int]], None],
        threads: int = 1,
    ) -> None:
        self._store = store
        self._recipients = tuple(recipients)
        self._fingerprints = tuple(sorted(map(age.fingerprint, recipients)))
        self._stored = stored
        self._lock = threading.Lock()
        self._sealing = threading.Lock()
        self._room = threading.BoundedSemaphore(max(threads, 2))
        self._pool = ThreadPoolExecutor(threads, "upload")
        self._failure: BaseException | None = None

    def submit(self, filled: Filled) -> None:
        """Hand over one pack. Raises what an earlier one failed with."""
        self._room.acquire()
        if self._failure:
            self._room.release()
            raise self._failure
        self._pool.submit(self._upload, filled)

    def close(self) -> None:
        """Wait for all. Raises what one of them failed with."""
        self._pool.shutdown(wait=True)
        if self._failure:
            raise self._failure

    def abandon(self) -> None:
        """Wait only for what is under way; drop the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _upload(self, filled: Filled) -> None:
        try:
            if not self._failure:
                self._put(filled)
        except BaseException as failure:  # noqa: BLE001  # it is raised by the next submit, or by close
            self._failure = self._failure or failure
        finally:
            self._room.release()

    def _put(self, filled: Filled) -> None:
        with self._sealing:  # which holds a pack twice, and is quicker than what fills packs
            entry, sealed = self._seal(filled)
        links = content_links(sealed, self._store.put(entry.path, sealed))
        missed = self._store.absent(entry.path) if isinstance(self._store, Several) else ()
        with self._lock:
            self._stored(replace(entry, links=links, missed=missed), filled.numbers)

    def _seal(self, filled: Filled) -> tuple[PackEntry, bytes]:
        """While a pack is under way, which may take long, nothing of it is held but what is sent."""
        plain = filled.pack.plain(full=filled.full)
        filled.pack.clear()
        sealed = age.seal(plain, self._recipients)
        sha256 = records.digest(sealed)
        entry = PackEntry(
            sha256, len(sealed), len(plain), self._fingerprints, filled.names, filled.lengths, filled.frames
        )
        return entry, sealed
