"""The map under the pins: what the contexts know, and streets of the operator's own file.

The product ships no map. Streets are the LineStrings of `city.geojson` in the data folder, such as
`mobility-sim city` writes one; without that file bays and zones are drawn alone.
"""

import heapq
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

Spot = tuple[float, float]
"""Longitude and latitude, degrees, as GeoJSON has them."""

_METRES_A_DEGREE = 111_195.0
_MOST_BYTES = 64 * 1024 * 1024
_MOST_STREETS = 4_000
RANKS = ("path", "street", "major")
"""How streets are drawn, the least first; a file says it in the property `rank`."""


@dataclass(frozen=True, slots=True)
class Street:
    """A line, how it is drawn, and the box it lies in: west, south, east, north."""

    line: Sequence[Spot]
    rank: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Streets:
    """All streets of a file, whose map it is, and where that is explained."""

    credit: str = ""
    credit_url: str = ""
    streets: Sequence[Street] = ()


def streets_of(file: Path) -> Streets:
    """Return the streets of a GeoJSON file; none where there is no file or it is no map."""
    try:
        told = file.stat()
    except OSError:
        return Streets()
    if told.st_size > _MOST_BYTES:
        return Streets()
    return _read(file, told.st_mtime_ns, told.st_size)


def drawn(streets: Streets, lat: float, lon: float, radius_m: float) -> dict[str, Any]:
    """Return what a page's map asks for: whose map it is, and the lines around by rank."""
    return {
        "credit": streets.credit,
        "credit_url": streets.credit_url,
        "lines": around(streets, lat, lon, radius_m),
    }


def around(
    streets: Streets, lat: float, lon: float, radius_m: float
) -> dict[str, list[list[list[float]]]]:
    """Return the lines by rank that touch a square around a place, metres to its sides.

    Where there are too many, the farthest are left out.
    """
    d_lat = radius_m / _METRES_A_DEGREE
    d_lon = d_lat / max(0.01, math.cos(math.radians(lat)))
    west, south, east, north = lon - d_lon, lat - d_lat, lon + d_lon, lat + d_lat
    touching = (
        street
        for street in streets.streets
        if street.box[0] <= east
        and street.box[2] >= west
        and street.box[1] <= north
        and street.box[3] >= south
    )

    def away(street: Street) -> float:
        return math.hypot(
            (street.box[0] + street.box[2]) / 2 - lon, (street.box[1] + street.box[3]) / 2 - lat
        )

    lines: dict[str, list[list[list[float]]]] = {rank: [] for rank in RANKS}
    for street in heapq.nsmallest(_MOST_STREETS, touching, key=away):
        lines[street.rank].append([list(spot) for spot in street.line])
    return lines


@lru_cache(maxsize=2)
def _read(file: Path, _written_ns: int, _size: int) -> Streets:
    try:
        told = json.loads(file.read_text("utf-8"))
        features = told["features"]
        found = [
            _street(line, feature) for feature in features for line in _lines(feature["geometry"])
        ]
        credit, url = (str(told.get(f"attribution{part}") or "") for part in ("", "_url"))
        return Streets(credit, url if url.startswith("https://") else "", found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Streets()


def _lines(geometry: Mapping[str, Any]) -> Iterable[Sequence[Sequence[float]]]:
    if geometry["type"] == "LineString":
        yield geometry["coordinates"]
    elif geometry["type"] == "MultiLineString":
        yield from geometry["coordinates"]


def _street(line: Sequence[Sequence[float]], feature: Mapping[str, Any]) -> Street:
    told = (feature.get("properties") or {}).get("rank")
    spots = [(float(spot[0]), float(spot[1])) for spot in line]
    lons, lats = [spot[0] for spot in spots], [spot[1] for spot in spots]
    rank = told if told in RANKS else "street"
    return Street(spots, rank, (min(lons), min(lats), max(lons), max(lats)))
