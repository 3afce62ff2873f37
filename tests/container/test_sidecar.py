"""The sidecar in its container, beside a real database, with a real bucket: it starts, is killed, stopped, and restores."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest

from calling import call
from container.running import Container, Image
from dwebbackup.keys import OwnerKey
from dwebbackup.scratch.postgres import ScratchPostgres
from fix_ceph import Ceph
from fix_postgres import Database, new_database
from s3_server import free_port

MEGABYTE = 1_000_000


@dataclass
class Lease:
    """What the containers of one database share."""

    database: Database
    ceph: Ceph
    owner: OwnerKey = field(default_factory=OwnerKey.generate)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.bucket = self.ceph.bucket()
        self._client = self.ceph.client()
        self.store = {
            "STORE": f"s3://{self.bucket}/app?endpoint={self.ceph.http}",
            "STORE_S3_ACCESS_KEY_ID": self.ceph.key.id,
            "STORE_S3_SECRET_ACCESS_KEY": self.ceph.key.secret,
        }
        call("init", KEY=self.owner.words, **self.store)

    def environment(self, **more: object) -> Mapping[str, object]:
        settings = {
            "SOURCE": self.database.tcp_uri,
            "KEY": self.owner.writer(1).line,
            "LISTEN": f"127.0.0.1:{self.port}",
            "SCHEDULE": "every 6 hours",
        }
        return {f"DWEBBACKUP_{name}": value for name, value in (self.store | settings | more).items()}

    def stored(self, kind: str) -> list[Mapping[str, Any]]:
        """The objects of that kind."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [each for page in pages for each in page.get("Contents", ()) if f"/{kind}/" in each["Key"]]

    def fill(self, megabytes: int) -> None:
        """A table of so much that cannot be compressed to less than half."""
        self.database.psql(
            "CREATE TABLE noise AS SELECT n, (SELECT string_agg(encode(sha512((n || '.' || part)::bytea), 'hex'), '')"
            f" FROM generate_series(1, 8) part) AS text FROM generate_series(1, {megabytes * MEGABYTE // 1024}) n"
        )

    def contents(self) -> str:
        return self.database.psql("SELECT count(*), md5(string_agg(md5(noise::text), '' ORDER BY n)) FROM noise")

    def await_backups(self, container: Container, number: int) -> None:
        container.wait_until(lambda: len(self.stored("manifests")) >= number, f"backup {number}")

    def await_packs(self, container: Container, number: int) -> None:
        container.wait_until(lambda: len(self.stored("packs")) >= number, f"{number} packs")

    def is_healthy(self) -> bool:
        return health(self.port) == HTTPStatus.OK


def health(port: int) -> int:
    """What the page says to anybody; 0 while nobody answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.fixture
def lease(pg_server: ScratchPostgres, ceph: Ceph) -> Iterator[Lease]:
    with new_database(pg_server) as database:
        yield Lease(database, ceph)


def test_without_any_configuration_it_stays_up_and_says_what_is_missing(image: Image):
    port = free_port()
    with image.running({"DWEBBACKUP_LISTEN": f"127.0.0.1:{port}"}) as container:
        container.wait_until(lambda: "DWEBBACKUP_SOURCE" in container.log(), "it says what to set")
        container.wait_until(lambda: health(port) == HTTPStatus.SERVICE_UNAVAILABLE, "its page says so, too")
        assert container.run(*image.config["Healthcheck"]["Test"][1:], check=False).returncode == 1
        assert container.stop() == 0


def test_a_large_database_fits_into_a_small_container(image: Image, lease: Lease):
    lease.fill(200)
    with image.running(lease.environment(), "--memory", "256m") as container:
        lease.await_backups(container, 1)
        container.wait_until(lease.is_healthy, "it is healthy")
        assert container.run(*image.config["Healthcheck"]["Test"][1:], check=False).returncode == 0
        lease.database.psql("INSERT INTO noise SELECT -n, text FROM noise LIMIT 100")
        container.signal("USR1")
        lease.await_backups(container, 2)
        assert container.out_of_memory() == 0
        container.wait_until(lambda: not container.zombies(), "whoever ended is asked how")
        assert container.stop() == 0
    first, second = call("list", "--json", KEY=lease.owner.words, **lease.store).json["backups"]
    assert first["bytes_stored"] > 60 * MEGABYTE
    assert second["bytes_stored"] < MEGABYTE


def test_what_was_killed_and_then_stopped_is_finished_by_the_next_one(image: Image, lease: Lease):
    lease.fill(40)
    with image.running(lease.environment(RATE="1M")) as container:
        lease.await_packs(container, 1)
        container.kill()
    lost = lease.stored("packs")
    with image.running(lease.environment(RATE="1M")) as container:
        lease.await_packs(container, len(lost) + 1)
        assert container.stop() == 0
    assert lease.stored("manifests") == []
    kept = sum(each["Size"] for each in lease.stored("packs") if each["Key"] not in {pack["Key"] for pack in lost})
    with image.running(lease.environment()) as container:
        lease.await_backups(container, 1)
    (made,) = call("list", "--json", KEY=lease.owner.words, **lease.store).json["backups"]
    whole, spoilt = (sum(each["Size"] for each in packs) for packs in (lease.stored("packs"), lost))
    assert made["bytes_stored"] <= whole - spoilt - kept / 2
    call("verify", "--data", KEY=lease.owner.words, **lease.store)


def test_an_empty_database_is_restored_and_one_with_data_left_alone(image: Image, lease: Lease):
    lease.fill(5)
    contents = lease.contents()
    with image.running(lease.environment(SCHEDULE="every 2 seconds")) as container:
        lease.await_backups(container, 3)
        assert container.stop() == 0
    lease.database.drop()
    with image.running(lease.environment()) as container:
        container.wait_until(lambda: "DWEBBACKUP_RESTORE_KEY" in container.log(), "it says which key is missing")
        assert not lease.database.exists()
    with image.running(lease.environment(RESTORE_KEY=lease.owner.reader(1).line)) as container:
        container.wait_until(lease.database.exists, "the database is back")
        container.wait_until(lease.is_healthy, "it is healthy")
        assert lease.contents() == contents
        lease.database.psql("INSERT INTO noise VALUES (-1, 'later')")
        already = len(lease.stored("manifests"))
        container.signal("USR1")
        lease.await_backups(container, already + 1)
        container.wait_until(lambda: not container.zombies(), "whoever ended is asked how")
    changed = lease.contents()
    with image.running(lease.environment(RESTORE_KEY=lease.owner.reader(1).line)) as container:
        container.wait_until(lease.is_healthy, "it is healthy")
        assert lease.contents() == changed != contents


def test_a_new_project_is_healthy_and_its_log_is_one_event_a_line_without_a_secret(image: Image, lease: Lease):
    with image.running(lease.environment()) as container:
        container.wait_until(lease.is_healthy, "it is healthy")
        log = container.log()
    assert "backed up" in [json.loads(line)["event"] for line in log.splitlines()]
    for secret in (lease.ceph.key.secret, lease.owner.writer(1).line, lease.database.tcp_uri):
        assert secret not in log
