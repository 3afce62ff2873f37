"""What tests of notices share: certificates for servers on this machine, and a log that can be read."""

from __future__ import annotations

import io
import ipaddress
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from cryptography import x509

from dwebbackup.report import log, redaction
from fix_tls import Authority


@pytest.fixture(scope="session")
def here_certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`authority.pem`, and `server.pem` with `server.key` that it signed for this machine."""
    folder = tmp_path_factory.mktemp("authority")
    signer = Authority("dwebbackup tests")
    signer.write(folder / "authority.pem")
    here = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    signer.certify(folder, "server", here)
    return folder


@pytest.fixture
def server_tls(here_certified: Path) -> ssl.SSLContext:
    """For a server whose certificate nobody trusts unless he has the fixture `trusting`, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(here_certified / "server.pem", here_certified / "server.key")
    return context


@pytest.fixture
def trusting(here_certified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(here_certified / "authority.pem"))


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the machine that the tests run on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """From other tests, nor afterwards from them."""
    monkeypatch.setattr(redaction, "_hidden", {})
    monkeypatch.setattr(redaction, "_hidden_pattern", None)


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """Everything logged, libraries' lines included."""
    handlers = logging.root.handlers[:]
    stream = io.StringIO()
    log.set_up(stream, logging.DEBUG)
    yield stream
    structlog.reset_defaults()
    logging.basicConfig(handlers=handlers, force=True)
