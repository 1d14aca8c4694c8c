"""Areas of a city and how far a point is from them, in metres. Pure.

Areas are GeoJSON polygons in WGS 84, at most a city large, so that the earth is flat in them:
lengths are right within a few parts in a thousand.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shapely import from_geojson, to_geojson
from shapely.affinity import affine_transform
from shapely.errors import GEOSException
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry import Point as Dot
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

METRES_A_DEGREE = 111_195.0
"""Of latitude, everywhere; of longitude at the equator."""

WIDEST_DEG = 2.0
_FULL_CIRCLE_DEG = 180.0
_NEAR_POLE_DEG = 85.0


class AreaError(ValueError):
    """This is no area; the text says why."""


@dataclass(frozen=True, slots=True)
class Point:
    """Somewhere on the earth, WGS 84, degrees."""

    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Extent:
    """The box around an area, WGS 84, degrees."""

    west: float
    south: float
    east: float
    north: float


def read_area(told: object) -> dict[str, Any]:
    """Return a GeoJSON Polygon or MultiPolygon as we keep it; raises AreaError."""
    shape = _shape(told)
    west, south, east, north = shape.bounds
    if west < -_FULL_CIRCLE_DEG or east > _FULL_CIRCLE_DEG:
        raise AreaError("has a longitude beyond 180 degrees; GeoJSON writes [longitude, latitude]")
    if max(abs(south), abs(north)) > _NEAR_POLE_DEG:
        raise AreaError("has a latitude beyond 85 degrees; GeoJSON writes [longitude, latitude]")
    if east - west > WIDEST_DEG or north - south > WIDEST_DEG:
        raise AreaError(f"is wider than {WIDEST_DEG:.0f} degrees; draw one city at a time")
    if not shape.is_valid:
        raise AreaError(f"is not simple: {explain_validity(shape)}; draw its outline anew")
    return _kept(shape)


def extent_of(area: Mapping[str, Any]) -> Extent:
    """Return the box around an area."""
    return Extent(*_shape(area).bounds)


def centre_of(area: Mapping[str, Any]) -> Point:
    """Return a point in the middle of an area, and inside of it."""
    dot = _shape(area).representative_point()
    return Point(dot.y, dot.x)


def around(point: Point, radius_m: float) -> Extent:
    """Return the box around a circle."""
    lat = radius_m / METRES_A_DEGREE
    lon = lat / _shrink(point)
    return Extent(point.lon - lon, point.lat - lat, point.lon + lon, point.lat + lat)


def distance_m(one: Point, other: Point) -> float:
    """Return the metres between two points of a city."""
    east = (other.lon - one.lon) * METRES_A_DEGREE * _shrink(one)
    return math.hypot(east, (other.lat - one.lat) * METRES_A_DEGREE)


def offset_m(area: Mapping[str, Any], point: Point) -> float:
    """Return the metres from a point to an area's edge: negative inside, positive outside."""
    shape = _flat(_shape(area), point)
    here = Dot(0.0, 0.0)
    to_edge = float(shape.boundary.distance(here))
    return -to_edge if shape.covers(here) else to_edge


def corners_of(area: Mapping[str, Any], tolerance_m: float = 0.0) -> list[Any]:
    """Return an area's coordinates as a GeoJSON MultiPolygon has them, to 0.1 m.

    Args:
        area: a GeoJSON polygon.
        tolerance_m: corners that matter less than this are left out.
    """
    shape = _shape(area)
    if tolerance_m:
        shape = shape.simplify(tolerance_m / METRES_A_DEGREE)
    polygons = shape.geoms if isinstance(shape, MultiPolygon) else [shape]
    return [
        [
            [[round(lon, 6), round(lat, 6)] for lon, lat, *_ in ring.coords]
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for polygon in polygons
        if isinstance(polygon, Polygon)
    ]


def _shape(told: object) -> BaseGeometry:
    if not isinstance(told, Mapping) or told.get("type") not in {"Polygon", "MultiPolygon"}:
        raise AreaError("is no GeoJSON Polygon or MultiPolygon")
    try:
        shape = from_geojson(json.dumps(told, allow_nan=False))
    except (GEOSException, ValueError, TypeError) as wrong:
        raise AreaError(f"cannot be read as GeoJSON: {wrong}") from None
    if not isinstance(shape, Polygon | MultiPolygon) or shape.is_empty:
        raise AreaError("has no outline")
    return shape


def _kept(shape: BaseGeometry) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(to_geojson(shape))
    return kept


def _flat(shape: BaseGeometry, origin: Point) -> BaseGeometry:
    """Return a shape in metres east and north of a point."""
    east, north = METRES_A_DEGREE * _shrink(origin), METRES_A_DEGREE
    moved = [east, 0.0, 0.0, north, -origin.lon * east, -origin.lat * north]
    return affine_transform(shape, moved)


def _shrink(point: Point) -> float:
    """Return how much shorter a degree of longitude is than one of latitude."""
    return math.cos(math.radians(min(abs(point.lat), _NEAR_POLE_DEG)))
