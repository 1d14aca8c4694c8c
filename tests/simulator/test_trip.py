"""Ways through a city, and vehicles that are ridden along them."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest

from firmware_shim.gnss import GnssReceiver
from firmware_shim.lock_sensors import LOCKED, UNLOCKED
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pack import Pack
from simulator.city import Spot, made_up
from simulator.load import LoadProfile
from simulator.motion import Motion
from simulator.streets import StreetMap, length_m, metres
from simulator.trip import CRUISE_KMH, Trip, ask_trip, read_trip
from simulator.vehicles import CITY, make_vehicles

STEP_S = 0.2
TOWN = StreetMap(made_up(seed=4).as_geojson())


class Rented:
    """A vehicle without riders of its own, in fifths of a second."""

    def __init__(self, at: Spot, soc_pct: float = 90, *, rented: bool = True) -> None:
        self.pack, self.lock, self.gnss = Pack(soc_pct=soc_pct), LockUnit(), GnssReceiver()
        self.motion = Motion(
            LoadProfile(3),
            self.pack,
            self.lock,
            self.gnss,
            seed=3,
            home=(at[1], at[0]),
            rented=rented,
        )
        self.motion.advance(0.0)
        self.steps = 0
        self.track: list[Spot] = []

    @property
    def here(self) -> Spot:
        return self.gnss.sky.longitude_deg, self.gnss.sky.latitude_deg

    def go(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.steps += 1
            now_s = self.steps * STEP_S
            self.pack.advance(now_s)
            if self.gnss.due_s <= now_s:
                self.gnss.tick(now_s)
                self.track.append(self.here)
            self.motion.advance(now_s)


def off_m(line: list[Spot], spot: Spot) -> float:
    """How far a point is from a line, to half a metre."""
    trip = Trip(line)
    return min(metres(trip.at(step / 2), spot) for step in range(round(2 * trip.length_m)))


def test_a_route_goes_along_streets_from_end_to_end() -> None:
    start, end = TOWN.bays[0].at, TOWN.bays[-1].at
    line = TOWN.route(start, end)
    assert (line[0], line[-1]) == (start, end)
    assert metres(start, end) < length_m(line) < 2 * metres(start, end)
    assert max(metres(one, other) for one, other in pairwise(line)) < 400
    assert line == TOWN.route(start, end)


@pytest.mark.parametrize("wanted_m", [600, 1500, 3000])
def test_a_ride_is_about_as_long_as_it_should_be_and_ends_in_a_bay(wanted_m: float) -> None:
    line, bay = TOWN.ride(TOWN.bays[3].at, wanted_m, random.Random(1))
    assert line[-1] == bay.at
    assert length_m(line) == pytest.approx(wanted_m, rel=0.3)


def test_a_short_ride_never_ends_in_a_far_bay() -> None:
    """Whatever chance says: the nearest bay that fits, or one that is as far."""
    for bay in TOWN.bays[:8]:
        others = (one for one in TOWN.bays if one != bay)
        ways = sorted(length_m(TOWN.route(bay.at, other.at)) for other in others)
        nearest_m = min(ways, key=lambda way_m: abs(way_m - 240))
        for seed in range(6):
            line, _ = TOWN.ride(bay.at, 240, random.Random(seed))
            assert abs(length_m(line) - 240) <= abs(nearest_m - 240) + 0.2 * 240 + 1


def test_without_streets_the_way_is_straight() -> None:
    nowhere = StreetMap({"features": []})
    assert nowhere.route((13.0, 52.0), (13.1, 52.0)) == [(13.0, 52.0), (13.1, 52.0)]
    with pytest.raises(ValueError, match="no bay for scooters"):
        nowhere.ride((13.0, 52.0), 500, random.Random(1))


def test_a_rented_vehicle_stands_until_it_is_open_and_ridden_and_arrives_in_the_bay() -> None:
    line, bay = TOWN.ride(TOWN.bays[3].at, 700, random.Random(1))
    vehicle = Rented(line[0])
    vehicle.go(300)
    assert set(vehicle.track) == {vehicle.track[0]}
    assert vehicle.lock.sensors.latch == LOCKED
    vehicle.motion.follow(Trip(line))
    vehicle.go(20)
    assert vehicle.here == pytest.approx(line[0])
    vehicle.lock.set({"locked": False})
    soc_pct = vehicle.pack.soc_pct
    vehicle.go(20)
    assert CRUISE_KMH / 2 < vehicle.lock.sensors.speed_kmh <= CRUISE_KMH
    assert vehicle.gnss.sky.speed_kmh == vehicle.lock.sensors.speed_kmh
    vehicle.go(300)
    assert vehicle.motion.trip is not None
    assert vehicle.motion.trip.is_over
    assert metres(vehicle.here, bay.at) < 1
    assert vehicle.lock.sensors.speed_kmh == 0
    assert max(off_m(line, spot) for spot in vehicle.track) < 10
    assert 0.3 < soc_pct - vehicle.pack.soc_pct < 5
    assert vehicle.lock.sensors.latch == UNLOCKED


def test_what_somebody_has_parked_is_not_ridden_off_by_its_own_riders_before_it_is_locked() -> None:
    line, bay = TOWN.ride(TOWN.bays[3].at, 700, random.Random(1))
    vehicle = Rented(line[0], rented=False)
    vehicle.lock.set({"locked": False})
    vehicle.motion.follow(Trip(line))
    vehicle.go(340)
    vehicle.motion.follow(None)
    vehicle.go(900)
    assert metres(vehicle.here, bay.at) < 1
    assert vehicle.lock.sensors.speed_kmh == 0
    vehicle.lock.set({"locked": True})
    vehicle.go(1800)
    assert metres(vehicle.here, bay.at) > 50


def test_what_is_locked_on_the_way_stands_and_goes_on_when_it_is_opened() -> None:
    line, _ = TOWN.ride(TOWN.bays[3].at, 700, random.Random(1))
    vehicle = Rented(line[0])
    vehicle.lock.set({"locked": False})
    vehicle.motion.follow(Trip(line))
    vehicle.go(30)
    vehicle.lock.set({"locked": True})
    vehicle.go(1)
    stood = vehicle.here
    vehicle.go(60)
    assert vehicle.here == stood
    vehicle.lock.set({"locked": False})
    vehicle.go(300)
    assert metres(vehicle.here, line[-1]) < 1


def test_a_limit_of_the_vehicle_is_kept_on_a_trip() -> None:
    line, _ = TOWN.ride(TOWN.bays[3].at, 700, random.Random(1))
    vehicle = Rented(line[0])
    vehicle.lock.set({"locked": False})
    vehicle.lock.sensors.limit_kmh = 8
    vehicle.motion.follow(Trip(line))
    for _ in range(60):
        vehicle.go(1)
        assert vehicle.lock.sensors.speed_kmh <= 8


def test_a_rented_one_that_is_low_is_plugged_in_while_it_is_locked() -> None:
    vehicle = Rented(TOWN.bays[3].at, soc_pct=20)
    vehicle.go(5)
    assert vehicle.lock.sensors.charge_cable
    assert vehicle.pack.demand_a > 0
    vehicle.lock.set({"locked": False})
    vehicle.go(1)
    assert not vehicle.lock.sensors.charge_cable
    assert vehicle.pack.demand_a == 0


def test_riders_leave_their_way_in_a_file_that_goes_when_they_have_arrived(tmp_path: Path) -> None:
    (tmp_path / CITY).write_text(json.dumps(made_up(seed=4).as_geojson()), "utf-8")
    one, two = make_vehicles(tmp_path, count=2, seed=5, prefix="demo", rented=True)
    assert {bay.at for bay in TOWN.bays} >= {
        (each.gnss.sky.longitude_deg, each.gnss.sky.latitude_deg) for each in (one, two)
    }
    one.folder.mkdir(parents=True)
    one.follow_trip()
    assert one.motion.trip is None
    path = ask_trip(one.folder, [(13.0, 52.0), (13.0, 52.0001)])
    one.follow_trip()
    trip = one.motion.trip
    assert trip is not None
    one.follow_trip()
    assert one.motion.trip is trip
    trip.advance(1.0, (13.0, 52.0), 25)
    for _ in range(100):
        trip.advance(1.0, (13.0, 52.0), 25)
    one.follow_trip()
    assert one.motion.trip is None
    assert not path.exists()


@pytest.mark.parametrize("torn", ["", "{}", '{"line": [[1]]}', '{"line": 3}', '{"line": [[1, 2]]}'])
def test_a_torn_file_is_no_trip(tmp_path: Path, torn: str) -> None:
    (tmp_path / "trip.json").write_text(torn, "utf-8")
    assert read_trip(tmp_path / "trip.json", None) is None
