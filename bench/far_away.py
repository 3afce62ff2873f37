"""Makes a server on this machine look far away: a TCP proxy that delays what passes, and counts HTTP requests."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_BLOCK = 256 * 1024
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) /")  # clients begin a write with it


class FarAway:
    """What stands between. *delay*: seconds in each direction; bandwidth has no limit."""

    def __init__(self, server: str, delay: float) -> None:
        self.requests = 0
        self.address = ""
        """Where to connect to instead of *server*; both are URLs."""
        self._server = urlsplit(server)
        self._delay = delay

    async def serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        ready.set()
        async with listener:
            await self._stop.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._delay)  # the handshake of a connection goes to and fro as well
        inner_reader, inner_writer = await asyncio.open_connection(self._server.hostname, self._server.port)
        await asyncio.gather(
            self._pump(reader, inner_writer, counting=True), self._pump(inner_reader, writer, counting=False)
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counting: bool) -> None:
        """Every block leaves when its time has come, however many are on the way."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(self._arrive(on_the_way, writer))
        block = b"?"
        while block:
            with suppress(ConnectionError):
                block = await reader.read(_BLOCK)
            self.requests += counting and bool(_REQUEST.match(block))
            on_the_way.put_nowait((loop.time() + self._delay, block))
        await arriving

    async def _arrive(self, on_the_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while True:
                due, block = await on_the_way.get()
                await asyncio.sleep(due - loop.time())
                if not block:
                    break
                writer.write(block)
                await writer.drain()
        writer.close()


@contextmanager
def far_away(server: str, round_trip: float) -> Iterator[FarAway]:
    """A proxy before *server*, in a thread of its own; gone afterwards."""
    ready, between = threading.Event(), FarAway(server, round_trip / 2)
    thread = threading.Thread(target=lambda: asyncio.run(between.serve(ready)), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield between
    finally:
        between.stop()
        thread.join()
