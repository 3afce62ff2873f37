"""Sia through s3d and renterd: the store contract on a real Ceph behind what is peculiar to each, and flushes of every kind."""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.store import names
from dwebbackup import access, assemble, backup, config
from dwebbackup.errors import Interrupted, StoreUnreachable, WrongConfiguration
from dwebbackup.ports import Store
from dwebbackup.stores import Refused
from dwebbackup.stores.flushing import Admin, Flushing
from dwebbackup.stores.retrying import Retrying
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.s3_address import Address
from fix_ceph import Ceph
from stores.asking import ASKS, KEY
from stores.front import front, nobody, response, serving
from stores.presets import PresetContract, Renterd, S3d, Uploads, uploads
from synthetic import WRITER, SyntheticSource, restored, small_pieces

_numbers = itertools.count(1)

MANIFEST = "w/1/manifests/0000000001-a.age"
PASSWORD = "change-me"


@pytest.fixture
def folder() -> str:
    return f"sia-{next(_numbers)}"


class TestRenterdContract(PresetContract):
    @pytest.fixture
    def store(self, ceph: Ceph, folder: str) -> Iterator[Store]:
        with serving(Renterd(ceph.http)) as between:
            yield configured(f"sia+renterd://{ceph.common_bucket}/{folder}?endpoint={between.url}", "RENTERD", ceph)


class TestS3dContract(PresetContract):
    @pytest.fixture
    def store(self, ceph: Ceph, folder: str) -> Iterator[Store]:
        with uploads() as admin, serving(S3d(ceph.http, admin)) as between:
            url = f"sia+s3d://{ceph.common_bucket}/{folder}?endpoint={between.url}&admin={admin.url}"
            yield configured(url, "S3D", ceph)


def loaded(url: str, name: str, ceph: Ceph, **secrets: str) -> config.Config:
    secrets = {"ACCESS_KEY_ID": ceph.key.id, "SECRET_ACCESS_KEY": ceph.key.secret, "TOKEN": PASSWORD} | secrets
    variables = {f"DWEBBACKUP_STORE_{name}_{secret}": value for secret, value in secrets.items()}
    return config.load(environment={"DWEBBACKUP_STORE": url, **variables})


def configured(url: str, name: str, ceph: Ceph, **secrets: str) -> Store:
    return assemble.store(loaded(url, name, ceph, **secrets))


class TestRenterd:
    URL = "sia+renterd://bucket/backups?endpoint=http://127.0.0.1:8080"

    def test_its_links_and_its_url_are_its_own(self):
        address = Address.from_url(self.URL)
        assert address.url == self.URL
        assert address.link("w/1/a") == "sia+renterd://bucket/backups/w/1/a"

    def test_deleting_what_is_not_there_is_no_error(self, ceph: Ceph, folder: str):
        with serving(Renterd(ceph.http)) as between:
            url = f"sia+renterd://{ceph.common_bucket}/{folder}?endpoint={between.url}"
            S3Store(Address.from_url(url), "sia", ceph.key).delete("w/1/a")
            assert between.asked == []  # nothing got through to Ceph, which would have said that it is gone

    def test_what_it_fails_to_delete_for_any_other_reason_is_not_taken_for_gone(self):
        error = "<Error><Code>InternalError</Code><Message>database is locked</Message></Error>"
        with front(response(500, error)) as server, pytest.raises(StoreUnreachable, match="database is locked"):
            S3Store(Address.from_url(f"sia+renterd://bucket?endpoint={server.url}"), "sia", KEY).delete("w/1/a")

    @pytest.mark.parametrize("ask", ["put", "get", "list"])
    def test_an_internal_error_about_what_is_missing_is_no_absence(self, ask: str):
        """A slab, or a part, that its database does not find."""
        error = "<Error><Code>InternalError</Code><Message>slab: object not found</Message></Error>"
        with front(response(500, error)) as server, pytest.raises(StoreUnreachable):
            ASKS[ask](S3Store(Address.from_url(f"sia+renterd://bucket?endpoint={server.url}"), "sia", KEY))

    def test_it_is_never_asked_to_group_by_folders(self, ceph: Ceph, folder: str):
        with serving(Renterd(ceph.http)) as between:
            url = f"sia+renterd://{ceph.common_bucket}/{folder}?endpoint={between.url}"
            assert list(S3Store(Address.from_url(url), "sia", ceph.key).list("w/1/")) == []
            assert "delimiter" not in between.asked[0][1]


