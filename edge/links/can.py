"""A CAN bus on the event loop: frames out, frames in as they come, and a lost port comes back."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from edge.drivers.can import CanFrame
from edge.links.base import LinkDownError
from edge.links.serial import BACKOFF_S, reason

if TYPE_CHECKING:
    import can

REST_S: Final = 0.01
"""After a read the bus is left alone for so long: to wake for every frame costs more than it."""

_MOST_FRAMES: Final = 256
_MANY_FRAMES: Final = 64

OnFrames = Callable[[Sequence[CanFrame]], None]


class CanLink(Protocol):
    """A way to move frames. It knows nothing about batteries.

    `on_frames` is called on the event loop with what came, in order; frames that come while it is
    None are dropped.
    """

    on_frames: OnFrames | None

    @property
    def connections(self) -> int:
        """How often the bus has been opened: a new number means a new conversation."""

    def open(self) -> None:
        """Begin to listen, if not yet. Raises LinkDownError while the port is lost."""

    def send(self, frame: CanFrame) -> None:
        """Send a frame. Raises LinkDownError while the bus is not open, ValueError for no frame."""

    async def close(self) -> None:
        """Give the port back. Closing twice is fine, and `open` opens it again."""


@runtime_checkable
class CountsLine(Protocol):
    """A link or port that counts what its adapter brought beside good frames."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Bad lines as `line_bad_<reason>`, bytes of no frame as `line_skipped_bytes`, refusals."""


class CanPort(Protocol):
    """An opened way to a bus. Its errors are OSError, and ValueError for an impossible frame."""

    def fileno(self) -> int:
        """Return the descriptor, readable when something came."""

    def recv_frames(self) -> list[CanFrame]:
        """Return what has come, without waiting."""

    def send(self, frame: CanFrame) -> None:
        """Send a frame."""

    def close(self) -> None:
        """Give the port back."""


class BusPort:
    """Any bus of python-can that has a descriptor, as SocketCAN has."""

    def __init__(self, bus: "can.BusABC") -> None:
        from can import CanError, Message

        self._bus = bus
        self._error = CanError
        self._message = Message

    def fileno(self) -> int:
        """Return the descriptor, readable when something came."""
        return self._bus.fileno()

    def recv_frames(self) -> list[CanFrame]:
        """Return the classic data frames that have come. Raises OSError when the bus is lost."""
        frames: list[CanFrame] = []
        try:
            for _ in range(_MOST_FRAMES):
                message = self._bus.recv(0)
                if message is None:
                    break
                if not (message.is_error_frame or message.is_remote_frame or message.is_fd):
                    data = bytes(message.data)
                    frames.append(CanFrame(message.arbitration_id, data, message.is_extended_id))
        except self._error as trouble:
            raise _as_os_error(trouble) from trouble
        return frames

    def send(self, frame: CanFrame) -> None:
        """Send a frame. Raises OSError, and ValueError when it is none."""
        try:
            message = self._message(
                arbitration_id=frame.can_id,
                is_extended_id=frame.extended,
                data=frame.data,
                check=True,
            )
            self._bus.send(message)
        except self._error as trouble:
            raise _as_os_error(trouble) from trouble

    def close(self) -> None:
        """Give the bus back."""
        self._bus.shutdown()


