"""Who carries mail: a folder that shows what would be sent, or an SMTP server.

`about` names the mail. Sent again with it, it is the same mail: the same Message-ID, and in the
folder the same file, so that a repeat after a crash is recognised.
"""

import smtplib
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

from cloud.kit.clock import Clock
from cloud.kit.folder import write_private

Security = Literal["starttls", "tls", "none"]

_SCHEMES: Mapping[str, tuple[Security, int]] = {
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
    "smtp": ("none", 25),
}
_AT_ONCE = 2
_PERMANENT = 500


class MailLaterError(Exception):
    """It cannot be sent now, for a reason that passes."""


class MailRefusedError(Exception):
    """Nobody will take it, now or later: trying again is of no use."""


class Mail(Protocol):
    """Sends mail. Called in threads; it may take seconds."""

    def send(
        self, to: str, subject: str, text: str, html: str | None = None, *, about: UUID
    ) -> None:
        """Send a mail to one address; `about` names it.

        Raises:
            MailLaterError: not now.
            MailRefusedError: never.
        """
        ...


def composed(
    sender: str, to: str, subject: str, text: str, html: str | None, about: UUID, clock: Clock
) -> EmailMessage:
    """Return the message as RFC 5322 has it.

    Raises:
        ValueError: an address or a subject that would break the head.
    """
    address = parseaddr(sender)[1]
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{about}@{address.rpartition('@')[2] or 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="quoted-printable")
    if html is not None:
        message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message


class OutboxMail:
    """Puts mail into a folder, one `.eml` a mail, readable by its owner only.

    Args:
        folder: made when it is first needed.
        clock: dates mail.
        sender: who it is from.
    """

    def __init__(
        self, folder: Path, clock: Clock, sender: str = "MobilityCorp <noreply@localhost>"
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._sender = sender

    def send(
        self, to: str, subject: str, text: str, html: str | None = None, *, about: UUID
    ) -> None:
        """Write the mail's file, whole or not at all; raises MailLaterError on a full disk."""
        message = composed(self._sender, to, subject, text, html, about, self._clock)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._folder / f"{about}.eml", message.as_bytes())
        except OSError as trouble:
            raise MailLaterError(f"the outbox cannot be written: {trouble}") from trouble


class SmtpMail:
    """Hands mail to an SMTP server. Two at once; whoever comes meanwhile has to come again.

    Args:
        host: the server's name, which its certificate must have.
        port: 587 for starttls, 465 for tls, as a rule.
        sender: who it is from.
        clock: dates mail.
        security: none only for a server on this machine or in its own network.
        login: user name and password.
        trust: certificates to believe; the system's when None.
        timeout_s: patience with the server.

    Raises:
        ValueError: a password that would be sent in the open.
    """

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        clock: Clock,
        *,
        security: Security = "starttls",
        login: tuple[str, str] | None = None,
        trust: ssl.SSLContext | None = None,
        timeout_s: float = 10,
    ) -> None:
        if login is not None and security == "none":
            raise ValueError("a mail password needs starttls or tls; set one, or no password")
        self._where = host, port
        self._sender = sender
        self._clock = clock
        self._security = security
        self._login = login
        self._trust = trust
        self._timeout_s = timeout_s
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def send(
        self, to: str, subject: str, text: str, html: str | None = None, *, about: UUID
    ) -> None:
        """Hand the mail over; raises MailLaterError and MailRefusedError."""
        message = composed(self._sender, to, subject, text, html, about, self._clock)
        # A server that hangs must not take the connections of everybody who waits for it.
        if not self._turns.acquire(blocking=False):
            raise MailLaterError("two mails are being sent")
        try:
            with self._connected() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as refused:
            code, said = refused.recipients[to]
            raise _trouble(code, said) from refused
        except smtplib.SMTPSenderRefused as refused:
            raise MailLaterError(f"the server does not take our sender: {refused}") from refused
        except smtplib.SMTPDataError as refused:
            raise _trouble(refused.smtp_code, refused.smtp_error) from refused
        except (OSError, smtplib.SMTPException) as trouble:
            raise MailLaterError(f"the mail server does not answer: {trouble}") from trouble
        finally:
            self._turns.release()

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        host, port = self._where
        trust = self._trust or ssl.create_default_context()
        server: smtplib.SMTP
        if self._security == "tls":
            server = smtplib.SMTP_SSL(host, port, timeout=self._timeout_s, context=trust)
        else:
            server = smtplib.SMTP(host, port, timeout=self._timeout_s)
        with server:
            if self._security == "starttls":
                server.starttls(context=trust)
            if self._login is not None:
                server.login(*self._login)
            yield server


def mail_by(url: str | None, sender: str, outbox: Path, clock: Clock) -> Mail:
    """Return what carries mail: the server of an URL, the folder `outbox` without one.

    URLs look like `smtp+starttls://user:password@mail.example.org`, `smtps://…` with TLS from the
    first byte, or `smtp://…` in the open.

    Raises:
        ValueError: another URL, or a password in the open.
    """
    if url is None:
        return OutboxMail(outbox, clock, sender)
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(
            "this is no mail server; write smtp+starttls://user:password@mail.example.org, smtps://…"
            " or smtp://…"
        )
    security, port = _SCHEMES[parts.scheme]
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return SmtpMail(
        parts.hostname, parts.port or port, sender, clock, security=security, login=login
    )


def _trouble(code: int, said: bytes | str) -> Exception:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    told = f"the mail server said {code} {text}"
    return MailRefusedError(told) if code >= _PERMANENT else MailLaterError(told)
