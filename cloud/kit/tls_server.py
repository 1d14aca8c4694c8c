"""HTTP that nobody can hold open: deadlines and sizes for every request, TLS with certificates.

uvicorn has no time limit for a request and keeps the peer's certificate to itself. The protocol
here adds both; `TlsServer` accepts connections itself, so that a failed handshake has an address
and a reason. The certificate is in `scope["extensions"]["tls"]`, as ASGI's TLS extension says.
"""

import asyncio
import contextlib
import json
import re
import ssl
from asyncio.events import TimerHandle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from socket import socket
from typing import Any, ClassVar, Literal

import uvicorn
from starlette.requests import HTTPConnection
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cloud.kit.http import Problem
from cloud.kit.ports.authority import ServerFiles

_SHUTDOWN_S = 2.0
_FULL_PAUSE_S = 0.05
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED

Refused = Callable[[str, str], None]
"""Told of what was refused: a reason of a small fixed set, and the address it came from."""


@dataclass(frozen=True, slots=True)
class LargeBody:
    """Paths that take larger bodies than others.

    Attributes:
        path: what the whole path of such a request looks like.
        most_bytes: of its body.
        problem: the answer to a larger one.
    """

    path: re.Pattern[str]
    most_bytes: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take: seconds and bytes of one request, connections in all.

    `linger_s` is for how long the rest of a body that is refused is thrown away: who still sends
    when the connection closes never reads why. `large` are paths with a limit of their own.
    """

    handshake_s: float = 5.0
    head_s: float = 10.0
    body_s: float = 20.0
    head_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024
    connections: int = 1_000
    linger_s: float = 0.0
    large: tuple[LargeBody, ...] = ()

    def of_body(self, path: str) -> tuple[int, Problem]:
        """Return how many bytes a request for a path may bring, and the answer to more."""
        for one in self.large:
            if one.path.fullmatch(path):
                return one.most_bytes, one.problem
        told = _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Send at most {self.body_bytes} bytes")
        return self.body_bytes, told


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is allowed, and who is told of what is not."""

    limits: Limits
    refused: Refused


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 within `bounds`; `bounded` makes a class with its own.

    Reasons: slow_head, slow_body, large_head, large_body, too_many.
    """

    bounds: ClassVar[Bounds]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._awaits: Literal["head", "body"] | None = None
        self._deadline: TimerHandle | None = None
        self._received = 0
        self._over = False
        self._most_bytes = self.bounds.limits.body_bytes
        self._tls: dict[object, object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._tls = _tls_extension(transport)
        if len(self.connections) > self.bounds.limits.connections:
            self._refuse("too_many", _plain(HTTPStatus.SERVICE_UNAVAILABLE, "Try again later"))
            return
        self._await("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._await(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is too much."""
        if self._over:
            return
        if self._awaits is None and (self.cycle is None or self.cycle.response_complete):
            self._await("head")
        if self._awaits == "head":
            self._received += len(data)
        super().data_received(data)
        if self._awaits == "head" and self._received > self.bounds.limits.head_bytes:
            told = _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Send fewer headers")
            self._refuse("large_head", told)

    def on_message_begin(self) -> None:
        """Give the application the peer's certificate."""
        super().on_message_begin()
        if self._awaits is None:
            self._await("head")
        if self._tls is not None:
            self.scope["extensions"] = {"tls": dict(self._tls)}

    def on_headers_complete(self) -> None:
        """Begin to wait for the body, unless it says itself that it is too large."""
        if self._over:
            return
        told = next((value for name, value in self.headers if name == b"content-length"), b"0")
        self._most_bytes, _ = self.bounds.limits.of_body(self._path())
        if int(told) > self._most_bytes:
            self._refuse_body()
            return
        self._await("body")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the body."""
        if self._over:
            return
        self._received += len(body)
        if self._received > self._most_bytes:
            self._refuse_body()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; from now on it is our turn."""
        if self._over:
            return
        self._await(None)
        super().on_message_complete()

    def _await(self, what: Literal["head", "body"] | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._awaits, self._received, self._deadline = what, 0, None
        if what is not None:
            limit_s = self.bounds.limits.head_s if what == "head" else self.bounds.limits.body_s
            self._deadline = self.loop.call_later(limit_s, self._late)

    def _late(self) -> None:
        if self._awaits == "head" and not self._received:
            self._over = True
            self.transport.close()  # never asked for anything, as browsers do
            return
        told = _plain(HTTPStatus.REQUEST_TIMEOUT, "Send the request faster")
        self._refuse(f"slow_{self._awaits}", told)

    def _refuse_body(self) -> None:
        _, problem = self.bounds.limits.of_body(self._path())
        self._refuse("large_body", problem, linger_s=self.bounds.limits.linger_s)

    def _refuse(self, reason: str, problem: Problem, *, linger_s: float = 0.0) -> None:
        self._over = True
        self._await(None)
        self.bounds.refused(reason, self.client[0] if self.client else "")
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_answer(problem, self._path()))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if linger_s:
            self.flow.resume_reading()
            self._deadline = self.loop.call_later(linger_s, self.transport.close)
        else:
            self.transport.close()

    def _path(self) -> str:
        """Return the path that is asked for, as it came; empty before there is one."""
        url: bytes = getattr(self, "url", b"")
        return url.partition(b"?")[0].decode("ascii", "replace")


