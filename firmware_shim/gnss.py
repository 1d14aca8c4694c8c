"""A GNSS receiver: RMC and GGA once a second, NMEA 0183, of a vehicle that moves when told to.

    $TTSSS,f1,...*HH CR LF, HH = XOR of the characters between $ and *

It has no clock but the port's: its date is `began` and the seconds since. It hears nothing.
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from firmware_shim.checks import Check, checked, flag, number
from firmware_shim.faults import Faults

BEGAN: Final = datetime(2026, 12, 1, 12, tzinfo=UTC)
EVERY_S: Final = 1.0
_KMH_A_KNOT: Final = 1.852
_EARTH_M: Final = 6_371_000.0
_SATELLITES: Final = 11
_ALTITUDE_M: Final = 34.0
_SEPARATION_M: Final = 39.6


@dataclass(slots=True)
class Sky:
    """Where the receiver is and what it can hear. `speed_kmh` goes along `course_deg`."""

    latitude_deg: float = 52.520008
    longitude_deg: float = 13.404954
    speed_kmh: float = 0.0
    course_deg: float = 90.0
    hdop: float = 0.9
    fix: bool = True


class GnssReceiver:
    """The receiver. Pure: the time in, sentences out."""

    baud = 9600

    def __init__(self, *, faults: Faults | None = None, began: datetime = BEGAN) -> None:
        self.faults = faults or Faults()
        self.sky = Sky()
        self.due_s = -math.inf
        self.wake: Callable[[], None] | None = None
        self._began = began
        self._began_s: float | None = None
        self._moved_s = 0.0

    def set(self, values: Mapping[str, Any]) -> None:
        """Turn the dials, None lets go. Raises ValueError and then changes nothing.

        The next sentences show them.
        """
        for name, value in checked(values, _DIALS, Sky()).items():
            setattr(self.sky, name, value)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take no orders."""
        del data, now_s
        return []

    def tick(self, now_s: float) -> list[bytes]:
        """Return this second's sentences."""
        if self._began_s is None:
            self._began_s = self._moved_s = now_s
            self.due_s = now_s
        self._move(now_s - self._moved_s)
        self._moved_s = now_s
        self.due_s = max(self.due_s + EVERY_S, now_s)
        when = self._began + timedelta(seconds=now_s - self._began_s)
        return [_sentence(self._rmc(when)), _sentence(self._gga(when))]

    def _move(self, seconds: float) -> None:
        metres = self.sky.speed_kmh / 3.6 * seconds
        if not metres:
            return
        course, latitude = math.radians(self.sky.course_deg), math.radians(self.sky.latitude_deg)
        north_deg = math.degrees(metres * math.cos(course) / _EARTH_M)
        east_deg = math.degrees(
            metres * math.sin(course) / _EARTH_M / max(math.cos(latitude), 1e-6)
        )
        self.sky.latitude_deg = min(max(self.sky.latitude_deg + north_deg, -90.0), 90.0)
        self.sky.longitude_deg = (self.sky.longitude_deg + east_deg + 180) % 360 - 180

    def _rmc(self, when: datetime) -> str:
        sky, time = self.sky, _time(when)
        if not sky.fix:
            return f"GNRMC,{time},V,,,,,,,{when:%d%m%y},,,N"
        knots = sky.speed_kmh / _KMH_A_KNOT
        return (
            f"GNRMC,{time},A,{self._position()},{knots:.3f},{sky.course_deg:.2f},{when:%d%m%y},,,A"
        )

    def _gga(self, when: datetime) -> str:
        sky, time = self.sky, _time(when)
        if not sky.fix:
            return f"GNGGA,{time},,,,,0,00,99.99,,,,,,"
        return (
            f"GNGGA,{time},{self._position()},1,{_SATELLITES:02d},{sky.hdop:.2f},"
            f"{_ALTITUDE_M:.1f},M,{_SEPARATION_M:.1f},M,,"
        )

    def _position(self) -> str:
        latitude, longitude = self.sky.latitude_deg, self.sky.longitude_deg
        north = f"{_minutes(latitude, 2)},{'S' if latitude < 0 else 'N'}"
        return f"{north},{_minutes(longitude, 3)},{'W' if longitude < 0 else 'E'}"


def _minutes(degrees: float, width: int) -> str:
    """Return ddmm.mmmmm; rounded first, so that no minute is 60."""
    steps = round(abs(degrees) * 60 * 100_000)
    whole, rest = divmod(steps, 60 * 100_000)
    return f"{whole:0{width}d}{rest / 100_000:08.5f}"


def _time(when: datetime) -> str:
    return f"{when:%H%M%S}.{when.microsecond // 10_000:02d}"


def _sentence(text: str) -> bytes:
    checksum = functools.reduce(operator.xor, text.encode("ascii"))
    return f"${text}*{checksum:02X}\r\n".encode("ascii")


_DIALS: Final[Mapping[str, Check]] = {
    "latitude_deg": number(-90, 90),
    "longitude_deg": number(-180, 180),
    "speed_kmh": number(0, 1000),
    "course_deg": number(0, 360),
    "hdop": number(0, 99.99),
    "fix": flag,
}
