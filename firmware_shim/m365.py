"""A scooter's ESC on the dashboard's wire: what it reads, what it does; the wire: `scooter_bus`.

Like the real firmware it locks at any speed: whoever must not lock while it rolls has to look
first. A Ninebot's has the same registers in another framing.
"""

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from firmware_shim.checks import Check, checked, flag, number, whole
from firmware_shim.faults import Faults
from firmware_shim.scooter_bus import (
    ESC,
    Framing,
    XiaomiFraming,
    from_words,
    hearing,
    obey,
    to_words,
    u16,
    word,
)

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


class M365Esc:
    """The ESC's state machine. Pure but for the file of moves: bytes and the time in, bytes out.

    `battery` are the registers in which it passes on what its battery says. `moved` counts what
    was written to the lock's registers (lock, unlock), obeyed or not; `moves` gets one JSON line
    each.
    """

    baud = 115_200
    one_wire: Literal[True] = True
    address = ESC

    def __init__(
        self,
        *,
        faults: Faults | None = None,
        moves: Path | None = None,
        framing: Framing | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.ride = Ride()
        self.moved: Counter[str] = Counter()
        self._moves = moves
        self._settings = dict(_SETTINGS)
        self._shown: dict[int, int] = {}
        self.battery: dict[int, int] = {}
        self._framing = framing or XiaomiFraming()
        self._hearing = hearing(self._framing)
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
        for name, value in checked(values, DIALS, Ride()).items():
            setattr(self.ride, name, value)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes in any slicing; return the replies to the questions they complete."""
        self.advance(now_s)
        framing = self._framing
        requests = self._hearing.take(data, now_s)
        if self.ride.silent:
            return []
        return [reply for request in requests for reply in obey(self, request, framing)]

    def advance(self, now_s: float) -> None:
        """Let the wheel turn."""
        if self._booted_s is None:
            self._booted_s = self._now_s = now_s
        metres = abs(self.ride.speed_kmh) / 3.6 * (now_s - self._now_s)
        self.ride.odometer_m += metres
        self.ride.trip_m += metres
        self._now_s = now_s

    def read(self, register: int, size: int) -> bytes:
        """Return `size` bytes from a register on."""
        if not self._shown or not self.faults.strikes("stuck"):
            self._shown = self._words()
        return from_words(self._shown, register, size)

    def write(self, register: int, value: int) -> None:
        """Put a word into a register."""
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
            **to_words(0x10, _SERIAL),
            **to_words(0x17, _PIN),
            0x1A: _FIRMWARE,
            0x1B: ride.error,
            0x1C: ride.warning,
            0x1D: flags,
            0x1F: ride.mode,
            0x22: ride.battery_pct,
            0x25: u16(ride.battery_pct * _RANGE_KM_A_PCT * 100),
            0x26: word(ride.speed_kmh * 10),
            0x29: odometer & 0xFFFF,
            0x2A: odometer >> _WORD_BITS,
            0x2F: u16(ride.trip_m / 10),
            0x3A: u16(self._uptime_s),
            0x3E: word(ride.frame_temp_c * 10),
            0x3F: word(ride.battery_temp_c * 10),
            0x40: word(ride.battery_temp_c * 10),
            0x47: u16(ride.supply_v * 100),
            **self.battery,
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
            word(ride.speed_kmh * 1000),
            u16(ride.average_kmh * 1000),
            odometer,
            u16(ride.trip_m / 10),
            u16(self._uptime_s),
            word(ride.frame_temp_c * 10),
        )
        return {**words, **to_words(_BLOCK, block)}


DIALS: Final[Mapping[str, Check]] = {
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