@pytest.mark.parametrize("scheme", ["sia+s3d", "sia+renterd"])
def test_without_an_endpoint_nobody_takes_it_for_aws(scheme: str):
    with pytest.raises(WrongConfiguration, match="where its server is") as caught:
        Address.from_url(f"{scheme}://bucket")
    assert "endpoint=http://127.0.0.1:80" in caught.value.hint


class TestS3dsUrl:
    URL = "sia+s3d://bucket/backups?endpoint=http://127.0.0.1:8000&admin=http://127.0.0.1:8001"

    def test_says_where_both_doors_are(self, ceph: Ceph):
        assert configured(self.URL, "S3D", ceph).url == self.URL

    def test_without_the_admins_door_it_is_refused_with_why(self, ceph: Ceph):
        with pytest.raises(WrongConfiguration, match="is on Sia") as caught:
            configured("sia+s3d://bucket?endpoint=http://127.0.0.1:8000", "S3D", ceph)
        assert "admin=http://127.0.0.1:8001" in caught.value.hint

    @pytest.mark.parametrize("url", ["127.0.0.1:8001", "ftp://s3d", "http://:hunter2@127.0.0.1:8001"])
    def test_an_admins_door_that_is_no_address_is_refused_and_passwords_do_not_show(self, ceph: Ceph, url: str):
        with pytest.raises(WrongConfiguration, match="admin") as caught:
            configured(f"sia+s3d://bucket?endpoint=http://127.0.0.1:8000&admin={url}", "S3D", ceph)
        assert "hunter2" not in f"{caught.value}{caught.value.hint}"


Make = Callable[..., Flushing]


