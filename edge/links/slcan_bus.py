"""The interface `mobility_slcan` of python-can: slcan that reads in bulk.

can.Bus(interface="mobility_slcan", channel="/dev/ttyACM0", bitrate=500_000)
"""

import select
from collections import deque
from typing import Any, Final

from can import BusABC, CanInitializationError, CanOperationError, Message
from can.typechecking import CanFilters

from edge.clock import SystemClock
from edge.drivers.can import CanFrame
from edge.links.slcan import MINUTE_MS, Remote, remote_line
from edge.links.slcan_port import BAUD, SlcanPort

_HALF_MINUTE_MS: Final = MINUTE_MS // 2


class SlcanBus(BusABC):
    """An adapter that speaks slcan, with classic frames.

    `channel` is a tty, `PATH@BAUD` sets its speed. `timestamps` asks the adapter for its own, in
    milliseconds; without them a message bears the time at which it was read.
    Raises CanInitializationError when it does not open, ValueError for an impossible bit rate.
    """

    def __init__(
        self,
        channel: str,
        *,
        bitrate: int = 500_000,
        tty_baudrate: int = BAUD,
        listen_only: bool = False,
        timestamps: bool = False,
        can_filters: CanFilters | None = None,
        **kwargs: Any,  # noqa: ANN401  # python-can hands on whatever its configuration has
    ) -> None:
        try:
            self._port = SlcanPort(
                channel,
                bitrate=bitrate,
                listen_only=listen_only,
                stamped=timestamps,
                baud=tty_baudrate,
            )
        except OSError as trouble:
            raise CanInitializationError(f"Cannot open {channel} ({trouble}).") from trouble
        self.channel_info = f"slcan on {channel}"
        self._received: deque[Message] = deque()
        self._clock = SystemClock()
        self._adapter_ms = 0
        self._stamped_from_s: float | None = None
        self._readable = select.poll()
        self._readable.register(self._port.fileno(), select.POLLIN)
        super().__init__(channel, can_filters=can_filters, **kwargs)

    def fileno(self) -> int:
        """Return the descriptor, readable when something came."""
        return self._port.fileno()

    def recv_frames(self) -> list[CanFrame]:
        """Return every data frame that has come and `recv` has not given, without waiting.

        Filters are not asked. Raises CanOperationError when the adapter is lost.
        """
        frames = [
            CanFrame(each.arbitration_id, bytes(each.data), each.is_extended_id)
            for each in self._received
            if not each.is_remote_frame
        ]
        self._received.clear()
        try:
            return frames + self._port.recv_frames()
        except OSError as trouble:
            raise CanOperationError(f"{self.channel_info} was lost ({trouble}).") from trouble

    def _recv_internal(self, timeout: float | None) -> tuple[Message | None, bool]:
        if not self._received:
            self._readable.poll(None if timeout is None else max(timeout, 0.0) * 1000)
            self._take()
        return (self._received.popleft() if self._received else None), False

    def send(self, msg: Message, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send a frame. Raises CanOperationError when the adapter takes none, or not such a one."""
        if msg.is_fd or msg.is_error_frame:
            raise CanOperationError("slcan sends classic data and remote frames only.")
        try:
            if msg.is_remote_frame:
                remote = Remote(msg.arbitration_id, msg.dlc, msg.is_extended_id)
                self._port.write(remote_line(remote))
            else:
                frame = CanFrame(msg.arbitration_id, bytes(msg.data), msg.is_extended_id)
                self._port.send(frame)
        except OSError as trouble:
            raise CanOperationError(f"{self.channel_info} takes no frame ({trouble}).") from trouble

    def shutdown(self) -> None:
        """Take the adapter off the bus and give the port back."""
        super().shutdown()
        if hasattr(self, "_port"):
            self._port.close()

    def _take(self) -> None:
        try:
            frames = self._port.recv_frames()
        except OSError as trouble:
            raise CanOperationError(f"{self.channel_info} was lost ({trouble}).") from trouble
        stream, now_s = self._port.stream, self._clock.wall_ms() / 1000
        for number, frame in enumerate(frames):
            stamped = number < len(stream.stamps_ms)
            self._received.append(
                Message(
                    timestamp=self._time_s(stream.stamps_ms[number], now_s) if stamped else now_s,
                    arbitration_id=frame.can_id,
                    is_extended_id=frame.extended,
                    dlc=len(frame.data),
                    data=frame.data,
                )
            )
        for remote in stream.remotes:
            self._received.append(
                Message(
                    timestamp=now_s,
                    arbitration_id=remote.can_id,
                    is_extended_id=remote.extended,
                    is_remote_frame=True,
                    dlc=remote.length,
                )
            )

    def _time_s(self, stamp_ms: int, now_s: float) -> float:
        """The adapter's time, which begins anew each minute, as seconds since 1970."""
        if self._stamped_from_s is None:
            self._stamped_from_s, self._adapter_ms = now_s - stamp_ms / 1000, stamp_ms
        step = (stamp_ms - self._adapter_ms + _HALF_MINUTE_MS) % MINUTE_MS - _HALF_MINUTE_MS
        self._adapter_ms += step
        return self._stamped_from_s + self._adapter_ms / 1000
