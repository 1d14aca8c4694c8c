"""A ride along a line: how fast at each moment, where to look, what it draws. Pure.

A rider who sits on a simulated vehicle leaves `trip.json` in its folder: the line to go along, as
[longitude, latitude] pairs. The simulator takes the file away when the vehicle has arrived.
"""

import bisect
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

from simulator.city import Spot
from simulator.streets import course_deg, metres

CRUISE_KMH: Final = 18.0
_CORNER_KMH: Final = 9.0
_CORNER_DEG: Final = 35.0
_PULL_MS2: Final = 1.0
_BRAKE_MS2: Final = 1.2
_AHEAD_S: Final = 1.0
_LEAST_MS: Final = 0.6
_THERE_M: Final = 0.3


@dataclass(frozen=True, slots=True)
class Pace:
    """What a rider does with the throttle: km/h, the course, and current into the battery."""

    speed_kmh: float
    course_deg: float
    demand_a: float


class Trip:
    """Goes along a line from its beginning.

    Args:
        line: at least two points.
        key: tells this trip from the next one.
    """

    def __init__(self, line: Sequence[Spot], key: object = None) -> None:
        self.key = key
        self._line = [
            spot for spot, before in zip(line, [None, *line], strict=False) if spot != before
        ]
        self._marks = [0.0, *accumulate(metres(a, b) for a, b in pairwise(self._line))]
        self._corners = [
            mark
            for mark, (a, b), (c, d) in zip(
                self._marks[1:], pairwise(self._line), list(pairwise(self._line))[1:], strict=False
            )
            if _turn_deg(course_deg(a, b), course_deg(c, d)) > _CORNER_DEG
        ]
        self._gone_m = 0.0
        self._speed_ms = 0.0

    @property
    def length_m(self) -> float:
        """How long the line is, metres."""
        return self._marks[-1]

    @property
    def is_over(self) -> bool:
        """Whether the end is reached."""
        return self._gone_m >= self.length_m - _THERE_M

    @property
    def end(self) -> Spot:
        """Where it leads."""
        return self._line[-1]

    def advance(self, seconds: float, here: Spot, most_kmh: float) -> Pace:
        """Ride on for so long.

        Args:
            seconds: since the last call.
            here: where the vehicle says it is; it is steered back to the line.
            most_kmh: what the vehicle allows.
        """
        before = self._speed_ms
        wanted = min(CRUISE_KMH, most_kmh) / 3.6
        wanted = min([wanted, *(self._before(mark, kmh) for mark, kmh in self._slow_at())])
        step = max(-2 * _BRAKE_MS2 * seconds, min(wanted - before, _PULL_MS2 * seconds))
        self._speed_ms = max(0.0, before + step)
        self._gone_m = min(self.length_m, self._gone_m + self._speed_ms * seconds)
        if self.is_over:
            self._speed_ms = 0.0
        pull = (self._speed_ms - before) / seconds if seconds > 0 else 0.0
        look = self.at(self._gone_m + max(self._speed_ms * _AHEAD_S, _LEAST_MS))
        return Pace(self._speed_ms * 3.6, course_deg(here, look), _demand_a(self._speed_ms, pull))

    def stand(self) -> None:
        """Stop where it is, at once: the vehicle does not let itself be ridden."""
        self._speed_ms = 0.0

    def at(self, gone_m: float) -> Spot:
        """Return the point after so many metres."""
        if gone_m >= self.length_m:
            return self.end
        index = max(0, bisect.bisect_right(self._marks, gone_m) - 1)
        (lon, lat), (to_lon, to_lat) = self._line[index], self._line[index + 1]
        part = (gone_m - self._marks[index]) / (self._marks[index + 1] - self._marks[index])
        return lon + part * (to_lon - lon), lat + part * (to_lat - lat)

    def _slow_at(self) -> list[tuple[float, float]]:
        """Return where it must be how slow, of what lies ahead."""
        ahead = bisect.bisect_right(self._corners, self._gone_m)
        corners = [(mark, _CORNER_KMH) for mark in self._corners[ahead : ahead + 2]]
        return [*corners, (self.length_m, 0.0)]

    def _before(self, mark: float, kmh: float) -> float:
        """Return how fast one may be, m/s, to brake down to `kmh` at a mark."""
        left_m = max(0.0, mark - self._gone_m)
        return max(_LEAST_MS, math.sqrt((kmh / 3.6) ** 2 + 2 * _BRAKE_MS2 * left_m))


def trip_file(folder: Path) -> Path:
    """Return where the rider of the vehicle whose folder this is says which way to go."""
    return folder / "trip.json"


def ask_trip(folder: Path, line: Sequence[Spot]) -> Path:
    """Let the vehicle whose folder this is be ridden along a line; return the file that goes away.

    Raises:
        OSError: the folder cannot be written.
    """
    path = trip_file(folder)
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(json.dumps({"line": [list(spot) for spot in line]}), "utf-8")
    fresh.replace(path)
    return path


def read_trip(path: Path, before: Trip | None) -> Trip | None:
    """Return the trip that a file asks for: the one before while it is the same; None for none."""
    try:
        found = path.stat()
        key = found.st_mtime_ns, found.st_ino
        if before is not None and before.key == key:
            return before
        line = [
            (float(lon), float(lat)) for lon, lat in json.loads(path.read_text("utf-8"))["line"]
        ]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Trip(line, key) if len(set(line)) > 1 else None


def _turn_deg(one: float, other: float) -> float:
    return abs((other - one + 180) % 360 - 180)


def _demand_a(speed_ms: float, pull_ms2: float) -> float:
    """Return amperes of a scooter at 36 V: rolling, pulling away, and braking into the battery."""
    if pull_ms2 < -_PULL_MS2 / 2:
        return 0.4 * speed_ms
    return -(0.9 * speed_ms + 7.0 * max(0.0, pull_ms2)) if speed_ms else 0.0
