"""A JK (Jikong) BMS of the 4E57 kind, byte for byte: requests in, replies out, over a living pack.

    4E 57 | LEN u16 | TERMINAL[4] | CMD | SOURCE | TYPE | BODY | RECORD[4] | 68 | 00 00 | SUM u16

LEN is the frame's bytes less two; SUM adds up all bytes before the two zeros. Big-endian. TYPE 00
asks, 01 answers. A request with a bad sum or end is not answered, and neither is one for a tag that
the board does not have. Tags go up from 79 to C0 in a read-all reply.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from firmware_shim.dials import Dials
from firmware_shim.faults import Faults
from firmware_shim.hearing import Hearing
from firmware_shim.pack import Pack, PackSample, Protection

_HEAD: Final = b"NW"
_STOP: Final = b"\x68\0\0"
_HEAD_BYTES: Final = 11
_LEAST_LEN: Final = 18
_MOST_LEN: Final = 64
_BMS: Final = 0
_ASKS: Final = 0
_ANSWERS: Final = 1
_ACTIVATE, _WRITE, _READ, _PASSWORD, _READ_ALL = 1, 2, 3, 5, 6
_BALANCE_TAG, _CHARGE_TAG, _DISCHARGE_TAG = 0x9D, 0xAB, 0xAC
_LOW_SOC_TAG, _SECRET_TAG, _VERSION_TAG = 0xB1, 0xB2, 0xC0
_LOST_SENSOR: Final = b"\xff\xff"
_SENSORS: Final = 3

_ALARM_BITS: Final = (
    (Protection.CHARGE_OVERTEMP | Protection.DISCHARGE_OVERTEMP, 4),
    (Protection.DISCHARGE_OVERCURRENT | Protection.SHORT_CIRCUIT, 6),
    (Protection.CELL_OVERVOLTAGE, 10),
    (Protection.CELL_UNDERVOLTAGE, 11),
)


def _words(**values: int) -> dict[int, bytes]:
    return {
        int(tag[1:], 16): value.to_bytes(2, "big", signed=value < 0)
        for tag, value in values.items()
    }


SETTINGS: Final[Mapping[int, bytes]] = {
    0x86: b"\x02",
    **_words(x8E=4250, x8F=2800, x90=4250, x91=4150, x92=5, x93=2800, x94=3000, x95=5),
    **_words(x96=300, x97=40, x98=30, x99=10, x9A=30, x9B=3300, x9C=10),
    _BALANCE_TAG: b"\x01",
    **_words(x9E=90, x9F=70, xA0=100, xA1=100, xA2=20, xA3=65, xA4=65),
    **_words(xA5=-20, xA6=-10, xA7=-20, xA8=-10, xAD=1000, xB0=10),
    0xAE: b"\x01",
    0xAF: b"\x01",
    _LOW_SOC_TAG: b"\x0a",
    _SECRET_TAG: b"123456\0\0\0\0",
    0xB3: b"\x00",
    0xB4: b"CB-00417",
    0xB5: b"2304",
    0xB6: bytes(4),
    0xB7: b"11.XW_S11.26___",
    0xB8: b"\x00",
    0xB9: bytes(4),
    0xBA: b"MC4170000000202405110417",
    _VERSION_TAG: b"\x01",
}


class _Request(NamedTuple):
    terminal: bytes
    command: int
    body: bytes


class JkController:
    """The board's state machine. Pure: bytes and the time in, replies out.

    `settings` are values by tag, in the wire's bytes, over those of SETTINGS. A board that
    `needs_password` takes writes only after it.
    """

    baud = 115_200

    def __init__(
        self,
        pack: Pack,
        *,
        faults: Faults | None = None,
        settings: Mapping[int, bytes] | None = None,
        needs_password: bool = False,
    ) -> None:
        self.pack = pack
        self.faults = faults or Faults()
        self._dials = Dials(pack)
        self._settings = {**SETTINGS, **(settings or {})}
        self._locked = needs_password
        self._hearing = Hearing(_first_request)
        self._shown: PackSample | None = None

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        self._dials.set(values)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return a reply for each request they complete.

        A request that was cut off is forgotten once the line was quiet for 100 ms.
        """
        answers = (
            (request, self._answer(request, now_s)) for request in self._hearing.take(data, now_s)
        )
        return [_frame(request, body) for request, body in answers if body is not None]

    def _answer(self, request: _Request, now_s: float) -> bytes | None:
        self.pack.advance(now_s)
        if request.command == _READ_ALL:
            values = sorted(self._values(now_s).items())
            return b"".join(bytes((tag,)) + value for tag, value in values)
        if request.command == _READ and len(request.body) == 1:
            value = self._values(now_s).get(request.body[0])
            return None if value is None else request.body + value
        if request.command == _WRITE and request.body and not self._locked:
            return self._written(request.body[0], request.body[1:])
        if request.command == _PASSWORD and _padded(request.body) == self._settings[_SECRET_TAG]:
            self._locked = False
            return b"\0"
        return b"\0" if request.command == _ACTIVATE else None

    def _written(self, tag: int, value: bytes) -> bytes | None:
        if tag in (_CHARGE_TAG, _DISCHARGE_TAG):
            if value not in (b"\0", b"\1"):
                return None
            if not self.faults.strikes("fet_ignored"):
                self._switch(tag, on=value == b"\1")
        elif len(self._settings.get(tag, b"")) == len(value) > 0:
            self._settings[tag] = value
        else:
            return None
        return bytes((tag,))

    def _switch(self, tag: int, *, on: bool) -> None:
        if tag == _CHARGE_TAG:
            self.pack.charge_allowed = on
        else:
            self.pack.discharge_allowed = on

    def _sample(self, now_s: float) -> PackSample:
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self._dials.apply(self.pack.sample())
        if self.faults.strikes("sensor_lost"):
            return replace(self._shown, temperatures_c=(None, *self._shown.temperatures_c[1:]))
        return self._shown

    def _values(self, now_s: float) -> dict[int, bytes]:
        sample = self._sample(now_s)
        cells = b"".join(
            struct.pack(">BH", number, _held(cell_v * 1000))
            for number, cell_v in enumerate(sample.cells_v, 1)
        )
        sensors = (*sample.temperatures_c, *(None,) * _SENSORS)[:_SENSORS]
        battery, box, mos = map(_temperature, sensors)
        full = _held(sample.full_ah, 4)
        status = sample.charge_fet | sample.discharge_fet << 1 | bool(sample.balancing_bits) << 2
        return {
            **self._settings,
            0x79: bytes((len(cells),)) + cells,
            0x80: mos,
            0x81: box,
            0x82: battery,
            0x83: struct.pack(">H", _held(sample.voltage_v * 100)),
            0x84: struct.pack(">H", self._current(sample.current_a)),
            0x85: bytes((round(sample.soc_pct),)),
            0x87: struct.pack(">H", _held(sample.cycles)),
            0x89: struct.pack(">I", _held(sample.cycles * sample.full_ah, 4)),
            0x8A: struct.pack(">H", len(sample.cells_v)),
            0x8B: struct.pack(">H", self._alarms(sample)),
            0x8C: struct.pack(">H", status),
            0xA9: bytes((len(sample.cells_v),)),
            0xAA: struct.pack(">I", full),
            _CHARGE_TAG: bytes((self.pack.charge_allowed,)),
            _DISCHARGE_TAG: bytes((self.pack.discharge_allowed,)),
        }

    def _current(self, amps: float) -> int:
        if self._settings[_VERSION_TAG] == b"\0":
            return _held(10_000 - amps * 100)
        hundredths = min(_held(abs(amps) * 100), 0x7FFF)
        return hundredths | 0x8000 if amps > 0 and hundredths else hundredths

    def _alarms(self, sample: PackSample) -> int:
        low = sample.soc_pct < self._settings[_LOW_SOC_TAG][0]
        tripped = (1 << bit for what, bit in _ALARM_BITS if sample.protection_bits & what)
        return low | sum(tripped)


