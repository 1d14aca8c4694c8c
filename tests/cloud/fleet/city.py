"""A small city for tests: two bays, a service area, a park where nobody parks, a slow street."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cloud.fleet.api import Point
from cloud.fleet.geometry import METRES_A_DEGREE

CENTRE = Point(52.52, 13.405)
_SHRINK = 0.6085


def at_m(east: float, north: float) -> Point:
    """The point so many metres from the centre."""
    return Point(
        CENTRE.lat + north / METRES_A_DEGREE, CENTRE.lon + east / (METRES_A_DEGREE * _SHRINK)
    )


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A rectangle, in metres from the centre."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    ring = [[(p := at_m(*corner)).lon, p.lat] for corner in corners]
    return {"type": "Polygon", "coordinates": [ring]}


def a_feature(key: str, kind: str, area: object, **more: object) -> dict[str, Any]:
    """A feature of the file."""
    properties = {"kind": kind, "name": key.title(), **more}
    return {"type": "Feature", "id": key, "properties": properties, "geometry": area}


def a_bay(
    key: str, area: object, count: int = 2, types: Sequence[str] = ("e_scooter",)
) -> dict[str, Any]:
    """A bay with places for these types."""
    capacity = [{"vehicle_type_ids": list(types), "count": count}]
    return a_feature(key, "bay", area, vehicle_types_capacity=capacity)


def a_city(*more: Mapping[str, Any], places: int = 2, **top: object) -> bytes:
    """The whole file: bays 10 m wide at the centre and 200 m east of it, and what else is given."""
    features = [
        a_bay("centre", box(-5, -5, 5, 5), places),
        a_bay("east", box(195, -5, 205, 5), places),
        a_feature("town", "service_area", box(-1000, -1000, 1000, 1000)),
        a_feature("park", "no_parking", box(-400, -400, -100, -100)),
        a_feature("school", "slow", box(300, 300, 400, 400), speed_limit_kmh=10),
        *more,
    ]
    return json.dumps({"type": "FeatureCollection", "features": features, **top}).encode()
