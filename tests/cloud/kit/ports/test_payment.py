"""The sandbox adapter against answers that no provider should give, and signatures."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cloud.kit.ports.payment import (
    Ask,
    Outcome,
    ProviderUnknownError,
    SandboxPayments,
    SignatureError,
    check_signature,
    sign_webhook,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ASK = Ask("authorise", "key", 500, "EUR", "reference", method="tok_ok")


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[SandboxPayments]:
    """A provider with one answer to everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    provider = SandboxPayments(f"http://127.0.0.1:{server.server_port}", "key", "secret")
    try:
        yield provider
    finally:
        provider.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (503, b"busy"),
        (429, b"{}"),
        (409, b"{}"),
        (401, b"{}"),
        (200, b"<html>"),
        (200, b"[]"),
    ],
)
def test_an_answer_that_says_nothing_leaves_it_unknown(status: int, body: bytes) -> None:
    with answering(status, body) as provider, pytest.raises(ProviderUnknownError):
        provider.perform(ASK)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [(402, b'{"code": "card_declined"}', "card_declined"), (422, b"{}", "http_422")],
)
def test_a_no_is_an_outcome(status: int, body: bytes, code: str) -> None:
    with answering(status, body) as provider:
        assert provider.perform(ASK) == Outcome(done=False, code=code)


def test_a_yes_is_an_outcome() -> None:
    body = b'{"payment": "p", "amount_minor": 500, "last4": "4242", "capture_before": null}'
    with answering(200, body) as provider:
        assert provider.perform(ASK) == Outcome(True, "p", 500, last4="4242")


def test_nobody_there_leaves_it_unknown() -> None:
    provider = SandboxPayments("http://127.0.0.1:1", "key", "secret", timeout_s=1)
    with pytest.raises(ProviderUnknownError):
        provider.perform(ASK)
    provider.close()


def test_a_signature_is_good_for_its_body_and_five_minutes() -> None:
    header = sign_webhook("secret", b"body", NOW)
    check_signature("secret", header, b"body", NOW)
    check_signature("secret", header, b"body", NOW + timedelta(minutes=5))
    for secret, body, now in (
        ("other", b"body", NOW),
        ("secret", b"other", NOW),
        ("secret", b"body", NOW + timedelta(minutes=5, seconds=1)),
        ("secret", b"body", NOW - timedelta(minutes=5, seconds=1)),
    ):
        with pytest.raises(SignatureError):
            check_signature(secret, header, body, now)
