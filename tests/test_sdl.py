"""The deployment file for Akash: taken by Akash's own SDK and by the rules of its providers, and by our configuration."""

from __future__ import annotations

import copy
import http.server
import json
import os
import re
import subprocess
import threading
import tomllib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from dwebbackup.config import survey
from dwebbackup.errors import WrongConfiguration
from dwebbackup.keys import OwnerKey, ReaderKey, WriterKey, parse_key
from dwebbackup.schedule import parse as parse_schedule
from fix_postgres import Database
from sdl_rules import faults

ROOT = Path(__file__).parents[1]
EXAMPLE = (ROOT / "examples" / "postgres-sdl.yaml").read_text()

COMMENTED = re.compile(r"^( *)# ( *(?:- \S.*|[a-z]+:(?: .*)?))$", re.MULTILINE)
WHOLE = COMMENTED.sub(r"\1\2", EXAMPLE)
"""With the app, and all that stands in the example as a comment for who wants it."""

GOOD: dict[str, Any] = yaml.safe_load(WHOLE)


def variables(service: str, sdl: dict[str, Any] = GOOD) -> dict[str, str]:
    return dict(variable.split("=", 1) for variable in sdl["services"][service]["env"])


# --- the rules of Akash ---


@pytest.mark.parametrize("text", [EXAMPLE, WHOLE], ids=["as it is", "with the app"])
def test_the_example_keeps_the_rules(text: str):
    assert faults(yaml.safe_load(text)) == []


def test_the_example_has_an_app_to_begin_with():
    assert set(yaml.safe_load(EXAMPLE)["services"]) == {"db", "backup"}
    assert set(GOOD["services"]) == {"db", "backup", "app"}


