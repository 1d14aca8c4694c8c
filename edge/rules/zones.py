"""Which zone of its twin a vehicle is in, and how fast it may go there. Pure; times are monotonic.

Where zones overlap the earlier one alone decides. A position at the border is as wide as it is
uncertain: a zone is entered when the position itself is inside, and left when it is clear of the
border by the uncertainty. Without positions a zone stays as it was for ten minutes: driving into
a tunnel is no way out, and a receiver that is broken holds nobody for ever.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from edge.gnss.fix import Fix
from edge.rules.battery import NewFact
from protocol.bodies import FieldValue
from protocol.zones import LIMIT_KMH, WALKING_KMH, Ring, Zone

CLEAR_M: Final = (5.0, 25.0)
POOR_M: Final = 30.0
"""A position less certain than this says nothing about zones."""

KEEP_S: Final = 600.0
FADE_KMH_A_S: Final = 8.0
"""How fast power fades: 25 to 3 km/h takes 2.8 s, as gently as a cyclist brakes."""

FADES_WITHIN_S: Final = 3.5
"""From higher up it fades faster: with the second until it is noticed, a limit holds in five."""

_METRES_A_DEGREE: Final = 111_195.0
_TOP_KMH: Final = LIMIT_KMH[1]


@dataclass(frozen=True, slots=True)
class Fence:
    """A zone with the box around it, so that far away ones cost nothing."""

    zone: Zone
    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, zone: Zone) -> Self:
        """Put the box around a zone."""
        points = [point for polygon in zone.area for ring in polygon for point in ring]
        longitudes, latitudes = zip(*points, strict=True)
        return cls(zone, min(longitudes), min(latitudes), max(longitudes), max(latitudes))

    def offset_m(self, latitude_deg: float, longitude_deg: float, most_m: float) -> float:
        """Return metres to the border, negative inside; infinity when it is beyond `most_m`."""
        east_m = _METRES_A_DEGREE * math.cos(math.radians(latitude_deg))
        beyond_m = max(
            (self.south - latitude_deg) * _METRES_A_DEGREE,
            (latitude_deg - self.north) * _METRES_A_DEGREE,
            (self.west - longitude_deg) * east_m,
            (longitude_deg - self.east) * east_m,
        )
        if beyond_m > most_m:
            return math.inf
        inside, nearest_m = False, math.inf
        for polygon in self.zone.area:
            within = False
            for ring in polygon:
                crossed, to_ring_m = _ring(ring, latitude_deg, longitude_deg, east_m)
                within ^= crossed
                nearest_m = min(nearest_m, to_ring_m)
            inside |= within
        return -nearest_m if inside else nearest_m


def _ring(
    ring: Ring, latitude_deg: float, longitude_deg: float, east_m: float
) -> tuple[bool, float]:
    """Return whether a point is inside of a ring, and the metres to it; the earth is flat here."""
    within, nearest_m = False, math.inf
    flat = [
        ((lon - longitude_deg) * east_m, (lat - latitude_deg) * _METRES_A_DEGREE)
        for lon, lat in ring
    ]
    before_x, before_y = flat[-1]
    for x, y in flat:
        if (y > 0) != (before_y > 0) and x - y * (before_x - x) / (before_y - y) > 0:
            within = not within
        nearest_m = min(nearest_m, _to_edge_m(before_x, before_y, x, y))
        before_x, before_y = x, y
    return within, nearest_m


def _to_edge_m(from_x: float, from_y: float, to_x: float, to_y: float) -> float:
    """Return how far the origin is from a line between two points."""
    along_x, along_y = to_x - from_x, to_y - from_y
    length = along_x * along_x + along_y * along_y
    part = -(from_x * along_x + from_y * along_y) / length if length else 0.0
    part = min(max(part, 0.0), 1.0)
    return math.hypot(from_x + part * along_x, from_y + part * along_y)


class ZoneWatch:
    """Follows one vehicle through its zones."""

    def __init__(self, zones: Sequence[Zone] = (), inside: Iterable[str] = ()) -> None:
        """Take the zones, and in which the vehicle was when it was last known.

        `gone` are the facts of those that are no more.
        """
        self._fences: Sequence[Fence] = ()
        self._inside: frozenset[str] = frozenset(inside)
        self._sure_at_s: float | None = None
        self.gone = self.replace(zones)

    @property
    def inside(self) -> frozenset[str]:
        """Ids of the zones it is in."""
        return self._inside

    @property
    def in_force(self) -> Zone | None:
        """The zone that decides."""
        return next((one.zone for one in self._fences if one.zone.id in self._inside), None)

    def replace(self, zones: Sequence[Zone]) -> list[NewFact]:
        """Take other zones; the vehicle is still in those that have the same id."""
        gone = self._inside - {zone.id for zone in zones}
        self._fences = [Fence.around(zone) for zone in zones]
        return self._leave(gone, "zone_gone")

    def see(self, fix: Fix | None, now_s: float) -> list[NewFact]:
        """Take the newest position, None without a fresh one; return the facts it makes."""
        if self._sure_at_s is None:
            self._sure_at_s = now_s
        accuracy_m = None if fix is None else fix.accuracy_m or 0.0
        if fix is None or accuracy_m is None or accuracy_m > POOR_M:
            if now_s - self._sure_at_s > KEEP_S:
                return self._leave(self._inside, "no_fix")
            return []
        self._sure_at_s = now_s
        clear_m = min(max(accuracy_m, CLEAR_M[0]), CLEAR_M[1])
        facts: list[NewFact] = []
        for fence in self._fences:
            zone, was_in = fence.zone, fence.zone.id in self._inside
            offset_m = fence.offset_m(fix.latitude_deg, fix.longitude_deg, clear_m)
            if was_in and offset_m > clear_m:
                facts += self._leave({zone.id}, "")
            elif not was_in and offset_m <= 0:
                self._inside |= {zone.id}
                told: dict[str, FieldValue] = {
                    "zone": zone.id,
                    "kind": zone.kind,
                    "limit_kmh": limit_of(zone),
                }
                facts.append(("geofence.entered", {**told, "accuracy_m": round(accuracy_m, 1)}))
        return facts

    def _leave(self, zones: Collection[str], why: str) -> list[NewFact]:
        self._inside -= set(zones)
        told: dict[str, FieldValue] = {"why": why} if why else {}
        return [("geofence.left", {"zone": zone, **told}) for zone in sorted(zones)]


def limit_of(zone: Zone | None) -> int | None:
    """Return the fastest that a vehicle may go in a zone, in km/h; None for as fast as it is."""
    if zone is None:
        return None
    return WALKING_KMH if zone.kind == "no_go" else zone.limit_kmh


@dataclass(slots=True)
class Fade:
    """Lets a limit come down gently from how fast the vehicle goes, and never up before its end.

    `kmh` is the limit now, None without one.
    """

    kmh: float | None = None
    _at_s: float = 0.0
    _kmh_a_s: float = FADE_KMH_A_S

    def step(
        self, limit_kmh: int | None, speed_kmh: float | None, usual_kmh: int | None, now_s: float
    ) -> int | None:
        """Return the whole km/h to allow now.

        Args:
            limit_kmh: of the zone in force; None lets go at once.
            speed_kmh: how fast it goes, None when nobody knows.
            usual_kmh: the limit outside of zones, None without one.
            now_s: monotonic.
        """
        passed_s, self._at_s = now_s - self._at_s, now_s
        if limit_kmh is None:
            self.kmh = None
            return None
        most = _TOP_KMH if usual_kmh is None else usual_kmh
        begins = self.kmh is None
        kmh = float(most) if self.kmh is None else self.kmh - self._kmh_a_s * passed_s
        self.kmh = kmh if speed_kmh is None else min(kmh, abs(speed_kmh))
        if begins:
            self._kmh_a_s = max(FADE_KMH_A_S, (self.kmh - limit_kmh) / FADES_WITHIN_S)
        self.kmh = max(self.kmh, float(limit_kmh))
        return math.ceil(self.kmh)
