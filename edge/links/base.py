"""What a poller needs from a line: bytes out, bytes in, and the news that the port is gone."""

from typing import Protocol


class LinkDownError(ConnectionError):
    """The port is not there now. The link reopens it by itself: poll again later."""


class Link(Protocol):
    """A way to move bytes. It knows nothing about batteries."""

    @property
    def connections(self) -> int:
        """How often the port has been opened: a new number means a new conversation."""

    async def send(self, data: bytes) -> None:
        """Write `data`. Raises LinkDownError while the port is lost."""

    async def receive(self, timeout_s: float) -> bytes:
        """Return what has come, at least a byte; empty when nothing came within `timeout_s`.

        Raises LinkDownError when the port is lost.
        """

    def drain(self) -> int:
        """Throw away what has come and was not received; return how many bytes that was."""

    async def close(self) -> None:
        """Give the port back. Closing twice is fine."""
