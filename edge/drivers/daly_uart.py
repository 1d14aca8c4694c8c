"""Daly smart BMS on a serial line or RS-485, 9600 8N1; the wire is laid out in `daly_frames`.

A board drops a request that comes sooner than 60 to 100 ms after its last answer.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from edge.drivers import daly_frames as wire
from edge.drivers.base import (
    Ask,
    BatteryReading,
    Explained,
    Frame,
    FrameError,
    FrameStream,
    PollPolicy,
)
from edge.drivers.daly_answers import Answers, CurrentSign, CyclesAt

PART: Final = 0x100
"""Added to the key of a frame that is not the last of its answer, or of another board's."""


def switch_request(*, charge: bool | None = None, discharge: bool | None = None) -> list[Ask]:
    """Return the questions that switch MOSFETs on (True) or off; None leaves one as it is."""
    wishes = {wire.CHARGE_MOS: charge, wire.DISCHARGE_MOS: discharge}
    return [
        Ask(wire.request(command, bytes((on,)) + bytes(wire.DATA_BYTES - 1)), command)
        for command, on in wishes.items()
        if on is not None
    ]


def _asks(*commands: int) -> tuple[Ask, ...]:
    return tuple(Ask(wire.request(command), command) for command in commands)


class DalyDecoder(FrameStream[Frame]):
    """Finds Daly frames in a stream and keeps the newest of each kind.

    `current_sign` is what a positive current on the wire means; "learn" takes it for a discharge
    until the mode byte contradicts clear currents. `cycles_at` is where 94 has its count.
    """

    start: ClassVar[int | None] = wire.START
    shortest: ClassVar[int] = wire.FRAME_BYTES
    ordered_bits: ClassVar[int] = 0
    policy: ClassVar[PollPolicy] = PollPolicy(
        baud=9600,
        main=_asks(wire.PACK)[0],
        details=_asks(wire.SWITCHES, wire.CELL_RANGE, wire.TEMPERATURE_RANGE, wire.ALARMS),
        rare=_asks(wire.STATUS, wire.CELLS, wire.TEMPERATURES, wire.BALANCE),
        once=_asks(wire.RATED, wire.MADE, wire.CODE),
        gap_s=0.08,
    )

    def __init__(self, current_sign: CurrentSign = "learn", cycles_at: CyclesAt = "learn") -> None:
        super().__init__()
        self._answers = Answers(current_sign, cycles_at)

    @property
    def about(self) -> Mapping[str, Any]:
        """Cell and temperature extremes, mode, what is connected, `hardware` … once asked."""
        return self._answers.about

    def forget_details(self, answer: int | None = None) -> None:
        """Forget all but the newest answer to 90, or the one that was missed alone."""
        self._answers.forget(answer)

    def reading(self) -> BatteryReading | None:
        """The newest answer to 90 with the newest others; None before the first."""
        return self._answers.reading()

    @staticmethod
    def explain(frame: bytes) -> Explained:
        """Decode one whole frame, request or reply. Raises FrameError."""
        found = wire.parse_frame(frame)
        return Explained(wire.describe(found, frame[1]), wire.reading_of(found))

    def _size(self, stream: bytes, at: int) -> int:
        if len(stream) - at < wire.HEADER_BYTES:
            return wire.HEADER_BYTES
        address, _, length = stream[at + 1 : at + wire.HEADER_BYTES]
        known = address in wire.BOARDS or address in wire.HOSTS
        return wire.FRAME_BYTES if known and length == wire.DATA_BYTES else 1

    def _read(self, candidate: bytes) -> Frame:
        """Keep what a frame says; one before the last of an answer has PART added to its key."""
        frame = _plausible_frame(candidate)
        if frame.op is None:
            ours = candidate[1] == wire.BOARD
            if not ours or not self._answers.keep(frame.key, frame.data):
                frame = frame._replace(key=frame.key | PART)
        return frame


def _plausible_frame(candidate: bytes) -> Frame:
    frame = wire.parse_frame(candidate)
    if frame.op is None and not wire.plausible(frame.key, frame.data):
        raise FrameError("status", f"{frame.data.hex()} answers {frame.key:02x}")
    return frame
