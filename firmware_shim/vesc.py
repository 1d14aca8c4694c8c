"""A VESC motor controller on its serial line, with a VESC BMS behind it, byte for byte.

    02 | LEN u8  | PAYLOAD | CRC u16 | 03
    03 | LEN u16 | PAYLOAD | CRC u16 | 03     when PAYLOAD has more than 255 bytes

CRC: polynomial 1021, from 0, highest bit first, over PAYLOAD. Payloads begin with the command;
numbers are big-endian fixed-point. A positive input current is drawn from the battery.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from firmware_shim.dials import Dials
from firmware_shim.faults import Faults
from firmware_shim.hearing import Hearing
from firmware_shim.pack import Pack, PackSample, Protection
from firmware_shim.vesc_motor import TIMEOUT_S, Motor, fault_of

_VERSION, _VALUES, _CURRENT, _BRAKE, _RPM, _ALIVE = 0, 4, 6, 7, 8, 30
_SELECTED, _CUT, _BMS, _CHARGE = 50, 86, 96, 97
_ONE_BYTE_LEN: Final = 255
_ERPM_PER_A: Final = 400
_LOST_SENSOR: Final = -0x8000
_ROOM_C: Final = 25.0
# Bytes of each bit of the selective mask, in the order of the whole reply.
_WIDTHS: Final = (2, 2, 4, 4, 4, 4, 2, 4, 2, 4, 4, 4, 4, 4, 4, 1, 4, 1, 6, 4, 4, 1)


class VescController:
    """The controller's state machine. Pure: bytes and the time in, replies out.

    Old firmware ends its values earlier: `values_bytes` of the payload, 59, 65, 73 or 74.
    Without `bms` it answers that it knows of no cell.
    """

    baud = 115_200

    def __init__(
        self,
        pack: Pack,
        *,
        faults: Faults | None = None,
        controller_id: int = 104,
        values_bytes: int = 74,
        bms: bool = True,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.pack = pack
        self.motor = Motor(pack, timeout_s=timeout_s)
        self.faults = faults or Faults()
        self._dials = Dials(pack)
        self._id = controller_id
        self._values_bytes = values_bytes
        self._has_bms = bms
        self._cut_end_v = 0.0
        self._hearing = Hearing(_first_payload)
        self._shown: PackSample | None = None

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        self._dials.set(values)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the replies to the requests they complete.

        A request that was cut off is forgotten once the line was quiet for 100 ms.
        """
        replies = (
            (payload[:1], self._answer(payload[0], payload[1:], now_s))
            for payload in self._hearing.take(data, now_s)
        )
        return [framed(command + reply) for command, reply in replies if reply is not None]

    def _answer(self, command: int, data: bytes, now_s: float) -> bytes | None:
        self.motor.advance(now_s)
        if command == _VERSION:
            return bytes((6, 5)) + b"60_MK6\0" + bytes(range(12)) + b"\0\0\0"
        if command == _VALUES:
            return self._values(now_s)[: self._values_bytes - 1]
        if command == _SELECTED and len(data) == 4:  # noqa: PLR2004 - a mask of 32 bits
            return data + _chosen(int.from_bytes(data, "big"), self._values(now_s))
        if command == _BMS:
            return self._bms(now_s)
        if command == _CUT and len(data) >= 8:  # noqa: PLR2004 - two numbers
            return self._cut(struct.unpack_from(">ii", data)[1] / 1000)
        self._obey(command, data, now_s)
        return None

    def _obey(self, command: int, data: bytes, now_s: float) -> None:
        if command == _ALIVE:
            self.motor.alive(now_s)
        elif command == _CHARGE and data and not self.faults.strikes("fet_ignored"):
            self.pack.charge_allowed = bool(data[0])
        elif command in (_CURRENT, _BRAKE, _RPM) and len(data) == 4:  # noqa: PLR2004 - one number
            (raw,) = struct.unpack(">i", data)
            if command == _CURRENT:
                amps = raw / 1000
            elif command == _BRAKE:
                amps = -abs(raw) / 1000
            else:
                amps = raw / _ERPM_PER_A
            self.motor.order(amps, now_s)

    def _cut(self, end_v: float) -> bytes:
        if not self.faults.strikes("fet_ignored"):
            self._cut_end_v = end_v
            self.pack.discharge_allowed = self.pack.sample().voltage_v >= end_v
        return b""

    def _sample(self, now_s: float) -> PackSample:
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self._dials.apply(self.pack.sample())
        if self._cut_end_v:
            self.pack.discharge_allowed = self._shown.voltage_v >= self._cut_end_v
        if self.faults.strikes("sensor_lost"):
            return replace(self._shown, temperatures_c=(None, *self._shown.temperatures_c[1:]))
        return self._shown

    def _values(self, now_s: float) -> bytes:
        sample, motor = self._sample(now_s), self.motor
        drawn_a = -sample.current_a
        warm_c = _ROOM_C + abs(motor.current_a) / 2
        return struct.pack(
            ">hhiiiihihiiiiiiBiBhhhiiB",
            round(warm_c * 10),
            round((warm_c + 5) * 10),
            round(motor.current_a * 100),
            round(drawn_a * 100),
            0,
            round(motor.current_a * 100),
            round(motor.duty * 1000),
            motor.erpm,
            round(sample.voltage_v * 10),
            round(motor.ah_used * 10_000),
            round(motor.ah_charged * 10_000),
            round(motor.wh_used * 10_000),
            round(motor.wh_charged * 10_000),
            round(motor.steps),
            round(motor.steps),
            fault_of(sample.protection_bits),
            0,
            self._id,
            *(round(warm_c * 10),) * 3,
            0,
            round(motor.duty * sample.voltage_v * 1000),
            motor.timed_out,
        )

    def _bms(self, now_s: float) -> bytes:
        sample = self._sample(now_s)
        cells = sample.cells_v if self._has_bms else ()
        sensors = sample.temperatures_c if self._has_bms else ()
        bleeds = [sample.balancing_bits >> number & 1 for number in range(len(cells))]
        drawn = round(-sample.current_a * 1e6)
        head = (round(sample.voltage_v * 1e6), 0, drawn, drawn, 0, 0) if cells else (0,) * 6
        hottest = max((celsius for celsius in sensors if celsius is not None), default=0.0)
        return (
            struct.pack(">6iB", *head, len(cells))
            + b"".join(struct.pack(">h", round(cell_v * 1000)) for cell_v in cells)
            + bytes(bleeds)
            + bytes((len(sensors),))
            + b"".join(struct.pack(">h", hundredths_c(celsius)) for celsius in sensors)
            + struct.pack(">hhhh", 0, 0, 0, round(hottest * 100))
            + struct.pack(">hhB", round(sample.soc_pct * 10) if cells else 0, 1000, 10)
        )


