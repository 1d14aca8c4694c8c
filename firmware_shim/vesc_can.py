"""A VESC motor controller and a VESC BMS on a CAN bus: broadcasts out, orders in.

29-bit identifier = command << 8 | id         500 kbit/s, big-endian
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from firmware_shim.can import CanFrame
from firmware_shim.dials import Dials
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackSample, Protection
from firmware_shim.vesc import hundredths_c
from firmware_shim.vesc_motor import TIMEOUT_S, Motor

STATUS_HZ: Final = 5.0
_ORDER_BYTES: Final = 4
_ROW: Final = 3
_ADC_V: Final = 0.8
_FULLEST: Final = 255
_CURRENT, _BRAKE, _RPM = 1, 2, 3
_ERPM_PER_A: Final = 400
_BMS_CELLS, _BMS_BALANCING, _BMS_TEMPERATURES = 41, 42, 43


class VescNode:
    """A controller, and a BMS unless `bms_id` is None. Pure: frames and the time in, frames out."""

    bitrate = 500_000

    def __init__(
        self,
        pack: Pack,
        *,
        faults: Faults | None = None,
        controller_id: int = 23,
        bms_id: int | None = 10,
        status_hz: float = STATUS_HZ,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.pack = pack
        self.motor = Motor(pack, timeout_s=timeout_s)
        self.faults = faults or Faults()
        self.due_s = 0.0
        self.wake: Callable[[], None] | None = None
        self._dials = Dials(pack)
        self._id = controller_id
        self._bms_id = bms_id
        self._every_s = 1 / status_hz
        self._shown: PackSample | None = None

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        self._dials.set(values)

    def receive(self, frame: CanFrame, now_s: float) -> list[CanFrame]:
        """Obey an order for this controller; none is answered."""
        command, node_id = frame.can_id >> 8, frame.can_id & 0xFF
        if frame.extended and node_id == self._id and len(frame.data) == _ORDER_BYTES:
            (raw,) = struct.unpack(">i", frame.data)
            amps = {_CURRENT: raw / 1000, _BRAKE: -abs(raw) / 1000, _RPM: raw / _ERPM_PER_A}
            if command in amps and not self.faults.strikes("fet_ignored"):
                self.motor.order(amps[command], now_s)
        return []

    def tick(self, now_s: float) -> list[CanFrame]:
        """Return one round of every broadcast, and move `due_s` on."""
        self.due_s = now_s + self._every_s
        self.motor.advance(now_s)
        sample = self._sample(now_s)
        said = self._controller(sample)
        if self._bms_id is not None:
            said += self._bms(sample, self._bms_id)
        return said

    def _sample(self, now_s: float) -> PackSample:
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self._dials.apply(self.pack.sample())
        if self.faults.strikes("sensor_lost"):
            return replace(self._shown, temperatures_c=(None, *self._shown.temperatures_c[1:]))
        return self._shown

    def _controller(self, sample: PackSample) -> list[CanFrame]:
        motor = self.motor
        warm = round(250 + abs(motor.current_a) * 5)
        adc = round(1000 * _ADC_V)
        payloads = {
            9: struct.pack(
                ">ihh", motor.erpm, round(motor.current_a * 10), round(motor.duty * 1000)
            ),
            14: struct.pack(">ii", round(motor.ah_used * 1e4), round(motor.ah_charged * 1e4)),
            15: struct.pack(">ii", round(motor.wh_used * 1e4), round(motor.wh_charged * 1e4)),
            16: struct.pack(">hhhh", warm, warm + 50, round(-sample.current_a * 10), 0),
            27: struct.pack(">ihh", round(motor.steps), round(sample.voltage_v * 10), 0),
            58: struct.pack(">hhhh", adc, adc, 0, 0),
        }
        return [_frame(command, self._id, data) for command, data in payloads.items()]

    def _bms(self, sample: PackSample, bms_id: int) -> list[CanFrame]:
        cells = [round(cell_v * 1000) for cell_v in sample.cells_v]
        sensors = [hundredths_c(celsius) for celsius in sample.temperatures_c]
        drawn_a = -sample.current_a
        flags = (sample.current_a > 0) | bool(sample.balancing_bits) << 1 | sample.charge_fet << 2
        hottest = max(sensors, default=0)
        state = struct.pack(
            ">hhBBbB",
            min(cells),
            max(cells),
            round(sample.soc_pct * _FULLEST / 100),
            _FULLEST,
            max(min(hottest // 100, 127), -128),
            flags,
        )
        balancing = bytes((len(cells),)) + sample.balancing_bits.to_bytes(7, "big")
        charged_ah = self.motor.ah_used - self.motor.ah_charged
        return [
            _frame(38, bms_id, struct.pack(">ff", sample.voltage_v, 0.0)),
            _frame(39, bms_id, struct.pack(">ff", drawn_a, drawn_a)),
            _frame(40, bms_id, struct.pack(">ff", charged_ah, charged_ah * sample.voltage_v)),
            *_row(_BMS_CELLS, bms_id, cells),
            _frame(_BMS_BALANCING, bms_id, balancing),
            *_row(_BMS_TEMPERATURES, bms_id, sensors),
            _frame(45, bms_id, state),
        ]


def _row(command: int, node_id: int, values: list[int]) -> list[CanFrame]:
    return [
        _frame(
            command,
            node_id,
            bytes((first, len(values)))
            + b"".join(struct.pack(">h", value) for value in values[first : first + _ROW]),
        )
        for first in range(0, len(values), _ROW)
    ]


def _frame(command: int, node_id: int, data: bytes) -> CanFrame:
    return CanFrame(command << 8 | node_id, data, extended=True)
