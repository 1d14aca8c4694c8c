"""Vehicles as people see them, on real Postgres."""

from datetime import timedelta

import pytest

from cloud.devices import api as devices
from cloud.devices.commit import Parts, commit_batch
from cloud.devices.opening import open_all
from cloud.fleet import api
from cloud.fleet.reactions import SUBSCRIBERS
from cloud.kit.db import Db
from cloud.kit.events import register, run_due
from cloud.kit.scope import DEMO, Scope
from cloud.telemetry import api as telemetry
from protocol.signals import BY_KEY
from tests.cloud.sealed import DEVICE, NOON, NOON_MS, arrival, signals


@pytest.fixture(autouse=True)
def _subscribed(db: Db) -> None:
    register(db, ["fleet"], SUBSCRIBERS)


def enrol(db: Db, device_id: str = DEVICE) -> None:
    devices.enrol(db, device_id, "jbd_uart", NOON)
    run_due(db, SUBSCRIBERS, NOON)


def commit(db: Db, payload: bytes) -> None:
    candidates, _ = open_all([arrival(payload)], {})
    commit_batch(db, candidates, (), Parts(telemetry.keep, (telemetry.project,)), NOON)


def test_an_enrolled_device_gets_a_vehicle(db: Db) -> None:
    enrol(db)
    assert api.vehicle(db, DEMO, DEVICE, NOON) == api.VehicleView(
        id=DEVICE,
        name=DEVICE,
        type="scooter",
        state="available",
        connected=False,
        last_signal_at=None,
        age_s=None,
        soc_pct=None,
        voltage_v=None,
        current_a=None,
        temperature_c=None,
        values={},
        vehicle_type_id="e_scooter",
    )


def test_enrolling_again_makes_no_second_vehicle(db: Db) -> None:
    enrol(db)
    enrol(db)
    assert [vehicle.id for vehicle in api.vehicles(db, DEMO, NOON)] == [DEVICE]


def test_a_vehicle_shows_what_its_device_reported_last(db: Db) -> None:
    enrol(db)
    columns: dict[int, list[int | None]] = {
        1: [3_612],
        2: [-1_250],
        3: [805],
        8: [251],
        9: [264],
        10: [None],
    }
    commit(db, signals(1, 1, start_ms=NOON_MS, columns=columns))
    found = api.vehicle(db, DEMO, DEVICE, NOON + timedelta(seconds=2.5))
    assert found is not None
    assert (found.voltage_v, found.current_a, found.soc_pct) == (36.12, -12.5, 80.5)
    assert (found.temperature_c, found.age_s, found.last_signal_at) == (26.4, 2.5, NOON)
    assert found.values[BY_KEY["current_a"].name] == -12.5


def test_a_sensor_that_went_silent_does_not_look_alive(db: Db) -> None:
    enrol(db)
    commit(db, signals(1, 1, start_ms=NOON_MS - 61_000, columns={1: [3600], 8: [251], 9: [990]}))
    commit(db, signals(2, 1, start_ms=NOON_MS - 60_000, columns={1: [3600], 8: [251], 10: [260]}))
    commit(db, signals(3, 1, start_ms=NOON_MS, columns={1: [3600], 8: [252], 9: [None]}))
    found = api.vehicle(db, DEMO, DEVICE, NOON)
    assert found is not None
    assert found.temperature_c == 26.0
    assert BY_KEY["temperature_2_c"].name not in found.values
    assert telemetry.last(db)[DEVICE].latest["temperature_2_c"].value == 99.0


def test_a_vehicle_is_seen_in_its_own_city_only(db: Db) -> None:
    enrol(db)
    for stranger in (Scope("demo", "elsewhere"), Scope("other", "demo")):
        assert api.vehicle(db, stranger, DEVICE, NOON) is None
        assert api.vehicles(db, stranger, NOON) == []
        assert not api.is_vehicle(db, stranger, DEVICE)
        assert api.carrier(db, stranger, DEVICE) is None
    carrier = api.carrier(db, DEMO, DEVICE)
    assert carrier is not None
    assert (carrier.id, api.is_vehicle(db, DEMO, DEVICE)) == (DEVICE, True)


def test_there_is_no_vehicle_without_a_device(db: Db) -> None:
    assert api.vehicle(db, DEMO, "nobody", NOON) is None
