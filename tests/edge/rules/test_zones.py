"""Zones on board: where the border is, which zone decides, and how gently power fades."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gnss.fix import Fix
from edge.rules.zones import FADE_KMH_A_S, KEEP_S, Fade, Fence, ZoneWatch, limit_of
from protocol.zones import Ring, Zone, ZonesError, check_zones

LAT, LON = 52.0, 13.0
NORTH_DEG = 1 / 111_195
EAST_DEG = NORTH_DEG / math.cos(math.radians(LAT))


def ring(west: float, south: float, east: float, north: float) -> Ring:
    """A rectangle, in metres from the middle."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return [(LON + x * EAST_DEG, LAT + y * NORTH_DEG) for x, y in corners]


def slow(name: str, *rings: Ring, kmh: int | None = 10) -> Zone:
    return Zone(id=name, kind="slow", area=[list(rings)], limit_kmh=kmh)


def no_go(name: str, *rings: Ring) -> Zone:
    return Zone(id=name, kind="no_go", area=[list(rings)])


def at(east_m: float, north_m: float = 0.0, accuracy_m: float | None = 3.0) -> Fix:
    return Fix(LAT + north_m * NORTH_DEG, LON + east_m * EAST_DEG, 0.0, 0.9, 0.0, accuracy_m)


SQUARE = ring(-100, -100, 100, 100)
HOLE = ring(-20, -20, 20, 20)
ELL: Ring = [
    (LON + x * EAST_DEG, LAT + y * NORTH_DEG)
    for x, y in [(0, 0), (100, 0), (100, 20), (20, 20), (20, 100), (0, 100), (0, 0)]
]


@pytest.mark.parametrize(
    ("rings", "east_m", "north_m", "offset_m"),
    [
        ([SQUARE], 0, 0, -100),
        ([SQUARE], 90, 0, -10),
        ([SQUARE], 110, 0, 10),
        ([SQUARE], 103, 104, 5),
        ([SQUARE, HOLE], 0, 0, 20),
        ([SQUARE, HOLE], 30, 0, -10),
        ([ELL], 10, 50, -10),
        ([ELL], 50, 50, 30),
        ([ELL], -7, 50, 7),
        ([SQUARE], 5_000, 0, math.inf),
    ],
)
def test_the_metres_to_a_border(
    rings: Sequence[Ring], east_m: float, north_m: float, offset_m: float
) -> None:
    fence = Fence.around(slow("z", *rings))
    here = at(east_m, north_m)
    found = fence.offset_m(here.latitude_deg, here.longitude_deg, 50.0)
    assert found == pytest.approx(offset_m, abs=0.05)


@given(st.floats(-300, 300), st.floats(-300, 300))
def test_a_hole_and_a_second_polygon_are_what_they_say(east_m: float, north_m: float) -> None:
    zone = Zone("z", "slow", [[SQUARE, HOLE], [ring(150, -50, 250, 50)]], 10)
    inside = max(abs(east_m), abs(north_m)) < 100 and max(abs(east_m), abs(north_m)) > 20
    inside |= 150 < east_m < 250 and abs(north_m) < 50
    here = at(east_m, north_m)
    found = Fence.around(zone).offset_m(here.latitude_deg, here.longitude_deg, 1_000.0)
    assert (found < 0) == inside or abs(found) < 0.01


def kinds(watch: ZoneWatch, fix: Fix | None, now_s: float = 0.0) -> list[tuple[str, str]]:
    facts = watch.see(fix, now_s)
    return [(kind.removeprefix("geofence."), str(fields["zone"])) for kind, fields in facts]


@pytest.mark.parametrize(
    ("accuracy_m", "clear_m"), [(None, 5.0), (1.0, 5.0), (12.0, 12.0), (28.0, 25.0)]
)
def test_a_zone_is_left_only_when_the_position_is_clear_of_its_border(
    accuracy_m: float | None, clear_m: float
) -> None:
    watch = ZoneWatch([slow("school", SQUARE)])
    steps = [101.0, 99.5, 100.0 + clear_m - 0.5, 99.5, 100.0 + clear_m + 0.5, 101.0]
    found = [kinds(watch, at(east_m, accuracy_m=accuracy_m)) for east_m in steps]
    assert found == [[], [("entered", "school")], [], [], [("left", "school")], []]


def test_a_poor_position_neither_enters_nor_leaves() -> None:
    watch = ZoneWatch([slow("school", SQUARE)])
    assert kinds(watch, at(0, accuracy_m=31.0)) == []
    kinds(watch, at(0))
    assert kinds(watch, at(5_000, accuracy_m=31.0)) == []


def test_far_away_is_left_at_once_and_what_is_entered_says_its_limit() -> None:
    watch = ZoneWatch([slow("school", SQUARE, kmh=15), no_go("park", HOLE)])
    assert watch.see(at(0), 0.0) == [
        (
            "geofence.entered",
            {"zone": "school", "kind": "slow", "limit_kmh": 15, "accuracy_m": 3.0},
        ),
        ("geofence.entered", {"zone": "park", "kind": "no_go", "limit_kmh": 3, "accuracy_m": 3.0}),
    ]
    assert kinds(watch, at(90_000)) == [("left", "school"), ("left", "park")]


