"""A mail server on this machine: TLS by STARTTLS or from the first byte, a login, and a list of what it was given."""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PATIENCE = 60.0

USER, PASSWORD = "backup@example.com", "s3cr/et:p@ss"


class MailServer:
    """*implicit*: TLS from the first byte; else by STARTTLS, where *tls* is given. *refused*: recipients it knows not."""

    def __init__(self, tls: ssl.SSLContext | None, *, implicit: bool = False, refused: tuple[str, ...] = ()) -> None:
        self._tls, self._implicit, self._refused = tls, implicit, refused
        self._letters: queue.SimpleQueue[tuple[Envelope, EmailMessage]] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._open: list[SMTP] = []
        self._port = 0
        self.logins: list[LoginPassword] = []

    @property
    def place(self) -> str:
        return f"localhost:{self._port}"

    def next(self) -> tuple[Envelope, EmailMessage]:
        return self._letters.get(timeout=PATIENCE)

    def is_empty(self) -> bool:
        return self._letters.empty()

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]):
        if address in self._refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if not session.authenticated:
            return "530 log in first"
        letter = message_from_bytes(envelope.content, EmailMessage, policy=policy.default)
        self._letters.put((envelope, letter))
        return "250 OK"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        context = self._tls if self._implicit else None
        self._server = await self._loop.create_server(self._protocol, "127.0.0.1", 0, ssl=context)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for protocol in self._open:
            if protocol.transport:
                protocol.transport.abort()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _protocol(self) -> SMTP:
        starttls = None if self._implicit else self._tls
        self._open.append(
            SMTP(
                self,
                hostname="localhost",
                tls_context=starttls,
                require_starttls=starttls is not None,
                authenticator=self._may_enter,
                auth_require_tls=starttls is not None,
                loop=self._loop,
            )
        )
        return self._open[-1]

    def _may_enter(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword):
        self.logins.append(data)
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)
