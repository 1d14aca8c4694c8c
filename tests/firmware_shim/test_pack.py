"""The pack behaves like a battery."""

import pytest

from firmware_shim.pack import TRIP_S, Pack, PackDesign, Protection, open_circuit_v

QUIET = PackDesign(current_noise_a=0, cell_noise_v=0, cell_spread_v=0)


def ridden(pack: Pack, current_a: float, seconds: float) -> Pack:
    pack.advance(0)
    pack.demand_a = current_a
    pack.advance(seconds)
    return pack


def test_an_hour_at_one_ampere_is_one_ampere_hour() -> None:
    pack = ridden(Pack(QUIET, soc_pct=100), -1.0, 3600)
    assert pack.remaining_ah == pytest.approx(QUIET.capacity_ah - 1)
    pack.demand_a = 1.0
    pack.advance(5400)
    assert pack.remaining_ah == pytest.approx(QUIET.capacity_ah - 0.5)


def test_the_step_of_time_does_not_matter() -> None:
    once = ridden(Pack(QUIET), -5.0, 600)
    often = Pack(QUIET)
    often.advance(0)
    often.demand_a = -5.0
    for second in range(1, 601):
        often.advance(second)
    assert often.remaining_ah == pytest.approx(once.remaining_ah)
    assert often.temperature_c == pytest.approx(once.temperature_c)


def test_voltage_sags_under_load_and_rises_while_charging() -> None:
    pack = Pack(QUIET)
    rest_v = pack.sample().voltage_v
    pack.demand_a = -10
    assert pack.sample().voltage_v == pytest.approx(rest_v - 10 * QUIET.resistance_ohm)
    pack.demand_a = 2
    assert pack.sample().voltage_v == pytest.approx(rest_v + 2 * QUIET.resistance_ohm)


def test_a_fuller_cell_has_a_higher_voltage() -> None:
    volts = [open_circuit_v(soc) for soc in range(-1, 102)]
    assert volts == sorted(volts)
    assert (volts[0], volts[-1]) == (3.0, 4.18)
    assert open_circuit_v(15) == pytest.approx((3.48 + 3.55) / 2)


def test_load_warms_the_pack_and_rest_cools_it() -> None:
    pack = ridden(Pack(QUIET, soc_pct=100), -15.0, 600)
    warm_c = pack.temperature_c
    assert QUIET.ambient_c + 2 < warm_c < 60
    pack.demand_a = 0
    pack.advance(36_000)
    assert pack.temperature_c == pytest.approx(QUIET.ambient_c, abs=0.1)


def test_an_empty_pack_gives_nothing_and_a_full_one_takes_nothing() -> None:
    empty = ridden(Pack(QUIET, soc_pct=1), -5.0, 36_000)
    assert (empty.remaining_ah, empty.current_a) == (0, 0)
    full = ridden(Pack(QUIET, soc_pct=99), 2.0, 36_000)
    assert (full.soc_pct, full.current_a) == (100, 0)


def test_a_drawn_capacity_is_a_cycle() -> None:
    pack = Pack(QUIET, soc_pct=100, cycles=41)
    for _ in range(2):
        pack.set_charge(QUIET.capacity_ah)
        pack.demand_a = -QUIET.capacity_ah / 2
        for hour in range(3):
            pack.advance((pack._now_s or 0) + (3600 if hour else 0))
    assert pack.cycles == 43


def test_too_much_current_trips_and_comes_back() -> None:
    pack = Pack(QUIET)
    pack.demand_a = -50
    pack.advance(0)
    assert not pack.discharge_fet
    assert pack.charge_fet
    assert pack.trips == {Protection.DISCHARGE_OVERCURRENT: 1}
    pack.demand_a = -5
    pack.advance(TRIP_S - 1)
    assert pack.current_a == 0
    pack.advance(TRIP_S)
    assert pack.current_a == -5


def test_heat_stops_both_directions() -> None:
    pack = Pack(PackDesign(ambient_c=70))
    pack.advance(0)
    assert (pack.charge_fet, pack.discharge_fet) == (False, False)


def test_a_cell_near_empty_stops_under_load() -> None:
    pack = Pack(QUIET, soc_pct=2)
    pack.demand_a = -39
    pack.advance(0)
    assert pack.sample().protection_bits == Protection.CELL_UNDERVOLTAGE


def test_a_full_cell_stops_the_charge() -> None:
    pack = Pack(QUIET, soc_pct=99.9)
    pack.demand_a = 10
    pack.advance(0)
    assert pack.sample().protection_bits == Protection.CELL_OVERVOLTAGE
    assert pack.sample().discharge_fet


def test_high_cells_are_balanced_while_charging() -> None:
    pack = Pack(PackDesign(cell_spread_v=0.02), seed=3, soc_pct=95)
    pack.demand_a = 1
    sample = pack.sample()
    high = {n for n in range(10) if sample.balancing_bits >> n & 1}
    assert high
    assert max(sample.cells_v) == sample.cells_v[max(high, key=sample.cells_v.__getitem__)]
    pack.demand_a = 0
    assert pack.sample().balancing_bits == 0


def test_one_seed_is_one_history() -> None:
    first, again, other = (ridden(Pack(seed=seed), -4.0, 60).sample() for seed in (1, 1, 2))
    assert first == again
    assert first.cells_v != other.cells_v


def test_a_clock_that_goes_back_passes_no_time() -> None:
    pack = ridden(Pack(QUIET), -5.0, 600)
    before_ah = pack.remaining_ah
    pack.advance(0)
    assert pack.remaining_ah == before_ah


def test_sensors_are_noisy_only_as_real_ones_are() -> None:
    pack = Pack(seed=1)
    pack.demand_a = -5
    samples = [pack.sample() for _ in range(200)]
    assert len({sample.cells_v for sample in samples}) == 200
    assert all(abs(sample.current_a + 5) < 0.06 for sample in samples)
    assert all(abs(sample.voltage_v - sum(sample.cells_v)) < 1e-9 for sample in samples)
