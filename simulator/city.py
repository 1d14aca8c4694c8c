"""A city to drive in: one made up from a seed, or the streets of an OpenStreetMap extract.

Both come as the GeoJSON that `mobility-cloud city import` takes, with streets beside the bays and
zones. Streets that cross share the very point, so that riders can turn there.
"""

import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from simulator.motion import METRES_A_DEGREE, TOWN

MADE_UP_NAME: Final = "Blocksburg"
OSM_CREDIT: Final = "© OpenStreetMap contributors, ODbL 1.0"
OSM_CREDIT_URL: Final = "https://www.openstreetmap.org/copyright"
DRIVEN: Final = frozenset(
    {
        "primary",
        "secondary",
        "tertiary",
        "unclassified",
        "residential",
        "living_street",
        "cycleway",
        "service",
        "pedestrian",
    }
)
"""Values of OSM's `highway` that scooters go on."""
Rank = Literal["major", "street", "path"]
_RANKS: Final[Mapping[str, Rank]] = {
    "primary": "major",
    "secondary": "major",
    "tertiary": "major",
    "service": "path",
    "pedestrian": "path",
    "cycleway": "path",
    "living_street": "path",
}

_NAMES = (
    "Alder",
    "Ash",
    "Aspen",
    "Beech",
    "Birch",
    "Cedar",
    "Cherry",
    "Chestnut",
    "Elder",
    "Elm",
    "Fir",
    "Hawthorn",
    "Hazel",
    "Holly",
    "Juniper",
    "Larch",
    "Laurel",
    "Lime",
    "Linden",
    "Maple",
    "Mulberry",
    "Oak",
    "Olive",
    "Pear",
    "Pine",
    "Plane",
    "Poplar",
    "Quince",
    "Rowan",
    "Spruce",
    "Sycamore",
    "Walnut",
    "Willow",
    "Yew",
)
_PLACES_FOR = {"e_scooter": 4, "e_bike": 2}
_CAR_EVERY = 6
_BAY_LONG_M, _BAY_DEEP_M, _BAY_ASIDE_M = 12.0, 3.0, 6.0
_TURNED_DEG = 11.0

Spot = tuple[float, float]
"""Longitude and latitude, degrees, as GeoJSON has them."""


@dataclass(frozen=True, slots=True)
class Street:
    """A street from point to point; `rank` is how a map draws it."""

    name: str
    line: Sequence[Spot]
    rank: Rank = "street"