SCHOOL, PARK = slow("school", SQUARE, kmh=15), no_go("park", ring(0, -100, 200, 100))
FREE = slow("free", ring(40, -100, 60, 100), kmh=None)


@pytest.mark.parametrize(
    ("zones", "east_m", "limit_kmh"),
    [
        ([SCHOOL, PARK], 50, 15),
        ([PARK, SCHOOL], 50, 3),
        ([SCHOOL, PARK], 150, 3),
        ([FREE, PARK, SCHOOL], 50, None),
        ([FREE, PARK, SCHOOL], 80, 3),
        ([SCHOOL, PARK], 300, None),
        ([], 0, None),
    ],
)
def test_the_earlier_zone_decides(
    zones: Sequence[Zone], east_m: float, limit_kmh: int | None
) -> None:
    watch = ZoneWatch(zones)
    watch.see(at(east_m), 0.0)
    assert limit_of(watch.in_force) == limit_kmh


def test_without_positions_a_zone_stays_for_ten_minutes() -> None:
    watch = ZoneWatch([SCHOOL])
    for now_s in (-300.0, 0.0):
        watch.see(at(0), now_s)
    assert kinds(watch, None, KEEP_S) == []
    assert watch.see(None, KEEP_S + 1) == [("geofence.left", {"zone": "school", "why": "no_fix"})]
    assert watch.in_force is None


def test_a_restart_inside_of_a_zone_counts_its_ten_minutes_anew() -> None:
    watch = ZoneWatch([SCHOOL], inside=["school", "gone"])
    assert watch.in_force is SCHOOL
    assert kinds(watch, None, 5_000.0) == []
    assert kinds(watch, None, 5_000.0 + KEEP_S) == []
    assert kinds(watch, None, 5_001.0 + KEEP_S) == [("left", "school")]


def test_other_zones_are_followed_at_once_and_those_that_stay_are_not_entered_again() -> None:
    watch = ZoneWatch([SCHOOL, slow("old", SQUARE)])
    watch.see(at(0), 0.0)
    other = slow("school", SQUARE, kmh=20)
    assert watch.replace([other]) == [("geofence.left", {"zone": "old", "why": "zone_gone"})]
    assert limit_of(watch.in_force) == 20
    assert kinds(watch, at(0)) == []


def faded(
    limit_kmh: int, speed_kmh: float | None, usual_kmh: int | None = None, every_s: float = 0.25
) -> list[int]:
    """The limits until the zone's is reached; the vehicle goes as fast as it may."""
    fade, now_s = Fade(), 100.0
    found: list[int] = []
    while not found or found[-1] > limit_kmh:
        kmh = fade.step(limit_kmh, speed_kmh, usual_kmh, now_s)
        assert kmh is not None
        found.append(kmh)
        speed_kmh = None if speed_kmh is None else min(speed_kmh, float(kmh))
        now_s += every_s
    return found


@pytest.mark.parametrize(
    ("limit_kmh", "speed_kmh", "usual_kmh", "first", "most_s"),
    [
        (10, 24.6, None, 25, 2.0),
        (3, 25.0, None, 25, 3.0),
        (10, 45.0, None, 45, 4.5),
        (10, -24.6, None, 25, 2.0),
        (10, 8.0, None, 10, 0.0),
        (10, None, 20, 20, 1.5),
        (10, None, None, 45, 4.5),
        (3, None, None, 45, 3.75),
        (20, 30.0, 10, 20, 0.0),
    ],
)
def test_power_fades_from_the_present_speed_and_is_down_within_five_seconds(
    limit_kmh: int, speed_kmh: float | None, usual_kmh: int | None, first: int, most_s: float
) -> None:
    found = faded(limit_kmh, speed_kmh, usual_kmh)
    assert (found[0], found[-1]) == (first, limit_kmh)
    assert (len(found) - 1) * 0.25 <= most_s
    steepest = max((a - b for a, b in pairwise(found)), default=0)
    assert steepest <= FADE_KMH_A_S * 0.25 + 1


def test_a_limit_never_rises_while_it_fades_and_is_gone_at_once_outside() -> None:
    fade = Fade()
    assert fade.step(3, 20.0, None, 0.0) == 20
    assert fade.step(3, 9.0, None, 0.25) == 9
    assert fade.step(3, 20.0, None, 0.5) == 7
    assert fade.step(15, 7.0, None, 0.75) == 15
    assert fade.step(None, 7.0, None, 1.0) is None
    assert fade.kmh is None


@pytest.mark.parametrize(
    ("zones", "why"),
    [
        ([slow(str(n), SQUARE) for n in range(65)], "65 zones"),
        ([slow("z", SQUARE * 500)], "2,500 corners"),
        ([slow("z", SQUARE), slow("z", SQUARE)], "twice"),
        ([slow("z", SQUARE[:3])], "fewer than 4"),
        ([Zone("z", "slow", [[]])], "fewer than 4"),
    ],
)
def test_zones_that_do_not_fit_are_refused(zones: Sequence[Zone], why: str) -> None:
    with pytest.raises(ZonesError, match=why):
        check_zones(zones)
