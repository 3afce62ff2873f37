"""The address of a MySQL or MariaDB database: `mysql://USER:PASSWORD@HOST:3306/DATABASE?ssl-mode=VERIFY_IDENTITY`."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from dwebbackup.errors import WrongConfiguration

SCHEMES = ("mysql", "mariadb")

MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""What `ssl-mode` may say, from the weakest on."""

OPTIONS = ("socket", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key")

SOCKETS = ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/tmp/mysql.sock")  # noqa: S108  # MySQL's own
"""Where a server of this machine listens, when the address names no host."""

_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?:(?P<user>[^/@:]*)(?::(?P<password>[^/@]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?:\[\]]*)(?::(?P<port>\d+))?(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)

_HINT = "it looks like mysql://USER@HOST:3306/DATABASE; a special character is written as %XX"


@dataclass(frozen=True, slots=True)
class Tls:
    """How the connection is encrypted, and whom it trusts."""

    mode: str = "PREFERRED"
    ca: str = ""
    cert: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext | None:
        """None: no encryption. Raises `WrongConfiguration` for files that cannot be used."""
        if self.mode == "DISABLED":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            context.check_hostname = self.mode == "VERIFY_IDENTITY"
            context.verify_mode = ssl.CERT_REQUIRED if self.mode.startswith("VERIFY") else ssl.CERT_NONE
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except OSError as error:  # ssl.SSLError is one
            raise WrongConfiguration(
                f"the certificates of the address cannot be used: {error}", "check ssl-ca, ssl-cert and ssl-key"
            ) from error
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """One database on one server."""

    host: str
    """Empty where a socket is used."""
    port: int
    socket: str
    user: str
    password: str = field(repr=False)
    database: str
    tls: Tls

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises `WrongConfiguration`, without the URL, which may hold a password."""
        match = _URL.fullmatch(url)
        if not match or match["scheme"].lower() not in SCHEMES:
            raise WrongConfiguration("this is not the address of a MySQL or MariaDB database", _HINT)
        said = _options(match["query"] or "")
        host, socket = match["host"].strip("[]"), said.get("socket", "")
        if not host and not socket:
            socket = next(filter(os.path.exists, SOCKETS), "")
        return cls(
            host if socket == "" else "",
            int(match["port"] or 3306),
            socket,
            unquote(match["user"] or "") or "root",
            unquote(match["password"] or "") or os.environ.get("MYSQL_PWD", ""),
            unquote(match["database"] or ""),
            Tls(_mode(said), said.get("ssl-ca", ""), said.get("ssl-cert", ""), said.get("ssl-key", "")),
        )

    @property
    def url(self) -> str:
        """For people: without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        return f"mysql://{self.user}@{host}:{self.port}/{self.database}"

    @property
    def place(self) -> str:
        """The server, for messages."""
        return self.socket or f"{self.host or 'localhost'}:{self.port}"


def _options(query: str) -> dict[str, str]:
    said = {key: unquote(value) for key, _, value in (each.partition("=") for each in query.split("&") if each)}
    unknown = [key for key in said if key not in OPTIONS]
    if unknown:
        raise WrongConfiguration(
            f"the address of a MySQL database has no option {', '.join(unknown)}", f"there are {', '.join(OPTIONS)}"
        )
    return said


def _mode(said: dict[str, str]) -> str:
    """Who names an authority wants it to be asked."""
    mode = said.get("ssl-mode", "VERIFY_CA" if said.get("ssl-ca") else "PREFERRED").upper().replace("-", "_")
    if mode not in MODES:
        raise WrongConfiguration(f"ssl-mode is not {mode}", f"there are {', '.join(MODES)}")
    return mode
