"""The copy that search reads follows fleet's vehicles and telemetry's last states."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from cloud.booking.finding import Follower
from cloud.booking.model import Place
from cloud.booking.store import search
from cloud.events.fleet import VehicleChanged
from cloud.fleet import states
from cloud.fleet.city import import_city
from cloud.fleet.model import Vehicle
from cloud.identity.api import console
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.events import publish
from cloud.kit.scope import DEMO
from tests.cloud.booking.parts import World
from tests.cloud.fleet.city import a_city
from tests.cloud.pages.parts import hear

HERE = {"latitude_deg": 52.5, "longitude_deg": 13.4, "soc_pct": 80.0}


def of_fleet(db: Db, clock: ManualClock, vehicle_id: str, kind: str = "scooter") -> Vehicle:
    vehicle = Vehicle(vehicle_id, vehicle_id, kind, "Otter", "available")
    states.add_vehicle(db, DEMO, vehicle, clock.now())
    return vehicle


def known(db: Db, vehicle_id: str) -> tuple[str, str, bool] | None:
    found = search.find(db, DEMO, vehicle_id)
    return None if found is None else (found.name, found.type, found.rentable)


def test_a_vehicle_that_fleet_adds_can_be_searched_for(world: World, clock: ManualClock) -> None:
    of_fleet(world.db, clock, "fleet-001", "bike")
    assert known(world.db, "fleet-001") is None
    world.deliver()
    assert known(world.db, "fleet-001") == ("Otter", "bike", True)


def test_a_vehicle_out_of_service_is_not_to_be_had_and_comes_back(
    world: World, clock: ManualClock
) -> None:
    of_fleet(world.db, clock, "fleet-001")
    world.deliver()
    for event, rentable in (("battery_low", False), ("battery_charged", True)):
        clock.advance(timedelta(minutes=1))
        states.move(world.db, DEMO, "fleet-001", event, clock.now(), clock.now())
        world.deliver()
        assert known(world.db, "fleet-001") == ("Otter", "scooter", rentable)


def test_an_old_event_that_comes_late_tells_what_fleet_knows_now(
    world: World, clock: ManualClock
) -> None:
    vehicle = of_fleet(world.db, clock, "fleet-001")
    world.deliver()
    late = VehicleChanged(
        tenant=DEMO.tenant,
        city=DEMO.city,
        vehicle_id=vehicle.id,
        device_id=vehicle.device_id,
        vehicle_type_id="van",
        kind="van",
        name="An older name",
        plate=None,
        at=clock.now() - timedelta(days=1),
    )
    publish(world.db, late, at=clock.now())
    world.deliver()
    assert known(world.db, "fleet-001") == ("Otter", "scooter", True)


def test_a_range_follows_the_type_of_a_vehicle_and_what_the_city_says_of_it(
    world: World, clock: ManualClock
) -> None:
    def told() -> tuple[str | None, int | None]:
        found = search.find(world.db, DEMO, "fleet-001")
        assert found is not None
        return found.vehicle_type_id, found.max_range_m

    of_fleet(world.db, clock, "fleet-001")
    world.deliver()
    assert told() == ("e_scooter", 40_000)
    states.assign(world.db, DEMO, "fleet-001", "e_bike", clock.now())
    world.deliver()
    assert told() == ("e_bike", 80_000)
    types = [
        {
            "vehicle_type_id": "e_bike",
            "name": "E-bike",
            "kind": "bike",
            "form_factor": "bicycle",
            "propulsion_type": "electric_assist",
            "max_range_meters": 65_000,
        }
    ]
    import_city(world.db, console(DEMO), "city", a_city(vehicle_types=types), clock.now())
    world.deliver()
    assert told() == ("e_bike", 65_000)


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool:
        yield pool


def place_of(pool: Pool, vehicle_id: str) -> tuple[Place | None, float | None]:
    with pool.connection() as db:
        found = search.find(db, DEMO, vehicle_id)
    assert found is not None
    return found.place, found.soc_pct


def test_the_copy_is_where_telemetry_last_heard_of_a_vehicle(
    pool: Pool, clock: ManualClock
) -> None:
    vehicle_id = "follow-001"
    with pool.connection() as db:
        search.put(db, DEMO, a_row(vehicle_id))
        hear(db, vehicle_id, clock.now(), HERE)
    follower = Follower(clock)
    assert place_of(pool, vehicle_id) == (None, None)
    assert follower.look(pool) == 1
    assert place_of(pool, vehicle_id) == (Place(52.5, 13.4), 80.0)
    assert follower.look(pool) == 0
    clock.advance(timedelta(seconds=30))
    with pool.connection() as db:
        hear(db, vehicle_id, clock.now(), HERE | {"latitude_deg": 52.6, "soc_pct": 79.0})
    assert follower.look(pool) == 1
    assert place_of(pool, vehicle_id) == (Place(52.6, 13.4), 79.0)


def test_what_was_committed_behind_the_last_look_is_found_by_the_next(
    pool: Pool, clock: ManualClock
) -> None:
    """A transaction takes its time before it commits: a look in between must not skip it."""
    vehicle_id, follower = "follow-002", Follower(clock)
    with pool.connection() as db:
        search.put(db, DEMO, a_row(vehicle_id))
    began = clock.now()
    clock.advance(timedelta(seconds=5))
    follower.look(pool)
    with pool.connection() as db:
        hear(db, vehicle_id, began, HERE)
    follower.look(pool)
    assert place_of(pool, vehicle_id) == (Place(52.5, 13.4), 80.0)


def a_row(vehicle_id: str) -> search.Vehicle:
    return search.Vehicle(
        id=vehicle_id,
        tenant=DEMO.tenant,
        city=DEMO.city,
        device_id=vehicle_id,
        type="scooter",
        name=vehicle_id,
        rentable=True,
        lat=None,
        lon=None,
        soc_pct=None,
        seen_at=None,
    )
