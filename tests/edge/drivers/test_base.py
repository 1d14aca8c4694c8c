"""A reading, what is doubtful about it, and its way into the journal's integers."""

import math

import pytest

from edge.drivers.base import BatteryReading, to_json, to_signals
from protocol.signals import BY_KEY


def test_unknown_values_are_left_out_of_the_signals() -> None:
    assert to_signals(BatteryReading()) == {}


def test_a_reading_becomes_the_catalogue_s_integers() -> None:
    reading = BatteryReading(
        voltage_v=15.6,
        current_a=-2.87,
        temperatures_c=(22.4, None, -3.5),
        cells_v=(3.909, 3.901),
        charge_fet=True,
        discharge_fet=False,
    )
    assert to_signals(reading) == {
        BY_KEY["voltage_v"].id: 1560,
        BY_KEY["current_a"].id: -287,
        BY_KEY["temperature_1_c"].id: 224,
        BY_KEY["temperature_3_c"].id: -35,
        BY_KEY["cell_1_v"].id: 3909,
        BY_KEY["cell_2_v"].id: 3901,
        BY_KEY["charge_fet"].id: 1,
        BY_KEY["discharge_fet"].id: 0,
    }


@pytest.mark.parametrize(
    ("name", "steps"), [("voltage_v", 100), ("remaining_ah", 100), ("full_ah", 100)]
)
def test_every_16_bit_word_of_a_wire_arrives_exactly(name: str, steps: int) -> None:
    signal = BY_KEY[name].id
    wrong = [
        raw
        for raw in range(0x10000)
        if to_signals(BatteryReading(**{name: raw / steps})) != {signal: raw}  # type: ignore[arg-type]  # the name is a float field
    ]
    assert wrong == []


def test_every_current_temperature_and_cell_voltage_arrives_exactly() -> None:
    current, temperature, cell = (
        BY_KEY[name].id for name in ("current_a", "temperature_1_c", "cell_1_v")
    )
    for raw in range(-0x8000, 0x8000):
        assert to_signals(BatteryReading(current_a=raw / 100)) == {current: raw}
    for raw in range(-600, 2001):
        assert to_signals(BatteryReading(temperatures_c=(raw / 10,))) == {temperature: raw}
    for raw in range(10_001):
        assert to_signals(BatteryReading(cells_v=(raw / 1000,))) == {cell: raw}


def test_what_cannot_be_true_is_left_out_of_the_signals() -> None:
    reading = BatteryReading(soc_pct=130, voltage_v=math.nan, temperatures_c=(math.inf,))
    assert to_signals(reading) == {}


def test_more_sensors_and_cells_than_the_catalogue_has_are_left_out() -> None:
    reading = BatteryReading(temperatures_c=(20.0,) * 9, cells_v=(3.6,) * 40)
    assert len(to_signals(reading)) == 8 + 32


def test_a_sound_reading_has_no_doubts() -> None:
    reading = BatteryReading(
        voltage_v=7.2, current_a=-3, soc_pct=50, temperatures_c=(21.0,), cells_v=(3.6, 3.6)
    )
    assert reading.raw_quality == ()


@pytest.mark.parametrize(
    ("reading", "doubts"),
    [
        (BatteryReading(current_a=-200.1), ("current_a",)),
        (BatteryReading(soc_pct=101), ("soc_pct",)),
        (BatteryReading(temperatures_c=(20.0, 90.1)), ("temperatures_c",)),
        (BatteryReading(cells_v=(1.9, 3.6)), ("cells_v",)),
        (BatteryReading(voltage_v=7.5, cells_v=(3.6, 3.6)), ("voltage_v",)),
    ],
)
def test_an_implausible_value_is_named(reading: BatteryReading, doubts: tuple[str, ...]) -> None:
    assert reading.raw_quality == doubts


def test_the_published_form_has_the_specified_keys_in_order() -> None:
    assert " ".join(to_json(BatteryReading())) == (
        "time voltage_v current_a soc_pct soh_pct remaining_ah full_ah temperatures_c cells_v "
        "cycles charge_fet discharge_fet alarms raw_quality"
    )
