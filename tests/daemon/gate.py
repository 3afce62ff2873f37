"""A way to a server that a test can shut, and open again."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Gate:
    """Forwards TCP connections to *port* on this machine. While it is shut, they are closed at once."""

    def __init__(self, port: int, *, shut: bool = False) -> None:
        self._behind = port
        self._shut = shut
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.shut()

    def shut(self) -> None:
        """For everybody, now."""
        with self._lock:
            self._shut = True
            connections, self._connections = self._connections, set()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        with self._lock:
            self._shut = False

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            with self._lock:
                if self._shut:
                    return
                server = socket.create_connection(("127.0.0.1", self._behind))
                self._connections |= {client, server}
            with server:
                back = threading.Thread(target=_pass, args=(server, client), daemon=True)
                back.start()
                _pass(client, server)
                back.join()
            with self._lock:
                self._connections -= {client, server}


def _pass(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)
