"""The configured stores as one: for reading, for writing, and to mend what one of them lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from dwebbackup import networks
from dwebbackup.assemble.places import Means, known_stores, place
from dwebbackup.config import Config
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

UPLOADS = 4
"""Packs put at once into a store that is far away; a disk gains nothing from more than one."""


def store(config: Config, stop: threading.Event | None = None) -> Store:
    """The store, or all of them as one, for reading. *stop* ends its waits. Raises `WrongConfiguration`."""
    return _for_reading(_places(config, stop), stop, linked=_linked(config, stop))


def prepared_store(config: Config, stop: threading.Event | None = None) -> Store:
    """The same for writing: begun, if nobody did before. Raises `StoreUnreachable` when that cannot be."""
    places = _places(config, stop)
    _prepare(places, PATIENT, stop)
    return _for_writing(config, places, stop)


def quick_and_patient_store(config: Config, stop: threading.Event | None = None) -> tuple[Store, Store]:
    """The same store twice, begun if it was not: the first soon says that it does not answer, the other one is for work
    that would be lost. Raises `StoreUnreachable`.
    """
    places = _places(config, stop)
    _prepare(places, QUICK, stop)
    return _for_reading(places, stop, QUICK), _for_writing(config, places, stop)


@dataclass(frozen=True, slots=True)
class _Configured:
    """A store, before anything is wrapped round it."""

    place: Place
    required: bool


def _places(config: Config, stop: threading.Event | None) -> tuple[_Configured, ...]:
    means = Means(stop, (lambda link: networks.carrier(config).fetch(link)) if config.gateways else None)
    return tuple(_Configured(place(each, means), each.required) for each in known_stores(config))


def _prepare(places: Sequence[_Configured], budget: float, stop: threading.Event | None) -> None:
    """Raises what hinders one that is required; another one that cannot be begun is left out by and by."""
    for each in places:
        with nullcontext() if each.required else suppress(StoreUnreachable):
            Retrying(each.place, budget=budget if each.required else QUICK, stop=stop).prepare()


def _linked(config: Config, stop: threading.Event | None) -> Store | None:
    """Strangers' gateways, where there is a store whose content they may have."""
    if not config.gateways or not any(each.kind in networks.ON_IPFS for each in config.stores):
        return None
    from dwebbackup.stores.linked import Linked  # noqa: PLC0415  # as with S3Store

    return Retrying(Linked(networks.carrier(config)), budget=QUICK, stop=stop)


def _for_reading(
    places: Sequence[_Configured],
    stop: threading.Event | None,
    budget: float = PATIENT,
    linked: Store | None = None,
) -> Store:
    if len(places) == 1:
        only = Retrying(places[0].place, budget=budget, stop=stop)
        return Mirrored([Member(only)], linked) if linked else only
    each = (Member(Resting(Retrying(each.place, budget=QUICK, stop=stop)), each.required) for each in places)
    return Mirrored(tuple(each), linked)


def store_and_links(config: Config, linked: Store | None, stop: threading.Event | None = None) -> Store:
    """The stores for reading what *linked* has, too, where there are links: none of them is waited for."""
    places = _places(config, stop)
    each = (Member(Resting(Retrying(each.place, budget=QUICK, stop=stop)), each.required) for each in places)
    return Mirrored(tuple(each), linked)


def store_to_mend(config: Config, linked: Store | None, stop: threading.Event | None = None) -> Store:
    """The same for a repair, which goes on without those that do not answer, and waits for those that did."""
    uploads = Bucket(config.rate) if config.rate else None

    def mendable(each: _Configured) -> Member:
        budget = PATIENT if _begins(each.place, stop) else QUICK
        store = Resting(Retrying(each.place, budget=budget, stop=stop))
        return Member(Throttled(store, uploads, stop=stop) if uploads else store, each.required)

    return Mirrored(tuple(map(mendable, _places(config, stop))), linked)


def _begins(place: Place, stop: threading.Event | None) -> bool:
    try:
        Retrying(place, budget=QUICK, stop=stop).prepare()
    except StoreUnreachable:
        return False
    return True


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
        else Member(Resting(paced(Retrying(each.place, budget=QUICK, stop=stop))), required=False)
        for each in places
    )
    return Mirrored(tuple(patient))


def uploads(config: Config) -> int:
    """How many packs to put at once."""
    return 1 if all(each.kind == "file" for each in known_stores(config)) else UPLOADS
