"""What riders and chargers ask of a pack."""

from itertools import pairwise

import pytest

from simulator.load import (
    FASTEST_KMH,
    PLUG_IN_BELOW_PCT,
    UNPLUG_ABOVE_PCT,
    LoadProfile,
    Moment,
)


def an_hour(seed: int, soc_pct: float = 70.0) -> list[Moment]:
    load = LoadProfile(seed)
    return [load.at(now_s, soc_pct) for now_s in range(3600)]


def test_the_same_seed_is_the_same_history() -> None:
    assert an_hour(3) == an_hour(3)
    assert an_hour(3) != an_hour(4)


def test_looking_more_often_does_not_change_it() -> None:
    load = LoadProfile(3)
    often = [load.at(tenths / 10, 70.0) for tenths in range(36_000)]
    assert often[::10] == an_hour(3)


def test_an_hour_has_standing_riding_and_braking() -> None:
    currents_a = [moment.demand_a for moment in an_hour(3)]
    assert min(currents_a) < -5
    assert max(currents_a) > 0.5
    assert currents_a.count(0.0) > 60


@pytest.mark.parametrize("seed", range(5))
def test_speed_and_current_belong_to_each_other(seed: int) -> None:
    load = LoadProfile(seed)
    hour = [load.at(tenths / 10, 70.0) for tenths in range(36_000)]
    assert all(0 <= moment.speed_kmh <= FASTEST_KMH for moment in hour)
    assert all(moment.ridden for moment in hour if moment.speed_kmh or moment.demand_a)
    standing = [moment for moment in hour if not moment.ridden]
    waiting = [moment for moment in hour if moment.ridden and not moment.speed_kmh]
    assert standing
    assert waiting
    for before, after in pairwise(hour):
        assert abs(after.speed_kmh - before.speed_kmh) < 2
        if before.demand_a == after.demand_a < -8.5:
            assert after.speed_kmh > before.speed_kmh
        if before.demand_a == after.demand_a > 0:
            assert after.speed_kmh < before.speed_kmh


def test_a_held_vehicle_goes_on_where_it_was() -> None:
    load, free = LoadProfile(4), an_hour(4)
    assert [load.at(now_s, 70.0) for now_s in range(100)] == free[:100]
    held = [load.at(now_s, 70.0, held=True) for now_s in range(100, 400)]
    assert {(moment.demand_a, moment.speed_kmh) for moment in held} == {(0.0, 0.0)}
    after = [load.at(now_s, 70.0) for now_s in range(400, 3000)]
    assert [moment.demand_a for moment in after] == [moment.demand_a for moment in free[100:2700]]


def test_a_vehicle_that_charges_stands() -> None:
    load = LoadProfile(3)
    charging = [load.at(now_s, 5.0) for now_s in range(600)]
    assert all(moment.charging and moment.demand_a > 2 for moment in charging)
    assert not any(moment.speed_kmh or moment.ridden for moment in charging)


def test_a_low_pack_is_charged_until_it_is_nearly_full() -> None:
    load = LoadProfile(3)
    soc_pct, charged_from, charged_to = 60.0, 0.0, 0.0
    for now_s in range(0, 40_000, 5):
        moment = load.at(now_s, soc_pct)
        amperes, charging = moment.demand_a, moment.charging
        soc_pct += amperes * 5 / 3600 / 10 * 100
        charged_from = min(charged_from or 100.0, soc_pct) if charging else charged_from
        charged_to = max(charged_to, soc_pct)
    assert charged_from < PLUG_IN_BELOW_PCT + 1
    assert UNPLUG_ABOVE_PCT - 1 < charged_to < UNPLUG_ABOVE_PCT + 3
    assert soc_pct > 5
