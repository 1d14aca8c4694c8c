"""A JBD smart BMS, byte for byte: requests in, replies out, over a pack that lives on.

    request  DD | A5 read, 5A write | REG    | LEN | DATA | CHK u16 | 77
    reply    DD | REG | 00 ok, 80 refused    | LEN | DATA | CHK u16 | 77

CHK = 0x10000 - sum(bytes from index 2 to the last data byte), 16 bits, big-endian. A request with a
bad checksum or end is not answered. In numbered mode the n-th reply to 0x03 carries
cycles * 65536 + remaining (10 mAh) = n, counted from 0.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from firmware_shim.dials import Dials, checked
from firmware_shim.faults import Faults
from firmware_shim.hearing import Hearing
from firmware_shim.jbd_config import DEFAULTS
from firmware_shim.pack import Pack, PackSample, Protection
from firmware_shim.replay import Replay

_START: Final = 0xDD
_END: Final = 0x77
_READ: Final = 0xA5
_WRITE: Final = 0x5A
_OK: Final = 0x00
_REFUSED: Final = 0x80
_HEADER_BYTES: Final = 4
_FRAME_BYTES: Final = 7
_WORD_BYTES: Final = 2
_SERIAL_BYTES: Final = 30
_LOG_IN: Final = 0x06
_BOTH_FETS: Final = 0b11
_MADE_ON: Final = 22 << 9 | 3 << 5 | 28
_SOFTWARE: Final = 0x80
_FETS_LOCKED: Final = 1 << 12
_FACTORY_KEY: Final = b"\x56\x78"
_SAVE: Final = b"\x28\x28"
_NO_PASSWORD: Final = bytes(6)
_HUMIDITY_PCT: Final = 45
_EVENTS: Final = (
    Protection.SHORT_CIRCUIT,
    None,
    Protection.DISCHARGE_OVERCURRENT,
    Protection.CELL_OVERVOLTAGE,
    Protection.CELL_UNDERVOLTAGE,
    Protection.CHARGE_OVERTEMP,
    None,
    Protection.DISCHARGE_OVERTEMP,
    None,
    None,
    None,
    None,
)


class Request(NamedTuple):
    """What the master wants."""

    write: bool
    register: int
    data: bytes


class JbdController:
    """The controller's state machine. Pure: bytes and the time in, replies out."""

    baud = 9600

    def __init__(
        self,
        pack: Pack,
        *,
        faults: Faults | None = None,
        numbered: bool = False,
        replay: Replay | None = None,
        hardware: str = "JBD-SP10S009-L10S-30A-B-U",
        password: bytes = _NO_PASSWORD,
        extended: bool = False,
    ) -> None:
        self.pack = pack
        self.faults = faults or Faults()
        self._dials = Dials(pack)
        self._numbered = numbered
        self._replay = replay or Replay()
        for values in self._replay.changes:
            checked(values)
        self._hardware = hardware
        self.serial = ""
        self._password = password
        self._extended = extended
        self._hearing = Hearing(_first_request)
        self._number = 0
        self._shown: PackSample | None = None
        self._logged_in = password == _NO_PASSWORD
        self._config = dict(DEFAULTS)
        self._draft: dict[int, int] | None = None
        self._reads: dict[int, Callable[[float], bytes]] = {
            0x03: self._basic,
            0x04: self._cells,
            0x05: lambda _: self._hardware.encode("ascii"),
            0xA2: lambda _: bytes((len(self.serial),)) + self.serial.encode("ascii"),
            0xAA: lambda _: struct.pack(">12H", *(self._count(event) for event in _EVENTS)),
        }
        self._writes: dict[int, Callable[[bytes], bool]] = {
            0x00: self._enter_factory,
            0x01: self._leave_factory,
            _LOG_IN: self._log_in,
            0x0A: self._maintain,
            0xE0: self._set_charge,
            0xE1: self._switch_fets,
        }

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing.

        `serial` is what is printed on the pack: another one is another pack.
        """
        rest = {name: value for name, value in values.items() if name != "serial"}
        serial = _serial(values["serial"]) if "serial" in values else self.serial
        self._dials.set(rest)
        self.serial = serial

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return a reply for each request they complete.

        A request that was cut off is forgotten once the line was quiet for 100 ms.
        """
        return [self._answer(request, now_s) for request in self._hearing.take(data, now_s)]

    def _answer(self, request: Request, now_s: float) -> bytes:
        self.pack.advance(now_s)
        for values in self._replay.due(now_s):
            self.set(values)
        captured = None if request.write else self._replay.reply(request.register)
        if captured is not None:
            return captured
        data = self._written(request) if request.write else self._read(request.register, now_s)
        return _reply(request.register, _REFUSED if data is None else _OK, data or b"")

    def _read(self, register: int, now_s: float) -> bytes | None:
        if register in self._reads:
            return self._reads[register](now_s)
        if self._draft is not None and register in self._draft:
            return self._draft[register].to_bytes(2, "big")
        return None

    def _written(self, request: Request) -> bytes | None:
        if not self._logged_in and request.register != _LOG_IN:
            return None
        handle = self._writes.get(request.register)
        if handle is not None:
            return b"" if handle(request.data) else None
        if (
            self._draft is None
            or request.register not in self._draft
            or len(request.data) != _WORD_BYTES
        ):
            return None
        self._draft[request.register] = int.from_bytes(request.data, "big")
        return b""

    def _sample(self, now_s: float) -> PackSample:
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self._dials.apply(self.pack.sample())
        if self.faults.strikes("sensor_lost"):
            return replace(self._shown, temperatures_c=(None, *self._shown.temperatures_c[1:]))
        return self._shown

    def _basic(self, now_s: float) -> bytes:
        sample = self._sample(now_s)
        remaining, cycles = _u16(sample.remaining_ah * 100), _u16(sample.cycles)
        if self._numbered:
            cycles, remaining = self._number >> 16 & 0xFFFF, self._number & 0xFFFF
            self._number += 1
        locked = not (self.pack.charge_allowed and self.pack.discharge_allowed)
        full = _u16(sample.full_ah * 100)
        basic = struct.pack(
            ">HhHHHHHHHBBBBB",
            _u16(sample.voltage_v * 100),
            _s16(sample.current_a * 100),
            remaining,
            full,
            cycles,
            _MADE_ON,
            sample.balancing_bits & 0xFFFF,
            sample.balancing_bits >> 16,
            sample.protection_bits | (_FETS_LOCKED if locked else 0),
            _SOFTWARE,
            round(sample.soc_pct),
            sample.charge_fet | sample.discharge_fet << 1,
            len(sample.cells_v),
            len(sample.temperatures_c),
        )
        basic += b"".join(_kelvin_tenths(celsius) for celsius in sample.temperatures_c)
        if self._extended:
            basic += struct.pack(">BHHHH", _HUMIDITY_PCT, 0, full, remaining, 0)
        return basic

    def _cells(self, now_s: float) -> bytes:
        cells = self._sample(now_s).cells_v
        return b"".join(_u16(cell_v * 1000).to_bytes(2, "big") for cell_v in cells)

    def _count(self, event: Protection | None) -> int:
        return 0 if event is None else _u16(self.pack.trips[event])

    def _enter_factory(self, data: bytes) -> bool:
        if data != _FACTORY_KEY:
            return False
        self._draft = dict(self._config)
        return True

    def _leave_factory(self, data: bytes) -> bool:
        if data not in (b"\0\0", _SAVE):
            return False
        if data == _SAVE:
            self._config = self._draft or self._config
            self.pack.trips.clear()
        self._draft = None
        return True

    def _log_in(self, data: bytes) -> bool:
        self._logged_in = data == bytes((len(self._password),)) + self._password
        return self._logged_in

    def _maintain(self, data: bytes) -> bool:
        if data == b"\x01\x00":
            self.pack.set_charge(self.pack.design.capacity_ah)
        elif data == b"\x04\x00":
            self.pack.clear()
        return data in (b"\x01\x00", b"\x04\x00", b"\x07\x00")

    def _set_charge(self, data: bytes) -> bool:
        if len(data) != _WORD_BYTES:
            return False
        self.pack.set_charge(int.from_bytes(data, "big") / 100)
        return True

    def _switch_fets(self, data: bytes) -> bool:
        if len(data) != _WORD_BYTES or data[0] or data[1] > _BOTH_FETS:
            return False
        if not self.faults.strikes("fet_ignored"):
            self.pack.charge_allowed = not data[1] & 1
            self.pack.discharge_allowed = not data[1] & 2
        return True


