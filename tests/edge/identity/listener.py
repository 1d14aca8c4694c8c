"""The cloud's device listener as a vehicle meets it: real TLS, claims good for one request."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.certificates import TestAuthority, server_context
from tests.edge.identity.stores import SIGNERS

LIFE = timedelta(days=90)


@dataclass
class Listener:
    """What it was asked, and what it will answer.

    `claims` holds "new", "used" or "expired" by claim; `trouble` is a raw answer to everything.
    """

    authority: TestAuthority
    claims: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    trouble: bytes = b""
    answers_as: str = ""
    life: timedelta = LIFE
    age: timedelta = timedelta(minutes=5)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    answered: dict[tuple[str, str], bytes] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            shown = writer.get_extra_info("peercert")
            writer.write(self._answer(head.split()[1], shown, body))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str, shown: Any, body: dict[str, Any]) -> bytes:
        serial = f"{int(shown['serialNumber'], 16):x}" if shown else ""
        self.asked.append((path, serial, body))
        if self.trouble:
            return self.trouble
        if path == "/device/enrol":
            return self._enrol(body)
        if not shown:
            return problem(401, "certificate-needed", "show your certificate")
        if serial in self.revoked:
            return problem(403, "certificate-revoked", "this certificate is revoked")
        device_id = dict(rdn[0] for rdn in shown["subject"])["commonName"]
        return self._issue(200, device_id, body["csr"])

    def _enrol(self, body: dict[str, Any]) -> bytes:
        asked = (body["claim"], body["csr"])
        state = self.claims.get(body["claim"], "unknown")
        if asked in self.answered:
            return self.answered[asked]
        if state != "new":
            return problem(403, f"claim-{state}", "ask for a new one")
        self.claims[body["claim"]] = "used"
        self.answered[asked] = self._issue(201, body["device_id"], body["csr"])
        return self.answered[asked]

    def _issue(self, status: int, device_id: str, csr: str) -> bytes:
        begins = datetime.now(UTC) - self.age
        ends = begins + self.life
        pem = self.authority.certify(csr, device_id, not_before=begins, not_after=ends)
        self.issued.append(pem)
        document = {
            "device_id": self.answers_as or device_id,
            "certificate": pem,
            "ca": self.authority.ca_pem,
            "not_after": ends.isoformat(),
            "signers": [{"key_id": key.key_id, "public_key": key.public_key} for key in SIGNERS],
            "mqtt": {"host": "127.0.0.1", "port": 8883},
        }
        return http(status, json.dumps(document))


def http(status: int, body: str, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} X", f"Content-Length: {len(body.encode())}", *headers, "", body)
    return "\r\n".join(lines).encode()


def problem(status: int, name: str, detail: str, *headers: str) -> bytes:
    return http(status, json.dumps({"type": f"/problems/{name}", "detail": detail}), *headers)


@asynccontextmanager
async def a_listener(
    authority: TestAuthority, *, shown_by: TestAuthority | None = None
) -> AsyncIterator[Listener]:
    """Listen on loopback; `shown_by` is whose server certificate it shows."""
    context = server_context(authority.ca_file, (shown_by or authority).server(), demand=False)
    listener = Listener(authority)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0, ssl=context)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener
