"""Payment providers as processes of their own, and a relay that records, loses and makes up."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import httpx

from cloud.kit.ports.payment import PaymentProvider, SandboxPayments
from cloud.payments.stripe_adapter import StripePayments
from tests.cloud.payments.parts import KEY, SECRET

STRIPE_KEY, STRIPE_SECRET = "sk_test_of_nobody", "whsec_of_nobody"
_PATIENCE_S = 30
# Its own command listens on every address and keeps what it knows in a file that all would share.
_LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """Its query and its body, as a form."""
        query = self.path.partition("?")[2]
        return dict(parse_qsl(query) + parse_qsl(self.body.decode()))

    @property
    def line(self) -> str:
        """What it asks for, without the query."""
        return f"{self.method} {self.path.partition('?')[0]}"


@dataclass(slots=True)
class Relay:
    """Stands before a provider: notes requests, loses answers, gives scripted ones first.

    Attributes:
        upstream: where the provider is; empty for none.
        url: where the relay is.
        asked: what came.
        lost: of which requests, counted from 1, the answer is lost after it was given.
        answers: given instead of asking the provider, status and body.
        client: asks the provider.
    """

    upstream: str
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    client: httpx.Client = field(default_factory=httpx.Client)

    def answer(self, asked: Asked) -> tuple[int, bytes]:
        """Return what is answered; status 0 for nothing at all."""
        self.asked.append(asked)
        number = len(self.asked)
        if self.answers:
            status, told = self.answers.pop(0)
            return status, json.dumps(told).encode()
        if not self.upstream:
            return 204, b""
        dropped = ("host", "connection", "accept-encoding", "content-length")
        headers = {name: value for name, value in asked.headers.items() if name not in dropped}
        url = self.upstream + asked.path
        told_back = self.client.request(asked.method, url, content=asked.body, headers=headers)
        if number in self.lost:
            return 0, b""
        return told_back.status_code, told_back.content


@contextlib.contextmanager
def a_relay(upstream: str = "") -> Iterator[Relay]:
    """Serve a relay."""
    relay = Relay(upstream)

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, told = relay.answer(Asked(self.command, self.path, headers, body))
            self.close_connection = True
            if status:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    relay.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        relay.client.close()


@dataclass(frozen=True, slots=True)
class Bench:
    """A provider that is to keep the contract.

    Attributes:
        name: of the server.
        relay: between the provider and its server.
        heard: takes its webhooks.
        provider: under test.
        ok: a card that pays.
        declined: a card that does not.
        another: a second card that pays.
        signature: the header of a webhook's signature.
    """

    name: str
    relay: Relay
    heard: Relay
    provider: PaymentProvider
    ok: str
    declined: str
    another: str
    signature: str


@contextlib.contextmanager
def a_sandbox_bench() -> Iterator[Bench]:
    """Our sandbox server."""
    environ = {"SANDBOX_API_KEY": KEY, "SANDBOX_WEBHOOK_SECRET": SECRET}
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(a_relay())
        module = ["-m", "simulator.sandbox_payments", "--webhook", heard.url]
        url = stack.enter_context(
            _process(lambda port: [*module, "--http", f"127.0.0.1:{port}"], environ)
        )
        relay = stack.enter_context(a_relay(url))
        provider = SandboxPayments(relay.url, KEY, SECRET)
        stack.callback(provider.close)
        cards = "tok_ok", "tok_declined", "tok_ok_1881"
        yield Bench("sandbox", relay, heard, provider, *cards, "sandbox-signature")


@contextlib.contextmanager
def a_localstripe_bench(webhook: str = "") -> Iterator[Bench]:
    """Somebody else's stateful stand-in for Stripe, behind Stripe's own SDK."""
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(a_relay())
        url = stack.enter_context(_process(lambda port: ["-c", _LOCALSTRIPE, str(port)], {}))
        hook = {"url": webhook or heard.url, "secret": STRIPE_SECRET}
        httpx.post(f"{url}/_config/webhooks/ours", json=hook).raise_for_status()
        relay = stack.enter_context(a_relay(url))
        provider = StripePayments(STRIPE_KEY, STRIPE_SECRET, relay.url)
        stack.callback(provider.close)
        cards = "pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_visa"
        yield Bench("localstripe", relay, heard, provider, *cards, "stripe-signature")


@contextlib.contextmanager
def _process(argv: Callable[[int], list[str]], environ: dict[str, str]) -> Iterator[str]:
    """Run a server in Python on a free port; yield its URL when it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, *argv(port)], env=environ)
    try:
        patience = time.monotonic() + _PATIENCE_S
        while True:
            assert process.poll() is None, "the provider has ended"
            assert time.monotonic() < patience, "the provider does not answer"
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
