"""A PostgreSQL server with TLS, on both loopback addresses, that wants passwords from some and certificates from others."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import sql

from dwebbackup.scratch.postgres import Binaries, ScratchPostgres
from fix_postgres import SETTINGS, template

PASSWORD = "p@ss/w:rd%41 ü'\\\"&=#?"
"""With everything in it that one form or another of an address has a meaning for."""

ACCESS = """\
local all all trust
hostssl all certified all cert
hostssl all secured all scram-sha-256
host all plain all scram-sha-256
"""

ROLES = ("certified", "secured", "plain")


_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True, slots=True)
class Authority:
    """Somebody who signs certificates, valid today."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def write(self, path: Path) -> Path:
        """Its own certificate."""
        # Since Python 3.13 an authority has to say what its key is for, and which it is.
        extensions = (
            x509.BasicConstraints(ca=True, path_length=0),
            x509.KeyUsage(**dict.fromkeys(_USES, False) | {"key_cert_sign": True}),
            x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()),
        )
        return self._write(path, self._sign(self.name, self.key, *extensions))

    def certify(self, folder: Path, name: str, hosts: tuple[x509.GeneralName, ...] = ()) -> Path:
        """A certificate for *name* in `NAME.pem`, and its key in `NAME.key`; gives the certificate's path."""
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.SubjectAlternativeName([*hosts]) if hosts else x509.BasicConstraints(ca=False, path_length=None)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = folder / f"{name}.key"
        path.write_bytes(key.private_bytes(*form))
        path.chmod(0o600)
        return self._write(folder / f"{name}.pem", self._sign(name, key, here))

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            _named(self.name), _named(name), key.public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=2))
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(ours, critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, not isinstance(extension, x509.SubjectKeyIdentifier))
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, path: Path, certificate: x509.Certificate) -> Path:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


@dataclass(frozen=True, slots=True)
class TlsServer:
    """The server, and where the files are that its clients need."""

    server: ScratchPostgres
    authority: Authority
    folder: Path
    """`authority.pem`; `certified.pem` and `.key` for the role of that name."""

    @property
    def port(self) -> str:
        return str(self.server.port)


def _second() -> str:
    """Another address of this machine: by IPv6, if its kernel knows that."""
    with socket.socket(socket.AF_INET6) as tried:
        try:
            tried.bind(("::1", 0))
        except OSError:
            return "127.0.0.2"
    return "::1"


SECOND = _second() if socket.has_ipv6 else "127.0.0.2"


@pytest.fixture(scope="session")
def tls_server(pg_binaries: Binaries) -> Iterator[TlsServer]:
    """Roles: `plain` may come by its password, `secured` only with TLS, `certified` by a certificate."""
    with tempfile.TemporaryDirectory(prefix="dwebbackup-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority = Authority("dwebbackup tests")
        authority.write(folder / "authority.pem")
        authority.certify(folder, "certified")
        here = [ipaddress.ip_address(each) for each in ("127.0.0.1", SECOND)]
        authority.certify(folder, "server", (x509.DNSName("localhost"), *map(x509.IPAddress, here)))
        with _started(pg_binaries, folder) as server:
            yield TlsServer(server, authority, folder)


def _started(binaries: Binaries, folder: Path) -> ScratchPostgres:
    """Again with another port where somebody has this one at one of the two addresses."""
    for _ in range(10):
        server = ScratchPostgres(
            binaries, tcp=True, settings=_settings(folder), template=template(binaries, "source")
        ).start()
        if "could not bind" not in server.log():
            _let_in(server, folder)
            return server
        server.destroy()
    pytest.fail(f"no port was free at both 127.0.0.1 and {SECOND}")


def _settings(folder: Path) -> dict[str, str]:
    return SETTINGS | {
        "listen_addresses": f"127.0.0.1,{SECOND}",
        "ssl_ca_file": str(folder / "authority.pem"),
        "ssl_cert_file": str(folder / "server.pem"),
        "ssl_key_file": str(folder / "server.key"),
    }


def _let_in(server: ScratchPostgres, folder: Path) -> None:
    data = server.folder / "data"
    if os.geteuid() == 0:
        os.chown(folder / "server.key", data.stat().st_uid, data.stat().st_gid)
    (data / "pg_hba.conf").write_text(ACCESS)
    with psycopg.connect(server.uri(), autocommit=True) as connection:
        for role in ROLES:
            connection.execute(
                sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(role), PASSWORD)
            )
        connection.execute("ALTER SYSTEM SET ssl = on")
    server.stop()
    server.start()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
