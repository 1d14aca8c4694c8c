"""Who attacks: a device with an identity of its own, and what can be done with sockets and keys."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import nats as nats_py
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.devices.enrolment import make_claim
from cloud.kit.db import connect
from protocol.commands import Command, encode
from protocol.signing import COMMAND_TYPE, sign
from protocol.topics import Leaf, subject
from tests.broker import CONNACK_ACCEPTED, connect_packet
from tests.certificates import csr_for
from tests.stories.trusted.cloud import Cloud

TTL_MS = 60_000


@dataclass(frozen=True)
class Papers:
    """A certificate and its key, as files."""

    certificate_file: Path
    key_file: Path


class Intruder:
    """A device that does as it likes, with raw sockets and an MQTT client of its own.

    Args:
        cloud: is attacked.
        device: its id.
        folder: where its papers are.
    """

    def __init__(self, cloud: Cloud, device: str, folder: Path) -> None:
        self.cloud = cloud
        self.id = device
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())

    def claim(self) -> str:
        """A fresh permission to enrol."""
        with connect(self.cloud.dsn) as db:
            return make_claim(db, self.id, datetime.now(UTC), battery="jbd_uart").claim

    def enrol(self, claim: str, **other: str) -> httpx.Response:
        """Ask for a certificate; any part of the request can be said otherwise."""
        body = {"device_id": self.id, "claim": claim, "csr": csr_for(self.id, self.key), **other}
        return self.post("enrol", body)

    def post(self, what: str, body: Any, papers: Papers | None = None) -> httpx.Response:
        """Ask the device listener for something."""
        url = f"{self.cloud.device_https}/device/{what}"
        with httpx.Client(verify=self.tls(papers), timeout=20) as client:
            return client.post(url, json=body)

    @cached_property
    def papers(self) -> Papers:
        """Its own true ones; enrols at the first use."""
        answer = self.enrol(self.claim())
        assert answer.status_code == 201, answer.text
        return self.keep(answer.json()["certificate"], self.key)

    def issued_at(self, now: datetime, lifetime: timedelta) -> Papers:
        """A certificate of the true authority that nobody noted, of another time."""
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self.cloud.authority.issue_device(
            csr_for(self.id, key), self.id, "demo", now, lifetime
        )
        return self.keep(issued.certificate_pem, key)

    def keep(self, certificate_pem: str, key: ec.EllipticCurvePrivateKey) -> Papers:
        """Write papers into files."""
        stem = self.folder / f"{self.id}-{len(list(self.folder.iterdir()))}"
        papers = Papers(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        papers.certificate_file.write_text(certificate_pem)
        papers.key_file.touch(0o600)
        papers.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return papers

    def tls(self, papers: Papers | None) -> ssl.SSLContext:
        """What it speaks TLS with."""
        context = ssl.create_default_context(cafile=str(self.cloud.ca_file))
        if papers is not None:
            context.load_cert_chain(papers.certificate_file, papers.key_file)
        return context

    def knocks(self, papers: Papers | None, *, as_device: str = "") -> bool:
        """Connect to the broker; whether it lets us in."""
        return self.talks(self.tls(papers), connect_packet(as_device or self.id)) == (
            CONNACK_ACCEPTED
        )

    def talks(self, tls: ssl.SSLContext | None, say: bytes) -> bytes:
        """Say something to the broker and hear its first word; b"" when it hangs up."""
        with contextlib.ExitStack() as stack:
            link = stack.enter_context(contextlib.closing(_dial(self.cloud.mqtt)))
            try:
                if tls is not None:
                    link = stack.enter_context(
                        tls.wrap_socket(link, server_hostname=self.cloud.mqtt[0])
                    )
                if say:
                    link.sendall(say)
                return link.recv(len(CONNACK_ACCEPTED))
            except OSError:
                return b""

    def publishes(self, *messages: tuple[str, bytes]) -> None:
        """Publish to topics, and stay until the broker has taken it all or hung up."""

        async def publish() -> None:
            with contextlib.suppress(aiomqtt.MqttError):
                async with self._mqtt() as client:
                    for topic, payload in messages:
                        await client.publish(topic, payload)
                    # Whatever was refused is answered by nothing: what comes after it tells.
                    await client.subscribe(f"mc/1/{self.id}/ack", timeout=1)

        asyncio.run(publish())

    def subscribes(self, topic: str) -> bool:
        """Subscribe to a topic; whether the broker agrees."""

        async def subscribe() -> bool:
            async with self._mqtt() as client:
                return list(await client.subscribe(topic)) == [0]

        return asyncio.run(subscribe())

    def _mqtt(self) -> aiomqtt.Client:
        host, port = self.cloud.mqtt
        return aiomqtt.Client(
            host, port, identifier=self.id, tls_context=self.tls(self.papers), timeout=5
        )


def slip_in(cloud: Cloud, device: str, leaf: Leaf, payload: bytes) -> None:
    """Send something down to a device with the password of the cloud's own user."""

    async def publish() -> None:
        client = await nats_py.connect(cloud.broker.url_of("commands"))
        await client.publish(subject(device, leaf), payload)
        await client.flush()
        await client.close()

    asyncio.run(publish())


def a_command(device: str, kind: str, command_id: str, *, age_ms: int = 0) -> Command:
    """A command that was asked for `age_ms` ago and is good for a minute."""
    issued_ms = int(datetime.now(UTC).timestamp() * 1000) - age_ms
    return Command(
        id=command_id,
        device_id=device,
        kind=kind,
        issued_at_ms=issued_ms,
        not_after_ms=issued_ms + TTL_MS,
    )


def truly_signed(cloud: Cloud, command: Command) -> bytes:
    """A command with the signature of the cloud's own key."""
    return sign(encode(command), COMMAND_TYPE, cloud.signer.key_id, cloud.signer.sign)


def _dial(place: tuple[str, int]) -> socket.socket:
    return socket.create_connection(place, 20)
