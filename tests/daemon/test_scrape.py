"""A real Prometheus scrapes the sidecar with a token, and loads the alerts of the examples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.statuses import OVERDUE
from dwebbackup.daemon.page import Page
from dwebbackup.daemon.server import Server

RULES = Path(__file__).parents[2] / "examples" / "prometheus-rules.yaml"

DEADLINE = 60.0

TOKEN = "a long random word"


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[str]:
    """One that scrapes that port: its address."""
    job = {
        "job_name": "dwebbackup",
        "authorization": {"credentials": TOKEN},
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
    }
    settings = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
    config = {"global": settings, "rule_files": [str(RULES)], "scrape_configs": [job]}
    (folder / "prometheus.json").write_text(json.dumps(config))
    program = shutil.which("prometheus") or pytest.fail("the program `prometheus` is missing: .ci/system-packages test")
    arguments = [f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/data"]
    with subprocess.Popen(
        [program, *arguments, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield f"http://{_address(child)}"
        finally:
            child.kill()


def _address(child: subprocess.Popen[str]) -> str:
    said = []
    assert child.stderr
    for line in child.stderr:
        said.append(line)
        found = re.search(r'msg="?Listening on"?.* address=(127\.0\.0\.1:[1-9]\d*)', line)
        if found:
            # What it says from now on is read by somebody, so that it never waits for a reader.
            threading.Thread(target=child.stderr.read, daemon=True).start()
            return found[1]
    pytest.fail("".join(said))


def _ask(address: str, path: str) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{address}/api/v1/{path}", timeout=DEADLINE) as answer:
            found = json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        error.close()
        return []  # it listens before it is ready
    return found["result"] if "result" in found else found["alerts"]


def _await(address: str, path: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first one that is *wanted*, as soon as there is one."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        for found in _ask(address, path):
            if wanted(found):
                return found
        time.sleep(0.05)
    pytest.fail(f"{path}: {_ask(address, path)}")


def test_prometheus_scrapes_the_sidecar_and_knows_its_alerts(tmp_path):
    server = Server(Page(lambda: OVERDUE, TOKEN), "127.0.0.1:0")
    server.start()
    try:
        with prometheus(tmp_path, server.port) as address:
            up = _await(address, "query?query=up", lambda found: found["value"][1] == "1")
            assert up["metric"] == {"__name__": "up", "job": "dwebbackup", "instance": f"127.0.0.1:{server.port}"}
            packs = _await(
                address, "query?query=dwebbackup_store_packs", lambda found: found["metric"]["store"] == "s3"
            )
            assert packs["value"][1] == "4127"
            names = ("BackupStoreInTrouble", "attic")
            told = _await(address, "alerts", lambda alert: names == _names(alert))
            assert told["state"] == "pending"
    finally:
        server.stop()


def _names(alert: dict[str, Any]) -> tuple[str, str]:
    return alert["labels"]["alertname"], alert["labels"].get("store", "")
