"""The emulated GNSS receiver, read by hand: nothing of the agent's own reader is used here."""

import functools
import itertools
import math
import operator
from datetime import timedelta
from typing import Any

import pytest

from firmware_shim.faults import Faults
from firmware_shim.gnss import BEGAN, URBAN_M, GnssReceiver
from firmware_shim.registry import build_shim

METRES_A_DEGREE = 111_195.0


def said(receiver: GnssReceiver, now_s: float) -> dict[str, list[str]]:
    """Return this second's fields by kind, each checksum looked at."""
    found: dict[str, list[str]] = {}
    for line in receiver.tick(now_s):
        assert line.endswith(b"\r\n")
        assert len(line) <= 82
        body, _, digits = line[1:-2].partition(b"*")
        assert int(digits, 16) == functools.reduce(operator.xor, body)
        kind, *fields = body.decode().split(",")
        found[kind[2:]] = fields
    return found


def degrees(value: str, side: str) -> float:
    minutes_at = value.index(".") - 2
    size = int(value[:minutes_at]) + float(value[minutes_at:]) / 60
    return -size if side in "SW" else size


def off_m(receiver: GnssReceiver, gga: list[str]) -> float:
    north = (degrees(gga[1], gga[2]) - receiver.sky.latitude_deg) * METRES_A_DEGREE
    width = math.cos(math.radians(receiver.sky.latitude_deg))
    east = (degrees(gga[3], gga[4]) - receiver.sky.longitude_deg) * METRES_A_DEGREE * width
    return math.hypot(north, east)


def test_it_says_in_each_second_what_receivers_say() -> None:
    receiver = build_shim("gnss")
    found = said(receiver, 0.0)
    assert list(found) == ["RMC", "VTG", "GGA", "GSA", "GSV", "GST"]
    assert found["RMC"][1] == "A"
    assert found["RMC"][8] == f"{BEGAN:%d%m%y}"
    assert found["GGA"][5:8] == ["1", "11", "0.90"]
    assert found["GSA"][1] == "3"
    assert off_m(receiver, found["GGA"]) < 0.1
    assert receiver.due_s == 1.0


@pytest.mark.parametrize("dials", [{"fix": False}, {"cold_start_s": 3}])
def test_without_a_fix_its_fields_are_empty(dials: dict[str, Any]) -> None:
    receiver = GnssReceiver()
    receiver.set(dials)
    found = said(receiver, 0.0)
    assert found["RMC"][1:7] == ["V", *[""] * 5]
    assert found["RMC"][11] == "N"
    assert found["GGA"][5] == "0"
    assert found["GSA"][1] == "1"
    assert set(found["GST"][1:]) == {""}


def test_a_cold_start_takes_its_minute_and_knows_no_time_before() -> None:
    receiver = GnssReceiver()
    receiver.set({"cold_start_s": 60})
    seconds = [said(receiver, float(now_s)) for now_s in range(62)]
    assert [second["RMC"][1] for second in seconds] == ["V"] * 60 + ["A"] * 2
    assert {second["RMC"][0] for second in seconds[:60]} == {""}
    assert seconds[60]["RMC"][0] == "120100.00"


def test_between_houses_the_position_walks_5_to_15_m_beside_the_truth_and_the_sky_is_small() -> (
    None
):
    receiver = GnssReceiver(seed=7)
    receiver.set({"urban": True})
    ggas = [said(receiver, float(now_s))["GGA"] for now_s in range(120)]
    metres = [off_m(receiver, gga) for gga in ggas]
    low, high = URBAN_M
    assert all(low - 0.1 <= one <= high + 0.1 for one in metres)
    assert max(metres) - min(metres) > 3
    assert len({tuple(gga[1:5]) for gga in ggas}) > 100
    assert all(2 < float(gga[7]) <= 5 for gga in ggas)
    assert receiver.sky.latitude_deg == GnssReceiver().sky.latitude_deg


def test_the_same_seed_gives_the_same_walk() -> None:
    def walk(seed: int) -> list[bytes]:
        receiver = build_shim("gnss", seed=seed)
        receiver.set({"urban": True})
        return list(itertools.chain(*(receiver.tick(float(now_s)) for now_s in range(5))))

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)


def test_a_rolled_over_week_shows_a_date_of_1024_weeks_before() -> None:
    receiver = GnssReceiver()
    receiver.set({"rollovers": 1})
    back = BEGAN - timedelta(weeks=1024)
    assert said(receiver, 0.0)["RMC"][8] == f"{back:%d%m%y}"
    receiver.set({"rollovers": None})
    assert said(receiver, 1.0)["RMC"][8] == f"{BEGAN:%d%m%y}"


def test_a_moving_one_goes_along_its_course() -> None:
    receiver = GnssReceiver()
    before = receiver.sky.latitude_deg
    receiver.set({"speed_kmh": 36, "course_deg": 0})
    receiver.tick(0.0)
    receiver.tick(10.0)
    assert (receiver.sky.latitude_deg - before) * METRES_A_DEGREE == pytest.approx(100, rel=1e-3)


def test_a_bad_checksum_is_one_in_the_checksum() -> None:
    faults = Faults({"bad_checksum": 1.0})
    receiver = GnssReceiver(faults=faults)
    lines = receiver.tick(0.0)
    for line, piece in zip(lines, faults.on_line(lines), strict=True):
        assert piece.data[:-4] == line[:-4]
        assert piece.data[-2:] == b"\r\n"
        assert piece.data[-4] != line[-4]


def test_a_stuck_receiver_repeats_its_second_and_a_lost_antenna_has_no_fix() -> None:
    stuck = GnssReceiver(faults=Faults({"stuck": 1.0}))
    assert stuck.tick(0.0) == stuck.tick(1.0)
    assert said(GnssReceiver(faults=Faults({"sensor_lost": 1.0})), 0.0)["RMC"][1] == "V"


@pytest.mark.parametrize(
    "wrong", [{"urban": 1}, {"cold_start_s": -1}, {"rollovers": 4}, {"fix": False, "height": 3}]
)
def test_a_dial_that_cannot_be_turned_so_changes_nothing(wrong: dict[str, Any]) -> None:
    receiver = GnssReceiver()
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        receiver.set(wrong)
    assert receiver.sky.fix
