"""The port of the status page: who is answered, whom it does not wait for, and that nothing kills it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from dwebbackup.daemon.server import Server
from dwebbackup.errors import WrongConfiguration

DEADLINE = 60.0

LOCAL = "127.0.0.1:0"


def hello(environ, start_response):
    if environ["PATH_INFO"] == "/broken":
        raise RuntimeError("the secret of the house")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@contextmanager
def running(application=hello, listen: str = LOCAL) -> Iterator[Server]:
    server = Server(application, listen)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(server: Server, path: str = "/", method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, server.port, timeout=DEADLINE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def say(server: Server, text: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
    connection.sendall(text)
    return connection


def test_it_answers_and_frees_its_port_when_it_is_stopped():
    with running() as server:
        port = server.port
        assert ask(server) == (200, b"hello")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    with running(listen=f"127.0.0.1:{port}") as again:
        assert ask(again) == (200, b"hello")


def test_stopping_twice_or_before_the_start_is_nothing():
    server = Server(hello, LOCAL)
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_it_leaves_no_thread_and_no_connection_behind():
    before = set(threading.enumerate())
    server = Server(hello, LOCAL)
    server.start()
    ours = set(threading.enumerate()) - before
    assert 1 <= len(ours) <= 3
    with say(server, b"GET / HTTP/1.1\r\n") as unfinished, suppress(ConnectionResetError):
        assert ask(server) == (200, b"hello")  # connections are accepted in turn, so the first one was
        server.stop()
        assert unfinished.recv(1) == b""
    for thread in ours:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this system has no IPv6 at all")
def test_two_colons_are_both_families():
    with running(listen="[::]:0") as server:
        assert ask(server) == (200, b"hello")
        assert ask(server, host="::1") == (200, b"hello")


def test_a_port_in_use_is_a_wrong_configuration():
    with running() as server, pytest.raises(WrongConfiguration, match="cannot listen on") as caught:
        Server(hello, f"127.0.0.1:{server.port}").start()
    assert "DWEBBACKUP_LISTEN" in caught.value.hint


@pytest.mark.parametrize(
    "listen", ["", "8080", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "no.invalid:0"]
)
def test_what_is_no_address_is_a_wrong_configuration(listen):
    with pytest.raises(WrongConfiguration):
        Server(hello, listen).start()


def test_slow_clients_keep_nobody_waiting():
    with running() as server, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(say(server, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "))
        assert ask(server) == (200, b"hello")


def test_whoever_sends_byte_by_byte_is_idle():
    """What waitress counts from is when the connection began, however much has come since."""
    with running() as server, say(server, b"GET / HTTP/1.1\r\n") as slow:
        assert ask(server) == (200, b"hello")  # connections are accepted in turn, so the slow one was
        channels = list(server._server.active_channels.values())
        (channel,) = [channel for channel in channels if channel.addr == slow.getsockname()]
        began = channel.last_activity
        for _ in range(3):
            slow.sendall(b"X-Slow: 1\r\n")
            assert ask(server) == (200, b"hello")
        assert (channel.last_activity, channel.requests) == (began, [])


def test_an_error_in_the_application_shows_nothing_and_kills_nothing():
    with running() as server:
        for _ in range(5):
            status, said = ask(server, "/broken")
            assert status == 500
            assert b"secret" not in said
            assert b"Traceback" not in said
        assert ask(server) == (200, b"hello")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (17 << 10) + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * (17 << 10) + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, b"413"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost a\r\n\r\n", b"400"),
    ],
)
def test_odd_and_oversized_requests_are_refused_and_the_next_is_answered(request_bytes, status):
    with running() as server:
        with say(server, request_bytes) as connection:
            assert connection.recv(100).split(b" ")[1] == status
        assert ask(server) == (200, b"hello")


def test_it_does_not_say_what_it_runs_on():
    with running() as server, say(server, b"GET / HTTP/1.0\r\n\r\n") as connection:
        said = b"".join(iter(lambda: connection.recv(1000), b"")).lower()
    assert b"hello" in said
    assert b"waitress" not in said
    assert b"server:" not in said
