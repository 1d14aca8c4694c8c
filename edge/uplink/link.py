"""What the uplink needs from a connection."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from edge.identity.keys import KeyStore
from edge.settings import Mqtt
from protocol.topics import Leaf


class LinkLostError(ConnectionError):
    """The connection is over or did not come about: wait a little and connect again."""


class ClosedByBrokerError(LinkLostError):
    """The broker ended a connection that was up: it stops, or another client took our id."""


class CertificateRefusedError(LinkLostError):
    """The broker does not take our certificate: only another one will help."""


class AnewError(LinkLostError):
    """We ended the connection ourselves, to come back with another certificate."""


class Link(Protocol):
    """A connection that is up. What it is given may be lost; it says so only by silence."""

    async def publish(self, leaf: Leaf, payload: bytes) -> None:
        """Send `payload`. Raises LinkLostError."""

    async def receive(self) -> tuple[Leaf, bytes]:
        """Return what came next and on which topic: ack, cmd or twin. Raises LinkLostError."""


class Connect(Protocol):
    """Opens a connection whose last will is `will`, with the identity in `keys`.

    Entering raises LinkLostError.
    """

    def __call__(
        self, settings: Mqtt, device_id: str, will: bytes, keys: KeyStore
    ) -> AbstractAsyncContextManager[Link]: ...
