"""Filebase: the store contract on a real Ceph behind a server that tells CIDs, CIDs of every kind, and names."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.store import names, noise
from dwebbackup import access, assemble, backup, config
from dwebbackup.assemble import places
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.links.unixfs import KUBO_V1, PROFILES, V0_2015, V1_2025, Profile
from dwebbackup.ports import Announcement, Store
from dwebbackup.stores import Busy, Refused
from dwebbackup.stores.filebase import FilebaseNames, FilebaseStore
from dwebbackup.stores.paced import Paced
from dwebbackup.stores.providers import FILEBASE_IPFS
from dwebbackup.stores.retrying import Retrying
from dwebbackup.stores.s3_address import AccessKey, Address
from dwebbackup.stores.web import Web
from fix_ceph import Ceph
from links.asking import ask
from stores.asking import KEY
from stores.front import front, response, serving
from stores.presets import Filebase, PresetContract, as_kubo
from synthetic import WRITER, SyntheticSource, restored, small_pieces

_prefixes = itertools.count(1)

UNKNOWN = Profile("somebody's own", version=1, chunk=1000, width=7, raw_leaves=True)
SIZES = [0, 1, 1 << 18, (1 << 18) + 1, (1 << 20) + 1, (1 << 21) + 1]

SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@pytest.fixture
def folder() -> str:
    return f"filebase-{next(_prefixes)}"


Make = Callable[..., FilebaseStore]


@pytest.fixture
def make(ceph: Ceph, folder: str) -> Make:
    """A store at a server in front of Ceph."""

    def store(between: Filebase, tier: str = "ipfs", **more: Any) -> FilebaseStore:
        url = f"filebase://{ceph.common_bucket}/{folder}?tier={tier}&endpoint={between.url}"
        return FilebaseStore(Address.from_url(url), "filebase", ceph.key, **more)

    return store


@cache
def asked_of_ipfs(folder: Path) -> dict[tuple[str, int], str]:
    """CIDs of our objects as IPFS's own libraries give them, by profile and size."""
    questions, keys = [], []
    for size in SIZES:
        path = folder / str(size)
        path.write_bytes(noise(size))
        for profile in (V1_2025, V0_2015):
            questions.append({"ask": "profile", "file": str(path), "profile": profile.name})
            keys.append((profile.name, size))
        for profile in (KUBO_V1, UNKNOWN):
            tree = {"version": profile.version, "chunk": profile.chunk, "width": profile.width, "raw": True}
            questions.append({"ask": "tree", "data": noise(size).hex(), **tree})
            keys.append((profile.name, size))
    return dict(zip(keys, ask(*questions), strict=True))


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    return asked_of_ipfs(tmp_path_factory.mktemp("objects"))


class TestContract(PresetContract):
    """On the IPFS tier."""

    @pytest.fixture
    def store(self, ceph: Ceph, make: Make) -> Iterator[Store]:
        with serving(Filebase(ceph.http)) as between:
            yield make(between)


def test_a_configured_store_gives_its_links(ceph: Ceph, folder: str):
    with serving(Filebase(ceph.http)) as between:
        store = configured(f"filebase://{ceph.common_bucket}/{folder}?endpoint={between.url}", ceph.key)
        assert store.put("w/1/a", b"a")[1:] == (f"ipfs://{as_kubo(b'a')}",)
        assert store.get("w/1/a") == b"a"
        assert store.url == f"filebase://{ceph.common_bucket}/{folder}?endpoint={between.url}"


def configured(url: str, key: AccessKey, **more: str) -> Store:
    """No test asks the world, unless *more* names a gateway of its own."""
    keys = {"ACCESS_KEY_ID": key.id, "SECRET_ACCESS_KEY": key.secret}
    variables = {f"DWEBBACKUP_STORE_FILEBASE_{name}": value for name, value in keys.items()}
    variables |= {"DWEBBACKUP_STORE": url, "DWEBBACKUP_GATEWAYS": "off"} | more
    return assemble.store(config.load(environment=variables))


