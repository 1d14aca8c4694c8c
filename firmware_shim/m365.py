"""A Xiaomi M365's ESC on the dashboard's wire, byte for byte: questions in, replies out.

    55 AA | L | ADDR | CMD | REG | PAYLOAD[L - 2] | CHK u16

CHK = 0xFFFF XOR (sum of the bytes from L to the last payload byte), little-endian like all numbers.
A read (CMD 01) asks for a number of bytes from a register on and is answered from address 23 with
the same CMD and REG; a write (02, 03) is not answered. Like the real firmware it locks at any
speed: whoever must not lock while it rolls has to look first.
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from firmware_shim.checks import Check, checked, flag, number, whole
from firmware_shim.faults import Faults

_START: Final = b"\x55\xaa"
_HEAD_BYTES: Final = 6
_OVERHEAD_BYTES: Final = 6
_SHORTEST_L: Final = 2
_TO_ESC: Final = 0x20
_FROM_ESC: Final = 0x23
_READ: Final = 0x01
_WRITES: Final = (0x02, 0x03)
_QUIET_S: Final = 0.1
_WORD_BYTES: Final = 2

_LOCK: Final = 0x70
_UNLOCK: Final = 0x71
_MODE: Final = 0x75
_SETTINGS: Final = {
    0x72: 0,  # speed limit on
    0x73: 20_000,  # limit, metres an hour
    0x74: 10_000,  # limit in eco mode
    0x7B: 0,  # regeneration
    0x7C: 0,  # cruise
    0x7D: 0,  # tail light, 2 = on
}
_MODES: Final = range(3)
_BLOCK: Final = 0xB0
_LOCKED: Final = 1 << 1
_FIRMWARE: Final = 0x0134
_SERIAL: Final = b"16133/00541234"
_PIN: Final = b"000000"
_RANGE_KM_A_PCT: Final = 0.3
_WORD_BITS: Final = 16


@dataclass(slots=True)
class Ride:
    """What the dials show: a parked and unlocked scooter, unless told otherwise.

    `speed_kmh` is positive forwards; `silent` is an ESC that says nothing and does nothing.
    """

    locked: bool = False
    speed_kmh: float = 0.0
    mode: int = 0
    battery_pct: int = 80
    error: int = 0
    warning: int = 0
    odometer_m: float = 2186.0
    trip_m: float = 0.0
    average_kmh: float = 0.0
    frame_temp_c: float = 28.0
    battery_temp_c: float = 27.0
    supply_v: float = 38.5
    silent: bool = False


class _Request(NamedTuple):
    address: int
    command: int
    register: int
    data: bytes


class M365Esc:
    """The ESC's state machine. Pure but for the file of moves: bytes and the time in, bytes out.

    `moved` counts what was written to the lock's registers (lock, unlock), obeyed or not;
    `moves` gets one JSON line each.
    """

    baud = 115_200
    one_wire: Literal[True] = True

    def __init__(self, *, faults: Faults | None = None, moves: Path | None = None) -> None:
        self.faults = faults or Faults()
        self.ride = Ride()
        self.moved: Counter[str] = Counter()
        self._moves = moves
        self._settings = dict(_SETTINGS)
        self._shown: dict[int, int] = {}
        self._pending = b""
        self._heard_s = -math.inf
        self._booted_s: float | None = None
        self._now_s = 0.0

    @property
    def moves(self) -> int:
        """How often the lock's registers were written."""
        return self.moved["lock"] + self.moved["unlock"]

    def set(self, values: Mapping[str, Any]) -> None:
        """Turn the dials, None lets go. Raises ValueError and then changes nothing.

        `locked` is as somebody else's telephone would do it: no write is counted.
        """
        for name, value in checked(values, _DIALS, Ride()).items():
            setattr(self.ride, name, value)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the replies to the questions they complete.

        A request that was cut off is forgotten once the line was quiet for 100 ms.
        """
        if now_s - self._heard_s > _QUIET_S:
            self._pending = b""
        self._heard_s = now_s
        self._pending += data
        self._advance(now_s)
        replies: list[bytes] = []
        while True:
            request, size = _first_request(self._pending)
            self._pending = self._pending[size:]
            if request is not None:
                replies += self._answer(request)
            elif not size:
                return replies

    def _advance(self, now_s: float) -> None:
        """Let the wheel turn."""
        if self._booted_s is None:
            self._booted_s = self._now_s = now_s
        metres = abs(self.ride.speed_kmh) / 3.6 * (now_s - self._now_s)
        self.ride.odometer_m += metres
        self.ride.trip_m += metres
        self._now_s = now_s

    def _answer(self, request: _Request) -> list[bytes]:
        if self.ride.silent or request.address != _TO_ESC:
            return []
        if request.command == _READ and request.data:
            size = request.data[0]
            return [_frame(_FROM_ESC, _READ, request.register, self._read(request.register, size))]
        if request.command in _WRITES and len(request.data) == _WORD_BYTES:
            self._write(request.register, int.from_bytes(request.data, "little"))
        return []

    def _read(self, register: int, size: int) -> bytes:
        if not self._shown or not self.faults.strikes("stuck"):
            self._shown = self._words()
        count = (size + 1) // _WORD_BYTES
        words = (self._shown.get(register + at, 0) for at in range(count))
        return b"".join(word.to_bytes(_WORD_BYTES, "little") for word in words)[:size]

    def _write(self, register: int, value: int) -> None:
        if register in (_LOCK, _UNLOCK) and value == 1:
            self._move("lock" if register == _LOCK else "unlock")
        if self.faults.strikes("fet_ignored"):
            return
        if register in (_LOCK, _UNLOCK) and value == 1:
            self.ride.locked = register == _LOCK
        elif register == _MODE and value in _MODES:
            self.ride.mode = value
        elif register in self._settings:
            self._settings[register] = value

    def _move(self, what: str) -> None:
        self.moved[what] += 1
        if self._moves is not None:
            line = json.dumps({"move": what, "uptime_ms": round(self._uptime_s * 1000)})
            with self._moves.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    @property
    def _uptime_s(self) -> float:
        return self._now_s - (self._now_s if self._booted_s is None else self._booted_s)

    def _words(self) -> dict[int, int]:
        """Return every register that holds something, as 16-bit words."""
        ride = self.ride
        flags = _LOCKED if ride.locked else 0
        odometer = int(ride.odometer_m) & 0xFFFF_FFFF
        words = {
            **_text(0x10, _SERIAL),
            **_text(0x17, _PIN),
            0x1A: _FIRMWARE,
            0x1B: ride.error,
            0x1C: ride.warning,
            0x1D: flags,
            0x1F: ride.mode,
            0x22: ride.battery_pct,
            0x25: _u16(ride.battery_pct * _RANGE_KM_A_PCT * 100),
            0x26: _word(ride.speed_kmh * 10),
            0x29: odometer & 0xFFFF,
            0x2A: odometer >> _WORD_BITS,
            0x2F: _u16(ride.trip_m / 10),
            0x3A: _u16(self._uptime_s),
            0x3E: _word(ride.frame_temp_c * 10),
            0x3F: _word(ride.battery_temp_c * 10),
            0x40: _word(ride.battery_temp_c * 10),
            0x47: _u16(ride.supply_v * 100),
            **self._settings,
            _MODE: ride.mode,
        }
        block = struct.pack(
            "<HHHHHHHIHHH8x",
            ride.error,
            ride.warning,
            flags,
            ride.mode,
            ride.battery_pct,
            _word(ride.speed_kmh * 1000),
            _u16(ride.average_kmh * 1000),
            odometer,
            _u16(ride.trip_m / 10),
            _u16(self._uptime_s),
            _word(ride.frame_temp_c * 10),
        )
        return {**words, **_text(_BLOCK, block)}


def _first_request(pending: bytes) -> tuple[_Request | None, int]:
    """The request at the head, and how many bytes to drop; 0 means wait for more."""
    if pending[:2] != _START[: len(pending)]:
        return None, 1
    if len(pending) < _HEAD_BYTES:
        return None, 0
    size = _OVERHEAD_BYTES + pending[2]
    if pending[2] < _SHORTEST_L:
        return None, 1
    if len(pending) < size:
        return None, 0
    if pending[size - 2 : size] != _check_bytes(pending[2 : size - 2]):
        return None, 1
    return _Request(pending[3], pending[4], pending[5], pending[6 : size - 2]), size


def _frame(address: int, command: int, register: int, data: bytes) -> bytes:
    body = bytes((len(data) + 2, address, command, register)) + data
    return _START + body + _check_bytes(body)


def _check_bytes(body: bytes) -> bytes:
    return ((sum(body) & 0xFFFF) ^ 0xFFFF).to_bytes(_WORD_BYTES, "little")


def _text(register: int, data: bytes) -> dict[int, int]:
    return {
        register + at // _WORD_BYTES: int.from_bytes(data[at : at + _WORD_BYTES], "little")
        for at in range(0, len(data), _WORD_BYTES)
    }


def _word(value: float) -> int:
    """Two's complement; what does not fit wraps, as it does in the ESC."""
    return round(value) & 0xFFFF


def _u16(value: float) -> int:
    return min(max(round(value), 0), 0xFFFF)


_DIALS: Final[Mapping[str, Check]] = {
    "speed_kmh": number(-50, 70),
    "locked": flag,
    "mode": whole(2),
    "battery_pct": whole(100),
    "error": whole(0xFFFF),
    "warning": whole(0xFFFF),
    "odometer_m": number(0, 1e9),
    "trip_m": number(0, 655_350),
    "average_kmh": number(0, 65),
    "frame_temp_c": number(-60, 200),
    "battery_temp_c": number(-60, 200),
    "supply_v": number(0, 655),
    "silent": flag,
}
