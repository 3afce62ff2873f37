"""The configured stores as one: for reading, for writing, and to mend what one of them lost."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dwebbackup import networks
from dwebbackup.assemble.places import Means, known_stores, place
from dwebbackup.config import Config, StoreConfig
from dwebbackup.errors import StoreUnreachable
from dwebbackup.ports import Member, Store
from dwebbackup.stores import Place
from dwebbackup.stores.mirrored import Mirrored
from dwebbackup.stores.resting import Resting
from dwebbackup.stores.retrying import Retrying
from dwebbackup.stores.throttled import Bucket, Throttled

QUICK = 20.0
"""Seconds for which the sidecar tries again to look into a store, before it says so on its page."""

PATIENT = 300.0
"""Seconds for which work that would be lost waits for a store."""

UPLOADS, UPLOADS_TO_SEVERAL = 4, 3
"""Packs put at once into a store that is far away, and into several: what speaks to each takes memory, too. A disk
gains nothing from more than one.
"""


def store(config: Config, stop: threading.Event | None = None) -> Store:
    """The store, or all of them as one, for reading. *stop* ends its waits. Raises `WrongConfiguration`."""
    return _for_reading(_places(config, stop, reading=True), stop, linked=_linked(config, stop))


def prepared_store(config: Config, stop: threading.Event | None = None) -> Store:
    """The same for writing: begun, if nobody did before. Raises `StoreUnreachable` when that cannot be."""
    places = _prepare(_places(config, stop), PATIENT, stop)
    return _for_writing(config, places, stop)


def quick_and_patient_store(config: Config, stop: threading.Event | None = None) -> tuple[Store, Store]:
    """The same store twice, begun if it was not: the first soon says that it does not answer, the other one is for work
    that would be lost. Raises `StoreUnreachable`.
    """
    places = _prepare(_places(config, stop), QUICK, stop)
    return _for_reading(places, stop, QUICK), _for_writing(config, places, stop)


@dataclass(frozen=True, slots=True)
class _Configured:
    """A store, before anything is wrapped round it."""

    place: Place
    required: bool
    failure: StoreUnreachable | None = None
    """Why it could not be begun just now, and is left alone for a while."""

    def hurried(self, stop: threading.Event | None) -> Retrying:
        """One that costs little time when it does not answer: there are others."""
        return Retrying(self.place, budget=QUICK, hurried=True, stop=stop)


def _places(config: Config, stop: threading.Event | None, *, reading: bool = False) -> tuple[_Configured, ...]:
    """One that hangs is soon given up where others are there to ask, or need not have everything."""
    stores = known_stores(config)
    fetch = (lambda link: networks.carrier(config, stop=stop).fetch(link)) if config.gateways else None

    def configured(each: StoreConfig) -> _Configured:
        hurried = len(stores) > 1 and (reading or not each.required)
        return _Configured(place(each, Means(stop, fetch, QUICK if hurried else math.inf)), each.required)

    return tuple(map(configured, stores))


def _prepare(places: Sequence[_Configured], budget: float, stop: threading.Event | None) -> tuple[_Configured, ...]:
    """Raises what hinders one that is required; another one that cannot be begun is left out by and by."""

    def begun(each: _Configured) -> _Configured:
        if not each.required:
            return replace(each, failure=_failure(each, stop))
        Retrying(each.place, budget=budget, stop=stop).prepare()
        return each

    return tuple(map(begun, places))


def _failure(each: _Configured, stop: threading.Event | None) -> StoreUnreachable | None:
    """Why it cannot be begun, if it cannot."""
    try:
        each.hurried(stop).prepare()
    except StoreUnreachable as error:
        return error
    return None


def _linked(config: Config, stop: threading.Event | None) -> Store | None:
    """Strangers' gateways, where there is a store whose content they may have."""
    if not config.gateways or not any(each.kind in networks.ON_IPFS for each in config.stores):
        return None
    from dwebbackup.stores.linked import Linked  # noqa: PLC0415  # as with S3Store

    return Retrying(Linked(networks.carrier(config, stop=stop)), budget=QUICK, stop=stop)


def _for_reading(
    places: Sequence[_Configured],
    stop: threading.Event | None,
    budget: float = PATIENT,
    linked: Store | None = None,
) -> Store:
    if len(places) == 1:
        only = Retrying(places[0].place, budget=budget, stop=stop)
        return Mirrored([Member(only)], linked) if linked else only
    return Mirrored(_quick(places, stop), linked, patience=budget - QUICK, stop=stop)


def _quick(places: Sequence[_Configured], stop: threading.Event | None) -> tuple[Member, ...]:
    """None of them is waited for: there are the others."""
    return tuple(Member(Resting(each.hurried(stop), failure=each.failure), each.required) for each in places)


def store_and_links(config: Config, linked: Store | None, stop: threading.Event | None = None) -> Store:
    """The stores for reading what *linked* has, too, where there are links: none of them is waited for."""
    return Mirrored(_quick(_places(config, stop, reading=True), stop), linked)


def store_to_mend(config: Config, linked: Store | None, stop: threading.Event | None = None) -> Store:
    """The same for a repair, which goes on without those that do not answer, and waits for those that did."""
    uploads = Bucket(config.rate) if config.rate else None

    def mendable(each: _Configured) -> Member:
        failure = _failure(each, stop)
        store = Resting(each.hurried(stop) if failure else Retrying(each.place, stop=stop), failure=failure)
        return Member(Throttled(store, uploads, stop=stop) if uploads else store, each.required)

    return Mirrored(tuple(map(mendable, _places(config, stop))), linked)


def _for_writing(config: Config, places: Sequence[_Configured], stop: threading.Event | None) -> Store:
    """A store that must have everything is waited for; the others have to be quick, and are soon left alone."""
    uploads = Bucket(config.rate) if config.rate else None

    def paced(store: Store) -> Store:
        return Throttled(store, uploads, stop=stop) if uploads else store

    if len(places) == 1:
        return paced(Retrying(places[0].place, stop=stop))
    patient = (
        Member(paced(Retrying(each.place, stop=stop)))
        if each.required
        else Member(Resting(paced(each.hurried(stop)), failure=each.failure), required=False)
        for each in places
    )
    return Mirrored(tuple(patient))


def uploads(config: Config) -> int:
    """How many packs to put at once."""
    stores = known_stores(config)
    if all(each.kind == "file" for each in stores):
        return 1
    return UPLOADS if len(stores) == 1 else UPLOADS_TO_SEVERAL
