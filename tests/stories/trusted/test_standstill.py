"""Nothing locks or immobilises a vehicle that goes 20 km/h, whoever asks and whoever feels it.

Each refusal has its twin at standstill, on the same vehicle.
"""

import math
from collections.abc import Iterator

import pytest

from firmware_shim.gnss import GnssReceiver
from firmware_shim.lock_unit import LockUnit
from firmware_shim.m365 import M365Esc
from tests.stories.trusted.cloud import Cloud, until
from tests.stories.trusted.vehicle import Vehicle, Workbench

pytestmark = [pytest.mark.story, pytest.mark.slow]

DONE, MOVING = ("done", ""), ("refused", "moving")
SPEED, LONGITUDE = "Vehicle.Speed", "Vehicle.CurrentLocation.Longitude"


@pytest.fixture(scope="module")
def scooter(
    cloud: Cloud, bench: Workbench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vehicle]:
    """A vehicle with a lock unit and a GNSS receiver; unlocked, standing."""
    folder, lock = tmp_path_factory.mktemp("scooter"), LockUnit()
    lock.set({"locked": False})
    with Vehicle(cloud, bench, folder, "rides-001", lock=lock, gnss=GnssReceiver()) as vehicle:
        vehicle.start_and_greet()
        yield vehicle


@pytest.fixture(scope="module")
def xiaomi(
    cloud: Cloud, bench: Workbench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vehicle]:
    """A Xiaomi M365, which itself would lock at any speed."""
    folder = tmp_path_factory.mktemp("xiaomi")
    with Vehicle(cloud, bench, folder, "rides-002", lock=M365Esc()) as vehicle:
        vehicle.start_and_greet()
        yield vehicle


@pytest.fixture
def unit(scooter: Vehicle) -> Iterator[LockUnit]:
    """The scooter's lock unit: free at first, standing at the end."""
    assert isinstance(scooter.lock, LockUnit)
    scooter.turn(speed_kmh=0, locked=False, immobilised=False)
    scooter.turn_gnss(speed_kmh=0)
    yield scooter.lock
    scooter.turn(speed_kmh=0)
    scooter.turn_gnss(speed_kmh=0)


def last(vehicle: Vehicle, signal: str) -> float:
    """The newest value that the cloud has of a signal; nan while there is none."""
    answer = vehicle.cloud.api.get(f"/api/v1/telemetry/{vehicle.id}/last").raise_for_status()
    return float(answer.json()["values"].get(signal, {"value": math.nan})["value"])


def knows_where(vehicle: Vehicle) -> bool:
    return not math.isnan(last(vehicle, LONGITUDE))


def feels(vehicle: Vehicle, kmh: float) -> None:
    """Wait until the vehicle itself says that it goes so fast."""
    until(f"{vehicle.id} feels {kmh} km/h", lambda: abs(last(vehicle, SPEED) - kmh) < 1)


def test_a_lock_at_20_kmh_is_refused_and_at_standstill_done(
    scooter: Vehicle, unit: LockUnit
) -> None:
    moves = unit.moves
    scooter.turn(speed_kmh=20)
    feels(scooter, 20)
    assert scooter.does("lock") == MOVING
    assert scooter.does("immobilise", on=True) == MOVING
    assert (unit.moves, unit.sensors.latch, unit.sensors.immobilised) == (moves, 0, False)
    scooter.turn(speed_kmh=0)
    feels(scooter, 0)
    assert scooter.does("lock") == DONE
    assert scooter.does("immobilise", on=True) == DONE
    assert (unit.moves, unit.sensors.latch, unit.sensors.immobilised) == (moves + 1, 1, True)


def test_a_twin_that_immobilises_at_20_kmh_is_refused_and_at_standstill_applied(
    scooter: Vehicle, unit: LockUnit
) -> None:
    scooter.turn(speed_kmh=20)
    feels(scooter, 20)
    version = scooter.cloud.wish(scooter.id, immobilised=True)
    assert scooter.cloud.reported(scooter.id, version) == MOVING
    assert not unit.sensors.immobilised
    scooter.turn(speed_kmh=0)
    feels(scooter, 0)
    version = scooter.cloud.wish(scooter.id, immobilised=True)
    assert scooter.cloud.reported(scooter.id, version) == ("applied", "")
    assert unit.sensors.immobilised
    version = scooter.cloud.wish(scooter.id, immobilised=False)
    assert scooter.cloud.reported(scooter.id, version) == ("applied", "")


def test_a_lock_is_refused_while_gnss_says_20_kmh_and_the_wheels_say_0(
    scooter: Vehicle, unit: LockUnit
) -> None:
    moves = unit.moves
    # A parked vehicle writes its position down once a minute, and whenever it is told to.
    until("there is a fix", lambda: scooter.does("read_now") == DONE and knows_where(scooter))
    before = last(scooter, LONGITUDE)
    scooter.turn_gnss(speed_kmh=20, course_deg=90)
    until("it is felt to move", lambda: last(scooter, LONGITUDE) > before)
    # The wheel's word is what is reported, and it is the wrong one here.
    assert last(scooter, SPEED) == 0
    assert scooter.does("lock") == MOVING
    assert scooter.does("immobilise", on=True) == MOVING
    assert (unit.moves, unit.sensors.latch, unit.sensors.immobilised) == (moves, 0, False)
    scooter.turn_gnss(speed_kmh=0)
    until("the scooter stands", lambda: scooter.does("lock") == DONE)
    assert (unit.moves, unit.sensors.latch) == (moves + 1, 1)


def test_a_xiaomis_lock_register_is_left_alone_at_20_kmh_and_written_at_standstill(
    xiaomi: Vehicle,
) -> None:
    esc = xiaomi.lock
    assert isinstance(esc, M365Esc)
    xiaomi.turn(speed_kmh=20, locked=False)
    feels(xiaomi, 20)
    assert xiaomi.does("lock") == MOVING
    assert xiaomi.does("immobilise", on=True) == MOVING
    assert (esc.moved["lock"], esc.ride.locked) == (0, False)
    xiaomi.turn(speed_kmh=0)
    feels(xiaomi, 0)
    assert xiaomi.does("lock") == DONE
    assert (esc.moved["lock"], esc.ride.locked) == (1, True)
    assert xiaomi.does("unlock") == DONE
    assert not esc.ride.locked
