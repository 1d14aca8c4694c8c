"""The dock unit of docs/dock-unit.md, byte for byte: a charger with its meter, bay and lamp.

    4D 43 | LEN | SEQ | TYPE | PAYLOAD | CRC u16

CRC-16/CCITT-FALSE from LEN to the last payload byte, big-endian like every number.
"""

import binascii
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from firmware_shim.checks import Check, checked, flag, number, whole
from firmware_shim.faults import Faults
from firmware_shim.hearing import Hearing
from firmware_shim.pack import Pack

_MAGIC: Final = b"MC"
_HEAD_BYTES: Final = 5
_CRC_BYTES: Final = 2
_MAX_PAYLOAD: Final = 64
_VERSION: Final = 1
_SERIAL_BYTES: Final = 24

_READ: Final = 0x20
_WHO: Final = 0x21
_LED: Final = 0x22
_REPLY: Final = 0x80
_NAK: Final = 0x83
_UNKNOWN: Final = 0x03
_BAD_ARGS: Final = 0x04

FREE: Final = 0
OCCUPIED: Final = 1
CHARGING: Final = 2
FINISHED: Final = 3
FAULT: Final = 4
OFF: Final = 0
GREEN: Final = 1
BLUE: Final = 2
RED: Final = 3
WHITE: Final = 4
_COLOURS: Final = range(5)

_OVERCURRENT: Final = 1 << 1
_TRIP_S: Final = 30.0
_FULL_PCT: Final = 99.9
_EFFICIENCY: Final = 0.92
_STANDBY_W: Final = 2.0
_HOUR_S: Final = 3600.0
_NO_CURRENT: Final = 0x7FFF
_KELVIN_TENTHS: Final = 2731


@dataclass(slots=True)
class Bay:
    """What a hand does at the dock, and what is pinned.

    `serial` is the pack's in the bay. `faults` are bits as the protocol has them, `charge_a` is
    what the charger gives. A `silent` unit says nothing. Voltage, current, temperature and energy
    show the pack's own until they are pinned.
    """

    bay_occupied: bool = False
    cable: bool = False
    serial: str = "PK-0001"
    faults: int = 0
    charge_a: float = 4.0
    silent: bool = False
    voltage_v: float | None = None
    current_a: float | None = None
    temperature_c: float | None = None
    energy_wh: int | None = None


