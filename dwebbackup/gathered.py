"""Manifests that were fetched by their links, as a store that is only read: here they have names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dwebbackup.access import Opened
from dwebbackup.catalog import Backup
from dwebbackup.errors import DwebbackupError, ObjectMissing, StoreUnreachable
from dwebbackup.manifest import ManifestRef
from dwebbackup.ports import Store, Stored, StoreTraits


class Gathered:
    """Manifests that were fetched by their links, as a store that is only read: they have names here, and all else in
    *behind* has links.
    """

    def __init__(self, behind: Store) -> None:
        self._behind = behind
        self._held: dict[str, bytes] = {}
        self._links: dict[str, tuple[str, ...]] = {}

    @property
    def name(self) -> str:
        return self._behind.name

    @property
    def url(self) -> str:
        return self._behind.url

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(deletes=False, not_found_is_final=False, distance=self._behind.traits.distance)

    def hold(self, name: str, data: bytes) -> None:
        """*data* is what has that name."""
        self._held[name] = data

    def drop(self, name: str) -> None:
        """It is not, after all."""
        del self._held[name]

    def learn(self, name: str, links: Sequence[str]) -> None:
        """Under which links *behind* has it."""
        self._links[name] = tuple(links)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:  # noqa: ARG002
        raise _only_read(name)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        if name in self._held:
            return self._held[name]
        return self._behind.get(name, tuple(dict.fromkeys((*links, *self._links.get(name, ())))))

    def head(self, name: str) -> Stored:
        for stored in self.list(name):
            if stored.name == name:
                return stored
        raise ObjectMissing(f"{name} was not looked for: networks keep no names, only links")

    def list(self, prefix: str) -> Iterator[Stored]:
        """The manifests; of those that are known by their links only, the size is not."""
        for name in {**self._links, **self._held}:
            if name.startswith(prefix):
                yield Stored(name, len(self._held.get(name, b"")), 0.0)

    def delete(self, name: str) -> None:
        raise _only_read(name)


def _only_read(name: str) -> StoreUnreachable:
    return StoreUnreachable(f"networks are only read here, so {name} cannot be changed", "configure a store")


def read_into(opened: Opened, gathered: Gathered, ref: ManifestRef, sealed: bytes, *links: str) -> Backup:
    """A manifest that is at hand, checked like one in a store."""
    name = name_of(opened, ref)
    gathered.hold(name, sealed)
    try:
        opened.catalog.learn(ref, links)
        return opened.catalog.read(ref)
    except DwebbackupError:
        gathered.drop(name)
        raise


def name_of(opened: Opened, ref: ManifestRef) -> str:
    return f"w/{opened.catalog.writer}/manifests/{ref.name}"
