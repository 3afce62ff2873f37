"""A channel that is mail: one message by SMTP, never without TLS and a checked certificate."""

from __future__ import annotations

import os
import smtplib
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import ClassVar

from dwebbackup.report.notices.channel import Audience, NotDelivered
from dwebbackup.report.notices.notice import Notice, message_with_log
from dwebbackup.report.notices.posting import trusted
from dwebbackup.report.redaction import redact

_OURSELVES = "[127.0.0.1]"
"""What we say to be; else smtplib asks the name service, which can take long, for a name that says no more."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A server, and who writes to whom."""

    host: str
    port: int
    implicit_tls: bool
    """From the first byte on; else by STARTTLS."""
    sender: str
    recipients: tuple[str, ...]
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    timeout: float = 20.0
    """Seconds without one byte, and for connecting."""
    audience: ClassVar[Audience] = "people"

    @property
    def called(self) -> str:
        return f"mail by {self.host}"

    def send(self, notice: Notice) -> None:
        letter = self._letter(notice)
        try:
            with self._connected() as server:
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(letter, self.sender, list(self.recipients))
        except smtplib.SMTPException as error:
            raise _not_delivered(error) from None
        except ssl.SSLCertVerificationError as error:
            hint = "a certificate authority of your own is named by SSL_CERT_FILE"
            raise NotDelivered(
                f"its certificate is not to be trusted: {error.verify_message}", hint, again=True
            ) from None
        except TimeoutError:
            raise NotDelivered("it did not answer in time", again=True) from None
        except OSError as error:
            raise NotDelivered(f"it cannot be reached: {error.strerror or type(error).__name__}", again=True) from None
        if refused:
            raise NotDelivered(f"it refused {len(refused)} of {len(self.recipients)} recipients", again=False)

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server = self._connect()
        try:
            yield server
        finally:
            with suppress(OSError):  # what was taken is taken, however the parting went
                server.quit()
            server.close()

    def _connect(self) -> smtplib.SMTP:
        context = _context()
        if self.implicit_tls:
            return smtplib.SMTP_SSL(self.host, self.port, _OURSELVES, timeout=self.timeout, context=context)
        server = smtplib.SMTP(self.host, self.port, _OURSELVES, timeout=self.timeout)
        try:
            server.starttls(context=context)  # raises where the server offers none
        except BaseException:
            server.close()
            raise
        return server

    def _letter(self, notice: Notice) -> EmailMessage:
        letter = EmailMessage()
        letter["From"] = self.sender
        letter["To"] = ", ".join(self.recipients)
        letter["Subject"] = f"dwebbackup, {notice.title}"
        letter["Date"] = format_datetime(datetime.fromtimestamp(notice.time, UTC))
        letter["Message-ID"] = f"<{uuid.uuid4()}@{self.sender.rpartition('@')[2]}>"
        letter["Auto-Submitted"] = "auto-generated"  # so that nobody's holiday notice answers
        letter.set_content(message_with_log(notice))
        return letter


def _context() -> ssl.SSLContext:
    place = trusted()
    if os.path.isdir(place):
        return ssl.create_default_context(capath=place)
    return ssl.create_default_context(cafile=place)


def _not_delivered(error: smtplib.SMTPException) -> NotDelivered:
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return NotDelivered("it does not offer what we need: STARTTLS, or a login", "use smtps://…:465", again=False)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        return NotDelivered(
            f"it refused every recipient ({codes[0]})", "look at to= in the setting", again=min(codes) < 500
        )
    if isinstance(error, smtplib.SMTPServerDisconnected):
        late = isinstance(error.__context__, TimeoutError)
        return NotDelivered("it did not answer in time" if late else "it closed the connection", again=True)
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        words = redact(" ".join(said.split()))[:200]
        hint = "look at user and password in the setting" if isinstance(error, smtplib.SMTPAuthenticationError) else ""
        return NotDelivered(f"it answered {error.smtp_code} {words}", hint, again=error.smtp_code < 500)
    return NotDelivered(f"it is not as SMTP should be ({type(error).__name__})", again=True)