@pytest.fixture
def make(ceph: Ceph, folder: str) -> Iterator[Make]:
    """A store whose objects go to Ceph, and wait at *admin* to be brought to Sia."""
    servers = []

    def store(admin: Uploads, password: str = PASSWORD, **more: Any) -> Flushing:
        server = serving(S3d(ceph.http, admin))
        servers.append(server)
        url = f"sia+s3d://{ceph.common_bucket}/{folder}?endpoint={server.__enter__().url}"
        place = S3Store(Address.from_url(url), "sia", ceph.key)
        return Flushing(place, Admin(admin.url, password), **more)

    yield store
    for server in servers:
        server.__exit__(None, None, None)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TestFlushing:
    def test_a_manifest_is_put_when_all_before_it_is_on_sia_and_counts_when_it_is(self, make: Make):
        with uploads() as admin:
            store = make(admin)
            store.put("w/1/packs/ab/abc.age", b"pack")
            store.put("w/1/indexes/abc.age", b"index")
            assert admin.on_sia == []
            store.put(MANIFEST, b"manifest")
            done = [path.rpartition("/w/1/")[2] for path in admin.on_sia]
            assert done == ["packs/ab/abc.age", "indexes/abc.age", MANIFEST.removeprefix("w/1/")]
            assert [path for method, path in admin.asked if method != "GET"][2:] == [
                "/objects/flush",
                admin.on_sia[-1],
                "/objects/flush",
            ]

    def test_nothing_is_flushed_for_a_manifest_after_nothing(self, make: Make):
        """Each flush costs a slab that is hardly filled."""
        with uploads() as admin:
            make(admin).put(MANIFEST, b"manifest")
            assert [path for method, path in admin.asked if method == "POST"] == ["/objects/flush"]

    @pytest.mark.parametrize("name", ["w/1/head.json", "w/1/checkpoints/a-1.age", "w/1/packs/ab/abc.age"])
    def test_nothing_but_manifests_waits(self, make: Make, name: str):
        with uploads() as admin:
            make(admin).put(name, b"a")
            assert [method for method, _ in admin.asked] == ["PUT"]

    def test_what_is_uploaded_but_pinned_by_nobody_is_waited_for(self, make: Make):
        with uploads(short=1) as admin:
            admin.unpinned.append("something")
            clock = Clock()
            make(admin, sleep=clock.sleep, monotonic=clock.monotonic).put(MANIFEST, b"manifest")
            assert admin.on_sia[0] == "something"
            assert clock.now == 1001

    def test_a_flush_that_leaves_something_is_repeated_with_growing_waits(self, make: Make):
        clock = Clock()
        with uploads(short=8) as admin:
            admin.pending.append("something")
            make(admin, sleep=clock.sleep, monotonic=clock.monotonic).put(MANIFEST, b"manifest")
            assert len(admin.on_sia) == 2
        assert clock.now == 1000 + sum([1, 2, 4, 8, 16, 32, 60, 60])

    def test_what_never_gets_to_sia_ends_with_an_error_before_the_manifest_is_put(self, make: Make):
        clock = Clock()
        with uploads(short=10**9) as admin:
            store = make(admin, budget=600, sleep=clock.sleep, monotonic=clock.monotonic)
            store.put("w/1/packs/ab/abc.age", b"pack")
            with pytest.raises(Refused, match="1 object that") as caught:
                store.put(MANIFEST, b"manifest")
            assert "s3d status" in caught.value.hint
            assert names(store.list("")) == ["w/1/packs/ab/abc.age"]
        assert 500 < clock.now - 1000 <= 600

    def test_a_manifest_that_never_gets_to_sia_does_not_count(self, make: Make):
        clock = Clock()
        with uploads(short=10**9) as admin:
            store = make(admin, budget=600, sleep=clock.sleep, monotonic=clock.monotonic)
            with pytest.raises(Refused, match="not on Sia for good"):
                store.put(MANIFEST, b"manifest")

    def test_a_flush_that_fails_is_tried_again_with_the_put(self, make: Make):
        waits: list[float] = []
        with uploads(failing=3) as admin:
            store = Retrying(make(admin), sleep=waits.append)
            store.put("w/1/packs/ab/abc.age", b"pack")
            store.put(MANIFEST, b"manifest")
            assert len(admin.on_sia) == 2
        assert len(waits) == 3

    def test_stop_ends_the_wait_for_a_flush_at_once(self, make: Make):
        stop = threading.Event()
        with uploads() as admin:
            admin.may_flush.clear()
            store = make(admin, stop=stop)
            store.put("w/1/packs/ab/abc.age", b"pack")
            threading.Thread(target=lambda: admin.flushing.wait(60) and stop.set()).start()
            with pytest.raises(Interrupted):
                store.put(MANIFEST, b"manifest")
            assert names(store.list("w/1/manifests/")) == []

    def test_a_flush_that_never_ends_is_given_up(self, make: Make):
        with uploads() as admin:
            admin.may_flush.clear()
            times = itertools.chain([0.0], itertools.repeat(601.0))
            store = make(admin, budget=600, monotonic=lambda: next(times))
            store.put("w/1/packs/ab/abc.age", b"pack")
            with pytest.raises(Refused, match="not on Sia for good"):
                store.put(MANIFEST, b"manifest")

    def test_stop_ends_the_wait_between_two_flushes(self, make: Make):
        stop = threading.Event()
        with uploads(short=10**9) as admin:
            store = make(admin, stop=stop, sleep=lambda _: stop.set())
            store.put("w/1/packs/ab/abc.age", b"pack")
            with pytest.raises(Interrupted):
                store.put(MANIFEST, b"manifest")
            assert [method for method, _ in admin.asked].count("POST") == 1

    def test_is_the_store_to_those_who_ask(self, make: Make):
        with uploads() as admin:
            store = make(admin)
            assert store.name == "sia"
            assert store.traits.deletion == "deleted"


