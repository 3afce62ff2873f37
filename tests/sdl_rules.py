"""What Akash's chain and providers refuse in a deployment file, written down plainly: `faults(sdl)` names all of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(=.*)?", re.DOTALL)
CLASSES = ("default", "beta1", "beta2", "beta3", "ram")
UNITS = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
LIMITS = {"cpu": (10, 384_000), "memory": (2**20, 2 * 2**40), "storage": (5 * 2**20, 32 * 2**40)}
"""Of one unit: thousandths of a core, bytes, bytes of each volume."""
MOST_COPIES = 50
HIGHEST_PRICE = 10_000_000

Sdl = Mapping[str, Any]


def faults(sdl: Sdl) -> list[str]:
    """A sentence for each; none of them: it would be taken."""
    if sdl.get("version") not in ("2.0", "2.1"):  # a number, when its quotation marks were forgotten
        return ["version is neither '2.0' nor '2.1'"]
    if missing := [part for part in ("services", "profiles", "deployment") if not sdl.get(part)]:
        return [f"there is no {part}" for part in missing]
    return [*_services(sdl), *_exposure(sdl), *_compute(sdl), *_volumes(sdl), *_placements(sdl), *_deployment(sdl)]


def _services(sdl: Sdl) -> Iterator[str]:
    for name, service in sdl["services"].items():
        if not NAME.fullmatch(name):
            yield f"{name} is no name for a service"
        if not service.get("image"):
            yield f"{name} has no image"
        for variable in service.get("env") or ():
            if not isinstance(variable, str) or not VARIABLE.fullmatch(variable):
                yield f"{name}: {variable!r} is not NAME=VALUE"
        if name not in sdl["deployment"]:
            yield f"{name} is not deployed"


def _exposure(sdl: Sdl) -> Iterator[str]:
    is_open = False
    for name, service in sdl["services"].items():
        for expose in service.get("expose") or ():
            ports = expose.get("port"), expose.get("as", expose.get("port"))
            if not all(isinstance(port, int) and 1 <= port <= 65535 for port in ports):
                yield f"{name} exposes a port that is none"
            if expose.get("proto", "TCP").upper() not in ("TCP", "UDP"):
                yield f"{name} exposes {expose['proto']}"
            for to in expose.get("to") or ():
                is_open |= bool(to.get("global"))
                if "service" in to and to["service"] not in sdl["services"]:
                    yield f"{name} is exposed to {to['service']}, which is no service"
    if not is_open:
        yield "nothing is exposed to the world: zero global services"


def _compute(sdl: Sdl) -> Iterator[str]:
    for name, profile in sdl["profiles"]["compute"].items():
        resources = profile["resources"]
        amounts = [("cpu", _cores(resources["cpu"]["units"])), ("memory", _bytes(resources["memory"]["size"]))]
        amounts += [("storage", _bytes(volume["size"])) for volume in _of(resources)]
        for kind, amount in amounts:
            least, most = LIMITS[kind]
            if amount is None:
                yield f"{name}: its {kind} is no amount"
            elif not least <= amount <= most:
                yield f"{name}: its {kind} is outside of what a unit may have"


def _volumes(sdl: Sdl) -> Iterator[str]:
    for name, deployed in sdl["deployment"].items():
        mounts = (sdl["services"].get(name, {}).get("params") or {}).get("storage") or {}
        profiles = {placed["profile"] for placed in deployed.values()} & set(sdl["profiles"]["compute"])
        for profile in profiles:
            volumes = _of(sdl["profiles"]["compute"][profile]["resources"])
            yield from _attributes(name, volumes, mounts)
            known = [volume.get("name", "default") for volume in volumes]
            yield from (f"{name} has two volumes {each}" for each, n in Counter(known).items() if n > 1)
            yield from (f"{name} mounts {each}, which is no volume of it" for each in mounts if each not in known)
        places = [(mount or {}).get("mount", "") for mount in mounts.values()]
        yield from (f"{name} mounts {each!r}, which is no absolute path" for each in places if not each.startswith("/"))
        yield from (f"{name} mounts two volumes at {each}" for each, n in Counter(places).items() if n > 1)


def _attributes(service: str, volumes: list[Sdl], mounts: Mapping[str, Any]) -> Iterator[str]:
    for volume in volumes:
        name, attributes = volume.get("name", "default"), volume.get("attributes") or {}
        persistent = str(attributes.get("persistent", False)).lower() in ("true", "yes", "on")
        kind = attributes.get("class", "default")
        if kind not in CLASSES:
            yield f"{service}: {kind} is no class of storage"
        elif kind == "ram" and persistent:
            yield f"{service}: memory is not persistent"
        elif attributes and kind != "ram" and not persistent:
            yield f"{service}: storage with a class is persistent, or of the class ram"
        if persistent and not (mounts.get(name) or {}).get("mount"):
            yield f"{service}: its persistent volume {name} is mounted nowhere"


def _placements(sdl: Sdl) -> Iterator[str]:
    coins = set()
    for name, placement in sdl["profiles"]["placement"].items():
        for profile, price in placement["pricing"].items():
            coins.add(price.get("denom"))
            if profile not in sdl["profiles"]["compute"]:
                yield f"{name} has a price for {profile}, which is no profile"
            if price.get("denom") not in ("uakt", "uact"):
                yield f"{name}: the price of {profile} is in {price.get('denom')}"
            if not 0 < float(price.get("amount", 0)) <= HIGHEST_PRICE:
                yield f"{name}: the price of {profile} is out of bounds"
    if len(coins) > 1:
        yield "the prices are in several coins"


def _deployment(sdl: Sdl) -> Iterator[str]:
    for name, deployed in sdl["deployment"].items():
        if name not in sdl["services"]:
            yield f"{name} is deployed, and is no service"
        for place, placed in deployed.items():
            placement = sdl["profiles"]["placement"].get(place)
            if placement is None:
                yield f"{name} is deployed to {place}, which is no placement"
            elif placed["profile"] not in placement["pricing"]:
                yield f"{name}: {place} has no price for {placed['profile']}"
            if placed["profile"] not in sdl["profiles"]["compute"]:
                yield f"{name} is deployed as {placed['profile']}, which is no profile"
            if not 1 <= placed.get("count", 0) <= MOST_COPIES:
                yield f"{name} is deployed {placed.get('count', 0)} times"


def _of(resources: Sdl) -> list[Sdl]:
    """Its volumes; one alone may stand without a list."""
    storage = resources["storage"]
    return list(storage) if isinstance(storage, list) else [storage]


def _cores(units: object) -> float | None:
    """In thousandths."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(units))
    return float(match[1]) * (1 if match[2] else 1000) if match else None


def _bytes(size: object) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", str(size))
    return float(match[1]) * UNITS[match[2]] if match and match[2] in UNITS else None
