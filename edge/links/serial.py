"""A serial line, real or a pty, on the event loop: no thread, and a lost port comes back."""

import asyncio
import contextlib
import errno
import os
import select
import termios
from typing import TYPE_CHECKING, Final

from edge.links.base import LinkDownError

if TYPE_CHECKING:
    from serial import Serial

BACKOFF_S: Final = (0.1, 5.0)
BUFFER_BYTES: Final = 65_536
_READ_BYTES: Final = 4096


class SerialLink:
    """Bytes to and from one port, 8N1. It opens at the first use and again after a loss.

    While the port is lost each use raises LinkDownError; at most one attempt to open it is made in
    the back-off time, which doubles from 0.1 s to 5 s.
    """

    def __init__(self, path: str, *, baud: int, backoff_s: tuple[float, float] = BACKOFF_S) -> None:
        self._path = path
        self._baud = baud
        self._backoff_s = backoff_s
        self._wait_s = backoff_s[0]
        self._retry_at_s = 0.0
        self._serial: Serial | None = None
        self._received = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._connections = 0

    @property
    def connections(self) -> int:
        """How often the port has been opened."""
        return self._connections

    async def send(self, data: bytes) -> None:
        """Write `data`. Raises LinkDownError when the port is lost or takes no bytes."""
        fd = self._fd()
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError as trouble:
            raise self._lost(str(trouble)) from trouble
        if sent < len(data):
            with contextlib.suppress(termios.error):
                termios.tcflush(fd, termios.TCOFLUSH)
            raise LinkDownError(f"{self._path} takes no bytes; check the other end of the line.")

    async def receive(self, timeout_s: float) -> bytes:
        """Return what has come; empty when nothing came in time. Raises LinkDownError."""
        if not self._received:
            self._fd()
            await self._wait(timeout_s)
        if not self._received and self._serial is None:
            raise LinkDownError(f"{self._path} was lost; it is opened again by itself.")
        data = bytes(self._received)
        self._received.clear()
        return data

    def drain(self) -> int:
        """Throw away what has come and was not received; return how many bytes that was."""
        if self._serial is not None:
            self._read(self._serial.fileno())
        count = len(self._received)
        self._received.clear()
        return count

    async def close(self) -> None:
        """Give the port back."""
        self._close()

    async def _wait(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _fd(self) -> int:
        port = self._serial or self._open()
        return int(port.fileno())

    def _open(self) -> "Serial":
        from serial import Serial

        loop = asyncio.get_running_loop()
        if loop.time() < self._retry_at_s:
            raise LinkDownError(f"{self._path} was lost; it is opened again by itself.")
        try:
            port = Serial(self._path, self._baud, timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as trouble:
            self._back_off()
            raise LinkDownError(
                f"Cannot open {self._path} ({reason(trouble)}); "
                "check the cable, the name and the rights."
            ) from trouble
        self._serial = port
        self._connections += 1
        self._wait_s = self._backoff_s[0]
        loop.add_reader(port.fileno(), self._read, port.fileno())
        return port

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as trouble:
            self._lost(str(trouble))
            return
        if not data:
            if hung_up(fd):
                self._lost("hung up")
            return
        self._received += data
        del self._received[:-BUFFER_BYTES]
        _wake(self._waiter)

    def _lost(self, why: str) -> LinkDownError:
        self._close()
        self._back_off()
        _wake(self._waiter)
        return LinkDownError(f"{self._path} was lost ({why}); it is opened again by itself.")

    def _back_off(self) -> None:
        self._retry_at_s = asyncio.get_running_loop().time() + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._backoff_s[1])

    def _close(self) -> None:
        if self._serial is None:
            return
        asyncio.get_running_loop().remove_reader(self._serial.fileno())
        port, self._serial = self._serial, None
        with contextlib.suppress(OSError):
            port.close()


def reason(trouble: Exception) -> str:
    """Without the numbers and the path, which pyserial repeats."""
    number = trouble.errno if isinstance(trouble, OSError) else None
    if number == errno.EAGAIN:
        return "another program uses it"
    return os.strerror(number).lower() if number else str(trouble)


def hung_up(fd: int) -> bool:
    """Tell a dead line from a quiet one: both read as empty."""
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
