"""S3 servers, and lines to them, that are slow, stuck, cut or crowded: what is waited for, and what is given up."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.store import noise
from dwebbackup import stores
from dwebbackup.errors import StoreUnreachable
from dwebbackup.stores import Busy, Refused, TooLarge
from dwebbackup.stores.retrying import Retrying
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.s3_address import Address
from fix_ceph import Ceph, make_certificates
from stores.asking import ASKS, KEY, TIME, asking
from stores.front import dripping, front, read_request, resetting, response, silence, talker

MIB = 1 << 20

HEAD = response(200, Last_Modified=TIME, ETag='"1"', Content_Length=str(60 * MIB))
"""Of an answer of which the body is still to come."""

SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"


def hurried(endpoint: str, step: float = 30, **changes: object) -> S3Store:
    """A store by whose clock half a minute, or another *step*, passes between two looks at it."""
    ticks = itertools.count(0, step)
    return S3Store(Address("bucket", **({"endpoint": endpoint} | changes)), "far", KEY, monotonic=lambda: next(ticks))


class TestWhatTricklesEnds:
    """After ten timeouts, though no single byte is late."""

    def test_an_object(self):
        with talker(dripping(HEAD)) as url, pytest.raises(StoreUnreachable, match="not done after 600 sec") as caught:
            hurried(url).get("w/1/a")
        assert not isinstance(caught.value, Refused)
        assert "store far cannot read w/1/a" in str(caught.value)
        assert "too slow" in caught.value.hint

    @pytest.mark.parametrize("ask", ["get", "list"])
    def test_the_time_is_looked_at_whenever_anything_has_come(self, ask: str):
        """However little: a block of it would take hours to fill."""

        def talk(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(HEAD + b"<")
            connection.recv(1)  # until the other side hangs up

        with talker(talk) as url, pytest.raises(StoreUnreachable, match="not done after"):
            ASKS[ask](hurried(url, step=700))

    def test_a_listing(self):
        page = HEAD + b"<ListBucketResult>"
        with talker(dripping(page)) as url, pytest.raises(StoreUnreachable, match="not done after"):
            list(hurried(url).list("w/"))

    @pytest.mark.parametrize("ask", ["put", "get", "list", "delete"])
    def test_an_error(self, ask: str):
        error = response(500, Content_Length=str(60 * MIB))
        with talker(dripping(error)) as url, pytest.raises(StoreUnreachable, match="not done after"):
            ASKS[ask](hurried(url))

    def test_a_body_on_its_way_out(self):
        with front(response(200, ETag='"1"')) as server, pytest.raises(StoreUnreachable, match="not done") as caught:
            hurried(server.url).put("w/1/a", noise(4 * MIB))
        assert not isinstance(caught.value, Refused)
        assert "store far cannot keep w/1/a" in str(caught.value)

    def test_is_tried_again_and_then_given_up(self):
        ticks = itertools.count(0, 30)
        begun: list[socket.socket] = []

        def talk(connection: socket.socket) -> None:
            begun.append(connection)
            dripping(HEAD)(connection)

        with talker(talk) as url:
            slow = S3Store(Address("bucket", endpoint=url), "far", KEY, monotonic=lambda: next(ticks))
            with pytest.raises(StoreUnreachable, match="not done after"):
                Retrying(slow, sleep=lambda _: None, monotonic=lambda: next(ticks)).get("w/1/a")
        assert len(begun) == 2

    def test_a_longer_timeout_gives_more_time(self):
        with front(response(200, ETag='"1"')) as server:
            patient = hurried(server.url, timeout=9999)
            assert patient.put("w/1/a", noise(4 * MIB)) == ("s3://bucket/w/1/a",)


class TestWhatIsStuckIsGivenUp:
    def test_a_server_that_does_not_read_what_is_sent(self):
        """More is sent than all buffers on the way hold."""
        done = threading.Event()
        with talker(lambda _: done.wait()) as url:
            try:
                with pytest.raises(StoreUnreachable, match="does not answer") as caught:
                    asking(url, timeout=0.5).put("w/1/a", noise(30 * MIB))
            finally:
                done.set()
        assert not isinstance(caught.value, Refused)

    @pytest.mark.parametrize("ask", ASKS)
    def test_a_server_that_begins_no_tls(self, ask: str):
        with silence() as url, pytest.raises(StoreUnreachable, match="does not answer") as caught:
            ASKS[ask](asking(url.replace("http:", "https:"), timeout=0.1))
        assert not isinstance(caught.value, Refused)


class TestWhatIsCutIsTriedAgain:
    @pytest.mark.parametrize(
        "answer",
        [b"", b"HTTP/1.1 200 OK\r\nContent-", HEAD, HEAD + noise(100_000)],
        ids=["at once", "in a header", "before the body", "in the body"],
    )
    @pytest.mark.parametrize("ask", ["get", "list"])
    def test_an_answer(self, ask: str, answer: bytes):
        with talker(resetting(answer)) as url, pytest.raises(StoreUnreachable) as caught:
            ASKS[ask](asking(url))
        assert not isinstance(caught.value, Refused)

    def test_a_body_on_its_way_out(self):
        with talker(resetting()) as url, pytest.raises(StoreUnreachable, match="does not answer") as caught:
            asking(url).put("w/1/a", noise(4 * MIB))
        assert not isinstance(caught.value, Refused)

    def test_until_it_comes_whole(self, ceph: Ceph):
        bucket = ceph.bucket()
        S3Store(ceph.address(bucket), "far", ceph.key).put("w/1/a", noise(200_000))
        short = response(200, noise(100_000), Last_Modified=TIME, Content_Length="200000")
        waits: list[float] = []
        with front(short, b"", short[:50], behind=ceph.http) as server:
            there = S3Store(ceph.address(bucket, endpoint=server.url), "far", ceph.key)
            assert Retrying(there, sleep=waits.append).get("w/1/a") == noise(200_000)
        assert len(waits) == 3

    def test_a_listing_in_the_midst_of_its_last_page(self, ceph: Ceph):
        bucket = ceph.bucket()
        store = S3Store(ceph.address(bucket), "far", ceph.key)
        kept = [f"w/1/packs/aa/{number}" for number in range(5)]
        for name in kept:
            store.put(name, b"1")
        entry = "<Contents><Key>w/1/packs/aa/0</Key><Size>1</Size><LastModified>2026-11-21T03:00:00Z</LastModified>"
        page = f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{entry}</Contents>"
        waits: list[float] = []
        with front(response(200, page, Content_Length="9999"), behind=ceph.http) as server:
            there = S3Store(ceph.address(bucket, endpoint=server.url), "far", ceph.key)
            assert sorted(each.name for each in Retrying(there, sleep=waits.append).list("w/")) == kept
        assert len(waits) == 1


class TestWhatIsWithoutEnd:
    """A hostile server, or a gateway gone mad: memory is not theirs to fill."""

    @pytest.mark.parametrize("ask", ["put", "get", "list", "delete"])
    @pytest.mark.parametrize("status", [200, 403, 500])
    def test_an_answer_is_not_read_to_the_end(self, ask: str, status: int, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(stores, "LARGEST", 1000)
        endless = response(status, b"<a>", Last_Modified=TIME, ETag='"1"', Content_Length="")
        kind = TooLarge if (ask, status) == ("get", 200) else Refused  # of an object, that is damage: junk
        with talker(dripping(endless)) as url, pytest.raises(kind, match="larger than any object of ours"):
            ASKS[ask](asking(url))


class TestNamesAndHandshakes:
    def test_a_host_that_is_not_found_is_worth_another_try(self, monkeypatch: pytest.MonkeyPatch):
        def unknown(host: str, *_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(StoreUnreachable, match=r"s3\.example does not answer") as caught:
            asking("https://s3.example").get("w/1/a")
        assert not isinstance(caught.value, Refused)

    def test_a_server_without_tls_in_common_is_said_to_have_none(self, tmp_path: Path):
        with old_tls(tmp_path) as url, pytest.raises(Refused, match="no TLS in common") as caught:
            asking(url, ca=str(tmp_path / "ca.pem")).get("w/1/a")
        assert "too old" in caught.value.hint

    def test_a_handshake_that_is_broken_off_is_worth_another_try(self):
        with talker(resetting()) as url, pytest.raises(StoreUnreachable) as caught:
            asking(url.replace("http:", "https:")).get("w/1/a")
        assert not isinstance(caught.value, Refused)


@contextmanager
def old_tls(folder: Path) -> Iterator[str]:
    """A server with a cipher that its own certificate does not fit, so that there is none to agree on."""
    make_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with talker(lambda connection: context.wrap_socket(connection, server_side=True).close()) as url:
        yield url.replace("http:", "https:")


class TestServersThatAreCrowded:
    @pytest.mark.parametrize(
        ("status", "body", "headers", "pause"),
        [
            (503, SLOW_DOWN, {"Retry_After": "7"}, 7),
            (429, "", {"Retry_After": "120"}, 120),
            (503, "", {"Retry_After": "Sat, 21 Nov 2026 03:00:30 GMT", "Date": TIME}, 30),
            (503, "", {"Retry_After": "99999999999999999999"}, 999_999_999),
        ],
    )
    @pytest.mark.parametrize("ask", ["put", "get", "list", "delete"])
    def test_are_understood_to_ask_for_a_pause(
        self, ask: str, status: int, body: str, headers: dict[str, str], pause: float
    ):
        with front(response(status, body, **headers)) as server, pytest.raises(Busy) as caught:
            ASKS[ask](asking(server.url))
        assert caught.value.seconds == pause

    @pytest.mark.parametrize(
        "headers",
        [
            {"Retry_After": "0"},
            {"Retry_After": "soon"},
            {"Retry_After": "-5"},
            {"Retry_After": "Sat, 21 Nov 2026 03:00:30 GMT"},
            {"Retry_After": "Sat, 21 Nov 2026 02:00:00 GMT", "Date": TIME},
        ],
    )
    def test_that_ask_for_none_that_makes_sense_are_asked_again_as_others_are(self, headers: dict[str, str]):
        with front(response(503, SLOW_DOWN, **headers)) as server, pytest.raises(StoreUnreachable) as caught:
            asking(server.url).get("w/1/a")
        assert not isinstance(caught.value, (Busy, Refused))

    def test_a_refusal_is_none_though_it_names_a_time(self):
        with front(response(403, Retry_After="7")) as server, pytest.raises(Refused):
            asking(server.url).get("w/1/a")

    def test_get_their_pause(self, ceph: Ceph):
        bucket = ceph.bucket()
        crowded = (response(503, SLOW_DOWN, Retry_After="7"), response(429, Retry_After="11"))
        waits: list[float] = []
        with front(*crowded, behind=ceph.http) as server:
            there = S3Store(ceph.address(bucket, endpoint=server.url), "far", ceph.key)
            Retrying(there, sleep=waits.append).put("w/1/a", b"a")
        assert 7 <= waits[0] <= 8
        assert 11 <= waits[1] <= 13
