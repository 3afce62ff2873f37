"""The client program that reads rows: `mariadb` for MariaDB, `mysql` for MySQL, and the other where it is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from dwebbackup.errors import ToolMissing
from dwebbackup.sources.mysql.address import Address
from dwebbackup.sources.mysql.connection import Version

_NAMES = {"MariaDB": ("mariadb", "mysql"), "MySQL": ("mysql", "mariadb")}
"""Older MariaDB clients are called `mysql`, too: so what counts is what they say of themselves."""

_PACKAGES = {
    "MariaDB": "mariadb-client (Debian, Ubuntu, Alpine) or mariadb (Fedora)",
    "MySQL": "mysql-client (Ubuntu) or the one of dev.mysql.com; mariadb-client (Debian, Alpine) will do",
}


@dataclass(frozen=True, slots=True)
class Tool:
    """An installed client program."""

    path: str
    flavour: str
    version: str
    """`MariaDB 10.11.19`."""

    def tls(self, at: Address) -> list[str]:
        """Its words for what the address says of TLS."""
        if at.socket:
            return []
        files = [f"--ssl-{what}={value}" for what, value in _files(at) if value]
        if self.flavour == "MySQL":
            return [f"--ssl-mode={at.tls.mode}", *files, "--get-server-public-key"]
        if at.tls.mode == "DISABLED":
            return ["--skip-ssl"]
        verify = "--ssl-verify-server-cert" if at.tls.mode.startswith("VERIFY") else "--skip-ssl-verify-server-cert"
        return [verify, *files] if at.tls.mode == "PREFERRED" else ["--ssl", verify, *files]


def _files(at: Address) -> tuple[tuple[str, str], ...]:
    return (("ca", at.tls.ca), ("cert", at.tls.cert), ("key", at.tls.key))


def choose(version: Version, folder: str | None = None) -> Tool:
    """The one that fits the server best; only of *folder*, when it is given. Raises `ToolMissing`."""
    found = [tool for name in _NAMES[version.flavour] if (tool := _look(name, folder))]
    fitting = [tool for tool in found if tool.flavour == version.flavour]
    if fitting or found:
        return (fitting or found)[0]
    raise ToolMissing(
        f"the server is {version}, and neither {' nor '.join(_NAMES[version.flavour])} is installed here",
        f"install {_PACKAGES[version.flavour]}",
    )


def _look(name: str, folder: str | None) -> Tool | None:
    path = shutil.which(name, path=folder or None)
    if not path:
        return None
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    flavour = "MariaDB" if "mariadb" in said.lower() else "MySQL"
    match = re.search(r"(?:Distrib|from|Ver) (\d+\.\d+\.\d+)", said)
    return Tool(os.path.abspath(path), flavour, f"{flavour} {match[1]}" if match else flavour)
