"""One MQTT connection of a device. Imports aiomqtt: import this module when it is needed."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator

from aiomqtt import Client, MqttCodeError, MqttError, Will
from paho.mqtt.reasoncodes import ReasonCode

from edge.settings import Mqtt
from edge.uplink.link import ClosedByBrokerError, LinkLostError
from protocol.topics import Leaf, topic

_log = logging.getLogger(__name__)
_log.setLevel(logging.ERROR)

ANSWER_S = 5.0
INCOMING = 256
_CLOSED = 128


class MqttLink:
    """A connection that is up and subscribed. QoS 0 in both directions, nothing retained."""

    def __init__(self, client: Client, device_id: str) -> None:
        self._client = client
        self._device_id = device_id
        self._messages = client.messages

    async def publish(self, leaf: Leaf, payload: bytes) -> None:
        """Hand `payload` to the socket, waiting while it is full. Raises LinkLostError."""
        try:
            await self._client.publish(topic(self._device_id, leaf), payload, timeout=math.inf)
        except MqttError as error:
            raise lost(error) from error

    async def receive(self) -> bytes:
        """Return the next ack's payload. Raises LinkLostError."""
        try:
            message = await anext(self._messages)
        except MqttError as error:
            raise lost(error) from error
        return message.payload if isinstance(message.payload, bytes) else b""


@contextlib.asynccontextmanager
async def connect(settings: Mqtt, device_id: str, will: bytes) -> AsyncIterator[MqttLink]:
    """Connect, subscribe to the device's acks, and disconnect at the end.

    Raises LinkLostError when the broker cannot be reached or refuses.
    """
    client = Client(
        settings.host,
        settings.port,
        username=settings.username,
        password=settings.password,
        identifier=device_id,
        will=Will(topic(device_id, "status"), will, qos=0, retain=False),
        clean_session=True,
        keepalive=settings.keepalive_s,
        timeout=ANSWER_S,
        max_queued_incoming_messages=INCOMING,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        logger=_log,
    )
    await _enter(client)
    try:
        await _subscribe(client, topic(device_id, "ack"))
        yield MqttLink(client, device_id)
    finally:
        with contextlib.suppress(MqttError):
            await client.__aexit__(None, None, None)


async def _enter(client: Client) -> None:
    """Enter the client; if we are cancelled meanwhile, leave no half-open connection behind."""
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except MqttError as error:
        raise lost(error) from error
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


def lost(error: MqttError) -> LinkLostError:
    """Return what happened in words instead of numbers."""
    chain = _chain(error)
    for one in chain:
        if isinstance(one, MqttCodeError) and isinstance(one.rc, ReasonCode):
            if one.rc.value == _CLOSED:
                return ClosedByBrokerError("the broker closed the connection")
            return LinkLostError(f"the broker refuses us ({str(one.rc).lower()})")
    for one in chain:
        if isinstance(one, OSError):
            return LinkLostError(_of_network(one))
    return LinkLostError("no answer in time" if "timed out" in str(error) else str(error))


def _of_network(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, nothing listens there"
    if isinstance(error, socket.gaierror):
        return "there is no host of that name"
    return (error.strerror or "no answer in time").lower()


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what led to it; aiomqtt hides the cause, but it is there."""
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