def _serial(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value.isascii() and len(value) <= _SERIAL_BYTES:
        return value
    raise ValueError(f"serial must be ASCII text of at most {_SERIAL_BYTES}, not {value!r}.")


def _first_request(pending: bytes) -> tuple[Request | None, int]:
    """The request at the head, and how many bytes to drop; 0 means wait for more."""
    if pending[0] != _START or (len(pending) > 1 and pending[1] not in (_READ, _WRITE)):
        return None, 1
    if len(pending) < _HEADER_BYTES or len(pending) < _FRAME_BYTES + pending[3]:
        return None, 0
    size = _FRAME_BYTES + pending[3]
    body = pending[2 : size - 3]
    if pending[size - 1] != _END or _check_bytes(body) != pending[size - 3 : size - 1]:
        return None, 1
    return Request(pending[1] == _WRITE, pending[2], body[2:]), size


def _reply(register: int, status: int, data: bytes) -> bytes:
    body = bytes((status, len(data))) + data
    return bytes((_START, register)) + body + _check_bytes(body) + bytes((_END,))


def _check_bytes(body: bytes) -> bytes:
    return ((0x10000 - sum(body)) & 0xFFFF).to_bytes(2, "big")


def _kelvin_tenths(celsius: float | None) -> bytes:
    """A lost sensor reads as zero."""
    return _u16(0 if celsius is None else celsius * 10 + 2731).to_bytes(2, "big")


def _u16(value: float) -> int:
    return min(max(round(value), 0), 0xFFFF)


def _s16(value: float) -> int:
    return min(max(round(value), -0x8000), 0x7FFF)
