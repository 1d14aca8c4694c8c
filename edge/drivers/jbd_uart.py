"""JBD / Jiabaida smart BMS on a serial line, 9600 8N1; the wire is laid out in `jbd_frames`.

A board says nothing on its own and sleeps when idle: the first request after a pause may be lost.
"""

import struct
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from edge.drivers.base import (
    Ask,
    BatteryReading,
    Explained,
    Frame,
    FrameError,
    FrameStream,
    PollPolicy,
)
from edge.drivers.jbd_frames import (
    BARCODE,
    BASIC,
    BASIC_DATA,
    CELLS,
    EVENTS,
    FETS,
    FRAME_BYTES,
    HARDWARE,
    HEADER_BYTES,
    KELVIN_TENTHS,
    OK,
    OPS,
    PROTECTIONS,
    READ,
    REFUSED,
    START,
    WRITE,
    barcode,
    cell_volts,
    describe,
    event_counts,
    parse_frame,
    request,
    text,
)

# A torn or shorted sensor reads as an end of the scale, far outside what a thermistor can tell.
_SENSOR_C: Final = (-55.0, 150.0)
_FULL_OFFSET: Final = 3
_TRAILER_BYTES: Final = 9


def fet_request(*, charge: bool, discharge: bool) -> Ask:
    """Return the question that switches the FETs on (True) or off, and its answer's key."""
    off = (0 if charge else 1) | (0 if discharge else 2)
    return Ask(request(WRITE, FETS, bytes((0, off))), FETS)


def _basic_reading(data: bytes, cells: tuple[float, ...] | None) -> BatteryReading:
    volts, amps, left, nominal, cycles, _, low, high, bits, _, soc, fets, _, count = (
        BASIC_DATA.unpack_from(data)
    )
    end = BASIC_DATA.size + 2 * count
    full = nominal
    if len(data) >= end + _TRAILER_BYTES:
        full = int.from_bytes(data[end + _FULL_OFFSET : end + _FULL_OFFSET + 2], "big")
    return BatteryReading(
        voltage_v=volts / 100,
        current_a=amps / 100,
        soc_pct=soc,
        remaining_ah=left / 100,
        full_ah=full / 100,
        temperatures_c=tuple(
            map(_celsius, struct.unpack_from(f">{count}H", data, BASIC_DATA.size))
        ),
        cells_v=cells,
        cycles=cycles,
        charge_fet=bool(fets & 1),
        discharge_fet=bool(fets & 2),
        alarms=_alarms(bits),
        protection_bits=bits,
        balancing_bits=low | high << 16,
    )


def _celsius(raw: int) -> float | None:
    celsius = (raw - KELVIN_TENTHS) / 10
    return celsius if _SENSOR_C[0] <= celsius <= _SENSOR_C[1] else None


def _alarms(bits: int) -> tuple[str, ...]:
    if not bits:
        return ()
    return tuple(name for number, name in enumerate(PROTECTIONS) if bits >> number & 1)


def _ask(register: int) -> Ask:
    return Ask(request(READ, register), register)


class JbdDecoder(FrameStream[Frame]):
    """Finds JBD frames in a stream and keeps the newest of each kind."""

    start: ClassVar[int | None] = START
    shortest: ClassVar[int] = FRAME_BYTES
    ordered_bits: ClassVar[int] = 1 << PROTECTIONS.index("fets_locked")
    policy: ClassVar[PollPolicy] = PollPolicy(
        baud=9600,
        main=_ask(BASIC),
        details=(_ask(CELLS),),
        once=(_ask(HARDWARE),),
        events=(_ask(EVENTS), _ask(BARCODE)),
    )

    def __init__(self) -> None:
        super().__init__()
        self._basic: bytes | None = None
        self._cells: tuple[float, ...] | None = None
        self._about: dict[str, Any] = {}

    @property
    def about(self) -> Mapping[str, Any]:
        """`hardware`, `error_counts` and `serial`, once they were asked; not all have a serial."""
        return self._about

    def forget_details(self, answer: int | None = None) -> None:
        """Forget the cell voltages: they may be those of a pack that is gone."""
        del answer
        self._cells = None

    def reading(self) -> BatteryReading | None:
        """The newest basic answer with the newest cell voltages; None before the first."""
        return _basic_reading(self._basic, self._cells) if self._basic else None

    @staticmethod
    def explain(frame: bytes) -> Explained:
        """Decode one whole frame, request or reply. Raises FrameError."""
        found = parse_frame(frame)
        if found.refused:
            raise FrameError("status", f"80, the controller refuses register {found.key:02x}")
        reading = None
        if found.op is None and found.key == BASIC:
            reading = _basic_reading(found.data, None)
        elif found.op is None and found.key == CELLS:
            reading = BatteryReading(cells_v=cell_volts(found.data))
        return Explained(describe(found), reading)

    def _size(self, stream: bytes, at: int) -> int:
        if len(stream) - at < HEADER_BYTES:
            return HEADER_BYTES
        if stream[at + 1] not in OPS and stream[at + 2] not in (OK, REFUSED):
            return 1
        return FRAME_BYTES + stream[at + 3]

    def _read(self, candidate: bytes) -> Frame:
        frame = parse_frame(candidate)
        if frame.refused:
            self.counters.bad["status"] += 1
        elif frame.op is None:
            self._keep(frame)
        return frame

    def _keep(self, frame: Frame) -> None:
        if frame.key == BASIC:
            self._basic = frame.data
        elif frame.key == CELLS:
            self._cells = cell_volts(frame.data)
        elif frame.key == HARDWARE:
            self._about["hardware"] = text(frame.data)
        elif frame.key == BARCODE:
            self._keep_serial(barcode(frame.data))
        elif frame.key == EVENTS:
            self._about["error_counts"] = event_counts(frame.data)

    def _keep_serial(self, serial: str | None) -> None:
        self._about.pop("serial", None)
        if serial is not None:
            self._about["serial"] = serial