class BusLink:
    """Frames to and from one bus; `opening` opens its port.

    While the port is lost `open` raises LinkDownError; at most one attempt is made in the back-off
    time, which doubles from 0.1 s to 5 s.
    """

    def __init__(
        self,
        name: str,
        opening: Callable[[], CanPort],
        *,
        backoff_s: tuple[float, float] = BACKOFF_S,
    ) -> None:
        self.on_frames: OnFrames | None = None
        self._name = name
        self._opening = opening
        self._backoff_s = backoff_s
        self._wait_s = backoff_s[0]
        self._retry_at_s = 0.0
        self._port: CanPort | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._connections = 0
        self._counts: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How often the bus has been opened."""
        return self._connections

    @property
    def counters(self) -> Mapping[str, int]:
        """What the adapter's line brought beside good frames, since start."""
        counts = Counter(self._counts)
        if isinstance(self._port, CountsLine):
            counts.update(self._port.counters)
        return counts

    @property
    def port(self) -> CanPort | None:
        """What is open now."""
        return self._port

    def open(self) -> None:
        """Begin to listen, if not yet. Raises LinkDownError while the port is lost."""
        if self._port is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._retry_at_s:
            raise LinkDownError(f"{self._name} was lost; it is opened again by itself.")
        try:
            port = self._opening()
        except (OSError, ValueError) as trouble:
            self._back_off()
            raise LinkDownError(
                f"Cannot open {self._name} ({reason(trouble)}); "
                "check the cable, the name and the rights."
            ) from trouble
        self._port = port
        self._connections += 1
        self._wait_s = self._backoff_s[0]
        self._watch(port)

    def send(self, frame: CanFrame) -> None:
        """Send a frame. Raises LinkDownError while the bus is not open, ValueError for no frame."""
        port = self._port
        if port is None:
            raise LinkDownError(f"{self._name} is not open.")
        try:
            port.send(frame)
        except BlockingIOError as trouble:
            raise LinkDownError(
                f"{self._name} takes no frames; check the other end of the line."
            ) from trouble
        except OSError as trouble:
            raise self._lost(str(trouble)) from trouble

    async def close(self) -> None:
        """Give the port back."""
        self._close()

    def _read(self, port: CanPort) -> None:
        try:
            frames = port.recv_frames()
        except OSError as trouble:
            self._lost(str(trouble))
            return
        if len(frames) < _MANY_FRAMES:
            loop = asyncio.get_running_loop()
            loop.remove_reader(port.fileno())
            self._resting = loop.call_later(REST_S, self._watch, port)
        if frames and self.on_frames is not None:
            self.on_frames(frames)

    def _watch(self, port: CanPort) -> None:
        asyncio.get_running_loop().add_reader(port.fileno(), self._read, port)

    def _lost(self, why: str) -> LinkDownError:
        self._close()
        self._back_off()
        return LinkDownError(f"{self._name} was lost ({why}); it is opened again by itself.")

    def _back_off(self) -> None:
        self._retry_at_s = asyncio.get_running_loop().time() + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._backoff_s[1])

    def _close(self) -> None:
        if self._port is None:
            return
        port, self._port = self._port, None
        if self._resting is not None:
            self._resting.cancel()
        if isinstance(port, CountsLine):
            self._counts.update(port.counters)
        asyncio.get_running_loop().remove_reader(port.fileno())
        port.close()


def slcan_port(path: str, *, bitrate: int, listens: Collection[tuple[int, bool]] = ()) -> CanPort:
    """Open an slcan adapter on a tty. Raises OSError and ValueError."""
    from edge.links.slcan_port import SlcanPort

    return SlcanPort(path, bitrate=bitrate, listens=listens)


def socketcan_port(channel: str, *, listens: Collection[tuple[int, bool]] = ()) -> CanPort:
    """Open a CAN interface of the kernel, whose bit rate is set outside. Raises OSError."""
    import can

    filters: Any = [
        {"can_id": can_id, "can_mask": 0x1FFF_FFFF if extended else 0x7FF, "extended": extended}
        for can_id, extended in sorted(listens)
    ]
    try:
        bus = can.Bus(interface="socketcan", channel=channel, can_filters=filters or None)
    except can.CanError as trouble:
        raise _as_os_error(trouble) from trouble
    return BusPort(bus)


def _as_os_error(trouble: Exception) -> OSError:
    """python-can's errors name the system's in their cause or their number."""
    number = getattr(trouble, "error_code", None)
    return OSError(number, str(trouble)) if number else OSError(str(trouble))
