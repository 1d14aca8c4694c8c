"""Search: what is near, free, charged enough, and as new as telemetry."""

import math
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloud.booking import model
from cloud.booking.finding import Near, find, take_over
from cloud.booking.model import Place
from cloud.booking.store import search
from cloud.kit.scope import DEMO, Scope
from cloud.telemetry.api import LastState, Latest
from protocol.signals import BY_KEY
from tests.cloud.booking.parts import CENTRE, World, a_vehicle

HERE = Place(*CENTRE)


def found(world: World, near: Near, scope: Scope = DEMO) -> list[str]:
    return [one.vehicle.id for one in find(world.db, world.parts, scope, near, world.now)]


def test_the_nearest_come_first_and_what_is_too_far_does_not(world: World) -> None:
    for number, metres in enumerate((400, 90, 600)):
        a_vehicle(world.db, f"far-00{number}", lat=CENTRE[0] + metres / 111_194.9, at=world.now)
    assert found(world, Near(HERE, 500)) == ["booked-001", "far-001", "far-000"]
    assert found(world, Near(HERE, 500, limit=1)) == ["booked-001"]


def test_type_charge_and_service_narrow_the_search(world: World) -> None:
    a_vehicle(world.db, "bike-0001", kind="bike", soc_pct=None, at=world.now)
    a_vehicle(world.db, "empty-001", soc_pct=10, at=world.now)
    a_vehicle(world.db, "broken-01", rentable=False, at=world.now)
    assert found(world, Near(HERE)) == ["bike-0001", "booked-001", "empty-001"]
    assert found(world, Near(HERE, vehicle_type="bike")) == ["bike-0001"]
    assert found(world, Near(HERE, min_soc_pct=50)) == ["booked-001"]


def test_a_range_is_what_the_charge_makes_of_the_types(world: World) -> None:
    a_vehicle(world.db, "farther-1", soc_pct=57.5, max_range_m=80_001, at=world.now)
    a_vehicle(world.db, "mute-0001", soc_pct=None, at=world.now)
    a_vehicle(world.db, "untyped-1", max_range_m=None, at=world.now)
    seen = find(world.db, world.parts, DEMO, Near(HERE), world.now)
    assert {one.vehicle.id: one.vehicle.range_m for one in seen} == {
        "booked-001": 32_000,
        "farther-1": 46_000,
        "mute-0001": None,
        "untyped-1": None,
    }
    assert found(world, Near(HERE, min_range_m=32_000)) == ["booked-001", "farther-1"]
    assert found(world, Near(HERE, min_range_m=32_001)) == ["farther-1"]


def test_a_type_is_asked_for_by_its_kind_or_its_id(world: World) -> None:
    a_vehicle(world.db, "bike-0001", kind="bike", at=world.now)
    for said in ("bike", "e_bike"):
        assert found(world, Near(HERE, vehicle_type=said)) == ["bike-0001"]


@pytest.mark.parametrize("bearing", range(0, 360, 45))
def test_the_nearest_are_the_nearest_on_the_ground_however_far(world: World, bearing: int) -> None:
    """A degree of longitude is shorter than one of latitude: the index goes by degrees."""
    angle = math.radians(bearing)
    for number, metres in enumerate((30_000, 20_000, 26_000, 24_000, 22_000)):
        turned = angle + number * math.pi / 2
        a_vehicle(
            world.db,
            f"far-00{number}",
            lat=CENTRE[0] + metres * math.cos(turned) / 111_194.9,
            lon=CENTRE[1]
            + metres * math.sin(turned) / 111_194.9 / math.cos(math.radians(CENTRE[0])),
            at=world.now,
        )
    near = search.nearest(world.db, DEMO, HERE, world.now, vehicle_type="scooter", limit=4)
    assert [one.id for one in near] == ["booked-001", "far-001", "far-004", "far-003"]
    assert search.nearest(world.db, DEMO, HERE, world.now, vehicle_type="van") == []


def test_a_vehicle_nobody_has_placed_or_of_another_city_is_not_found(world: World) -> None:
    a_vehicle(world.db, "lost-0001", lat=None, lon=None, at=world.now)
    assert found(world, Near(HERE)) == ["booked-001"]
    assert found(world, Near(HERE), Scope(DEMO.tenant, "elsewhere")) == []


def test_a_type_without_a_price_shows_none(world: World) -> None:
    world.parts.payments.unpriced = frozenset({"scooter"})  # type: ignore[attr-defined]
    (one,) = find(world.db, world.parts, DEMO, Near(HERE), world.now)
    assert one.quote is None


def test_a_vehicle_is_where_telemetry_last_saw_it_and_old_news_moves_nothing(
    world: World,
) -> None:
    def says(lat: float, after_s: float) -> dict[str, LastState]:
        at = world.now + timedelta(seconds=after_s)
        values = {"latitude_deg": lat, "longitude_deg": CENTRE[1], "soc_pct": 42.0}
        latest = {key: Latest(BY_KEY[key], value, at) for key, value in values.items()}
        return {"booked-001": LastState("booked-001", latest, at)}

    assert take_over(world.db, says(52.60, 10)) == 1
    assert take_over(world.db, says(52.70, 5)) == 0
    vehicle = search.find(world.db, DEMO, "booked-001")
    assert vehicle is not None
    assert (vehicle.lat, vehicle.soc_pct) == (52.60, 42.0)


@given(
    lat=st.floats(-85, 85),
    lon=st.floats(-179, 179),
    bearing=st.floats(0, 2 * math.pi),
    radius_m=st.floats(10, 5_000),
    share=st.sampled_from([0.5, 0.97, 1.03, 2.0]),
)
@example(lat=52.5, lon=4e-222, bearing=0.0, radius_m=100.0, share=0.5)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_a_radius_is_metres_on_the_ground_wherever_one_is(
    world: World, lat: float, lon: float, bearing: float, radius_m: float, share: float
) -> None:
    metres = radius_m * share
    there = Place(
        lat + metres * math.cos(bearing) / 111_194.9,
        lon + metres * math.sin(bearing) / 111_194.9 / math.cos(math.radians(lat)),
    )
    if abs(there.lon) > 180 or abs(model.distance_m(Place(lat, lon), there) - radius_m) < 0.01:
        return
    world.db.execute("UPDATE booking.vehicle SET place = point(%s, %s)", [there.lon, there.lat])
    inside = model.distance_m(Place(lat, lon), there) <= radius_m
    assert found(world, Near(Place(lat, lon), radius_m)) == (["booked-001"] if inside else [])