def hundredths_c(celsius: float | None) -> int:
    """A lost sensor reads as the lower end of the scale."""
    return _LOST_SENSOR if celsius is None else round(celsius * 100)


def _chosen(mask: int, values: bytes) -> bytes:
    chosen, at = b"", 0
    for bit, width in enumerate(_WIDTHS):
        chosen += values[at : at + width] if mask >> bit & 1 else b""
        at += width
    return chosen


def _first_payload(pending: bytes) -> tuple[bytes | None, int]:
    """The payload at the head, and how many bytes to drop; 0 means wait for more."""
    width = pending[0] - 1
    if width not in (1, 2):
        return None, 1
    length = int.from_bytes(pending[1 : 1 + width], "big")
    if len(pending) > width and not 1 <= length <= 2 * _ONE_BYTE_LEN:
        return None, 1
    size = 1 + width + length + 3
    if len(pending) <= width or len(pending) < size:
        return None, 0
    payload = pending[1 + width : 1 + width + length]
    if pending[size - 3 : size] != crc16(payload).to_bytes(2, "big") + b"\x03":
        return None, 1
    return payload, size


def framed(payload: bytes) -> bytes:
    """Return the frame around a payload."""
    short = len(payload) <= _ONE_BYTE_LEN
    head = bytes((2, len(payload))) if short else b"\x03" + len(payload).to_bytes(2, "big")
    return head + payload + crc16(payload).to_bytes(2, "big") + b"\x03"


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM."""
    register = 0
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = register << 1 ^ (0x1021 if register & 0x8000 else 0)
        register &= 0xFFFF
    return register
