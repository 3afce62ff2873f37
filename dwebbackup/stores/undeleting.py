"""A wrapper round any store in which nothing may be deleted with the key at hand, nor by whoever steals that key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.stores import Place, Refused


class Undeleting:
    """*store*, of which nothing is asked to be deleted; what asks all the same is `Refused`."""

    def __init__(self, store: Place) -> None:
        self._store = store

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def traits(self) -> StoreTraits:
        return replace(self._store.traits, deletes=False)

    def prepare(self) -> None:
        self._store.prepare()

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        return self._store.put(name, data)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        return self._store.get(name, links)

    def head(self, name: str) -> Stored:
        return self._store.head(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        raise Refused(
            f"{name} is not deleted from store {self.name}, whose URL says deletes=no", "do it where that is allowed"
        )