class TestLinks:
    @pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
    def test_a_cid_that_ipfs_itself_gives_by_a_known_profile_becomes_a_link(
        self, ceph: Ceph, make: Make, folder: str, theirs: dict[tuple[str, int], str], profile: Profile
    ):
        with serving(Filebase(ceph.http, cid=lambda data: theirs[profile.name, len(data)])) as between:
            store = make(between)
            for size in SIZES:
                link = f"filebase://{ceph.common_bucket}/{folder}/w/1/a"
                assert store.put("w/1/a", noise(size)) == (link, f"ipfs://{theirs[profile.name, size]}")
            assert [method for method, _ in between.asked] == ["PUT"] * len(SIZES)

    def test_where_a_puts_answer_has_none_it_is_looked_up(self, ceph: Ceph, make: Make):
        with serving(Filebase(ceph.http, told_by=("HEAD",))) as between:
            assert make(between).put("w/1/a", b"a")[1] == f"ipfs://{as_kubo(b'a')}"
            assert [method for method, _ in between.asked] == ["PUT", "HEAD"]

    def test_without_any_the_object_is_kept_all_the_same_and_nobody_looks_again(self, ceph: Ceph, make: Make):
        with serving(Filebase(ceph.http, told_by=())) as between, capture_logs() as logged:
            store = make(between)
            for name in ("w/1/a", "w/1/b", "w/1/c"):
                assert [link.partition(":")[0] for link in store.put(name, b"a")] == ["filebase"]
            assert [method for method, _ in between.asked] == ["PUT", "HEAD", "PUT", "PUT"]
            assert names(store.list("")) == ["w/1/a", "w/1/b", "w/1/c"]
        assert [line["event"] for line in logged] == ["a store on IPFS tells no CID"]

    def test_an_object_that_is_not_seen_at_once_is_kept_and_has_no_cid(self):
        listing = "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
        with front(response(200, ETag='"1"'), response(404), response(200, listing)) as server:
            address = Address("bucket", endpoint=server.url, provider=FILEBASE_IPFS)
            store = FilebaseStore(address, "filebase", KEY)
            assert store.put("w/1/a", b"a") == ("filebase://bucket/w/1/a",)

    def test_the_object_tier_is_asked_for_none(self, ceph: Ceph, make: Make):
        with serving(Filebase(ceph.http, told_by=())) as between:
            store = make(between, tier="object")
            assert len(store.put("w/1/a", b"a")) == 1
            assert [method for method, _ in between.asked] == ["PUT"]
            assert store.traits.deletion == "deleted"

    def test_what_is_deleted_on_ipfs_is_unpinned(self, ceph: Ceph, make: Make):
        with serving(Filebase(ceph.http)) as between:
            assert make(between).traits.deletion == "unpinned"


def test_a_cid_of_no_known_profile_is_asked_of_the_configured_gateways(ceph: Ceph, folder: str):
    """It has nothing."""
    with serving(Filebase(ceph.http, cid=lambda _: as_kubo(b"another"))) as between, front(response(404)) as gateway:
        url = f"filebase://{ceph.common_bucket}/{folder}?endpoint={between.url}"
        store = configured(url, ceph.key, DWEBBACKUP_GATEWAYS=gateway.url)
        assert len([link for link in store.put("w/1/a", b"a") if link.startswith("filebase:")]) == 1
        assert as_kubo(b"another") in gateway.asked[0][1]


