"""The ways through a city, read from its GeoJSON: from here to there along its streets. Pure."""

import heapq
import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from simulator.city import Spot
from simulator.motion import METRES_A_DEGREE

_TRIES: Final = 12
_CHOICES: Final = 4
_DETOUR: Final = 1.3
_LIKE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Bay:
    """A bay for scooters; `at` is in its middle."""

    key: str
    name: str
    at: Spot


def metres(one: Spot, other: Spot) -> float:
    """Return how far two points of one city are apart, metres."""
    shrink = math.cos(math.radians((one[1] + other[1]) / 2))
    return METRES_A_DEGREE * math.hypot((other[0] - one[0]) * shrink, other[1] - one[1])


def course_deg(one: Spot, other: Spot) -> float:
    """Return where to look from one point for another: 0 is north, 90 east."""
    shrink = math.cos(math.radians((one[1] + other[1]) / 2))
    return math.degrees(math.atan2((other[0] - one[0]) * shrink, other[1] - one[1])) % 360


def length_m(line: Sequence[Spot]) -> float:
    """Return the length of a line, metres."""
    return sum(metres(one, other) for one, other in pairwise(line))


class StreetMap:
    """A city's streets as a graph, and its bays.

    Args:
        city: GeoJSON as `City.as_geojson` makes it.
    """

    def __init__(self, city: Mapping[str, Any]) -> None:
        self.bays: list[Bay] = []
        self._ways: dict[Spot, dict[Spot, float]] = defaultdict(dict)
        for feature in city["features"]:
            if feature["properties"]["kind"] == "street":
                self._add_street([(lon, lat) for lon, lat in feature["geometry"]["coordinates"]])
            elif _is_for_scooters(feature["properties"]):
                ring = feature["geometry"]["coordinates"][0][:-1]
                middle = (sum(s[0] for s in ring) / len(ring), sum(s[1] for s in ring) / len(ring))
                self.bays.append(Bay(feature["id"], feature["properties"]["name"], middle))

    @classmethod
    def read(cls, path: Path) -> "StreetMap | None":
        """Read a city's file; None when there is none.

        Raises:
            ValueError: it is no such file.
        """
        if not path.exists():
            return None
        try:
            return cls(json.loads(path.read_text("utf-8")))
        except (LookupError, TypeError, ValueError) as wrong:
            raise ValueError(f"{path} is no city ({wrong}); make one: mobility-sim city") from wrong

    @property
    def middle(self) -> Spot:
        """The middle of all bays; there must be one."""
        lons, lats = zip(*(bay.at for bay in self.bays), strict=True)
        return sum(lons) / len(lons), sum(lats) / len(lats)

    def neighbourhood(self, count: int) -> list[Bay]:
        """Return so many bays, those nearest to the middle of all; there must be one."""
        middle = self.middle
        return sorted(self.bays, key=lambda bay: metres(bay.at, middle))[:count]

    def route(self, start: Spot, end: Spot) -> list[Spot]:
        """Return the shortest way along the streets; straight where there are none."""
        if not self._ways:
            return [start, end]
        first, last = self.crossing(start), self.crossing(end)
        come_from: dict[Spot, Spot] = {}
        far = {first: 0.0}
        waiting = [(0.0, first)]
        while waiting:
            so_far, here = heapq.heappop(waiting)
            if here == last:
                break
            for there, way_m in self._ways[here].items():
                if so_far + way_m < far.get(there, math.inf):
                    far[there], come_from[there] = so_far + way_m, here
                    heapq.heappush(waiting, (far[there], there))
        if last != first and last not in come_from:
            return [start, end]
        way = [last]
        while way[-1] != first:
            way.append(come_from[way[-1]])
        return [start, *reversed(way), end]

    def crossing(self, near: Spot) -> Spot:
        """Return the point of a street that is nearest; raises ValueError without streets."""
        return min(self._ways, key=lambda spot: metres(spot, near))

    def ride(self, start: Spot, wanted_m: float, chance: random.Random) -> tuple[list[Spot], Bay]:
        """Return a ride of about so many metres, and the bay that it ends in.

        Raises:
            ValueError: there is no bay.
        """
        if not self.bays:
            raise ValueError("the city has no bay for scooters; add one, or make another city")
        others = [bay for bay in self.bays if metres(start, bay.at) > _HERE_M] or self.bays
        lines = [
            (self.route(start, bay.at), bay)
            for bay in sorted(
                others, key=lambda bay: abs(_DETOUR * metres(start, bay.at) - wanted_m)
            )[:_TRIES]
        ]
        if max(length_m(line) for line, _ in lines) < wanted_m / 2:
            lines = [self._round(start, chance) for _ in range(_TRIES)]

        def off_m(found: tuple[list[Spot], Bay]) -> float:
            return abs(length_m(found[0]) - wanted_m)

        by_length = sorted(lines, key=off_m)
        most_m = off_m(by_length[0]) + _LIKE * wanted_m
        return chance.choice([found for found in by_length[:_CHOICES] if off_m(found) <= most_m])

    def _round(self, start: Spot, chance: random.Random) -> tuple[list[Spot], Bay]:
        """Return a way by somewhere else to some bay."""
        via, bay = chance.choice(self.bays).at, chance.choice(self.bays)
        return [*self.route(start, via)[:-1], *self.route(via, bay.at)[1:]], bay

    def _add_street(self, line: Sequence[Spot]) -> None:
        for one, other in pairwise(line):
            if one != other:
                way_m = metres(one, other)
                self._ways[one][other] = self._ways[other][one] = way_m


_HERE_M: Final = 30.0


def _is_for_scooters(properties: Mapping[str, Any]) -> bool:
    groups = properties.get("vehicle_types_capacity", ())
    return properties["kind"] == "bay" and any(
        not group["vehicle_type_ids"] or "e_scooter" in group["vehicle_type_ids"]
        for group in groups
    )
