"""Mail in a folder and mail to a real SMTP server."""

import email
import socketserver
import ssl
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest

from cloud.kit.clock import ManualClock
from cloud.kit.ports.mail import MailLaterError, MailRefusedError, OutboxMail, SmtpMail, mail_by
from tests.certificates import TestAuthority, client_context, server_context

ABOUT = UUID("0194f3c2-8b1e-7a4d-9c3f-2d6e8f1a5b7c")
SENDER = "MobilityCorp <noreply@ride.example.org>"
TEXT = "Grüße,\n\nhttps://ride.example.org/verify#token=" + "x" * 80 + "\n"


def read(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=policy.default)


def assert_is_the_mail(raw: bytes) -> None:
    found = read(raw)
    assert (found["To"], found["From"], found["Subject"]) == ("a@example.org", SENDER, "Grüße")
    assert found["Message-ID"] == f"<{ABOUT}@ride.example.org>"
    assert found["Date"] == "Wed, 01 Jul 2026 12:00:00 +0000"
    assert found["Auto-Submitted"] == "auto-generated"
    body = found.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == TEXT


@dataclass
class Server:
    """A small SMTP server (RFC 5321); `replies` overrides what it says to a verb."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None
    taken: list[bytes] = field(default_factory=list)
    secured: int = 0


class Session(socketserver.StreamRequestHandler):
    """One connection to it."""

    def handle(self) -> None:
        server: Server = self.server.told  # type: ignore[attr-defined]
        self.say("220 here")
        while line := self.rfile.readline():
            verb = line.split(maxsplit=1)[0].decode().upper().rstrip(":")
            if verb == "EHLO":
                self.say("250-here" if server.trust else "250 here")
                if server.trust:
                    self.say("250 STARTTLS")
            elif verb in server.replies:
                self.say(server.replies[verb])
            elif verb == "STARTTLS" and server.trust is not None:
                self.say("220 go")
                self.connection = server.trust.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = (
                    self.connection.makefile("rb"),
                    self.connection.makefile("wb", buffering=0),
                )
                server.secured += 1
            elif verb == "DATA":
                self.say("354 go on")
                server.taken.append(self.content())
                self.say(server.replies.get("END", "250 taken"))
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def content(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as listening:
        listening.daemon_threads = True
        listening.told = told  # type: ignore[attr-defined]
        told.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield told
        listening.shutdown()
        thread.join()


def smtp(server: Server, clock: ManualClock) -> SmtpMail:
    return SmtpMail("127.0.0.1", server.port, SENDER, clock, security="none")


def send(mail: SmtpMail | OutboxMail, html: str | None = None) -> None:
    mail.send("a@example.org", "Grüße", TEXT, html, about=ABOUT)


def test_a_mail_in_the_folder_is_a_private_file_that_mail_programs_open(
    tmp_path: Path, clock: ManualClock
) -> None:
    folder = tmp_path / "outbox"
    send(OutboxMail(folder, clock, SENDER))
    (file,) = folder.iterdir()
    assert file.name == f"{ABOUT}.eml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert_is_the_mail(file.read_bytes())


def test_the_same_mail_again_is_the_same_file(tmp_path: Path, clock: ManualClock) -> None:
    mail = OutboxMail(tmp_path, clock, SENDER)
    send(mail)
    send(mail)
    assert [file.name for file in tmp_path.iterdir()] == [f"{ABOUT}.eml"]


def test_an_outbox_that_cannot_be_written_is_tried_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    (tmp_path / "outbox").write_text("a file where a folder should be")
    with pytest.raises(MailLaterError, match="outbox"):
        send(OutboxMail(tmp_path / "outbox", clock, SENDER))


def test_html_goes_beside_the_text(tmp_path: Path, clock: ManualClock) -> None:
    send(OutboxMail(tmp_path, clock, SENDER), html="<p>Grüße</p>")
    raw = (tmp_path / f"{ABOUT}.eml").read_bytes()
    assert read(raw).get_content_type() == "multipart/alternative"
    assert_is_the_mail(raw)


@pytest.mark.parametrize("part", ["to", "subject"])
def test_no_head_is_broken_by_what_is_put_in_it(
    tmp_path: Path, clock: ManualClock, part: str
) -> None:
    good = {"to": "a@example.org", "subject": "Hello"}
    mail = OutboxMail(tmp_path, clock, SENDER)
    with pytest.raises(ValueError, match=r"(?i)header|linefeed|newline|address"):
        mail.send(**{**good, part: "a@example.org\r\nBcc: b@example.org"}, text="x", about=ABOUT)
    assert list(tmp_path.iterdir()) == []
    mail.send(**good, text="x", about=ABOUT)


def test_a_server_gets_the_mail(server: Server, clock: ManualClock) -> None:
    send(smtp(server, clock))
    (raw,) = server.taken
    assert_is_the_mail(raw)


@pytest.mark.parametrize(
    ("verb", "reply", "error"),
    [
        ("RCPT", "550 no such user", MailRefusedError),
        ("RCPT", "450 try later", MailLaterError),
        ("END", "554 we do not like it", MailRefusedError),
        ("END", "452 no room", MailLaterError),
        ("MAIL", "550 who are you", MailLaterError),
        ("MAIL", "421 closing", MailLaterError),
    ],
)
def test_a_refusal_says_whether_to_try_again(
    server: Server, clock: ManualClock, verb: str, reply: str, error: type[Exception]
) -> None:
    server.replies[verb] = reply
    with pytest.raises(error):
        send(smtp(server, clock))
    server.replies.clear()
    send(smtp(server, clock))


def test_nobody_at_the_port_is_tried_again(server: Server, clock: ManualClock) -> None:
    with pytest.raises(MailLaterError, match="does not answer"):
        send(SmtpMail("127.0.0.1", 1, SENDER, clock, security="none"))


def test_a_mail_meanwhile_has_to_come_again(server: Server, clock: ManualClock) -> None:
    mail = smtp(server, clock)
    assert mail._turns.acquire(blocking=False)
    assert mail._turns.acquire(blocking=False)
    with pytest.raises(MailLaterError, match="being sent"):
        send(mail)
    mail._turns.release()
    send(mail)


def test_a_password_is_never_sent_in_the_open(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="starttls"):
        SmtpMail("127.0.0.1", 25, SENDER, clock, security="none", login=("a", "b"))
    SmtpMail("127.0.0.1", 587, SENDER, clock, login=("a", "b"))


def test_a_server_without_tls_is_not_spoken_to_when_tls_is_asked_for(
    server: Server, clock: ManualClock
) -> None:
    with pytest.raises(MailLaterError):
        send(SmtpMail("127.0.0.1", server.port, SENDER, clock, security="starttls"))
    assert server.taken == []


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "ca")


def over_tls(server: Server, clock: ManualClock, trust: ssl.SSLContext) -> SmtpMail:
    return SmtpMail("127.0.0.1", server.port, SENDER, clock, security="starttls", trust=trust)


def test_mail_goes_over_tls_to_the_server_its_certificate_names(
    server: Server, clock: ManualClock, authority: TestAuthority
) -> None:
    server.trust = server_context(authority.ca_file, authority.server(), demand=False)
    send(over_tls(server, clock, client_context(authority.ca_file)))
    assert (server.secured, len(server.taken)) == (1, 1)


def test_no_mail_goes_to_a_server_with_somebody_elses_certificate(
    server: Server, clock: ManualClock, authority: TestAuthority, tmp_path: Path
) -> None:
    stranger = TestAuthority(tmp_path / "stranger")
    server.trust = server_context(stranger.ca_file, stranger.server(), demand=False)
    with pytest.raises(MailLaterError, match="certificate"):
        send(over_tls(server, clock, client_context(authority.ca_file)))
    assert server.taken == []


def test_a_url_says_which_server_and_none_means_the_folder(
    server: Server, clock: ManualClock, tmp_path: Path
) -> None:
    url = f"smtp://127.0.0.1:{server.port}"
    mail_by(url, SENDER, tmp_path, clock).send("a@example.org", "Grüße", TEXT, about=ABOUT)
    assert_is_the_mail(server.taken[0])
    mail_by(None, SENDER, tmp_path, clock).send("a@example.org", "Grüße", TEXT, about=ABOUT)
    assert_is_the_mail((tmp_path / f"{ABOUT}.eml").read_bytes())


@pytest.mark.parametrize("url", ["", "https://mail.example.org", "smtps://", "mail.example.org"])
def test_a_url_that_is_no_mail_server_is_refused(
    url: str, clock: ManualClock, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no mail server"):
        mail_by(url, SENDER, tmp_path, clock)
    with pytest.raises(ValueError, match="starttls"):
        mail_by("smtp://user:secret@mail.example.org", SENDER, tmp_path, clock)
    assert mail_by("smtps://user:s%40cret@mail.example.org", SENDER, tmp_path, clock)
