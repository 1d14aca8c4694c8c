"""Which positions are believed. Pure: sentences and the time in, a fix or a reason out."""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, TypeVar

from edge.gnss.nmea import Gga, Gsa, Gst, Rmc, Sentence
from protocol.signals import BY_KEY

# Nothing was measured with this software before it was written: an older date is a receiver whose
# ten-bit week number rolled over, or that has just woken up.
BUILD_DATE: Final = date(2026, 7, 1)
HDOP_MOST: Final = 5.0
JUMP_KMH: Final = 200.0
# So many positions in a row that agree with each other were no jump: what came before them was.
JUMPS_BELIEVED: Final = 5
# What a receiver of a vehicle is off for each unit of HDOP, when it does not say so itself.
UERE_M: Final = 5.0
# What came so long ago belongs to this second or to the one before.
BESIDE_S: Final = 2.5
# Slower than that the course over ground is noise.
HEADING_ABOVE_KMH: Final = 3.0
_WHOLE_FIX: Final = 3
_EARTH_M: Final = 6_371_000.0
_SIGNALS: Final = tuple(
    BY_KEY[key]
    for key in (
        "latitude_deg",
        "longitude_deg",
        "speed_kmh",
        "accuracy_m",
        "altitude_m",
        "heading_deg",
    )
)


@dataclass(frozen=True, slots=True)
class Fix:
    """A position that is believed, WGS 84, positive north and east.

    `speed_kmh` is over ground and never negative; `hdop` has no unit; `seen_at_s` is monotonic.
    `accuracy_m` is how far off it is over ground, one standard deviation: the receiver's word
    (GST), else 5 m for each unit of HDOP. `altitude_m` is above the ellipsoid, None without a fix
    of three dimensions; `heading_deg` is 0 north and 90 east, None at rest.
    """

    latitude_deg: float
    longitude_deg: float
    speed_kmh: float
    hdop: float
    seen_at_s: float
    accuracy_m: float | None = None
    altitude_m: float | None = None
    heading_deg: float | None = None


def to_signals(fix: Fix) -> dict[int, int]:
    """Return the fix as catalogue id → wire value."""
    raws = ((signal.id, signal.to_raw(getattr(fix, signal.key))) for signal in _SIGNALS)
    return {number: raw for number, raw in raws if raw is not None}


@dataclass(frozen=True, slots=True)
class _At:
    """A fix, and when it was so by the satellites' clock."""

    fix: Fix
    at: datetime

    def jumped_to(self, later: "_At") -> bool:
        """Whether no vehicle gets from here to there in that time; a second is the least."""
        seconds = (later.at - self.at).total_seconds()
        return seconds < 0 or distance_m(self.fix, later.fix) > JUMP_KMH / 3.6 * max(seconds, 1.0)


class Believer:
    """Puts the RMC and the GGA of one moment together, in either order, and judges them.

    GSA and GST often follow them: the newest of the last 2.5 s counts. `refused` counts why not:
    no_fix, incomplete, hdop, date, jump.
    """

    def __init__(self, build_date: date = BUILD_DATE) -> None:
        self.refused: Counter[str] = Counter()
        self._build = datetime(build_date.year, build_date.month, build_date.day, tzinfo=UTC)
        self._rmc: Rmc | None = None
        self._gga: Gga | None = None
        self._gsa: tuple[Gsa, float] | None = None
        self._gst: tuple[Gst, float] | None = None
        self._last: _At | None = None
        self._jumps: list[_At] = []

    def take(self, sentence: Sentence, now_s: float) -> Fix | None:
        """Return the fix that this sentence completes, if it is believed."""
        if isinstance(sentence, Rmc):
            self._rmc = sentence
            if not sentence.valid:
                self._rmc = None
                self.refused["no_fix"] += 1
        elif isinstance(sentence, Gga):
            self._gga = sentence
        elif isinstance(sentence, Gsa):
            self._gsa = sentence, now_s
        else:
            self._gst = sentence, now_s
        rmc, gga = self._rmc, self._gga
        if rmc is None or gga is None or rmc.time is None or rmc.time != gga.time:
            return None
        self._rmc = self._gga = None
        judged = self._judge(rmc, gga, now_s)
        if isinstance(judged, Fix):
            return judged
        self.refused[judged] += 1
        return None

    def _judge(self, rmc: Rmc, gga: Gga, now_s: float) -> Fix | str:
        if not gga.quality:
            return "no_fix"
        gsa = _fresh(self._gsa, now_s)
        hdop = gga.hdop if gga.hdop is not None or gsa is None else gsa.hdop
        if (
            rmc.latitude_deg is None
            or rmc.longitude_deg is None
            or rmc.speed_kmh is None
            or rmc.at is None
            or hdop is None
        ):
            return "incomplete"
        if hdop > HDOP_MOST:
            return "hdop"
        if rmc.at < self._build:
            return "date"
        flat = gsa is not None and gsa.dimensions < _WHOLE_FIX
        fix = Fix(
            rmc.latitude_deg,
            rmc.longitude_deg,
            rmc.speed_kmh,
            hdop,
            now_s,
            accuracy_m=_accuracy_m(_fresh(self._gst, now_s), hdop),
            altitude_m=None if flat else gga.altitude_m,
            heading_deg=rmc.course_deg if rmc.speed_kmh > HEADING_ABOVE_KMH else None,
        )
        return self._follow(_At(fix, rmc.at))

    def _follow(self, here: _At) -> Fix | str:
        if self._last is not None and self._last.jumped_to(here):
            if self._jumps and self._jumps[-1].jumped_to(here):
                self._jumps = []
            self._jumps.append(here)
            if len(self._jumps) < JUMPS_BELIEVED:
                return "jump"
        self._last, self._jumps = here, []
        return here.fix


_Beside = TypeVar("_Beside", Gsa, Gst)


def _fresh(found: tuple[_Beside, float] | None, now_s: float) -> _Beside | None:
    return found[0] if found is not None and now_s - found[1] <= BESIDE_S else None


def _accuracy_m(gst: Gst | None, hdop: float) -> float:
    """Return metres over ground, one standard deviation."""
    if gst is not None and gst.north_m is not None and gst.east_m is not None:
        return math.hypot(gst.north_m, gst.east_m)
    return hdop * UERE_M


def distance_m(one: Fix, other: Fix) -> float:
    """Return metres over ground between two fixes, on a sphere."""
    here, there = math.radians(one.latitude_deg), math.radians(other.latitude_deg)
    turn = math.radians(other.longitude_deg - one.longitude_deg)
    half = (
        math.sin((there - here) / 2) ** 2
        + math.cos(here) * math.cos(there) * math.sin(turn / 2) ** 2
    )
    return 2 * _EARTH_M * math.asin(math.sqrt(min(half, 1.0)))