class DockUnit:
    """The unit's state machine. Pure: bytes and the time in, replies out."""

    baud = 115_200

    def __init__(
        self,
        pack: Pack | None = None,
        *,
        faults: Faults | None = None,
        hardware: str = "MC-DU1 1.0",
    ) -> None:
        self.pack = pack or Pack(soc_pct=40.0)
        self.faults = faults or Faults()
        self.bay = Bay()
        self.led = OFF
        self.lit: list[int] = []
        self._hardware = hardware.encode("ascii")
        self._hearing = Hearing(_first_request)
        self._now_s: float | None = None
        self._energy_wh = 0.0
        self._tripped_until_s = -math.inf
        self._shown = b""

    def set(self, values: Mapping[str, Any]) -> None:
        """Turn the dials, None lets go. Raises ValueError and then changes nothing.

        `soc_pct` is the charge of the pack in the bay, `energy_wh` what the meter has counted.
        """
        found = checked(values, _DIALS, _Defaults())
        soc_pct = found.pop("soc_pct", None)
        if soc_pct is not None:
            self.pack.set_charge(self.pack.design.capacity_ah * soc_pct / 100)
        for name, value in found.items():
            setattr(self.bay, name, value)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the replies to the requests they complete."""
        self._advance(now_s)
        replies = [self._answer(*request) for request in self._hearing.take(data, now_s)]
        return [] if self.bay.silent else replies

    def state(self) -> int:
        """Return what the charger is doing."""
        if self._faults():
            return FAULT
        if not self.bay.bay_occupied:
            return FREE
        if not self.bay.cable:
            return OCCUPIED
        return FINISHED if self.pack.soc_pct >= _FULL_PCT else CHARGING

    def _advance(self, now_s: float) -> None:
        """Let the charger charge and the meter count."""
        if self.faults.strikes("protection_trip"):
            self._tripped_until_s = now_s + _TRIP_S
        passed_s = 0.0 if self._now_s is None else max(now_s - self._now_s, 0.0)
        self._now_s = now_s
        self._energy_wh += self._power_w() * passed_s / _HOUR_S
        self.pack.demand_a = self.bay.charge_a if self.state() == CHARGING else 0.0
        self.pack.advance(now_s)

    def _faults(self) -> int:
        tripped = self._now_s is not None and self._now_s < self._tripped_until_s
        return self.bay.faults | (_OVERCURRENT if tripped else 0)

    def _power_w(self) -> float:
        if self.state() != CHARGING:
            return _STANDBY_W
        return sum(self.pack.sample().cells_v) * self.pack.current_a / _EFFICIENCY + _STANDBY_W

    def _answer(self, seq: int, kind: int, payload: bytes) -> bytes:
        known: dict[int, tuple[int, Callable[[bytes], bytes]]] = {
            _READ: (0, lambda _: self._meter()),
            _WHO: (0, lambda _: bytes((_VERSION,)) + self._hardware),
            _LED: (1, self._light),
        }
        if kind not in known:
            return _frame(seq, _NAK, bytes((kind, _UNKNOWN)))
        size, answer = known[kind]
        if len(payload) != size or (kind == _LED and payload[0] not in _COLOURS):
            return _frame(seq, _NAK, bytes((kind, _BAD_ARGS)))
        return _frame(seq, kind | _REPLY, answer(payload))

    def _light(self, payload: bytes) -> bytes:
        if not self.faults.strikes("fet_ignored"):
            self.led = payload[0]
            self.lit.append(self.led)
        return payload

    def _meter(self) -> bytes:
        if not self._shown or not self.faults.strikes("stuck"):
            self._shown = self._measure()
        return self._shown

    def _measure(self) -> bytes:
        bay, pack, state = self.bay, self.pack.sample(), self.state()
        there = bay.bay_occupied
        volts = bay.voltage_v if bay.voltage_v is not None else pack.voltage_v if there else 0.0
        amps = bay.current_a if bay.current_a is not None else pack.current_a
        celsius = bay.temperature_c if bay.temperature_c is not None else self.pack.temperature_c
        kelvins = round(celsius * 10) + _KELVIN_TENTHS
        energy_wh = self._energy_wh if bay.energy_wh is None else bay.energy_wh
        serial = bay.serial.encode("ascii") if there else b""
        return (
            struct.pack(
                ">BBHHhHIHBBB",
                state,
                bay.bay_occupied | bay.cable << 1 | (state == CHARGING) << 2,
                self._faults(),
                round(volts * 100),
                min(round(amps * 100), _NO_CURRENT - 1),
                round(self._power_w()),
                int(energy_wh) & 0xFFFFFFFF,
                0xFFFF if self.faults.strikes("sensor_lost") else kelvins,
                self.led,
                round(pack.soc_pct) if there else 0xFF,
                len(serial),
            )
            + serial
        )


@dataclass(slots=True)
class _Defaults(Bay):
    soc_pct: float | None = None


def _first_request(pending: bytes) -> tuple[tuple[int, int, bytes] | None, int]:
    """The request at the head, and how many bytes to drop; 0 means wait for more."""
    if not pending.startswith(_MAGIC[: len(pending)]):
        return None, 1
    if len(pending) < _HEAD_BYTES:
        return None, 0
    length = pending[2]
    if length > _MAX_PAYLOAD:
        return None, 1
    end = _HEAD_BYTES + length
    if len(pending) < end + _CRC_BYTES:
        return None, 0
    if _crc(pending[2:end]) != pending[end : end + _CRC_BYTES]:
        return None, 1
    return (pending[3], pending[4], pending[_HEAD_BYTES:end]), end + _CRC_BYTES


def _frame(seq: int, kind: int, payload: bytes) -> bytes:
    body = bytes((len(payload), seq, kind)) + payload
    return _MAGIC + body + _crc(body)


def _crc(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0xFFFF).to_bytes(_CRC_BYTES, "big")


def _text(name: str, value: object) -> str:
    if isinstance(value, str) and value.isascii() and len(value) <= _SERIAL_BYTES:
        return value
    raise ValueError(f"{name} must be ASCII text of at most {_SERIAL_BYTES}, not {value!r}.")


_DIALS: Final[Mapping[str, Check]] = {
    "bay_occupied": flag,
    "cable": flag,
    "serial": _text,
    "soc_pct": number(0, 100),
    "faults": whole(0xFFFF),
    "charge_a": number(0, 300),
    "voltage_v": number(0, 655.34),
    "current_a": number(-327.68, 327.66),
    "temperature_c": number(-60, 200),
    "energy_wh": whole(0xFFFFFFFE),
    "silent": flag,
}
