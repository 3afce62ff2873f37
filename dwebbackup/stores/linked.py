"""What networks have, as a store that is only read, and that knows objects by their links alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dwebbackup import records
from dwebbackup.errors import Damaged, DwebbackupError, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.manifest import digest_in
from dwebbackup.ports import Carrier, Stored, StoreTraits
from dwebbackup.stores import Refused, check_name
from dwebbackup.stores.carriers import told

_ONLY_READ = "configure a store: networks are only read"


class Linked:
    """Fetches by *carrier* what it is given links of. A name is used for one thing: to compare the digest in it."""

    def __init__(self, carrier: Carrier, name: str = "networks") -> None:
        self._carrier = carrier
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return self._carrier.name

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(lists=False, deletes=False, not_found_is_final=False, distance=3)

    def prepare(self) -> None:
        """Raises `Refused`, always."""
        raise Refused(f"{self._name} cannot be written", _ONLY_READ)

    def put(self, name: str, data: bytes) -> tuple[str, ...]:  # noqa: ARG002
        raise Refused(f"{self._name} cannot keep {name}", _ONLY_READ)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        check_name(name)
        usable = [link for link in links if self._carrier.carries(link)]
        if not usable:
            raise self._without_links(name)
        failures: list[tuple[str, DwebbackupError]] = []
        for link in usable:
            try:
                return self._checked(name, self._carrier.fetch(link))
            except (Damaged, StoreUnreachable, WrongConfiguration) as error:
                failures.append((link, error))
        raise told(name, failures)

    def head(self, name: str) -> Stored:
        check_name(name)
        raise self._without_links(name)

    def list(self, prefix: str) -> Iterator[Stored]:
        """Raises `Refused`: that nothing can be listed must not read as that there is nothing."""
        raise Refused(f"{self._name} cannot list {prefix}*: networks keep no names, only links", _ONLY_READ)

    def delete(self, name: str) -> None:
        raise Refused(f"{name} cannot be deleted from {self._name}", _ONLY_READ)

    def _checked(self, name: str, data: bytes) -> bytes:
        """A link may lead to whole bytes that are not this object's."""
        expected = digest_in(name)
        if expected and records.digest(data) != expected:
            raise Damaged(f"what it leads to is not {name}: {len(data)} other bytes")
        return data

    def _without_links(self, name: str) -> ObjectMissing:
        return ObjectMissing(
            f"{name} has no links that anybody configured here fetches; networks keep no names",
            "name a gateway or a portal that does, or a store",
        )
