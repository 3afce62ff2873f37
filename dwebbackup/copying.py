"""Objects copied from the stores that have them into those that lack them, a few at once, each byte checked."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from dwebbackup import clock, records
from dwebbackup.errors import Damaged, DwebbackupError, Incomplete, Interrupted, StoreUnreachable
from dwebbackup.holdings import ahead
from dwebbackup.manifest import ManifestRef, digest_in
from dwebbackup.needs import Need
from dwebbackup.ports import Member, Store
from dwebbackup.signed import Signed
from dwebbackup.whereabouts import Readings, Whereabouts, gone_since

MANIFESTS = "manifests"

ORDER = ("packs", "indexes", MANIFESTS)
"""A manifest comes into a store when all that it names is there."""


class Copying:
    """Copies into members of *store*, and what came of it. A member that did not take one object gets no more.

    *needs*: all that the backups at hand need, whether or not it is lacking anywhere. *out_of*: the names of the
    members to copy from; none: all, and whatever else *store* finds by links.
    """

    def __init__(
        self,
        store: Store,
        where: Whereabouts,
        needs: Collection[Need],
        stop: threading.Event,
        out_of: Collection[str] = (),
    ) -> None:
        self._store = store
        self._where = where
        self._needs = needs
        self._out_of = out_of
        self._stop = stop
        self._readings = Readings()
        self._put: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._refused: dict[str, DwebbackupError] = {}
        self._incomplete: dict[str, DwebbackupError] = {}
        self.lost: dict[str, str] = {}
        """Objects that nobody has as they should be, by name, and why."""
        self.objects: Counter[str] = Counter()
        """How many were put, by the member's name."""
        self.bytes: Counter[str] = Counter()

    @property
    def problems(self) -> Mapping[str, DwebbackupError]:
        """Why members, by name, did not get all they lacked: they did not take it, or who has it did not answer."""
        return {**self._incomplete, **self._refused}

    def copy(
        self,
        targets: Mapping[Need, Sequence[Member]],
        advance: Callable[[int], None] = lambda _: None,
        *,
        meanwhile: Callable[[], None] = lambda: None,
        seconds: float = math.inf,
    ) -> None:
        """Put each object into all its targets, and call *meanwhile* after each; those that do not have everything
        after so many *seconds* get no more. Raises `Interrupted`, and what *meanwhile* does.
        """
        until = clock.monotonic() + seconds

        def one(need: Need) -> None:
            if self._stop.is_set():
                raise Interrupted("the repair was asked to stop")
            if clock.monotonic() > until:
                self._give_up(targets[need], seconds)
            without = self.problems if need.kind == MANIFESTS else self._refused
            self._copy(need, [each for each in targets[need] if each.store.name not in without])
            advance(need.size * len(targets[need]))

        for kind in ORDER:
            wanted = [need for need in targets if need.kind == kind]
            if kind == MANIFESTS:
                self._keep_back(targets, wanted)
            for _ in ahead(one, wanted):
                meanwhile()

    def _give_up(self, targets: Sequence[Member], seconds: float) -> None:
        for target in targets:
            error = Incomplete(f"copying took longer than {seconds / 60:.0f} minutes", "run `dwebbackup repair`")
            self._refused.setdefault(target.store.name, error)

    def _keep_back(self, targets: Mapping[Need, Sequence[Member]], manifests: Sequence[Need]) -> None:
        """No manifest comes where a prune has meanwhile dropped what it may name: nothing named that there, yet."""
        for target in {each.store.name: each for need in manifests for each in targets[need]}.values():
            if target.store.name not in self.problems:
                try:
                    self._require_all_there(target)
                except (StoreUnreachable, Incomplete) as error:
                    self._incomplete.setdefault(target.store.name, error)

    def _require_all_there(self, target: Member) -> None:
        gone = gone_since(self._where, target, self._needs)
        if gone:
            raise Incomplete(
                f"packs or indexes that were there when it was looked at are gone ({gone}): it was pruned meanwhile",
                "run `dwebbackup repair` again",
            )

    def _copy(self, need: Need, targets: Sequence[Member]) -> None:
        if not targets:
            return
        try:
            data = self._fetch(need)
        except Damaged as error:
            self.lost[need.name] = f"{need.name} could not be had from anywhere: {error}"
        except StoreUnreachable as error:
            for target in targets:
                self._incomplete.setdefault(target.store.name, error)
        else:
            for target in (*targets, *(each for each in self._spoiled(need) if each not in targets)):
                self._put_into(target, need.name, data)

    def _fetch(self, need: Need) -> bytes:
        """From the nearest that has it. Raises `Damaged` (`ObjectMissing`, too), `StoreUnreachable`."""
        for member in self._where.holders(need):
            if not self._out_of or member.store.name in self._out_of:
                data = self._readings.read(member, need)
                if data is not None:
                    return data
        if self._out_of:
            raise StoreUnreachable(f"{need.name} is not to be had from {', '.join(self._out_of)}")
        return records.check(need.name, self._store.get(need.name, need.links), digest_in(need.name))

    def _spoiled(self, need: Need) -> list[Member]:
        """Those whose copy turned out to be bad only when it was read."""
        return [each for each in self._where.members if (each.store.name, need.name) in self._readings.spoiled]

    def _put_into(self, target: Member, name: str, data: bytes) -> None:
        store = target.store.name
        if store in self._refused:
            return
        try:
            target.store.put(name, data)
        except Interrupted:
            raise
        except DwebbackupError as error:  # also one that answers another link than the bytes have
            self._refused.setdefault(store, error)
            return
        with self._lock:
            self._put.add((store, name))
            self.objects[store] += 1
            self.bytes[store] += len(data)

    def put_signed(self, signed: Signed, behind: ManifestRef | None = None) -> None:
        """Put the copy that counts where it is lacking still; what leads to a manifest only *behind* that."""
        for target in self._where.members:
            store = target.store.name
            if store not in signed.lacking or store in self._refused:
                continue
            if behind is None or self._has(target, f"manifests/{behind.name}"):
                self._put_if_lacking(target, signed)

    def _put_if_lacking(self, target: Member, signed: Signed) -> None:
        try:
            is_lacking = signed.is_lacking_now(target)
        except StoreUnreachable as error:
            self._incomplete.setdefault(target.store.name, error)
            return
        if is_lacking:
            self._put_into(target, signed.name, signed.data)

    def _has(self, target: Member, name: str) -> bool:
        listed = self._where.sizes_of(name)[self._where.members.index(target)]
        return (target.store.name, name) in self._put or listed >= 0
