"""A GNSS receiver on its line once a second, NMEA 0183, of a vehicle that moves when told to.

    $TTSSS,f1,...*HH CR LF, HH = XOR of the characters between $ and *

RMC, VTG, GGA, GSA, GSV, GST, as common receivers order them. It has no clock but the port's: its
date is `began` and the seconds since. It hears nothing.
"""

import functools
import math
import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from firmware_shim.checks import Check, checked, flag, number, whole
from firmware_shim.faults import Faults

BEGAN: Final = datetime(2026, 12, 1, 12, tzinfo=UTC)
EVERY_S: Final = 1.0
URBAN_M: Final = (5.0, 15.0)
_ROLL_OVER: Final = timedelta(weeks=1024)
_CHECKSUM_AT: Final = -4
_KMH_A_KNOT: Final = 1.852
_EARTH_M: Final = 6_371_000.0
_SATELLITES: Final = 11
_ALTITUDE_M: Final = 34.0
_SEPARATION_M: Final = 39.6
_RANGE_M: Final = 2.5
_URBAN_HDOP: Final = 1.5
_URBAN_STEP_M: Final = 1.5
_URBAN_TURN: Final = 0.4
_URBAN_SPEED_KMH: Final = 0.5
_A_SENTENCE: Final = 4


@dataclass(slots=True)
class Sky:
    """Where the receiver is and what it can hear. `speed_kmh` goes along `course_deg`.

    `urban` between high houses: the position walks about 5 to 15 m beside the truth. `cold_start_s`
    is how long it finds nothing from now on; `rollovers` how many times 1024 weeks its date is
    back.
    """

    latitude_deg: float = 52.520008
    longitude_deg: float = 13.404954
    speed_kmh: float = 0.0
    course_deg: float = 90.0
    hdop: float = 0.9
    fix: bool = True
    urban: bool = False
    cold_start_s: float = 0.0
    rollovers: int = 0


@dataclass(slots=True)
class _Shown:
    """What this second's sentences say; `time` and `date` are empty before the first satellite."""

    time: str
    date: str
    fix: bool
    position: str
    speed_kmh: float
    course_deg: float
    hdop: float
    off_m: float


@dataclass(slots=True)
class _Walk:
    """How far, and in which direction, the houses shift the position."""

    random: random.Random
    metres: float = sum(URBAN_M) / 2
    bearing: float = field(default=0.0)

    def step(self) -> None:
        low, high = URBAN_M
        self.metres = min(max(self.metres + self.random.gauss(0, _URBAN_STEP_M), low), high)
        self.bearing += self.random.gauss(0, _URBAN_TURN)


class GnssReceiver:
    """The receiver. Pure: the time in, sentences out; all chance is drawn from `seed`."""

    baud = 9600

    def __init__(
        self, *, faults: Faults | None = None, began: datetime = BEGAN, seed: int = 0
    ) -> None:
        self.faults = faults or Faults()
        self.faults.checksum_at = _CHECKSUM_AT
        self.sky = Sky()
        self.due_s = -math.inf
        self.wake: Callable[[], None] | None = None
        self._began = began
        self._began_s: float | None = None
        self._moved_s = 0.0
        self._random = random.Random(seed)
        self._walk = _Walk(self._random, bearing=self._random.uniform(0, 2 * math.pi))
        self._said: list[bytes] = []

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
        seconds, self._moved_s = now_s - self._moved_s, now_s
        self._move(seconds)
        self.due_s = max(self.due_s + EVERY_S, now_s)
        when = self._began + timedelta(seconds=now_s - self._began_s)
        if not self._said or not self.faults.strikes("stuck"):
            self._said = _sentences(self._show(when - self.sky.rollovers * _ROLL_OVER))
        self.sky.cold_start_s = max(self.sky.cold_start_s - EVERY_S, 0.0)
        return self._said

    def _move(self, seconds: float) -> None:
        sky, metres = self.sky, self.sky.speed_kmh / 3.6 * seconds
        if metres:
            course = math.radians(sky.course_deg)
            sky.latitude_deg, sky.longitude_deg = _beside(sky, metres, course)

    def _show(self, when: datetime) -> _Shown:
        sky = self.sky
        latitude, longitude, off_m = sky.latitude_deg, sky.longitude_deg, sky.hdop * _RANGE_M
        hdop, speed_kmh = sky.hdop, sky.speed_kmh
        if sky.urban:
            self._walk.step()
            off_m = self._walk.metres
            latitude, longitude = _beside(sky, off_m, self._walk.bearing)
            hdop += _URBAN_HDOP + off_m / 10
            speed_kmh = abs(speed_kmh + self._random.gauss(0, _URBAN_SPEED_KMH))
        cold = sky.cold_start_s > 0
        return _Shown(
            time="" if cold else f"{when:%H%M%S}.{when.microsecond // 10_000:02d}",
            date="" if cold else f"{when:%d%m%y}",
            fix=sky.fix and not cold and not self.faults.strikes("sensor_lost"),
            position=_position(latitude, longitude),
            speed_kmh=speed_kmh,
            course_deg=sky.course_deg,
            hdop=hdop,
            off_m=off_m,
        )


