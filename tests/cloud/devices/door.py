"""The device listener at work on a real TLS socket, and clients of it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import uvloop
from cryptography.hazmat.primitives import serialization as how
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.devices import enrolment, metrics
from cloud.devices.device_http import Door
from cloud.devices.listener import Listener
from cloud.devices.refusals import Refusals
from cloud.kit.clock import SystemClock
from cloud.kit.db import Db, Pool, connect
from cloud.kit.ports.authority import FileAuthority, Issued
from cloud.kit.tls_server import Limits
from protocol.commands import SignerKey
from tests.certificates import Certificate, client_context, csr_for

CLOCK = SystemClock()
DAY = timedelta(days=1)
SIGNER = SignerKey("a" * 16, "0" * 64)


@dataclass
class House:
    """The listener at work, and everything round it."""

    url: str
    port: int
    db: Db
    authority: FileAuthority
    folder: Path
    listener: Listener

    def claim(self, device_id: str = "demo-001", ttl: timedelta = DAY) -> str:
        return enrolment.make_claim(self.db, device_id, CLOCK.now(), ttl=ttl).claim

    def identity(self, device_id: str = "demo-001") -> "Identity":
        key = ec.generate_private_key(ec.SECP256R1())
        issued = enrolment.redeem(
            self.db,
            self.authority,
            device_id,
            self.claim(device_id),
            csr_for(device_id, key),
            CLOCK.now(),
            DAY,
        )
        return Identity(issued, key, self.folder)

    def trusting(self, shown: "Identity | Certificate | None" = None) -> ssl.SSLContext:
        return client_context(self.authority.ca_file, shown)  # type: ignore[arg-type]

    async def post(
        self, leaf: str, body: dict[str, Any], shown: "Identity | Certificate | None" = None
    ) -> httpx.Response:
        async with self.client(shown) as client:
            return await client.post(f"/device/{leaf}", json=body)

    async def enrol(self, claim: str, **other: str) -> httpx.Response:
        body = {"device_id": "demo-001", "claim": claim, "csr": csr_for("demo-001"), **other}
        return await self.post("enrol", body)

    def client(self, shown: "Identity | Certificate | None" = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=self.trusting(shown), timeout=20)


Serve = Callable[..., contextlib.AbstractAsyncContextManager["House"]]


class Identity:
    """An issued certificate with its key, as files."""

    def __init__(self, issued: Issued, key: ec.EllipticCurvePrivateKey, folder: Path) -> None:
        self.issued = issued
        self.certificate_file = folder / f"{issued.serial_hex}.pem"
        self.key_file = folder / f"{issued.serial_hex}.key"
        self.certificate_file.write_text(issued.certificate_pem)
        self.key_file.touch(0o600)
        self.key_file.write_bytes(
            key.private_bytes(how.Encoding.PEM, how.PrivateFormat.PKCS8, how.NoEncryption())
        )


@contextlib.contextmanager
def on_uvloop(work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Run as the cloud does: on its loop, which is not the test's. Cancelled at the end."""
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()

    async def watched() -> None:
        task = asyncio.create_task(work)
        running.set_result((asyncio.get_running_loop(), task))
        await asyncio.gather(task, return_exceptions=True)

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(watched())

    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run)
        loop, task = running.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(task.cancel)
            ended.result()


@contextlib.asynccontextmanager
async def serving(dsn: str, pool: Pool, tmp_path: Path, **limits: float) -> AsyncIterator[House]:
    authority, refusals = FileAuthority(tmp_path), Refusals()
    (tmp_path / "blobs").mkdir()
    door = Door(
        pool, CLOCK, authority, DAY, ("127.0.0.1", 18830), lambda: [SIGNER],
        tmp_path / "blobs", refusals,
    )  # fmt: skip
    with socket() as listening, connect(dsn) as db:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        db.execute("TRUNCATE devices.device, devices.claim, devices.certificate")
        bounds = Limits(**limits)  # type: ignore[arg-type]
        listener = Listener(door, listening, [], bounds)
        with on_uvloop(listener.run()):
            port = listening.getsockname()[1]
            yield House(f"https://127.0.0.1:{port}", port, db, authority, tmp_path, listener)


def counted(what: str, reason: str) -> float:
    return float(metrics.REFUSED.labels(what, reason)._value.get())


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def raw(house: House, *parts: bytes, tls: ssl.SSLContext | None) -> bytes:
    """Send bytes as they are and return everything that comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port, ssl=tls)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
