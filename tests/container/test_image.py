"""What is in the container image, and that it needs no rights."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest

import dwebbackup
from container.conftest import WIDE
from container.running import Image
from s3_server import free_port


def test_it_is_what_the_project_is(image: Image):
    assert dwebbackup.__version__ in image.call("--version").stdout
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == dwebbackup.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_runs_the_daemon_and_is_stopped_as_it_wants(image: Image):
    assert (image.config["Entrypoint"], image.config["Cmd"]) == (["dwebbackup"], ["daemon"])
    assert image.config["StopSignal"] == "SIGTERM"
    assert "8080/tcp" in image.config["ExposedPorts"]


def test_doctor_says_what_has_to_be_configured(image: Image):
    done = image.call("doctor", check=False)
    assert done.returncode == 2
    assert "DWEBBACKUP_KEY" in done.stdout
    assert "DWEBBACKUP_STORE" in done.stdout


def test_it_is_nobody_special_and_may_write_nothing(image: Image):
    told = image.call(
        "-c", "id -u; touch /x /home/dwebbackup/x; grep -E 'CapEff|NoNewPrivs' /proc/1/status", program="sh"
    )
    assert told.stdout.split() == ["10001", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    assert told.stderr.count("Read-only file system") == 2


def test_every_client_is_there(image: Image):
    versions = image.call(
        "-c", "pg_dump --version; psql --version; mariadb-dump --version; mariadb-binlog --version", program="sh"
    )
    assert f"pg_dump (PostgreSQL) {18 if WIDE else 17}." in versions.stdout
    assert versions.stdout.count("MariaDB") == 2


def test_what_only_builds_stayed_behind(image: Image):
    look = "command -v pip gcc cc make git; ls /src; find / -xdev -name '*.whl' -o -xdev -path '*/apt/archives/*.deb'"
    found = image.call("-c", f"{look} 2>/dev/null; true", program="bash").stdout
    assert found == ""


def test_everything_is_compiled(image: Image):
    script = """
import importlib.util, pathlib, sys
files = [file for file in pathlib.Path(sys.prefix).rglob("*.py")]
print(len(files), *[file for file in files if not pathlib.Path(importlib.util.cache_from_source(file)).exists()])
"""
    number, *without = image.call("-c", script, program="python3").stdout.split()
    assert int(number) > 500
    assert without == []


def test_a_scratch_server_starts_in_it(image: Image):
    script = """
from dwebbackup.scratch.postgres import ScratchPostgres, find_postgres
with ScratchPostgres(find_postgres()) as server:
    print(server.psql("SELECT 6 * 7"))
"""
    assert image.call("-c", script, program="python3").stdout == "42\n"


# --- its health ---


@contextmanager
def answering(status: HTTPStatus) -> Iterator[int]:
    """A page that says so to whoever asks for /healthz; gives its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else HTTPStatus.NOT_FOUND)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def health(image: Image, listen: str) -> int:
    """What the image's own question comes to, when the sidecar listens there."""
    kind, *command = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    settings = os.environ | {"DWEBBACKUP_LISTEN": listen}
    return subprocess.run(command, env=settings, stderr=subprocess.DEVNULL, check=False).returncode


@pytest.mark.parametrize("listen", ["{}", "0.0.0.0:{}", "127.0.0.1:{}"])
def test_healthy_is_what_says_200(image: Image, listen: str):
    with answering(HTTPStatus.OK) as port:
        assert health(image, listen.format(port)) == 0


@pytest.mark.parametrize("status", [HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.FOUND, HTTPStatus.FORBIDDEN])
def test_unhealthy_is_what_says_anything_else(image: Image, status: HTTPStatus):
    with answering(status) as port:
        assert health(image, str(port)) != 0


def test_unhealthy_is_what_does_not_answer_or_listens_nowhere(image: Image):
    assert health(image, str(free_port())) != 0
    assert health(image, "off") != 0