def _first_request(pending: bytes) -> tuple[_Request | None, int]:
    """The request at the head, and how many bytes to drop; 0 means wait for more."""
    whole = len(pending) >= _HEAD_BYTES
    length = int.from_bytes(pending[2:4], "big") if whole else _LEAST_LEN
    if not _HEAD.startswith(pending[:2]) or not _LEAST_LEN <= length <= _MOST_LEN:
        return None, 1
    size = length + 2
    if not whole or len(pending) < size:
        return None, 0
    summed = sum(pending[: size - 4]).to_bytes(4, "big")
    if pending[size - 5] != _STOP[0] or pending[size - 4 : size] != summed:
        return None, 1
    if pending[10] != _ASKS:
        return None, size
    return _Request(pending[4:8], pending[8], pending[11 : size - 9]), size


def _frame(request: _Request, body: bytes) -> bytes:
    inside = request.terminal + bytes((request.command, _BMS, _ANSWERS)) + body + bytes(4)
    frame = _HEAD + (len(inside) + 7).to_bytes(2, "big") + inside + _STOP
    return frame + sum(frame).to_bytes(2, "big")


def _padded(password: bytes) -> bytes:
    return password.ljust(10, b"\0")


def _temperature(celsius: float | None) -> bytes:
    """Above zero as it is, below zero from 100 on."""
    if celsius is None:
        return _LOST_SENSOR
    whole = max(min(round(celsius), 100), -40)
    return (whole if whole >= 0 else 100 - whole).to_bytes(2, "big")


def _held(value: float, size: int = 2) -> int:
    return min(max(round(value), 0), (1 << 8 * size) - 1)
