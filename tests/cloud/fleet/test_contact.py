"""Vehicles that are no longer heard, on real Postgres."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from cloud.fleet import api, states, store
from cloud.fleet.contact import follow
from cloud.fleet.model import Vehicle
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.scope import DEMO
from tests.cloud.devices.commanded import an_able_device
from tests.cloud.sealed import NOON


@pytest.fixture
def vehicle_id(db: Db) -> str:
    """A vehicle whose device said hello at noon."""
    an_able_device(db, "heard-1")
    vehicle = Vehicle("heard-1", "heard-1", "scooter", "heard-1", "available")
    states.add_vehicle(db, DEMO, vehicle, NOON)
    return vehicle.id


def state(db: Db, vehicle_id: str) -> str:
    found = store.vehicle(db, DEMO, vehicle_id)
    assert found is not None
    return found.state


def test_a_vehicle_is_lost_once_it_was_silent_for_90_seconds(db: Db, vehicle_id: str) -> None:
    assert follow(db, NOON + timedelta(seconds=89)) == 0
    assert state(db, vehicle_id) == "available"
    assert follow(db, NOON + timedelta(seconds=91)) == 1
    assert follow(db, NOON + timedelta(seconds=99)) == 0
    assert state(db, vehicle_id) == "non_contactable"


def test_a_vehicle_that_speaks_again_is_as_it_was(db: Db, vehicle_id: str) -> None:
    api.transition(db, DEMO, vehicle_id, "trip_start", NOON, NOON)
    later = NOON + timedelta(seconds=200)
    follow(db, later)
    db.execute("UPDATE devices.presence SET connected = true, last_heard_at = %s", [later])
    assert follow(db, later + timedelta(seconds=5)) == 1
    assert state(db, vehicle_id) == "on_trip"
    events = [event.event for event in api.history(db, DEMO, vehicle_id, 2)]
    assert events == ["comms_restored", "comms_lost"]


def test_a_missing_vehicle_that_speaks_is_located(db: Db, vehicle_id: str) -> None:
    later = NOON + timedelta(seconds=200)
    follow(db, later)
    api.transition(db, DEMO, vehicle_id, "not_located", later, later)
    assert state(db, vehicle_id) == "missing"
    db.execute("UPDATE devices.presence SET connected = true, last_heard_at = %s", [later])
    follow(db, later)
    assert state(db, vehicle_id) == "available"


def test_who_never_spoke_has_lost_nothing(db: Db) -> None:
    silent = Vehicle("silent-1", "silent-1", "scooter", "silent-1", "available")
    states.add_vehicle(db, DEMO, silent, NOON)
    assert follow(db, NOON + timedelta(days=1)) == 0


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    """Connections whose changes stay, and are taken back after the test."""
    with open_pool(dsn, max_size=2) as pool:
        yield pool
        with pool.connection() as db:
            db.execute("TRUNCATE fleet.vehicle, devices.presence, devices.device CASCADE")


def test_after_a_start_everybody_gets_time_to_say_hello(pool: Pool, clock: ManualClock) -> None:
    clock.at = NOON + timedelta(days=1)
    with pool.connection() as db:
        an_able_device(db, "heard-2")
        vehicle = Vehicle("heard-2", "heard-2", "scooter", "heard-2", "available")
        states.add_vehicle(db, DEMO, vehicle, NOON)
    contact = api.Contact(clock)
    assert contact.look(pool) == 0
    clock.advance(timedelta(seconds=90))
    assert contact.look(pool) == 1
