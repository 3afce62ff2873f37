"""Servers that are slow, endless, hostile or merely broken, and what the one thing that speaks HTTP makes of them."""

from __future__ import annotations

import gzip
import itertools
import random
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dwebbackup.errors import Interrupted, StoreUnreachable, WrongConfiguration
from dwebbackup.stores import Busy, Refused, Waiting, web_limits
from dwebbackup.stores.web import BrokenOff, Endless, Web
from fix_ceph import make_certificates
from stores.front import dripping, front, nobody, read_request, resetting, response, talker

SECRET = "s3cr3t-t0k3n-of-mine"


@pytest.fixture(autouse=True)
def only_what_a_test_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """About proxies and authorities."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def hurried(base: str, step: float = 30, **changes: object) -> Web:
    """By whose clock half a minute, or another *step*, passes between two looks at it."""
    ticks = itertools.count(0, step)
    return Web(base, **({"timeout": 600.0, "monotonic": lambda: next(ticks)} | changes))


def timeless(base: str, **changes: object) -> Web:
    """By whose clock no time passes."""
    return Web(base, **({"monotonic": lambda: 0.0} | changes))


class TestAnswers:
    def test_come_whole_with_their_headers_in_lower_case(self):
        with front(response(200, b"bytes", X_Thing="a")) as server:
            answer = timeless(server.url + "/below/").ask("GET", "/a", params={"b": "c d"}, headers={"Accept": "x/y"})
            assert (answer.status, answer.body, answer.headers["x-thing"]) == (200, b"bytes", "a")
            assert server.asked == [("GET", "/below/a?b=c+d")]
            assert server.headers[0]["Accept"] == "x/y"

    @pytest.mark.parametrize("status", [206, 304, 404, 410, 500, 503])
    def test_whose_status_is_expected_are_handed_back(self, status: int):
        with front(response(status, b"so it is", Content_Type="text/html")) as server:
            if status < 300:
                with pytest.raises(Refused, match="web page"):
                    timeless(server.url).ask("GET", "/", expect=[status])
            else:
                assert timeless(server.url).ask("GET", "/", expect=[status]).status == status

    def test_may_be_empty(self):
        with front(response(200)) as server:
            assert timeless(server.url).ask("GET", "/").body == b""

    def test_to_head_have_no_body_and_any_length(self):
        with front(response(200, Content_Length=str(1 << 40))) as server:
            assert timeless(server.url).ask("HEAD", "/").headers["content-length"] == str(1 << 40)

    def test_to_a_body_and_to_a_form(self):
        with keeper() as server:
            web = timeless(server.url)
            assert web.ask("PUT", "/", body=b"x" * 100_000).body == b"x" * 100_000
            form = web.ask("POST", "/", files={"file": ("data", b"y" * 100_000, "application/octet-stream")}).body
            assert form.count(b"y") >= 100_000
            assert b'name="file"; filename="data"' in form

    def test_come_over_one_connection_for_one_thread(self):
        with keeper() as server:
            web = timeless(server.url)
            for body in (b"", b"a", b"b" * 1_000_000):
                assert web.ask("PUT", "/", body=body).body == body
            assert server.connections == 1

    def test_come_to_many_threads_at_once(self):
        with keeper() as server, ThreadPoolExecutor(8) as pool:
            web = timeless(server.url)
            bodies = [bytes([number]) * 100_000 for number in range(40)]
            assert list(pool.map(lambda body: web.ask("PUT", "/", body=body).body, bodies)) == bodies

    def test_on_a_connection_that_was_closed_meanwhile_are_asked_for_again(self):
        asked = []

        def talk(connection: socket.socket) -> None:
            """Hangs up at the second request on it, as servers do that found it idle for too long."""
            while True:
                read_request(connection)
                asked.append(1)
                if len(asked) == 2:
                    return
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
                if len(asked) == 3:
                    return

        with talker(talk) as url:
            web = timeless(url)
            assert [web.ask("GET", "/").body for _ in range(2)] == [b"a", b"a"]
            assert len(asked) == 3


class TestNoWord:
    def test_nobody_listens(self):
        with nobody() as url, pytest.raises(StoreUnreachable, match=r"GET /a: Connection refused") as caught:
            timeless(url).ask("GET", "/a")
        assert not isinstance(caught.value, Refused)
        assert "is it up" in caught.value.hint

    def test_no_such_host(self):
        with pytest.raises(StoreUnreachable, match=r"nowhere\.invalid does not answer"):
            timeless("http://nowhere.invalid").ask("GET", "/a")

    def test_it_hangs_up(self):
        with talker(read_request) as url, pytest.raises(StoreUnreachable, match="it hung up"):
            timeless(url).ask("GET", "/a")

    def test_it_is_torn_down(self):
        with talker(resetting(response(200, b"x", Content_Length="5"))) as url, pytest.raises(StoreUnreachable):
            timeless(url).ask("GET", "/a")

    @pytest.mark.parametrize("kind", ["length", "chunked"])
    def test_it_breaks_off(self, kind: str):
        said = {"Content_Length": "100"} if kind == "length" else {"Content_Length": "", "Transfer_Encoding": "chunked"}
        with (
            front(response(200, b"10\r\nabc", **said)) as server,
            pytest.raises(BrokenOff, match="breaks off") as caught,
        ):
            timeless(server.url).ask("GET", "/a")
        assert not isinstance(caught.value, Refused)
        assert caught.value.answer.body in (b"abc", b"10\r\nabc")

    @pytest.mark.parametrize(
        "answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02\x46" * 9, b"HTTP/1.1 wat\r\n\r\n"]
    )
    def test_it_is_not_http(self, answer: bytes):
        with front(answer) as server, pytest.raises(StoreUnreachable):
            timeless(server.url).ask("GET", "/a")


class TestWhatTricklesEnds:
    """Though no single byte is late."""

    HEAD = response(200, Content_Length=str(60 << 20))

    def test_a_body(self):
        with talker(dripping(self.HEAD)) as url, pytest.raises(StoreUnreachable, match=r"in time .600 sec") as caught:
            hurried(url).ask("GET", "/a")
        assert not isinstance(caught.value, Refused)
        assert "too slow" in caught.value.hint

    def test_a_head_that_never_ends(self):
        with talker(dripping(b"HTTP/1.1 200 OK\r\nX: ")) as url, pytest.raises(StoreUnreachable, match="in time"):
            hurried(url).ask("GET", "/a")

    def test_what_says_for_ever_that_it_goes_on(self):
        def talk(connection: socket.socket) -> None:
            read_request(connection)
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

        with talker(talk) as url, pytest.raises(StoreUnreachable, match="in time"):
            hurried(url).ask("GET", "/a")

    def test_the_explanation_of_an_error(self):
        """Its status is told all the same."""
        with (
            talker(dripping(response(500, Content_Length=str(60 << 20)))) as url,
            pytest.raises(StoreUnreachable, match="HTTP status 500"),
        ):
            hurried(url).ask("GET", "/a")

    def test_a_body_on_its_way_out(self):
        with front(response(200)) as server, pytest.raises(StoreUnreachable, match="in time"):
            hurried(server.url).ask("PUT", "/a", body=bytes(4 << 20))


@contextmanager
def hanging(*, deaf: bool = False) -> Iterator[tuple[str, threading.Event]]:
    """The URL of a server that takes a connection, reads the head unless it is *deaf*, and says nothing; and what it then sets."""
    heard, over = threading.Event(), threading.Event()

    def talk(connection: socket.socket) -> None:
        if not deaf:
            read_request(connection)
        heard.set()
        over.wait(60)

    with talker(talk) as url:
        try:
            yield url, heard
        finally:
            over.set()


class TestSilence:
    def test_ends_a_request_before_its_time_is_over(self):
        asked = 0

        def talk(connection: socket.socket) -> None:
            nonlocal asked
            read_request(connection)
            asked += 1
            connection.recv(1)  # until the client hangs up

        with talker(talk) as url, pytest.raises(StoreUnreachable, match="20 seconds without a byte") as caught:
            hurried(url, waiting=Waiting(silence=20)).ask("GET", "/a")
        assert asked <= 1  # it is not asked again
        assert not isinstance(caught.value, Refused)

    def test_of_one_who_takes_nothing_ends_it_too(self):
        with hanging(deaf=True) as (url, _), pytest.raises(StoreUnreachable, match=r"0\.2 seconds without a byte"):
            hurried(url, 0.1, waiting=Waiting(silence=0.2)).ask("PUT", "/a", body=bytes(32 << 20))

    def test_is_not_what_a_trickle_is(self):
        with (
            talker(dripping(response(200, Content_Length=str(60 << 20)))) as url,
            pytest.raises(StoreUnreachable, match="600 seconds for everything"),
        ):
            hurried(url, 1, waiting=Waiting(silence=300)).ask("GET", "/a", limit=60 << 20)


class TestStop:
    @pytest.mark.parametrize("deaf", [False, True])
    def test_ends_a_request_that_waits(self, deaf: bool):
        stop = threading.Event()
        with hanging(deaf=deaf) as (url, heard), ThreadPoolExecutor() as pool:
            waiting = pool.submit(timeless(url, waiting=Waiting(stop=stop)).ask, "PUT", "/a", body=bytes(32 << 20))
            assert heard.wait(60)
            stop.set()
            with pytest.raises(Interrupted):
                waiting.result(60)

    def test_leaves_those_alone_that_are_asked_afterwards(self):
        """A last note: that a run was stopped."""
        stop = threading.Event()
        stop.set()
        with front(response(200, b"noted")) as server:
            assert timeless(server.url, waiting=Waiting(stop=stop)).ask("GET", "/a").body == b"noted"

    def test_makes_those_short_that_are_asked_afterwards(self):
        stop = threading.Event()
        stop.set()
        with hanging() as (url, _), pytest.raises(StoreUnreachable, match="5 seconds without a byte"):
            hurried(url, 10, waiting=Waiting(stop=stop)).ask("POST", "/a")


class TestTooMuch:
    def test_a_length_that_is_too_large_is_not_read(self):
        with (
            front(response(200, b"x", Content_Length=str(5 << 30))) as server,
            pytest.raises(Endless, match=rf"sends {5 << 30} bytes, .* at most 4194304 bytes"),
        ):
            timeless(server.url).ask("GET", "/a", limit=4 << 20)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_an_answer_without_a_length_ends_at_the_limit(self, chunked: bool):
        sent = 0

        def talk(connection: socket.socket) -> None:
            nonlocal sent
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n"))
            block = bytes(1 << 16)
            while True:
                connection.sendall(b"10000\r\n" + block + b"\r\n" if chunked else block)
                sent += len(block)

        with talker(talk) as url, pytest.raises(Endless, match="sends more"):
            timeless(url).ask("GET", "/a", limit=4 << 20)
        assert sent < 32 << 20  # what the kernel holds besides

    def test_the_limit_itself_is_allowed(self):
        with front(response(200, bytes(1000))) as server:
            assert len(timeless(server.url).ask("GET", "/a", limit=1000).body) == 1000
            with pytest.raises(Endless):
                timeless(server.url).ask("GET", "/a", limit=999)

    def test_nothing_is_unpacked(self):
        bomb = gzip.compress(bytes(50 << 20))
        with front(response(200, bomb, Content_Encoding="gzip")) as server:
            with pytest.raises(Refused, match="compressed its answer"):
                timeless(server.url).ask("GET", "/a", limit=1 << 20)
            assert server.headers[0]["Accept-Encoding"] == "identity"


class TestRedirects:
    def test_within_the_server_are_followed(self):
        with front(
            response(301, Location="/b?c=d"), response(302, b"x" * 999, Location="e"), response(200, b"!")
        ) as server:
            assert timeless(server.url).ask("GET", "/a/", headers={"X-Key": "1"}).body == b"!"
            assert [path for _, path in server.asked] == ["/a/", "/b?c=d", "/e"]
            assert [headers["X-Key"] for headers in server.headers] == ["1"] * 3

    def test_in_a_circle_end(self):
        with front(response(307, Location="/a")) as server, pytest.raises(Refused, match="round in circles"):
            timeless(server.url).ask("GET", "/a")

    def test_to_another_server_are_refused_and_nothing_is_sent_there(self):
        with front(response(200)) as other, front(response(302, Location=f"{other.url}/x?key={SECRET}")) as server:
            with pytest.raises(Refused, match=re.escape(f"redirects to {other.url}, and is not followed")) as caught:
                timeless(server.url, headers={"Authorization": f"Bearer {SECRET}"}).ask("GET", "/a")
            assert SECRET not in str(caught.value)
            assert other.asked == []

    @pytest.mark.parametrize(
        "target", ["https://127.0.0.1/", "//example.org/a", "file:///etc/passwd", "http://[", "http://a:b/"]
    )
    def test_elsewhere_in_any_form_are_refused(self, target: str):
        with front(response(302, Location=target)) as server, pytest.raises(Refused):
            timeless(server.url).ask("GET", "/a")

    def test_of_what_is_sent_are_not_followed(self):
        with front(response(307, Location="/b"), response(200)) as server, pytest.raises(Refused, match="status 307"):
            timeless(server.url).ask("POST", "/a", body=b"x")

    def test_with_an_endless_body_cost_nothing(self):
        with (
            talker(dripping(response(302, Location="http://elsewhere.example/", Content_Length=str(5 << 30)))) as url,
            pytest.raises(Refused, match=r"elsewhere\.example"),
        ):
            timeless(url).ask("GET", "/a")


class TestNo:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 411, 413, 451])
    def test_is_final(self, status: int):
        with (
            front(response(status, b'{"message": "because"}')) as server,
            pytest.raises(Refused, match=rf'GET /a with HTTP status {status}: {{"message": "because"}}'),
        ):
            timeless(server.url).ask("GET", "/a", params={"key": SECRET})

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 507, 520])
    def test_of_these_kinds_may_pass(self, status: int):
        with front(response(status)) as server, pytest.raises(StoreUnreachable, match=f"{status}$") as caught:
            timeless(server.url).ask("GET", "/a")
        assert not isinstance(caught.value, Refused | Busy)

    @pytest.mark.parametrize("after", ["120", "Sat, 21 Nov 2026 03:02:00 GMT"])
    @pytest.mark.parametrize("status", [429, 503])
    def test_may_say_when_to_ask_again(self, status: int, after: str):
        answer = response(status, Retry_After=after, Date="Sat, 21 Nov 2026 03:00:00 GMT")
        with front(answer) as server, pytest.raises(Busy) as caught:
            timeless(server.url).ask("GET", "/a")
        assert caught.value.seconds == 120
        assert len(server.asked) == 1

    def test_of_a_kind_that_was_not_expected(self):
        with front(response(201)) as server, pytest.raises(Refused, match=r"201, and 200, 204 was expected"):
            timeless(server.url).ask("GET", "/a", expect=(204, 200))

    def test_as_a_web_page_with_a_good_status(self):
        with (
            front(response(200, b"<html>", Content_Type="Text/HTML; charset=x")) as server,
            pytest.raises(Refused, match="a web page") as caught,
        ):
            timeless(server.url).ask("GET", "/a")
        assert "login" in caught.value.hint

    def test_as_a_web_page_is_not_quoted(self):
        with (
            front(response(502, b"<html>nginx</html>", Content_Type="text/html")) as server,
            pytest.raises(StoreUnreachable, match=r"502$"),
        ):
            timeless(server.url).ask("GET", "/a")

    def test_as_garbage_is_told_in_one_line(self):
        with (
            front(response(400, b"\x1b[31m\n\n\x00red" + bytes([200]) * 9999)) as server,
            pytest.raises(Refused) as caught,
        ):
            timeless(server.url).ask("GET", "/a")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


class TestSecrets:
    def test_that_a_server_gives_back_are_not_told(self):
        echo = f"no such key: Basic {SECRET}, or {SECRET.upper()}, tok-12345"
        with front(response(403, echo)) as server, pytest.raises(Refused) as caught:
            timeless(server.url, headers={"Authorization": f"Basic {SECRET}"}).ask(
                "GET", "/", headers={"X": "tok-12345"}
            )
        assert SECRET not in str(caught.value)
        assert "tok-12345" not in str(caught.value)
        assert "no such key" in str(caught.value)

    @pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}\r\nX: y", f"{SECRET}ü", f" {SECRET}", f"{SECRET}\x7f"])
    def test_that_cannot_be_sent_are_told_by_their_name(self, value: str):
        for make in (
            lambda: Web("http://x", headers={"Api-Key": value}),
            lambda: Web("http://x").ask("GET", "/", headers={"Api-Key": value}),
        ):
            with pytest.raises(WrongConfiguration, match="sent as Api-Key has characters") as caught:
                make()
            assert SECRET not in str(caught.value)

    def test_of_this_machine_for_that_host_are_not_looked_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with front(response(200)) as server:
            timeless(server.url).ask("GET", "/")
            assert "Authorization" not in server.headers[0]

    def test_cookies_are_not_kept(self):
        with front(response(200, Set_Cookie="a=b"), response(200)) as server:
            web = timeless(server.url)
            web.ask("GET", "/")
            web.ask("GET", "/")
            assert "Cookie" not in server.headers[1]


class TestCertificates:
    def test_bodies_go_out_and_come_back_whole_however_often_they_are_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """What a socket under TLS did not take in time has to be given to it again as it was."""
        monkeypatch.setattr(web_limits, "GLANCE", 0.0005)
        make_certificates(tmp_path)
        body = random.Random(3).randbytes(4 << 20)
        with secure(tmp_path, _Echo) as server:
            assert timeless(server.url, ca=server.ca).ask("PUT", "/", body=body).body == body

    def test_of_a_named_authority_are_trusted(self, certified: Certified):
        assert timeless(certified.url, ca=certified.ca).ask("GET", "/").body == b"safe"

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
    def test_of_the_users_own_authority_are_trusted(
        self, certified: Certified, variable: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv(variable, certified.ca)
        assert timeless(certified.url).ask("GET", "/").body == b"safe"

    def test_of_somebody_else_are_refused(self, certified: Certified):
        with pytest.raises(Refused, match=r"not one that this machine trusts: .*local issuer") as caught:
            timeless(certified.url).ask("GET", "/")
        assert "ca=FILE" in caught.value.hint

    def test_for_another_host_are_refused(self, certified: Certified):
        with pytest.raises(Refused, match=r"not one that this machine trusts: .*localhost"):
            timeless(certified.url.replace("127.0.0.1", "localhost"), ca=certified.ca).ask("GET", "/")

    def test_that_expired_are_refused(self, tmp_path: Path):
        make_certificates(tmp_path, days=-0.5)
        with secure(tmp_path) as server, pytest.raises(Refused, match="expired"):
            timeless(server.url, ca=server.ca).ask("GET", "/")

    def test_need_a_server_that_speaks_tls(self):
        with front(response(200)) as server, pytest.raises(Refused, match="does not speak TLS") as caught:
            timeless(server.url.replace("http:", "https:")).ask("GET", "/")
        assert "http://" in caught.value.hint

    @pytest.mark.parametrize("made", [None, "nonsense"])
    def test_are_not_asked_for_with_an_authority_that_is_none(self, made: str | None, tmp_path: Path):
        path = tmp_path / "ca.pem"
        if made:
            path.write_text(made)
        with pytest.raises(WrongConfiguration, match=r"ca names .*ca\.pem"):
            Web("https://example.org", ca=str(path))


class TestProxies:
    def test_of_the_environment_are_used(self, monkeypatch: pytest.MonkeyPatch):
        with front(response(200, b"through")) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert timeless("http://far.example/a").ask("GET", "/b").body == b"through"
            assert proxy.asked == [("GET", "http://far.example/a/b")]

    def test_that_refuse_are_told_apart(self, monkeypatch: pytest.MonkeyPatch):
        with front(response(407)) as proxy:
            monkeypatch.setenv("https_proxy", proxy.url)
            with pytest.raises(StoreUnreachable, match=r"the proxy does not let us through to far.example"):
                timeless("https://far.example").ask("GET", "/b")

    def test_that_trickle_end_too(self, monkeypatch: pytest.MonkeyPatch):
        with talker(dripping(b"HTTP/1.1 200 OK\r\nX: ")) as url:
            monkeypatch.setenv("https_proxy", url)
            with pytest.raises(StoreUnreachable, match=r"in time|proxy"):
                hurried("https://far.example").ask("GET", "/b")


@pytest.mark.parametrize(
    "base", ["example.org", "ftp://example.org", "https://", "https:///x", "http://a:99999", "http://a:0", "http://["]
)
def test_what_is_no_web_server_is_no_web_server(base: str):
    with pytest.raises(WrongConfiguration, match="no address of a web server"):
        Web(base)


def test_a_password_in_what_is_no_web_server_is_not_told():
    with pytest.raises(WrongConfiguration) as caught:
        Web(f"ftp://me:{SECRET}@example.org")
    assert SECRET not in str(caught.value)


class Certified(ThreadingHTTPServer):
    """Answers `safe` over TLS."""

    daemon_threads = True
    url = ca = ""

    def handle_error(self, *_: object) -> None: ...


@contextmanager
def secure(folder: Path, handler: type[BaseHTTPRequestHandler] | None = None) -> Iterator[Certified]:
    """With the certificates in *folder*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with Certified(("127.0.0.1", 0), handler or _Safe) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.url, server.ca = f"https://127.0.0.1:{server.server_port}", str(folder / "ca.pem")
        with serving(server):
            yield server


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[Certified]:
    make_certificates(tmp_path)
    with secure(tmp_path) as server:
        yield server


class _Safe(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"safe")

    def log_message(self, *_: object) -> None: ...


class Keeper(ThreadingHTTPServer):
    """Gives back what it is sent, and keeps its connections."""

    daemon_threads = True
    connections = 0

    def process_request(self, *what: object) -> None:
        self.connections += 1
        super().process_request(*what)


@contextmanager
def keeper() -> Iterator[Keeper]:
    with Keeper(("127.0.0.1", 0), _Echo) as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        with serving(server):
            yield server


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST

    def log_message(self, *_: object) -> None: ...
