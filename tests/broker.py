"""A broker for tests: one user more, who may do everything, and doors that need no database.

`nats.url` is that user's; the real ones are `nats.url_of("ingest")` and `nats.url_of("commands")`.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nats.aio.client import Client

from cloud.devices.gate import Doorkeeper
from cloud.devices.link import connect_link
from cloud.devices.refusals import Refusals
from cloud.devices.store.certificates import CertificateRow
from cloud.kit.clock import SystemClock
from cloud.kit.nats import GATE_INBOX, Broker, EmbeddedNats
from cloud.kit.ports.authority import FileAuthority, Issued
from tests.certificates import csr_for

LIFETIME = timedelta(days=90)


class OpenNats(EmbeddedNats):
    """The embedded broker with the user `tests` beside the real ones."""

    users: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **EmbeddedNats.users,
        "tests": {"publish": {"allow": [">"]}, "subscribe": {"allow": [">"]}},
    }

    @property
    def url(self) -> str:
        """Where a test may play the cloud or, on the NATS side, a device."""
        return self.url_of("tests")


@dataclass(frozen=True)
class Identity:
    """A device's key and certificate, as its identity folder holds them."""

    device_id: str
    issued: Issued
    certificate_file: Path
    key_file: Path
    ca_file: Path

    @property
    def tls(self) -> ssl.SSLContext:
        """What the device speaks TLS with."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context


def an_identity(
    server: EmbeddedNats, device_id: str, folder: Path, *, lifetime: timedelta = LIFETIME
) -> Identity:
    """Have the broker's own authority certify a device; nobody notes it in a database."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = FileAuthority(server.folder.path)
    now = datetime.now(UTC)
    issued = authority.issue_device(csr_for(device_id, key), device_id, "demo", now, lifetime)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{device_id}-{issued.serial_hex[:8]}"
    certificate_file, key_file = folder / f"{stem}.pem", folder / f"{stem}.key"
    certificate_file.write_text(issued.certificate_pem)
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Identity(device_id, issued, certificate_file, key_file, authority.ca_file)


@dataclass
class Register:
    """The table of certificates in memory."""

    rows: dict[str, CertificateRow] = field(default_factory=dict)

    def enrol(
        self,
        server: EmbeddedNats,
        device_id: str,
        folder: Path,
        *,
        lifetime: timedelta = LIFETIME,
    ) -> Identity:
        """Make a device with a certificate that is in the register."""
        identity = an_identity(server, device_id, folder, lifetime=lifetime)
        self.add(identity)
        return identity

    def add(self, identity: Identity) -> None:
        issued = identity.issued
        self.rows[issued.fingerprint_sha256_hex] = CertificateRow(
            serial=issued.serial_hex,
            device_id=identity.device_id,
            tenant="demo",
            city="demo",
            fingerprint=issued.fingerprint_sha256_hex,
            issued_at=issued.not_before,
            not_before=issued.not_before,
            not_after=issued.not_after,
            revoked_at=None,
            revoked_reason=None,
        )

    def find(self, fingerprints: Collection[str]) -> Mapping[str, CertificateRow]:
        return {each: self.rows[each] for each in fingerprints if each in self.rows}


@dataclass(frozen=True)
class Door:
    """An open door: its own connection to the broker, and what it refused."""

    client: Client
    refusals: Refusals


class HasBroker(Protocol):
    """A server that can say how to reach it."""

    @property
    def broker(self) -> Broker: ...


@contextlib.asynccontextmanager
async def a_door(server: HasBroker, register: Register) -> AsyncIterator[Door]:
    """Let in who is in the register, for as long as the test runs."""
    refusals = Refusals()
    broker = server.broker
    assert broker.gate_url is not None
    client = await connect_link(broker.gate_url, name="test-gate", inbox=GATE_INBOX)
    doorkeeper = Doorkeeper(client, broker.issuer_seed, register.find, SystemClock(), refusals)
    work = asyncio.create_task(doorkeeper.run())
    await client.flush()
    # The subscription is made by the task: let it run before anybody knocks.
    await asyncio.sleep(0)
    await client.flush()
    try:
        yield Door(client, refusals)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await client.close()


CONNACK_ACCEPTED = b"\x20\x02\x00\x00"


def connect_packet(client_id: str, *, keepalive_s: int = 60) -> bytes:
    """Return an MQTT 3.1.1 CONNECT with a clean session and nothing else."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02" + keepalive_s.to_bytes(2, "big")
    body += len(name).to_bytes(2, "big") + name
    return bytes((0x10, len(body))) + body


def raw_connection(
    place: tuple[str, int],
    tls: ssl.SSLContext,
    client_id: str,
    *,
    keepalive_s: int = 60,
    timeout_s: float = 20,
) -> tuple[ssl.SSLSocket, bytes]:
    """Connect with sockets alone; return the link and what the broker said first."""
    plain = socket.create_connection(place, timeout_s)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link = tls.wrap_socket(plain, server_hostname=place[0])
    link.sendall(connect_packet(client_id, keepalive_s=keepalive_s))
    return link, link.recv(4)
