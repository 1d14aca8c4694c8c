"""One MQTT connection of a device. Imports aiomqtt: import this module when it is needed."""

import asyncio
import contextlib
import logging
import math
import socket
import ssl
from collections.abc import AsyncIterator

from aiomqtt import Client, Message, MqttCodeError, MqttError, Will
from paho.mqtt.reasoncodes import ReasonCode

from edge.identity.keys import KeyStore, KeyStoreError
from edge.settings import Mqtt
from edge.trouble import network_trouble, refusal_of_ours
from edge.uplink.link import CertificateRefusedError, ClosedByBrokerError, LinkLostError
from protocol.topics import Leaf, topic

ANSWER_S = 5.0
VERDICT_S = 1.0
INCOMING = 256
DOWN: tuple[Leaf, ...] = ("ack", "cmd", "twin")
_CLOSED = 128
_NOT_AUTHORIZED = (134, 135)  # paho names the refusals of MQTT 3.1.1 as those of MQTT 5


class Ear(logging.Logger):
    """Hears why a connection ended: paho tells a TLS alert to its log only."""

    def __init__(self) -> None:
        super().__init__("mqtt", logging.ERROR)
        self.alert: ssl.SSLError | None = None

    def handle(self, record: logging.LogRecord) -> None:
        """Keep the TLS alert, if it is one; say nothing."""
        for each in record.args if isinstance(record.args, tuple) else ():
            if isinstance(each, ssl.SSLError):
                self.alert = each


class MqttLink:
    """A connection that is up and subscribed. QoS 0 in both directions, nothing retained."""

    def __init__(self, client: Client, device_id: str) -> None:
        self._client = client
        self._device_id = device_id
        self._messages = client.messages
        self._leaves = {topic(device_id, leaf): leaf for leaf in DOWN}

    async def publish(self, leaf: Leaf, payload: bytes) -> None:
        """Hand `payload` to the socket, waiting while it is full. Raises LinkLostError."""
        try:
            await self._client.publish(topic(self._device_id, leaf), payload, timeout=math.inf)
        except MqttError as error:
            raise lost(error) from error

    async def receive(self) -> tuple[Leaf, bytes]:
        """Return what came next and on which topic. Raises LinkLostError."""
        while True:
            try:
                message: Message = await anext(self._messages)
            except MqttError as error:
                raise lost(error) from error
            leaf = self._leaves.get(str(message.topic))
            if leaf is not None:
                return leaf, message.payload if isinstance(message.payload, bytes) else b""


@contextlib.asynccontextmanager
async def connect(
    settings: Mqtt, device_id: str, will: bytes, keys: KeyStore
) -> AsyncIterator[MqttLink]:
    """Connect over TLS with the device's certificate, subscribe, and disconnect at the end.

    Raises LinkLostError when the broker cannot be reached or trusted, or refuses, and when there
    is no usable certificate.
    """
    async with opened(settings, device_id, keys, will=will) as client:
        for leaf in DOWN:
            await _subscribe(client, topic(device_id, leaf))
        yield MqttLink(client, device_id)


@contextlib.asynccontextmanager
async def opened(
    settings: Mqtt, device_id: str, keys: KeyStore, *, will: bytes | None = None
) -> AsyncIterator[Client]:
    """Connect and disconnect at the end. Raises LinkLostError."""
    try:
        tls = keys.tls_context()
    except KeyStoreError as error:
        raise LinkLostError(str(error)) from error
    ear = Ear()
    client = Client(
        settings.host,
        settings.port,
        identifier=device_id,
        tls_context=tls,
        will=None if will is None else Will(topic(device_id, "status"), will),
        clean_session=True,
        keepalive=settings.keepalive_s,
        timeout=ANSWER_S,
        max_queued_incoming_messages=INCOMING,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        logger=ear,
    )
    await _enter(client, ear)
    try:
        yield client
    finally:
        with contextlib.suppress(MqttError):
            await client.__aexit__(None, None, None)


async def knock(settings: Mqtt, keys: KeyStore) -> None:
    """Find out whether TLS would let us in, without saying a word of MQTT. Raises LinkLostError."""
    try:
        tls = keys.tls_context()
    except KeyStoreError as error:
        raise LinkLostError(str(error)) from error
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(settings.host, settings.port, ssl=tls)
        try:
            # In TLS 1.3 the server judges our certificate after we think that all is well.
            async with asyncio.timeout(VERDICT_S):
                await reader.read(1)
            raise ClosedByBrokerError("the broker closed the connection")
        except TimeoutError:
            return
        finally:
            writer.close()
    except OSError as error:
        if (why := refusal_of_ours(error)) is not None:
            raise CertificateRefusedError(why) from error
        if isinstance(error, LinkLostError):
            raise
        raise LinkLostError(network_trouble(error)) from error


async def _enter(client: Client, ear: Ear) -> None:
    """Enter the client; if we are cancelled meanwhile, leave no half-open connection behind."""
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except MqttError as error:
        raise lost(error, ear.alert) from error
    except asyncio.CancelledError:
        with contextlib.suppress(MqttError):
            await entering
            await client.__aexit__(None, None, None)
        raise


async def _subscribe(client: Client, name: str) -> None:
    try:
        codes = await client.subscribe(name, qos=0)
    except MqttError as error:
        raise lost(error) from error
    for code in codes:
        if isinstance(code, int) or code.is_failure:
            raise LinkLostError(f"the broker refused the subscription to {name}")


def lost(error: MqttError, alert: ssl.SSLError | None = None) -> LinkLostError:
    """Return what happened in words instead of numbers. `alert` is what TLS said meanwhile."""
    chain = [*_chain(alert), *_chain(error)]
    for one in chain:
        if (why := refusal_of_ours(one)) is not None:
            return CertificateRefusedError(why)
        if isinstance(one, MqttCodeError) and isinstance(one.rc, ReasonCode):
            return _of_code(one.rc)
    for one in chain:
        if isinstance(one, OSError):
            return LinkLostError(network_trouble(one))
    return LinkLostError("no answer in time" if "timed out" in str(error) else str(error))


def _of_code(code: ReasonCode) -> LinkLostError:
    if code.value == _CLOSED:
        return ClosedByBrokerError("the broker closed the connection")
    if code.value in _NOT_AUTHORIZED:
        return CertificateRefusedError(
            "it is revoked or not this device's, or the cloud cannot check it now"
        )
    return LinkLostError(f"the broker refuses us ({str(code).lower()})")


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what led to it; aiomqtt hides the cause, but it is there."""
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