@pytest.fixture(scope="module")
def said_by_akash(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """Of the example, of all that can be made of it, and of one that is wrong."""
    folder = tmp_path_factory.mktemp("sdl")
    files = {"example": EXAMPLE, "whole": WHOLE, "wrong": EXAMPLE.replace("count: 1", "count: 0", 1)}
    for name, text in files.items():
        (folder / name).write_text(text)
    fetched = subprocess.run([ROOT / ".ci" / "npm-folder", "akash"], capture_output=True, text=True, check=True)
    script = Path(fetched.stdout.strip(), "validate.mjs")
    done = subprocess.run(["node", script, *files], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_akash_makes_a_manifest_of_the_example(said_by_akash):
    assert said_by_akash["example"] == {"errors": [], "services": ["backup", "db"]}
    assert said_by_akash["whole"] == {"errors": [], "services": ["app", "backup", "db"]}


def test_akash_would_say_what_is_wrong(said_by_akash):
    assert any("must be at least 1" in error for error in said_by_akash["wrong"]["errors"])


def _expose(service: str, **changes: object) -> Callable[[Any], None]:
    return lambda sdl: sdl["services"][service]["expose"][0].update(changes)


def _resources(profile: str, **changes: object) -> Callable[[Any], None]:
    return lambda sdl: sdl["profiles"]["compute"][profile]["resources"].update(changes)


def _volume(**attributes: object) -> Callable[[Any], None]:
    return lambda sdl: sdl["profiles"]["compute"]["db"]["resources"]["storage"][1]["attributes"].update(attributes)


def _price(profile: str, **changes: object) -> Callable[[Any], None]:
    return lambda sdl: sdl["profiles"]["placement"]["anywhere"]["pricing"][profile].update(changes)


def _storage(sdl: Any) -> list[Any]:
    return sdl["profiles"]["compute"]["db"]["resources"]["storage"]


def _mounts(sdl: Any) -> dict[str, Any]:
    return sdl["services"]["db"]["params"]["storage"]


def _rename(sdl: Any, old: str, new: str) -> None:
    for part in (sdl["services"], sdl["deployment"]):
        part[new] = part.pop(old)


def _close(sdl: Any) -> None:
    for service in sdl["services"].values():
        for expose in service["expose"]:
            expose["to"] = [{"service": "backup"}]


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a version without quotation marks": (lambda sdl: sdl.update(version=2.0), "version is neither"),
    "no profiles": (lambda sdl: sdl.pop("profiles"), "there is no profiles"),
    "a name with _": (lambda sdl: _rename(sdl, "app", "my_app"), "my_app is no name"),
    "no image": (lambda sdl: sdl["services"]["backup"].pop("image"), "backup has no image"),
    "a variable without =": (lambda sdl: sdl["services"]["db"]["env"].append("A B"), "'A B' is not NAME=VALUE"),
    "a variable that YAML split": (lambda sdl: sdl["services"]["db"]["env"].append({"A": "B"}), "is not NAME=VALUE"),
    "a service that is not deployed": (lambda sdl: sdl["deployment"].pop("app"), "app is not deployed"),
    "a deployment of no service": (lambda sdl: sdl["services"].pop("app"), "app is deployed, and is no service"),
    "no door": (_close, "zero global services"),
    "a port above all": (_expose("backup", port=80808), "exposes a port that is none"),
    "port 0 outside": (_expose("backup", **{"as": 0}), "exposes a port that is none"),
    "a protocol of its own": (_expose("backup", proto="HTTP"), "backup exposes HTTP"),
    "a door to nobody": (_expose("db", to=[{"service": "sidecar"}]), "which is no service"),
    "too little processor": (_resources("backup", cpu={"units": "5m"}), "its cpu is outside"),
    "too much memory": (_resources("backup", memory={"size": "3Ti"}), "its memory is outside"),
    "an unknown unit": (_resources("backup", memory={"size": "512X"}), "its memory is no amount"),
    "too little storage": (_resources("backup", storage={"size": "1Mi"}), "its storage is outside"),
    "a class that does not exist": (_volume(**{"class": "beta4"}), "beta4 is no class"),
    "a class that is not persistent": (_volume(persistent=False), "storage with a class is persistent"),
    "persistent memory": (_volume(**{"class": "ram"}), "memory is not persistent"),
    "a volume that is mounted nowhere": (lambda sdl: _mounts(sdl).pop("data"), "is mounted nowhere"),
    "a mount of no volume": (lambda sdl: _mounts(sdl).update(date={"mount": "/x"}), "mounts date, which is no"),
    "a relative mount": (lambda sdl: _mounts(sdl)["data"].update(mount="data"), "which is no absolute path"),
    "two volumes in one place": (
        lambda sdl: _mounts(sdl).update(default={"mount": "/var/lib/postgresql"}),
        "mounts two volumes at",
    ),
    "two volumes of one name": (lambda sdl: _storage(sdl).append(_storage(sdl)[1]), "two volumes data"),
    "a price for nothing": (_price("app", amount=0), "is out of bounds"),
    "a price for the moon": (_price("app", amount=10_000_001), "is out of bounds"),
    "another coin": (_price("app", denom="doge"), "is in doge"),
    "two coins": (_price("app", denom="uakt"), "in several coins"),
    "no price": (lambda sdl: sdl["profiles"]["placement"]["anywhere"]["pricing"].pop("app"), "no price for app"),
    "a price of no profile": (
        lambda sdl: sdl["profiles"]["compute"].pop("app"),
        "has a price for app, which is no profile",
    ),
    "no such placement": (
        lambda sdl: sdl["deployment"].update(app={"mars": {"profile": "app", "count": 1}}),
        "mars, which is no placement",
    ),
    "no such profile": (lambda sdl: sdl["deployment"]["app"]["anywhere"].update(profile="big"), "deployed as big"),
    "none of it": (lambda sdl: sdl["deployment"]["app"]["anywhere"].update(count=0), "deployed 0 times"),
}


@pytest.mark.parametrize(("mutate", "sentence"), WRONG.values(), ids=WRONG)
def test_each_rule_is_held(mutate: Callable[[Any], Any], sentence: str):
    sdl = copy.deepcopy(GOOD)
    mutate(sdl)
    assert any(sentence in fault for fault in faults(sdl)), faults(sdl)


# --- what we want of it besides ---


def test_the_database_has_no_door_to_the_world():
    assert not any(to.get("global") for expose in GOOD["services"]["db"]["expose"] for to in expose["to"])


def test_everybody_has_the_same_password_and_the_volume_holds_the_data():
    db, backup = variables("db"), variables("backup")
    assert db["POSTGRES_PASSWORD"] == backup["PGPASSWORD"]
    assert f":{db['POSTGRES_PASSWORD']}@db:5432/{backup['PGDATABASE']}" in variables("app")["DATABASE_URL"]
    mount = GOOD["services"]["db"]["params"]["storage"]["data"]["mount"]
    assert Path(mount) in Path(db["PGDATA"]).parents


def filled_in() -> dict[str, str]:
    """The sidecar's variables, as somebody has them who followed the page."""
    owner = OwnerKey.generate()
    own = {"KEY": owner.writer(1).line, "RESTORE_KEY": owner.reader(1).line, "PAGE_TOKEN": "sixteen-or-more-characters"}
    return variables("backup") | {f"DWEBBACKUP_{name}": value for name, value in own.items()}


def test_what_is_configured_is_what_was_meant():
    config, faults = survey(environment=filled_in())
    assert faults == ()
    assert config.warnings == ()
    assert [source.url for source in config.sources] == ["postgresql://postgres:CHANGE-ME@db:5432/app"]
    (store,) = config.stores
    assert (store.called, store.url) == ("filebase", "filebase://YOUR-BUCKET/app")
    assert store.secrets
    assert isinstance(parse_key(config.key), WriterKey)
    assert isinstance(parse_key(config.restore_key), ReaderKey)
    assert config.schedule == parse_schedule("every 6 hours")
    assert config.keep
    assert config.listen == "0.0.0.0:8080"
    assert len(config.notify) == 1


def test_what_a_neighbour_is_called_is_no_configuration():
    links = {"DB_PORT": "tcp://10.0.0.1:5432", "BACKUP_PORT": "tcp://10.0.0.2:80", "BACKUP_SERVICE_HOST": "10.0.0.2"}
    settings = filled_in()
    assert survey(environment=settings | links) == survey(environment=settings)


@pytest.mark.parametrize("name", ["KEY", "RESTORE_KEY", "PAGE_TOKEN"])
def test_a_secret_that_was_forgotten_is_noticed(name: str):
    """The placeholders are in everybody's hands."""
    placeholder = variables("backup")[f"DWEBBACKUP_{name}"]
    config, faults = survey(environment=filled_in() | {f"DWEBBACKUP_{name}": placeholder})
    if not faults:
        with pytest.raises(WrongConfiguration):
            parse_key(config.key if name == "KEY" else config.restore_key)


def test_every_variable_is_explained():
    page = (ROOT / "docs" / "akash.md").read_text()
    for service in GOOD["services"]:
        for name in variables(service):
            assert f"`{name}`" in page, name


def test_the_image_is_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert GOOD["services"]["backup"]["image"].endswith(f"/dwebbackup:{version}")


# --- the app waits ---


class Sidecar(http.server.ThreadingHTTPServer):
    """Its page, which says *status* to whoever asks."""

    def __init__(self) -> None:
        self.status = HTTPStatus.SERVICE_UNAVAILABLE
        self.asked = threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), _Page)