class TestTheAdminsDoor:
    """That it is the wrong one is seen before anything is read from a database."""

    @pytest.mark.parametrize("password", ["", "wrong"])
    def test_a_wrong_password_is_said_to_be_one(self, make: Make, password: str):
        with uploads() as admin:
            store = make(admin, password)
            with pytest.raises(Refused, match="password") as caught:
                store.prepare()
            assert "DWEBBACKUP_STORE_<NAME>_TOKEN" in caught.value.hint
            assert list(store.list("")) == []

    def test_the_right_one_opens_it(self, make: Make):
        with uploads() as admin:
            make(admin).prepare()
            assert admin.asked == [("GET", "/stats/uploads")]

    @pytest.mark.parametrize(("password", "level"), [(PASSWORD, "ok"), ("wrong", "failure")])
    def test_doctor_tries_it(self, ceph: Ceph, password: str, level: str):
        with uploads() as admin:
            admin.pending.append("something")
            url = f"sia+s3d://bucket?endpoint=http://127.0.0.1:8000&admin={admin.url}"
            stores = loaded(url, "S3D", ceph, TOKEN=password).stores
            (finding,) = assemble.bare_store(stores[0]).dialect("w/1/probes/a")
        assert finding.level == level
        assert ("1 object not on Sia" if level == "ok" else "password") in finding.sentence

    def test_one_that_is_closed_is_worth_another_try(self):
        with nobody() as url, pytest.raises(StoreUnreachable) as caught:
            Admin(url, PASSWORD).pending()
        assert not isinstance(caught.value, Refused)

    def test_an_s3d_that_knows_no_flush_is_said_to_be_too_old(self):
        with (
            front(response(404, "404 page not found")) as server,
            pytest.raises(Refused, match="/objects/flush") as caught,
        ):
            Admin(server.url, PASSWORD).flush()
        assert "0.1.2" in caught.value.hint

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "[]",
            "{}",
            "null",
            "[1, 2",
            '{"pendingObjects": "3"}',
            '{"pendingObjects": -1}',
            '{"pendingObjects": true}',
            '{"pendingObjects": 0, "unpinnedObjects": null}',
            "<html>Welcome</html>",
        ],
    )
    def test_what_is_not_s3ds_answer_does_not_mean_that_nothing_is_pending(self, body: str):
        with front(response(200, body)) as server, pytest.raises(StoreUnreachable):
            Admin(server.url, PASSWORD).pending()

    def test_an_older_s3d_says_nothing_of_pins(self):
        with front(response(200, '{"pendingObjects": 3}')) as server:
            assert Admin(server.url, PASSWORD).pending() == 3

    def test_what_was_sent_as_the_password_is_in_no_message(self):
        token = base64.b64encode(f":{PASSWORD}".encode()).decode()
        with front(response(500, f"what is {token}?")) as server, pytest.raises(StoreUnreachable) as caught:
            Admin(server.url, PASSWORD).pending()
        assert "what is" in str(caught.value)
        assert token not in str(caught.value)


def test_a_backup_is_on_sia_when_it_is_done(ceph: Ceph, folder: str):
    contents = {"large": b"large" * 100_000, "rows": b"1\n2\n3\n"}
    with uploads() as admin, serving(S3d(ceph.http, admin)) as between, small_pieces():
        url = f"sia+s3d://{ceph.common_bucket}/{folder}?endpoint={between.url}&admin={admin.url}"
        store = configured(url, "S3D", ceph)
        done = backup.back_up([SyntheticSource(contents)], access.below(store, WRITER.id), WRITER, backup.Options())
        names_on_sia = {path.rpartition(f"/{WRITER.id}/")[2] for path in admin.on_sia}
        wanted = set(names(access.below(store, WRITER.id).list("")))
        assert restored(store) == contents
        assert f"manifests/{done.backup.ref.name}" in names_on_sia
        assert {name for name in wanted if name.startswith(("packs/", "indexes/"))} <= names_on_sia
