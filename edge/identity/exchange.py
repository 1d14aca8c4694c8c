"""One question to the cloud's device listener over HTTPS: a signing request for a certificate.

On asyncio's streams, so that stopping the agent does not wait for a slow answer in a thread. What
takes long to import is imported when the answer is here.
"""

import asyncio
import contextlib
import io
import ssl
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from edge.trouble import network_trouble
from protocol.commands import SignerKey

ANSWER_S = 20.0
MAX_ANSWER_BYTES = 256 * 1024
MAX_WAIT_S = 600.0
DEFAULT_PORT = 443
_DONE, _BUSY, _NO = (200, 201), (408, 425, 429), range(400, 500)


class CloudAwayError(Exception):
    """No useful answer now: try again later. `after_s` is what the cloud asked for, if it did."""

    def __init__(self, text: str, after_s: float | None = None) -> None:
        super().__init__(text)
        self.after_s = after_s


class RefusedError(Exception):
    """The cloud said no. `problem` is the last part of the problem's type, "" when it has none."""

    def __init__(self, text: str, problem: str = "") -> None:
        super().__init__(text)
        self.problem = problem


class IdentityDocument(msgspec.Struct, frozen=True):
    """What enrolment and renewal are answered with; the certificate says the rest itself."""

    device_id: str
    certificate: str
    ca: str
    signers: list[SignerKey]


class Ask(Protocol):
    """Asks for a certificate. Raises CloudAwayError, RefusedError."""

    async def __call__(
        self, url: str, body: Mapping[str, Any], tls: ssl.SSLContext
    ) -> IdentityDocument: ...


class _Problem(msgspec.Struct, frozen=True):
    """RFC 9457, as far as it is of use."""

    type: str = ""
    title: str = ""
    detail: str = ""


async def ask(url: str, body: Mapping[str, Any], tls: ssl.SSLContext) -> IdentityDocument:
    """POST `body` as JSON to `url` and return the identity that comes back.

    Raises:
        CloudAwayError: nobody there, nobody to trust, too slow, busy, or not understandable.
        RefusedError: 4xx.
    """
    from urllib.parse import urlsplit

    where = urlsplit(url)
    if where.scheme != "https" or not where.hostname:
        raise RefusedError(f"{url!r} is no https URL; correct [identity] enrol_url")
    name = f"{where.hostname}:{where.port or DEFAULT_PORT}"
    try:
        async with asyncio.timeout(ANSWER_S):
            raw = await _post(where.hostname, where.port or DEFAULT_PORT, where.path, body, tls)
    except TimeoutError as error:
        raise CloudAwayError(f"{name}: no answer in time") from error
    except OSError as error:
        raise CloudAwayError(f"{name}: {network_trouble(error)}") from error
    return _understand(name, raw)


async def _post(
    host: str, port: int, path: str, body: Mapping[str, Any], tls: ssl.SSLContext
) -> bytes:
    content = msgspec.json.encode(body)
    bracketed = f"[{host}]" if ":" in host else host
    head = (
        f"POST {path or '/'} HTTP/1.1\r\nHost: {bracketed}:{port}\r\n"
        "Content-Type: application/json\r\nAccept: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        writer.write(head.encode("ascii") + content)
        raw = bytearray()
        while chunk := await reader.read(65_536):
            raw += chunk
            if len(raw) > MAX_ANSWER_BYTES:
                raise OSError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        return bytes(raw)
    finally:
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


class _Received:
    """Enough of a socket for http.client to read an answer that is here already."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _understand(name: str, raw: bytes) -> IdentityDocument:
    from http.client import HTTPException, HTTPResponse

    if not raw:
        # A server on asyncio that refuses a certificate sends no alert: it just goes.
        raise CloudAwayError(f"{name} closed the connection without an answer")
    try:
        answer = HTTPResponse(_Received(raw), method="POST")  # type: ignore[arg-type]
        answer.begin()
        content = answer.read()
    except (HTTPException, ValueError) as error:
        raise CloudAwayError(f"{name} does not answer as the device listener does") from error
    if answer.status in _DONE:
        try:
            return msgspec.json.decode(content, type=IdentityDocument)
        except msgspec.MsgspecError as error:
            raise CloudAwayError(f"{name} answers with no identity: {error}") from error
    problem = _problem(content)
    said = problem.detail or problem.title or f"status {answer.status}"
    if answer.status in _BUSY or answer.status not in _NO:
        raise CloudAwayError(f"{name}: {said}", _seconds(answer.getheader("Retry-After")))
    raise RefusedError(said, problem.type.rpartition("/")[2])


def _problem(content: bytes) -> _Problem:
    try:
        return msgspec.json.decode(content, type=_Problem)
    except msgspec.MsgspecError:
        return _Problem()


def _seconds(text: str | None) -> float | None:
    return min(float(text), MAX_WAIT_S) if text is not None and text.isdecimal() else None