def _beside(sky: Sky, metres: float, bearing: float) -> tuple[float, float]:
    """Return the latitude and the longitude so far from where it is; `bearing` in radians."""
    width = max(math.cos(math.radians(sky.latitude_deg)), 1e-6)
    north_deg = math.degrees(metres * math.cos(bearing) / _EARTH_M)
    east_deg = math.degrees(metres * math.sin(bearing) / _EARTH_M / width)
    latitude_deg = min(max(sky.latitude_deg + north_deg, -90.0), 90.0)
    return latitude_deg, (sky.longitude_deg + east_deg + 180) % 360 - 180


def _sentences(shown: _Shown) -> list[bytes]:
    texts = (_rmc(shown), _vtg(shown), _gga(shown), _gsa(shown), *_gsv(shown), _gst(shown))
    return [_sentence(text) for text in texts]


def _rmc(shown: _Shown) -> str:
    if not shown.fix:
        return f"GNRMC,{shown.time},V,,,,,,,{shown.date},,,N"
    knots = shown.speed_kmh / _KMH_A_KNOT
    return (
        f"GNRMC,{shown.time},A,{shown.position},{knots:.3f},{shown.course_deg:.2f},{shown.date},,,A"
    )


def _vtg(shown: _Shown) -> str:
    if not shown.fix:
        return "GNVTG,,T,,M,,N,,K,N"
    knots = shown.speed_kmh / _KMH_A_KNOT
    return f"GNVTG,{shown.course_deg:.2f},T,,M,{knots:.3f},N,{shown.speed_kmh:.3f},K,A"


def _gga(shown: _Shown) -> str:
    if not shown.fix:
        return f"GNGGA,{shown.time},,,,,0,00,99.99,,,,,,"
    return (
        f"GNGGA,{shown.time},{shown.position},1,{_SATELLITES:02d},{shown.hdop:.2f},"
        f"{_ALTITUDE_M:.1f},M,{_SEPARATION_M:.1f},M,,"
    )


def _gsa(shown: _Shown) -> str:
    if not shown.fix:
        return "GNGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99,1"
    used = ",".join(f"{number:02d}" for number in range(1, _SATELLITES + 1))
    return f"GNGSA,A,3,{used},,{1.6 * shown.hdop:.2f},{shown.hdop:.2f},{1.2 * shown.hdop:.2f},1"


def _gsv(shown: _Shown) -> list[str]:
    if not shown.fix:
        return ["GPGSV,1,1,00,1"]
    heard = [f"{n:02d},{5 * n + 10:02d},{31 * n:03d},{45 - n}" for n in range(1, _SATELLITES + 1)]
    parts = [heard[at : at + _A_SENTENCE] for at in range(0, len(heard), _A_SENTENCE)]
    return [
        f"GPGSV,{len(parts)},{number},{_SATELLITES:02d},{','.join(part)},1"
        for number, part in enumerate(parts, start=1)
    ]


def _gst(shown: _Shown) -> str:
    if not shown.fix:
        return f"GNGST,{shown.time},,,,,,,"
    each_m = shown.off_m / math.sqrt(2)
    return f"GNGST,{shown.time},{shown.off_m:.1f},,,,{each_m:.2f},{each_m:.2f},{1.5 * each_m:.2f}"


def _position(latitude: float, longitude: float) -> str:
    north = f"{_minutes(latitude, 2)},{'S' if latitude < 0 else 'N'}"
    return f"{north},{_minutes(longitude, 3)},{'W' if longitude < 0 else 'E'}"


def _minutes(degrees: float, width: int) -> str:
    """Return ddmm.mmmmm; rounded first, so that no minute is 60."""
    steps = round(abs(degrees) * 60 * 100_000)
    whole, rest = divmod(steps, 60 * 100_000)
    return f"{whole:0{width}d}{rest / 100_000:08.5f}"


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
    "urban": flag,
    "cold_start_s": number(0, 3600),
    "rollovers": whole(3),
}
