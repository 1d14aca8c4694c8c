"""Zones that a vehicle keeps to by itself: part of its twin, in force without any network.

The order is the meaning: where zones overlap, the earlier one alone decides.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

MOST_ZONES = 64
MOST_POINTS = 2_048
LIMIT_KMH = (3, 45)
WALKING_KMH = LIMIT_KMH[0]
"""The speed that a no-go zone fades to: the vehicle can still be pushed and walked out."""

_RING_POINTS = 4

Degrees = Annotated[float, msgspec.Meta(ge=-180, le=180)]
Ring = list[tuple[Degrees, Degrees]]
Area = list[list[Ring]]
"""Coordinates of a GeoJSON MultiPolygon: polygons of rings (the first is the outline, the others
are holes) of [longitude, latitude], WGS 84."""


class ZonesError(ValueError):
    """These zones do not fit on a vehicle; the text says why."""


class Zone(msgspec.Struct, frozen=True):
    """Where a vehicle goes slowly, or not at all.

    Attributes:
        id: its id, for facts and for people.
        kind: slow or no_go.
        area: coordinates of a GeoJSON MultiPolygon.
        limit_kmh: of a slow zone; null lets it go as fast as elsewhere, which takes the place out
            of later zones. A no-go zone fades to walking speed, whatever is here.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    kind: Literal["slow", "no_go"]
    area: Annotated[Area, msgspec.Meta(min_length=1)]
    limit_kmh: Annotated[int, msgspec.Meta(ge=LIMIT_KMH[0], le=LIMIT_KMH[1])] | None = None


def check_zones(zones: Sequence[Zone]) -> None:
    """Raise ZonesError when there are too many, or a ring that encloses nothing."""
    if len(zones) > MOST_ZONES:
        raise ZonesError(f"{len(zones)} zones are more than the {MOST_ZONES} a vehicle keeps")
    if (points := count_points(zones)) > MOST_POINTS:
        raise ZonesError(
            f"outlines of {points:,} corners are more than the {MOST_POINTS:,} a vehicle keeps"
        )
    ids = {zone.id for zone in zones}
    if len(ids) != len(zones):
        raise ZonesError("a zone id is there twice")
    for zone in zones:
        rings = [ring for polygon in zone.area for ring in polygon]
        if not all(zone.area) or any(len(ring) < _RING_POINTS for ring in rings):
            raise ZonesError(f"zone {zone.id!r} has an outline of fewer than {_RING_POINTS} points")


def count_points(zones: Sequence[Zone]) -> int:
    """Return how many corners the outlines have together."""
    return sum(len(ring) for zone in zones for polygon in zone.area for ring in polygon)