def bounded(limits: Limits, refused: Refused) -> type[BoundedProtocol]:
    """Return the protocol with these limits, for `uvicorn.Config(http=…)`."""

    class Bounded(BoundedProtocol):
        bounds = Bounds(limits, refused)

    return Bounded


class TlsServer(uvicorn.Server):
    """uvicorn that accepts TLS connections itself and leaves signals to others.

    Args:
        config: with a `bounded` protocol; everything about TLS comes from `context`.
        context: what `tls_context` returned.
        limits: the handshake's time, and how many connections.
        refused: told of failed handshakes: slow_handshake, expired_certificate,
            foreign_certificate, plain_http, distrusted, bad_handshake, too_many.
    """

    def __init__(
        self, config: uvicorn.Config, context: ssl.SSLContext, limits: Limits, refused: Refused
    ) -> None:
        super().__init__(config)
        self.context = context
        self._limits = limits
        self._refused = refused
        self._accepting: list[asyncio.Task[None]] = []
        self._shaking: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Accept on listening sockets."""
        self.servers = []
        for listener in sockets or []:
            listener.setblocking(False)
            task = asyncio.create_task(self._accept(listener))
            task.add_done_callback(self._ended)
            self._accepting.append(task)
        self.started = True

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop accepting; requests that run may end."""
        for task in (*self._accepting, *self._shaking):
            task.cancel()
        ends = await asyncio.gather(*self._accepting, *self._shaking, return_exceptions=True)
        await super().shutdown(sockets)
        for trouble in ends:
            if isinstance(trouble, Exception):
                raise trouble

    def _ended(self, _task: "asyncio.Task[None]") -> None:
        self.should_exit = True

    async def _accept(self, listener: socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or the client is gone already
                await asyncio.sleep(_FULL_PAUSE_S)
                continue
            open_now = len(self._shaking) + len(self.server_state.connections)
            if open_now >= self._limits.connections:
                self._refused("too_many", address[0])
                connection.close()
                continue
            task = asyncio.create_task(self._shake(connection, address[0]))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake(self, connection: socket, host: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self.context,
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except OSError as trouble:
            if (reason := _reason(trouble)) is not None:
                self._refused(reason, host)
            connection.close()

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def tls_context(files: ServerFiles, ca_file: Path) -> ssl.SSLContext:
    """Return TLS 1.2 or newer that takes clients without a certificate or with one of this CA.

    Sessions are never resumed: each connection shows its certificate, and it is checked, anew.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def peer_certificate(connection: HTTPConnection) -> bytes | None:
    """Return the certificate (DER) that TLS has verified; None when the client showed none."""
    told = connection.scope.get("extensions", {}).get("tls", {})
    chain = told.get("client_cert_chain", ())
    return ssl.PEM_cert_to_DER_cert(chain[0]) if chain else None


def _tls_extension(transport: asyncio.Transport) -> dict[object, object] | None:
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return None
    der = tls.getpeercert(binary_form=True)
    return {"client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else []}


def _reason(trouble: OSError) -> str | None:
    """Return why a handshake failed; None when the client just went away."""
    match trouble:
        case ssl.SSLCertVerificationError():
            expired = trouble.verify_code == _EXPIRED
            return "expired_certificate" if expired else "foreign_certificate"
        case ssl.SSLError():
            what = trouble.reason or ""
            if what == "HTTP_REQUEST":
                return "plain_http"
            return "distrusted" if "ALERT" in what else "bad_handshake"
        case ConnectionAbortedError() | TimeoutError():
            return "slow_handshake"
        case _:
            return None


def _plain(status: HTTPStatus, detail: str) -> Problem:
    return Problem(status.value, status.phrase, detail)


def _answer(problem: Problem, path: str) -> bytes:
    body = json.dumps(problem.document(path)).encode()
    head = (
        b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.status] + head % len(body) + body