class Gateway:
    """Gives what it has for links, and remembers which were asked for."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.asked: list[str] = []
        self.answer = answer

    def fetch(self, link: str) -> bytes:
        self.asked.append(link)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class TestCidsOfNoKnownProfile:
    @pytest.fixture
    def between(self, ceph: Ceph, theirs: dict[tuple[str, int], str]) -> Iterator[Filebase]:
        with serving(Filebase(ceph.http, cid=lambda data: theirs[UNKNOWN.name, len(data)])) as server:
            yield server

    def test_one_that_leads_to_our_bytes_is_believed_and_so_are_others_of_its_shape(
        self, make: Make, between: Filebase, theirs: dict[tuple[str, int], str]
    ):
        large, larger = (1 << 18) + 1, (1 << 20) + 1
        gateway = Gateway(noise(large))
        store = make(between, check=gateway.fetch)
        for _ in range(3):
            assert store.put("w/1/a", noise(large))[1:] == (f"ipfs://{theirs[UNKNOWN.name, large]}",)
        gateway.answer = noise(larger)
        assert store.put("w/1/b", noise(larger))[1:] == (f"ipfs://{theirs[UNKNOWN.name, larger]}",)
        assert gateway.asked == [f"ipfs://{theirs[UNKNOWN.name, size]}" for size in (large, larger)]

    def test_one_that_leads_to_other_bytes_is_damage_and_both_are_named(
        self, make: Make, between: Filebase, theirs: dict[tuple[str, int], str]
    ):
        store = make(between, check=Gateway(b"other bytes").fetch)
        for _ in range(2):  # nobody gets used to it
            with pytest.raises(Damaged, match=theirs[UNKNOWN.name, 1 << 18]) as caught:
                store.put("w/1/a", noise(1 << 18))
            assert theirs[V1_2025.name, 1 << 18] in str(caught.value)

    @pytest.mark.parametrize(
        "failure", [ObjectMissing("not by me, not now"), StoreUnreachable("504"), Damaged("it gave other bytes")]
    )
    def test_one_that_no_gateway_can_tell_of_is_not_written_down(
        self, make: Make, between: Filebase, failure: Exception
    ):
        gateway = Gateway(failure)
        store = make(between, check=gateway.fetch)
        with capture_logs() as logged:
            for _ in range(3):
                assert len(store.put("w/1/a", noise(1 << 18))) == 1
        assert len(gateway.asked) == 1
        assert store.get("w/1/a") == noise(1 << 18)
        assert [line["why"] for line in logged] == [f"w/1/a: {failure}"]

    def test_without_a_gateway_it_is_not_written_down(self, make: Make, between: Filebase):
        with capture_logs() as logged:
            assert len(make(between).put("w/1/a", noise(1 << 18))) == 1
        assert "no gateway is there to ask" in logged[0]["why"]

    @pytest.mark.parametrize("text", ["banana", "Qm", "bafkreih0000", "k51qzi5uqu5d", "b" * 5000])
    def test_what_is_no_cid_is_not_written_down(self, ceph: Ceph, make: Make, text: str):
        with serving(Filebase(ceph.http, cid=lambda _: text)) as between:
            gateway = Gateway(b"a")
            store = make(between, check=gateway.fetch)
            with capture_logs() as logged:
                assert [len(store.put("w/1/a", b"a")) for _ in range(3)] == [1, 1, 1]
            assert not gateway.asked
            assert len(logged) == 1

    def test_the_cid_of_other_bytes_is_damage(self, ceph: Ceph, make: Make):
        """One of a known profile, but of what somebody else put."""
        with serving(Filebase(ceph.http, cid=lambda _: as_kubo(b"somebody else's"))) as between:
            store = make(between, check=lambda _: b"somebody else's")
            with pytest.raises(Damaged, match=as_kubo(b"somebody else's")):
                store.put("w/1/a", b"a")


def test_a_backup_writes_down_under_which_cids_filebase_has_it(ceph: Ceph, make: Make):
    contents = {"rows": b"1\n2\n3\n", "large": noise(300_000)}
    with serving(Filebase(ceph.http)) as between, small_pieces():
        store = make(between)
        done = backup.back_up([SyntheticSource(contents)], access.below(store, WRITER.id), WRITER, backup.Options())
        assert restored(store) == contents
        sealed = store.get(f"w/{WRITER.id}/manifests/{done.backup.ref.name}")
        assert f"ipfs://{as_kubo(sealed)}" in done.links
        (index,) = done.backup.manifest.indexes
        (found,) = store.list(f"w/{WRITER.id}/indexes/")
        assert f"ipfs://{as_kubo(store.get(found.name))}" in index.links


class TestRates:
    def test_bursts_of_slow_down_are_waited_out(self, ceph: Ceph, make: Make):
        burst = (response(503, SLOW_DOWN),) * 5
        waits: list[float] = []
        with serving(Filebase(ceph.http, burst)) as between:
            store = Retrying(make(between), sleep=waits.append)
            assert len(store.put("w/1/a", b"a")) == 2
            assert len(waits) == 5

    def test_who_says_when_is_not_asked_before(self, ceph: Ceph, make: Make):
        waits: list[float] = []
        with serving(Filebase(ceph.http, (response(503, SLOW_DOWN, Retry_After="7"),))) as between:
            store = Retrying(make(between), sleep=waits.append)
            store.put("w/1/a", b"a")
        assert [7 <= wait <= 8 for wait in waits] == [True]

    @pytest.mark.parametrize("headers", [{}, {"Retry_After": "3"}])
    def test_slow_down_is_worth_another_try(self, headers: dict[str, str]):
        with front(response(503, SLOW_DOWN, **headers)) as server:
            address = Address("bucket", endpoint=server.url, provider=FILEBASE_IPFS)
            with pytest.raises(StoreUnreachable) as caught:
                FilebaseStore(address, "filebase", KEY).put("w/1/a", b"a")
        assert type(caught.value) is (Busy if headers else StoreUnreachable)

    @pytest.mark.parametrize(("tier", "requests"), [("ipfs", 100), ("object", 500)])
    def test_a_configured_store_is_held_to_what_its_tier_takes(
        self, tier: str, requests: int, monkeypatch: pytest.MonkeyPatch
    ):
        rates: list[int] = []

        def noting(store: Any, rate: int, **more: Any) -> Paced:
            rates.append(rate)
            return Paced(store, rate, **more)

        monkeypatch.setattr(places, "Paced", noting)
        configured(f"filebase://bucket?tier={tier}", KEY)
        assert rates == [requests]


class TestItsUrl:
    @pytest.mark.parametrize(
        ("url", "endpoint", "region"),
        [
            ("filebase://bucket/backups", "https://s3.filebase.com", "us-east-1"),
            ("filebase://bucket/backups?tier=object", "https://s3.filebase.io", "auto"),
            ("filebase://bucket?tier=object&endpoint=https://example.org&region=eu", "https://example.org", "eu"),
        ],
    )
    def test_says_which_tier_and_is_written_as_it_is_read(self, url: str, endpoint: str, region: str):
        address = Address.from_url(url)
        assert (address.endpoint, address.region, address.path_style) == (endpoint, region, True)
        assert address.url == url
        assert Address.from_url(address.url) == address

    def test_the_usual_tier_need_not_be_named(self):
        assert Address.from_url("filebase://bucket?tier=ipfs") == Address.from_url("filebase://bucket")

    def test_an_unknown_tier_is_refused_with_those_that_there_are(self):
        with pytest.raises(WrongConfiguration, match="cold") as caught:
            Address.from_url("filebase://bucket?tier=cold")
        assert "ipfs, object" in caught.value.hint


def announcement(cid: str) -> Announcement:
    return Announcement(7, cid, "k51", b"", b"", None)


class TestNames:
    TOKEN = f"Bearer {base64.b64encode(b'id:secret').decode()}"

    def test_a_name_is_led_to_the_newest_manifest(self):
        with front(response(200, "{}")) as server:
            FilebaseNames(KEY, "my-backups", Web(server.url)).publish(announcement("bafynewest"))
            assert server.asked == [("PUT", "/v1/names/my-backups")]
            assert json.loads(server.bodies[0]) == {"cid": "bafynewest"}
            assert server.headers[0]["Authorization"] == self.TOKEN

    def test_one_that_is_not_there_yet_is_made(self):
        with front(response(404, "{}"), response(201, '{"network_key": "k51…"}')) as server:
            FilebaseNames(KEY, "my-backups", Web(server.url)).publish(announcement("bafynewest"))
            assert server.asked == [("PUT", "/v1/names/my-backups"), ("POST", "/v1/names")]
            assert json.loads(server.bodies[1]) == {"label": "my-backups", "cid": "bafynewest"}
            assert server.headers[1]["Authorization"] == self.TOKEN

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_key_that_is_refused_is_not_told(self, status: int):
        with front(response(status, f"what is {self.TOKEN}")) as server, pytest.raises(Refused) as caught:
            FilebaseNames(KEY, "my-backups", Web(server.url)).publish(announcement("bafynewest"))
        assert self.TOKEN.removeprefix("Bearer ") not in f"{caught.value}{caught.value.hint}"

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_server_that_fails_is_worth_another_try(self, status: int):
        with front(response(status)) as server, pytest.raises(StoreUnreachable) as caught:
            FilebaseNames(KEY, "my-backups", Web(server.url)).publish(announcement("bafynewest"))
        assert not isinstance(caught.value, Refused)

    def test_one_that_cannot_be_made_is_an_error(self):
        with front(response(404), response(404)) as server, pytest.raises(Refused, match="404"):
            FilebaseNames(KEY, "my-backups", Web(server.url)).publish(announcement("bafynewest"))

    @pytest.mark.parametrize("label", ["", "a/b", "..", "a b", "-a", "ä", "a" * 65])
    def test_a_label_that_is_none_is_refused(self, label: str):
        with pytest.raises(WrongConfiguration, match="label"):
            FilebaseNames(KEY, label, Web("https://example.org"))