class _Page(http.server.BaseHTTPRequestHandler):
    server: Sidecar

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/healthz" else HTTPStatus.NOT_FOUND)
        self.end_headers()
        self.server.asked.release()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def sidecar() -> Iterator[Sidecar]:
    with Sidecar() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def app(database: Database, sidecar: Sidecar) -> Iterator[subprocess.Popen[bytes]]:
    """What the example lets the app's container run: it ends when the app would begin."""
    sh, option, script = GOOD["services"]["app"]["command"]
    script = script.replace("http://backup/", f"http://127.0.0.1:{sidecar.server_port}/")
    script = script.replace("sleep 2", "sleep 0.1").replace("YOUR_TABLE", "pin").replace("YOUR-COMMAND", "true")
    settings = os.environ | {
        "no_proxy": "127.0.0.1",
        "DATABASE_URL": database.tcp_uri,
        "PATH": f"{database.server.binaries.psql.parent}:{os.environ['PATH']}",
    }
    with subprocess.Popen([sh, option, script], env=settings, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def _has_to_wait(app: subprocess.Popen[bytes], sidecar: Sidecar) -> None:
    for _ in range(3):
        assert sidecar.asked.acquire(timeout=60)
    assert app.poll() is None


def test_the_app_waits_for_the_restored_tables_even_if_backups_are_late(
    app: subprocess.Popen[bytes], sidecar: Sidecar, database: Database
):
    _has_to_wait(app, sidecar)
    database.psql("CREATE TABLE pin ()")
    assert app.wait(60) == 0


def test_the_app_of_a_new_project_waits_for_the_sidecar(app: subprocess.Popen[bytes], sidecar: Sidecar):
    _has_to_wait(app, sidecar)
    sidecar.status = HTTPStatus.OK
    assert app.wait(60) == 0
