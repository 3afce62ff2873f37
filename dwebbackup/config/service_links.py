"""Variables that Kubernetes sets for every service of a lease, and that look like somebody's settings.

A service called `dwebbackup-store` gives all its neighbours DWEBBACKUP_STORE_SERVICE_HOST=10.0.0.1,
DWEBBACKUP_STORE_PORT=tcp://10.0.0.1:8080, and more of that kind.
"""

from __future__ import annotations

import re

_ADDRESS, _NUMBER, _PROTOCOL = r"[0-9A-Fa-f.:]+", r"[0-9]{1,5}", r"(?:tcp|udp|sctp)"
_URL = rf"{_PROTOCOL}://\S+"
_PORT = rf"PORT_{_NUMBER}_{_PROTOCOL.upper()}"

_LINKS = tuple(
    (re.compile(rf"(?:[A-Z0-9_]+_)?{name}"), re.compile(value))
    for name, value in {
        "SERVICE_HOST": _ADDRESS,
        "SERVICE_PORT(?:_[A-Z0-9_]+)?": _NUMBER,
        "PORT": _URL,
        _PORT: _URL,
        f"{_PORT}_PROTO": _PROTOCOL,
        f"{_PORT}_PORT": _NUMBER,
        f"{_PORT}_ADDR": _ADDRESS,
    }.items()
)
"""How they are called, and what they hold: a name alone might be somebody's mistake, which has to be told."""


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes would set a variable that ends in *name* to *value*."""
    return any(called.fullmatch(name) and holds.fullmatch(value) for called, holds in _LINKS)


def is_link_url(value: str) -> bool:
    """Whether a service link stands where a host or a port was expected."""
    return re.fullmatch(_URL, value) is not None


def host_and_port(link: str) -> tuple[str, str]:
    """Of `tcp://10.0.0.1:5432`; the port may be missing."""
    match = re.fullmatch(rf"{_PROTOCOL}://(?:\[([^\]]*)\]|([^:/]*))(?::({_NUMBER}))?/?", link)
    return (match[1] or match[2] or "", match[3] or "") if match else ("", "")
