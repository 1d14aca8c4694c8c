"""The map under the pins: what the contexts know, and streets of the operator's own file.

The product ships no map. Streets are the LineStrings of `city.geojson` in the data folder, such as
`mobility-sim city` writes one; without that file bays and zones are drawn alone.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

Spot = tuple[float, float]
"""Longitude and latitude, degrees, as GeoJSON has them."""

_METRES_A_DEGREE = 111_195.0
_MOST_BYTES = 64 * 1024 * 1024
_MOST_STREETS = 4_000


@dataclass(frozen=True, slots=True)
class Street:
    """A line and the box it lies in: west, south, east, north."""

    line: Sequence[Spot]
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Streets:
    """All streets of a file, and whose map it is."""

    credit: str
    streets: Sequence[Street]


def streets_of(file: Path) -> Streets:
    """Return the streets of a GeoJSON file; none where there is no file or it is no map."""
    try:
        told = file.stat()
    except OSError:
        return Streets("", ())
    if told.st_size > _MOST_BYTES:
        return Streets("", ())
    return _read(file, told.st_mtime_ns, told.st_size)


def around(streets: Streets, lat: float, lon: float, radius_m: float) -> list[list[list[float]]]:
    """Return the lines that touch a square around a place, metres to its sides."""
    d_lat = radius_m / _METRES_A_DEGREE
    d_lon = d_lat / max(0.01, math.cos(math.radians(lat)))
    west, south, east, north = lon - d_lon, lat - d_lat, lon + d_lon, lat + d_lat
    found = (
        street
        for street in streets.streets
        if street.box[0] <= east
        and street.box[2] >= west
        and street.box[1] <= north
        and street.box[3] >= south
    )
    return [[list(spot) for spot in street.line] for street in islice(found, _MOST_STREETS)]


@lru_cache(maxsize=2)
def _read(file: Path, _written_ns: int, _size: int) -> Streets:
    try:
        told = json.loads(file.read_text("utf-8"))
        features = told["features"]
        lines = [line for feature in features for line in _lines(feature["geometry"])]
        return Streets(str(told.get("attribution") or ""), [_street(line) for line in lines])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Streets("", ())


def _lines(geometry: Mapping[str, Any]) -> Iterable[Sequence[Sequence[float]]]:
    if geometry["type"] == "LineString":
        yield geometry["coordinates"]
    elif geometry["type"] == "MultiLineString":
        yield from geometry["coordinates"]


def _street(line: Sequence[Sequence[float]]) -> Street:
    spots = [(float(spot[0]), float(spot[1])) for spot in line]
    lons, lats = [spot[0] for spot in spots], [spot[1] for spot in spots]
    return Street(spots, (min(lons), min(lats), max(lons), max(lats)))
