"""The port of the status page: waitress in three threads of its own, which no client can make wait for long."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import waitress
from waitress import wasyncore
from waitress.channel import HTTPChannel

from dwebbackup.errors import WrongConfiguration

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PATIENCE = 30
"""Seconds that a client has for a whole request."""

_GRACE = 5
"""Seconds that the threads have to end; whoever stops us has other things to do."""

_LIMITS = {
    "threads": 2,
    "connection_limit": 200,
    "channel_timeout": PATIENCE,
    "cleanup_interval": 5,
    "max_request_header_size": 16 << 10,
    "max_request_body_size": 1 << 10,
    "outbuf_overflow": 16 << 20,  # above this an answer would go to a file, and the disk may be read-only
    "asyncore_loop_timeout": 5,
    "asyncore_use_poll": True,
    "ident": None,
}
"""waitress's names. All clients together can take about 4 MiB and both threads, but these only while a page is made."""


class Server:
    """Serves *application* on *listen* (`0.0.0.0:8080`, `[::]:8080`; port 0 is any free one) until it is stopped."""

    def __init__(self, application: WSGIApplication, listen: str) -> None:
        self._application = application
        self._listen = listen
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The one that it has; only after `start`."""
        assert self._server
        return int(self._server.effective_port)

    def start(self) -> None:
        """Raises `WrongConfiguration` when the address cannot be had."""
        server = waitress.create_server(self._application, sockets=[_bound(self._listen)], **_LIMITS)
        server.channel_class = _Channel
        self._server = server
        self._thread = threading.Thread(target=server.run, name="status page", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the port and every connection; answers under way are cut off."""
        if self._server is None or self._thread is None:
            return
        server, thread = self._server, self._thread
        # Only the loop's own thread may close what the loop waits for; it ends when nothing is left.
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))  # noqa: SLF001  # it has no public door
        thread.join(_GRACE)
        server.task_dispatcher.shutdown(timeout=_GRACE)
        self._thread = None


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection. Whoever sends a request byte by byte is as idle as one who sends nothing."""

    last_activity: float

    def handle_read(self) -> None:
        active = self.last_activity
        super().handle_read()
        if not self.requests:
            self.last_activity = active


def _bound(listen: str) -> socket.socket:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise WrongConfiguration(f"{listen} is no address to listen on", "write HOST:PORT, such as 0.0.0.0:8080")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, int(port)), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise WrongConfiguration(
            f"cannot listen on {listen}: {error.strerror or error}",
            "another program may have that port: choose one with DWEBBACKUP_LISTEN=HOST:PORT, or `off`",
        ) from error
