"""Simulated vehicles and where they live."""

from pathlib import Path

import pytest

from firmware_shim.lock_sensors import UNLOCKED, Sensors
from simulator.city import made_up
from simulator.vehicles import CITY, NoCloudError, Vehicle, enrol, make_vehicles


def first_answer(vehicle: Vehicle) -> list[bytes]:
    return vehicle.battery.receive(bytes.fromhex("dda50300fffd77"), 0.0)


def test_the_same_seed_gives_the_same_vehicles(tmp_path: Path) -> None:
    one = make_vehicles(tmp_path, count=3, seed=5, prefix="demo")
    two = make_vehicles(tmp_path, count=3, seed=5, prefix="demo")
    other = make_vehicles(tmp_path, count=3, seed=6, prefix="demo")
    assert [first_answer(each) for each in one] == [first_answer(each) for each in two]
    assert first_answer(one[0]) != first_answer(other[0])
    assert len({first_answer(each)[0] for each in one}) == 3


def test_vehicles_begin_in_the_bays_of_the_folders_city(tmp_path: Path) -> None:
    made_up(centre=(41.15, -8.61)).write(tmp_path / CITY)
    for rented in (True, False):
        (one,) = make_vehicles(tmp_path, count=1, seed=5, prefix="demo", rented=rented)
        sky = one.gnss.sky
        assert (sky.latitude_deg, sky.longitude_deg) == pytest.approx((41.15, -8.61), abs=0.02)


def test_a_larger_fleet_keeps_the_vehicles_of_a_smaller_one(tmp_path: Path) -> None:
    few = make_vehicles(tmp_path, count=2, seed=5, prefix="demo")
    many = make_vehicles(tmp_path, count=30, seed=5, prefix="demo")
    assert [each.id for each in many[:2]] == ["demo-001", "demo-002"]
    assert [each.folder for each in many[:2]] == [each.folder for each in few]


def test_a_pack_goes_on_with_the_charge_and_the_warmth_it_had(tmp_path: Path) -> None:
    (one,) = make_vehicles(tmp_path, count=1, seed=5, prefix="demo")
    one.folder.mkdir(parents=True)
    one.battery.pack.set_charge(one.battery.pack.remaining_ah / 2)
    one.battery.pack.demand_a = -20.0
    one.battery.pack.advance(0.0)
    one.battery.pack.advance(60.0)
    one.remember()
    (again,) = make_vehicles(tmp_path, count=1, seed=5, prefix="demo")
    assert again.battery.pack.soc_pct == pytest.approx(one.battery.pack.soc_pct)
    assert again.battery.pack.temperature_c == one.battery.pack.temperature_c
    assert again.battery.pack.temperature_c > again.battery.pack.design.ambient_c
    (one.folder / "pack.json").write_text("torn")
    (fresh,) = make_vehicles(tmp_path, count=1, seed=5, prefix="demo")
    assert fresh.battery.pack.soc_pct > 1.9 * one.battery.pack.soc_pct
    assert fresh.battery.pack.temperature_c == fresh.battery.pack.design.ambient_c


def test_the_latch_and_the_place_are_as_they_were_left(tmp_path: Path) -> None:
    (one,) = make_vehicles(tmp_path, count=1, seed=5, prefix="demo")
    one.folder.mkdir(parents=True)
    one.lock.set({"locked": False, "immobilised": True})
    one.gnss.set({"latitude_deg": 52.51, "longitude_deg": 13.39})
    one.remember()
    (again,) = make_vehicles(tmp_path, count=1, seed=5, prefix="demo")
    assert again.motion.kept() == one.motion.kept()
    assert (again.lock.sensors.latch, again.lock.moves) == (UNLOCKED, 0)
    assert again.lock.sensors.immobilised
    assert (again.gnss.sky.latitude_deg, again.gnss.sky.longitude_deg) == (52.51, 13.39)
    for torn in ("torn", '{"locked": 3}', ""):
        (one.folder / "vehicle.json").write_text(torn)
        (fresh,) = make_vehicles(tmp_path, count=1, seed=5, prefix="demo")
        assert fresh.lock.sensors == Sensors()


def test_without_a_cloud_the_next_step_is_told(tmp_path: Path) -> None:
    vehicles = make_vehicles(tmp_path, count=1, seed=5, prefix="demo")
    with pytest.raises(NoCloudError, match="mobility-cloud serve --data-dir"):
        enrol(vehicles, tmp_path)
