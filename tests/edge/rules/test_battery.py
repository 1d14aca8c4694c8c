"""Facts from polls."""

from edge.drivers.base import BatteryReading
from edge.rules.battery import BatteryWatch


def a_reading(bits: int | None = 0, *alarms: str) -> BatteryReading:
    return BatteryReading(voltage_v=36.0, protection_bits=bits, alarms=alarms)


def test_a_healthy_battery_makes_no_facts() -> None:
    watch = BatteryWatch()
    assert watch.see(a_reading(), offline=False) == []
    assert watch.see(None, offline=False) == []


def test_going_silent_and_coming_back_are_one_fact_each() -> None:
    watch = BatteryWatch()
    assert watch.see(None, offline=True) == [("battery.offline", {})]
    assert watch.see(None, offline=True) == []
    assert watch.see(a_reading(), offline=False) == [("battery.online", {})]


def test_a_protection_is_told_when_it_trips_and_when_it_lets_go() -> None:
    watch = BatteryWatch()
    tripped = ("battery.protection_tripped", {"bits": 2, "alarms": "cell_undervoltage"})
    assert watch.see(a_reading(2, "cell_undervoltage"), offline=False) == [tripped]
    assert watch.see(a_reading(2, "cell_undervoltage"), offline=False) == []
    cleared = ("battery.protection_cleared", {"bits": 2})
    assert watch.see(a_reading(0), offline=False) == [cleared]


def test_one_protection_taking_over_from_another_is_both() -> None:
    watch = BatteryWatch()
    watch.see(a_reading(1, "a"), offline=False)
    kinds = [kind for kind, _ in watch.see(a_reading(4, "c"), offline=False)]
    assert kinds == ["battery.protection_tripped", "battery.protection_cleared"]


def test_a_reading_without_protection_bits_changes_nothing() -> None:
    watch = BatteryWatch()
    watch.see(a_reading(1, "a"), offline=False)
    assert watch.see(a_reading(None), offline=False) == []


def test_what_was_switched_by_order_is_no_protection() -> None:
    watch = BatteryWatch(ordered_bits=4)
    assert watch.see(a_reading(4, "fets_locked"), offline=False) == []
    tripped = ("battery.protection_tripped", {"bits": 2, "alarms": "cell_undervoltage"})
    both = a_reading(6, "cell_undervoltage", "fets_locked")
    assert watch.see(both, offline=False) == [tripped]
    assert watch.see(a_reading(2, "cell_undervoltage"), offline=False) == []
    assert BatteryWatch().see(a_reading(4, "c"), offline=False) != []