@dataclass(slots=True)
class City:
    """What is in a city, as GeoJSON features.

    Attributes:
        name: for people.
        credit: whose map it is; "" for one that nobody drew.
        credit_url: where that is explained.
        streets: to ride along.
        features: bays and zones.
    """

    name: str
    credit: str = ""
    credit_url: str = ""
    streets: list[Street] = field(default_factory=list)
    features: list[dict[str, Any]] = field(default_factory=list)

    @property
    def bays(self) -> list[dict[str, Any]]:
        """Its bays."""
        return [one for one in self.features if one["properties"]["kind"] == "bay"]

    def add_bay(self, key: str, name: str, corners: Sequence[Spot], *, for_cars: bool) -> None:
        """Add a bay; one in a few is for cars."""
        wanted = {"e_car": 3, "e_van": 1} if for_cars else _PLACES_FOR
        capacity = [{"vehicle_type_ids": [one], "count": count} for one, count in wanted.items()]
        self._add(key, "bay", name, corners, vehicle_types_capacity=capacity)

    def add_zone(
        self, key: str, kind: str, name: str, corners: Sequence[Spot], **rules: object
    ) -> None:
        """Add a zone with its rules."""
        self._add(key, kind, name, corners, **rules)

    def as_geojson(self) -> dict[str, Any]:
        """Return the file."""
        streets = [
            {
                "type": "Feature",
                "id": f"street-{number:05}",
                "properties": {"kind": "street", "name": street.name, "rank": street.rank},
                "geometry": {
                    "type": "LineString",
                    "coordinates": [_rounded(spot) for spot in street.line],
                },
            }
            for number, street in enumerate(self.streets, 1)
        ]
        return {
            "type": "FeatureCollection",
            "name": self.name,
            "attribution": self.credit,
            "attribution_url": self.credit_url,
            "features": [*self.features, *streets],
        }

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(self.as_geojson(), ensure_ascii=False) + "\n", "utf-8")

    def _add(self, key: str, kind: str, name: str, corners: Sequence[Spot], **more: object) -> None:
        ring = [_rounded(spot) for spot in (*corners, corners[0])]
        self.features.append(
            {
                "type": "Feature",
                "id": key,
                "properties": {"kind": kind, "name": name, **more},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )


@dataclass(frozen=True, slots=True)
class _Plane:
    """Metres around a point, turned by some degrees."""

    lat: float
    lon: float
    turned_deg: float = 0.0

    def spot(self, east_m: float, north_m: float) -> Spot:
        turn = math.radians(self.turned_deg)
        east = east_m * math.cos(turn) - north_m * math.sin(turn)
        north = east_m * math.sin(turn) + north_m * math.cos(turn)
        shrink = math.cos(math.radians(self.lat))
        return (
            self.lon + east / (METRES_A_DEGREE * shrink),
            self.lat + north / METRES_A_DEGREE,
        )

    def box(self, west: float, south: float, east: float, north: float) -> list[Spot]:
        corners = ((west, south), (east, south), (east, north), (west, north))
        return [self.spot(*corner) for corner in corners]

    def metres(self, spot: Spot) -> tuple[float, float]:
        """Return metres east and north, for a plane that is not turned."""
        shrink = math.cos(math.radians(self.lat))
        return (
            (spot[0] - self.lon) * METRES_A_DEGREE * shrink,
            (spot[1] - self.lat) * METRES_A_DEGREE,
        )


def made_up(
    *, seed: int = 0, centre: tuple[float, float] = TOWN, blocks: int = 16, block_m: float = 200.0
) -> City:
    """Return a city of blocks that nobody has to have a map of.

    Args:
        seed: of where its bays are and how wide its blocks; the same seed makes the same city.
        centre: latitude and longitude, degrees.
        blocks: along each side, at least 4.
        block_m: width of a block, metres.

    Raises:
        ValueError: fewer than 4 blocks.
    """
    if blocks < 4:  # noqa: PLR2004 - a park and an old town need room
        raise ValueError("a city has at least 4 blocks along each side")
    chance = random.Random(seed)
    plane = _Plane(*centre, turned_deg=_TURNED_DEG)
    half = blocks * block_m / 2
    lines = [
        number * block_m - half + chance.uniform(-0.15, 0.15) * block_m
        for number in range(blocks + 1)
    ]
    city = City(MADE_UP_NAME)
    for number, across in enumerate(lines):
        name = _NAMES[number % len(_NAMES)]
        rank: Rank = "street" if number % 4 else "major"
        city.streets += [
            Street(f"{name} Street", [plane.spot(across, along) for along in lines], rank),
            Street(f"{name} Avenue", [plane.spot(along, across) for along in lines], rank),
        ]
    edge = half + block_m
    city.add_zone("town", "service_area", city.name, plane.box(-edge, -edge, edge, edge))
    middle = blocks // 2
    park = (lines[1] + 10, lines[1] + 10, lines[3] - 10, lines[3] - 10)
    city.add_zone("park", "no_parking", "Town Park", plane.box(*park))
    market = (lines[middle] - 60, lines[middle] - 60, lines[middle] + 60, lines[middle] + 60)
    city.add_zone("market", "slow", "Old Market", plane.box(*market), speed_limit_kmh=10)
    for column, row in itertools.product(range(blocks), range(blocks)):
        if chance.random() < 0.4:  # noqa: PLR2004 - two crossings in five
            _made_up_bay(city, plane, lines, (column, row), chance)
    return city


def _made_up_bay(
    city: City, plane: _Plane, lines: Sequence[float], at: tuple[int, int], chance: random.Random
) -> None:
    column, row = at
    west = lines[column] + chance.uniform(0.2, 0.7) * (lines[column + 1] - lines[column])
    south = lines[row] + _BAY_ASIDE_M
    corners = plane.box(west, south, west + _BAY_LONG_M, south + _BAY_DEEP_M)
    number = len(city.bays) + 1
    name = f"{_NAMES[row % len(_NAMES)]} Avenue, by {_NAMES[column % len(_NAMES)]} Street"
    city.add_bay(f"bay-{number:03}", name, corners, for_cars=number % _CAR_EVERY == 0)


def from_osm(
    path: Path,
    *,
    name: str,
    within: tuple[float, float, float, float] | None = None,
    bay_every_m: float = 250.0,
) -> City:
    """Return the city of an OpenStreetMap extract: its streets, bays by its crossings, its parks.

    Nobody parks in a park or on a square: no bay lies in one.

    Args:
        path: an .osm.pbf file.
        name: for people.
        within: west, south, east, north in degrees: only streets inside; None for all.
        bay_every_m: about one bay in a square so wide, metres.

    Raises:
        ValueError: there are no streets, or fewer than two crossings, inside.
        RuntimeError: the file cannot be read.
    """
    ways, closed = _read_osm(path, within)
    if not ways:
        raise ValueError(f"{path.name} has no streets there; choose another part of it")
    city = City(name, OSM_CREDIT, OSM_CREDIT_URL, [street for street, _ in ways])
    spots = [spot for street in city.streets for spot in street.line]
    west, south = min(lon for lon, _ in spots), min(lat for _, lat in spots)
    east, north = max(lon for lon, _ in spots), max(lat for _, lat in spots)
    city.add_zone(
        "town", "service_area", name, [(west, south), (east, south), (east, north), (west, north)]
    )
    for number, (park, corners) in enumerate(closed, 1):
        city.add_zone(f"park-{number:03}", "no_parking", park, corners)
    plane = _Plane((south + north) / 2, (west + east) / 2)
    beside = ((one.name, _beside(one, plane)) for one in _crossings(ways, plane, bay_every_m))
    is_closed = _is_in([corners for _, corners in closed])
    open_ones = ((name, corners) for name, corners in beside if not is_closed(corners))
    for number, (street, corners) in enumerate(open_ones, 1):
        city.add_bay(f"bay-{number:03}", street, corners, for_cars=number % _CAR_EVERY == 0)
    if len(city.bays) < 2:  # noqa: PLR2004 - from one to another
        raise ValueError(f"{path.name} has too few crossings there; choose a larger part of it")
    return city


@dataclass(frozen=True, slots=True)
class _Corner:
    """A crossing, and a point further along one of its streets."""

    name: str
    at: Spot
    along: Spot


def _read_osm(
    path: Path, within: tuple[float, float, float, float] | None
) -> tuple[list[tuple[Street, list[int]]], list[tuple[str, list[Spot]]]]:
    """Return streets with the ids of their nodes, and parks and squares, of what lies inside."""
    import osmium

    ways: list[tuple[Street, list[int]]] = []
    parks: list[tuple[str, list[Spot]]] = []
    source = osmium.FileProcessor(str(path), osmium.osm.NODE | osmium.osm.WAY).with_locations()
    for way in source:
        if not isinstance(way, osmium.osm.Way):
            continue
        nodes = [
            (node.ref, (node.location.lon, node.location.lat))
            for node in way.nodes
            if node.location.valid()
        ]
        if len(nodes) < 2 or not all(_inside(spot, within) for _, spot in nodes):  # noqa: PLR2004
            continue
        called = way.tags.get("name", "")
        line = [spot for _, spot in nodes]
        kind, is_area = way.tags.get("highway", ""), way.tags.get("area") == "yes"
        if kind in DRIVEN and not is_area:
            street = Street(called or "unnamed street", line, _RANKS.get(kind, "street"))
            ways.append((street, [ref for ref, _ in nodes]))
            continue
        is_park = way.tags.get("leisure") == "park"
        is_square = kind == "pedestrian" and is_area and called
        if (is_park or is_square) and way.is_closed() and _is_simple(line):
            parks.append((called or "Park", line[:-1]))
    return ways, parks


def _crossings(
    ways: Sequence[tuple[Street, list[int]]], plane: _Plane, every_m: float
) -> Iterator[_Corner]:
    """Yield one crossing of named streets for each square of a grid."""
    uses = Counter(node for _, nodes in ways for node in set(nodes))
    taken: set[tuple[int, int]] = set()
    for street, nodes in ways:
        for index, node in enumerate(nodes[:-1]):
            if uses[node] < 2 or street.name == "unnamed street":  # noqa: PLR2004 - a crossing
                continue
            east, north = plane.metres(street.line[index])
            square = (math.floor(east / every_m), math.floor(north / every_m))
            if square not in taken and street.line[index] != street.line[index + 1]:
                taken.add(square)
                yield _Corner(street.name, street.line[index], street.line[index + 1])


def _beside(corner: _Corner, plane: _Plane) -> list[Spot]:
    """Return a bay beside the street, a few metres from its crossing."""
    east, north = plane.metres(corner.at)
    ahead_east, ahead_north = plane.metres(corner.along)
    turned = math.degrees(math.atan2(ahead_north - north, ahead_east - east))
    here = _Plane(corner.at[1], corner.at[0], turned)
    return here.box(
        _BAY_ASIDE_M, _BAY_ASIDE_M, _BAY_ASIDE_M + _BAY_LONG_M, _BAY_ASIDE_M + _BAY_DEEP_M
    )


def _inside(spot: Spot, within: tuple[float, float, float, float] | None) -> bool:
    if within is None:
        return True
    west, south, east, north = within
    return west <= spot[0] <= east and south <= spot[1] <= north


def _is_in(areas: Sequence[Sequence[Spot]]) -> Callable[[Sequence[Spot]], bool]:
    """Return what tells whether a shape touches one of these areas."""
    from shapely import STRtree
    from shapely.geometry import Polygon

    tree = STRtree([Polygon(area) for area in areas])
    return lambda corners: bool(len(tree.query(Polygon(corners), predicate="intersects")))


def _is_simple(ring: Sequence[Spot]) -> bool:
    from shapely.geometry import Polygon

    return len(ring) > 3 and Polygon(ring).is_valid  # noqa: PLR2004 - a triangle, closed


def _rounded(spot: Spot) -> list[float]:
    """Return a point to the centimetre."""
    return [round(spot[0], 7), round(spot[1], 7)]
