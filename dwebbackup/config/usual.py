"""The source that the variables of libpq and of the `postgres` image tell of, where nobody configured one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from dwebbackup.config.layers import Layer
from dwebbackup.config.service_links import host_and_port, is_link_url
from dwebbackup.config.urls import SourceConfig, parse_source
from dwebbackup.errors import WrongConfiguration

HOST = ("PGHOST", "POSTGRES_HOST")
PORT = ("PGPORT", "POSTGRES_PORT")
USER = ("PGUSER", "POSTGRES_USER")
PASSWORD = ("PGPASSWORD", "POSTGRES_PASSWORD")
DATABASE = ("PGDATABASE", "POSTGRES_DB", "POSTGRES_DATABASE")
"""The first that is set wins."""

IN_FILES = ("POSTGRES_USER_FILE", "POSTGRES_PASSWORD_FILE", "POSTGRES_DB_FILE")
"""What the image reads from a file."""

_VARIABLES = (*HOST, *PORT, *USER, *PASSWORD, *DATABASE, *IN_FILES)
_USER = "postgres"
_PORT = "5432"
_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]+")
_PORTS = re.compile(r"[0-9]{1,5}(?:,[0-9]{1,5})*")


def usual_source(environment: Mapping[str, str], warnings: list[str]) -> SourceConfig | None:
    """None where they name no host. Raises `WrongConfiguration`, which shows none of their values."""
    values = Layer({name: environment.get(name, "") for name in _VARIABLES}, str, warnings)
    host, port = _server(values)
    if not host:
        return None
    user = _first(values, USER) or _USER
    password, database = _first(values, PASSWORD), _first(values, DATABASE) or user
    login = _encoded(user) + (f":{_encoded(password)}" if password else "")
    if _PLAIN_HOST.fullmatch(host):
        return parse_source(f"postgresql://{login}@{host}:{port}/{_encoded(database)}")
    # A folder with a socket, an IPv6 address, several hosts: all of these can stand behind the `?` as they are.
    where = f"host={_encoded(host)}&port={_encoded(port)}"
    return parse_source(f"postgresql://{login}@/{_encoded(database)}?{where}")


def _server(values: Layer) -> tuple[str, str]:
    """Host (may be empty) and port; of service links, which are nobody's settings, only the address counts."""
    host, linked = _first(values, HOST).strip(), ""
    if is_link_url(host):
        host, linked = host_and_port(host)
    for name in PORT:
        port = values.text(name).strip()
        if port and not is_link_url(port):
            if host and not _PORTS.fullmatch(port):
                raise WrongConfiguration(f"{name} is not the number of a port", "PostgreSQL's is usually 5432")
            return host, port
    return host, linked or _PORT


def _first(values: Layer, names: Sequence[str]) -> str:
    return next(filter(None, map(values.text, names)), "")


def _encoded(text: str) -> str:
    return quote(os.fsencode(text), safe="")
