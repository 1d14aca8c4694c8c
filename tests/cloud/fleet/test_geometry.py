"""Areas and distances in metres."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.fleet.geometry import (
    AreaError,
    Point,
    around,
    centre_of,
    extent_of,
    offset_m,
    read_area,
)
from tests.cloud.fleet.city import CENTRE, at_m, box


@pytest.mark.parametrize(
    ("east", "north", "offset"),
    [(0, 0, -5), (4, 0, -1), (5, 0, 0), (8, 0, 3), (8, 9, 5), (0, -105, 100), (1005, 0, 1000)],
)
def test_an_offset_is_in_metres_and_negative_inside(
    east: float, north: float, offset: float
) -> None:
    assert offset_m(box(-5, -5, 5, 5), at_m(east, north)) == pytest.approx(offset, abs=0.6)


def test_a_hole_is_outside() -> None:
    area = box(-50, -50, 50, 50)
    area["coordinates"] += box(-10, -10, 10, 10)["coordinates"]
    assert offset_m(area, CENTRE) == pytest.approx(10, abs=0.1)
    assert offset_m(area, at_m(20, 0)) == pytest.approx(-10, abs=0.1)


def test_an_area_of_two_parts_is_near_where_either_is() -> None:
    parts = [box(-5, -5, 5, 5)["coordinates"], box(95, -5, 105, 5)["coordinates"]]
    area = {"type": "MultiPolygon", "coordinates": parts}
    assert offset_m(read_area(area), at_m(92, 0)) == pytest.approx(3, abs=0.1)


@given(
    lat=st.floats(-70, 70),
    lon=st.floats(-170, 170),
    bearing=st.floats(0, 2 * math.pi),
    metres=st.floats(20, 2_000),
)
def test_distances_agree_with_the_great_circle(
    lat: float, lon: float, bearing: float, metres: float
) -> None:
    here = Point(lat, lon)
    there = Point(
        lat + math.cos(bearing) * metres / 111_195,
        lon + math.sin(bearing) * metres / (111_195 * math.cos(math.radians(lat))),
    )
    tiny = 1e-7
    corners = ((-tiny, -tiny), (tiny, -tiny), (tiny, tiny), (-tiny, tiny), (-tiny, -tiny))
    dot = {
        "type": "Polygon",
        "coordinates": [[[there.lon + x, there.lat + y] for x, y in corners]],
    }
    d_lat, d_lon = math.radians(there.lat - lat), math.radians(there.lon - lon)
    chord = (
        math.sin(d_lat / 2) ** 2
        + math.cos(math.radians(lat)) * math.cos(math.radians(there.lat)) * math.sin(d_lon / 2) ** 2
    )
    great_circle_m = 2 * 6_371_000 * math.asin(math.sqrt(chord))
    assert offset_m(dot, here) == pytest.approx(great_circle_m, rel=0.002, abs=0.1)


def test_a_box_around_a_circle_holds_it() -> None:
    seen = around(CENTRE, 100)
    for east, north in ((99, 0), (-99, 0), (0, 99), (0, -99)):
        point = at_m(east, north)
        assert seen.west < point.lon < seen.east
        assert seen.south < point.lat < seen.north
    assert extent_of(box(-5, -5, 5, 5)).west == pytest.approx(at_m(-5, 0).lon)


def test_the_middle_of_a_bent_area_is_inside() -> None:
    ring = [(0, 0), (100, 0), (100, 100), (90, 100), (90, 10), (0, 10), (0, 0)]
    bent = {
        "type": "Polygon",
        "coordinates": [[[(p := at_m(*corner)).lon, p.lat] for corner in ring]],
    }
    assert offset_m(bent, centre_of(bent)) < 0


def _ring(*points: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [list(map(list, points))]}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "no GeoJSON"),
        ({"type": "Point", "coordinates": [1, 2]}, "no GeoJSON"),
        ({"type": "Polygon"}, "cannot be read|no outline"),
        ({"type": "Polygon", "coordinates": []}, "no outline"),
        ({"type": "Polygon", "coordinates": "far"}, "cannot be read"),
        (_ring((0, 0), (1, float("nan")), (1, 1), (0, 0)), "cannot be read"),
        (_ring((0, 0), (1, 0)), "cannot be read"),
        (_ring((0, 0), (0.1, 0.1), (0.1, 0), (0, 0.1), (0, 0)), "not simple"),
        (_ring((200, 0), (201, 0), (201, 1), (200, 0)), "longitude beyond"),
        (_ring((13, 88), (13.1, 88), (13.1, 88.1), (13, 88)), "latitude beyond"),
        (_ring((0, 0), (9, 0), (9, 9), (0, 0)), "wider than"),
    ],
)
def test_what_is_no_area_is_refused(told: object, why: str) -> None:
    with pytest.raises(AreaError, match=why):
        read_area(told)


def test_what_is_an_area_is_kept_as_it_is() -> None:
    assert read_area(box(-5, -5, 5, 5)) == box(-5, -5, 5, 5)
