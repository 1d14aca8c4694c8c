"""What riders and chargers ask of a pack."""

from simulator.load import PLUG_IN_BELOW_PCT, UNPLUG_ABOVE_PCT, LoadProfile


def an_hour(seed: int, soc_pct: float = 70.0) -> list[float]:
    load = LoadProfile(seed)
    return [load.demand_a(now_s, soc_pct) for now_s in range(3600)]


def test_the_same_seed_is_the_same_history() -> None:
    assert an_hour(3) == an_hour(3)
    assert an_hour(3) != an_hour(4)


def test_looking_more_often_does_not_change_it() -> None:
    load = LoadProfile(3)
    often = [load.demand_a(tenths / 10, 70.0) for tenths in range(36_000)]
    assert often[::10] == an_hour(3)


def test_an_hour_has_standing_riding_and_braking() -> None:
    currents_a = an_hour(3)
    assert min(currents_a) < -5
    assert max(currents_a) > 0.5
    assert currents_a.count(0.0) > 60


def test_a_low_pack_is_charged_until_it_is_nearly_full() -> None:
    load = LoadProfile(3)
    soc_pct, charged_from, charged_to = 60.0, 0.0, 0.0
    for now_s in range(0, 40_000, 5):
        amperes = load.demand_a(now_s, soc_pct)
        soc_pct += amperes * 5 / 3600 / 10 * 100
        charging = amperes > 2.2 and load.demand_a(now_s, soc_pct) == amperes
        charged_from = min(charged_from or 100.0, soc_pct) if charging else charged_from
        charged_to = max(charged_to, soc_pct)
    assert charged_from < PLUG_IN_BELOW_PCT + 1
    assert UNPLUG_ABOVE_PCT - 1 < charged_to < UNPLUG_ABOVE_PCT + 3
    assert soc_pct > 5
